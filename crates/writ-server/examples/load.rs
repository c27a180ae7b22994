//! Load on a server that listens: evidence handed in by many clients, or pages read again and again.
//!
//! ```text
//! writ --store S serve --listen 127.0.0.1:8080 &
//! cargo run --release -p writ-server --example load -- intake http://127.0.0.1:8080 TRUST [ENVELOPES] [CLIENTS] [BATCH]
//! cargo run --release -p writ-server --example load -- pages http://127.0.0.1:8080 [ROUNDS] [CLIENTS]
//! ```
//!
//! TRUST is the trust directory of the store: the envelopes are signed with its producer's key before the clock
//! starts. Each client waits for its answer, which comes when the entries are durable, before it sends the next
//! envelope, or the next BATCH of them in one request, as spools are delivered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use writ_evidence::{canonical, dsse};
use writ_model::Timestamp;
use writ_registry::Trust;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The pages of the list, without those of one thing.
const PAGES: &[&str] = &[
    "/",
    "/changes",
    "/runs",
    "/environments",
    "/environments/production",
    "/findings",
    "/exemptions",
    "/controls",
    "/controls/VUL-01",
    "/evidence",
    "/search?q=scan",
    "/admin/health",
];

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| match arguments.get(at) {
        Some(text) => text.parse().map_err(|e| format!("{text}: {e}")),
        None => Ok(default),
    };
    match arguments.first().map(String::as_str) {
        Some("intake") if arguments.len() >= 3 => {
            let (url, trust) = (&arguments[1], Path::new(&arguments[2]));
            let batch = number(5, 1)?.max(1);
            intake(url, trust, number(3, 50_000)?, number(4, 64)?, batch).await
        }
        Some("pages") if arguments.len() >= 2 => {
            pages(&arguments[1], number(2, 20)?, number(3, 1)?).await
        }
        _ => Err(
            "load intake URL TRUST [ENVELOPES] [CLIENTS] [BATCH] | load pages URL [ROUNDS] [CLIENTS]"
                .into(),
        ),
    }
}

fn client() -> Outcome<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .pool_max_idle_per_host(1_024)
        .build()?)
}

async fn intake(
    url: &str,
    trust: &Path,
    count: usize,
    clients: usize,
    batch: usize,
) -> Outcome<()> {
    let trust = Trust::open(trust, false)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp::from_micros(i64::try_from(now.as_micros())?);
    let signer = trust.producer(now)?;
    let bodies = (0..count).map(|number| {
        let payload = canonical::to_vec(&json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "load", "digest": {"gitCommit": format!("{:016x}{number:024x}", now.micros())}}],
            "predicateType": "urn:writ:predicate:probe:v1",
            "predicate": {
                "service": format!("service-{}", number % 1_000),
                "evidenceType": "branch-protection",
                "target": "git.example",
                "observedAt": now,
                "origin": "observed",
                "producerClass": "laptop",
                "outcome": "completed",
                "lookedAt": [{"what": "branches", "count": 1}],
                "facts": {"branch": "main", "protected": true},
            },
        }))?;
        let envelope = dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer.as_ref())?;
        Ok(envelope.to_canonical_json())
    });
    let envelopes: Vec<Vec<u8>> = bodies.collect::<Outcome<_>>()?;
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new(
        envelopes
            .chunks(batch)
            .map(|lines| lines.join(&b'\n'))
            .collect(),
    );
    let media_type = match batch {
        1 => "application/vnd.dsse.envelope.v1+json",
        _ => "application/x-ndjson",
    };
    let next = Arc::new(AtomicUsize::new(0));
    let (client, address) = (client()?, format!("{url}/api/v1/evidence"));
    let (start, used) = (Instant::now(), cpu());
    let workers = (0..clients).map(|_| {
        let (bodies, next) = (Arc::clone(&bodies), Arc::clone(&next));
        let (client, address) = (client.clone(), address.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times);
                };
                let begin = Instant::now();
                let answer = client
                    .post(&address)
                    .header("content-type", media_type)
                    .body(body.clone())
                    .send()
                    .await?;
                if answer.status() != 201 {
                    return Err(format!("{}: {}", answer.status(), answer.text().await?).into());
                }
                answer.bytes().await?;
                times.push(begin.elapsed());
            }
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await??);
    }
    let wall = start.elapsed();
    println!(
        "{count} envelopes, {clients} clients, {batch} a request: {:.0}/s, p50 {}, p99 {}; the clients took {:.1} CPU-s",
        count as f64 / wall.as_secs_f64(),
        milliseconds(quantile(&mut times, 50)),
        milliseconds(quantile(&mut times, 99)),
        (cpu() - used).as_secs_f64(),
    );
    Ok(())
}

async fn pages(url: &str, rounds: usize, clients: usize) -> Outcome<()> {
    let client = client()?;
    println!("| page | bytes | p50 | p99 |\n|---|---:|---:|---:|");
    for page in PAGES {
        let address = format!("{url}{page}");
        let bytes = client.get(&address).send().await?.error_for_status()?;
        let bytes = bytes.bytes().await?.len();
        let workers = (0..clients).map(|_| {
            let (client, address) = (client.clone(), address.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..rounds {
                    let begin = Instant::now();
                    let answer = client.get(&address).send().await?.error_for_status()?;
                    answer.bytes().await?;
                    times.push(begin.elapsed());
                }
                Ok::<_, reqwest::Error>(times)
            })
        });
        let mut times = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            times.extend(worker.await??);
        }
        println!(
            "| {page} | {bytes} | {} | {} |",
            milliseconds(quantile(&mut times, 50)),
            milliseconds(quantile(&mut times, 99))
        );
    }
    Ok(())
}

fn quantile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    let at = times.len() * part / 100;
    times.get(at).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
