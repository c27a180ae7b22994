//! How the costs of a store grow with its entries: append, recovery after a crash, proofs, reads, queries, reindex,
//! verification, and bytes on disk; with the raw limits of the machine in the same run.
//!
//! ```text
//! cargo run --release -p writ-registry --example growth -- [DIRECTORY] [SIZE]...
//! ```
//!
//! DIRECTORY (default: a temporary one) should be on a real disk with about 2.2 KB free per entry. SIZES default to
//! 10,000 100,000 1,000,000; each continues the store of the one before.
//!
//! Only the last 5,000 entries of a size go through `Store::record_batch`, the same door as everybody's, from a child
//! process that ends by SIGKILL when its last batch is acknowledged. Those before them are signed and appended to the
//! ledger alone; then the index is taken away, and opening the store builds it: the cost of a reindex. The whole store is verified
//! up to 100,000 entries.

use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use writ_evidence::canonical;
use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_ledger::{Ledger, Options, SystemClock};
use writ_model::Timestamp;
use writ_registry::{NewRecord, Query, Store, StoreOptions, Trust, VerifyOptions, verify_store};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const BATCH: u64 = 1_000;
/// Entries of each size that go through the door.
const THROUGH: u64 = 5_000;
/// Largest store that is verified as a whole.
const VERIFIED: u64 = 100_000;
const READS: u64 = 2_000;
const SERVICES: u64 = 1_000;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|a| a == "--append").is_some() {
        let mut next = || arguments.next().ok_or("--append DIRECTORY FROM TO");
        let place = PathBuf::from(next()?);
        let (from, to) = (next()?.parse()?, next()?.parse()?);
        return runtime()?.block_on(append(&place, from, to));
    }
    let temporary = tempfile::tempdir()?;
    let place = match arguments.next_if(|a| a.parse::<u64>().is_err()) {
        Some(directory) => PathBuf::from(directory),
        None => temporary.path().to_path_buf(),
    };
    let mut sizes: Vec<u64> = arguments.map(|a| a.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 1_000_000];
    }
    limits(&place)?;
    println!(
        "| entries | ledger alone, append /CPU-s | record_batch /CPU-s (/s) | open after kill | prove p50 / p99 | read + proof p50 / p99 | page p50 / p99 | older root | reindex /CPU-s (/s) | verify /CPU-s (/s) | ledger | index |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut from = 0;
    for to in sizes {
        runtime()?.block_on(measure(&place, from, to))?;
        from = to;
    }
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

async fn open(place: &Path) -> Outcome<Store> {
    let options = StoreOptions::new(place.join("trust")).create();
    Ok(Store::open(place.join("store"), options).await?)
}

/// A small statement: a scan that found nothing, as most of a quiet organisation's evidence.
fn statement(now: Timestamp, number: u64) -> Outcome<Vec<u8>> {
    let commit = hex::encode(&Sha256::digest((number / 12).to_be_bytes())[..20]);
    Ok(canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "commit", "digest": {"gitCommit": commit}}],
        "predicateType": "urn:writ:predicate:scan:v1",
        "predicate": {
            "service": format!("service-{:04}", number % SERVICES),
            "evidenceType": "dependency-scan", "stage": "dependencies",
            "startedAt": now, "finishedAt": now, "observedAt": now,
            "origin": "observed", "producerClass": "laptop", "outcome": "completed",
            "tool": {"name": "trivy", "version": "0.70.0"},
            "lookedAt": [{"what": "packages", "count": 168}],
            "counts": {"critical": 0, "high": 0, "medium": 0, "low": 0, "info": 0, "unknown": 0},
            "notes": [format!("entry {number}")],
        }
    }))?)
}

/// Signs statements and appends them to the ledger, without an index; gives the CPU time of appending.
async fn append_only(place: &Path, from: u64, to: u64) -> Outcome<Duration> {
    let store = open(place).await?;
    let (origin, now) = (store.origin().to_owned(), store.now());
    store.close().await?;
    let trust = Trust::open(&place.join("trust"), false)?;
    let producer = trust.producer(now)?;
    let ledger = Ledger::open(
        &place.join("store/ledger"),
        &origin,
        trust.log_signers(&origin, now)?,
        Arc::new(SystemClock),
        Options::default(),
    )?;
    let sign = |numbers: std::ops::Range<u64>| -> Result<Vec<Vec<u8>>, String> {
        let signed = numbers.map(|number| {
            let payload = statement(now, number).map_err(|e| e.to_string())?;
            let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, producer.as_ref());
            Ok(envelope.map_err(|e| e.to_string())?.to_canonical_json())
        });
        signed.collect()
    };
    let mut used = Duration::ZERO;
    for first in (from..to).step_by(10_000) {
        let (middle, last) = ((first + 5_000).min(to), (first + 10_000).min(to));
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| sign(first..middle));
            let two = scope.spawn(|| sign(middle..last));
            (one.join(), two.join())
        });
        let part = |joined: std::thread::Result<Result<Vec<Vec<u8>>, String>>| {
            joined.map_err(|_| "a signing thread ended")?
        };
        let (one, two) = (part(one)?, part(two)?);
        let envelopes: Vec<&[u8]> = one.iter().chain(&two).map(Vec::as_slice).collect();
        let before = cpu();
        ledger.append(&envelopes)?;
        used += cpu() - before;
    }
    let before = cpu();
    ledger.close()?;
    Ok(used + (cpu() - before))
}

/// The child: appends, tells what it used, and dies as if killed.
async fn append(place: &Path, from: u64, to: u64) -> Outcome<()> {
    let store = open(place).await?;
    let (start, before) = (Instant::now(), cpu());
    for first in (from..to).step_by(BATCH as usize) {
        let batch = (first..(first + BATCH).min(to))
            .map(|number| Ok(NewRecord::payload(statement(store.now(), number)?)))
            .collect::<Outcome<Vec<_>>>()?;
        store.record_batch(batch).await?;
    }
    let (wall, used) = (start.elapsed(), cpu() - before);
    std::fs::write(
        place.join("appended"),
        format!("{} {}", wall.as_secs_f64(), used.as_secs_f64()),
    )?;
    // Nothing is closed, no checkpoint is signed: what a crash leaves.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

async fn measure(place: &Path, from: u64, to: u64) -> Outcome<()> {
    // Without an index, then with one that has everything to catch up with.
    let middle = to.saturating_sub(THROUGH).max(from);
    let appended = append_only(place, from, middle).await?;
    drop_index(&place.join("store"))?;
    let (start, before) = (Instant::now(), cpu());
    let store = open(place).await?;
    let caught = store.extent().await?;
    if caught.indexed != middle {
        return Err(format!(
            "{} entries in the index instead of {middle}",
            caught.indexed
        )
        .into());
    }
    let reindex = (start.elapsed(), cpu() - before);
    store.close().await?;

    let child = Command::new(std::env::current_exe()?)
        .arg("--append")
        .arg(place)
        .args([middle.to_string(), to.to_string()])
        .status()?;
    let told = std::fs::read_to_string(place.join("appended"))
        .map_err(|_| format!("the appending child ended early: {child}"))?;
    std::fs::remove_file(place.join("appended"))?;
    let mut told = told.split(' ').map(str::parse::<f64>);
    let (wall, used) = (told.next().ok_or("wall")??, told.next().ok_or("cpu")??);
    let added = (to - middle) as f64;

    let start = Instant::now();
    let store = open(place).await?;
    let opened = start.elapsed();
    if store.extent().await?.entries != to {
        return Err(format!("{} entries instead of {to}", store.extent().await?.entries).into());
    }
    // The first head after a crash signs everything that was acknowledged.
    store.head(None).await?;

    let mut ids = Vec::new();
    for step in 0..READS {
        let cursor = (to / READS * step + 1).min(to);
        let page = store
            .evidence(&Query {
                limit: 1,
                cursor: Some(cursor.max(1)),
                ..Query::default()
            })
            .await?;
        ids.extend(page.items.into_iter().map(|item| item.id.to_string()));
    }
    let (mut proofs, mut reads, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for (number, id) in ids.iter().enumerate() {
        let start = Instant::now();
        black_box(store.receipt(id).await?);
        proofs.push(start.elapsed());
        let start = Instant::now();
        black_box(store.get(id).await?);
        black_box(store.receipt(id).await?);
        reads.push(start.elapsed());
        let start = Instant::now();
        let query = Query {
            service: Some(format!("service-{:04}", number as u64 % SERVICES)),
            limit: 50,
            ..Query::default()
        };
        black_box(store.evidence(&query).await?);
        pages.push(start.elapsed());
    }
    let start = Instant::now();
    black_box(store.head(Some(to / 2 + 7)).await?);
    let older = start.elapsed();

    store.close().await?;

    let verify = match to <= VERIFIED {
        true => rates(to, verify(place).await?),
        false => "not run".to_owned(),
    };
    let store = place.join("store");
    println!(
        "| {to} | {:.0} | {:.0} ({:.0}) | {} | {} | {} | {} | {} | {} | {verify} | {:.2} GB | {:.2} GB |",
        (middle - from) as f64 / appended.as_secs_f64(),
        added / used,
        added / wall,
        milliseconds(opened),
        quantiles(&mut proofs),
        quantiles(&mut reads),
        quantiles(&mut pages),
        milliseconds(older),
        rates(middle, reindex),
        bytes(&store.join("ledger"))? / 1e9,
        index_bytes(&store)? / 1e9,
    );
    Ok(())
}

async fn verify(place: &Path) -> Outcome<(Duration, Duration)> {
    let (start, before) = (Instant::now(), cpu());
    let report = verify_store(
        &place.join("store"),
        &VerifyOptions::new(place.join("trust")),
        &mut |_, _, _| {},
    )
    .await?;
    if !report.is_good() {
        return Err("the store does not verify".into());
    }
    Ok((start.elapsed(), cpu() - before))
}

/// Takes the index away: the next opening builds it from the ledger.
fn drop_index(store: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(store)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("index") && !name.ends_with(".lock") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Bytes of the index, whatever its file is called, with its log.
fn index_bytes(store: &Path) -> Outcome<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("index") {
            sum += bytes(&entry.path())?;
        }
    }
    Ok(sum)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn rates(count: u64, (wall, used): (Duration, Duration)) -> String {
    let count = count as f64;
    format!(
        "{:.0} ({:.0})",
        count / used.as_secs_f64(),
        count / wall.as_secs_f64()
    )
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    format!("{} / {}", milliseconds(at(50)), milliseconds(at(99)))
}

/// Bytes of a file or of a directory and all below it.
fn bytes(path: &Path) -> Outcome<f64> {
    let meta = std::fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len() as f64);
    }
    let mut sum = 0.0;
    for entry in std::fs::read_dir(path)? {
        sum += bytes(&entry?.path())?;
    }
    Ok(sum)
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// What nothing on this machine can be faster than.
fn limits(place: &Path) -> Outcome<()> {
    std::fs::create_dir_all(place)?;
    let path = place.join("raw");
    let file = std::fs::File::create(&path)?;
    let (start, mut syncs) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[7; 1_000], syncs * 1_000)?;
        file.sync_data()?;
        syncs += 1;
    }
    std::fs::remove_file(&path)?;
    let per_second = |what: &str, unit: &str, scale: f64, mut once: Box<dyn FnMut() -> f64>| {
        let (start, before) = (Instant::now(), cpu());
        let mut done = 0.0;
        while start.elapsed() < Duration::from_millis(500) {
            done += once();
        }
        println!(
            "raw {what}: {:.2} {unit}/CPU-s",
            done / scale / (cpu() - before).as_secs_f64()
        );
    };
    println!("raw write + fdatasync of 1,000 bytes: {syncs}/s");
    let data = vec![7_u8; 4 << 20];
    per_second(
        "SHA-256",
        "GB",
        1e9,
        Box::new(move || {
            black_box(Sha256::digest(black_box(&data)));
            data.len() as f64
        }),
    );
    let key = SigningKey::from_bytes(&[1; 32]);
    let message = vec![7_u8; 700];
    let signature = key.sign(&message);
    let (signer, signed) = (key.clone(), message.clone());
    per_second(
        "Ed25519 signatures",
        "k",
        1e3,
        Box::new(move || {
            black_box(signer.sign(black_box(&signed)));
            1.0
        }),
    );
    let verifier = key.verifying_key();
    per_second(
        "Ed25519 verifications",
        "k",
        1e3,
        Box::new(move || {
            let _ = black_box(verifier.verify_strict(black_box(&message), &signature));
            1.0
        }),
    );
    Ok(())
}
