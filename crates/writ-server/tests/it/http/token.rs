//! Tokens of programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::Method;
use serde_json::Value;
use writ_gate::{BundleSource, load_bundle};
use writ_ledger::Clock;
use writ_model::Span;
use writ_registry::{NewToken, Store, StoreOptions};
use writ_server::{Config, Parts};

use super::Server;

const DAY: i64 = 86_400;

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst) * 1_000_000
    }
}

async fn start() -> (Server, Arc<Hand>, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hand(AtomicI64::new(1_800_000_000)));
    let options = StoreOptions::new(place.path().join("trust"))
        .create()
        .clock(clock.clone());
    let store = Store::open(place.path().join("store"), options)
        .await
        .unwrap();
    let parts = Parts {
        store: Arc::new(store),
        bundle: Arc::new(load_bundle(&BundleSource::Embedded).unwrap()),
        config: Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        },
        operator: "operator".to_owned(),
        demo: false,
    };
    (Server::over(parts, None).await, clock, place)
}

fn wanted(name: &str, services: &[&str], actions: &[&str]) -> NewToken {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    NewToken {
        name: name.to_owned(),
        services: all(services),
        actions: all(actions),
        life: Span::from_secs(30 * DAY),
        owner: None,
    }
}

async fn made(server: &Server, new: NewToken) -> String {
    server.app.store.new_token(new).await.unwrap().1.to_string()
}

async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    token: &str,
    body: Vec<u8>,
) -> (u16, Value) {
    let answer = server
        .request(method, path)
        .header("content-type", "application/json")
        .bearer_auth(token)
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_token_is_limited_to_services_and_actions() {
    let (server, _clock, _place) = start().await;
    let ours = made(&server, wanted("ours", &["payments"], &[])).await;
    let reads = made(&server, wanted("reads", &[], &["read-records"])).await;
    let figures = made(&server, wanted("figures", &[], &["read-metrics"])).await;
    let evidence = "/api/v1/evidence";
    let post = |token: &str, service: &str| {
        let (token, body) = (token.to_owned(), server.envelope(service));
        let server = &server;
        async move { ask(server, Method::POST, evidence, &token, body).await }
    };
    assert_eq!(post(&ours, "payments").await.0, 201);
    let (status, problem) = post(&ours, "orders").await;
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("about service 'orders', and whoever hands it in may record for payments"),
        "{detail}"
    );

    let (status, problem) = post(&reads, "payments").await;
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (403, "this token may not hand in signed evidence")
    );
    assert_eq!(
        problem["required"],
        "a token with the scope record-evidence"
    );
    assert_eq!(
        ask(&server, Method::GET, evidence, &reads, Vec::new())
            .await
            .0,
        200
    );
    assert_eq!(
        ask(&server, Method::GET, evidence, &figures, Vec::new())
            .await
            .0,
        403
    );
    assert_eq!(
        ask(&server, Method::GET, "/metrics", &figures, Vec::new())
            .await
            .0,
        200
    );
    // What no machine may.
    assert_eq!(
        ask(&server, Method::GET, "/api/v1/stats", &ours, Vec::new())
            .await
            .0,
        403
    );
    // Keys are bound to jobs, not to tokens.
    let (status, problem) = ask(
        &server,
        Method::POST,
        "/api/v1/workload/keys",
        &ours,
        b"{}".to_vec(),
    )
    .await;
    assert_eq!(status, 403, "{problem}");
}

#[tokio::test]
async fn a_token_that_is_wrong_ended_or_revoked() {
    let (server, clock, _place) = start().await;
    let token = made(&server, wanted("ci", &[], &[])).await;
    assert_eq!(token.len(), 77);
    let get = |token: String| {
        let server = &server;
        async move { ask(server, Method::GET, "/api/v1/evidence", &token, Vec::new()).await }
    };
    assert_eq!(get(token.clone()).await.0, 200);
    let tokens = server.app.store.tokens().await.unwrap();
    let used = tokens[0].used_at.unwrap();
    // To the hour.
    clock.0.fetch_add(600, Ordering::SeqCst);
    get(token.clone()).await;
    assert_eq!(
        server.app.store.tokens().await.unwrap()[0].used_at,
        Some(used)
    );

    let swapped = |token: &str| {
        let last = if token.ends_with('0') { '1' } else { '0' };
        format!("{}{last}", &token[..token.len() - 1])
    };
    // As it is made, with the check that belongs to it, and never handed out here.
    let (other, _other_clock, _other_place) = start().await;
    let strange = made(&other, wanted("ci", &[], &[])).await;
    for (wrong, reason) in [
        (swapped(&token), "the token is not whole"),
        (token[..70].to_owned(), "the token is not whole"),
        (format!("writ_{}", "0".repeat(72)), "the token is not whole"),
        (
            token.to_uppercase().replacen("WRIT_", "writ_", 1),
            "the token is not whole",
        ),
        (strange, "this server does not know this token"),
        ("x".repeat(77), "this server does not know this token"),
    ] {
        let (status, problem) = get(wrong).await;
        assert_eq!(status, 401, "{problem}");
        assert_eq!(problem["detail"], reason, "{problem}");
    }

    let store = &server.app.store;
    let again = store.new_token(wanted("ci", &[], &[])).await.unwrap_err();
    assert!(
        again
            .to_string()
            .contains("another token has the name 'ci'"),
        "{again}"
    );
    let revoked = store.revoke_token("ci").await.unwrap();
    let (status, problem) = get(token.clone()).await;
    assert_eq!(
        (status, problem["detail"].as_str().unwrap()),
        (
            401,
            format!("the token {} was revoked", revoked.id).as_str()
        )
    );
    assert!(store.revoke_token("ci").await.is_err());

    let second = made(&server, wanted("ci", &[], &[])).await;
    clock.0.fetch_add(30 * DAY - 1, Ordering::SeqCst);
    assert_eq!(get(second.clone()).await.0, 200);
    clock.0.fetch_add(1, Ordering::SeqCst);
    let (status, problem) = get(second).await;
    assert_eq!(status, 401);
    assert!(
        problem["detail"].as_str().unwrap().contains(" ended at "),
        "{problem}"
    );

    for (new, reason) in [
        (
            NewToken {
                life: Span::from_secs(367 * DAY),
                owner: None,
                ..wanted("long", &[], &[])
            },
            "cannot count for",
        ),
        (
            NewToken {
                life: Span::from_secs(1),
                owner: None,
                ..wanted("short", &[], &[])
            },
            "cannot count for",
        ),
        (wanted("", &[], &[]), "name"),
        (wanted("x\ny", &[], &[]), "name"),
        (wanted("x", &["a\nb"], &[]), "services"),
    ] {
        let error = store.new_token(new).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
