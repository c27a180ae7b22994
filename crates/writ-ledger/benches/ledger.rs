//! Speed of hashing, appending and verifying. `cargo bench -p writ-ledger`;
//! the table against raw limits is `examples/append_rate.rs`.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use writ_ledger::merkle::leaf_hash;
use writ_ledger::{KeyKind, Ledger, NoteSigner, Options, SystemClock, verify_log};

const ORIGIN: &str = "ledger.example/bench";

fn main() {
    divan::main();
}

fn open(dir: &std::path::Path) -> Ledger {
    let signer = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).expect("a key");
    Ledger::open(
        dir,
        ORIGIN,
        signer,
        Arc::new(SystemClock),
        Options::default(),
    )
    .expect("a ledger")
}

/// An envelope of about `bytes` bytes.
fn envelope(bytes: usize) -> Vec<u8> {
    format!(
        r#"{{"payload":"{}","payloadType":"application/vnd.in-toto+json","signatures":[]}}"#,
        "A".repeat(bytes)
    )
    .into_bytes()
}

#[divan::bench(args = [200, 1000, 4000])]
fn leaf(bencher: Bencher, bytes: usize) {
    let entry = envelope(bytes);
    bencher
        .counter(BytesCount::new(entry.len()))
        .bench(|| leaf_hash(divan::black_box(&entry)));
}

#[divan::bench]
fn append_one(bencher: Bencher) {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path());
    let envelope = envelope(600);
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| ledger.append(&[&envelope]).expect("an append"));
}

#[divan::bench(sample_count = 10)]
fn append_and_integrate_10000(bencher: Bencher) {
    let envelope = envelope(600);
    let batch = vec![envelope.as_slice(); 1000];
    bencher
        .counter(ItemsCount::new(10_000usize))
        .with_inputs(|| {
            let dir = tempfile::tempdir().expect("a directory");
            (open(dir.path()), dir)
        })
        .bench_local_refs(|(ledger, _)| {
            for _ in 0..10 {
                ledger.append(&batch).expect("an append");
            }
            ledger.integrate().expect("a checkpoint")
        });
}

#[divan::bench(sample_count = 10)]
fn verify_10000(bencher: Bencher) {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(dir.path());
    let envelope = envelope(600);
    ledger
        .append(&vec![envelope.as_slice(); 10_000])
        .expect("an append");
    ledger.close().expect("a checkpoint");
    let signer = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).expect("a key");
    bencher
        .counter(ItemsCount::new(10_000usize))
        .bench_local(|| {
            verify_log(dir.path(), &signer.verifier().into(), &[], &mut |_, _| {})
                .expect("a sound ledger")
        });
}
