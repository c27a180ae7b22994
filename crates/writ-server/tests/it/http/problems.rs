//! Refusals: stable documents for programs, pages for people, and nothing told to strangers.

use reqwest::Method;
use serde_json::Value;
use writ_ledger::{Clock as _, SystemClock};
use writ_model::Timestamp;
use writ_server::Config;

use super::Server;

/// A problem document must have these.
fn checked(value: &Value, status: u16, word: &str) {
    assert_eq!(value["type"], format!("urn:writ:problem:{word}"), "{value}");
    assert_eq!(value["status"], status, "{value}");
    assert!(!value["title"].as_str().unwrap().is_empty());
    assert!(!value["detail"].as_str().unwrap().is_empty());
    assert!(
        value["instance"]
            .as_str()
            .unwrap()
            .starts_with("urn:writ:request:"),
        "{value}"
    );
}

#[tokio::test]
async fn an_empty_store_has_pages_that_say_what_will_be_there() {
    let server = Server::empty(|_| ()).await;
    for path in [
        "/",
        "/changes",
        "/runs",
        "/findings",
        "/exemptions",
        "/controls",
        "/controls/VUL-01",
        "/evidence",
        "/environments",
        "/search",
        "/search?q=nothing",
        "/admin/health",
        "/api/v1/evidence",
        "/api/v1/findings",
        "/api/v1/stats",
        "/healthz",
        "/readyz",
        "/metrics",
        "/ledger/checkpoint",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn problems_of_the_interface_are_documents() {
    let server = Server::empty(|_| ()).await;
    let digest = "0".repeat(64);
    for (path, status, word) in [
        ("/api/v1/nothing", 404, "not-found"),
        ("/api/v1/evidence?limit=x", 400, "query"),
        ("/api/v1/evidence?colour=red", 400, "query"),
        ("/api/v1/evidence?at=soon", 400, "query"),
        ("/api/v1/evidence?at=2999-01-01", 400, "query"),
        ("/api/v1/evidence?after=x", 400, "query"),
        (&format!("/api/v1/evidence/ev_{digest}"), 404, "not-found"),
        ("/api/v1/evidence/..%2F..%2Fetc", 400, "query"),
        ("/api/v1/controls/NO-99", 404, "not-found"),
        ("/ledger/tile/0/000", 404, "not-found"),
        ("/ledger/tile/0/..%2F..%2Fetc%2Fpasswd", 404, "not-found"),
        ("/assets/..%2F..%2FCargo.toml", 404, "not-found"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
        checked(&answer.json().await.unwrap(), status, word);
    }
    let answer = server
        .request(Method::DELETE, "/api/v1/evidence")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 405);
    assert!(answer.headers().contains_key("allow"));
    checked(&answer.json().await.unwrap(), 405, "method-not-allowed");
    server.end().await;
}

#[tokio::test]
async fn a_day_without_a_time_is_an_instant() {
    let server = Server::empty(|_| {}).await;
    let today = Timestamp::from_micros(SystemClock.now_micros()).to_string();
    let (day, minute) = (&today[..10], &today[..16]);
    for path in ["/changes", "/controls", "/api/v1/evidence"] {
        for at in [day, minute] {
            let answer = server.get(&format!("{path}?at={at}")).await;
            assert_eq!(answer.status(), 200, "{path} at {at}");
        }
    }
    server.end().await;
}

#[tokio::test]
async fn problems_of_pages_are_pages() {
    let server = Server::empty(|_| ()).await;
    let answer = server.get("/nowhere/<script>alert(1)</script>").await;
    assert_eq!(answer.status(), 404);
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(kind.starts_with("text/html"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(!text.contains("<script>alert"), "{text}");
    // The other forms of a page that is not there are documents.
    let (status, value) = server.json("/controls/NO-99.json").await;
    assert_eq!(status, 404);
    checked(&value, 404, "not-found");
    server.end().await;
}

#[tokio::test]
async fn a_name_that_is_bent_here_and_another_sites_form_are_refused() {
    let server = Server::empty(|config| {
        config.public_url = Some("https://writ.example".to_owned());
    })
    .await;
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("writ.example", 200),
        ("localhost:1", 200),
    ] {
        let answer = server
            .request(Method::GET, "/")
            .header("host", host)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = server
            .request(Method::POST, "/settings/theme")
            .header(name, value)
            .form(&[("theme", "dark"), ("back", "/")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 403, "{name}: {value}");
    }
    server.end().await;
}

#[tokio::test]
async fn nobody_outside_of_this_machine_is_let_in_without_accounts() {
    for (text, part) in [
        ("listen = \"0.0.0.0:0\"", "without encryption"),
        ("listen = \"[::]:0\"\nbehind_proxy = true", "no accounts"),
    ] {
        let config = Config::parse("server.toml".as_ref(), text).unwrap();
        let place = tempfile::tempdir().unwrap();
        let app = writ_server::App::new(writ_server::Parts {
            store: super::store(place.path()).await.into(),
            bundle: writ_gate::load_bundle(&writ_gate::BundleSource::Embedded)
                .unwrap()
                .into(),
            config,
            operator: "operator".to_owned(),
            demo: false,
        })
        .await
        .unwrap();
        let error = writ_server::serve(app).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
