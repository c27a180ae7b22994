//! Compares the locker with bare durable creates, taking turns in one run so that both meet the
//! same disk: `cargo run --release -p writ-locker --example put_rate [DIRECTORY]`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use writ_locker::{FsLocker, Locker, Meta, Options};
use writ_model::Timestamp;

const BODY_BYTES: usize = 4096;
/// Rounds, each with so many objects per method; the medians of the rounds are compared.
const ROUNDS: usize = 9;
const SINGLES: usize = 200;
const BATCH: usize = 2000;

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

    let (mut creates, mut singles, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let new = bodies(SINGLES);
        let start = Instant::now();
        raw_creates(&raw, round, &new)?;
        creates.push(rate(SINGLES, start));

        let new = bodies(SINGLES);
        let start = Instant::now();
        for body in &new {
            locker.put_bytes(body, &meta)?;
        }
        singles.push(rate(SINGLES, start));

        let new = bodies(BATCH);
        let batch: Vec<_> = new
            .iter()
            .map(|body| (body.as_slice(), meta.clone()))
            .collect();
        let start = Instant::now();
        locker.put_batch(&batch)?;
        batches.push(rate(BATCH, start));
    }
    let (raw, single, batch) = (median(creates), median(singles), median(batches));
    println!("objects of {BODY_BYTES} bytes, median of {ROUNDS} rounds, objects per second");
    println!("  raw durable create {raw:>9}");
    println!(
        "  put, one by one    {single:>9}   {} of the time of a raw create",
        ratio(raw, single)
    );
    println!(
        "  put, batches       {batch:>9}   {} the one-by-one rate, {} the raw rate",
        ratio(batch, single),
        ratio(batch, raw)
    );
    Ok(())
}

fn raw_creates(directory: &Path, round: usize, bodies: &[Vec<u8>]) -> std::io::Result<()> {
    let handle = File::open(directory)?;
    for (number, body) in bodies.iter().enumerate() {
        let mut file = File::create_new(directory.join(format!("{round}-{number}")))?;
        file.write_all(body)?;
        file.sync_all()?;
        handle.sync_all()?;
    }
    Ok(())
}

fn rate(count: usize, start: Instant) -> u128 {
    count as u128 * 1_000_000 / start.elapsed().as_micros().max(1)
}

fn median(mut rates: Vec<u128>) -> u128 {
    rates.sort_unstable();
    rates[rates.len() / 2]
}

/// `a / b` with two digits.
fn ratio(a: u128, b: u128) -> String {
    let hundredths = a * 100 / b.max(1);
    format!("{}.{:02} x", hundredths / 100, hundredths % 100)
}
