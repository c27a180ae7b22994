//! Storing durably, one by one and in batches, beside the bare system calls:
//! `cargo bench -p writ-locker`. `WRIT_BENCH_DIR` chooses the disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use tempfile::TempDir;
use writ_locker::{FsLocker, Locker, Meta, Options};
use writ_model::Timestamp;

/// A normalised findings file of a small service.
const BODY_BYTES: usize = 4096;
const BATCH: usize = 1000;

fn main() {
    divan::main();
}

fn directory() -> TempDir {
    match std::env::var_os("WRIT_BENCH_DIR") {
        Some(path) => tempfile::tempdir_in(path),
        None => tempfile::tempdir(),
    }
    .expect("a directory to write to")
}

/// A body that has never been stored.
fn body() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut body = vec![b'x'; BODY_BYTES];
    body[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    body
}

fn meta() -> Meta {
    Meta::new("application/octet-stream", Timestamp::from_micros(1))
}

/// Create, write, fsync, fsync of the directory: what nothing durable can do without.
fn raw_create(directory: &Path, handle: &File, body: &[u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = directory.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    let mut file = File::create_new(path).expect("a new file");
    file.write_all(body).expect("room");
    file.sync_all().expect("durable");
    handle.sync_all().expect("durable");
}

#[divan::bench(sample_count = 500)]
fn raw_durable_create(bencher: Bencher<'_, '_>) {
    let directory = directory();
    let handle = File::open(directory.path()).expect("the directory");
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(body)
        .bench_local_values(|body| raw_create(directory.path(), &handle, &body));
}

#[divan::bench(sample_count = 500)]
fn put_single(bencher: Bencher<'_, '_>) {
    let directory = directory();
    let locker = FsLocker::open(directory.path(), Options::default()).expect("a locker");
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(body)
        .bench_local_values(|body| locker.put_bytes(&body, &meta()).expect("stored"));
}

#[divan::bench(sample_count = 5)]
fn put_batch(bencher: Bencher<'_, '_>) {
    let directory = directory();
    let locker = FsLocker::open(directory.path(), Options::default()).expect("a locker");
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| (0..BATCH).map(|_| body()).collect::<Vec<_>>())
        .bench_local_values(|bodies| {
            let batch: Vec<_> = bodies
                .iter()
                .map(|body| (body.as_slice(), meta()))
                .collect();
            locker.put_batch(&batch).expect("stored")
        });
}
