//! What a statement must be to be recorded.

use std::fs::File;

use writ_evidence::predicate::PredicateType;
use writ_evidence::reference::Reference;
use writ_evidence::statement::{Predicate as _, Statement};
use writ_model::Digest;

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

pub(super) fn digest_of(path: &std::path::Path) -> Result<Digest> {
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
