//! The gate from outside: bundle, fixtures, decisions.

mod shipped;
