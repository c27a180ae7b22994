//! The witness over HTTP, and a log that asks it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use writ_connect::HttpWitnesses;
use writ_ledger::cosign::{AskError, ask, keep, prove_from};
use writ_ledger::witness::AddCheckpoint;
use writ_ledger::witness::keeper::{Witness, origin_hash};
use writ_ledger::{KeyKind, Ledger, NoteSigner, Options, Policy, SignedCheckpoint, SystemClock};
use writ_server::witness::{Limits, serve};

const ORIGIN: &str = "ledger.example/test";

fn log_key() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn witness_key() -> NoteSigner {
    NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[2; 32]).unwrap()
}

struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    work: JoinHandle<()>,
}

impl Running {
    async fn start(state: &Path, limits: Limits) -> Self {
        let keys = [log_key().verifier().clone()];
        let clock = Arc::new(SystemClock);
        let witness = Witness::open(state, Box::new(witness_key()), keys, clock).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let work = tokio::spawn(serve(Arc::new(witness), listener, limits, async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            stop: Some(stop),
            work,
        }
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.work.await.unwrap();
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn ledger(dir: &Path, history: &str, size: u64) -> (Ledger, SignedCheckpoint) {
    let clock = Arc::new(SystemClock);
    let ledger = Ledger::open(dir, ORIGIN, log_key(), clock, Options::default()).unwrap();
    while ledger.size() < size {
        let envelope = format!(r#"{{"{history}":{}}}"#, ledger.size());
        ledger.append(&[envelope.as_bytes()]).unwrap();
    }
    let head = ledger.integrate().unwrap();
    (ledger, head)
}

/// Speaks plain HTTP: what is sent, and the whole answer.
async fn say(address: SocketAddr, bytes: Vec<u8>) -> String {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        // A refusal may come before everything was sent.
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
    .unwrap()
}

async fn post(address: SocketAddr, body: &str) -> String {
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    say(address, (head + body).into_bytes()).await
}

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n");
    say(address, request.into_bytes()).await
}

fn policy(url: &str) -> Policy {
    let text = format!(
        "log {}\nwitness w {} {url}/\nquorum w\n",
        log_key().verifier().to_vkey(),
        witness_key().verifier().to_vkey()
    );
    Policy::parse(text.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_witnessed_over_http_and_the_witness_remembers() {
    let (dir, state, other) = (tempdir(), tempdir(), tempdir());
    let running = Running::start(state.path(), Limits::default()).await;
    let policy = policy(&running.url());
    let witnesses = HttpWitnesses::new(policy.witnesses()).unwrap();
    let w = &policy.witnesses()[0];
    assert_eq!(
        witnesses.latest(&running.url(), ORIGIN).await.unwrap(),
        None
    );

    let (log, _) = ledger(dir.path(), "n", 3);
    let store = log.store();
    for size in [3, 300, 300, 301] {
        let head = if log.size() < size {
            while log.size() < size {
                let envelope = format!(r#"{{"n":{}}}"#, log.size());
                log.append(&[envelope.as_bytes()]).unwrap();
            }
            log.integrate().unwrap()
        } else {
            log.checkpoint()
        };
        // Each time as one that does not know where the witness is.
        let prove = |old| prove_from(store.as_ref(), &head, old);
        let got = ask(&witnesses, w, &head, 0, &prove).await.unwrap();
        let kept = keep(store.as_ref(), &policy, &head, &[got]).unwrap();
        assert!(kept.unwrap().1.is_reached());
    }
    let latest = witnesses
        .latest(&running.url(), ORIGIN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(latest.unverified().size, 301);
    assert!(policy.verify(&latest).unwrap().1.is_reached());

    // Restarted, it still refuses another history and an earlier state.
    let url = running.url();
    running.end().await;
    assert!(witnesses.latest(&url, ORIGIN).await.is_err());
    let running = Running::start(state.path(), Limits::default()).await;
    let policy = self::policy(&running.url());
    let witnesses = HttpWitnesses::new(policy.witnesses()).unwrap();
    let w = &policy.witnesses()[0];
    let (fork, head) = ledger(other.path(), "m", 400);
    let store = fork.store();
    let prove = |old| prove_from(store.as_ref(), &head, old);
    let refused = ask(&witnesses, w, &head, 0, &prove).await.unwrap_err();
    assert!(
        matches!(refused, AskError::Fork { status: 422 }),
        "{refused}"
    );
    let older = tempdir();
    let (old, head) = ledger(older.path(), "n", 5);
    let store = old.store();
    let prove = |old| prove_from(store.as_ref(), &head, old);
    let refused = ask(&witnesses, w, &head, 0, &prove).await.unwrap_err();
    assert!(
        matches!(
            refused,
            AskError::Ahead {
                known: 301,
                size: 5
            }
        ),
        "{refused}"
    );
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_the_status_of_the_protocol() {
    let (dir, state) = (tempdir(), tempdir());
    let running = Running::start(state.path(), Limits::default()).await;
    let (log, head) = ledger(dir.path(), "n", 7);
    let request = |old: u64, head: &SignedCheckpoint| AddCheckpoint {
        old,
        proof: match old {
            0 => Vec::new(),
            old => log.prove_consistency(old, head.unverified().size).unwrap(),
        },
        checkpoint: head.clone(),
    };
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or("none").to_owned();
    let at = running.address;

    let answer = post(at, &request(3, &head).to_text()).await;
    assert_eq!(status(&answer), "409");
    let lower = answer.to_lowercase();
    assert!(
        lower.contains("content-type: text/x.tlog.size\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n0\n"), "{answer}");

    let answer = post(at, &request(0, &head).to_text()).await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("\r\n\r\n\u{2014} w.example "), "{answer}");
    assert_eq!(status(&post(at, "old x\n\n").await), "400");
    let stranger = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[9; 32]).unwrap();
    let forged = head.unverified().sign(&[&stranger], 0);
    assert_eq!(
        status(&post(at, &request(7, &forged).to_text()).await),
        "403"
    );
    let text = request(7, &head).to_text();
    assert_eq!(
        status(&post(at, &text.replace(ORIGIN, "who.example")).await),
        "404"
    );
    assert_eq!(status(&get(at, "/add-checkpoint").await), "405");
    assert_eq!(status(&get(at, "/nothing/checkpoint").await), "404");
    assert_eq!(status(&get(at, "/../../etc/passwd").await), "404");
    let latest = get(at, &format!("/{}/checkpoint", origin_hash(ORIGIN))).await;
    assert!(latest.contains(&head.unverified().body()), "{latest}");
    assert!(
        get(at, "/")
            .await
            .contains(&witness_key().verifier().to_vkey())
    );

    // Too long: refused by what it says, and by what it sends.
    let long = format!("old 0\n\n{}", "x".repeat(300 << 10));
    assert_eq!(status(&post(at, &long).await), "413");
    let chunked = format!(
        "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(5)
    );
    assert_eq!(status(&say(at, chunked.into_bytes()).await), "413");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off_and_others_served() {
    let state = tempdir();
    let limits = Limits {
        connections: 2,
        request: Duration::from_millis(300),
        shutdown: Duration::from_millis(300),
    };
    let running = Running::start(state.path(), limits).await;
    let at = running.address;
    let body = "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 50\r\n\r\nold 0\n";
    let (slow_head, slow_body) = tokio::join!(
        say(at, b"POST /add-checkpoint HT".to_vec()),
        say(at, body.as_bytes().to_vec())
    );
    assert!(!slow_head.contains(" 200 "), "{slow_head}");
    assert!(slow_body.contains(" 408 "), "{slow_body}");
    // Both places were taken; who waited gets one.
    assert!(get(at, "/").await.contains("w.example"));
    running.end().await;
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
