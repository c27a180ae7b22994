//! The table of formats. Adding one is a new file beside this, one line in [`FORMATS`], and a sample.

mod gitleaks;
mod junit;
mod lcov;
mod sarif;
mod trivy;

use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::out::Out;
use crate::redact::Redaction;

/// What a format can bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Yield {
    /// Findings.
    Findings,
    /// Components of an SBOM.
    Components,
    /// Test cases.
    Tests,
    /// Coverage.
    Coverage,
}

/// A report format.
pub trait Format: Sync {
    /// Id for `--as` and adapters: `trivy-json`.
    fn id(&self) -> &'static str;

    /// Name for people.
    fn title(&self) -> &'static str;

    /// Media types, the preferred one first.
    fn media_types(&self) -> &'static [&'static str];

    /// What it brings.
    fn yields(&self) -> &'static [Yield];

    /// Whether the first bytes look like it.
    fn likeness(&self, head: &Head<'_>) -> Likeness;

    /// Reads a report to its end.
    ///
    /// # Errors
    /// See [`IngestError`].
    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError>;

    /// What a stored copy must not hold.
    fn redaction(&self) -> Redaction {
        Redaction::None
    }
}

/// All formats.
pub const FORMATS: &[&dyn Format] = &[
    &sarif::Sarif,
    &gitleaks::Gitleaks,
    &trivy::Trivy,
    &junit::Junit,
    &lcov::Lcov,
];

/// The format of an id.
///
/// # Errors
/// [`IngestError::NoSuchFormat`] with the nearest id.
pub fn by_id(id: &str) -> Result<&'static dyn Format, IngestError> {
    if let Some(format) = FORMATS.iter().find(|format| format.id() == id) {
        return Ok(*format);
    }
    let near = FORMATS
        .iter()
        .map(|format| (strsim::jaro_winkler(format.id(), id), format.id()))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    Err(IngestError::NoSuchFormat {
        given: crate::text::one_line(id, 60),
        hint: near.map_or_else(String::new, |(_, id)| format!(", did you mean '{id}'?")),
        known: known(),
    })
}

/// All ids for messages.
pub fn known() -> String {
    let ids: Vec<&str> = FORMATS.iter().map(|format| format.id()).collect();
    ids.join(", ")
}

/// Likeness of a format that recognises itself for sure or not at all.
fn certain_if(yes: bool) -> Likeness {
    if yes { Likeness::Certain } else { Likeness::No }
}
