//! People who sign in at an identity provider.

use std::collections::HashMap;

use reqwest::{Method, Response, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use writ_ledger::Clock as _;
use writ_model::{Assurance, Grant, Role, Span};
use writ_registry::directory::{ATTEMPT_LIFE, RoleBook};
use writ_server::access::oidc::OidcSettings;

use super::guarded::{Guarded, PASSWORD};
use super::provider::{CLIENT, Code, Provider, SECRET, Signed};

const HTML: &str = "text/html,*/*";

pub(super) struct Fixture {
    pub(super) guarded: Guarded,
    pub(super) provider: Provider,
    _secret: TempDir,
}

/// A sign-in that a browser began.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    asked: HashMap<String, String>,
    pub(super) cookie: String,
}

impl Begun {
    fn get(&self, name: &str) -> &str {
        &self.asked[name]
    }
}

fn settings(provider: &Provider, secret: &TempDir, more: &str) -> OidcSettings {
    let path = secret.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let text = format!(
        "key = \"corp\"\nname = \"Corp <b>\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret_file = \"{}\"\nallow_loopback = true\n{more}",
        provider.address(),
        path.display()
    );
    toml::from_str(&text).unwrap()
}

impl Fixture {
    pub(super) async fn new(more: &str) -> Self {
        Self::with(Provider::start().await, more).await
    }

    pub(super) async fn with(provider: Provider, more: &str) -> Self {
        let secret = tempfile::tempdir().unwrap();
        let corp = settings(&provider, &secret, more);
        let people = [("ada", Role::Operator)];
        let guarded = Guarded::new(&people, |config| config.oidc = vec![corp]).await;
        Self {
            guarded,
            provider,
            _secret: secret,
        }
    }

    pub(super) async fn get(&self, path: &str, cookie: &str) -> Response {
        let request = self.guarded.server.request(Method::GET, path);
        let request = request.header("cookie", cookie).header("accept", HTML);
        request.send().await.unwrap()
    }

    pub(super) async fn begin(&self, next: &str) -> Begun {
        let path = format!("/sign-in/with/corp?next={next}");
        begun(&self.get(&path, "").await)
    }

    /// The claims of a good ID token.
    pub(super) fn claims(&self, begun: &Begun, subject: &str) -> Value {
        let now = self.guarded.clock.now_micros() / 1_000_000;
        json!({
            "iss": self.provider.address(), "aud": CLIENT, "sub": subject, "nonce": begun.get("nonce"),
            "iat": now, "exp": now + 300, "preferred_username": "Grace.Hopper", "name": "Grace <i>Hopper</i>",
        })
    }

    pub(super) fn code(&self, begun: &Begun, claims: Value, signed: Signed) -> String {
        let code = format!("c-{}", begun.get("state"));
        let good_for = Code {
            challenge: begun.get("code_challenge").to_owned(),
            redirect: begun.get("redirect_uri").to_owned(),
            claims,
            signed,
        };
        self.provider.gives(&code, good_for);
        code
    }

    /// The way back with what the provider adds.
    pub(super) async fn back(&self, begun: &Begun, code: &str) -> Response {
        let path = self.path(begun, code);
        self.get(&path, &begun.cookie).await
    }

    pub(super) fn path(&self, begun: &Begun, code: &str) -> String {
        format!(
            "/sign-in/with/corp/back?code={code}&state={}&iss={}&session_state=x",
            begun.get("state"),
            self.provider.address()
        )
    }

    pub(super) async fn sign_in(&self, change: Value) -> Response {
        let begun = self.begin("/changes").await;
        let mut claims = self.claims(&begun, "g-1");
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let code = self.code(&begun, claims, Signed::Well);
        self.back(&begun, &code).await
    }

    pub(super) async fn roles(&self, login: &str) -> Vec<Grant> {
        let store = &self.guarded.server.app.store;
        let mut book = RoleBook::default();
        store.read_roles(&mut book).await.unwrap();
        book.of(&store.account(login).await.unwrap().id)
    }
}

pub(super) fn location(answer: &Response) -> String {
    answer.headers()["location"].to_str().unwrap().to_owned()
}

fn begun(answer: &Response) -> Begun {
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("Max-Age=600"),
        "{cookie}"
    );
    lead(&location(answer), cookie)
}

pub(super) fn lead(there: &str, cookie: &str) -> Begun {
    Begun {
        asked: Url::parse(there)
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect(),
        cookie: cookie.split(';').next().unwrap().to_owned(),
    }
}

/// The session of an answer that signs somebody in.
pub(super) fn session(answer: &Response) -> String {
    assert_eq!(answer.status(), 303);
    let set: Vec<&str> = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(
        set[1].starts_with("writ_attempt=;") && set[1].contains("Max-Age=0"),
        "{set:?}"
    );
    assert!(set[0].starts_with("writ_session="), "{set:?}");
    set[0].split(';').next().unwrap().to_owned()
}

pub(super) async fn refusal(answer: Response, status: u16) -> String {
    let found = answer.status().as_u16();
    assert!(answer.headers().get("set-cookie").is_none());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    assert!(
        !text.contains("<nav") && text.contains("Back to the ways to sign in"),
        "{text}"
    );
    text
}

#[tokio::test]
async fn somebody_who_is_known_there_gets_a_session_here() {
    let fixture = Fixture::new("").await;
    let page = fixture
        .get("/sign-in?next=/findings", "")
        .await
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("href=\"/sign-in/with/corp?next=/findings\""),
        "{page}"
    );
    assert!(page.contains("Sign in with Corp &lt;b&gt;"), "{page}");
    let begun = fixture.begin("/changes").await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("scope", "openid profile"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(begun.get(name), value);
    }
    assert_eq!(
        begun.get("redirect_uri"),
        fixture.guarded.server.url("/sign-in/with/corp/back")
    );
    // A session that somebody put into the browser is over.
    let ada = fixture.guarded.sign_in("ada").await;
    let code = fixture.code(&begun, fixture.claims(&begun, "g-1"), Signed::Well);
    let both = format!("{}; {}", begun.cookie, ada.cookie);
    let answer = fixture.get(&fixture.path(&begun, &code), &both).await;
    assert_eq!(location(&answer), "/changes");
    let cookie = session(&answer);
    assert_ne!(cookie, ada.cookie);
    assert_eq!(fixture.guarded.get("/", &ada.cookie).await.status(), 401);
    // Known, and without a role.
    let refused = fixture.get("/changes", &cookie).await;
    assert_eq!(refused.status(), 403);
    let text = refused.text().await.unwrap();
    assert!(text.contains("grace.hopper@corp has no role"), "{text}");
    let store = &fixture.guarded.server.app.store;
    let account = store.account("grace.hopper@corp").await.unwrap();
    assert!(!account.has_password());
    let sessions = store.sessions(Some(&account.id)).await.unwrap();
    assert_eq!(sessions[0].assurance, Assurance::Password);
    assert_eq!(
        sessions[0].provenance.as_ref().unwrap().issuer,
        fixture.provider.address()
    );
    // The same person again, by another name; another person of the same name.
    session(&fixture.sign_in(json!({"preferred_username": "root"})).await);
    session(
        &fixture
            .sign_in(json!({"sub": "g-2", "amr": ["pwd", "mfa"], "acr": "gold"}))
            .await,
    );
    session(
        &fixture
            .sign_in(json!({"sub": "g-3", "preferred_username": "ada", "email": "ada"}))
            .await,
    );
    let names: Vec<String> = store
        .accounts()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.login)
        .collect();
    assert_eq!(
        names,
        [
            "ada",
            "ada@corp",
            "grace.hopper-2@corp",
            "grace.hopper@corp"
        ]
    );
    let second = store.account("grace.hopper-2@corp").await.unwrap();
    let sessions = store.sessions(Some(&second.id)).await.unwrap();
    assert_eq!(sessions[0].assurance, Assurance::Totp);
    assert_eq!(sessions[0].provenance.as_ref().unwrap().amr, "pwd mfa");
    // There is no password to guess, and none to set.
    for name in ["grace.hopper@corp", "grace.hopper"] {
        assert_eq!(fixture.guarded.attempt(name, "").await.status(), 401);
        assert_eq!(fixture.guarded.attempt(name, PASSWORD).await.status(), 401);
    }
    assert!(store.set_password(&account, PASSWORD).await.is_err());
    // Disabled here is disabled, whatever the provider says; what was open is over.
    store.disable_account(&account, true).await.unwrap();
    assert_eq!(fixture.get("/changes", &cookie).await.status(), 303);
    let text = refusal(fixture.sign_in(json!({})).await, 403).await;
    assert!(text.contains("this account is disabled"), "{text}");
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn a_token_that_proves_nothing_lets_nobody_in() {
    let fixture = Fixture::new("").await;
    let now = fixture.guarded.clock.now_micros() / 1_000_000;
    let cases = [
        (
            json!({"nonce": "another"}),
            Signed::Well,
            "of another sign-in",
        ),
        (
            json!({"aud": "somebody-else"}),
            Signed::Well,
            "not meant for this server",
        ),
        (
            json!({"iss": "https://evil.example"}),
            Signed::Well,
            "of another issuer",
        ),
        (json!({"exp": now - 60}), Signed::Well, "expired"),
        (
            json!({"iat": now + 600, "exp": now + 900}),
            Signed::Well,
            "does not count yet",
        ),
        (json!({"sub": ""}), Signed::Well, "does not say who"),
        (json!({}), Signed::Nobody, "proves nothing"),
        (json!({}), Signed::NobodyQuietly, "proves nothing"),
        (json!({}), Signed::PublicKey, "proves nothing"),
        (json!({}), Signed::OtherKey, "did not sign"),
        (json!({}), Signed::Changed, "did not sign"),
        (json!({}), Signed::OtherId, "no key with the id"),
    ];
    for (change, signed, reason) in cases {
        let begun = fixture.begin("/").await;
        let mut claims = fixture.claims(&begun, "g-1");
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let code = fixture.code(&begun, claims, signed);
        let text = refusal(fixture.back(&begun, &code).await, 403).await;
        assert!(text.contains(reason), "{reason}: {text}");
    }
    assert_eq!(
        fixture
            .guarded
            .server
            .app
            .store
            .accounts()
            .await
            .unwrap()
            .len(),
        1
    );
    // An unknown key is asked for once, however many tokens name it.
    let asked = fixture
        .provider
        .asked()
        .into_iter()
        .filter(|what| what == "keys")
        .count();
    assert_eq!(asked, 1);
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked() {
    let fixture = Fixture::new("").await;
    let good =
        async |begun: &Begun| fixture.code(begun, fixture.claims(begun, "g-1"), Signed::Well);
    // Another browser: none that began anything, and one that began another sign-in.
    let (one, other) = (fixture.begin("/").await, fixture.begin("/").await);
    let code = good(&one).await;
    let path = fixture.path(&one, &code);
    let text = refusal(fixture.get(&path, "").await, 403).await;
    assert!(
        text.contains("no sign-in that this browser began"),
        "{text}"
    );
    let text = refusal(fixture.get(&path, &other.cookie).await, 403).await;
    assert!(text.contains("belongs to another sign-in"), "{text}");
    assert_eq!(fixture.provider.asked(), ["discovery"]);
    // Its own, once.
    session(&fixture.get(&path, &one.cookie).await);
    refusal(fixture.get(&path, &one.cookie).await, 403).await;
    // A code that was used already.
    let again = fixture.begin("/").await;
    let text = refusal(fixture.back(&again, &code).await, 403).await;
    assert!(
        text.contains("invalid_grant") && !text.contains("<b>no"),
        "{text}"
    );
    // The code of somebody else's sign-in does not fit this one's verifier.
    let (theirs, ours) = (fixture.begin("/").await, fixture.begin("/").await);
    let stolen = good(&theirs).await;
    let text = refusal(fixture.back(&ours, &stolen).await, 403).await;
    assert!(text.contains("invalid_grant"), "{text}");
    // Too late.
    let late = fixture.begin("/").await;
    let code = good(&late).await;
    fixture.guarded.clock.pass(ATTEMPT_LIFE);
    refusal(fixture.back(&late, &code).await, 403).await;
    // Mixed up, or saying everything twice.
    for change in [
        |path: String| path.replace("iss=http", "iss=https"),
        |path: String| path.split("&iss=").next().unwrap().to_owned(),
        |path: String| format!("{path}&state=x"),
        |path: String| format!("{path}&code=x"),
        |path: String| path.replace("code=", "kode="),
    ] {
        let begun = fixture.begin("/").await;
        let code = good(&begun).await;
        let path = change(fixture.path(&begun, &code));
        refusal(fixture.get(&path, &begun.cookie).await, 403).await;
    }
    refusal(fixture.get("/sign-in/with/nobody", "").await, 404).await;
    refusal(
        fixture.get("/sign-in/with/nobody/back?code=1", "").await,
        404,
    )
    .await;
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn what_a_provider_says_is_shown_as_text_and_leads_nowhere() {
    let fixture = Fixture::new("").await;
    let begun = fixture.begin("/").await;
    let path = format!(
        "/sign-in/with/corp/back?error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=%3Cimg%20src=x%20onerror=alert(1)%3E%0d%0aSet-Cookie:a=b&state={}&iss={}",
        begun.get("state"),
        fixture.provider.address()
    );
    let text = refusal(fixture.get(&path, &begun.cookie).await, 403).await;
    assert!(
        text.contains("&lt;script&gt;") && text.contains("&lt;img"),
        "{text}"
    );
    assert!(
        !text.contains("<script>alert") && !text.contains("<img"),
        "{text}"
    );
    for next in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "/sign-in",
    ] {
        let begun = fixture.begin(next).await;
        let code = fixture.code(&begun, fixture.claims(&begun, "g-1"), Signed::Well);
        let answer = fixture.back(&begun, &code).await;
        assert_eq!(location(&answer), "/", "{next}");
    }
    // One address begins only so many.
    let mut last = 0;
    for _ in 0..40 {
        last = fixture
            .get("/sign-in/with/corp", "")
            .await
            .status()
            .as_u16();
    }
    assert_eq!(last, 429);
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn a_provider_that_is_away_or_leads_astray_is_said_so() {
    let fixture = Fixture::new("").await;
    let provider = &fixture.provider;
    let pass = || fixture.guarded.clock.pass(Span::from_secs(30));
    provider.is_down(true);
    let text = refusal(fixture.get("/sign-in/with/corp", "").await, 502).await;
    assert!(
        text.contains("cannot be asked now") && text.contains("status 500"),
        "{text}"
    );
    let asked = provider.asked().len();
    refusal(fixture.get("/sign-in/with/corp", "").await, 502).await;
    assert_eq!(provider.asked().len(), asked, "asked again at once");
    provider.is_down(false);
    for (document, reason) in [
        (json!({"issuer": "https://evil.example"}), "another issuer"),
        (
            json!({"token_endpoint": "http://169.254.169.254/latest"}),
            "leads to",
        ),
        (
            json!({"authorization_endpoint": "https://evil.example/a"}),
            "leads to",
        ),
        (json!({"jwks_uri": "file:///etc/passwd"}), "not an address"),
        (json!({"jwks_uri": "https://evil.example/k"}), "leads to"),
        (
            json!({"code_challenge_methods_supported": ["plain"]}),
            "PKCE",
        ),
        (json!({"issuer": 7}), "cannot be understood"),
    ] {
        pass();
        provider.says(document);
        let text = refusal(fixture.get("/sign-in/with/corp", "").await, 502).await;
        assert!(text.contains(reason), "{reason}: {text}");
    }
    pass();
    // Both ways to show the secret.
    for methods in [
        json!(["client_secret_basic"]),
        json!(["client_secret_post"]),
    ] {
        provider.says(json!({"token_endpoint_auth_methods_supported": methods}));
        fixture.guarded.clock.pass(Span::from_secs(3_600));
        session(&fixture.sign_in(json!({})).await);
    }
    // It went away between the two steps.
    let begun = fixture.begin("/").await;
    let code = fixture.code(&begun, fixture.claims(&begun, "g-1"), Signed::Well);
    provider.is_down(true);
    let text = refusal(fixture.back(&begun, &code).await, 502).await;
    assert!(text.contains("status 502"), "{text}");
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn userinfo_adds_what_the_token_leaves_out_about_the_same_person() {
    let provider = Provider::start().await;
    provider.knows(json!({"sub": "g-1", "preferred_username": "kay", "amr": ["mfa"], "name": "K"}));
    let fixture = Fixture::with(provider, "").await;
    session(
        &fixture
            .sign_in(json!({"preferred_username": "gracy"}))
            .await,
    );
    let store = &fixture.guarded.server.app.store;
    let links = store.links(None).await.unwrap();
    assert_eq!(
        (links[0].subject.as_str(), links[0].name.as_str()),
        ("g-1", "Grace <i>Hopper</i>")
    );
    store.account("gracy@corp").await.unwrap();
    fixture.provider.knows(json!({"sub": "g-2"}));
    let text = refusal(fixture.sign_in(json!({})).await, 403).await;
    assert!(text.contains("two people at once"), "{text}");
    fixture.guarded.server.end().await;
}
