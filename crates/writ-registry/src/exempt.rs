//! Exemptions at the door: who may ask, who may answer, and what is recorded.
//!
//! An exemption is known by its number, `EX-n`, which follows the order of the ledger. On an
//! embedded store people are local accounts, recorded with the assurance `local-user`.

use writ_evidence::canonical;
use writ_evidence::predicate::{
    Actor, Exemption, ExemptionAnswer, ExemptionCategory, ExemptionGrant, ExemptionRequest,
};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, STATEMENT_V1, Statement};
use writ_model::{Assurance, Digest, EvidenceId, PrincipalId, Timestamp};

use crate::error::{RegistryError, Result};
use crate::index::{lists::ExemptionRow, may_answer};
use crate::record::{NewRecord, Recorded};
use crate::store::Store;

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct ExemptionAsk {
    /// Service.
    pub service: String,
    /// Environments; empty: all of the service.
    pub environments: Vec<String>,
    /// Controls whose checks may be unsatisfied.
    pub controls: Vec<String>,
    /// Fingerprints of findings; empty together with `identifiers`: the whole checks.
    pub findings: Vec<Digest>,
    /// Public names of findings, such as CVE ids.
    pub identifiers: Vec<String>,
    /// Why it cannot be fixed now.
    pub reason: String,
    /// What kind of exemption it is.
    pub category: Option<ExemptionCategory>,
    /// What limits the harm meanwhile.
    pub compensating: Option<String>,
    /// Where the fix is planned.
    pub ticket: Option<String>,
    /// When it should end.
    pub expires_at: Timestamp,
}

/// An answer to a request, or the end of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExemptionReply {
    /// Yes, until then (`None`: until the time that was asked for).
    Grant {
        /// When it ends; never later than what was asked for.
        expires_at: Option<Timestamp>,
        /// In their words.
        reason: Option<String>,
    },
    /// No.
    Deny {
        /// Why.
        reason: String,
    },
    /// No longer.
    Revoke {
        /// Why.
        reason: String,
    },
}

impl Store {
    /// Records a request; the number is in the answer.
    ///
    /// # Errors
    /// The request breaks a rule (no reason, no control, an end in the past), or cannot be recorded.
    pub async fn request_exemption(
        &self,
        ask: ExemptionAsk,
        requester: &PrincipalId,
    ) -> Result<(ExemptionRow, Recorded)> {
        self.request_exemption_as(ask, &local(requester)).await
    }

    /// As [`Store::request_exemption`], by somebody who signed in as their assurance says.
    ///
    /// # Errors
    /// As [`Store::request_exemption`].
    pub async fn request_exemption_as(
        &self,
        ask: ExemptionAsk,
        requester: &Actor,
    ) -> Result<(ExemptionRow, Recorded)> {
        let request = ExemptionRequest {
            service: ask.service.clone(),
            environments: ask.environments,
            controls: ask.controls,
            findings: ask.findings,
            identifiers: ask.identifiers,
            reason: ask.reason,
            category: ask.category,
            compensating: ask.compensating,
            ticket: ask.ticket,
            requested_by: requester.clone(),
            expires_at: ask.expires_at,
            observed_at: self.now(),
        };
        let about = ResourceDescriptor::sha256(
            format!("service:{}", ask.service),
            Digest::of(ask.service.as_bytes()),
        );
        let recorded = self
            .record_exemption(about, Exemption::Request(request))
            .await?;
        Ok((self.exemption_with(&recorded.id).await?, recorded))
    }

    /// Records an answer to the exemption `EX-n` (or its evidence id).
    ///
    /// # Errors
    /// There is no such exemption, the person may not give this answer (who requests cannot
    /// grant), or it cannot be recorded.
    pub async fn answer_exemption(
        &self,
        number: &str,
        reply: ExemptionReply,
        person: &PrincipalId,
    ) -> Result<(ExemptionRow, Recorded)> {
        self.answer_exemption_as(number, reply, &local(person))
            .await
    }

    /// As [`Store::answer_exemption`], by somebody who signed in as their assurance says. An account
    /// of the same person, as bindings say, is the same person.
    ///
    /// # Errors
    /// As [`Store::answer_exemption`].
    pub async fn answer_exemption_as(
        &self,
        number: &str,
        reply: ExemptionReply,
        actor: &Actor,
    ) -> Result<(ExemptionRow, Recorded)> {
        let (row, payload) = self
            .draft_exemption_answer(number, reply, actor, self.now())
            .await?;
        self.record_exemption_answer(&row, payload).await
    }

    /// The answer as the statement that would be recorded, made at this time. Nothing is recorded.
    ///
    /// # Errors
    /// As [`Store::answer_exemption`].
    pub async fn draft_exemption_answer(
        &self,
        number: &str,
        reply: ExemptionReply,
        actor: &Actor,
        observed_at: Timestamp,
    ) -> Result<(ExemptionRow, Vec<u8>)> {
        let row = self.exemption(number).await?;
        let refused = |reason: String| RegistryError::Exemption {
            number: row.human(),
            reason,
        };
        let word = match &reply {
            ExemptionReply::Grant { .. } => "granted",
            ExemptionReply::Deny { .. } => "denied",
            ExemptionReply::Revoke { .. } => "revoked",
        };
        let bindings = self.bindings(None).await?;
        let (asked, answers) = (
            bindings.person(&row.requester),
            bindings.person(&actor.principal),
        );
        may_answer(row.state.word(), &asked.0, word, &answers.0).map_err(refused)?;
        let (by, request) = (actor.clone(), row.id);
        let exemption = match reply {
            ExemptionReply::Grant { expires_at, reason } => {
                let asked = row.expires_at.unwrap_or(observed_at);
                let expires_at = expires_at.unwrap_or(asked);
                if expires_at > asked {
                    return Err(refused(format!(
                        "it was asked for until {asked}; a grant can be shorter, not longer"
                    )));
                }
                Exemption::Grant(ExemptionGrant {
                    request,
                    by,
                    reason,
                    expires_at,
                    observed_at,
                })
            }
            ExemptionReply::Deny { reason } => Exemption::Deny(ExemptionAnswer {
                request,
                by,
                reason,
                observed_at,
            }),
            ExemptionReply::Revoke { reason } => Exemption::Revoke(ExemptionAnswer {
                request,
                by,
                reason,
                observed_at,
            }),
        };
        let about = ResourceDescriptor::sha256(row.human(), row.id.digest());
        let payload = exemption_payload(about, exemption)?;
        Ok((row, payload))
    }

    /// Records an answer that was drafted for this exemption.
    ///
    /// # Errors
    /// Somebody else answered first, or it cannot be recorded.
    pub async fn record_exemption_answer(
        &self,
        row: &ExemptionRow,
        payload: Vec<u8>,
    ) -> Result<(ExemptionRow, Recorded)> {
        let recorded = self.record(NewRecord::payload(payload)).await?;
        let after = self.exemption_with(&row.id).await?;
        let took_effect = after.decided_index == Some(recorded.index)
            || after.revoked_index == Some(recorded.index);
        if took_effect {
            return Ok((after, recorded));
        }
        // Another answer was recorded between the look and the append: the ledger's order decides.
        Err(RegistryError::Exemption {
            number: row.human(),
            reason: format!(
                "somebody else answered first: it is {} now",
                after.state.word()
            ),
        })
    }

    /// The exemption with this number (`EX-118`, `118`) or evidence id.
    ///
    /// # Errors
    /// There is none.
    pub async fn exemption(&self, number: &str) -> Result<ExemptionRow> {
        if let Ok(id) = number.parse::<EvidenceId>() {
            return self.exemption_with(&id).await;
        }
        let digits = number
            .strip_prefix("EX-")
            .or_else(|| number.strip_prefix("ex-"))
            .unwrap_or(number);
        let found = match digits.parse() {
            Ok(number) => self.index().await?.exemption(number).await?,
            Err(_) => None,
        };
        found.ok_or_else(|| RegistryError::Exemption {
            number: number.chars().take(80).collect(),
            reason: "there is none with this number; `writ exemption list` shows them".to_owned(),
        })
    }

    async fn exemption_with(&self, id: &EvidenceId) -> Result<ExemptionRow> {
        self.index()
            .await?
            .exemption_of(id)
            .await?
            .ok_or_else(|| RegistryError::NotFound(id.to_string()))
    }

    async fn record_exemption(
        &self,
        about: ResourceDescriptor,
        exemption: Exemption,
    ) -> Result<Recorded> {
        let payload = exemption_payload(about, exemption)?;
        self.record(NewRecord::payload(payload)).await
    }
}

fn exemption_payload(about: ResourceDescriptor, exemption: Exemption) -> Result<Vec<u8>> {
    let statement = Statement {
        statement_type: STATEMENT_V1.to_owned(),
        subject: vec![about],
        predicate_type: Exemption::URI.to_owned(),
        predicate: exemption,
    };
    canonical::to_vec(&statement).map_err(|e| RegistryError::refused(0, e))
}

/// An account of this machine: anybody at that keyboard.
pub(crate) fn local(principal: &PrincipalId) -> Actor {
    Actor {
        principal: principal.clone(),
        role: None,
        assurance: Assurance::LocalUser,
        assertion: None,
    }
}
