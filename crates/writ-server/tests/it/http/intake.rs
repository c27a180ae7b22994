//! Evidence over HTTP: receipts, repetition, batches, limits.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{Server, sign, stranger};

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

async fn send(server: &Server, kind: &str, key: Option<&str>, body: Vec<u8>) -> Response {
    let mut request = server
        .request(Method::POST, "/api/v1/evidence?proof=true")
        .header("content-type", kind)
        .body(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

async fn word(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let value: Value = answer.json().await.unwrap();
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    (status, kind.replace("urn:writ:problem:", ""))
}

#[tokio::test]
async fn evidence_gets_a_receipt_that_anybody_can_check() {
    let server = Server::empty(|_| ()).await;
    let envelope = server.envelope("payments");
    let answer = send(&server, ENVELOPE, Some("k1"), envelope.clone()).await;
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let receipt: Value = answer.json().await.unwrap();
    assert_eq!(receipt["alreadyThere"], false);
    assert!(
        receipt["proof"]
            .as_str()
            .unwrap()
            .starts_with("c2sp.org/tlog-proof@v1\n"),
        "{receipt}"
    );
    // The same bytes again, with and without the key: one entry.
    for key in [Some("k1"), None] {
        let again = send(&server, ENVELOPE, key, envelope.clone()).await;
        assert_eq!(again.status(), 200);
        let again: Value = again.json().await.unwrap();
        assert_eq!(again["alreadyThere"], true);
        assert_eq!(again["index"], receipt["index"]);
    }
    // The key with other bytes is a mistake of the sender.
    let other = send(&server, ENVELOPE, Some("k1"), server.envelope("ledger")).await;
    assert_eq!(word(other).await, (409, "idempotency-conflict".to_owned()));
    // It can be read where the answer says.
    let (status, item) = server.json(&location).await;
    assert_eq!((status, &item["item"]["id"]), (200, &receipt["id"]));
    let kept = server.get(&format!("{location}/envelope")).await;
    assert_eq!(kept.bytes().await.unwrap(), envelope);
    let proof = server.get(receipt["receipt"].as_str().unwrap()).await;
    assert_eq!(
        proof.text().await.unwrap(),
        receipt["proof"].as_str().unwrap()
    );
    server.end().await;
}

#[tokio::test]
async fn a_batch_is_recorded_whole_or_not_at_all() {
    let server = Server::empty(|_| ()).await;
    let before = server.app.store.indexed().await.unwrap();
    let lines = |last: Vec<u8>| [server.envelope("a"), server.envelope("b"), last].join(&b'\n');
    let bad = lines(sign("c", &stranger()));
    let answer = send(&server, "application/x-ndjson", None, bad).await;
    assert_eq!(word(answer).await, (422, "refused".to_owned()));
    assert_eq!(server.app.store.indexed().await.unwrap(), before);

    let answer = send(
        &server,
        "application/x-ndjson",
        None,
        lines(server.envelope("c")),
    )
    .await;
    assert_eq!(answer.status(), 201);
    let receipts: Value = answer.json().await.unwrap();
    let indexes: Vec<u64> = receipts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes, [before, before + 1, before + 2]);
    server.end().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_the_reason() {
    let server = Server::empty(|config| {
        config.limits.envelope_bytes = 4_096;
        config.limits.batch_bytes = 1 << 20;
        config.limits.batch_items = 3;
    })
    .await;
    let good = server.envelope("a");
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000)).into_bytes();
    let blob = |bytes: &str| {
        let envelope: Value = serde_json::from_slice(&good).unwrap();
        json!({"envelope": envelope, "blobs": [{"mediaType": "text/plain", "bytes": bytes}]})
            .to_string()
            .into_bytes()
    };
    let many = vec![good.clone(); 4].join(&b'\n');
    for (kind, body, status, expected) in [
        ("text/plain", good.clone(), 415, "media-type"),
        (ENVELOPE, Vec::new(), 400, "body"),
        (ENVELOPE, b"{".to_vec(), 400, "body"),
        (ENVELOPE, deep, 422, "refused"),
        (ENVELOPE, b"{}".to_vec(), 422, "refused"),
        (ENVELOPE, sign("a", &stranger()), 422, "refused"),
        (ENVELOPE, vec![b' '; 5_000], 413, "too-large"),
        ("application/json", blob("%%%"), 400, "body"),
        ("application/x-ndjson", b"\n\n".to_vec(), 400, "body"),
        ("application/x-ndjson", many, 413, "too-many"),
        (
            "application/x-ndjson",
            vec![b' '; 2 << 20],
            413,
            "too-large",
        ),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = send(&server, kind, None, body).await;
        assert_eq!(
            word(answer).await,
            (status, expected.to_owned()),
            "{kind} {shown}"
        );
    }
    let answer = send(&server, ENVELOPE, Some(&"k".repeat(300)), good).await;
    assert_eq!(word(answer).await, (400, "query".to_owned()));
    server.end().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let server = Server::empty(|config| config.limits.head_seconds = 1).await;
    let address = server.address();
    let cut = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
            .unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).map(|_| rest)
    })
    .await
    .unwrap()
    .unwrap();
    let text = String::from_utf8_lossy(&cut);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 408"),
        "{text}"
    );
    server.end().await;
}

/// Whoever may hand in evidence does not speak for the server, and does not choose who judges.
#[tokio::test]
async fn what_only_the_server_says_is_refused() {
    let server = Server::empty(|_| ()).await;
    let signer = server
        .app
        .store
        .trust()
        .producer(server.app.store.now())
        .unwrap();
    let at = "2026-01-01T00:00:00Z";
    let probe = json!({
        "service": "payments", "evidenceType": "branch-protection", "target": "git.example",
        "observedAt": at, "origin": "observed", "producerClass": "server", "outcome": "completed",
        "lookedAt": [{"what": "branches", "count": 1}], "facts": {"branch": "main", "protected": true},
    });
    let profile = json!({
        "kind": "profile", "name": "startup", "service": "payments", "digest": format!("sha256:{}", "a".repeat(64)),
        "observedAt": at,
    });
    for (kind, predicate, reason) in [
        ("probe", probe, "the server itself observed it"),
        ("definition", profile, "writ control bind"),
    ] {
        let payload = writ_evidence::canonical::to_vec(&json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "payments", "digest": {"gitCommit": "a".repeat(40)}}],
            "predicateType": format!("urn:writ:predicate:{kind}:v1"), "predicate": predicate,
        }))
        .unwrap();
        let envelope = writ_evidence::dsse::sign(
            writ_evidence::dsse::IN_TOTO_PAYLOAD_TYPE,
            payload,
            signer.as_ref(),
        )
        .unwrap();
        let answer = send(&server, ENVELOPE, None, envelope.to_canonical_json()).await;
        assert_eq!(answer.status(), 422);
        let problem: Value = answer.json().await.unwrap();
        assert!(problem.to_string().contains(reason), "{problem}");
    }
    server.end().await;
}
