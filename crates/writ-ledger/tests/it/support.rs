//! Ledgers in temporary directories, with a clock that tests set.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use writ_ledger::{
    Clock, KeyKind, Ledger, LedgerError, LogKeys, NoteSigner, Options, VerifyReport, verify_log,
};

pub const ORIGIN: &str = "ledger.example/test";

pub fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()
}

pub fn keys() -> LogKeys {
    signer().verifier().into()
}

/// A clock that stands still until it is set.
#[derive(Default)]
pub struct Hands(AtomicI64);

impl Hands {
    pub fn at(micros: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(micros)))
    }

    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub fn options() -> Options {
    Options {
        // A test beside this one that starts a process holds the lock from its fork to its exec.
        lock_timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

pub fn open_at(dir: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Ledger, LedgerError> {
    Ledger::open(dir, ORIGIN, signer(), clock, options)
}

pub fn open(dir: &Path) -> Ledger {
    open_at(dir, Hands::at(1_700_000_000_000_000), options()).unwrap()
}

pub fn verify(dir: &Path) -> Result<VerifyReport, LedgerError> {
    verify_log(dir, &keys(), &[], &mut |_, _| {})
}

/// A small envelope that says which one it is.
pub fn envelope(number: u64) -> Vec<u8> {
    format!(r#"{{"payload":"{number}","payloadType":"t","signatures":[]}}"#).into_bytes()
}

pub fn append(ledger: &Ledger, numbers: std::ops::Range<u64>) {
    let envelopes: Vec<Vec<u8>> = numbers.map(envelope).collect();
    let borrowed: Vec<&[u8]> = envelopes.iter().map(Vec::as_slice).collect();
    ledger.append(&borrowed).unwrap();
}

pub fn temporary() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// All files below `dir`, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// Overwrites a file whatever its mode.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Runs a future that never waits for anything outside of itself.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
