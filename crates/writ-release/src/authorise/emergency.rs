//! Emergencies: what lets an artefact in without a writ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::{EvidenceId, Timestamp};
use writ_registry::{RegistryError, Store};

use super::Question;
use crate::breakglass::{Emergency, book, steps};

/// An emergency that is open for the artefact there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LetIn {
    /// Its opening.
    pub break_glass: EvidenceId,
    /// `BG-7`.
    pub name: String,
    /// Service.
    pub service: String,
    /// The commit that the artefact was made from, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Why it could not wait.
    pub reason: String,
    /// Until when a deployment may begin.
    pub ends_at: Timestamp,
}

/// The emergency that is open for what is asked. That somebody reviewed it ends it, whoever it was.
pub(super) async fn open(
    store: &Store,
    question: &Question,
    now: Timestamp,
    below: Option<u64>,
) -> Result<Option<LetIn>, RegistryError> {
    let all = book(&steps(store, below).await?, &|account| {
        Some(account.clone())
    });
    let service = |name: &str| {
        question
            .service
            .as_deref()
            .is_none_or(|asked| asked == name)
    };
    let open = all.into_iter().rev().find(|emergency| {
        service(&emergency.opening.release.service)
            && emergency.lets_in(&question.artifact, &question.environment, now)
    });
    Ok(open.map(|emergency| LetIn::of(&emergency)))
}

impl LetIn {
    fn of(emergency: &Emergency) -> Self {
        let release = &emergency.opening.release;
        Self {
            break_glass: emergency.id,
            name: emergency.human(),
            service: release.service.clone(),
            commit: release.commit.clone(),
            reason: emergency.opening.reason.clone(),
            ends_at: emergency.ends_at(),
        }
    }
}
