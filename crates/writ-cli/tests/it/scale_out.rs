//! Two servers over one PostgreSQL and one bucket, under load, while one of them is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use writ_evidence::key::Signer;
use writ_evidence::{canonical, dsse};
use writ_registry::{Store, StoreOptions};

use crate::locker::{make_bucket, service};
use crate::sandbox::{Listening, Sandbox};

/// Who asks at the same time.
const CLIENTS: usize = 8;
/// Statements of each.
const EACH: usize = 40;
/// Longest that anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// One process of the store, on a port of its own.
fn start(sandbox: &Sandbox, name: &str) -> Listening {
    let mut command =
        sandbox.command(&["serve", "--listen", "127.0.0.1:0", "-f", "json", "--store"]);
    command.arg(sandbox.path(&format!("home/{name}.toml")));
    Listening::start(
        &mut command,
        Some(&sandbox.path(&format!("home/{name}.log"))),
    )
}

fn base(server: &Listening) -> String {
    format!("http://{}", server.address())
}

/// A machine on which two processes of one store can run: each with a directory of its own.
fn machine(postgres: &str, s3: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let tag = format!("{}_{}", std::process::id(), since.unwrap().as_millis());
    // The server of the tests keeps conditions only in buckets without versions when several write
    // at once; the locker must have a lock.
    let buckets = [("evidence", true), ("tiles", false)].map(|(name, locked)| {
        let bucket = format!("{name}-{}", tag.replace('_', "-"));
        make_bucket(s3, &bucket, locked);
        bucket
    });
    let keys = sandbox.path("home/credentials");
    let text = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
    std::fs::write(&keys, text).unwrap();
    let address = sandbox.path("home/address");
    std::fs::write(&address, postgres).unwrap();
    for name in ["a", "b", "c"] {
        let text = format!(
            "version = 1\norigin = \"ledger.example.org/main\"\n\
             directory = \"{directory}\"\ntrust = \"{trust}\"\n\
             [locker]\ndriver = \"s3\"\n[locker.s3]\nbucket = \"{evidence}\"\n{server}\
             [ledger]\ndriver = \"shared\"\nurl_file = \"{address}\"\nschema = \"ledger_{tag}\"\nlease = \"2s\"\n\
             unsafe_postgres = true\n\
             [ledger.s3]\nbucket = \"{tiles}\"\n{server}\
             [database]\nurl_file = \"{address}\"\nschema = \"store_{tag}\"\n",
            directory = sandbox.path(&format!("home/{name}")).display(),
            trust = sandbox.path("home/trust").display(),
            evidence = buckets[0],
            tiles = buckets[1],
            address = address.display(),
            server = format!(
                "endpoint = \"{s3}\"\ncredentials = {{ source = \"file\", path = \"{}\" }}\n",
                keys.display()
            ),
        );
        std::fs::write(sandbox.path(&format!("home/{name}.toml")), text).unwrap();
    }
    sandbox
}

/// A probe of a branch that no other statement is about.
fn envelope(client: usize, number: usize, signer: &dyn Signer) -> Vec<u8> {
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payments", "digest": {"gitCommit": format!("{client:020}{number:020}"), "gitTree": "b".repeat(40)}}],
        "predicateType": "urn:writ:predicate:probe:v1",
        "predicate": {
            "service": format!("service-{client}"),
            "evidenceType": "branch-protection",
            "target": "git.example",
            "observedAt": "2026-01-01T00:00:00Z",
            "origin": "observed",
            "producerClass": "laptop",
            "outcome": "completed",
            "lookedAt": [{"what": "branches", "count": 1}],
            "facts": {"branch": format!("b{number}"), "protected": true},
        },
    }))
    .unwrap();
    dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer)
        .unwrap()
        .to_canonical_json()
}

/// What the clients share.
struct Load {
    client: Client,
    /// Addresses of the processes; the first may be anywhere anew.
    bases: Mutex<Vec<String>>,
    acknowledged: Mutex<BTreeMap<String, u64>>,
    count: AtomicUsize,
    /// Answers that were neither an acknowledgement nor "come back".
    wrong: Mutex<Vec<String>>,
    refused: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Hands one in, to whichever process answers, until one acknowledges it.
    async fn hand_in(&self, body: Vec<u8>, first: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut turn = first;
        loop {
            assert!(Instant::now() < deadline, "nobody acknowledged in time");
            let base = {
                let bases = self.bases.lock().unwrap();
                bases[turn % bases.len()].clone()
            };
            turn += 1;
            let sent = self
                .client
                .post(format!("{base}/api/v1/evidence"))
                .header("content-type", "application/vnd.dsse.envelope.v1+json")
                .body(body.clone())
                .send();
            let Ok(answer) = sent.await else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let status = answer.status().as_u16();
            let Ok(value) = answer.json::<Value>().await else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            match status {
                200 | 201 => {
                    let id = value["id"].as_str().unwrap().to_owned();
                    let index = value["index"].as_u64().unwrap();
                    let before = self.acknowledged.lock().unwrap().insert(id.clone(), index);
                    assert_eq!(before, None, "{id} was handed in by two");
                    self.count.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                503 => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => {
                    self.wrong
                        .lock()
                        .unwrap()
                        .push(format!("{status}: {value}"));
                    return;
                }
            }
        }
    }

    /// Reads pages all the time: each must be whole, from whichever process.
    async fn read_pages(&self) -> usize {
        let mut pages = 0;
        while !self.over.load(Ordering::SeqCst) {
            for path in ["/", "/evidence", "/evidence.json", "/api/v1/services"] {
                let base = {
                    let bases = self.bases.lock().unwrap();
                    bases[pages % bases.len()].clone()
                };
                pages += 1;
                // No connection is no page; a page must be right.
                let Ok(answer) = self.client.get(format!("{base}{path}")).send().await else {
                    continue;
                };
                let status = answer.status().as_u16();
                let Ok(text) = answer.text().await else {
                    continue;
                };
                if status != 200 {
                    self.wrong
                        .lock()
                        .unwrap()
                        .push(format!("{path}: {status} {text}"));
                }
            }
        }
        pages
    }

    async fn until(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count.load(Ordering::SeqCst) < count {
            assert!(
                Instant::now() < deadline,
                "{} acknowledged, {:?}",
                self.count.load(Ordering::SeqCst),
                self.wrong.lock().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a page shows, without when and by whom it was asked for.
async fn rows(client: &Client, base: &str, path: &str) -> Value {
    let answer = client.get(format!("{base}{path}")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let mut value: Value = answer.json().await.unwrap();
    // How this file came about differs.
    if let Some(page) = value.as_object_mut() {
        page.remove("export");
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_servers_dies_and_nothing_acknowledged_is_lost() {
    let (Some(postgres), Some(s3)) = (service("WRIT_TEST_POSTGRES"), service("WRIT_TEST_S3"))
    else {
        return;
    };
    let sandbox = machine(&postgres, &s3);
    let mut a = start(&sandbox, "a");
    let mut b = start(&sandbox, "b");
    let options = StoreOptions::new(sandbox.path("home/trust"));
    let store = Store::open(sandbox.path("home/c.toml"), options)
        .await
        .unwrap();
    let signer: Arc<dyn Signer> = store.trust().producer(store.now()).unwrap();
    let load = Arc::new(Load {
        client: Client::builder().timeout(PATIENCE).build().unwrap(),
        bases: Mutex::new(vec![base(&a), base(&b)]),
        acknowledged: Mutex::default(),
        count: AtomicUsize::new(0),
        wrong: Mutex::default(),
        refused: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (load, signer) = (Arc::clone(&load), Arc::clone(&signer));
            tokio::spawn(async move {
                for number in 0..EACH {
                    let body = envelope(client, number, signer.as_ref());
                    load.hand_in(body, client + number).await;
                }
            })
        })
        .collect();
    let reader = Arc::clone(&load);
    let reader = tokio::spawn(async move { reader.read_pages().await });

    // Whoever holds the lease dies at some time: each is killed once, in the middle of requests.
    let all = CLIENTS * EACH;
    load.until(all / 4).await;
    a.kill();
    load.until(all / 2).await;
    let again = start(&sandbox, "a");
    load.bases.lock().unwrap()[0].clone_from(&base(&again));
    a = again;
    load.until(all * 3 / 4).await;
    b.kill();
    for client in clients {
        client.await.unwrap();
    }
    load.over.store(true, Ordering::SeqCst);
    let pages = reader.await.unwrap();
    let b = start(&sandbox, "b");

    let acknowledged = std::mem::take(&mut *load.acknowledged.lock().unwrap());
    let indexes: std::collections::BTreeSet<u64> = acknowledged.values().copied().collect();
    let mut lost = 0;
    for (id, index) in &acknowledged {
        for base in [&base(&a), &base(&b)] {
            let item = rows(&load.client, base, &format!("/api/v1/evidence/{id}")).await;
            lost += usize::from(item["item"]["index"] != json!(index));
        }
    }
    // Every statement once: whoever asked again got the old entry.
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/evidence?type=branch-protection&limit=100{after}");
        let page = rows(&load.client, &base(&b), &path).await;
        let list = page["items"].as_array().unwrap();
        entries.extend(
            list.iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let unique: std::collections::BTreeSet<&String> = entries.iter().collect();
    let duplicated = entries.len() - unique.len() + acknowledged.len() - indexes.len();
    let wrong = std::mem::take(&mut *load.wrong.lock().unwrap());
    println!(
        "acknowledged {}, lost {lost}, duplicated {duplicated}; {pages} pages, {} wrong; {} requests without an answer, all repeated",
        acknowledged.len(),
        wrong.len(),
        load.refused.load(Ordering::Relaxed)
    );
    assert_eq!((acknowledged.len(), unique.len()), (all, all));
    assert_eq!((lost, duplicated), (0, 0));
    assert_eq!(wrong, Vec::<String>::new());
    assert!(load.refused.load(Ordering::Relaxed) > 0, "nobody noticed");

    // Both say the same of one instant, page by page.
    let answer = load
        .client
        .get(format!("{}/evidence.json", base(&a)))
        .send();
    let page: Value = answer.await.unwrap().json().await.unwrap();
    let at = page["export"]["asOf"].as_str().unwrap();
    for path in [
        "/evidence.json",
        "/changes.json",
        "/runs.json",
        "/controls.json",
        "/api/v1/services",
    ] {
        let path = &format!("{path}?at={at}");
        let (one, other) = (
            rows(&load.client, &base(&a), path).await,
            rows(&load.client, &base(&b), path).await,
        );
        let (one, other) = (one.to_string(), other.to_string());
        let parted = one.bytes().zip(other.bytes()).position(|(a, b)| a != b);
        if let Some(at) = parted {
            let from = at.saturating_sub(200);
            let part = |text: &str| {
                text.get(from..(at + 200).min(text.len()))
                    .map(str::to_owned)
            };
            panic!("{path}:\n{:?}\n{:?}", part(&one), part(&other));
        }
        assert_eq!(one.len(), other.len(), "{path}");
    }
    drop((a, b));
    let answer = sandbox.writ(&[
        "verify",
        "--store",
        sandbox.path("home/c.toml").to_str().unwrap(),
    ]);
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
}
