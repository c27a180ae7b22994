//! writ-ledger
