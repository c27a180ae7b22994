//! writ-ingest
