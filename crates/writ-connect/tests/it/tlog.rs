//! Reading published logs over HTTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use writ_connect::{HttpLog, HttpWitnesses, Secret};
use writ_ledger::monitor::MonitorError;
use writ_ledger::source::LogSource as _;
use writ_ledger::tile::TilePath;
use writ_ledger::{AlarmKind, KeyKind, Ledger, Monitor, NoteSigner, Options, Policy, SystemClock};

use crate::stub::{Act, Stub};

const ORIGIN: &str = "ledger.example/test";

fn key() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn log(dir: &Path, size: u64) -> Ledger {
    let clock = Arc::new(SystemClock);
    let ledger = Ledger::open(dir, ORIGIN, key(), clock, Options::default()).unwrap();
    let envelopes: Vec<String> = (0..size).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let envelopes: Vec<&[u8]> = envelopes.iter().map(String::as_bytes).collect();
    ledger.append(&envelopes).unwrap();
    ledger.integrate().unwrap();
    ledger
}

fn raw(status: u16, headers: &str, body: &[u8]) -> Act {
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Act::Raw([head.as_bytes(), body].concat())
}

/// Serves a directory; entries only to who has the token, when there is one.
fn serving(dir: PathBuf, token: Option<&'static str>) -> Stub {
    Stub::answering(move |_, request| {
        let path = request
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches("/log/");
        let allowed =
            token.is_none_or(|t| request.contains(&format!("authorization: Bearer {t}\r\n")));
        if path.starts_with("tile/entries") && !allowed {
            return raw(403, "", b"auditors only");
        }
        match std::fs::read(dir.join(path)) {
            Ok(bytes) => raw(200, "", &bytes),
            Err(_) => raw(404, "", b"not here"),
        }
    })
}

#[tokio::test]
async fn a_log_is_followed_over_http_with_and_without_its_entries() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = log(dir.path(), 700);
    let stub = serving(dir.path().to_owned(), Some("audit"));
    let prefix = format!("{}/log/", stub.url());
    let token = Secret::new("audit".to_owned());
    for (token, entries, hashes) in [(None, 0, 700), (token, 700, 0)] {
        let source = HttpLog::new(&prefix, token).unwrap();
        let mut monitor = Monitor::new(key().verifier().into(), None, None).unwrap();
        let step = monitor.step(&source, &mut |_, _| {}).await.unwrap();
        assert_eq!(
            (step.entries, step.hashes_only, step.head.size),
            (entries, hashes, 700)
        );
    }
    // The unfinished tiles of the old head are gone when somebody asks for them.
    let source = HttpLog::new(&prefix, None).unwrap();
    let mut monitor = Monitor::new(key().verifier().into(), None, None).unwrap();
    monitor.step(&source, &mut |_, _| {}).await.unwrap();
    let more: Vec<String> = (700..1000).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    let more: Vec<&[u8]> = more.iter().map(String::as_bytes).collect();
    ledger.append(&more).unwrap();
    ledger.integrate().unwrap();
    let step = monitor.step(&source, &mut |_, _| {}).await.unwrap();
    assert_eq!((step.before, step.head.size), (Some(700), 1000));
    assert!(
        stub.asked()
            .iter()
            .all(|request| request.contains("accept-encoding: identity\r\n"))
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_no_alarm_and_what_is_wrong_is_one() {
    let step = async |act: Act| {
        let stub = Stub::new(vec![act]);
        let source = HttpLog::new(&stub.url(), None).unwrap();
        let mut monitor = Monitor::new(key().verifier().into(), None, None).unwrap();
        monitor.step(&source, &mut |_, _| {}).await.unwrap_err()
    };
    for act in [
        raw(500, "", b"oops"),
        raw(404, "", b"not here"),
        raw(302, "location: https://elsewhere.example/\r\n", b""),
        raw(200, "content-encoding: gzip\r\n", b"\x1f\x8b"),
        raw(200, "", &vec![b'x'; 17 << 20]),
    ] {
        let error = step(act).await;
        assert!(matches!(error, MonitorError::Source(_)), "{error}");
    }
    match step(raw(200, "", b"<html>login</html>")).await {
        MonitorError::Alarm(alarm) => assert_eq!(alarm.kind, AlarmKind::BadSignature),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_tile_that_is_too_long_is_refused() {
    let stub = Stub::new(vec![raw(200, "", &vec![0; 8193])]);
    let source = HttpLog::new(&stub.url(), None).unwrap();
    let error = source
        .tiles(&[TilePath::hashes(0, 0, 256)])
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("more than a tile has"),
        "{error}"
    );
    let bundle = source.tiles(&[TilePath::entries(0, 256)]).await.unwrap();
    assert_eq!(bundle[0].as_ref().map(Vec::len), Some(8193));
}

#[tokio::test]
async fn addresses_are_checked_before_anything_is_sent() {
    assert!(HttpLog::new("http://169.254.169.254/log", None).is_err());
    assert!(HttpLog::new("ftp://log.example", None).is_err());
    assert!(HttpLog::new("http://log.example", None).is_ok());
    // A token is not sent in the clear.
    assert!(HttpLog::new("http://log.example", Secret::new("t".to_owned())).is_err());
    let witness = NoteSigner::from_seed("w", KeyKind::Cosignature, &[2; 32]).unwrap();
    let text = format!(
        "witness w {} http://169.254.169.254/\nquorum w\n",
        witness.verifier().to_vkey()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(HttpWitnesses::new(policy.witnesses()).is_err());
}
