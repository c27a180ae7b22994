//! Whether an artefact may be deployed: is there a writ that authorises it, here and now?
//!
//! [`judge`] is pure. [`ask`] reads a store: only writs whose signature by a trusted key verifies are
//! looked at. The answer names the writ, or says of every one why it does not count.

mod emergency;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_evidence::Predicate as _;
use writ_evidence::key::{Purpose, TrustedKeys};
use writ_evidence::predicate::{VerificationResult, VerificationSummary};
use writ_model::{Answer, DecisionId, Digest, Timestamp, WritId};
use writ_registry::{EventQuery, PREVIEW_ENVIRONMENT, RegistryError, Store};

pub use emergency::LetIn;

/// Schema of the answer.
pub const SCHEMA: &str = "writ.authorisation/1";

/// Writs and decisions of an artefact that are looked at, the newest first.
const LOOKED_AT: usize = 100;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The artefact.
    pub artifact: Digest,
    /// Where it is to run.
    pub environment: String,
    /// Of which service; of any when none is named.
    pub service: Option<String>,
}

/// A writ whose signature verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: WritId,
    /// Its place in the ledger.
    pub index: u64,
    /// Environments whose writs the key that signed it may sign; empty when it is no key for writs, or
    /// no longer trusted.
    pub key_for: Vec<String>,
    /// The name of the key.
    pub key: String,
    /// What it says.
    pub summary: VerificationSummary,
}

/// A decision about the artefact in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Its id.
    pub id: DecisionId,
    /// Its place in the ledger.
    pub index: u64,
    /// Service.
    pub service: String,
    /// The answer.
    pub answer: Answer,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorisation {
    /// [`SCHEMA`].
    pub schema: String,
    /// The artefact.
    pub artifact: Digest,
    /// The environment.
    pub environment: String,
    /// As of when.
    pub at: Timestamp,
    /// The writ that authorises it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorised: Option<Authorised>,
    /// The emergency that lets it in, where no writ does. Without either it may not be deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<LetIn>,
    /// Why others do not, the newest first; or why there is nothing to look at.
    pub refused: Vec<Refused>,
    /// The newest decision about it there, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecidedNote>,
}

impl Authorisation {
    /// Whether it may be deployed.
    #[must_use]
    pub const fn lets_in(&self) -> bool {
        self.authorised.is_some() || self.emergency.is_some()
    }
}

/// The newest decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecidedNote {
    /// Its id.
    pub id: DecisionId,
    /// The answer.
    pub answer: Answer,
}

/// A writ that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Authorised {
    /// Its id.
    pub writ: WritId,
    /// Its place in the ledger.
    pub index: u64,
    /// The decision that issued it.
    pub decision: DecisionId,
    /// Service.
    pub service: String,
    /// The commit that the artefact was made from, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Profile.
    pub profile: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Until when a deployment may begin.
    pub expires_at: Timestamp,
    /// The key that signed it.
    pub key: String,
    /// It counts nowhere but in `local`.
    pub preview: bool,
}

/// Why a writ does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The writ; absent when there is none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<WritId>,
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, in words.
    pub reason: String,
}

/// Why a writ does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// There is no writ for the artefact.
    NoWrit,
    /// It is for another environment.
    OtherEnvironment,
    /// It is of another service.
    OtherService,
    /// Its time is over.
    Expired,
    /// It was issued later than now: a clock is wrong.
    NotYet,
    /// It is a preview, which counts nowhere but in `local`.
    Preview,
    /// The key that signed it may not sign writs for the environment.
    Key,
    /// The gate has answered otherwise since.
    Superseded,
    /// It does not say that the gate passed.
    NotPassed,
}

/// Judges writs of an artefact, the newest first.
#[must_use]
pub fn judge(
    question: &Question,
    candidates: &[Candidate],
    decisions: &[Decided],
    now: Timestamp,
) -> Authorisation {
    let mut refused = Vec::new();
    let mut authorised = None;
    for candidate in candidates {
        match verdict(question, candidate, decisions, now) {
            Ok(found) => {
                authorised = Some(found);
                break;
            }
            Err((code, reason)) => refused.push(Refused {
                writ: Some(candidate.id),
                code,
                reason,
            }),
        }
    }
    if authorised.is_none() && refused.is_empty() {
        refused.push(Refused {
            writ: None,
            code: RefusalCode::NoWrit,
            reason: format!("no writ names {}", question.artifact),
        });
    }
    let newest = decisions
        .iter()
        .filter(|decided| of_service(question, &decided.service))
        .max_by_key(|decided| decided.index);
    Authorisation {
        schema: SCHEMA.to_owned(),
        artifact: question.artifact,
        environment: question.environment.clone(),
        at: now,
        authorised,
        emergency: None,
        refused,
        decision: newest.map(|decided| DecidedNote {
            id: decided.id,
            answer: decided.answer,
        }),
    }
}

fn of_service(question: &Question, service: &str) -> bool {
    question
        .service
        .as_deref()
        .is_none_or(|wanted| wanted == service)
}

fn verdict(
    question: &Question,
    candidate: &Candidate,
    decisions: &[Decided],
    now: Timestamp,
) -> Result<Authorised, (RefusalCode, String)> {
    let Some(facts) = &candidate.summary.writ else {
        return Err((
            RefusalCode::NotPassed,
            "it is a verification summary of another verifier, and no writ".to_owned(),
        ));
    };
    let release = &facts.release;
    let named = candidate.summary.verification_result == VerificationResult::Passed
        && facts.answer == Answer::Yes
        && release.artifact == Some(question.artifact);
    if !named {
        return Err((
            RefusalCode::NotPassed,
            "it does not say that the gate passed this artefact".to_owned(),
        ));
    }
    if release.environment != question.environment {
        return Err((
            RefusalCode::OtherEnvironment,
            format!("it is for {}", release.environment),
        ));
    }
    if !of_service(question, &release.service) {
        return Err((
            RefusalCode::OtherService,
            format!("it is of the service {}", release.service),
        ));
    }
    let local = question.environment == PREVIEW_ENVIRONMENT;
    if facts.preview && !local {
        return Err((
            RefusalCode::Preview,
            format!(
                "it is a preview: no key is named for writs of {}, so it counts only in {PREVIEW_ENVIRONMENT}",
                question.environment
            ),
        ));
    }
    if !candidate.key_for.contains(&question.environment) {
        return Err((
            RefusalCode::Key,
            format!(
                "the key '{}' that signed it may not sign writs for {}",
                candidate.key, question.environment
            ),
        ));
    }
    if facts.issued_at > now {
        return Err((
            RefusalCode::NotYet,
            format!(
                "it was issued at {}, and it is {} here: a clock is wrong",
                facts.issued_at.to_seconds_text(),
                now.to_seconds_text()
            ),
        ));
    }
    if facts.expires_at <= now {
        return Err((
            RefusalCode::Expired,
            format!("it ended at {}", facts.expires_at.to_seconds_text()),
        ));
    }
    // What counts against a release is heard, however new: a later decision that is not a yes.
    let later = decisions
        .iter()
        .filter(|decided| decided.service == release.service && decided.index > candidate.index)
        .max_by_key(|decided| decided.index)
        .filter(|decided| decided.answer != Answer::Yes);
    if let Some(later) = later {
        return Err((
            RefusalCode::Superseded,
            format!(
                "the gate decided again since and answered {}: {}",
                later.answer.headline(),
                later.id.short()
            ),
        ));
    }
    Ok(Authorised {
        writ: candidate.id,
        index: candidate.index,
        decision: facts.decision,
        service: release.service.clone(),
        commit: release.commit.clone(),
        profile: facts.profile.clone(),
        issued_at: facts.issued_at,
        expires_at: facts.expires_at,
        key: candidate.key.clone(),
        preview: facts.preview,
    })
}

/// Judges the writs of a store.
///
/// # Errors
/// The store cannot be read, or a writ in it does not verify: then nobody can tell.
pub async fn ask(
    store: &Store,
    question: &Question,
    now: Timestamp,
) -> Result<Authorisation, RegistryError> {
    ask_below(store, question, now, None).await
}

/// The same below a ledger size.
///
/// # Errors
/// As [`ask`].
pub async fn ask_below(
    store: &Store,
    question: &Question,
    now: Timestamp,
    below: Option<u64>,
) -> Result<Authorisation, RegistryError> {
    let query = EventQuery {
        artifact: Some(question.artifact),
        below,
        limit: LOOKED_AT,
        ..EventQuery::default()
    };
    let listed = store.writs_listed(&query).await?;
    let keys = store.trust().keys();
    let mut candidates = Vec::new();
    for row in listed.items {
        let record = store.get(&row.id.to_string()).await?;
        if record.statement.predicate_type != VerificationSummary::URI {
            continue;
        }
        let Ok(summary) = serde_json::from_value(record.statement.predicate) else {
            continue;
        };
        let (key, key_for) = key_of(&keys, &record.item.signer, record.item.recorded_at);
        candidates.push(Candidate {
            id: WritId::from_digest(row.id.digest()),
            index: row.index,
            key_for,
            key,
            summary,
        });
    }
    let decisions = store
        .decisions_listed(&EventQuery {
            environment: Some(question.environment.clone()),
            ..query
        })
        .await?
        .items
        .into_iter()
        .map(|row| Decided {
            id: DecisionId::from_digest(row.decision.id.digest()),
            index: row.decision.index,
            service: row.decision.service,
            answer: row.decision.answer,
        })
        .collect::<Vec<_>>();
    let mut answer = judge(question, &candidates, &decisions, now);
    if answer.authorised.is_none() {
        answer.emergency = emergency::open(store, question, now, below).await?;
    }
    Ok(answer)
}

/// The name of the key with an id, and the environments whose writs it may sign. A writ counts by the
/// time at which the ledger recorded it; a key that was revoked since signs nothing that counts.
fn key_of(keys: &TrustedKeys, id: &str, at: Timestamp) -> (String, Vec<String>) {
    let Some(key) = keys.iter().find(|key| key.key.id().to_string() == id) else {
        return (id.to_owned(), Vec::new());
    };
    let name = if key.name.is_empty() {
        id.to_owned()
    } else {
        key.name.clone()
    };
    if let Some(why) = &key.revoked {
        return (format!("{name}, revoked: {why}"), Vec::new());
    }
    let environments = key
        .purposes
        .iter()
        .filter(|purpose| key.serves(purpose, at))
        .filter_map(|purpose| match purpose {
            Purpose::Writ(environment) => Some(environment.clone()),
            _ => None,
        })
        .collect();
    (name, environments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use writ_evidence::predicate::{PolicyRef, ReleaseRef, Verifier, WritFacts};

    const NOW: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((NOW + seconds) * 1_000_000)
    }

    fn question() -> Question {
        Question {
            artifact: Digest::of(b"image"),
            environment: "production".to_owned(),
            service: Some("shop".to_owned()),
        }
    }

    fn candidate(change: impl FnOnce(&mut WritFacts)) -> Candidate {
        let mut facts = WritFacts {
            release: ReleaseRef {
                service: "shop".to_owned(),
                environment: "production".to_owned(),
                artifact: Some(Digest::of(b"image")),
                commit: None,
            },
            decision: DecisionId::from_digest(Digest::of(b"decision")),
            answer: Answer::Yes,
            profile: "startup".to_owned(),
            bundle_digest: Digest::of(b"bundle"),
            counts: Default::default(),
            exemptions: Vec::new(),
            issued_at: at(-60),
            expires_at: at(60),
            preview: false,
        };
        change(&mut facts);
        Candidate {
            id: WritId::from_digest(Digest::of(b"writ")),
            index: 10,
            key_for: vec!["production".to_owned()],
            key: "writ-production".to_owned(),
            summary: VerificationSummary {
                verifier: Verifier {
                    id: "urn:writ:verifier:test".to_owned(),
                    version: BTreeMap::new(),
                },
                time_verified: Some(at(-60)),
                resource_uri: "urn:writ:service:shop".to_owned(),
                policy: PolicyRef {
                    uri: None,
                    digest: BTreeMap::new(),
                },
                input_attestations: Vec::new(),
                verification_result: VerificationResult::Passed,
                verified_levels: Vec::new(),
                dependency_levels: BTreeMap::new(),
                slsa_version: None,
                writ: Some(facts),
            },
        }
    }

    fn code(candidate: Candidate) -> RefusalCode {
        let judged = judge(&question(), &[candidate], &[], at(0));
        assert_eq!(judged.authorised, None);
        judged.refused[0].code
    }

    #[test]
    fn a_writ_counts_for_its_artefact_its_environment_and_its_time() {
        let judged = judge(&question(), &[candidate(|_| {})], &[], at(0));
        assert_eq!(judged.authorised.unwrap().service, "shop");
        assert_eq!(
            code(candidate(|f| f.release.environment = "staging".to_owned())),
            RefusalCode::OtherEnvironment
        );
        assert_eq!(
            code(candidate(|f| f.release.service = "till".to_owned())),
            RefusalCode::OtherService
        );
        assert_eq!(
            code(candidate(
                |f| f.release.artifact = Some(Digest::of(b"other"))
            )),
            RefusalCode::NotPassed
        );
        assert_eq!(
            code(candidate(|f| f.expires_at = at(0))),
            RefusalCode::Expired
        );
        assert_eq!(
            code(candidate(|f| f.issued_at = at(1))),
            RefusalCode::NotYet
        );
        assert_eq!(code(candidate(|f| f.preview = true)), RefusalCode::Preview);
        assert_eq!(
            code(candidate(|f| f.answer = Answer::No)),
            RefusalCode::NotPassed
        );
        let mut failed = candidate(|_| {});
        failed.summary.verification_result = VerificationResult::Failed;
        assert_eq!(code(failed), RefusalCode::NotPassed);
        let mut foreign = candidate(|_| {});
        foreign.summary.writ = None;
        assert_eq!(code(foreign), RefusalCode::NotPassed);
    }

    #[test]
    fn a_key_signs_writs_of_its_environments_only() {
        let mut stranger = candidate(|_| {});
        stranger.key_for = vec!["staging".to_owned()];
        assert_eq!(code(stranger), RefusalCode::Key);
        // The preview key may sign for `local`; that a writ calls itself none does not help it.
        let mut preview = candidate(|_| {});
        preview.key_for = vec!["local".to_owned()];
        assert_eq!(code(preview), RefusalCode::Key);
    }

    #[test]
    fn a_preview_counts_in_local() {
        let mut preview = candidate(|facts| {
            facts.preview = true;
            facts.release.environment = "local".to_owned();
        });
        preview.key_for = vec!["local".to_owned()];
        let question = Question {
            environment: "local".to_owned(),
            ..question()
        };
        assert!(
            judge(&question, &[preview], &[], at(0))
                .authorised
                .is_some()
        );
    }

    #[test]
    fn a_later_no_counts_against_it_and_a_later_yes_does_not() {
        let decided = |index, answer| Decided {
            id: DecisionId::from_digest(Digest::of(b"again")),
            index,
            service: "shop".to_owned(),
            answer,
        };
        for (decisions, counts) in [
            (vec![decided(9, Answer::No)], true),
            (vec![decided(11, Answer::No)], false),
            (vec![decided(11, Answer::CannotTell)], false),
            (
                vec![decided(11, Answer::No), decided(12, Answer::Yes)],
                true,
            ),
        ] {
            let judged = judge(&question(), &[candidate(|_| {})], &decisions, at(0));
            assert_eq!(judged.authorised.is_some(), counts, "{decisions:?}");
        }
        let other = Decided {
            service: "till".to_owned(),
            ..decided(11, Answer::No)
        };
        assert!(
            judge(&question(), &[candidate(|_| {})], &[other], at(0))
                .authorised
                .is_some()
        );
    }

    #[test]
    fn an_older_writ_may_count_where_the_newest_does_not() {
        let judged = judge(
            &question(),
            &[candidate(|f| f.expires_at = at(-1)), candidate(|_| {})],
            &[],
            at(0),
        );
        assert!(judged.authorised.is_some());
        assert_eq!(judged.refused.len(), 1);
        let none = judge(&question(), &[], &[], at(0));
        assert_eq!(none.refused[0].code, RefusalCode::NoWrit);
    }
}
