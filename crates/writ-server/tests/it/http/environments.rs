//! What runs, told over HTTP: the server compares, whatever the producer says of differences.

use reqwest::Method;
use serde_json::{Value, json};
use writ_evidence::{canonical, dsse};
use writ_model::Digest;
use writ_registry::NewRecord;

use super::Server;

fn good() -> Digest {
    Digest::of(b"orders 1")
}

fn other() -> Digest {
    Digest::of(b"orders by hand")
}

/// An emergency that authorises what it names.
async fn emergency(server: &Server) {
    let store = &server.app.store;
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "orders", "annotations": {"kind": "artifact"}, "digest": {"sha256": good().to_hex()}}],
        "predicateType": "urn:writ:predicate:break-glass:v1",
        "predicate": {
            "form": "open",
            "release": {"service": "orders", "environment": "production", "artifact": good()},
            "by": {"principal": "p_test", "assurance": "totp"},
            "reason": "payments fail", "observedAt": store.now(),
            "reviewDueAt": "2999-01-01T00:00:00Z",
        },
    }))
    .unwrap();
    store.record(NewRecord::payload(payload)).await.unwrap();
}

/// A snapshot that a producer signed, with what it says of differences.
fn snapshot(server: &Server, runs: Option<Digest>, more: Value) -> Vec<u8> {
    let store = &server.app.store;
    let (outcome, reason, running) = match runs {
        Some(digest) => (
            "completed",
            Value::Null,
            json!([{"service": "orders", "name": "orders", "artifact": digest, "replicas": 2}]),
        ),
        None => ("failed", json!("the API answered 503"), json!([])),
    };
    let mut predicate = json!({
        "environment": "production", "source": "cluster", "outcome": outcome,
        "running": running, "observedAt": store.now(),
        "origin": "observed", "producerClass": "ci",
    });
    let fields = predicate.as_object_mut().unwrap();
    if !reason.is_null() {
        fields.insert("reason".to_owned(), reason);
    }
    fields.extend(more.as_object().unwrap().clone());
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "environment:production", "annotations": {"kind": "environment"}, "digest": {"sha256": Digest::of(b"production").to_hex()}}],
        "predicateType": "urn:writ:predicate:snapshot:v1",
        "predicate": predicate,
    }))
    .unwrap();
    let signer = store.trust().producer(store.now()).unwrap();
    dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer.as_ref())
        .unwrap()
        .to_canonical_json()
}

async fn hand_in(server: &Server, envelope: Vec<u8>) -> (u16, Value) {
    let answer = server
        .request(Method::POST, "/api/v1/evidence?proof=true")
        .header("content-type", "application/vnd.dsse.envelope.v1+json")
        .body(envelope)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_producers_empty_list_of_differences_is_not_believed() {
    let server = Server::empty(|_| ()).await;
    emergency(&server).await;
    let (status, _) = hand_in(&server, snapshot(&server, Some(good()), json!({}))).await;
    assert_eq!(status, 201);
    let (status, now) = server.json("/api/v1/environments/production").await;
    assert_eq!(
        (status, &now["state"]),
        (200, &json!("authorised")),
        "{now}"
    );
    assert_eq!(now["components"][0]["by"]["kind"], "break-glass");

    // It says that nothing differs, and it does.
    let (status, seen) = hand_in(
        &server,
        snapshot(&server, Some(other()), json!({"drift": []})),
    )
    .await;
    assert_eq!(status, 201);
    let (_, now) = server.json("/api/v1/environments/production").await;
    assert_eq!(now["state"], "drift");
    let one = &now["components"][0];
    assert_eq!(
        (&one["service"], &one["authorised"], &one["observed"]),
        (&json!("orders"), &json!(good()), &json!(other()))
    );
    // The server recorded its own comparison: what ENV-01 reads.
    let (_, listed) = server.json("/api/v1/evidence?type=drift-check").await;
    let newest = &listed["items"][0];
    assert_eq!(
        newest["facts"]["compared"]["snapshot"], seen["id"],
        "{listed}"
    );
    assert_eq!(newest["facts"]["drift"][0]["observed"], json!(other()));
    assert_eq!(newest["observedAt"], listed["items"][1]["observedAt"]);

    // Nobody hands in a comparison.
    let claimed = json!({"drift": [], "compared": {"snapshot": seen["id"], "ledgerSize": 1, "asOf": "2026-01-01T00:00:00Z"}});
    let (status, refused) = hand_in(&server, snapshot(&server, Some(other()), claimed)).await;
    assert_eq!(status, 422, "{refused}");
    assert!(refused.to_string().contains("compared here"), "{refused}");

    // What could not be read is not drift, and the page says so.
    let (status, _) = hand_in(&server, snapshot(&server, None, json!({}))).await;
    assert_eq!(status, 201);
    let (_, all) = server.json("/api/v1/environments").await;
    assert_eq!(all["items"][0]["state"], "unreachable");
    assert_eq!(
        all["items"][0]["sources"][0]["reason"],
        "the API answered 503"
    );
    let page = server
        .get("/environments/production")
        .await
        .text()
        .await
        .unwrap();
    assert!(page.contains("1 source could not be read"), "{page}");

    // Between two moments.
    let path = "/api/v1/environments/production@%7B-2%7D/diff?to=production@%7B-1%7D";
    let (status, diff) = server.json(path).await;
    assert_eq!(status, 200, "{diff}");
    assert_eq!(diff["changes"][0]["change"], "replaced");
    let (status, past) = server
        .json("/api/v1/environments/production@%7B-2%7D")
        .await;
    assert_eq!(
        (status, &past["state"]),
        (200, &json!("authorised")),
        "{past}"
    );
    for (address, expected) in [
        ("moon", 404),
        ("production@%7B-99%7D", 404),
        ("production@%7Bx%7D", 400),
    ] {
        let path = format!("/api/v1/environments/{address}");
        assert_eq!(server.json(&path).await.0, expected, "{address}");
    }
    server.end().await;
}
