//! What a statement must be to be recorded.

use std::fs::File;

use writ_evidence::predicate::{
    Approval, BreakGlass, Decision, Definition, Exemption, PredicateType, Rejection, Snapshot,
};
use writ_evidence::reference::Reference;
use writ_evidence::statement::{Predicate as _, Statement};
use writ_model::{Digest, EvidenceItem, ProducerClass};

use crate::error::{RegistryError, Result};
use crate::item::OWN;

/// Predicates that Writ knows must have their shape; of its own it must know them.
pub(crate) fn validate(
    statement: &Statement<serde_json::Value>,
) -> std::result::Result<(), String> {
    let kind = statement.predicate_type.as_str();
    if kind == Reference::URI {
        return Ok(());
    }
    match PredicateType::find(kind) {
        Some(known) => (known.check)(&statement.predicate)
            .map_err(|e| format!("predicate {}: {e}", known.name)),
        None if kind.starts_with(OWN) => Err(format!(
            "'{kind}' is not a predicate that this version of Writ knows"
        )),
        None => Ok(()),
    }
}

/// What nobody hands in from outside: what the server itself observed, which profile binds, what people
/// decided, and what the gate decided. The gate believes the first without a question, is chosen by the
/// second, and lets pass by the third; by the last a writ counts, or no longer.
pub(super) fn not_the_servers(
    statement: &Statement<serde_json::Value>,
    item: &EvidenceItem,
) -> std::result::Result<(), String> {
    if item.producer_class == ProducerClass::Server {
        return Err(
            "it says that the server itself observed it (producerClass server), and it was handed in"
                .to_owned(),
        );
    }
    if statement.predicate_type == Definition::URI && statement.predicate["kind"] == "profile" {
        return Err(
            "which profile binds is said with writ control bind at the store, not by evidence that is handed in"
                .to_owned(),
        );
    }
    // A signature proves a key, not a person: what people decide is recorded where they signed in.
    const BY_PEOPLE: [&str; 4] = [
        Approval::URI,
        Rejection::URI,
        Exemption::URI,
        BreakGlass::URI,
    ];
    if BY_PEOPLE.contains(&statement.predicate_type.as_str()) {
        return Err(
            "a person's decision was handed in; people approve, exempt and break the glass on the pages of this server, where they are signed in"
                .to_owned(),
        );
    }
    // The newest decision says whether a writ still counts: a copied yes would revive one that a no ended.
    if statement.predicate_type == Decision::URI {
        return Err(
            "a decision was handed in; the server judges its own store by its own controls: ask it with writ gate"
                .to_owned(),
        );
    }
    if statement.predicate_type == Snapshot::URI && !statement.predicate["compared"].is_null() {
        return Err(
            "it says that the store compared this snapshot with what was authorised (compared), and it was handed in: what runs is compared here"
                .to_owned(),
        );
    }
    Ok(())
}

/// The digest of a file, read in pieces.
///
/// # Errors
/// It cannot be read.
pub fn file_digest(path: &std::path::Path) -> Result<Digest> {
    use sha2::Digest as _;
    let mut file = File::open(path).map_err(|e| RegistryError::io("read", path, e))?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)
            .map_err(|e| RegistryError::io("read", path, e))?;
        if read == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&buffer[..read]);
    }
}
