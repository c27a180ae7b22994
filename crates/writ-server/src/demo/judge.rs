//! Judging in the story: the real gate, over what is recorded by then.

use std::sync::Arc;

use writ_gate::evaluate::{LockerFindings, decision_record, writ_record};
use writ_gate::{Bundle, Inputs, decide};
use writ_model::{Answer, DecisionId, Timestamp, WritId};
use writ_registry::Store;

use super::DemoError;
use super::clock::DemoClock;
use super::world::{Change, World};

/// A change that asks to enter an environment at a time.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The change.
    pub change: Change,
    /// Where to.
    pub environment: &'static str,
    /// When.
    pub at: Timestamp,
    /// Whether a yes issues a writ.
    pub issue: bool,
}

/// What the gate answered.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Who asked.
    pub candidate: Candidate,
    /// The answer.
    pub answer: Answer,
    /// The writ, for a yes.
    pub writ: Option<WritId>,
}

/// Judges candidates over everything recorded so far, on all cores, and records decisions and writs.
///
/// # Errors
/// The gate or the store failed.
pub async fn judge(
    store: &Arc<Store>,
    bundle: &Arc<Bundle>,
    clock: &DemoClock,
    world: &World,
    candidates: Vec<Candidate>,
) -> Result<Vec<Judged>, DemoError> {
    let mut tasks = Vec::new();
    for candidate in candidates {
        clock.advance(candidate.at);
        let change = &candidate.change;
        let set = store
            .evidence_set(
                change.service().name,
                &change.subject(),
                candidate.environment,
                None,
            )
            .await?;
        let inputs = Inputs {
            service: change.service().name.to_owned(),
            environment: candidate.environment.to_owned(),
            profile: change.service().profile.to_owned(),
            subject: change.subject(),
            as_of: candidate.at,
            ledger: set.ledger,
            evidence: set.items,
            first_seen: set.first_seen,
            bindings: world.bindings(),
            strict: false,
        };
        let (store, bundle) = (Arc::clone(store), Arc::clone(bundle));
        tasks.push(tokio::task::spawn_blocking(move || {
            let decision = decide(&bundle, &inputs, &LockerFindings::of(&store))
                .map_err(writ_gate::evaluate::EvaluateError::from)?;
            let record = decision_record(&bundle, &inputs, &decision)?;
            Ok::<_, DemoError>((candidate, decision, record))
        }));
    }
    let mut decided = Vec::new();
    let mut records = Vec::new();
    for task in tasks {
        let (candidate, decision, record) = task.await??;
        records.push(record);
        decided.push((candidate, decision));
    }
    let recorded = store.record_batch(records).await?;
    let (mut judged, mut writs) = (Vec::new(), Vec::new());
    for ((candidate, decision), recorded) in decided.into_iter().zip(recorded) {
        let place = match decision.answer {
            Answer::Yes if candidate.issue => {
                let id = DecisionId::from_digest(recorded.id.digest());
                writs.push(writ_record(store, &decision, id).await?.1);
                Some(writs.len() - 1)
            }
            _ => None,
        };
        judged.push((candidate, decision.answer, place));
    }
    let issued = store.record_batch(writs).await?;
    Ok(judged
        .into_iter()
        .map(|(candidate, answer, place)| Judged {
            candidate,
            answer,
            writ: place
                .and_then(|place| issued.get(place))
                .map(|recorded| WritId::from_digest(recorded.id.digest())),
        })
        .collect())
}
