//! Git hosts are read: recorded answers of their interfaces, served on the loopback. They follow the shapes that
//! both systems document; no live system wrote them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use writ_server::collect::collect;
use writ_server::collect::config::CollectorConfig;

use super::Server;
use super::hooks::{HEAD, MERGE, latest};

macro_rules! answer {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../data/collect/", $name, ".json")))
            .unwrap()
    };
}

const TOKEN: &str = "collector-token-0123456789";

/// What a host answers, by path; anything else is not there.
type Answers = Arc<Mutex<BTreeMap<&'static str, (u16, Value)>>>;

/// A host, and what it was asked.
#[derive(Clone, Default)]
struct Host {
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Host {
    fn set(&self, path: &'static str, status: u16, answer: Value) {
        self.answers.lock().unwrap().insert(path, (status, answer));
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().drain(..).count()
    }

    async fn begin(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/api")
    }
}

async fn answer(State(host): State<Host>, request: Request) -> Response {
    let headers = request.headers();
    let bearer = headers
        .get("authorization")
        .is_some_and(|v| v == &format!("Bearer {TOKEN}"));
    let private = headers.get("private-token").is_some_and(|v| v == TOKEN);
    if !bearer && !private {
        return (
            StatusCode::UNAUTHORIZED,
            axum::Json(json!({"message": "Bad credentials"})),
        )
            .into_response();
    }
    let path = request.uri().path().trim_start_matches("/api/").to_owned();
    let query = request.uri().query().unwrap_or_default();
    host.asked.lock().unwrap().push(format!("{path}?{query}"));
    let known = host.answers.lock().unwrap().get(path.as_str()).cloned();
    match known {
        Some((status, answer)) => {
            (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            axum::Json(json!({"message": "Not Found"})),
        )
            .into_response(),
    }
}

fn github() -> Host {
    let host = Host::default();
    for (path, body) in [
        ("repos/acme/payments", answer!("github/repository")),
        ("repos/acme/payments/pulls", answer!("github/pulls")),
        ("repos/acme/payments/pulls/487", answer!("github/pull")),
        (
            "repos/acme/payments/pulls/487/commits",
            answer!("github/commits"),
        ),
        (
            "repos/acme/payments/pulls/487/reviews",
            answer!("github/reviews"),
        ),
        (
            "repos/acme/payments/git/commits/9b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c",
            answer!("github/git-commit"),
        ),
        ("repos/acme/payments/rulesets", answer!("github/rulesets")),
        (
            "repos/acme/payments/rulesets/21",
            answer!("github/ruleset-21"),
        ),
        (
            "repos/acme/payments/rulesets/22",
            answer!("github/ruleset-22"),
        ),
        (
            "repos/acme/payments/branches/main/protection",
            answer!("github/protection"),
        ),
    ] {
        host.set(path, 200, body);
    }
    host
}

fn gitlab() -> Host {
    let host = Host::default();
    for (path, body) in [
        ("projects/acme%2Fpayments", answer!("gitlab/project")),
        (
            "projects/7/merge_requests",
            answer!("gitlab/merge-requests"),
        ),
        (
            "projects/7/merge_requests/12",
            answer!("gitlab/merge-request"),
        ),
        (
            "projects/7/merge_requests/12/commits",
            answer!("gitlab/commits"),
        ),
        (
            "projects/7/merge_requests/12/versions",
            answer!("gitlab/versions"),
        ),
        (
            "projects/7/merge_requests/12/approvals",
            answer!("gitlab/approvals"),
        ),
        ("projects/7/approvals", answer!("gitlab/approval-settings")),
        (
            "projects/7/approval_rules",
            answer!("gitlab/approval-rules"),
        ),
        (
            "projects/7/protected_branches",
            answer!("gitlab/protected-branches"),
        ),
    ] {
        host.set(path, 200, body);
    }
    host
}

/// A server that reads this host.
async fn server(system: &str, host: &Host) -> Server {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let api = host.begin().await;
    let text = format!(
        "system = \"{system}\"\ntoken = {path:?}\nurl = \"https://git.example\"\napi = \"{api}\"\ndays = 400\nservices = {{ \"acme/payments\" = \"payments\" }}"
    );
    let collector: CollectorConfig = toml::from_str(&text).unwrap();
    Server::empty(|config| config.collector = vec![collector]).await
}

async fn protection(server: &Server) -> Value {
    server.app.refresh_head().await.unwrap();
    let (_, list) = server.json("/api/v1/evidence?type=branch-protection").await;
    list["items"][0]["facts"]["facts"].clone()
}

#[tokio::test]
async fn github_tells_what_its_webhooks_do_not() {
    let host = github();
    let server = server("github", &host).await;
    let first = collect(&server.app).await.unwrap();
    // The branch, and the change about its head and its merge commit.
    assert_eq!((first.read, first.recorded, first.corroborated), (2, 3, 0));
    let merge = latest(&server, MERGE).await;
    let facts = &merge["facts"];
    assert_eq!(
        (&facts["change"], &facts["range"]["count"]),
        (&json!("#487"), &json!(2))
    );
    assert_eq!(
        (&facts["mergedTree"], &facts["reviewedTree"]),
        (&json!("2".repeat(40)), &json!("3".repeat(40)))
    );
    assert_eq!(merge["subject"]["tree"], "2".repeat(40));
    // Of the head, by people: neither the bot's nor the one of an earlier push.
    assert_eq!(facts["reviews"].as_array().unwrap().len(), 1);
    // Who opened it, an author without an account, a co-author.
    assert_eq!(facts["authors"].as_array().unwrap().len(), 3);
    assert_eq!(facts["repository"], "https://git.example/acme/payments");
    let rules = protection(&server).await;
    assert_eq!(
        (
            &rules["protected"],
            &rules["requiredReviews"],
            &rules["forcePush"]
        ),
        (&json!(true), &json!(2), &json!(false))
    );
    let bypass: Vec<&str> = rules["bypass"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    assert_eq!(bypass.len(), 3, "{bypass:?}");
    assert!(bypass.contains(&"RepositoryRole 5") && bypass.contains(&"Team release"));
    assert!(
        bypass.iter().any(|who| who.starts_with("p_")),
        "people are pseudonyms"
    );
    let dump = server.app.store.index_dump().await.unwrap();
    for text in ["planted", "octo-", "acme.example", TOKEN] {
        assert!(!dump.contains(text), "{text} is stored");
    }

    // A second look asks less, records nothing and says so.
    let asked = host.asked();
    let again = collect(&server.app).await.unwrap();
    assert_eq!((again.recorded, again.corroborated), (0, 1));
    assert!(host.asked() < asked);
    // The review was dismissed meanwhile, and the protection weakened.
    let mut reviews = answer!("github/reviews");
    reviews[0]["state"] = json!("DISMISSED");
    host.set("repos/acme/payments/pulls/487/reviews", 200, reviews);
    let mut rows = answer!("github/pulls");
    rows[0]["updated_at"] = json!("2026-01-21T12:00:00Z");
    host.set("repos/acme/payments/pulls", 200, rows);
    let mut weak = answer!("github/protection");
    weak["required_pull_request_reviews"] = Value::Null;
    host.set("repos/acme/payments/branches/main/protection", 200, weak);
    let changed = collect(&server.app).await.unwrap();
    assert_eq!((changed.read, changed.recorded), (2, 3));
    assert_eq!(
        latest(&server, MERGE).await["facts"]["reviews"][0]["verdict"],
        "dismissed"
    );
    assert_eq!(protection(&server).await["requiredReviews"], 0);
    server.end().await;
}

#[tokio::test]
async fn gitlab_tells_protection_and_approvals_of_the_head() {
    let host = gitlab();
    let server = server("gitlab", &host).await;
    let first = collect(&server.app).await.unwrap();
    assert_eq!((first.read, first.recorded), (2, 3));
    let merge = latest(&server, MERGE).await;
    let facts = &merge["facts"];
    assert_eq!(
        (&facts["change"], &facts["range"]["count"]),
        (&json!("!12"), &json!(2))
    );
    assert_eq!(
        (&facts["range"]["base"], &facts["range"]["head"]),
        (&json!("1".repeat(40)), &json!(HEAD))
    );
    // Neither the bot's nor the one that was given before the head came.
    let reviews = facts["reviews"].as_array().unwrap();
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    assert_eq!(reviews[0]["at"], "2026-01-20T11:00:00Z");
    let rules = protection(&server).await;
    assert_eq!(
        (
            &rules["protected"],
            &rules["requiredReviews"],
            &rules["forcePush"],
            &rules["bypass"]
        ),
        (&json!(true), &json!(1), &json!(false), &json!([]))
    );
    assert_eq!(collect(&server.app).await.unwrap().corroborated, 1);
    // Nobody protects it any more.
    host.set("projects/7/protected_branches", 200, json!([]));
    collect(&server.app).await.unwrap();
    assert_eq!(protection(&server).await["protected"], false);
    server.end().await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_rightly_is_named() {
    let host = github();
    let server = server("github", &host).await;
    // Elsewhere is not followed, and what is not JSON is nothing.
    for (status, body, part) in [
        (302, json!({"message": "moved"}), "302"),
        (
            401,
            json!({"message": format!("bad token {TOKEN}\u{1b}[2J")}),
            "401",
        ),
        (200, json!("not a repository"), "cannot be understood"),
    ] {
        host.set("repos/acme/payments", status, body);
        let error = collect(&server.app).await.unwrap_err();
        assert!(
            error.contains(part) && error.contains("acme/payments"),
            "{error}"
        );
        assert!(
            !error.contains(TOKEN) && !error.contains('\u{1b}'),
            "{error}"
        );
    }
    host.set("repos/acme/payments", 200, answer!("github/repository"));
    // A token that may not read classic protection: rulesets are what is known.
    host.set(
        "repos/acme/payments/branches/main/protection",
        404,
        json!({"message": "Not Found"}),
    );
    collect(&server.app).await.unwrap();
    assert_eq!(protection(&server).await["requiredReviews"], 0);
    // And where nothing is known of a branch, nothing is said of it.
    host.set("repos/acme/payments/rulesets", 200, json!([]));
    assert!(collect(&server.app).await.unwrap_err().contains("404"));
    assert_eq!(server.app.store.jobs().await.unwrap().len(), 0);
    server.end().await;
}
