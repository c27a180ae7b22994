//! Numbers that look drawn and are the same every time: digests of what they are for.

use writ_model::Digest;

/// A number below `bound` that depends on `what` alone.
pub fn below(bound: u64, what: &str) -> u64 {
    let digest = Digest::of(what.as_bytes());
    let mut eight = [0_u8; 8];
    eight.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_be_bytes(eight) % bound.max(1)
}

/// Whether something with so many chances in a hundred happens.
pub fn chance(percent: u64, what: &str) -> bool {
    below(100, what) < percent
}

/// A git object id.
pub fn object_id(what: &str) -> String {
    Digest::of(what.as_bytes()).to_hex()[..40].to_owned()
}
