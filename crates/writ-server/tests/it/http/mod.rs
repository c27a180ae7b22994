//! `writ serve` over real connections.

mod admission;
mod bindings;
mod collect;
mod decide;
mod demo;
mod device;
mod environments;
mod guarded;
mod hooks;
mod hooks_gate;
mod intake;
mod issuer;
mod notify;
mod oidc;
mod oidc_people;
mod oidc_real;
mod passkeys;
mod people;
mod people_matrix;
mod planted;
mod problems;
mod provider;
mod releases;
mod token;
mod uploads;
mod workload;

use std::path::Path;
use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use writ_evidence::key::{Algorithm, LocalSigner, Signer};
use writ_evidence::{canonical, dsse};
use writ_gate::{BundleSource, load_bundle};
use writ_registry::{Store, StoreOptions};
use writ_server::state::Shared;
use writ_server::{App, Config, Parts, Running, serve};

/// A server over a store, on a port of its own.
pub struct Server {
    pub app: Shared,
    pub client: Client,
    base: String,
    running: Option<Running>,
    _place: Option<TempDir>,
}

impl Server {
    /// Over an empty store.
    pub async fn empty(change: impl FnOnce(&mut Config)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = store(place.path()).await;
        let bundle = Arc::new(load_bundle(&BundleSource::Embedded).unwrap());
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..Config::default()
        };
        // What a test records is all there is.
        config.schedule.enabled = false;
        change(&mut config);
        let parts = Parts {
            store: Arc::new(store),
            bundle,
            config,
            operator: "operator".to_owned(),
            demo: false,
        };
        Self::over(parts, Some(place)).await
    }

    /// Over these parts.
    pub async fn over(parts: Parts, place: Option<TempDir>) -> Self {
        let app = App::new(parts).await.unwrap();
        let running = serve(Arc::clone(&app)).await.unwrap();
        Self {
            app,
            client: Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            base: format!("http://{}", running.address),
            running: Some(running),
            _place: place,
        }
    }

    /// The whole address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.running.as_ref().unwrap().address
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// An answer that must be JSON, with its status.
    pub async fn json(&self, path: &str) -> (u16, Value) {
        let answer = self.get(path).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Ends it the way a signal does.
    pub async fn end(mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// An envelope that the store's own producer key signed.
    pub fn envelope(&self, service: &str) -> Vec<u8> {
        let store = &self.app.store;
        sign(
            service,
            store.trust().producer(store.now()).unwrap().as_ref(),
        )
    }
}

async fn store(place: &Path) -> Store {
    let options = StoreOptions::new(place.join("trust")).create();
    Store::open(place.join("store"), options).await.unwrap()
}

/// A probe of a service's branch, signed.
pub fn sign(service: &str, signer: &dyn Signer) -> Vec<u8> {
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": service, "digest": {"gitCommit": "a".repeat(40), "gitTree": "b".repeat(40)}}],
        "predicateType": "urn:writ:predicate:probe:v1",
        "predicate": {
            "service": service,
            "evidenceType": "branch-protection",
            "target": "git.example",
            "observedAt": "2026-01-01T00:00:00Z",
            "origin": "observed",
            "producerClass": "laptop",
            "outcome": "completed",
            "lookedAt": [{"what": "branches", "count": 1}],
            "facts": {"branch": "main", "protected": true},
        },
    }))
    .unwrap();
    dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer)
        .unwrap()
        .to_canonical_json()
}

/// A key that nobody trusts.
pub fn stranger() -> LocalSigner {
    LocalSigner::generate(Algorithm::Ed25519).unwrap()
}
