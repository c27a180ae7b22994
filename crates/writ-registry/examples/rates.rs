//! How fast scans become evidence and findings become rows, beside what SQLite itself can do.
//!
//! `cargo run --release -p writ-registry --example rates -- [FINDINGS]`
//!
//! Prints CPU seconds beside wall seconds: on a busy machine only the first means something.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use writ_model::{Digest, Finding};
use writ_registry::{FindingsQuery, NewRecord, Store, StoreOptions, findings};

mod scans;

use scans::{Outcome, finding, scan};

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn report(&self, what: &str, count: usize, unit: &str) {
        let (wall, used) = (
            self.0.elapsed().as_secs_f64(),
            (cpu() - self.1).as_secs_f64(),
        );
        let count = count as f64;
        println!(
            "{what:<44} {:>9.0} {unit}/CPU-s  {:>9.0} {unit}/s  ({used:.3} CPU-s, {wall:.3} s)",
            count / used,
            count / wall
        );
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let count: usize = std::env::args()
        .nth(1)
        .map_or(Ok(50_000), |text| text.parse())?;
    let place = tempfile::tempdir()?;
    let options = StoreOptions::new(place.path().join("trust")).create();
    let store = Store::open(place.path().join("store"), options).await?;
    let found: Vec<Finding> = (0..count).map(finding).collect();

    raw(place.path(), &found).await?;

    let watch = Watch::start();
    let blob = findings::encode(&found)?;
    watch.report("findings encoded", count, "findings");
    let watch = Watch::start();
    findings::decode(Digest::of(&blob), &blob)?;
    watch.report("findings hashed and decoded", count, "findings");
    let watch = Watch::start();
    store
        .record(scan(&store, "payments", &found, "first")?)
        .await?;
    watch.report("first import, evidence durable, indexed", count, "findings");

    // What the pipeline hands over when the scanner says the same again.
    let again = scan(&store, "payments", &found, "again")?;
    let watch = Watch::start();
    store.record(again).await?;
    watch.report("unchanged import of the encoded report", count, "findings");

    let mut changed = found.clone();
    changed.drain(..count / 100);
    changed.extend((count..count + count / 100).map(finding));
    let record = scan(&store, "payments", &changed, "changed")?;
    let watch = Watch::start();
    store.record(record).await?;
    watch.report("import with 2 % changed", count, "findings");

    let small: Vec<NewRecord> = (0..2_000)
        .map(|number| {
            scan(
                &store,
                &format!("service-{}", number % 100),
                &[],
                &format!("small {number}"),
            )
        })
        .collect::<Outcome<_>>()?;
    let watch = Watch::start();
    store.record_batch(small).await?;
    watch.report("record_batch of 2,000 scans", 2_000, "entries");

    let single = 200;
    let watch = Watch::start();
    for number in 0..single {
        store
            .record(scan(&store, "billing", &[], &format!("single {number}"))?)
            .await?;
    }
    watch.report("record, one by one", single, "entries");

    let many = 4_000;
    let records: Vec<NewRecord> = (0..many)
        .map(|number| scan(&store, "billing", &[], &format!("of many {number}")))
        .collect::<Outcome<_>>()?;
    let watch = Watch::start();
    let store_ref = &store;
    futures_util::stream::iter(records)
        .map(|record| store_ref.record(record))
        .buffer_unordered(64)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    watch.report("record, 64 at once", many, "entries");

    let watch = Watch::start();
    let open = store.open_findings(&FindingsQuery::default()).await?.len();
    watch.report("open findings listed", open, "findings");

    let record = scan(&store, "payments", &[], "all fixed")?;
    let watch = Watch::start();
    store.record(record).await?;
    watch.report("import that fixes everything", count, "findings");

    let entries = usize::try_from(store.extent().await?.entries)?;
    let watch = Watch::start();
    store.reindex(&mut |_, _| {}).await?;
    watch.report("reindex (every signature checked)", entries, "entries");
    store.close().await?;
    Ok(())
}

/// The same columns into bare SQLite, one prepared statement per row, in one transaction.
async fn raw(place: &std::path::Path, found: &[Finding]) -> Outcome<()> {
    let options = SqliteConnectOptions::new()
        .filename(place.join("raw.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::query("CREATE TABLE f (stream BIGINT, fingerprint TEXT, severity BIGINT, rule TEXT, title TEXT, place TEXT, PRIMARY KEY (stream, fingerprint))")
        .execute(&pool)
        .await?;
    sqlx::query("CREATE INDEX f_fingerprint ON f (fingerprint, stream)")
        .execute(&pool)
        .await?;
    let watch = Watch::start();
    let mut transaction = pool.begin().await?;
    for finding in found {
        sqlx::query("INSERT INTO f VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(0_i64)
            .bind(finding.fingerprint.to_hex())
            .bind(finding.severity as i64)
            .bind(&finding.rule)
            .bind(&finding.title)
            .bind("pkg:npm/library@1.0.0 (package-lock.json)")
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    watch.report(
        "raw SQLite rows, 6 columns, 2 indexes",
        found.len(),
        "findings",
    );
    pool.close().await;
    Ok(())
}
