//! Statements and the assertions in them.

use serde_json::Value;
use writ_model::Digest;

use crate::canonical;
use crate::predicate::Assertion;
use crate::statement::Statement;

/// Fields of predicates in which somebody acts.
pub const ACTORS: [&str; 3] = ["by", "requestedBy", "authorisedBy"];

/// What an assertion over a payload signs: SHA-256 of its canonical bytes without any assertion.
///
/// # Errors
/// The payload is no statement, in words.
pub fn challenge(payload: &[u8]) -> Result<Digest, String> {
    let statement: Statement<Value> =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    challenge_of(&statement)
}

/// As [`challenge`], of a statement that was read.
///
/// # Errors
/// It has no canonical form, in words.
pub fn challenge_of(statement: &Statement<Value>) -> Result<Digest, String> {
    let mut bare = statement.clone();
    for name in ACTORS {
        if let Some(actor) = bare.predicate.get_mut(name).and_then(Value::as_object_mut) {
            actor.remove("assertion");
        }
    }
    let bytes = canonical::to_vec(&bare).map_err(|error| error.to_string())?;
    Ok(Digest::of(&bytes))
}

/// The payload with an assertion of the actor in a field.
///
/// # Errors
/// Nobody acts there, in words.
pub fn embed(payload: &[u8], field: &str, assertion: &Assertion) -> Result<Vec<u8>, String> {
    let mut statement: Statement<Value> =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let value = serde_json::to_value(assertion).map_err(|error| error.to_string())?;
    statement
        .predicate
        .get_mut(field)
        .and_then(Value::as_object_mut)
        .ok_or_else(|| format!("nobody acts in the field '{field}'"))?
        .insert("assertion".to_owned(), value);
    canonical::to_vec(&statement).map_err(|error| error.to_string())
}
