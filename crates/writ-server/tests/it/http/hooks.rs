//! Deliveries of other systems: who may deliver, what is repeated, and what becomes evidence.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::Sha256;
use writ_model::Digest;
use writ_server::hooks::config::HookConfig;

use super::Server;

const SECRET: &str = "a secret of this webhook";
const KEY: [u8; 24] = [7; 24];
pub const HEAD: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";
pub const MERGE: &str = "9b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c";
const EVIL: &str = "planted";

macro_rules! sample {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../data/hooks/", $name, ".json")))
            .unwrap()
    };
}

pub(super) use sample;

/// A server that takes deliveries of all systems.
pub async fn server() -> Server {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("secret");
    let keys = format!("{SECRET}\nwhsec_{}\n", STANDARD.encode(KEY));
    std::fs::write(&path, keys).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let hook = |name: &str, rest: &str| -> HookConfig {
        let text = format!(
            "name = \"{name}\"\nsystem = \"{name}\"\nsecret = {path:?}\nservices = {{ \"acme/payments\" = \"payments\", \"payments\" = \"payments\" }}\n{rest}"
        );
        toml::from_str(&text).unwrap()
    };
    Server::empty(|config| {
        config.webhook = vec![
            hook("github", ""),
            hook("gitlab", "url = \"https://gitlab.example\""),
            hook("falco", "environment = \"production\""),
            hook(
                "cloudevents",
                "environment = \"production\"\nurl = \"https://git.example\"",
            ),
        ];
        config.limits.hook_bytes = 200_000;
    })
    .await
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

async fn raw(server: &Server, hook: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
    let mut request = server.request(Method::POST, &format!("/api/v1/hooks/{hook}"));
    let typed = headers.iter().any(|(name, _)| *name == "content-type");
    if !typed {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.unwrap()
}

async fn read(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub async fn github(server: &Server, id: &str, event: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string().into_bytes();
    let signature = format!("sha256={}", hex::encode(mac(SECRET.as_bytes(), &[&body])));
    let headers = [
        ("x-github-event", event),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    read(raw(server, "github", &headers, body).await).await
}

pub async fn gitlab(server: &Server, id: &str, body: &Value) -> (u16, Value) {
    let headers = [("x-gitlab-token", SECRET), ("idempotency-key", id)];
    read(raw(server, "gitlab", &headers, body.to_string().into_bytes()).await).await
}

/// Signed as Standard Webhooks are, `shift` seconds from now.
pub async fn signed(
    server: &Server,
    hook: &str,
    id: &str,
    shift: i64,
    kind: (&str, Option<&str>),
    body: &Value,
) -> (u16, Value) {
    let body = body.to_string().into_bytes();
    let seconds = server.app.store.now().micros() / 1_000_000 + shift;
    let seconds = seconds.to_string();
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", seconds.as_bytes(), b".", &body];
    let signature = format!("v1,{}", STANDARD.encode(mac(&KEY, &parts)));
    let mut headers = vec![
        ("content-type", kind.0),
        ("webhook-id", id),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signature),
    ];
    if let Some(kind) = kind.1 {
        headers.extend([("ce-specversion", "1.0"), ("ce-type", kind), ("ce-id", id)]);
    }
    read(raw(server, hook, &headers, body).await).await
}

pub async fn falco(server: &Server, body: &Value) -> (u16, Value) {
    let headers = [("x-writ-token", SECRET)];
    read(raw(server, "falco", &headers, body.to_string().into_bytes()).await).await
}

/// An id that nothing else uses.
pub fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("delivery-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn entries(server: &Server) -> u64 {
    server.app.store.indexed().await.unwrap()
}

/// The newest statement about a commit.
pub async fn latest(server: &Server, commit: &str) -> Value {
    server.app.refresh_head().await.unwrap();
    let (status, list) = server
        .json(&format!(
            "/api/v1/evidence?type=code-review&commit={commit}"
        ))
        .await;
    assert_eq!(status, 200, "{list}");
    assert!(!list["items"].as_array().unwrap().is_empty(), "{list}");
    list["items"][0].clone()
}

fn word(problem: &Value) -> &str {
    let kind = problem["type"].as_str().unwrap_or_default();
    kind.trim_start_matches("urn:writ:problem:")
}

#[tokio::test]
async fn only_the_system_itself_delivers() {
    let server = server().await;
    let body = sample!("github-pull-request-opened")
        .to_string()
        .into_bytes();
    let before = entries(&server).await;
    for headers in [
        vec![
            ("x-github-event", "pull_request"),
            ("x-github-delivery", "1"),
        ],
        vec![
            ("x-hub-signature-256", "sha256=00"),
            ("x-github-delivery", "1"),
        ],
    ] {
        let (status, problem) = read(raw(&server, "github", &headers, body.clone()).await).await;
        assert_eq!((status, word(&problem)), (401, "signature"), "{problem}");
        assert!(!problem.to_string().contains(SECRET));
    }
    for headers in [
        vec![],
        vec![("x-gitlab-token", "another token of somebody")],
    ] {
        let (status, _) = read(raw(&server, "gitlab", &headers, body.clone()).await).await;
        assert_eq!(status, 401);
    }
    for shift in [-400, 400] {
        let (status, problem) = signed(
            &server,
            "gitlab",
            &fresh(),
            shift,
            ("application/json", None),
            &sample!("gitlab-push"),
        )
        .await;
        assert_eq!((status, word(&problem)), (401, "signature"));
        assert!(
            problem["detail"].as_str().unwrap().contains("five minutes"),
            "{problem}"
        );
    }
    let (status, _) = read(raw(&server, "nothing", &[], body.clone()).await).await;
    assert_eq!(status, 404);
    // A token of this server is no proof, and is never taken for one.
    let (status, _) =
        read(raw(&server, "github", &[("authorization", "Bearer x")], body).await).await;
    assert_eq!(status, 401);
    assert_eq!(entries(&server).await, before);
    server.end().await;
}

#[tokio::test]
async fn a_delivery_counts_once() {
    let server = server().await;
    let opened = sample!("github-pull-request-opened");
    let (status, first) = github(&server, "d-1", "pull_request", &opened).await;
    assert_eq!(
        (status, &first["result"]),
        (201, &json!("recorded")),
        "{first}"
    );
    let count = entries(&server).await;
    let (status, again) = github(&server, "d-1", "pull_request", &opened).await;
    assert_eq!((status, &again["repeated"]), (200, &json!(true)));
    assert_eq!(
        (&again["result"], &again["evidence"]),
        (&first["result"], &first["evidence"])
    );
    // GitHub does not sign the id: the same body under another id is the same delivery.
    let (status, other) = github(&server, "d-2", "pull_request", &opened).await;
    assert_eq!((status, &other["repeated"]), (200, &json!(true)));
    // The id with another body is refused.
    let (status, problem) = github(
        &server,
        "d-1",
        "pull_request",
        &sample!("github-pull-request-merged"),
    )
    .await;
    assert_eq!((status, word(&problem)), (409, "idempotency-conflict"));
    assert_eq!(entries(&server).await, count);

    let id = fresh();
    let push = sample!("gitlab-push");
    let send = async |shift| {
        signed(
            &server,
            "gitlab",
            &id,
            shift,
            ("application/json", None),
            &push,
        )
        .await
    };
    assert_eq!(send(0).await.0, 201);
    let (status, again) = send(1).await;
    assert_eq!((status, &again["repeated"]), (200, &json!(true)));
    server.end().await;
}

#[tokio::test]
async fn what_is_no_evidence_is_ignored_with_the_reason() {
    let server = server().await;
    let before = entries(&server).await;
    let mut elsewhere = sample!("github-pull-request-opened");
    elsewhere["repository"]["full_name"] = json!("acme/other");
    let mut branch = sample!("github-pull-request-opened");
    branch["pull_request"]["base"]["ref"] = json!("develop");
    let mut labelled = sample!("github-pull-request-opened");
    labelled["action"] = json!("labeled");
    let mut bot = sample!("github-review-approved");
    bot["review"]["user"]["type"] = json!("Bot");
    for (event, body, part) in [
        ("ping", json!({"zen": "x"}), "ping"),
        ("workflow_run", json!({"id": 1}), "run itself"),
        ("<b>", json!({"id": 2}), "events of kind"),
        ("pull_request", elsewhere, "no service"),
        ("pull_request", branch, "branch"),
        ("pull_request", labelled, "neither commits nor reviews"),
        ("pull_request_review", bot, "machine"),
    ] {
        let (status, answer) = github(&server, &fresh(), event, &body).await;
        assert_eq!(
            (status, &answer["result"]),
            (202, &json!("ignored")),
            "{answer}"
        );
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains(part) && !reason.contains('<'), "{reason}");
    }
    let (status, _) = gitlab(&server, &fresh(), &json!({"object_kind": "note"})).await;
    assert_eq!(status, 202);
    assert_eq!(entries(&server).await, before);
    server.end().await;
}

#[tokio::test]
async fn hostile_bodies_are_refused() {
    let server = server().await;
    let before = entries(&server).await;
    let large = json!({"x": "y".repeat(300_000)});
    assert_eq!(github(&server, &fresh(), "push", &large).await.0, 413);
    let body = |text: String| text.into_bytes();
    let deep = body(format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)));
    let deeper = body(format!(
        "{{\"action\":{}1{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    ));
    for bytes in [
        deep,
        deeper,
        body("{".to_owned()),
        Vec::new(),
        vec![0xff, 0xfe],
        body("null".to_owned()),
    ] {
        let signature = format!("sha256={}", hex::encode(mac(SECRET.as_bytes(), &[&bytes])));
        let id = fresh();
        let headers = [
            ("x-github-event", "pull_request"),
            ("x-github-delivery", id.as_str()),
            ("x-hub-signature-256", &signature),
        ];
        let (status, problem) = read(raw(&server, "github", &headers, bytes).await).await;
        assert_eq!((status, word(&problem)), (400, "body"), "{problem}");
    }
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-writ-token", SECRET),
    ];
    assert_eq!(
        raw(&server, "falco", &form, b"payload=x".to_vec())
            .await
            .status(),
        415
    );
    assert_eq!(entries(&server).await, before);
    server.end().await;
}

#[tokio::test]
async fn a_change_becomes_one_review_whatever_comes_first() {
    let server = server().await;
    let mut merged = sample!("github-pull-request-merged");
    let deliveries = [
        ("push", sample!("github-push")),
        ("pull_request_review", sample!("github-review-approved")),
        ("pull_request", merged.clone()),
        ("pull_request", sample!("github-pull-request-opened")),
    ];
    for (event, body) in &deliveries {
        let (status, answer) = github(&server, &fresh(), event, body).await;
        assert!(status < 300, "{event}: {answer}");
    }
    let head = latest(&server, HEAD).await;
    let facts = &head["facts"];
    assert_eq!(
        (&facts["change"], &facts["source"]),
        (&json!("#487"), &json!("github"))
    );
    assert_eq!(
        facts["range"],
        json!({"base": "1".repeat(40), "head": HEAD, "count": 6})
    );
    assert_eq!(facts["tickets"], json!(["OPS-7", "PAY-118"]));
    assert_eq!(facts["mergeCommit"], MERGE);
    assert_eq!(facts["reviews"][0]["verdict"], "approved");
    assert_eq!(facts["reviews"][0]["commit"], HEAD);
    assert_eq!(
        (&head["origin"], &head["producerClass"]),
        (&json!("observed"), &json!("server"))
    );
    // The commit on the branch carries the same, with the tree that the push told.
    let merge = latest(&server, MERGE).await;
    assert_eq!(merge["facts"]["range"]["head"], HEAD);
    assert_eq!(merge["facts"]["reviews"], facts["reviews"]);
    assert_eq!(
        (&merge["subject"]["tree"], &merge["facts"]["mergedTree"]),
        (&json!("2".repeat(40)), &json!("2".repeat(40)))
    );
    // Nothing new is recorded for what is known.
    let count = entries(&server).await;
    merged["pull_request"]["additions"] = json!(121);
    let (status, answer) = github(&server, &fresh(), "pull_request", &merged).await;
    assert_eq!((status, &answer["result"]), (200, &json!("unchanged")));
    assert_eq!(entries(&server).await, count);
    server.end().await;
}

#[tokio::test]
async fn a_dismissal_that_comes_before_its_approval_wins() {
    let server = server().await;
    for name in ["dismissed", "approved"] {
        let body = match name {
            "approved" => sample!("github-review-approved"),
            _ => sample!("github-review-dismissed"),
        };
        github(&server, &fresh(), "pull_request_review", &body).await;
        let head = latest(&server, HEAD).await;
        let reviews = head["facts"]["reviews"].as_array().unwrap();
        assert_eq!(reviews.len(), 1);
        assert_eq!(reviews[0]["verdict"], "dismissed", "after {name}");
    }
    // GitLab: a later time wins, whichever comes first.
    let mut back = sample!("gitlab-merge-request-approved");
    back["object_attributes"]["action"] = json!("unapproved");
    back["object_attributes"]["actioned_at"] = json!("2026-01-20T11:30:00Z");
    gitlab(&server, &fresh(), &back).await;
    gitlab(&server, &fresh(), &sample!("gitlab-merge-request-approved")).await;
    server.app.refresh_head().await.unwrap();
    let (_, list) = server.json("/api/v1/evidence?type=code-review").await;
    let newest = &list["items"][0]["facts"];
    assert_eq!(newest["source"], "gitlab");
    let verdicts: Vec<&Value> = newest["reviews"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["verdict"])
        .collect();
    assert_eq!(verdicts, ["approved", "dismissed"], "oldest first");
    server.end().await;
}

#[tokio::test]
async fn no_name_title_or_message_is_stored() {
    let server = server().await;
    for (event, body) in [
        ("push", sample!("github-push")),
        ("pull_request", sample!("github-pull-request-merged")),
        ("pull_request_review", sample!("github-review-approved")),
        ("repository_ruleset", sample!("github-ruleset-edited")),
        ("branch_protection_rule", sample!("github-protection-rule")),
    ] {
        let (status, answer) = github(&server, &fresh(), event, &body).await;
        assert_eq!(status, 201, "{event}: {answer}");
    }
    for body in [
        sample!("gitlab-merge-request-open"),
        sample!("gitlab-merge-request-approved"),
        sample!("gitlab-merge-request-merged"),
        sample!("gitlab-push"),
    ] {
        // The push may tell nothing that the merge request did not.
        let (status, answer) = gitlab(&server, &fresh(), &body).await;
        assert!(matches!(status, 200 | 201), "{answer}");
    }
    assert_eq!(falco(&server, &sample!("falco-alert")).await.0, 201);
    let dump = server.app.store.index_dump().await.unwrap();
    // A digest may hold a short name by chance.
    let digest = |word: &&str| word.len() >= 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = dump.split(|sign: char| !sign.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !digest(word)).collect();
    let words = words.join(" ");
    for name in ["grace", "ada", "linus"] {
        assert!(!words.contains(name), "{name} is stored");
    }
    for text in [EVIL, "octo-", "acme.example", "<script", "sh -c"] {
        assert!(!dump.contains(text), "{text} is stored");
    }
    server.app.refresh_head().await.unwrap();
    for page in ["/changes", "/evidence", "/"] {
        let page = server
            .request(Method::GET, page)
            .header("accept", "text/html");
        let text = page.send().await.unwrap().text().await.unwrap();
        assert!(!text.contains(EVIL) && !text.contains("octo-"), "{text}");
    }
    server.end().await;
}

#[tokio::test]
async fn cloudevents_in_both_modes() {
    let server = server().await;
    let data = json!({
        "repository": "acme/payments", "branch": "main", "head": HEAD, "commits": 2, "change": "41",
        "tickets": ["PAY-1"], "authors": ["ada"], "reviewer": "grace", "verdict": "approved",
        "reviewedAt": "2026-01-20T11:00:00Z", "mergeCommit": MERGE, "mergedBy": "linus",
    });
    let binary = ("application/json", Some("writ.change.v1"));
    let (status, answer) = signed(&server, "cloudevents", &fresh(), 0, binary, &data).await;
    assert_eq!(status, 201, "{answer}");
    let merge = latest(&server, MERGE).await;
    assert_eq!(
        (&merge["facts"]["change"], &merge["facts"]["source"]),
        (&json!("41"), &json!("cloudevents/cloudevents"))
    );
    assert_eq!(
        merge["facts"]["repository"],
        "https://git.example/acme/payments"
    );

    let structured = ("application/cloudevents+json; charset=utf-8", None);
    let event = |kind: &str, data: Value| json!({"specversion": "1.0", "id": "1", "source": "/x", "type": kind, "data": data});
    let protection = json!({"repository": "acme/payments", "branch": "main", "protected": true, "requiredReviews": 2, "forcePush": false, "bypass": []});
    let send =
        async |body: Value| signed(&server, "cloudevents", &fresh(), 0, structured, &body).await;
    assert_eq!(
        send(event("writ.branch-protection.v1", protection)).await.0,
        201
    );
    assert_eq!(send(event("com.example.other", json!({}))).await.0, 202);
    // A misspelt member is noticed.
    let misspelt =
        json!({"repository": "acme/payments", "branch": "main", "head": HEAD, "comits": 2});
    assert_eq!(send(event("writ.change.v1", misspelt)).await.0, 400);
    let foreign = json!({"source": "falco", "alert": "a", "rule": "r", "service": "ledger", "severity": "critical", "state": "resolved"});
    assert_eq!(send(event("writ.alert.v1", foreign)).await.0, 202);
    let neither = ("application/json", None);
    assert_eq!(
        signed(&server, "cloudevents", &fresh(), 0, neither, &data)
            .await
            .0,
        400
    );
    server.end().await;
}

#[tokio::test]
async fn deliveries_are_remembered_when_the_server_begins_again() {
    let server = server().await;
    let body = sample!("github-push");
    assert_eq!(github(&server, "kept", "push", &body).await.0, 201);
    let digest = Digest::of(body.to_string().as_bytes());
    let kept = server
        .app
        .store
        .hook_delivery("github", "kept", digest, false)
        .await
        .unwrap();
    assert_eq!(kept.unwrap().body, digest);
    let text = server.get("/metrics").await.text().await.unwrap();
    assert!(
        text.contains("writ_webhook_deliveries_total{system=\"github\",result=\"recorded\"} 1"),
        "{text}"
    );
    server.end().await;
}
