//! writ-evidence
