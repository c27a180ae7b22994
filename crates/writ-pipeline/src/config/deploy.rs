//! `deploy` of an environment: how a version is put there, and what is watched while it is.
//!
//! An array is a program that deploys; a table names a driver.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use writ_model::Span;

use super::Mistakes;

/// How an environment is deployed to.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
pub enum Deploy {
    /// Program and arguments.
    Argv(Vec<String>),
    /// A driver and its settings.
    Driver(Box<DeployConfig>),
}

impl<'de> Deserialize<'de> for Deploy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Deploy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of program and arguments, or a table with `driver`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Deploy, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Deploy::Argv)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Deploy, A::Error> {
                let config = DeployConfig::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Deploy::Driver(Box::new(config)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What deploys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A program.
    Argv,
    /// Two slots behind HAProxy.
    Haproxy,
    /// Two slots behind Caddy.
    Caddy,
}

impl Driver {
    const fn word(self) -> &'static str {
        match self {
            Self::Argv => "argv",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }
}

/// `[environment.NAME.deploy]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployConfig {
    /// What deploys: `argv`, `haproxy` or `caddy`.
    #[schemars(with = "Driver")]
    pub driver: Spanned<Driver>,
    /// Program and arguments that start a version, never a shell string. They end while the version
    /// runs on. Placeholders: `{digest}`, `{slot}`, `{port}`, ….
    #[schemars(with = "Vec<String>")]
    pub start: Spanned<Vec<Spanned<String>>>,
    /// Program and arguments that end what runs in a slot; they succeed when nothing does.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub stop: Option<Spanned<Vec<Spanned<String>>>>,
    /// Program and arguments that bring the previous version back (driver `argv`).
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    pub rollback: Option<Spanned<Vec<Spanned<String>>>>,
    /// Environment variables of the programs; `env:NAME` passes one of Writ's own on.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Longest time of a program; 5 min by default.
    #[serde(default)]
    #[schemars(with = "Option<Span>")]
    pub timeout: Option<Spanned<Span>>,
    /// The two slots: name (the proxy's name of the server) and `HOST:PORT`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub slots: BTreeMap<Spanned<String>, Spanned<String>>,
    /// HAProxy's admin socket.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub socket: Option<Spanned<String>>,
    /// HAProxy's backend.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub backend: Option<Spanned<String>>,
    /// Caddy's admin address; `http://127.0.0.1:2019` by default.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub admin: Option<Spanned<String>>,
    /// The `@id` of Caddy's reverse_proxy handler.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub id: Option<Spanned<String>>,
    /// Caddy's server whose requests are counted; all by default.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub server: Option<Spanned<String>>,
    /// Address that answers 2xx when a version is well: `http://{address}/healthz`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub health: Option<Spanned<String>>,
    /// How long a version may take to become healthy; 1 min by default.
    #[serde(default)]
    pub healthy_within: Option<Span>,
    /// How long a version is watched with traffic; 1 min by default.
    #[serde(default)]
    pub bake: Option<Span>,
    /// Part of the traffic that it gets meanwhile, in per cent; 100 by default.
    #[serde(default)]
    #[schemars(with = "Option<u32>")]
    pub share: Option<Spanned<u32>>,
    /// Most failed requests, in per cent; 1 by default.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub max_failed_percent: Option<Spanned<f64>>,
    /// Longest mean time of an answer, in milliseconds.
    #[serde(default)]
    pub max_latency_ms: Option<u64>,
    /// Requests from which on a rate is judged before the end; 20 by default.
    #[serde(default)]
    pub min_requests: Option<u64>,
    /// How long requests at the previous version may go on; 30 s by default.
    #[serde(default)]
    pub drain: Option<Span>,
    /// A number that must stay below a limit.
    #[serde(default)]
    pub prometheus: Option<PrometheusConfig>,
}

/// A number that Prometheus tells.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Its address.
    pub url: String,
    /// A query that gives one number.
    pub query: String,
    /// The number that it may have at most.
    pub max: f64,
}

/// Placeholders of programs and of the health check.
const PLACEHOLDERS: &[&str] = &[
    "digest",
    "hex",
    "commit",
    "previous",
    "service",
    "environment",
    "slot",
    "address",
    "port",
];

impl Deploy {
    pub(super) fn validate(&self, name: &Spanned<String>, mistakes: &mut Mistakes<'_>) {
        match self {
            Self::Argv(words) => {
                for word in words {
                    if let Some(unknown) = unknown_placeholder(word) {
                        mistakes.add(
                            name.span(),
                            format!("{unknown} is not a placeholder of `deploy`"),
                            Some(format!("one of: {}", placeholders())),
                        );
                    }
                }
            }
            Self::Driver(config) => config.validate(mistakes),
        }
    }
}

impl DeployConfig {
    fn validate(&self, mistakes: &mut Mistakes<'_>) {
        let programs = [
            Some(&self.start),
            self.stop.as_ref(),
            self.rollback.as_ref(),
        ];
        let words = programs
            .into_iter()
            .flatten()
            .flat_map(|program| program.get_ref());
        for word in words.chain(&self.health) {
            if let Some(unknown) = unknown_placeholder(word.get_ref()) {
                mistakes.add(
                    word.span(),
                    format!("{unknown} is not a placeholder"),
                    Some(format!("one of: {}", placeholders())),
                );
            }
        }
        if let Some(timeout) = &self.timeout
            && timeout.get_ref().micros() <= 0
        {
            mistakes.add(
                timeout.span(),
                "a time limit of nothing".into(),
                Some("timeout = \"5m\"".into()),
            );
        }
        if let Some(share) = &self.share
            && !(1..=100).contains(share.get_ref())
        {
            mistakes.add(
                share.span(),
                format!(
                    "`share` is a part of the traffic in per cent, 1 to 100, not {}",
                    share.get_ref()
                ),
                None,
            );
        }
        if let Some(percent) = &self.max_failed_percent
            && !(0.0..=100.0).contains(percent.get_ref())
        {
            mistakes.add(
                percent.span(),
                "`max_failed_percent` is 0 to 100".into(),
                None,
            );
        }
        let driver = *self.driver.get_ref();
        self.refuse_others(driver, mistakes);
        let mut missing = |what: &str, example: &str| {
            mistakes.add(
                self.driver.span(),
                format!("the driver `{}` needs `{what}`", driver.word()),
                Some(example.to_owned()),
            );
        };
        if driver != Driver::Argv {
            if self.slots.len() != 2 {
                missing(
                    "slots",
                    "slots = { blue = \"127.0.0.1:8001\", green = \"127.0.0.1:8002\" }",
                );
            }
            if self.health.is_none() {
                missing("health", "health = \"http://{address}/healthz\"");
            }
        }
        if driver == Driver::Haproxy {
            if self.socket.is_none() {
                missing("socket", "socket = \"/run/haproxy/admin.sock\"");
            }
            if self.backend.is_none() {
                missing("backend", "backend = \"shop\", as in haproxy.cfg");
            }
        }
        if driver == Driver::Caddy && self.id.is_none() {
            missing(
                "id",
                "id = \"shop\", the \"@id\" of the reverse_proxy handler",
            );
        }
        self.check_slots(mistakes);
    }

    fn check_slots(&self, mistakes: &mut Mistakes<'_>) {
        for (name, address) in &self.slots {
            let good = !name.get_ref().is_empty()
                && name
                    .get_ref()
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !good {
                mistakes.add(
                    name.span(),
                    format!("`{}` is not a name for a slot", name.get_ref()),
                    Some("letters, digits, `-`, `_` and `.`".into()),
                );
            }
            let port = address
                .get_ref()
                .rsplit_once(':')
                .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok())?);
            if port.is_none() {
                mistakes.add(
                    address.span(),
                    format!("`{}` is not an address", address.get_ref()),
                    Some("HOST:PORT, such as 127.0.0.1:8001".into()),
                );
            }
        }
        let mut addresses: Vec<&Spanned<String>> = self.slots.values().collect();
        addresses.sort_by_key(|address| address.span().start);
        if let [first, second] = addresses.as_slice()
            && first.get_ref() == second.get_ref()
        {
            mistakes.add(
                second.span(),
                "both slots have the same address".into(),
                Some("two versions run beside each other: give each slot its own port".into()),
            );
        }
    }

    /// Settings that the driver does not know: they would look set and change nothing.
    fn refuse_others(&self, driver: Driver, mistakes: &mut Mistakes<'_>) {
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(Spanned::span);
        let list =
            |value: &Option<Spanned<Vec<Spanned<String>>>>| value.as_ref().map(Spanned::span);
        let first_slot = self
            .slots
            .keys()
            .map(Spanned::span)
            .min_by_key(|span| span.start);
        let given = [
            (
                "stop",
                list(&self.stop),
                &[Driver::Haproxy, Driver::Caddy][..],
            ),
            ("rollback", list(&self.rollback), &[Driver::Argv]),
            ("slots", first_slot, &[Driver::Haproxy, Driver::Caddy]),
            ("socket", text(&self.socket), &[Driver::Haproxy]),
            ("backend", text(&self.backend), &[Driver::Haproxy]),
            ("admin", text(&self.admin), &[Driver::Caddy]),
            ("id", text(&self.id), &[Driver::Caddy]),
            ("server", text(&self.server), &[Driver::Caddy]),
            (
                "share",
                self.share
                    .as_ref()
                    .filter(|share| *share.get_ref() != 100)
                    .map(Spanned::span),
                &[Driver::Haproxy],
            ),
        ];
        for (name, span, drivers) in given {
            if let Some(span) = span
                && !drivers.contains(&driver)
            {
                let known: Vec<&str> = drivers.iter().map(|driver| driver.word()).collect();
                mistakes.add(
                    span,
                    format!("the driver `{}` has no `{name}`", driver.word()),
                    Some(format!("it belongs to: {}", known.join(", "))),
                );
            }
        }
    }
}

fn placeholders() -> String {
    let all: Vec<String> = PLACEHOLDERS
        .iter()
        .map(|name| format!("{{{name}}}"))
        .collect();
    all.join(" ")
}

/// The first `{name}` that means nothing.
fn unknown_placeholder(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        rest = &rest[open + 1..];
        let end = rest.find('}')?;
        let name = &rest[..end];
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        if is_name && !PLACEHOLDERS.contains(&name) {
            return Some(format!("{{{name}}}"));
        }
    }
    None
}
