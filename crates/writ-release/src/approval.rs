//! Who may approve a release, and what their yes binds.
//!
//! [`Case`] is pure: it is made of what the gate read and decided, and repeats the gate's own rule
//! for approvals person by person, so that a page can say who may approve before anybody tries. The
//! gate stays the judge: `tests/it/agrees.rs` holds both against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use writ_evidence::predicate::{Actor, Approval, ApprovalAbout, Rejection, ReleaseRef};
use writ_evidence::{Predicate as _, ResourceDescriptor, Statement};
use writ_gate::evaluate::{EvaluateError, Options};
use writ_gate::{
    Approvals, Bundle, Judged, PrincipalFacts, Release, facts_about, judge, latest_run, readable,
    shown_checks, shown_digest,
};
use writ_model::{
    Assurance, Digest, EvidenceId, EvidenceItem, EvidenceType, PrincipalId, Span, State, Subject,
    Timestamp,
};
use writ_registry::{NewRecord, Recorded, RegistryError, Store};

/// How long an approval counts. What it was given for has long happened by then, or things changed.
pub const APPROVAL_LIFE: Span = Span::from_secs(7 * 86_400);

/// Longest note of a person, in characters.
pub const MAX_NOTE: usize = 2_000;

/// Commits that a refusal names.
const NAMED_COMMITS: usize = 4;

/// Why somebody's yes would not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// No control that binds asks for an approval.
    NotAsked,
    /// It is not a person.
    Machine,
    /// They made part of the change.
    Author {
        /// Commits of theirs, of which some are named.
        count: u64,
        /// Commits of the change.
        of: u64,
        /// Some of theirs, shortened.
        commits: Vec<String>,
    },
    /// Nobody knows whose account it is.
    Unresolved,
    /// They do not hold the role or team.
    Role(String),
    /// They signed in by something weaker than the profile counts.
    Assurance {
        /// How they signed in.
        had: Assurance,
        /// What counts.
        needed: Assurance,
    },
    /// Who wrote the change is not known, so nobody's yes is somebody else's.
    AuthorsUnknown(String),
    /// Checks that an approver is shown are not satisfied: a yes would end with the first change.
    Unsatisfied(Vec<String>),
    /// They said yes before, and it counts.
    Already(Timestamp),
    /// It was given for another bundle of controls.
    OtherBundle,
    /// It was given when other checks stood.
    OtherChecks,
    /// Its time is over.
    Lapsed,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("no control that binds here asks for an approval"),
            Self::Machine => f.write_str("a machine does not approve"),
            Self::Author { commits, .. } if commits.is_empty() => {
                f.write_str("wrote part of the change")
            }
            Self::Author { count, of, commits } => {
                let more = if commits.len() as u64 == *count {
                    ""
                } else {
                    ", …"
                };
                write!(
                    f,
                    "wrote {count} of the {of} commits ({}{more})",
                    commits.join(", ")
                )
            }
            Self::Unresolved => f.write_str("the account belongs to nobody known"),
            Self::Role(role) => write!(f, "does not hold role {role}"),
            Self::Assurance { had, needed } => write!(
                f,
                "signed in by {}; {} or better counts here",
                had.word(),
                needed.word()
            ),
            Self::AuthorsUnknown(why) => {
                write!(f, "nobody can approve before the authors are known: {why}")
            }
            Self::Unsatisfied(controls) => write!(
                f,
                "checks that an approval rests on are not satisfied: {}",
                controls.join(", ")
            ),
            Self::Already(at) => write!(f, "approved it already at {}", at.to_seconds_text()),
            Self::OtherBundle => f.write_str("it was given for another bundle of controls"),
            Self::OtherChecks => f.write_str("it was given when other checks stood"),
            Self::Lapsed => f.write_str("it has lapsed"),
        }
    }
}

/// What somebody said to the release, and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its evidence.
    pub id: EvidenceId,
    /// Who.
    pub by: PrincipalId,
    /// How they had signed in.
    pub assurance: Assurance,
    /// Yes, or no.
    pub yes: bool,
    /// In their words.
    pub words: Option<String>,
    /// When.
    pub at: Timestamp,
    /// When they were shown what they decided on.
    pub shown_at: Option<Timestamp>,
    /// Why a yes does not count; `None`: it counts, as every no does.
    pub objection: Option<Objection>,
}

/// A release as an approver sees it. Pure data.
#[derive(Debug, Clone)]
pub struct Case {
    /// What, and where.
    pub release: ReleaseRef,
    /// Commit, tree and artefact.
    pub subject: Subject,
    /// The bundle in force.
    pub bundle: Digest,
    /// Digest of the checks that an approver is shown.
    pub shown: Digest,
    /// Which role approves and how many of them; `None`: nobody is asked.
    pub wanted: Option<Approvals>,
    /// The weakest sign-in that counts.
    pub assurance: Assurance,
    /// Checks that an approver is shown and that are not satisfied.
    pub unsatisfied: Vec<String>,
    /// Everything that was said, the oldest first; of each person the last word.
    pub said: Vec<Said>,
    authors: Result<BTreeMap<PrincipalId, Part>, String>,
    commits: u64,
    people: BTreeMap<PrincipalId, PrincipalFacts>,
}

/// The part of a person in the change.
#[derive(Debug, Clone, Default)]
struct Part {
    commits: BTreeSet<String>,
    count: u64,
}

impl Case {
    /// The case of what the gate judged. `people` adds facts about those who might approve.
    #[must_use]
    pub fn of(
        bundle: &Bundle,
        judged: &Judged,
        people: BTreeMap<PrincipalId, PrincipalFacts>,
    ) -> Self {
        let (inputs, decision) = (&judged.inputs, &judged.decision);
        let mut known = inputs.bindings.clone();
        known.extend(people);
        let profile = bundle.profiles.get(&inputs.profile);
        let floor = profile.map(|profile| &profile.floor);
        let run = floor.and_then(|floor| latest_run(inputs, floor));
        let shown: BTreeSet<&str> = shown_checks(bundle, decision)
            .iter()
            .map(|check| check.control.as_str())
            .collect();
        let asked = decision
            .checks
            .iter()
            .any(|check| !shown.contains(check.control.as_str()));
        let wanted = || Approvals {
            role: "reviewer".to_owned(),
            count: 1,
        };
        let mut case = Self {
            release: ReleaseRef {
                service: inputs.service.clone(),
                environment: inputs.environment.clone(),
                artifact: inputs.subject.artifact,
                commit: inputs.subject.commit.clone(),
            },
            subject: inputs.subject.clone(),
            bundle: decision.bundle.digest,
            shown: shown_digest(bundle, decision),
            wanted: asked.then(|| {
                floor
                    .and_then(|floor| floor.approvals.clone())
                    .unwrap_or_else(wanted)
            }),
            assurance: floor.map_or(Assurance::Webauthn, |floor| floor.assurance),
            unsatisfied: decision
                .checks
                .iter()
                .filter(|check| shown.contains(check.control.as_str()))
                .filter(|check| blocks(check.state))
                .map(|check| check.control.clone())
                .collect(),
            said: Vec::new(),
            authors: Err("no run of this commit is recorded".to_owned()),
            commits: 0,
            people: known,
        };
        if let Some(run) = run {
            case.read_authors(run);
        }
        case.read_said(judged);
        case
    }

    fn read_authors(&mut self, run: &EvidenceItem) {
        let facts = &run.facts;
        let count = |value: &Value| value["count"].as_u64().unwrap_or_default();
        self.commits = facts.get("range").map(count).unwrap_or_default();
        let accounts: BTreeSet<PrincipalId> = facts
            .get("authors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|id| PrincipalId(id.to_owned()))
            .collect();
        let strangers: Vec<&str> = accounts
            .iter()
            .filter(|account| !self.is_known(account))
            .map(|account| account.0.as_str())
            .collect();
        if facts.get("shallow").and_then(Value::as_bool) == Some(true) {
            self.authors = Err("history was cut off: not all commits were there".to_owned());
        } else if accounts.is_empty() {
            self.authors = Err("the run names no author".to_owned());
        } else if !strangers.is_empty() {
            self.authors = Err(format!(
                "accounts of authors belong to nobody known: {}",
                strangers.join(", ")
            ));
        } else {
            let mut parts: BTreeMap<PrincipalId, Part> = accounts
                .iter()
                .map(|account| (self.person(account), Part::default()))
                .collect();
            let authorship = facts.get("authorship").and_then(Value::as_array);
            for one in authorship.into_iter().flatten() {
                let account = one["principal"].as_str().unwrap_or_default();
                let Some(part) = parts.get_mut(&self.person(&PrincipalId(account.to_owned())))
                else {
                    continue;
                };
                let commits = one["commits"].as_array().into_iter().flatten();
                part.commits.extend(
                    commits
                        .filter_map(Value::as_str)
                        .map(|commit| commit.chars().take(7).collect()),
                );
                // Of several accounts of one person the lists are joined; of a long one the count is.
                part.count = part.count.max(count(one)).max(part.commits.len() as u64);
            }
            self.authors = Ok(parts);
        }
    }

    fn read_said(&mut self, judged: &Judged) {
        let mut said: BTreeMap<PrincipalId, Said> = BTreeMap::new();
        for item in readable(&judged.inputs, EvidenceType::Approval) {
            let about = item.facts.get("about").and_then(Value::as_str);
            let by = item.facts.get("by");
            let by: Option<Actor> = by.and_then(|by| serde_json::from_value(by.clone()).ok());
            let (Some(by), None | Some("release")) = (by, about) else {
                continue;
            };
            let yes = item.predicate_type == Approval::URI;
            let text = |name: &str| item.facts.get(name).and_then(Value::as_str);
            let time = |name: &str| text(name).and_then(|text| text.parse::<Timestamp>().ok());
            let digest = |name: &str| text(name).and_then(|text| text.parse::<Digest>().ok());
            let objection = yes
                .then(|| {
                    self.person_objects(&by.principal, Some(by.assurance)).or({
                        if digest("bundleDigest") != Some(self.bundle) {
                            Some(Objection::OtherBundle)
                        } else if time("expiresAt").is_some_and(|end| end <= judged.inputs.as_of) {
                            Some(Objection::Lapsed)
                        } else if digest("checksHash").is_some_and(|shown| shown != self.shown) {
                            Some(Objection::OtherChecks)
                        } else {
                            None
                        }
                    })
                })
                .flatten();
            let one = Said {
                id: item.id,
                by: by.principal.clone(),
                assurance: by.assurance,
                yes,
                words: text("comment").or(text("reason")).map(str::to_owned),
                at: item.recorded_at,
                shown_at: time("shownAt"),
                objection,
            };
            // The ledger's order: of each account the last word counts.
            let last = said.entry(by.principal).or_insert_with(|| one.clone());
            if one.at >= last.at {
                *last = one;
            }
        }
        self.said = said.into_values().collect();
        self.said
            .sort_by(|a, b| a.at.cmp(&b.at).then(a.id.cmp(&b.id)));
    }

    fn is_known(&self, account: &PrincipalId) -> bool {
        self.people
            .get(account)
            .is_some_and(|facts| !facts.unresolved)
    }

    /// The person behind an account.
    #[must_use]
    pub fn person(&self, account: &PrincipalId) -> PrincipalId {
        self.people
            .get(account)
            .and_then(|facts| facts.person.clone())
            .unwrap_or_else(|| account.clone())
    }

    /// Why the authors are not known; `None` when they are.
    #[must_use]
    pub fn authors_doubt(&self) -> Option<&str> {
        self.authors.as_ref().err().map(String::as_str)
    }

    /// The people who made the change.
    #[must_use]
    pub fn authors(&self) -> Vec<PrincipalId> {
        self.authors
            .as_ref()
            .map(|parts| parts.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Commits of the change.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// How many approvals count, each person once.
    #[must_use]
    pub fn counted(&self) -> usize {
        let people: BTreeSet<PrincipalId> = self
            .said
            .iter()
            .filter(|said| said.yes && said.objection.is_none())
            .map(|said| self.person(&said.by))
            .collect();
        people.len()
    }

    /// How many approvals are still asked for.
    #[must_use]
    pub fn lacking(&self) -> usize {
        let wanted = self.wanted.as_ref().map_or(0, |wanted| wanted.count);
        usize::try_from(wanted)
            .unwrap_or(usize::MAX)
            .saturating_sub(self.counted())
    }

    /// Who said no, and did not take it back.
    pub fn rejections(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(|said| !said.yes)
    }

    /// What speaks against a person, in the order in which the gate's rule says it. Without an
    /// assurance only who they are is asked.
    #[must_use]
    pub fn person_objects(
        &self,
        account: &PrincipalId,
        assurance: Option<Assurance>,
    ) -> Option<Objection> {
        let Some(wanted) = &self.wanted else {
            return Some(Objection::NotAsked);
        };
        let facts = self.people.get(account);
        if facts.is_some_and(|facts| facts.machine) {
            return Some(Objection::Machine);
        }
        match &self.authors {
            Err(doubt) => return Some(Objection::AuthorsUnknown(doubt.clone())),
            Ok(parts) => {
                if let Some(part) = parts.get(&self.person(account)) {
                    return Some(Objection::Author {
                        count: part.count,
                        of: self.commits.max(part.count),
                        commits: part.commits.iter().take(NAMED_COMMITS).cloned().collect(),
                    });
                }
            }
        }
        if !self.is_known(account) {
            return Some(Objection::Unresolved);
        }
        if !holds(facts, &wanted.role) {
            return Some(Objection::Role(wanted.role.clone()));
        }
        assurance
            .filter(|had| *had < self.assurance)
            .map(|had| Objection::Assurance {
                had,
                needed: self.assurance,
            })
    }

    /// Why somebody's yes would not count now; `None` when it would.
    #[must_use]
    pub fn objection(
        &self,
        account: &PrincipalId,
        assurance: Option<Assurance>,
    ) -> Option<Objection> {
        let person = self.person(account);
        let already = || {
            self.said
                .iter()
                .find(|said| {
                    said.yes && said.objection.is_none() && self.person(&said.by) == person
                })
                .map(|said| Objection::Already(said.at))
        };
        let unsatisfied = || {
            (!self.unsatisfied.is_empty()).then(|| Objection::Unsatisfied(self.unsatisfied.clone()))
        };
        self.person_objects(account, assurance)
            .or_else(already)
            .or_else(unsatisfied)
    }

    /// Why somebody's no would not be heard; `None` when it would. Who wrote the change may say no.
    #[must_use]
    pub fn may_not_reject(&self, account: &PrincipalId) -> Option<Objection> {
        match self.person_objects(account, None) {
            Some(Objection::Author { .. } | Objection::AuthorsUnknown(_)) | None => None,
            Some(other) => Some(other),
        }
    }

    /// Of these people those who can approve now, by who they are; the sign-in is asked when they do.
    pub fn eligible<'p>(
        &'p self,
        candidates: impl IntoIterator<Item = &'p PrincipalId>,
    ) -> Vec<&'p PrincipalId> {
        candidates
            .into_iter()
            .filter(|account| self.objection(account, None).is_none())
            .collect()
    }
}

/// Whether a state of a check lets nothing pass.
const fn blocks(state: State) -> bool {
    !(state.is_satisfied() || matches!(state, State::NotApplicable | State::Warned))
}

fn holds(facts: Option<&PrincipalFacts>, wanted: &str) -> bool {
    facts.is_some_and(|facts| {
        facts.roles.iter().any(|role| role.word() == wanted)
            || facts.teams.iter().any(|team| team == wanted)
    })
}

/// What a person says to a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Yes.
    Approve {
        /// In their words.
        note: Option<String>,
    },
    /// No.
    Reject {
        /// Why.
        reason: String,
    },
}

/// What somebody had before them when they decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Digest of the checks.
    pub checks: Digest,
    /// When they were shown.
    pub at: Timestamp,
}

/// Why an answer was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It would not count.
    #[error("not by you: {0}")]
    Objection(Objection),
    /// What the person saw no longer stands.
    #[error("the checks changed since you were shown them: your answer would not apply")]
    Changed,
    /// A no without a reason, or a text that is too long.
    #[error("{0}")]
    Text(String),
    /// The gate cannot judge the release.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The statement cannot be made.
    #[error("the answer cannot be written as a statement")]
    Statement(#[from] writ_evidence::statement::StatementError),
}

/// Judges a release for its approvers: nothing is recorded.
///
/// # Errors
/// The gate cannot judge it.
pub async fn case(
    store: &Store,
    bundle: &Bundle,
    release: &Release,
    candidates: &BTreeSet<PrincipalId>,
) -> Result<(Case, Judged), EvaluateError> {
    let options = Options {
        as_of: store.now(),
        strict: false,
        record: false,
    };
    let judged = judge(store, bundle, release, options).await?;
    let people = facts_about(
        store,
        &release.service,
        candidates,
        judged.inputs.ledger.size,
    )
    .await?;
    Ok((Case::of(bundle, &judged, people), judged))
}

/// Records what a person says to a release, when it counts.
///
/// # Errors
/// [`AnswerError`]; then nothing was recorded.
pub async fn answer(
    store: &Store,
    bundle: &Bundle,
    release: &Release,
    reply: Reply,
    shown: Shown,
    actor: Actor,
) -> Result<Recorded, AnswerError> {
    let payload = draft(store, bundle, release, reply, shown, actor, store.now()).await?;
    Ok(store.record(NewRecord::payload(payload)).await?)
}

/// What a person says to a release as the statement that would be recorded, made at this time, when
/// it counts. Nothing is recorded.
///
/// # Errors
/// [`AnswerError`].
pub async fn draft(
    store: &Store,
    bundle: &Bundle,
    release: &Release,
    reply: Reply,
    shown: Shown,
    mut actor: Actor,
    now: Timestamp,
) -> Result<Vec<u8>, AnswerError> {
    if let Reply::Approve { note: Some(text) } | Reply::Reject { reason: text } = &reply
        && text.chars().count() > MAX_NOTE
    {
        return Err(AnswerError::Text(format!(
            "the note is longer than {MAX_NOTE} characters"
        )));
    }
    let candidates = BTreeSet::from([actor.principal.clone()]);
    let (case, _) = case(store, bundle, release, &candidates).await?;
    let objection = match &reply {
        Reply::Approve { .. } => case.objection(&actor.principal, Some(actor.assurance)),
        Reply::Reject { reason } if reason.trim().is_empty() => {
            return Err(AnswerError::Text("a no needs its reason".to_owned()));
        }
        Reply::Reject { .. } => case.may_not_reject(&actor.principal),
    };
    if let Some(objection) = objection {
        return Err(AnswerError::Objection(objection));
    }
    if shown.checks != case.shown {
        return Err(AnswerError::Changed);
    }
    actor.role = case.wanted.as_ref().map(|wanted| wanted.role.clone());
    let subjects = vec![subject(&case)];
    let payload = match reply {
        Reply::Approve { note } => Statement::new(
            subjects,
            Approval {
                about: ApprovalAbout::Release,
                release: Some(case.release.clone()),
                definition: None,
                bundle_digest: Some(case.bundle),
                checks_hash: Some(case.shown),
                shown_at: Some(shown.at),
                by: actor.clone(),
                comment: note.filter(|note| !note.trim().is_empty()),
                observed_at: now,
                expires_at: Some(now.plus(APPROVAL_LIFE)),
            },
        )
        .to_payload()?,
        Reply::Reject { reason } => Statement::new(
            subjects,
            Rejection {
                about: ApprovalAbout::Release,
                release: Some(case.release.clone()),
                definition: None,
                checks_hash: Some(case.shown),
                by: actor.clone(),
                reason,
                observed_at: now,
            },
        )
        .to_payload()?,
    };
    Ok(payload)
}

/// The release as a subject of what was said to it.
fn subject(case: &Case) -> ResourceDescriptor {
    match (&case.release.artifact, &case.release.commit) {
        (Some(artifact), _) => ResourceDescriptor::sha256(case.release.service.clone(), *artifact),
        (None, commit) => ResourceDescriptor::git_commit(
            case.release.service.clone(),
            commit.clone().unwrap_or_default(),
        ),
    }
}
