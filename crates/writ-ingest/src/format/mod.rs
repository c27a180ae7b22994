//! The table of formats. Adding one is a new file beside this, one line in [`FORMATS`], and a sample.

mod bandit;
mod cargo_audit;
mod checkov;
mod cobertura;
mod common;
mod cyclonedx;
mod git_secrets;
mod gitleaks;
mod gosec;
mod grype;
mod hadolint;
mod jacoco;
mod junit;
mod lcov;
mod npm_audit;
mod nuclei;
mod osv_scanner;
mod pip_audit;
mod sarif;
mod semgrep;
mod spdx;
mod syft;
mod tfsec;
mod trivy;
mod wapiti;
mod zap;

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

    /// True for tools that write nothing at all when they find nothing.
    fn empty_is_clean(&self) -> bool {
        false
    }

    /// What a stored copy must not hold.
    fn redaction(&self) -> Redaction {
        Redaction::None
    }
}

/// All formats.
pub const FORMATS: &[&dyn Format] = &[
    &sarif::Sarif,
    &gitleaks::Gitleaks,
    &git_secrets::GitSecrets,
    &semgrep::Semgrep,
    &bandit::Bandit,
    &gosec::Gosec,
    &trivy::Trivy,
    &grype::Grype,
    &osv_scanner::OsvScanner,
    &pip_audit::PipAudit,
    &npm_audit::NpmAudit,
    &cargo_audit::CargoAudit,
    &cyclonedx::CycloneDx,
    &spdx::Spdx,
    &syft::Syft,
    &checkov::Checkov,
    &tfsec::Tfsec,
    &hadolint::Hadolint,
    &zap::Zap,
    &wapiti::Wapiti,
    &nuclei::Nuclei,
    &junit::Junit,
    &lcov::Lcov,
    &cobertura::Cobertura,
    &jacoco::Jacoco,
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

/// `{"results": []}` says nothing about its writer.
fn only_empty_results(head: &Head<'_>) -> Likeness {
    if head.has("results") && head.key_count() == 1 {
        Likeness::Possible
    } else {
        Likeness::No
    }
}

/// True when the first byte says XML.
fn is_xml(input: &mut Input<'_>) -> Result<bool, IngestError> {
    let head = input.head()?;
    Ok(head.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<'))
}
