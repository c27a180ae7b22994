//! Receipts: any text ends, what is read is written back the same, and nobody's key proves nothing.

#![no_main]

use writ_ledger::{LogKeys, TlogProof};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert_eq!(proof.to_text(), text);
    let origin = proof.checkpoint.unverified().origin.clone();
    assert!(proof.verify(b"entry", &origin, &LogKeys::default()).is_err());
});
