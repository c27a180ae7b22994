//! Signing in at a certified implementation of OpenID Connect (`scripts/services --only oidc`).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Response, Url};
use writ_ledger::Clock as _;
use writ_model::{Assurance, Role, Span};

use super::guarded::Guarded;

/// A browser: it follows where it is sent, and keeps the cookies of each host and port.
struct Browser {
    client: Client,
    kept: BTreeMap<(String, String), String>,
}

impl Browser {
    fn new() -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            client: client.build().unwrap(),
            kept: BTreeMap::new(),
        }
    }

    /// Follows links until somebody shows a page; answers where that was.
    async fn go(&mut self, address: &str) -> (Url, Response) {
        let mut url: Url = address.parse().unwrap();
        for _ in 0..10 {
            let place = url.origin().ascii_serialization();
            let pairs: Vec<String> = self
                .kept
                .iter()
                .filter(|((at, _), _)| *at == place)
                .map(|((_, name), value)| format!("{name}={value}"))
                .collect();
            let request = self.client.get(url.clone()).header("accept", "text/html");
            let answer = request
                .header("cookie", pairs.join("; "))
                .send()
                .await
                .unwrap();
            for set in answer.headers().get_all("set-cookie") {
                let pair = set.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                let key = (place.clone(), name.to_owned());
                self.kept.insert(key, value.to_owned());
            }
            match answer.headers().get("location") {
                Some(there) => url = url.join(there.to_str().unwrap()).unwrap(),
                None => return (url, answer),
            }
        }
        panic!("sent around in circles: {url}");
    }
}

#[tokio::test]
async fn people_of_a_certified_provider_sign_in() {
    let Ok(issuer) = std::env::var("WRIT_TEST_OIDC") else {
        assert!(
            std::env::var("WRIT_REQUIRE_SERVICES").is_err(),
            "WRIT_TEST_OIDC is not set"
        );
        println!("skipped: WRIT_TEST_OIDC is not set");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    std::fs::write(&secret, "a secret of the tests: +/%&\n").unwrap();
    for (key, algorithm) in [("rs256", "RS256"), ("es256", "ES256"), ("public", "RS256")] {
        let mut text = format!(
            "key = \"{key}\"\nname = \"Corp\"\nissuer = \"{issuer}\"\nclient_id = \"{key}\"\nalgorithms = [\"{algorithm}\"]\nallow_loopback = true\n"
        );
        if key != "public" {
            text.push_str(&format!("client_secret_file = \"{}\"\n", secret.display()));
        }
        text.push_str(
            "[[roles]]\nclaim = \"groups\"\nvalue = \"developers\"\nrole = \"developer\"\n",
        );
        let settings = toml::from_str(&text).unwrap();
        let people = [("ada", Role::Operator)];
        let guarded = Guarded::new(&people, |config| config.oidc = vec![settings]).await;
        // The provider's clock is the system's.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ahead = i64::try_from(now.as_micros()).unwrap() - guarded.clock.now_micros();
        guarded.clock.pass(Span::from_secs(ahead / 1_000_000));
        let mut browser = Browser::new();
        let from = guarded
            .server
            .url(&format!("/sign-in/with/{key}?next=/changes"));
        let (url, answer) = browser.go(&from).await;
        let status = answer.status();
        let page = answer.text().await.unwrap();
        assert_eq!(
            (status.as_u16(), url.path()),
            (200, "/changes"),
            "{key} {url}: {page}"
        );
        // Names and groups come from userinfo: this provider keeps its tokens short.
        assert!(page.contains(&format!("grace@{key}")), "{page}");
        let store = &guarded.server.app.store;
        let account = store.account(&format!("grace@{key}")).await.unwrap();
        let session = store.sessions(Some(&account.id)).await.unwrap().remove(0);
        assert_eq!(session.assurance, Assurance::Totp);
        assert_eq!(session.provenance.unwrap().amr, "pwd mfa");
        let links = store.links(Some(&account.id)).await.unwrap();
        assert_eq!(
            (links[0].subject.as_str(), links[0].name.as_str()),
            ("g-1", "Grace Hopper")
        );
        guarded.server.end().await;
    }
}
