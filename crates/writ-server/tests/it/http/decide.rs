//! Deciding over HTTP: the server's own answer, recorded, proved, repeatable, and never looser.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use writ_gate::evaluate::decision_id;
use writ_ledger::{LogKeys, NoteVerifier};
use writ_model::EvidenceId;
use writ_registry::proves;
use writ_render::GateDocument;

use super::Server;

fn question() -> Value {
    json!({
        "service": "shop", "environment": "production", "profile": "startup",
        "commit": "a".repeat(40), "tree": "b".repeat(40),
    })
}

async fn ask(server: &Server, key: Option<&str>, body: &Value) -> Response {
    let mut request = server.request(Method::POST, "/api/v1/decisions").json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.send().await.unwrap()
}

async fn refusal(server: &Server, body: &Value) -> (u16, String, Value) {
    let answer = ask(server, None, body).await;
    let status = answer.status().as_u16();
    let value: Value = answer.json().await.unwrap();
    let kind = value["type"].as_str().unwrap_or_default().to_owned();
    (status, kind.replace("urn:writ:problem:", ""), value)
}

#[tokio::test]
async fn a_decision_is_made_recorded_and_proved() {
    let server = Server::empty(|_| ()).await;
    let answer = ask(&server, Some("k"), &question()).await;
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let document: GateDocument = answer.json().await.unwrap();
    assert_eq!(document.schema, "writ.gate/1");
    // Nothing was handed in: what is missing is never a pass.
    assert_eq!((document.exit_code, &document.writ), (1, &None));
    let id = document.decision_id.unwrap();
    assert_eq!(decision_id(&document.decision).unwrap(), id);
    let (status, read) = server.json(&location).await;
    assert_eq!((status, &read["id"]), (200, &json!(id)));
    assert_eq!(
        serde_json::from_value::<writ_model::Decision>(read["decision"].clone()).unwrap(),
        document.decision
    );

    // The receipt proves it under the key that the server tells.
    let (_, about) = server.json("/api/v1/server").await;
    let keys: Vec<NoteVerifier> = about["logKeys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| NoteVerifier::parse(key.as_str().unwrap()).unwrap())
        .collect();
    let evidence = EvidenceId::from_digest(id.digest());
    let receipt = server
        .get(&format!("/api/v1/evidence/{evidence}/receipt"))
        .await;
    let receipt = receipt.text().await.unwrap();
    let proven = proves(&receipt, evidence, &LogKeys::new(keys.clone())).unwrap();
    assert_eq!(Some(proven.index), document.log_index);
    let other = EvidenceId::of_payload(b"other");
    assert!(proves(&receipt, other, &LogKeys::new(keys)).is_err());
    assert!(proves(&receipt, evidence, &LogKeys::default()).is_err());

    // A question whose answer was lost is decided once; another question needs another key.
    let again = ask(&server, Some("k"), &question()).await;
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<GateDocument>().await.unwrap(), document);
    let mut other = question();
    other["environment"] = json!("staging");
    assert_eq!(ask(&server, Some("k"), &other).await.status(), 409);
}

#[tokio::test]
async fn the_judged_never_choose_the_judge() {
    let server = Server::empty(|_| ()).await;
    let mut unknown = question();
    unknown["profile"] = json!("startupp");
    let (status, kind, value) = refusal(&server, &unknown).await;
    assert_eq!((status, kind.as_str()), (422, "undecidable"), "{value}");
    assert!(value["fix"][0].as_str().unwrap().contains("startup"));
    // The mistake bound nothing.
    assert_eq!(ask(&server, None, &question()).await.status(), 201);
    let mut looser = question();
    looser["profile"] = json!("soc2");
    let (status, kind, value) = refusal(&server, &looser).await;
    assert_eq!((status, kind.as_str()), (409, "other-profile"), "{value}");
    assert_eq!(value["required"], "startup");
    // Who asks for none gets the one that binds.
    let mut none = question();
    none.as_object_mut().unwrap().remove("profile");
    let answer: GateDocument = ask(&server, None, &none).await.json().await.unwrap();
    assert_eq!(answer.decision.profile, "startup");
}

#[tokio::test]
async fn questions_that_cannot_be_understood_are_refused() {
    let server = Server::empty(|_| ()).await;
    let with = |name: &str, value: Value| {
        let mut question = question();
        question[name] = value;
        question
    };
    for bad in [
        with("mode", json!("warn")),
        with("commit", json!("HEAD")),
        with("commit", json!("A".repeat(40))),
        with("service", json!("")),
        with("service", json!("a\nb")),
        with("environment", json!("x".repeat(300))),
        with("artifact", json!("latest")),
        with("answer", json!("yes")),
        json!({"service": "shop", "environment": "production"}),
        json!([]),
    ] {
        let (status, kind, _) = refusal(&server, &bad).await;
        assert_eq!((status, kind.as_str()), (400, "body"), "{bad}");
    }
    let large = with("service", json!("x".repeat(20_000)));
    assert_eq!(refusal(&server, &large).await.0, 413);
    let plain = server
        .request(Method::POST, "/api/v1/decisions")
        .body(question().to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(plain.status(), 415);
    // Nothing of all this was recorded.
    assert_eq!(server.json("/api/v1/stats").await.1["entries"], 0);
}
