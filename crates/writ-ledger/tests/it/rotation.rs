//! Signing keys that change, overlap, live elsewhere and fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use writ_ledger::{
    CheckpointSigner, KeyKind, Ledger, LedgerError, LedgerReader, LogKeys, NoteError, NoteSigner,
    NoteVerifier, Signers, verify_log,
};

use crate::support::{Hands, ORIGIN, append, envelope, options, overwrite, temporary};

fn key(seed: u8) -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[seed; 32]).unwrap()
}

fn vkey(seed: u8) -> NoteVerifier {
    key(seed).verifier().clone()
}

fn both() -> Signers {
    Signers::new(vec![Box::new(key(1)), Box::new(key(2))]).unwrap()
}

fn open(dir: &Path, signers: impl Into<Signers>) -> Result<Ledger, LedgerError> {
    Ledger::open(dir, ORIGIN, signers, Hands::at(7), options())
}

fn verify(dir: &Path, keys: &LogKeys) -> Result<writ_ledger::VerifyReport, LedgerError> {
    verify_log(dir, keys, &[], &mut |_, _| {})
}

#[test]
fn a_log_outlives_its_keys_with_overlap() {
    let dir = temporary();
    let ledger = open(dir.path(), key(1)).unwrap();
    append(&ledger, 0..3);
    let first = ledger.close().unwrap();

    // The new key signs beside the old one from the moment it is opened with both.
    let ledger = open(dir.path(), both()).unwrap();
    assert_eq!(ledger.checkpoint().signature_count().unwrap(), 2);
    for seed in [1, 2] {
        let report = verify(dir.path(), &vkey(seed).into()).unwrap();
        assert_eq!((report.size, report.unknown_lines.len()), (3, 1));
        assert_eq!(report.unknown_lines[0].id, vkey(3 - seed).id());
    }
    append(&ledger, 3..5);
    ledger.close().unwrap();

    // The old key retires: the last checkpoint still carries the new one's line.
    let ledger = open(dir.path(), key(2)).unwrap();
    append(&ledger, 5..6);
    ledger.close().unwrap();
    let keys = LogKeys::from(vkey(2)).with_retired([vkey(1)]);
    let report = verify(dir.path(), &keys).unwrap();
    assert_eq!((report.size, report.unknown_lines.len()), (6, 0));
    assert!(matches!(
        verify(dir.path(), &vkey(1).into()),
        Err(LedgerError::Note { .. })
    ));
    let held = [first];
    let report = verify_log(dir.path(), &keys, &held, &mut |_, _| {}).unwrap();
    assert_eq!(report.earlier, 1);
    assert!(verify_log(dir.path(), &vkey(2).into(), &held, &mut |_, _| {}).is_err());
}

#[test]
fn a_key_that_signed_before_must_be_accepted_on_purpose() {
    let dir = temporary();
    open(dir.path(), key(1)).unwrap().close().unwrap();
    assert!(matches!(
        open(dir.path(), key(2)),
        Err(LedgerError::Note { .. })
    ));
    let accepting = Signers::from(key(2)).accepting([vkey(1)]);
    let ledger = open(dir.path(), accepting).unwrap();
    ledger.checkpoint().verify(&vkey(2)).unwrap();
    drop(ledger);
    let keys = LogKeys::from(vkey(2)).with_retired([vkey(1)]);
    assert!(
        LedgerReader::open(dir.path())
            .unwrap()
            .verified(&keys)
            .is_ok()
    );
}

#[test]
fn lines_of_strangers_are_named_and_lines_of_known_keys_must_fit() {
    let dir = temporary();
    let ledger = open(dir.path(), both()).unwrap();
    append(&ledger, 0..2);
    let head = ledger.close().unwrap();
    let keys = LogKeys::new([vkey(1), vkey(2)]);
    let path = dir.path().join("checkpoint");
    let witness = NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[9; 32]).unwrap();
    let text = head.unverified().body();
    let more = head.with_line(&witness.sign_line(&text, 5)).unwrap();
    overwrite(&path, more.as_str().as_bytes());
    let report = verify(dir.path(), &keys).unwrap();
    assert_eq!(report.unknown_lines[0].name, "w.example");

    // A changed byte is refused, or makes a line a stranger's, which is named.
    let good = head.as_str().as_bytes();
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1;
        overwrite(&path, &bad);
        match verify(dir.path(), &keys) {
            Err(LedgerError::Note { path: named, .. }) => assert_eq!(named, path),
            Ok(report) => assert_eq!(report.unknown_lines.len(), 1, "byte {at}"),
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

/// A key service that can be away.
struct Service(NoteSigner, Arc<AtomicBool>);

impl CheckpointSigner for Service {
    fn verifier(&self) -> &NoteVerifier {
        self.0.verifier()
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        if self.1.load(Ordering::SeqCst) {
            return CheckpointSigner::sign(&self.0, text);
        }
        Err(NoteError::Signer {
            name: ORIGIN.into(),
            key_id: hex::encode(self.0.verifier().id()),
            reason: "the key service does not answer".into(),
        })
    }
}

#[test]
fn nothing_is_lost_while_the_key_service_is_away() {
    let dir = temporary();
    let up = Arc::new(AtomicBool::new(true));
    let service = || Signers::new(vec![Box::new(Service(key(1), Arc::clone(&up)))]).unwrap();
    let ledger = open(dir.path(), service()).unwrap();
    append(&ledger, 0..2);
    ledger.integrate().unwrap();
    up.store(false, Ordering::SeqCst);
    append(&ledger, 2..300);
    let error = ledger.integrate().unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
    assert!(ledger.receipt(2).is_err());
    assert_eq!(ledger.read(2).unwrap().envelope(), envelope(2));
    append(&ledger, 300..301);
    drop(ledger);
    let ledger = open(dir.path(), service()).unwrap();
    assert_eq!(ledger.size(), 301);
    up.store(true, Ordering::SeqCst);
    assert_eq!(ledger.integrate().unwrap().unverified().size, 301);
    drop(ledger);
    assert_eq!(verify(dir.path(), &vkey(1).into()).unwrap().size, 301);
}
