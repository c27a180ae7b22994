//! writ-gate
