//! How many entries per second several processes append to one shared log, beside PostgreSQL's own
//! commit rate in the same run.
//!
//! ```text
//! WRIT_TEST_POSTGRES=postgres://… shared_rate [SECONDS]
//! ```
//!
//! The server should run with fsync. Each process has 32 callers that append one entry of 1,200
//! bytes at a time and wait for it; tiles go to a temporary directory.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use writ_ledger::{DirectoryStore, KeyKind, NoteSigner, Signers, SystemClock};
use writ_model::Digest;
use writ_registry::log::shared::{SharedLog, SharedOptions};
use writ_registry::log::{Log as _, LogWriter, NewEntry};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ORIGIN: &str = "ledger.example/rate";
const CALLERS: usize = 32;

async fn open(schema: &str, dir: &Path) -> Outcome<(SharedLog, Arc<dyn LogWriter>)> {
    let server = PgConnectOptions::from_str(&std::env::var("WRIT_TEST_POSTGRES")?)?;
    let tiles = Arc::new(DirectoryStore::shared(dir, Duration::from_secs(10))?);
    let options = SharedOptions {
        unsafe_postgres: true,
        ..SharedOptions::default()
    };
    let log = SharedLog::new(server, schema, tiles, options)?;
    let signer = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32])?;
    let writer = log
        .writer(
            ORIGIN,
            Signers::from(signer),
            Arc::new(SystemClock),
            Duration::ZERO,
        )
        .await?;
    Ok((log, writer))
}

/// One writing process: prints how many entries it appended.
async fn write(schema: &str, dir: &Path, seconds: u64) -> Outcome<()> {
    let (_log, writer) = open(schema, dir).await?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let writer = Arc::clone(&writer);
        tasks.push(tokio::spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                let name = format!("{}-{caller}-{count}", std::process::id());
                let entry = NewEntry {
                    key: Digest::of(name.as_bytes()),
                    envelope: format!(r#"{{"payload":"{name:x<1150}","signatures":[]}}"#)
                        .into_bytes(),
                };
                writer.append(vec![entry]).await?;
                count += 1;
            }
            Outcome::Ok(count)
        }));
    }
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    println!("{total}");
    writer.close().await?;
    Ok(())
}

/// Commits per second of one connection that inserts a row of the same size.
async fn commits(seconds: u64) -> Outcome<f64> {
    let server = PgConnectOptions::from_str(&std::env::var("WRIT_TEST_POSTGRES")?)?;
    let mut connection = PgConnection::connect_with(&server).await?;
    sqlx::raw_sql("DROP TABLE IF EXISTS rate_of_commits; CREATE TABLE rate_of_commits (row bytea)")
        .execute(&mut connection)
        .await?;
    let row = vec![b'x'; 1_200];
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        sqlx::query("INSERT INTO rate_of_commits VALUES ($1)")
            .bind(&row)
            .execute(&mut connection)
            .await?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, schema, dir, seconds] = arguments.as_slice()
        && word == "write"
    {
        return write(schema, Path::new(dir), seconds.parse()?).await;
    }
    let seconds: u64 = arguments.first().map_or(Ok(5), |text| text.parse())?;
    let server = PgConnectOptions::from_str(&std::env::var("WRIT_TEST_POSTGRES")?)?;
    let mut connection = PgConnection::connect_with(&server).await?;
    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&mut connection)
        .await?;
    println!("fsync {fsync}, {seconds} s each, {CALLERS} callers per process");
    for processes in [1, 2, 4] {
        let raw = commits(seconds.min(3)).await?;
        let dir = tempfile::tempdir()?;
        let schema = format!("rate_{}_{processes}", std::process::id());
        open(&schema, dir.path()).await?;
        let mut children = Vec::new();
        for _ in 0..processes {
            children.push(
                Command::new(std::env::current_exe()?)
                    .args(["write", &schema])
                    .arg(dir.path())
                    .arg(seconds.to_string())
                    .stdout(Stdio::piped())
                    .spawn()?,
            );
        }
        let mut total = 0.0;
        for child in children {
            let output = child.wait_with_output()?;
            total += String::from_utf8(output.stdout)?.trim().parse::<f64>()?;
        }
        let rate = total / seconds as f64;
        println!(
            "{processes} processes: {rate:.0} entries/s, {raw:.0} commits/s of one connection, ratio {:.1}",
            rate / raw
        );
    }
    Ok(())
}
