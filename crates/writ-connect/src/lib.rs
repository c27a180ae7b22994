//! Clients of outside systems. Each system has one file or folder.
//!
//! [`http`] is what they share: bounded in time and size, no redirects, a rule for addresses, tries
//! with growing pauses, and secrets that never print. [`server`] is the client of a Writ server. [`tlog`] reads published logs and asks witnesses.
//! [`github`] and [`gitlab`] read what git hosts know of changes and of protected branches.
//! [`haproxy`] and [`caddy`] move traffic between versions; [`prometheus`] tells a number.
//! [`notify`] says things in chat, by mail and to signed webhooks.
//! [`running`] asks container engines, clusters and services what runs.
//! [`jwks`] fetches the public keys of an issuer of tokens. [`vault`] is the transit engine of Vault and
//! OpenBao, as a signer.

pub mod caddy;
pub mod githost;
pub mod github;
pub mod gitlab;
pub mod haproxy;
pub mod http;
pub mod jwks;
pub mod notify;
pub mod prometheus;
pub mod running;
pub mod secret;
pub mod server;
pub mod tlog;
pub mod vault;

pub use caddy::{Caddy, CaddyError};
pub use haproxy::{Haproxy, HaproxyError};
pub use http::{AddressRule, Client, ClientOptions, HttpError, Reply};
pub use jwks::{KeySource, KeySourceError, KeySourceOptions};
pub use prometheus::{Prometheus, PrometheusError};
pub use secret::Secret;
pub use server::{ServerClient, ServerError};
pub use tlog::{Gathered, HttpLog, HttpWitnesses, gather};
pub use vault::{Vault, VaultService};
