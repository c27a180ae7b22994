//! writ-model
