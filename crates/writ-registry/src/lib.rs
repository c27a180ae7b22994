//! writ-registry
