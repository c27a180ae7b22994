//! Figures for Prometheus that are counted from the store when they are asked for.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{BreakGlass, Snapshot};
use writ_model::{Severity, Span, State, Subject, Timestamp};
use writ_registry::{FindingsFilter, Query};

use super::exemption::Standing;
use super::posture::{Posture, Scope};
use super::{fact, newest, typed};
use crate::http::Problem;
use crate::schedule::Job;
use crate::state::App;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checks {
    framework: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decisions {
    environment: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Level {
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stand {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Work {
    task: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    environment: String,
}

/// An exemption that ends within this time ends soon.
const SOON: Span = Span::from_secs(7 * 86_400);

/// Counts the store.
///
/// # Errors
/// The store cannot be read.
pub async fn registry(app: &App) -> Result<Registry, Problem> {
    let mut registry = Registry::with_prefix("writ");
    let head = app.head();
    let entries: Counter = Counter::default();
    entries.inc_by(head.size);
    registry.register(
        "log_entries",
        "Entries under the newest signed head",
        entries,
    );
    events(app, &mut registry).await?;
    checks(app, &mut registry, head.size).await?;
    findings(app, &mut registry, head.size).await?;
    exemptions(app, &mut registry, head.size).await?;
    emergencies(app, &mut registry, head.size).await?;
    drift(app, &mut registry, head.size).await?;
    jobs(app, &mut registry).await?;
    Ok(registry)
}

async fn events(app: &App, registry: &mut Registry) -> Result<(), Problem> {
    let decisions = Family::<Decisions, Counter>::default();
    for (environment, result, count) in app.store.decision_counts().await? {
        decisions
            .get_or_create(&Decisions {
                environment,
                result,
            })
            .inc_by(count);
    }
    registry.register("gate_decisions", "Decisions recorded", decisions);
    let runs = Family::<Word, Counter>::default();
    for (result, count) in app.store.run_counts().await? {
        runs.get_or_create(&Word { result }).inc_by(count);
    }
    registry.register("runs", "Runs recorded", runs);
    Ok(())
}

async fn checks(app: &App, registry: &mut Registry, size: u64) -> Result<(), Problem> {
    let checks = Family::<Checks, Gauge>::default();
    let decisions = app.store.newest_decisions(size, None).await?;
    for framework in app.bundle.frameworks.keys() {
        let scope = Scope {
            framework: Some(framework.clone()),
            ..Scope::default()
        };
        let counts = Posture::from(&app.bundle, decisions.clone(), &scope).counts;
        for state in State::ALL {
            checks
                .get_or_create(&Checks {
                    framework: framework.clone(),
                    state: state.word(),
                })
                .set(i64::from(counts.get(state)));
        }
    }
    registry.register(
        "checks",
        "Checks of the newest decisions for the environment most like production",
        checks,
    );
    Ok(())
}

async fn findings(app: &App, registry: &mut Registry, size: u64) -> Result<(), Problem> {
    let filter = FindingsFilter {
        below: Some(size),
        newest: true,
        ..FindingsFilter::default()
    };
    let ages = app.store.finding_ages(&filter, &[]).await?;
    let open = Family::<Level, Gauge>::default();
    for severity in Severity::DESCENDING {
        let count = ages
            .rows
            .iter()
            .filter(|row| row.severity == severity)
            .flat_map(|row| &row.counts)
            .sum::<u64>();
        open.get_or_create(&Level {
            severity: severity.word(),
        })
        .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("findings", "Open findings, once per service", open);
    Ok(())
}

async fn exemptions(app: &App, registry: &mut Registry, size: u64) -> Result<(), Problem> {
    let now = app.store.now();
    let standing = Family::<Stand, Gauge>::default();
    for known in [
        Standing::Requested,
        Standing::Live,
        Standing::Ended,
        Standing::Denied,
        Standing::Revoked,
    ] {
        standing
            .get_or_create(&Stand {
                state: known.word(),
            })
            .set(0);
    }
    let mut ending = 0;
    for row in app.store.exemptions(None).await? {
        if row.index < size {
            let state = Standing::of(&row, size, now);
            standing
                .get_or_create(&Stand {
                    state: state.word(),
                })
                .inc();
            let soon = now.plus(SOON);
            ending +=
                i64::from(state == Standing::Live && row.expires_at.is_some_and(|end| end <= soon));
        }
    }
    registry.register("exemptions", "Exemptions by where they stand", standing);
    let soon: Gauge = Gauge::default();
    soon.set(ending);
    registry.register(
        "exemptions_ending_soon",
        "Live exemptions that end within seven days",
        soon,
    );
    Ok(())
}

async fn emergencies(app: &App, registry: &mut Registry, size: u64) -> Result<(), Problem> {
    let page = app
        .store
        .evidence(&Query {
            predicate_type: Some(BreakGlass::URI.to_owned()),
            as_of: Some(size),
            ..Query::default()
        })
        .await?;
    let form = |wanted: &'static str| {
        page.items
            .iter()
            .filter(move |item| fact(item, "form") == Some(wanted))
    };
    let opened: Counter = Counter::default();
    opened.inc_by(form("open").count() as u64);
    let now = app.store.now();
    let overdue = form("open")
        .filter(|item| typed::<Timestamp>(item, "reviewDueAt").is_some_and(|due| due < now))
        .filter(|item| {
            let id = item.id.to_string();
            !form("review").any(|review| fact(review, "opening") == Some(id.as_str()))
        })
        .count();
    let reviews: Gauge = Gauge::default();
    reviews.set(i64::try_from(overdue).unwrap_or(i64::MAX));
    registry.register("break_glass", "Emergencies opened", opened);
    registry.register(
        "break_glass_reviews_overdue",
        "Emergencies whose review is overdue",
        reviews,
    );
    Ok(())
}

async fn drift(app: &App, registry: &mut Registry, size: u64) -> Result<(), Problem> {
    let drift = Family::<Place, Gauge>::default();
    let seen = Family::<Place, Gauge>::default();
    for environment in app.store.environments(size).await? {
        let query = Query {
            predicate_type: Some(Snapshot::URI.to_owned()),
            subject: Subject {
                environment: Some(environment.clone()),
                ..Subject::default()
            },
            as_of: Some(size),
            ..Query::default()
        };
        if let Some(item) = newest(&app.store, query).await? {
            let differences = typed::<Vec<serde_json::Value>>(&item, "drift").unwrap_or_default();
            let place = Place {
                environment: environment.clone(),
            };
            seen.get_or_create(&place)
                .set(item.observed_at.micros() / 1_000_000);
            drift
                .get_or_create(&place)
                .set(i64::try_from(differences.len()).unwrap_or(i64::MAX));
        }
    }
    registry.register(
        "environment_drift",
        "Differences from what was authorised, in the newest snapshot",
        drift,
    );
    registry.register(
        "environment_snapshot_timestamp_seconds",
        "When what runs was observed last",
        seen,
    );
    Ok(())
}

/// When each repeated work ended well last; the verification of the ledger under a name of its own.
async fn jobs(app: &App, registry: &mut Registry) -> Result<(), Problem> {
    let done = Family::<Work, Gauge>::default();
    let verified: Gauge = Gauge::default();
    for job in app.store.jobs().await? {
        let seconds = job.succeeded_at.map_or(0, |at| at.micros() / 1_000_000);
        if job.name == Job::Verify.name() {
            verified.set(seconds);
        }
        done.get_or_create(&Work { task: job.name }).set(seconds);
    }
    registry.register(
        "job_last_success_timestamp_seconds",
        "When a repeated work ended well last; 0: never",
        done,
    );
    registry.register(
        "last_verify_timestamp_seconds",
        "When the whole store was verified last; 0: never",
        verified,
    );
    Ok(())
}
