//! Figures for Prometheus: names begin with `writ_`, base units, no users, commits or CVEs as labels.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    system: &'static str,
    result: &'static str,
}

/// What the process counts as it goes.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    intake: Family<ResultLabels, Counter>,
    queue: Gauge,
    tokens: Family<ReasonLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    collected: Family<DeliveryLabels, Counter>,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("writ");
        let requests = Family::default();
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| {
            Histogram::new([
                0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0,
            ])
        });
        let intake = Family::default();
        let queue = Gauge::default();
        let deliveries = Family::default();
        let collected = Family::default();
        registry.register(
            "build",
            "Version of the server",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from the head of a request to its answer",
            durations.clone(),
        );
        registry.register(
            "evidence_received",
            "Envelopes handed in over HTTP",
            intake.clone(),
        );
        registry.register(
            "evidence_queue_items",
            "Envelopes that wait to be recorded",
            queue.clone(),
        );
        let tokens = Family::default();
        registry.register(
            "tokens_refused",
            "Tokens of programs that were refused",
            tokens.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Deliveries of other systems",
            deliveries.clone(),
        );
        registry.register(
            "collected",
            "Changes and branches read from git hosts",
            collected.clone(),
        );
        Self {
            registry,
            requests,
            durations,
            intake,
            queue,
            tokens,
            deliveries,
            collected,
        }
    }

    /// Counts an answered request.
    pub fn request(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        // Methods are bounded: a made-up one must not make a row of its own.
        let method = match *method {
            Method::GET | Method::POST | Method::HEAD => method.as_str(),
            _ => "other",
        };
        let route = if route.is_empty() { "none" } else { route };
        self.requests
            .get_or_create(&RequestLabels {
                route: route.to_owned(),
                method: method.to_owned(),
                status: status.as_u16(),
            })
            .inc();
        self.durations
            .get_or_create(&RouteLabels {
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    /// Counts envelopes: `recorded`, `already-there` or `refused`.
    pub fn received(&self, result: &'static str, count: u64) {
        self.intake
            .get_or_create(&ResultLabels { result })
            .inc_by(count);
    }

    /// Counts a refused token; the reasons are a fixed set of words.
    pub fn token_refused(&self, reason: &'static str) {
        self.tokens.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts what was read from a git host: `recorded` or `corroborated`.
    pub fn collected(&self, system: &'static str, result: &'static str) {
        self.collected
            .get_or_create(&DeliveryLabels { system, result })
            .inc();
    }

    /// Counts a delivery of another system.
    pub fn delivered(&self, system: &'static str, result: &'static str) {
        self.deliveries
            .get_or_create(&DeliveryLabels { system, result })
            .inc();
    }

    /// Envelopes that wait.
    pub fn waiting(&self, count: usize) {
        self.queue.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The text of what the process counted, and of `stock`, which is counted from the store.
    #[must_use]
    pub fn text(&self, stock: &Registry) -> String {
        let mut own = String::new();
        let mut other = String::new();
        // Writing into a text does not fail.
        if encode(&mut own, &self.registry).is_err() || encode(&mut other, stock).is_err() {
            return String::new();
        }
        // One document has one end.
        let own = own.strip_suffix("# EOF\n").unwrap_or(&own);
        format!("{own}{other}")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
