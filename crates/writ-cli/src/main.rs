//! The binary `writ`.
fn main() {}
