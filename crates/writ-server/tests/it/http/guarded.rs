//! A server with accounts, a clock that tests move, and browsers that sign in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, RequestBuilder, Response};
use tempfile::TempDir;
use writ_gate::{BundleSource, load_bundle};
use writ_ledger::Clock;
use writ_model::{Grant, PrincipalId, Role, Span};
use writ_registry::directory::RoleChange;
use writ_registry::{Store, StoreOptions};
use writ_server::{Config, Parts};

use super::Server;

pub const PASSWORD: &str = "correct horse battery";

/// A clock that tests move.
#[derive(Debug)]
pub struct Hand(AtomicI64);

impl Hand {
    pub fn pass(&self, span: Span) {
        self.0.fetch_add(span.micros(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A server with these accounts, each with one role for all services.
pub struct Guarded {
    pub server: Server,
    pub clock: Arc<Hand>,
}

impl Guarded {
    pub async fn new(people: &[(&str, Role)], change: impl FnOnce(&mut Config)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (parts, clock) = parts(&place, people, change).await;
        Self {
            server: Server::over(parts, Some(place)).await,
            clock,
        }
    }

    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.server.request(Method::POST, path).form(fields)
    }

    pub async fn attempt(&self, name: &str, password: &str) -> Response {
        let fields = [("name", name), ("password", password), ("next", "/changes")];
        self.form("/sign-in", &fields).send().await.unwrap()
    }

    pub async fn sign_in(&self, name: &str) -> Signed {
        let answer = self.attempt(name, PASSWORD).await;
        assert_eq!(answer.status(), 303, "{name}");
        let cookie = cookie(&answer);
        let page = self.get("/settings", &cookie).await.text().await.unwrap();
        let token = between(&page, "name=\"form_token\" value=\"", "\"");
        Signed { cookie, token }
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Response {
        let request = self.server.request(Method::GET, path);
        request.header("cookie", cookie).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, who: &Signed, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        fields.push(("form_token", &who.token));
        let request = self.form(path, &fields).header("cookie", &who.cookie);
        request.send().await.unwrap()
    }
}

/// Somebody's browser.
pub struct Signed {
    pub cookie: String,
    pub token: String,
}

pub async fn parts(
    place: &TempDir,
    people: &[(&str, Role)],
    change: impl FnOnce(&mut Config),
) -> (Parts, Arc<Hand>) {
    let clock = Arc::new(Hand(AtomicI64::new(1_790_000_000_000_000)));
    let options = StoreOptions::new(place.path().join("trust"))
        .create()
        .clock(clock.clone());
    let store = Store::open(place.path().join("store"), options)
        .await
        .unwrap();
    let by = PrincipalId("p_test".to_owned());
    for (name, role) in people {
        let id = store.add_account(name, PASSWORD).await.unwrap();
        let change = RoleChange {
            principal: &id,
            grant: Grant::everywhere(*role),
            granted: true,
            by: &by,
            bootstrap: false,
        };
        store.change_role(&change).await.unwrap();
    }
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    change(&mut config);
    let parts = Parts {
        store: Arc::new(store),
        bundle: Arc::new(load_bundle(&BundleSource::Embedded).unwrap()),
        config,
        operator: "operator".to_owned(),
        demo: false,
    };
    (parts, clock)
}

/// `name=value` of the cookie that an answer sets.
pub fn cookie(answer: &Response) -> String {
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// What stands between two texts.
pub fn between(text: &str, before: &str, after: &str) -> String {
    let rest = text
        .split(before)
        .nth(1)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split(after).next().unwrap().to_owned()
}
