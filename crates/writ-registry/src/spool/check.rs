//! What a statement must be before it is queued: nothing may wait that could never be recorded.

use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::{KeyId, Purpose, Signer, TrustedKeys};
use writ_evidence::reference::{Holds, Reference};
use writ_evidence::statement::{Predicate as _, Statement};
use writ_evidence::{Envelope, canonical};
use writ_model::{Digest, EvidenceId, Timestamp};

use crate::item::{Checked, projected};
use crate::record::{Input, validate};

/// A signed statement that passed every check that can be made without its ledger.
pub(super) struct Sealed {
    pub id: EvidenceId,
    pub signer: KeyId,
    pub envelope: Envelope,
    pub observed_at: Timestamp,
    pub predicate_type: String,
    pub service: String,
    /// Files that it names, each with its role.
    pub names: Vec<(Digest, String)>,
}

/// Signs and checks; the error is a sentence.
pub(super) fn seal(
    input: &Input,
    signer: &dyn Signer,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Sealed, String> {
    let (envelope, payload, by) = match input {
        Input::Payload(payload) => {
            if !canonical::is_canonical(payload).map_err(|e| e.to_string())? {
                return Err(
                    "the payload is not canonical JSON (RFC 8785); build it with Statement::to_payload"
                        .to_owned(),
                );
            }
            let envelope = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload.clone(), signer)
                .map_err(|e| e.to_string())?;
            (envelope, payload.clone(), signer.key_id())
        }
        Input::Envelope(bytes) => {
            let envelope = Envelope::parse(bytes).map_err(|e| e.to_string())?;
            let verified = dsse::verify(&envelope, &keys.select(&Purpose::Producer, now), 1)
                .map_err(|e| format!("no producer key that is trusted here signed it: {e}"))?;
            let by = *verified.signers().first().ok_or("nobody signed it")?;
            (envelope, verified.into_content(), by)
        }
    };
    let statement = Statement::parse_any(&payload).map_err(|e| e.to_string())?;
    validate(&statement)?;
    let id = EvidenceId::of_payload(&payload);
    let about = projected(checked(statement, id, by)?, 0, now)?;
    let item = about.item;
    if item.observed_at > now {
        return Err(format!(
            "observedAt {} lies in the future (the clock here says {now}); set the producer's clock right",
            item.observed_at
        ));
    }
    Ok(Sealed {
        id,
        signer: by,
        envelope,
        observed_at: item.observed_at,
        predicate_type: item.predicate_type,
        service: item.service,
        names: about.blobs,
    })
}

/// As the registry would see it; what a reference refers to is not read here, only asked for.
fn checked(
    statement: Statement<serde_json::Value>,
    id: EvidenceId,
    signer: KeyId,
) -> Result<Checked, String> {
    if statement.predicate_type != Reference::URI {
        return Ok(Checked {
            id,
            signer,
            statement,
            whole: None,
            production: None,
            signed_by: None,
        });
    }
    let reference: Statement<Reference> = statement.into_typed().map_err(|e| e.to_string())?;
    let said = reference.predicate;
    if said.holds == Holds::Statement {
        return Err(
            "it refers to a whole statement: hand in that statement itself, whatever its size"
                .to_owned(),
        );
    }
    let production = said
        .production
        .as_ref()
        .map(serde_json::to_value)
        .transpose()
        .map_err(|e| e.to_string())?;
    Ok(Checked {
        id,
        signer,
        statement: Statement {
            statement_type: reference.statement_type,
            subject: reference.subject,
            predicate_type: said.predicate_type,
            predicate: serde_json::Value::Null,
        },
        whole: Some(said.digest),
        production,
        signed_by: None,
    })
}
