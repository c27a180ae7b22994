//! Serves a store full of planted scripts, for the browser test: `hostile 127.0.0.1:8081`.
//!
//! The store is the same that `tests/it/http/planted.rs` reads; it is gone when the server ends.

#![allow(clippy::unwrap_used, reason = "part of the tests")]

use std::sync::Arc;

use writ_gate::{BundleSource, load_bundle};
use writ_ledger::{Clock as _, SystemClock};
use writ_model::Timestamp;
use writ_server::{App, Config, Parts, serve};

#[path = "../tests/planted/mod.rs"]
mod planted;

#[tokio::main]
async fn main() {
    let listen = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let place = tempfile::tempdir().unwrap();
    let now = Timestamp::from_micros(SystemClock.now_micros());
    let (store, sown) = planted::store(place.path(), now).await;
    eprintln!("{sown:?}");
    let parts = Parts {
        store,
        bundle: Arc::new(load_bundle(&BundleSource::Embedded).unwrap()),
        config: Config {
            listen: listen.parse().unwrap(),
            ..Config::default()
        },
        operator: planted::PLANTED[0].to_owned(),
        demo: false,
    };
    let running = serve(App::new(parts).await.unwrap()).await.unwrap();
    eprintln!("http://{}", running.address);
    tokio::signal::ctrl_c().await.unwrap();
    running.stop().await;
}
