//! writ-pipeline
