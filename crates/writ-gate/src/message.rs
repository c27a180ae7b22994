//! The sentences that the gate itself says, before and around a rule's own.

use writ_model::{
    Check, CheckItem, EvidenceItem, EvidenceRef, EvidenceType, Origin, ProducerClass, State, WayOut,
};

use crate::control::{Control, Exempt};
use crate::select::tool_name;

/// A noun for a type of evidence, without article.
#[must_use]
pub const fn noun(kind: EvidenceType) -> &'static str {
    use EvidenceType as T;
    match kind {
        T::SecretScan => "secret scan",
        T::Sast => "code scan",
        T::CodeQuality => "quality report",
        T::Coverage => "coverage report",
        T::UnitTest => "test report",
        T::DependencyScan => "dependency scan",
        T::Sbom => "SBOM",
        T::IacScan => "infrastructure scan",
        T::ContainerScan => "image scan",
        T::ImageSignature => "image signature",
        T::Provenance => "provenance",
        T::Dast => "dynamic test",
        T::CodeReview => "code review",
        T::Approval => "approval",
        T::SegregationOfDuties => "separation-of-duties record",
        T::BranchProtection => "branch protection record",
        T::PipelineDefinition => "pipeline definition record",
        T::Deployment => "deployment record",
        T::Rollback => "rollback record",
        T::DriftCheck => "drift check",
        T::HostProfile => "host profile",
        T::RuntimeAlert => "runtime monitoring record",
        T::VulnerabilitySla => "vulnerability age record",
        T::SecretsRotation => "secret rotation record",
        T::AccessReview => "access review",
        T::Exemption => "exemption",
        T::BreakGlass => "break-glass record",
        T::AuditLog => "ledger verification",
        T::Retention => "retention record",
    }
}

/// One line about a piece of evidence: tool, denominators, age of data, where it comes from.
#[must_use]
pub fn evidence_ref(item: &EvidenceItem) -> EvidenceRef {
    let mut parts = Vec::new();
    match &item.tool {
        Some(tool) if !tool.version.is_empty() => {
            parts.push(format!("{} {}", tool.name, tool.version))
        }
        _ => parts.push(tool_name(item).to_owned()),
    }
    parts.extend(
        item.looked_at
            .iter()
            .map(|looked_at| counted(looked_at.count, &looked_at.what)),
    );
    if let Some(database) = &item.database {
        match database.updated_at {
            Some(updated_at) => parts.push(format!(
                "database {} old",
                item.observed_at.since(updated_at).human()
            )),
            None => parts.push(database.name.clone()),
        }
        parts.extend(database.label.clone());
    }
    match item.producer_class {
        ProducerClass::Laptop => parts.push("made on a laptop".to_owned()),
        ProducerClass::Ci => parts.push("unprotected CI job".to_owned()),
        ProducerClass::CiProtected | ProducerClass::Server => {}
    }
    if item.origin == Origin::HandedIn {
        parts.push("handed in".to_owned());
    }
    EvidenceRef {
        id: item.id,
        summary: parts.join(", "),
    }
}

/// A count with its plural noun, `1 file` and `2 files`.
fn counted(count: u64, nouns: &str) -> String {
    let one = match nouns.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => nouns.strip_suffix('s').unwrap_or(nouns).to_owned(),
    };
    let noun = if count == 1 { one.as_str() } else { nouns };
    format!("{} {noun}", grouped(count))
}

/// `6120` as `6,120`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The way out beside fixing.
#[must_use]
pub fn way_out(control: &Control, items: &[CheckItem]) -> WayOut {
    match &control.exempt {
        Exempt::By { by, max_days } => {
            let open: Vec<&CheckItem> = items
                .iter()
                .filter(|item| item.exempted_by.is_none() && item.fingerprint.is_some())
                .collect();
            let finding = open
                .first()
                .map(|item| format!(" --finding {}", finding_name(item)))
                .unwrap_or_default();
            let others = match open.len() {
                0 | 1 => "",
                _ => "; name each finding it is for",
            };
            WayOut {
                command: Some(format!("writ exempt request {}{finding}", control.id)),
                text: format!("up to {max_days} days, decided by {by}{others}"),
            }
        }
        Exempt::Never(_) => {
            let reason = control
                .no_exempt
                .as_deref()
                .unwrap_or("the control cannot be exempted");
            WayOut {
                command: None,
                text: format!("no exemption exists for {}: {reason}", control.id),
            }
        }
    }
}

/// How an exemption names a finding: a public name where it is one problem everywhere, else the
/// beginning of its fingerprint, because a rule's name would cover every place it finds.
fn finding_name(item: &CheckItem) -> String {
    let public = ["CVE-", "GHSA-", "RUSTSEC-", "PYSEC-"];
    match &item.fingerprint {
        Some(fingerprint)
            if !public.iter().any(|p| item.name.starts_with(p))
                // The name comes from a report and goes into a command that people copy.
                || !item.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            fingerprint.to_hex().chars().take(12).collect()
        }
        _ => item.name.clone(),
    }
}

/// The word after the slash of a message code where no rule gave one.
#[must_use]
pub const fn default_code(state: State) -> &'static str {
    match state {
        State::Pass => "ok",
        State::NotApplicable => "not-applicable",
        other => other.word(),
    }
}

/// A check without anything judged yet.
#[must_use]
pub fn blank(control: &Control, state: State, title: String) -> Check {
    Check {
        control: control.id.clone(),
        version: control.version,
        code: format!("{}/{}", control.id, default_code(state)),
        state,
        title,
        found: Vec::new(),
        required: control.required.clone(),
        why: control.why.clone(),
        owner: control.owner.clone(),
        fix: Vec::new(),
        or: None,
        evidence: Vec::new(),
        items: Vec::new(),
        items_total: 0,
        exemptions: Vec::new(),
        maps: control.maps_to(),
    }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (6_120, "6,120"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
