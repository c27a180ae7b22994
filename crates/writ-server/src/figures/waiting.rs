//! The counts of the rail: what waits, not what there is.

use std::sync::PoisonError;

use writ_model::{Answer, Severity};
use writ_registry::FindingsFilter;

use super::environment::observed;
use super::exemption::{self, Standing};
use crate::http::{Ask, Problem};

/// Sizes whose counts are kept.
const KEPT: usize = 8;

/// What waits for somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Services whose newest decision blocks, counted per environment.
    pub blocked: u64,
    /// Environments that differ from what was authorised.
    pub drift: u64,
    /// Open findings of high or critical severity.
    pub severe: u64,
    /// There may be more of them: only so many were looked at for a time in the past.
    pub severe_more: bool,
    /// Exemptions without an answer.
    pub requested: u64,
    /// Entries of the ledger that cannot be used.
    pub problems: u64,
}

impl Waiting {
    /// As of the request's ledger size; counted once per size.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn of(ask: &Ask) -> Result<Self, Problem> {
        let kept = |app: &crate::state::App| {
            let kept = app.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter()
                .find(|(size, _)| *size == ask.size)
                .map(|(_, counts)| *counts)
        };
        if let Some(counts) = kept(&ask.app) {
            return Ok(counts);
        }
        let counts = Self::count(ask).await?;
        let mut kept = ask
            .app
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(size, _)| *size != ask.size);
        kept.insert(0, (ask.size, counts));
        kept.truncate(KEPT);
        Ok(counts)
    }

    async fn count(ask: &Ask) -> Result<Self, Problem> {
        let store = &ask.app.store;
        let blocked = store
            .newest_decisions(ask.size, None)
            .await?
            .iter()
            .filter(|row| row.decision.answer == Answer::No)
            .count();
        let mut drift = 0;
        for environment in store.environments(ask.size).await? {
            let drifted = observed(ask, &environment)
                .await?
                .is_some_and(|observed| !observed.drift.is_empty());
            drift += u64::from(drifted);
        }
        let severe = store
            .findings_listed(&FindingsFilter {
                severities: vec![Severity::Critical, Severity::High],
                below: Some(ask.size),
                newest: ask.at.is_none(),
                limit: 1,
                ..FindingsFilter::default()
            })
            .await?
            .total;
        let requested = exemption::all(ask, None)
            .await?
            .iter()
            .filter(|(_, standing)| *standing == Standing::Requested)
            .count();
        Ok(Self {
            blocked: blocked as u64,
            drift,
            severe: severe.count,
            severe_more: severe.more,
            requested: requested as u64,
            problems: store.problems(1_000).await?.len() as u64,
        })
    }
}
