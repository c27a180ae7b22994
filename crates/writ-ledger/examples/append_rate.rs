//! The ledger's speed beside the raw limits of the same machine, in one run:
//!
//! ```text
//! cargo run --release -p writ-ledger --example append_rate [ENTRIES] [DIRECTORY]
//! ```
//!
//! ENTRIES defaults to 1,000,000; DIRECTORY to a temporary one (it should be on
//! a real disk). Rates are medians of several rounds; CPU time is user plus
//! system time of this process, as `/proc` tells it.

use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use writ_ledger::{KeyKind, Ledger, LedgerError, NoteSigner, Options, SystemClock, verify_log};

const ORIGIN: &str = "ledger.example/speed";
const ENVELOPE_BYTES: usize = 1_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let temporary = tempfile::tempdir()?;
    let root = arguments
        .next()
        .map_or_else(|| temporary.path().to_path_buf(), Into::into);
    println!("{entries} entries with envelopes of {ENVELOPE_BYTES} bytes, batches of {BATCH}");

    // Rounds of both alternate, because the disk's speed changes by the minute.
    let (mut raw, mut single, mut proven) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        raw.push(raw_sync_rate(&root)?);
        let dir = root.join(format!("single-{round}"));
        single.push(rate(&dir, |ledger, bytes| {
            ledger.append(&[bytes]).map(drop)
        })?);
        proven.push(rate(&dir, |ledger, bytes| {
            let appended = ledger.append(&[bytes])?;
            ledger.receipt(appended[0].index).map(drop)
        })?);
    }
    let (raw, single, proven) = (median(raw), median(single), median(proven));
    row("raw: write + fdatasync of one entry", format!("{raw:.0}/s"));
    row("single sequential append", format!("{single:.0}/s"));
    row("  ratio (at least 0.50)", format!("{:.2}", single / raw));
    row(
        "append, integrate and receipt, one by one",
        format!("{proven:.0}/s = {:.1} raw syncs each", raw / proven),
    );

    let dir = root.join("large");
    let (wall, cpu) = batched(&dir, entries)?;
    row(
        "batched append + integrate",
        format!("{:.0}/s wall", entries as f64 / wall.as_secs_f64()),
    );
    row(
        "  per CPU-second (at least 150,000)",
        format!("{:.0}", entries as f64 / cpu.as_secs_f64()),
    );

    let start = Instant::now();
    let ledger = open(&dir)?;
    let opened = start.elapsed();
    row(
        "open (at most 2 s)",
        format!("{:.1} ms", opened.as_secs_f64() * 1e3),
    );
    let start = Instant::now();
    for index in (0..1000)
        .map(|i| i * (entries / 1000).max(1))
        .filter(|i| *i < entries)
    {
        black_box(ledger.receipt(index)?);
    }
    row(
        "receipt",
        format!("{:.0} µs", start.elapsed().as_secs_f64() * 1e3),
    );
    drop(ledger);

    let sha = median((0..ROUNDS).map(|_| sha256_rate()).collect());
    let signer = signer()?;
    let mut bytes = 0;
    let mut times = Vec::new();
    let mut cpus = Vec::new();
    for _ in 0..3 {
        let (start, before) = (Instant::now(), cpu_time()?);
        bytes = verify_log(&dir, &signer.verifier().into(), &[], &mut |_, _| {})?.entry_bytes;
        times.push(start.elapsed().as_secs_f64());
        cpus.push((cpu_time()? - before).as_secs_f64());
    }
    let (wall, cpu, limit) = (median(times), median(cpus), bytes as f64 / sha);
    row("raw: SHA-256", format!("{:.2} GB/s", sha / 1e9));
    row(
        "verify",
        format!(
            "{wall:.2} s wall, {cpu:.2} s CPU, {:.2} GB",
            bytes as f64 / 1e9
        ),
    );
    row(
        "  ratio to SHA-256 of the entries (at most 3.0)",
        format!("{:.2} wall, {:.2} CPU", wall / limit, cpu / limit),
    );
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn row(what: &str, value: String) {
    println!("{what:<50} {value}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn signer() -> Outcome<NoteSigner> {
    Ok(NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32])?)
}

fn open(dir: &Path) -> Outcome<Ledger> {
    let opened: Result<Ledger, LedgerError> = Ledger::open(
        dir,
        ORIGIN,
        signer()?,
        Arc::new(SystemClock),
        Options::default(),
    );
    Ok(opened?)
}

fn envelope() -> Vec<u8> {
    let frame = r#"{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}"#;
    frame
        .replacen(
            "\"\"",
            &format!("\"{}\"", "A".repeat(ENVELOPE_BYTES - frame.len())),
            1,
        )
        .into_bytes()
}

fn cpu_time() -> Outcome<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    // A tick of /proc is 10 ms on every Linux.
    Ok(Duration::from_millis(ticks * 10))
}

/// The limit of any journal: appending to a file and syncing it, nothing else.
fn raw_sync_rate(root: &Path) -> Outcome<f64> {
    let path = root.join("raw");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let bytes = envelope();
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&bytes, u64::from(count) * bytes.len() as u64)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// How often per second one after the other `step` can be done.
fn rate(dir: &Path, step: impl Fn(&Ledger, &[u8]) -> Result<(), LedgerError>) -> Outcome<f64> {
    let ledger = open(dir)?;
    let bytes = envelope();
    step(&ledger, &bytes)?;
    let start = Instant::now();
    let mut count = 0u32;
    while start.elapsed() < Duration::from_secs(1) {
        step(&ledger, &bytes)?;
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    drop(ledger);
    fs::remove_dir_all(dir)?;
    Ok(rate)
}

/// Wall and CPU time of appending and integrating `entries`.
fn batched(dir: &Path, entries: u64) -> Outcome<(Duration, Duration)> {
    let ledger = open(dir)?;
    let bytes = envelope();
    let batch = vec![bytes.as_slice(); BATCH];
    let (start, before) = (Instant::now(), cpu_time()?);
    let mut left = entries as usize;
    while left > 0 {
        ledger.append(&batch[..left.min(BATCH)])?;
        left -= left.min(BATCH);
    }
    ledger.close()?;
    Ok((start.elapsed(), cpu_time()? - before))
}

fn sha256_rate() -> f64 {
    let data = vec![7u8; 64 << 20];
    let start = Instant::now();
    black_box(Sha256::digest(black_box(&data)));
    data.len() as f64 / start.elapsed().as_secs_f64()
}
