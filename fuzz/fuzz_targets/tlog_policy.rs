//! Witness policies: any bytes end, and more cosignatures never take a quorum away.

#![no_main]

use writ_ledger::{Checkpoint, KeyKind, NoteSigner, Policy, merkle};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(policy) = Policy::parse(data) else { return };
    let head = Checkpoint {
        origin: "log.example".to_owned(),
        size: 0,
        root: merkle::empty_root(),
    };
    let Ok(key) = NoteSigner::from_seed("log.example", KeyKind::Ed25519, &[1; 32]) else { return };
    let quorum = policy.count(&head.sign(&[&key], 0)).expect("no line of a witness, none that is wrong");
    assert!(quorum.missing <= quorum.required && quorum.cosigned.is_empty());
    assert_eq!(quorum.is_reached(), quorum.required == 0);
});
