//! A witness's answer: any bytes end, and none is taken for a signature that the witness did not make.

#![no_main]

use writ_ledger::witness::read_cosignature;
use writ_ledger::{Checkpoint, KeyKind, NoteSigner, merkle};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let head = Checkpoint {
        origin: "log.example".to_owned(),
        size: 0,
        root: merkle::empty_root(),
    };
    let log = NoteSigner::from_seed("log.example", KeyKind::Ed25519, &[1; 32]).expect("a key");
    let witness = NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[2; 32]).expect("a key");
    let sent = head.sign(&[&log], 0);
    if let Ok((line, time)) = read_cosignature(data, &sent, witness.verifier()) {
        assert_eq!(line, witness.sign_line(&head.body(), time));
    }
});
