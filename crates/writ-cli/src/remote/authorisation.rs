//! Whether a server's writ is what the server says: its bytes are named by its id, its id is in the
//! ledger whose key is known here, and what it says is judged here again.

use writ_evidence::predicate::{BreakGlass, VerificationSummary};
use writ_evidence::{Envelope, Predicate, Statement};
use writ_model::{EvidenceId, Timestamp};
use writ_release::authorise::{Authorisation, Candidate, Question, judge};
use writ_release::breakglass::Emergency;
use writ_render::EdgeError;

use super::Remote;
use crate::edge::{self, Edge};

impl Remote {
    /// Asks whether an artefact may be deployed, and believes a yes when the writ itself says so and
    /// the ledger holds it.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or does not prove its answer.
    pub async fn authorisation(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Result<Authorisation, EdgeError> {
        let artifact = question.artifact.to_string();
        let mut query = vec![
            ("artifact", artifact.as_str()),
            ("environment", question.environment.as_str()),
        ];
        if let Some(service) = &question.service {
            query.push(("service", service));
        }
        let answer: Authorisation = self.get("api/v1/authorisation", &query).await?;
        let unproved = |why: String| {
            edge::cannot_tell("the server does not prove that the artefact may be deployed")
                .at(self.address())
                .because(why)
                .try_this("writ verify-artifact        again; tell the operator when it stays")
        };
        let Some(claimed) = &answer.authorised else {
            return match &answer.emergency {
                None => Ok(answer),
                Some(claimed) => {
                    let id = claimed.break_glass;
                    let envelope = self
                        .client()
                        .envelope(&id.to_string())
                        .await
                        .map_err(|error| self.error(&error))?;
                    self.proof(id).await?;
                    open(question, &envelope, id, now).map_err(unproved)?;
                    Ok(answer)
                }
            };
        };
        let id = EvidenceId::from_digest(claimed.writ.digest());
        let envelope = self
            .client()
            .envelope(&id.to_string())
            .await
            .map_err(|error| self.error(&error))?;
        let summary: VerificationSummary = said(&envelope, id).map_err(&unproved)?;
        let proven = self.proof(id).await?;
        let candidate = Candidate {
            id: claimed.writ,
            index: proven.index,
            // Which keys count is the server's to know; that the writ says what it says is not.
            key_for: vec![question.environment.clone()],
            key: claimed.key.clone(),
            summary,
        };
        let judged = judge(question, &[candidate], &[], now);
        match judged.authorised {
            Some(_) => Ok(answer),
            None => Err(unproved(
                judged
                    .refused
                    .first()
                    .map(|refused| refused.reason.clone())
                    .unwrap_or_default(),
            )),
        }
    }
}

/// Whether the emergency with this id is about what is asked, and its time is not over. That it was
/// closed or reviewed meanwhile is the server's to know.
fn open(
    question: &Question,
    envelope: &[u8],
    id: EvidenceId,
    now: Timestamp,
) -> Result<(), String> {
    let BreakGlass::Open(opening) = said(envelope, id)? else {
        return Err(format!("{} opens no emergency", id.short()));
    };
    let emergency = Emergency {
        number: 0,
        id,
        index: 0,
        opened_at: opening.observed_at,
        opening: *opening,
        closed_at: None,
        review: None,
    };
    match emergency.lets_in(&question.artifact, &question.environment, now) {
        true => Ok(()),
        false => Err("the emergency is for something else, or over".to_owned()),
    }
}

/// What the statement with this id says. Its signature is the server's to check; its bytes are its id's.
fn said<P: Predicate>(envelope: &[u8], id: EvidenceId) -> Result<P, String> {
    #[derive(serde::Deserialize)]
    struct Raw {
        payload: String,
    }
    use base64::Engine as _;
    let parsed = Envelope::parse(envelope).map_err(|error| error.to_string())?;
    if parsed.payload_digest() != id.digest() {
        return Err(format!("it sent other bytes than those of {}", id.short()));
    }
    let raw: Raw = serde_json::from_slice(envelope).map_err(|error| error.to_string())?;
    let payload = base64::engine::general_purpose::STANDARD
        .decode(raw.payload)
        .map_err(|error| error.to_string())?;
    Statement::<P>::parse(&payload)
        .map(|statement| statement.predicate)
        .map_err(|error| error.to_string())
}
