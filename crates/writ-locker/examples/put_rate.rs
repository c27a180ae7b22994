//! Compares the locker with bare durable creates, taking turns so that both meet the same disk: `cargo run --release -p writ-locker --example put_rate [DIRECTORY]`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use writ_locker::{FsLocker, Locker, Meta, Options};
use writ_model::Timestamp;

const BODY_BYTES: usize = 4096;
/// Pairs of one bare create and one put; the medians are compared.
const PAIRS: usize = 600;
/// Batches of so many objects.
const BATCHES: usize = 5;
const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = match std::env::args_os().nth(1) {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    };
    let raw = directory.path().join("raw");
    std::fs::create_dir(&raw)?;
    let locker = FsLocker::open(directory.path().join("locker"), Options::default())?;
    let meta = Meta::new("application/octet-stream", Timestamp::from_micros(1));
    let mut next = 0_u64;
    let mut bodies = |count: usize| -> Vec<Vec<u8>> {
        let fill = |_| {
            next += 1;
            let mut body = vec![b'x'; BODY_BYTES];
            body[..8].copy_from_slice(&next.to_le_bytes());
            body
        };
        (0..count).map(fill).collect()
    };
    // The shard directories exist in a locker that is in use.
    let warm = bodies(BATCH);
    locker.put_batch(
        &warm
            .iter()
            .map(|body| (body.as_slice(), meta.clone()))
            .collect::<Vec<_>>(),
    )?;

    let handle = File::open(&raw)?;
    let (mut creates, mut singles, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    for (number, body) in bodies(PAIRS).iter().enumerate() {
        let start = Instant::now();
        raw_create(&raw.join(number.to_string()), &handle, body)?;
        creates.push(start.elapsed());
        let start = Instant::now();
        locker.put_bytes(&[body, &b"put"[..]].concat(), &meta)?;
        singles.push(start.elapsed());
    }
    for _ in 0..BATCHES {
        let new = bodies(BATCH);
        let batch: Vec<_> = new
            .iter()
            .map(|body| (body.as_slice(), meta.clone()))
            .collect();
        let start = Instant::now();
        locker.put_batch(&batch)?;
        batches.push(start.elapsed() / u32::try_from(BATCH)?);
    }
    let (raw, single, batch) = (median(creates), median(singles), median(batches));
    println!("objects of {BODY_BYTES} bytes, median time per object");
    println!("  raw durable create {:>8} us", raw.as_micros());
    println!(
        "  put, one by one    {:>8} us   {} of a raw create",
        single.as_micros(),
        ratio(single, raw)
    );
    println!(
        "  put, batches       {:>8} us   {} the rate of one by one",
        batch.as_micros(),
        ratio(single, batch)
    );
    Ok(())
}

/// Create, write, fsync, fsync of the directory: what nothing durable can do without.
fn raw_create(path: &Path, directory: &File, body: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(body)?;
    file.sync_all()?;
    directory.sync_all()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// `a / b` with two digits.
fn ratio(a: Duration, b: Duration) -> String {
    let hundredths = a.as_nanos() * 100 / b.as_nanos().max(1);
    format!("{}.{:02} x", hundredths / 100, hundredths % 100)
}
