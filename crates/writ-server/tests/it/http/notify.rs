//! Notices: a receiver that verifies signatures, and a real mail server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use writ_evidence::canonical;
use writ_model::{Digest, Timestamp};
use writ_registry::NewRecord;
use writ_registry::notices::NoticeState;
use writ_server::notify::config::ChannelConfig;
use writ_server::notify::tell;

use super::Server;

const SECRET: &str = "a-secret-of-the-tests-0123456789";

/// What came, and what is answered: 503 while it is away.
#[derive(Clone, Default)]
struct Receiver {
    came: Arc<Mutex<Vec<(String, Value)>>>,
    away: Arc<Mutex<bool>>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(&body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), expected);
    let body = serde_json::from_slice(&body).unwrap();
    receiver
        .came
        .lock()
        .unwrap()
        .push((header("webhook-id"), body));
    match *receiver.away.lock().unwrap() {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::NO_CONTENT,
    }
}

impl Receiver {
    async fn begin(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(receive)
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/hook")
    }
}

fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn channel(text: &str) -> ChannelConfig {
    toml::from_str(text).unwrap()
}

/// A deployment that was taken back.
async fn taken_back(server: &Server, service: &str, version: &str) {
    let digest = Digest::of(version.as_bytes());
    let now = server.app.store.now();
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": service, "digest": {"sha256": digest.to_hex()}}],
        "predicateType": "urn:writ:predicate:deployment:v1",
        "predicate": {
            "release": {"service": service, "environment": "production", "artifact": digest},
            "outcome": "rolled-back",
            "deployer": "p_0123456789abcdef0123",
            "startedAt": now, "observedAt": now,
            "reason": "3 of 40 requests failed <script>\r\nBcc: everybody@example.org",
            "origin": "observed", "producerClass": "ci-protected",
        },
    }))
    .unwrap();
    let record = NewRecord::payload(payload);
    server.app.store.record(record).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_is_away_hears_it_later_and_once() {
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    private(&secret, SECRET);
    let receiver = Receiver::default();
    let url = receiver.begin().await;
    let all = format!(
        "name = \"all\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n",
        secret.display()
    );
    let other = all.replace("\"all\"", "\"other\"") + "services = [\"billing\"]\n";
    let server = Server::empty(|config| {
        config.notify = vec![channel(&all), channel(&other)];
        config.public_url = Some("https://writ.example".to_owned());
    })
    .await;
    let (app, store) = (&server.app, &server.app.store);
    // The past is not told.
    taken_back(&server, "payments-api", "1").await;
    tell(app).await.unwrap();
    assert!(receiver.came.lock().unwrap().is_empty());

    *receiver.away.lock().unwrap() = true;
    taken_back(&server, "payments-api", "2").await;
    assert_eq!(
        tell(app).await.unwrap(),
        "1 queued, 0 sent, 1 to be tried again"
    );
    let queued = store.notices(None, 10).await.unwrap();
    assert_eq!((queued.len(), queued[0].tries), (1, 1));
    assert!(queued[0].note.contains("503"), "{}", queued[0].note);
    // Not before its pause is over, and not a second time.
    assert_eq!(
        tell(app).await.unwrap(),
        "0 queued, 0 sent, 0 to be tried again"
    );
    *receiver.away.lock().unwrap() = false;
    let before = Timestamp::from_micros(store.now().micros() - 1);
    store
        .notice_tried(&queued[0], NoticeState::Waiting, before, "again")
        .await
        .unwrap();
    assert_eq!(
        tell(app).await.unwrap(),
        "0 queued, 1 sent, 0 to be tried again"
    );
    let came = receiver.came.lock().unwrap().clone();
    let (id, body) = came.last().unwrap();
    assert!(came.iter().all(|(other, _)| other == id));
    assert_eq!(body["type"], "deployment-failed");
    let link = body["data"]["link"].as_str().unwrap();
    assert!(link.starts_with("https://writ.example/e"), "{link}");
    assert_eq!(
        body["data"]["title"],
        "payments-api into production: rolled back"
    );

    let page = server
        .get("/admin/integrations")
        .await
        .text()
        .await
        .unwrap();
    for word in [
        "Notices",
        "payments-api into production",
        "sent",
        "delivers",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains(SECRET) && !page.contains("<script>\r"));
    server.end().await;
}

#[test]
fn what_a_channel_lacks_is_named() {
    for (text, problem) in [
        ("kind = \"slack\"", "url_file"),
        (
            "kind = \"webhook\"\nurl = \"https://a.example\"",
            "secret_file",
        ),
        (
            "kind = \"email\"\nserver = \"smtps://a\"\nfrom = \"a@b\"",
            "key to",
        ),
        ("kind = \"pigeon\"", "pigeon"),
        (
            "kind = \"slack\"\nurl_file = \"a\"\nevents = [\"rain\"]",
            "rain",
        ),
    ] {
        let text = format!("name = \"x\"\n{text}\n");
        let error = toml::from_str::<ChannelConfig>(&text).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn mail_goes_through_a_real_server() {
    let Ok(smtp) = std::env::var("WRIT_TEST_SMTP") else {
        assert!(
            std::env::var("WRIT_REQUIRE_SERVICES").is_err(),
            "WRIT_TEST_SMTP is not set"
        );
        println!("skipped: WRIT_TEST_SMTP is not set");
        return;
    };
    let (address, mailbox) = smtp.split_once(' ').unwrap();
    let text = format!(
        "name = \"mail\"\nkind = \"email\"\nserver = \"smtp+plain://{address}\"\nfrom = \"Writ <writ@example.org>\"\n\
         to = [\"security@example.org\"]\nevents = [\"deployment-failed\"]\n"
    );
    let server = Server::empty(|config| config.notify = vec![channel(&text)]).await;
    tell(&server.app).await.unwrap();
    taken_back(&server, "mailed-service", "2").await;
    assert_eq!(
        tell(&server.app).await.unwrap(),
        "1 queued, 1 sent, 0 to be tried again"
    );
    let mut found = String::new();
    for entry in std::fs::read_dir(Path::new(mailbox).join("new")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        if text.contains("mailed-service") {
            found = text;
        }
    }
    let (head, body) = found.split_once("\n\n").unwrap();
    assert!(
        head.contains("Subject: [writ] mailed-service into production: rolled back"),
        "{head}"
    );
    assert!(!head.contains("Bcc"), "{head}");
    assert!(body.contains("3 of 40 requests failed"), "{body}");
    server.end().await;
}
