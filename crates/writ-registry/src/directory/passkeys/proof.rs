//! Whether what a statement claims is proven by the assertion that it embeds.

use serde_json::Value;
use writ_evidence::predicate::{Actor, Assertion};
use writ_evidence::statement::Statement;
use writ_evidence::webauthn::{self, ACTORS, Expected, RelyingParty};
use writ_model::{Assurance, EvidenceItem, Timestamp};

use super::book::PasskeyBook;
use crate::error::{RegistryError, Result};
use crate::store::Store;

/// Predicates in which people act.
const ACTS: [&str; 4] = [
    "urn:writ:predicate:approval:v1",
    "urn:writ:predicate:rejection:v1",
    "urn:writ:predicate:exemption:v1",
    "urn:writ:predicate:break-glass:v1",
];

/// Somebody who acts in a statement and claims a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The field of the predicate.
    pub field: &'static str,
    /// What the session proved, when the assertion does not count.
    pub session: Assurance,
    /// Why it does not count; `None`: it does.
    pub problem: Option<String>,
}

/// Judges every claim of a statement in the entry of this index.
pub(crate) fn claims(statement: &Statement<Value>, index: u64, book: &PasskeyBook) -> Vec<Claim> {
    if !ACTS.contains(&statement.predicate_type.as_str()) {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for field in ACTORS {
        let actor = statement.predicate.get(field).cloned();
        let actor = actor.and_then(|actor| serde_json::from_value::<Actor>(actor).ok());
        let Some(actor) = actor.filter(|actor| actor.assurance == Assurance::Webauthn) else {
            continue;
        };
        let said = actor.assertion.as_ref();
        let session = said.and_then(|assertion| assertion.session);
        let judged = match said {
            Some(assertion) => judge(statement, &actor, assertion, index, book),
            None => Err("no assertion of a passkey is embedded".to_owned()),
        };
        claims.push(Claim {
            field,
            session: session
                .filter(|session| *session < Assurance::Webauthn)
                .unwrap_or(Assurance::LocalUser),
            problem: judged.err(),
        });
    }
    claims
}

fn judge(
    statement: &Statement<Value>,
    actor: &Actor,
    assertion: &Assertion,
    index: u64,
    book: &PasskeyBook,
) -> std::result::Result<(), String> {
    let key = book.key_at(&actor.principal, &assertion.credential_id, index)?;
    let challenge = webauthn::challenge_of(statement)?;
    let expected = Expected {
        credential: &assertion.credential_id,
        key: &key.key,
        site: RelyingParty {
            id: &key.site,
            origin: None,
        },
        challenge: challenge.as_bytes(),
    };
    match webauthn::verify(assertion, &expected) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn claims_a_passkey(item: &EvidenceItem) -> bool {
    ACTS.contains(&item.predicate_type.as_str())
        && ACTORS.iter().any(|field| {
            let said = item.facts.get(*field).map(|actor| &actor["assurance"]);
            said.and_then(Value::as_str) == Some(Assurance::Webauthn.word())
        })
}

impl Store {
    /// Believes nobody: where evidence says that somebody acted with a passkey, the assertion is checked
    /// over the recorded statement with the passkey that was theirs when it was recorded. Where it
    /// proves nothing, what the session proved is left.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn weigh_passkeys(&self, items: &mut [EvidenceItem]) -> Result<()> {
        let claiming: Vec<&mut EvidenceItem> = items
            .iter_mut()
            .filter(|item| claims_a_passkey(item))
            .collect();
        if claiming.is_empty() {
            return Ok(());
        }
        let indices: Vec<u64> = claiming.iter().map(|item| item.index).collect();
        let (view, reader) = (self.log.view().await?, self.reader());
        let statements = tokio::task::spawn_blocking(move || {
            let read = |index: u64| -> Result<Statement<Value>> {
                let entry = view.read(index)?;
                let at = Timestamp::from_micros(entry.recorded_at());
                let checked = reader.check(entry.envelope(), at);
                let checked = checked.map_err(|problem| RegistryError::Entry {
                    index,
                    id: None,
                    problem,
                })?;
                Ok(checked.statement)
            };
            indices.into_iter().map(read).collect::<Result<Vec<_>>>()
        })
        .await??;
        let book = self.people_book().await?;
        for (item, statement) in claiming.into_iter().zip(&statements) {
            for claim in claims(statement, item.index, &book.passkeys) {
                let Some(problem) = claim.problem else {
                    continue;
                };
                if let Some(actor) = item
                    .facts
                    .get_mut(claim.field)
                    .and_then(Value::as_object_mut)
                {
                    actor.insert("assurance".to_owned(), claim.session.word().into());
                    actor.insert("unproven".to_owned(), problem.into());
                }
            }
        }
        Ok(())
    }
}
