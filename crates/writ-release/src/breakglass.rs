//! Emergencies: who may open one, how long it lasts, what it owes afterwards.
//!
//! [`book`] is pure: it reads the steps that the ledger holds and says where each emergency stands at
//! an instant. Opening one gives the right to deploy one digest into one environment for a short
//! time; it owes a review by somebody else.

use std::collections::BTreeMap;

use serde::Serialize;
use writ_evidence::predicate::{
    Actor, BreakGlass, BreakGlassClosing, BreakGlassOpening, BreakGlassOutcome, BreakGlassReview,
    ReleaseRef,
};
use writ_evidence::{Predicate as _, ResourceDescriptor, Statement};
use writ_gate::PrincipalFacts;
use writ_model::{Digest, EvidenceId, EvidenceItem, PrincipalId, Span, Timestamp};
use writ_registry::{NewRecord, Query, Recorded, RegistryError, Store};

/// How long a deployment may begin after the glass was broken, unless less is asked for.
pub const OPEN_FOR: Span = Span::from_secs(3_600);

/// The longest time that can be asked for.
pub const OPEN_AT_MOST: Span = Span::from_secs(4 * 3_600);

/// How long the review may take.
pub const REVIEW_WITHIN: Span = Span::from_secs(24 * 3_600);

/// Share of deployments by emergency, in percent, above which a second authoriser is needed.
pub const RATE_LIMIT_PERCENT: u64 = 10;

/// Over how long the share is counted.
pub const RATE_OVER: Span = Span::from_secs(90 * 86_400);

/// Fewest deployments from which a share says something.
const RATE_FROM: u64 = 10;

/// Longest text, in characters.
pub const MAX_TEXT: usize = 2_000;

/// Statements that are read at once.
const PAGE: usize = 200;

/// Where an emergency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A deployment may begin.
    Open,
    /// Over, and waits for its review.
    Owed,
    /// Over, and the review is late.
    Overdue,
    /// Reviewed by somebody else.
    Reviewed,
}

impl Standing {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Owed => "review owed",
            Self::Overdue => "review overdue",
            Self::Reviewed => "reviewed",
        }
    }
}

/// One emergency with everything that followed.
#[derive(Debug, Clone)]
pub struct Emergency {
    /// `BG-7`: in the order of the ledger.
    pub number: u64,
    /// Its opening's evidence.
    pub id: EvidenceId,
    /// Ledger index of the opening.
    pub index: u64,
    /// The opening.
    pub opening: BreakGlassOpening,
    /// When the ledger recorded it.
    pub opened_at: Timestamp,
    /// When it was closed before its time.
    pub closed_at: Option<Timestamp>,
    /// The review that counts, when it was recorded, and its evidence.
    pub review: Option<(BreakGlassReview, Timestamp, EvidenceId)>,
}

impl Emergency {
    /// `BG-7`.
    #[must_use]
    pub fn human(&self) -> String {
        format!("BG-{}", self.number)
    }

    /// When the right to deploy ends or ended.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        let until = self
            .opening
            .expires_at
            .unwrap_or(self.opening.review_due_at)
            .min(self.opened_at.plus(OPEN_AT_MOST));
        self.closed_at.map_or(until, |closed| closed.min(until))
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        match &self.review {
            Some(_) => Standing::Reviewed,
            None if now < self.ends_at() => Standing::Open,
            None if now < self.opening.review_due_at => Standing::Owed,
            None => Standing::Overdue,
        }
    }

    /// Whether it lets this digest into this environment now.
    #[must_use]
    pub fn lets_in(&self, artifact: &Digest, environment: &str, now: Timestamp) -> bool {
        let release = &self.opening.release;
        self.standing(now) == Standing::Open
            && release.artifact.as_ref() == Some(artifact)
            && release.environment == environment
    }
}

/// Reads the emergencies out of their steps, oldest first. `person` gives the person behind an
/// account, or `None` when nobody knows: such a review counts for nothing.
#[must_use]
pub fn book(
    steps: &[EvidenceItem],
    person: &dyn Fn(&PrincipalId) -> Option<PrincipalId>,
) -> Vec<Emergency> {
    let mut steps: Vec<&EvidenceItem> = steps.iter().collect();
    steps.sort_by_key(|item| item.index);
    let mut found: Vec<Emergency> = Vec::new();
    let mut places: BTreeMap<EvidenceId, usize> = BTreeMap::new();
    for item in steps {
        let mut facts: serde_json::Map<_, _> = item.facts.clone().into_iter().collect();
        // What every item has is no fact of its own.
        facts
            .entry("observedAt")
            .or_insert_with(|| serde_json::json!(item.observed_at));
        let Ok(step) = serde_json::from_value(serde_json::Value::Object(facts)) else {
            continue;
        };
        match step {
            BreakGlass::Open(opening) => {
                places.insert(item.id, found.len());
                found.push(Emergency {
                    number: found.len() as u64 + 1,
                    id: item.id,
                    index: item.index,
                    opening: *opening,
                    opened_at: item.recorded_at,
                    closed_at: None,
                    review: None,
                });
            }
            BreakGlass::Close(closing) => {
                let emergency = places
                    .get(&closing.opening)
                    .and_then(|at| found.get_mut(*at));
                if let Some(emergency) = emergency {
                    emergency.closed_at.get_or_insert(item.recorded_at);
                }
            }
            BreakGlass::Review(review) => {
                let emergency = places
                    .get(&review.opening)
                    .and_then(|at| found.get_mut(*at));
                let Some(emergency) = emergency.filter(|emergency| emergency.review.is_none())
                else {
                    continue;
                };
                let reviewer = person(&review.by.principal);
                let counts = reviewer.is_some() && !involved(emergency, person).contains(&reviewer);
                if counts {
                    emergency.review = Some((review, item.recorded_at, item.id));
                }
            }
        }
    }
    found
}

/// Who opened and who authorised, as people.
fn involved(
    emergency: &Emergency,
    person: &dyn Fn(&PrincipalId) -> Option<PrincipalId>,
) -> Vec<Option<PrincipalId>> {
    let authoriser = emergency.opening.authorised_by.as_ref();
    [Some(&emergency.opening.by), authoriser]
        .into_iter()
        .flatten()
        .map(|actor| person(&actor.principal).or_else(|| Some(actor.principal.clone())))
        .collect()
}

/// What the past asks of the next emergency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strictness {
    /// Emergencies whose review is late.
    pub overdue: Vec<String>,
    /// Emergencies of the last 90 days.
    pub emergencies: u64,
    /// Deployments of the last 90 days.
    pub deployments: u64,
    /// Why a second authoriser is needed; `None`: one person is enough.
    pub second: Option<String>,
}

/// Whether a second authoriser is needed now. `deployments` counts those of the last 90 days.
#[must_use]
pub fn strictness(emergencies: &[Emergency], deployments: u64, now: Timestamp) -> Strictness {
    let overdue: Vec<String> = emergencies
        .iter()
        .filter(|emergency| emergency.standing(now) == Standing::Overdue)
        .map(Emergency::human)
        .collect();
    let since = now.plus(Span::from_secs(-RATE_OVER.secs()));
    let recent = emergencies
        .iter()
        .filter(|emergency| emergency.opened_at >= since)
        .count() as u64;
    let often = deployments >= RATE_FROM && recent * 100 > deployments * RATE_LIMIT_PERCENT;
    let second = match (overdue.is_empty(), often) {
        (false, _) => Some(format!("the review of {} is overdue", overdue.join(", "))),
        (true, true) => Some(format!(
            "{recent} of {deployments} deployments of the last 90 days were emergencies, more than {RATE_LIMIT_PERCENT} %"
        )),
        (true, false) => None,
    };
    Strictness {
        overdue,
        emergencies: recent,
        deployments,
        second,
    }
}

/// Why an emergency cannot be opened, closed or reviewed.
#[derive(Debug, thiserror::Error)]
pub enum EmergencyError {
    /// The rules of emergencies forbid it.
    #[error("{0}")]
    Refused(String),
    /// The store cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The statement cannot be made.
    #[error("the step cannot be written as a statement")]
    Statement(#[from] writ_evidence::statement::StatementError),
}

/// What is opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// What is deployed, and where.
    pub release: ReleaseRef,
    /// Who.
    pub by: Actor,
    /// Who authorised it beside them.
    pub authorised_by: Option<Actor>,
    /// Why it cannot wait.
    pub reason: String,
    /// The incident's number or address.
    pub incident: Option<String>,
    /// Controls that are not satisfied.
    pub unsatisfied: Vec<String>,
    /// For how long.
    pub open_for: Span,
}

/// Opens an emergency.
///
/// # Errors
/// No reason, too long, a second authoriser is needed and missing or the same person, or the store
/// cannot be written.
pub async fn open(
    store: &Store,
    opening: Opening,
    strictness: &Strictness,
    facts: &BTreeMap<PrincipalId, PrincipalFacts>,
) -> Result<Recorded, EmergencyError> {
    let payload = draft_opening(opening, strictness, facts, store.now())?;
    Ok(store.record(NewRecord::payload(payload)).await?)
}

/// The opening as the statement that would be recorded, made at this time.
///
/// # Errors
/// As [`open`], but for the store.
pub fn draft_opening(
    opening: Opening,
    strictness: &Strictness,
    facts: &BTreeMap<PrincipalId, PrincipalFacts>,
    now: Timestamp,
) -> Result<Vec<u8>, EmergencyError> {
    let refused = |text: String| Err(EmergencyError::Refused(text));
    said("the reason", &opening.reason)?;
    if opening.open_for.micros() <= 0 || opening.open_for > OPEN_AT_MOST {
        return refused(format!(
            "an emergency lasts at most {}; asked for {}",
            OPEN_AT_MOST.human(),
            opening.open_for.human()
        ));
    }
    if facts
        .get(&opening.by.principal)
        .is_some_and(|facts| facts.machine)
    {
        return refused("a machine does not open an emergency".to_owned());
    }
    match (&opening.authorised_by, &strictness.second) {
        (None, Some(why)) => {
            return refused(format!("a second authoriser is needed: {why}"));
        }
        (Some(second), _)
            if person_of(facts, &second.principal) == person_of(facts, &opening.by.principal) =>
        {
            return refused("the second authoriser is the person who opens it".to_owned());
        }
        _ => {}
    }
    let subject = about(&opening.release);
    let step = BreakGlass::Open(Box::new(BreakGlassOpening {
        release: opening.release,
        by: opening.by,
        reason: opening.reason,
        incident: opening.incident.filter(|text| !text.trim().is_empty()),
        unsatisfied: opening.unsatisfied,
        authorised_by: opening.authorised_by,
        observed_at: now,
        expires_at: Some(now.plus(opening.open_for)),
        review_due_at: now.plus(REVIEW_WITHIN),
    }));
    payload(subject, step)
}

/// Ends the right to deploy before its time.
///
/// # Errors
/// It is over already, or the store cannot be written.
pub async fn close(
    store: &Store,
    emergency: &Emergency,
    by: Actor,
    reason: Option<String>,
) -> Result<Recorded, EmergencyError> {
    if emergency.standing(store.now()) != Standing::Open {
        return Err(EmergencyError::Refused(format!(
            "{} is over already",
            emergency.human()
        )));
    }
    let step = BreakGlass::Close(BreakGlassClosing {
        opening: emergency.id,
        by,
        reason,
        observed_at: store.now(),
    });
    record(store, about(&emergency.opening.release), step).await
}

/// Why somebody may not review an emergency; `None` when they may.
#[must_use]
pub fn may_review(
    emergency: &Emergency,
    by: &PrincipalId,
    facts: &BTreeMap<PrincipalId, PrincipalFacts>,
    now: Timestamp,
) -> Option<String> {
    let known = facts.get(by);
    let opening = &emergency.opening;
    let me = person_of(facts, by);
    if let Some((review, at, _)) = &emergency.review {
        let _ = review;
        return Some(format!("it was reviewed at {}", at.to_seconds_text()));
    }
    if known.is_some_and(|facts| facts.machine) {
        return Some("a machine does not review".to_owned());
    }
    if me == person_of(facts, &opening.by.principal) {
        return Some("opened it".to_owned());
    }
    if opening
        .authorised_by
        .as_ref()
        .is_some_and(|second| me == person_of(facts, &second.principal))
    {
        return Some("authorised it".to_owned());
    }
    if known.is_none_or(|facts| facts.unresolved) {
        return Some("the account belongs to nobody known".to_owned());
    }
    if emergency.standing(now) == Standing::Open {
        return Some("it is still open: close it first".to_owned());
    }
    None
}

/// Records the review of an emergency.
///
/// # Errors
/// See [`may_review`]; no reason; the store cannot be written.
pub async fn review(
    store: &Store,
    emergency: &Emergency,
    by: Actor,
    outcome: BreakGlassOutcome,
    reason: String,
    facts: &BTreeMap<PrincipalId, PrincipalFacts>,
) -> Result<Recorded, EmergencyError> {
    let payload = draft_review(emergency, by, outcome, reason, facts, store.now())?;
    Ok(store.record(NewRecord::payload(payload)).await?)
}

/// The review as the statement that would be recorded, made at this time.
///
/// # Errors
/// As [`review`], but for the store.
pub fn draft_review(
    emergency: &Emergency,
    by: Actor,
    outcome: BreakGlassOutcome,
    reason: String,
    facts: &BTreeMap<PrincipalId, PrincipalFacts>,
    now: Timestamp,
) -> Result<Vec<u8>, EmergencyError> {
    if let Some(why) = may_review(emergency, &by.principal, facts, now) {
        return Err(EmergencyError::Refused(format!("not by you: {why}")));
    }
    said("what was found", &reason)?;
    let step = BreakGlass::Review(BreakGlassReview {
        opening: emergency.id,
        by,
        outcome,
        reason,
        follow_ups: Vec::new(),
        observed_at: now,
    });
    payload(about(&emergency.opening.release), step)
}

/// Every step that the ledger holds below a size, oldest first.
///
/// # Errors
/// The store cannot be read.
pub async fn steps(store: &Store, below: Option<u64>) -> Result<Vec<EvidenceItem>, RegistryError> {
    let mut query = Query {
        predicate_type: Some(BreakGlass::URI.to_owned()),
        as_of: below,
        limit: PAGE,
        ..Query::default()
    };
    let mut steps = Vec::new();
    loop {
        let page = store.evidence(&query).await?;
        steps.extend(page.items);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    steps.reverse();
    Ok(steps)
}

fn person_of(facts: &BTreeMap<PrincipalId, PrincipalFacts>, account: &PrincipalId) -> PrincipalId {
    facts
        .get(account)
        .and_then(|facts| facts.person.clone())
        .unwrap_or_else(|| account.clone())
}

fn said(what: &str, text: &str) -> Result<(), EmergencyError> {
    match text.trim().chars().count() {
        0 => Err(EmergencyError::Refused(format!("{what} is empty"))),
        length if length > MAX_TEXT => Err(EmergencyError::Refused(format!(
            "{what} is longer than {MAX_TEXT} characters"
        ))),
        _ => Ok(()),
    }
}

fn about(release: &ReleaseRef) -> ResourceDescriptor {
    match (&release.artifact, &release.commit) {
        (Some(artifact), _) => ResourceDescriptor::sha256(release.service.clone(), *artifact),
        (None, commit) => ResourceDescriptor::git_commit(
            release.service.clone(),
            commit.clone().unwrap_or_default(),
        ),
    }
}

async fn record(
    store: &Store,
    subject: ResourceDescriptor,
    step: BreakGlass,
) -> Result<Recorded, EmergencyError> {
    let payload = payload(subject, step)?;
    Ok(store.record(NewRecord::payload(payload)).await?)
}

fn payload(subject: ResourceDescriptor, step: BreakGlass) -> Result<Vec<u8>, EmergencyError> {
    Ok(Statement::new(vec![subject], step).to_payload()?)
}
