//! What pages and the interface for programs count and compare: every number is made here, once,
//! so that two pages can never disagree.

pub mod change;
pub mod emergency;
pub mod environment;
pub mod exceptions;
pub mod exemption;
pub mod people;
pub mod posture;
pub mod release;
pub mod stock;
pub mod tally;
pub mod waiting;

use writ_model::EvidenceItem;
use writ_registry::{Query, Store};

use crate::http::Problem;

/// The newest evidence that a query finds.
///
/// # Errors
/// The index cannot be read.
pub async fn newest(store: &Store, query: Query) -> Result<Option<EvidenceItem>, Problem> {
    let page = store.evidence(&Query { limit: 1, ..query }).await?;
    Ok(page.items.into_iter().next())
}

/// A fact of an item that is a text.
#[must_use]
pub fn fact<'a>(item: &'a EvidenceItem, name: &str) -> Option<&'a str> {
    item.facts.get(name).and_then(|value| value.as_str())
}

/// A fact of an item in its own type; `None` also where it has another shape.
#[must_use]
pub fn typed<T: serde::de::DeserializeOwned>(item: &EvidenceItem, name: &str) -> Option<T> {
    item.facts
        .get(name)
        .and_then(|value| T::deserialize(value).ok())
}
