//! Kubernetes and other deployers ask: a writ lets in, an open emergency lets in, nothing else does.

use serde_json::{Value, json};
use writ_evidence::canonical;
use writ_model::{Digest, EvidenceId, Span, Timestamp};
use writ_registry::NewRecord;

use super::Server;

async fn record(server: &Server, artifact: Digest, predicate: Value) -> EvidenceId {
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payments-api", "digest": {"sha256": artifact.to_hex()}}],
        "predicateType": "urn:writ:predicate:break-glass:v1",
        "predicate": predicate,
    }))
    .unwrap();
    let record = NewRecord::payload(payload);
    let id = server.app.store.record(record).await.unwrap().id;
    server.app.refresh_head().await.unwrap();
    id
}

fn by(principal: &str) -> Value {
    json!({"principal": principal, "assurance": "totp"})
}

/// Opens an emergency for an artefact that ends after so many seconds.
async fn open(server: &Server, artifact: Digest, seconds: i64) -> EvidenceId {
    let now = server.app.store.now();
    let until = |seconds| now.plus(Span::from_secs(seconds));
    let opening = json!({
        "form": "open",
        "release": {"service": "payments-api", "environment": "production", "artifact": artifact},
        "by": by("p_aaaaaaaaaaaaaaaaaaaa"), "reason": "Payments are down", "incident": "INC-7",
        "observedAt": now, "expiresAt": until(seconds), "reviewDueAt": until(86_400),
    });
    record(server, artifact, opening).await
}

/// What Kubernetes is answered about a pod.
async fn admitted(server: &Server, environment: &str, artifact: Digest) -> (bool, String) {
    let path = format!("/api/v1/admission?environment={environment}");
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "object": {"spec": {"containers": [{"image": format!("shop/payments-api@{artifact}")}]}},
        },
    });
    let answer = server.request(reqwest::Method::POST, &path).json(&review);
    let answer: Value = answer.send().await.unwrap().json().await.unwrap();
    let response = &answer["response"];
    assert_eq!(response["uid"], review["request"]["uid"]);
    (
        response["allowed"].as_bool().unwrap(),
        response["status"]["message"].to_string(),
    )
}

async fn asked(server: &Server, environment: &str, artifact: Digest) -> Value {
    let path = format!("/api/v1/authorisation?artifact={artifact}&environment={environment}");
    let (status, answer) = server.json(&path).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn an_open_emergency_lets_in_what_it_names_where_it_says_while_it_lasts() {
    let server = Server::empty(|_| {}).await;
    let (named, other) = (Digest::of(b"named"), Digest::of(b"other"));
    let (allowed, why) = admitted(&server, "production", named).await;
    assert!(!allowed && why.contains("no writ names"), "{why}");

    let opening = open(&server, named, 3_600).await;
    let answer = asked(&server, "production", named).await;
    assert_eq!(answer["authorised"], Value::Null);
    assert_eq!(answer["emergency"]["name"], "BG-1");
    assert_eq!(answer["emergency"]["breakGlass"], opening.to_string());
    assert!(admitted(&server, "production", named).await.0);
    for (environment, artifact) in [("staging", named), ("production", other)] {
        assert_eq!(
            asked(&server, environment, artifact).await["emergency"],
            Value::Null
        );
        assert!(!admitted(&server, environment, artifact).await.0);
    }
    // Of the past, as it was then.
    let before = Timestamp::from_micros(server.app.store.now().micros() - 3_600_000_000);
    let path = format!(
        "/api/v1/authorisation?artifact={named}&environment=production&at={}",
        before.to_seconds_text()
    );
    assert_eq!(server.json(&path).await.1["emergency"], Value::Null);

    // Closed by who opened it, and another one that a review by somebody else ended.
    let now = server.app.store.now();
    let closing = json!({"form": "close", "opening": opening, "by": by("p_aaaaaaaaaaaaaaaaaaaa"), "observedAt": now});
    record(&server, named, closing).await;
    let (allowed, _) = admitted(&server, "production", named).await;
    assert!(!allowed);
    open(&server, other, 1).await;
    assert!(admitted(&server, "production", other).await.0);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert!(!admitted(&server, "production", other).await.0);
    server.end().await;
}
