//! People sign in, stay signed in as long as they should, and change what is theirs.

use reqwest::{Method, Response};
use writ_ledger::Clock as _;
use writ_model::{Role, Span};
use writ_registry::directory::{ATTEMPTS, IDLE, LIFETIME};
use writ_server::{App, ServeError, serve};

use super::Server;
use super::guarded::{Guarded, PASSWORD, Signed, between, cookie, parts};

fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn word(answer: Response) -> String {
    let value: serde_json::Value = answer.json().await.unwrap();
    let kind = value["type"].as_str().unwrap();
    kind.trim_start_matches("urn:writ:problem:").to_owned()
}

#[tokio::test]
async fn who_is_not_signed_in_sees_the_door_and_nothing_behind_it() {
    let guarded = Guarded::new(&[("augusta", Role::Operator)], |_| {}).await;
    let server = &guarded.server;
    let browser = |path: &str| {
        let request = server.request(Method::GET, path);
        request.header("accept", "text/html,*/*")
    };
    let answer = browser("/findings?severity=high").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(
        location(&answer),
        "/sign-in?next=/findings%3Fseverity%3Dhigh"
    );
    // Programs are never sent to a page.
    for path in [
        "/",
        "/findings",
        "/findings.json",
        "/api/v1/evidence",
        "/metrics",
        "/ledger/checkpoint",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{path}");
        assert_eq!(word(answer).await, "sign-in", "{path}");
    }
    for path in ["/healthz", "/api/openapi.json", "/sign-in"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
    let page = browser("/sign-in?next=%22%3E%3Cscript%3E")
        .send()
        .await
        .unwrap();
    let text = page.text().await.unwrap();
    for told in [
        "augusta",
        "<script>",
        "nav",
        "Overview",
        server.app.store.origin(),
    ] {
        assert!(!text.contains(told), "{told}: {text}");
    }
    // Refusals look alike for people, also where nobody knows yet who asks.
    for (path, status) in [("/nowhere", 404), ("/changes/%ff", 303)] {
        let answer = browser(path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(!answer.text().await.unwrap().contains("<nav"), "{path}");
    }
    let bent = browser("/")
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    assert_eq!(bent.status(), 421);
    assert!(bent.text().await.unwrap().contains("<h1>"));
    guarded.server.end().await;
}

#[tokio::test]
async fn every_wrong_attempt_gets_the_same_answer() {
    let people = [("ada", Role::Operator), ("bob", Role::Developer)];
    let guarded = Guarded::new(&people, |_| {}).await;
    let bob = guarded.server.app.store.account("bob").await.unwrap();
    guarded
        .server
        .app
        .store
        .disable_account(&bob, true)
        .await
        .unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("ada", "wrong horse battery"),
        ("nobody", PASSWORD),
        ("bob", PASSWORD),
        ("", ""),
        ("<script>", "x"),
    ] {
        let answer = guarded.attempt(name, password).await;
        assert_eq!(answer.status(), 401, "{name}");
        assert!(answer.headers().get("set-cookie").is_none());
        answers.push(answer.text().await.unwrap());
    }
    for _ in 1..ATTEMPTS {
        guarded.attempt("ada", "wrong horse battery").await;
    }
    let locked = guarded.attempt("ada", PASSWORD).await;
    assert_eq!(locked.status(), 401);
    answers.push(locked.text().await.unwrap());
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // One address has only so many attempts, whatever the name.
    let mut last = 0;
    for at in 0..40 {
        last = guarded
            .attempt(&format!("name{at}"), "x")
            .await
            .status()
            .as_u16();
    }
    assert_eq!(last, 429);
    guarded.clock.pass(Span::from_secs(3_600));
    assert_eq!(guarded.attempt("ada", PASSWORD).await.status(), 303);
    guarded.server.end().await;
}

#[tokio::test]
async fn a_session_begins_with_a_token_of_its_own_and_ends_when_it_should() {
    let people = [("ada", Role::Operator), ("bob", Role::Developer)];
    let guarded = Guarded::new(&people, |_| {}).await;
    // A cookie that somebody else chose is never taken over.
    let chosen = format!("writ_session={}", "ab".repeat(32));
    let fields = [
        ("name", "ada"),
        ("password", PASSWORD),
        ("next", "/changes"),
    ];
    let answer = guarded
        .form("/sign-in", &fields)
        .header("cookie", &chosen)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), location(&answer).as_str()),
        (303, "/changes")
    );
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    let first = cookie(&answer);
    assert_ne!(first, chosen);
    assert_eq!(guarded.get("/", &chosen).await.status(), 401);
    assert_eq!(guarded.get("/", &first).await.status(), 200);
    // Signing in again in the same browser ends the session before.
    let page = guarded.get("/settings", &first).await.text().await.unwrap();
    let token = between(&page, "name=\"form_token\" value=\"", "\"");
    let again = guarded
        .form(
            "/sign-in",
            &[fields[0], fields[1], ("form_token", token.as_str())],
        )
        .header("cookie", &first)
        .send()
        .await
        .unwrap();
    let second = cookie(&again);
    assert_ne!(first, second);
    assert_eq!(guarded.get("/", &first).await.status(), 401);
    assert_eq!(guarded.get("/", &second).await.status(), 200);
    // Idle.
    guarded.clock.pass(IDLE);
    assert_eq!(guarded.get("/", &second).await.status(), 401);
    // Absolute.
    let ada = guarded.sign_in("ada").await;
    for _ in 0..LIFETIME.secs() / 3_600 {
        assert_eq!(guarded.get("/", &ada.cookie).await.status(), 200);
        guarded.clock.pass(Span::from_secs(3_600));
    }
    assert_eq!(guarded.get("/", &ada.cookie).await.status(), 401);
    // Signed out.
    let ada = guarded.sign_in("ada").await;
    let out = guarded.post("/sign-out", &ada, &[]).await;
    assert!(
        out.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    assert_eq!(guarded.get("/", &ada.cookie).await.status(), 401);
    // Revoked by oneself, by an operator, and with the account.
    let (ada, bob, other) = (
        guarded.sign_in("ada").await,
        guarded.sign_in("bob").await,
        guarded.sign_in("bob").await,
    );
    assert_eq!(
        guarded.post("/settings/session", &bob, &[]).await.status(),
        303
    );
    assert_eq!(guarded.get("/", &other.cookie).await.status(), 401);
    assert_eq!(guarded.get("/", &bob.cookie).await.status(), 200);
    let page = guarded
        .get("/admin/people", &ada.cookie)
        .await
        .text()
        .await
        .unwrap();
    let session = between(&page, "name=\"session\" value=\"", "\"");
    let ended = guarded
        .post("/admin/people/session", &ada, &[("session", &session)])
        .await;
    assert_eq!(ended.status(), 303);
    assert_eq!(guarded.get("/", &bob.cookie).await.status(), 401);
    let bob = guarded.sign_in("bob").await;
    let disabled = [("name", "bob"), ("disabled", "true")];
    assert_eq!(
        guarded
            .post("/admin/people/disable", &ada, &disabled)
            .await
            .status(),
        303
    );
    assert_eq!(guarded.get("/", &bob.cookie).await.status(), 401);
    guarded.server.end().await;
}

#[tokio::test]
async fn an_encrypted_server_uses_a_cookie_of_this_host_only() {
    let guarded = Guarded::new(&[("ada", Role::Operator)], |config| {
        config.behind_proxy = true;
        config.public_url = Some("https://writ.example".to_owned());
    })
    .await;
    let answer = guarded.attempt("ada", PASSWORD).await;
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        set.starts_with("__Host-writ_session=") && set.contains("; Secure"),
        "{set}"
    );
    let bare = cookie(&answer).replace("__Host-", "");
    assert_eq!(guarded.get("/", &bare).await.status(), 401);
    assert_eq!(guarded.get("/", &cookie(&answer)).await.status(), 200);
    guarded.server.end().await;
}

#[tokio::test]
async fn nobody_is_sent_to_another_site() {
    let guarded = Guarded::new(&[("ada", Role::Operator)], |_| {}).await;
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "/sign-in",
        "",
        "%2f%2fevil.example",
    ] {
        let fields = [("name", "ada"), ("password", PASSWORD), ("next", next)];
        let answer = guarded.form("/sign-in", &fields).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), location(&answer).as_str()),
            (303, "/"),
            "{next:?}"
        );
    }
    guarded.server.end().await;
}

#[tokio::test]
async fn a_form_carries_the_token_of_its_session() {
    let people = [("ada", Role::Operator), ("bob", Role::Operator)];
    let guarded = Guarded::new(&people, |_| {}).await;
    let (ada, bob) = (guarded.sign_in("ada").await, guarded.sign_in("bob").await);
    let theme = [("theme", "dark"), ("next", "/changes")];
    let ok = guarded.post("/settings/theme", &ada, &theme).await;
    assert_eq!(
        (ok.status().as_u16(), location(&ok).as_str()),
        (303, "/changes")
    );
    for token in ["", "x", bob.token.as_str()] {
        let forged = Signed {
            cookie: ada.cookie.clone(),
            token: token.to_owned(),
        };
        let answer = guarded.post("/settings/theme", &forged, &theme).await;
        assert_eq!(
            (answer.status().as_u16(), word(answer).await.as_str()),
            (403, "form-token")
        );
    }
    // A session alone hands nothing in by the interface either.
    let answer = guarded
        .server
        .request(Method::POST, "/api/v1/evidence")
        .header("cookie", &ada.cookie)
        .body(guarded.server.envelope("payments-api"))
        .send()
        .await
        .unwrap();
    assert_eq!(word(answer).await, "form-token");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let fields = [theme[0], theme[1], ("form_token", ada.token.as_str())];
        let answer = guarded
            .form("/settings/theme", &fields)
            .header("cookie", &ada.cookie)
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(word(answer).await, "cross-site");
    }
    guarded.server.end().await;
}

#[tokio::test]
async fn roles_given_and_taken_count_with_the_next_request() {
    let people = [("ada", Role::Operator), ("bob", Role::Developer)];
    let guarded = Guarded::new(&people, |_| {}).await;
    let (ada, bob) = (guarded.sign_in("ada").await, guarded.sign_in("bob").await);
    let change = async |who: &Signed, name: &str, change: &str, role: &str| {
        let fields = [
            ("name", name),
            ("role", role),
            ("change", change),
            ("service", ""),
        ];
        guarded.post("/admin/people/role", who, &fields).await
    };
    assert_eq!(
        guarded.get("/admin/health", &bob.cookie).await.status(),
        403
    );
    assert_eq!(
        word(change(&bob, "bob", "grant", "operator").await).await,
        "not-allowed"
    );
    let before = guarded.server.app.store.extent().await.unwrap().entries;
    assert_eq!(change(&ada, "bob", "grant", "operator").await.status(), 303);
    assert_eq!(
        guarded.server.app.store.extent().await.unwrap().entries,
        before + 1
    );
    assert_eq!(
        guarded.get("/admin/health", &bob.cookie).await.status(),
        200
    );
    assert_eq!(
        change(&ada, "bob", "revoke", "operator").await.status(),
        303
    );
    assert_eq!(
        guarded.get("/admin/health", &bob.cookie).await.status(),
        403
    );
    assert_eq!(guarded.get("/", &bob.cookie).await.status(), 200);
    for (name, what, role) in [
        ("bob", "grant", "auditor"),
        ("ada", "grant", "auditor"),
        ("ada", "revoke", "operator"),
        ("carol", "grant", "developer"),
        ("bob", "grant", "developer"),
    ] {
        let answer = change(&ada, name, what, role).await;
        assert_eq!(
            (answer.status().as_u16(), word(answer).await.as_str()),
            (422, "people"),
            "{name}"
        );
    }
    // Without any role there is nothing to see, and the refusal says so.
    assert_eq!(
        change(&ada, "bob", "revoke", "developer").await.status(),
        303
    );
    let refused = guarded.get("/findings", &bob.cookie).await;
    assert_eq!(refused.status(), 403);
    let text = refused.text().await.unwrap();
    assert!(
        text.contains("bob has no role") && !text.contains("<nav"),
        "{text}"
    );
    guarded.server.end().await;
}

#[tokio::test]
async fn a_password_and_codes_are_changed_by_who_knows_them() {
    let guarded = Guarded::new(&[("ada", Role::Operator)], |_| {}).await;
    let ada = guarded.sign_in("ada").await;
    let new = "another horse battery";
    let set = async |current: &str, again: &str| {
        let fields = [("current", current), ("password", new), ("again", again)];
        guarded.post("/settings/password", &ada, &fields).await
    };
    assert_eq!(set("wrong horse battery", new).await.status(), 422);
    assert_eq!(set(PASSWORD, "else").await.status(), 422);
    let changed = set(PASSWORD, new).await;
    assert_eq!(changed.status(), 303);
    assert_eq!(guarded.get("/", &ada.cookie).await.status(), 401);
    let cookie = cookie(&changed);
    let page = guarded
        .get("/settings", &cookie)
        .await
        .text()
        .await
        .unwrap();
    let ada = Signed {
        token: between(&page, "name=\"form_token\" value=\"", "\""),
        cookie,
    };
    assert_eq!(guarded.attempt("ada", PASSWORD).await.status(), 401);
    // One-time codes.
    assert_eq!(
        guarded
            .post("/settings/codes", &ada, &[("step", "begin")])
            .await
            .status(),
        303
    );
    let page = guarded
        .get("/settings", &ada.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(page.contains("<svg class=\"qr\""), "{page}");
    let secret = between(&page, "<p><code class=\"id\">", "<");
    let code = || totp(&secret, guarded.clock.now_micros());
    let confirm = async |code: &str| {
        let fields = [("step", "confirm"), ("code", code)];
        guarded
            .post("/settings/codes", &ada, &fields)
            .await
            .status()
            .as_u16()
    };
    assert_eq!(confirm("000000").await, 422);
    assert_eq!(confirm(&code()).await, 303);
    let enter = async |code: &str| {
        let fields = [("name", "ada"), ("password", new), ("code", code)];
        let answer = guarded.form("/sign-in", &fields).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(enter("").await, 401);
    assert_eq!(
        enter(&code()).await,
        401,
        "the code that was confirmed is used up"
    );
    guarded.clock.pass(Span::from_secs(60));
    let fresh = code();
    assert_eq!(enter(&fresh).await, 303);
    assert_eq!(enter(&fresh).await, 401, "a code is taken once");
    guarded.server.end().await;
}

/// RFC 6238 once more, on its own.
fn totp(secret: &str, micros: i64) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut bits = String::new();
    for letter in secret.bytes() {
        let at = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|known| *known == letter);
        bits.push_str(&format!("{:05b}", at.unwrap()));
    }
    let key: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
        .collect();
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
    mac.update(&(micros / 30_000_000).to_be_bytes());
    let digest: Vec<u8> = mac.finalize().into_bytes().to_vec();
    let at = usize::from(digest[19] & 15);
    let part: [u8; 4] = digest[at..at + 4].try_into().unwrap();
    format!(
        "{:06}",
        (u32::from_be_bytes(part) & 0x7fff_ffff) % 1_000_000
    )
}

#[tokio::test]
async fn without_accounts_only_this_machine_itself_is_let_in() {
    let server = Server::empty(|_| {}).await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        let request = server.request(Method::GET, "/").header(name, "192.0.2.1");
        assert_eq!(request.send().await.unwrap().status(), 403, "{name}");
    }
    server.end().await;
    let refused = async |people: &[(&str, Role)], listen: &str, proxy: bool| {
        let place = tempfile::tempdir().unwrap();
        let (parts, _) = parts(&place, people, |config| {
            config.listen = listen.parse().unwrap();
            config.behind_proxy = proxy;
        })
        .await;
        match serve(App::new(parts).await.unwrap()).await {
            Ok(running) => {
                running.stop().await;
                "listens"
            }
            Err(ServeError::NoAccounts(_)) => "no accounts",
            Err(ServeError::Clear(_)) => "clear",
            Err(error) => panic!("{error}"),
        }
    };
    let ada: &[(&str, Role)] = &[("ada", Role::Operator)];
    assert_eq!(refused(&[], "127.0.0.1:0", true).await, "no accounts");
    assert_eq!(refused(&[], "0.0.0.0:0", true).await, "no accounts");
    assert_eq!(refused(&[], "0.0.0.0:0", false).await, "clear");
    assert_eq!(refused(ada, "0.0.0.0:0", false).await, "clear");
    assert_eq!(refused(ada, "0.0.0.0:0", true).await, "listens");
    assert_eq!(refused(ada, "127.0.0.1:0", true).await, "listens");
}
