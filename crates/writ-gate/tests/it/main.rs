//! The gate from outside: bundle, fixtures, decisions.

mod broken;
mod decisions;
mod shipped;
