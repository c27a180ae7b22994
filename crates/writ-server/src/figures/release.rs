//! A release as its reviewers see it: what the gate says now, what people said, who may answer.

use std::collections::{BTreeMap, BTreeSet};

use writ_gate::evaluate::{EvaluateError, bound_profile};
use writ_gate::{Inputs, Judged, Release};
use writ_model::{Answer, Decision, PrincipalId, Subject};
use writ_registry::{DecisionStates, EventQuery, ReleaseRow};
use writ_release::approval::{self, Case};

use crate::api::decisions::read;
use crate::http::{Ask, Code, Problem};

/// Accounts that are asked whether they could approve.
const CANDIDATES: usize = 500;

/// Everything about a release.
#[derive(Debug)]
pub struct Review {
    /// Number and subject.
    pub row: ReleaseRow,
    /// What the gate is asked.
    pub release: Release,
    /// The newest recorded decision.
    pub recorded: DecisionStates,
    /// What the gate says now, without recording it.
    pub judged: Judged,
    /// What that means for approvers.
    pub case: Case,
    /// Accounts that could approve now.
    pub eligible: Vec<PrincipalId>,
    /// Why the gate cannot judge it now: then the recorded decision is shown, and nobody can answer.
    pub unjudged: Option<String>,
}

impl Review {
    /// What the gate says now.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.judged.decision
    }
}

/// The release with this number below the request's ledger size.
///
/// # Errors
/// There is none.
pub async fn find(ask: &Ask, name: &str) -> Result<ReleaseRow, Problem> {
    let row = ask.app.store.release(name).await?;
    row.filter(|row| row.index < ask.size)
        .ok_or_else(|| Problem::not_found("release", name))
}

/// What is said about a release below the request's ledger size: of its artefact, or of its commit where
/// none was built.
#[must_use]
pub fn about(ask: &Ask, row: &ReleaseRow, limit: usize) -> EventQuery {
    EventQuery {
        service: Some(row.service.clone()),
        environment: Some(row.environment.clone()),
        artifact: row.artifact,
        commit: match row.artifact {
            Some(_) => None,
            None => row.commit.clone(),
        },
        below: Some(ask.size),
        limit,
        ..EventQuery::default()
    }
}

/// The newest decision about a release below the request's ledger size.
///
/// # Errors
/// The index cannot be read.
pub async fn newest(ask: &Ask, row: &ReleaseRow) -> Result<Option<DecisionStates>, Problem> {
    let query = about(ask, row, 1);
    let listed = ask.app.store.decisions_listed(&query).await?;
    Ok(listed.items.into_iter().next())
}

/// Judges a release for its reviewers.
///
/// # Errors
/// It cannot be judged, or the store cannot be read.
pub async fn review(ask: &Ask, row: ReleaseRow) -> Result<Review, Problem> {
    let recorded = newest(ask, &row)
        .await?
        .ok_or_else(|| Problem::not_found("release", &row.human()))?;
    let release = asked(ask, &row, &recorded).await?;
    let mut candidates: BTreeSet<PrincipalId> = ask
        .app
        .store
        .accounts()
        .await?
        .into_iter()
        .filter(|account| account.disabled_at.is_none())
        .take(CANDIDATES)
        .map(|account| account.id)
        .collect();
    candidates.insert(ask.principal.id.clone());
    let place = ask.app.deciding.acquire().await.map_err(|_| {
        Problem::new(Code::Busy, "the server is ending").fix("Ask again after Retry-After")
    })?;
    let judged = approval::case(&ask.app.store, &ask.app.bundle, &release, &candidates).await;
    drop(place);
    let (case, judged, unjudged) = match judged {
        Ok((case, judged)) => (case, judged, None),
        // What was decided stays readable when the bundle of today cannot judge it any more.
        Err(EvaluateError::Registry(error)) => return Err(error.into()),
        Err(error) => {
            let judged = as_recorded(ask, &recorded, &release).await?;
            let case = Case::of(&ask.app.bundle, &judged, BTreeMap::new());
            (case, judged, Some(error.to_string()))
        }
    };
    let eligible = case
        .eligible(&candidates)
        .into_iter()
        .filter(|account| **account != ask.app.operator.id)
        .cloned()
        .collect();
    Ok(Review {
        row,
        release,
        recorded,
        judged,
        case,
        eligible,
        unjudged,
    })
}

/// The recorded decision, as if it had been made from nothing: nobody can approve on it.
async fn as_recorded(
    ask: &Ask,
    recorded: &DecisionStates,
    release: &Release,
) -> Result<Judged, Problem> {
    let decision = read(ask, &recorded.decision.id.to_string()).await?.decision;
    Ok(Judged {
        inputs: Inputs {
            service: release.service.clone(),
            environment: release.environment.clone(),
            profile: decision.profile.clone(),
            subject: release.subject.clone(),
            as_of: decision.as_of,
            ledger: decision.ledger.clone(),
            evidence: Vec::new(),
            first_seen: BTreeMap::new(),
            bindings: BTreeMap::new(),
            strict: false,
        },
        decision,
    })
}

/// What the gate is asked about a release: the subject of its newest decision, and what binds.
async fn asked(ask: &Ask, row: &ReleaseRow, recorded: &DecisionStates) -> Result<Release, Problem> {
    let decision = read(ask, &recorded.decision.id.to_string()).await?.decision;
    let now = ask.app.store.now();
    let bound = bound_profile(&ask.app.store, &row.service, &row.environment, now).await?;
    Ok(Release {
        service: row.service.clone(),
        environment: row.environment.clone(),
        requested_profile: bound.map_or(decision.profile, |bound| bound.profile),
        subject: Subject {
            environment: None,
            ..decision.subject
        },
    })
}

/// Releases that wait for a person: the newest decision of their service and environment says "not
/// yet".
///
/// # Errors
/// The index cannot be read.
pub async fn waiting(ask: &Ask) -> Result<Vec<(ReleaseRow, DecisionStates)>, Problem> {
    let mut found = Vec::new();
    for states in ask.app.store.newest_decisions(ask.size, None).await? {
        let decision = &states.decision;
        if decision.answer != Answer::NotYet {
            continue;
        }
        let subject = match (&decision.artifact, &decision.commit) {
            (Some(artifact), _) => artifact.to_hex(),
            (None, Some(commit)) => commit.clone(),
            (None, None) => continue,
        };
        let row = ask
            .app
            .store
            .release_of(&decision.service, &decision.environment, &subject)
            .await?;
        if let Some(row) = row {
            found.push((row, states));
        }
    }
    Ok(found)
}
