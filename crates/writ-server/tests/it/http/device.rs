//! Programs that ask a person for a token.

use reqwest::{Method, Response};
use serde_json::Value;
use writ_model::{Role, Span};
use writ_registry::directory::{CODE_LIFE, PERSONAL_LIFE};

use super::guarded::{Guarded, Signed};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const PAUSE: Span = Span::from_secs(5);

struct World(Guarded);

/// A program's codes.
struct Codes {
    device: String,
    user: String,
}

impl World {
    async fn new() -> Self {
        let people = [("ada", Role::Operator), ("bob", Role::Developer)];
        Self(Guarded::new(&people, |_| {}).await)
    }

    async fn ask(&self, label: &str) -> Codes {
        let answer = self.0.form("/api/v1/device", &[("label", label)]).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let value: Value = answer.json().await.unwrap();
        assert_eq!(
            (value["expires_in"].as_i64(), value["interval"].as_i64()),
            (Some(600), Some(5))
        );
        let user = value["user_code"].as_str().unwrap().to_owned();
        assert_eq!(
            value["verification_uri_complete"],
            self.0.server.url(&format!("/device?code={user}"))
        );
        Codes {
            device: value["device_code"].as_str().unwrap().to_owned(),
            user,
        }
    }

    async fn poll(&self, device: &str) -> (u16, Value) {
        let fields = [("grant_type", GRANT), ("device_code", device)];
        let answer = self
            .0
            .form("/api/v1/device/token", &fields)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn error(&self, device: &str) -> String {
        let (status, value) = self.poll(device).await;
        assert_eq!(status, 400, "{value}");
        value["error"].as_str().unwrap().to_owned()
    }

    async fn answer(&self, who: &Signed, code: &str, answer: &str) -> String {
        let fields = [("code", code), ("answer", answer)];
        let answer = self.0.post("/device", who, &fields).await;
        assert_eq!(answer.status(), 303);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// A token of somebody.
    async fn token(&self, who: &Signed) -> String {
        let codes = self.ask("a program").await;
        assert_eq!(
            self.answer(who, &codes.user, "allow").await,
            "/device?done=allowed"
        );
        let (status, value) = self.poll(&codes.device).await;
        assert_eq!(status, 200, "{value}");
        value["access_token"].as_str().unwrap().to_owned()
    }

    async fn with(&self, method: Method, path: &str, token: &str) -> Response {
        let request = self.0.server.request(method, path).bearer_auth(token);
        request.send().await.unwrap()
    }

    async fn status(&self, path: &str, token: &str) -> u16 {
        self.with(Method::GET, path, token).await.status().as_u16()
    }
}

#[tokio::test]
async fn a_program_gets_a_token_of_the_person_who_says_yes() {
    let world = World::new().await;
    let bob = world.0.sign_in("bob").await;
    let codes = world.ask("<script>alert(1)</script> on laptop").await;
    assert_eq!(world.error(&codes.device).await, "authorization_pending");
    // Asking too early makes the pause longer.
    let (_, value) = world.poll(&codes.device).await;
    assert_eq!(
        (value["error"].as_str(), value["interval"].as_i64()),
        (Some("slow_down"), Some(10))
    );
    world.0.clock.pass(PAUSE);
    assert_eq!(world.error(&codes.device).await, "slow_down");
    world.0.clock.pass(Span::from_secs(15));
    assert_eq!(world.error(&codes.device).await, "authorization_pending");
    // Who is not signed in is led there and back.
    let path = format!("/device?code={}", codes.user);
    let request = world
        .0
        .server
        .request(Method::GET, &path)
        .header("accept", "text/html");
    let answer = request.send().await.unwrap();
    let there = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(
        (answer.status().as_u16(), there),
        (
            303,
            format!("/sign-in?next=/device%3Fcode%3D{}", codes.user)
        )
    );
    // The person sees who asks, from where; another spelling is the same code.
    for spelled in [
        codes.user.clone(),
        codes.user.to_lowercase().replace('-', ""),
    ] {
        let page = world
            .0
            .get(&format!("/device?code={spelled}"), &bob.cookie)
            .await;
        let page = page.text().await.unwrap();
        for part in [
            codes.user.as_str(),
            "&lt;script&gt;alert(1)",
            "127.0.0.1",
            PERSONAL_LIFE.human().as_str(),
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>alert"), "{page}");
    }
    // A form of another site says nothing.
    let forged = Signed {
        cookie: bob.cookie.clone(),
        token: "x".to_owned(),
    };
    let fields = [("code", codes.user.as_str()), ("answer", "allow")];
    assert_eq!(
        world.0.post("/device", &forged, &fields).await.status(),
        403
    );
    world.0.clock.pass(Span::from_secs(15));
    assert_eq!(world.error(&codes.device).await, "authorization_pending");
    assert_eq!(
        world.answer(&bob, &codes.user, "allow").await,
        "/device?done=allowed"
    );
    assert_eq!(
        world.answer(&bob, &codes.user, "deny").await,
        "/device?done=over"
    );
    world.0.clock.pass(Span::from_secs(15));
    let (status, value) = world.poll(&codes.device).await;
    assert_eq!(
        (status, value["account"].as_str()),
        (200, Some("bob")),
        "{value}"
    );
    assert_eq!(value["expires_in"].as_i64(), Some(PERSONAL_LIFE.secs()));
    let token = value["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        world.error(&codes.device).await,
        "expired_token",
        "a code is answered once"
    );
    // It is bob, and not all of bob.
    assert_eq!(world.status("/api/v1/evidence", &token).await, 200);
    for path in ["/settings", "/admin/people", "/device", "/api/v1/stats"] {
        assert_eq!(world.status(path, &token).await, 403, "{path}");
    }
    let body = world.0.server.envelope("payments-api");
    let request = world
        .0
        .server
        .request(Method::POST, "/api/v1/evidence")
        .header("content-type", "application/json")
        .bearer_auth(&token);
    assert_eq!(request.body(body).send().await.unwrap().status(), 201);
    let named = world.with(Method::GET, "/admin/people", &token).await;
    let text = named.text().await.unwrap();
    assert!(text.contains("bob"), "{text}");
    world.0.server.end().await;
}

#[tokio::test]
async fn a_token_of_a_person_ends_with_what_it_came_from() {
    let world = World::new().await;
    let store = &world.0.server.app.store;
    let (ada, bob) = (world.0.sign_in("ada").await, world.0.sign_in("bob").await);
    // An operator's token is no operator at the people's page.
    let token = world.token(&ada).await;
    assert_eq!(world.status("/api/v1/stats", &token).await, 200);
    assert_eq!(world.status("/admin/people", &token).await, 403);
    // By itself.
    let ended = world
        .with(Method::POST, "/api/v1/device/revoke", &token)
        .await;
    assert_eq!(ended.status(), 200);
    assert_eq!(world.status("/api/v1/stats", &token).await, 401);
    // At the settings, by its owner only.
    let token = world.token(&bob).await;
    let account = store.account("bob").await.unwrap();
    let known = store.tokens_of(&account.id).await.unwrap();
    let fields = [("token", known[0].id.as_str())];
    assert_eq!(
        world
            .0
            .post("/settings/token", &ada, &fields)
            .await
            .status(),
        422
    );
    assert_eq!(world.status("/api/v1/evidence", &token).await, 200);
    let page = world
        .0
        .get("/settings", &bob.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(page.contains(&known[0].name), "{page}");
    assert_eq!(
        world
            .0
            .post("/settings/token", &bob, &fields)
            .await
            .status(),
        303
    );
    assert_eq!(world.status("/api/v1/evidence", &token).await, 401);
    // With its time.
    let token = world.token(&bob).await;
    world.0.clock.pass(PERSONAL_LIFE);
    assert_eq!(world.status("/api/v1/evidence", &token).await, 401);
    // With the account, for good.
    let bob = world.0.sign_in("bob").await;
    let token = world.token(&bob).await;
    store.disable_account(&account, true).await.unwrap();
    assert_eq!(world.status("/api/v1/evidence", &token).await, 401);
    store.disable_account(&account, false).await.unwrap();
    assert_eq!(world.status("/api/v1/evidence", &token).await, 401);
    // Only a person's token is ended so.
    let nobody = world
        .0
        .server
        .request(Method::POST, "/api/v1/device/revoke");
    assert_eq!(nobody.send().await.unwrap().status(), 422);
    world.0.server.end().await;
}

#[tokio::test]
async fn a_no_and_silence_give_nothing() {
    let world = World::new().await;
    let bob = world.0.sign_in("bob").await;
    let codes = world.ask("").await;
    assert_eq!(
        world.answer(&bob, &codes.user, "deny").await,
        "/device?done=denied"
    );
    assert_eq!(world.error(&codes.device).await, "access_denied");
    assert_eq!(world.error(&codes.device).await, "expired_token");
    let late = world.ask("").await;
    assert_eq!(
        world.answer(&bob, &late.user, "allow").await,
        "/device?done=allowed"
    );
    world.0.clock.pass(CODE_LIFE);
    assert_eq!(world.error(&late.device).await, "expired_token");
    // A yes of somebody who was disabled since is none.
    let bob = world.0.sign_in("bob").await;
    let gone = world.ask("").await;
    assert_eq!(
        world.answer(&bob, &gone.user, "allow").await,
        "/device?done=allowed"
    );
    let store = &world.0.server.app.store;
    let account = store.account("bob").await.unwrap();
    store.disable_account(&account, true).await.unwrap();
    assert_eq!(world.error(&gone.device).await, "access_denied");
    for bad in ["", "x", &"ab".repeat(32)] {
        assert_eq!(world.error(bad).await, "expired_token");
    }
    for fields in [
        &[("grant_type", "password")][..],
        &[],
        &[("grant_type", GRANT)],
    ] {
        let answer = world
            .0
            .form("/api/v1/device/token", fields)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 400);
    }
    // One address asks only so often, and guesses only so often.
    let mut last = 0;
    for _ in 0..40 {
        let answer = world.0.form("/api/v1/device", &[]).send().await.unwrap();
        last = answer.status().as_u16();
    }
    assert_eq!(last, 429);
    let ada = world.0.sign_in("ada").await;
    for _ in 0..40 {
        let answer = world.0.get("/device?code=BCDF-GHJK", &ada.cookie).await;
        last = answer.status().as_u16();
    }
    assert_eq!(last, 429);
    world.0.server.end().await;
}
