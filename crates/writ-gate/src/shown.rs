//! What an approver is shown: the checks that do not read approvals themselves. An approval names
//! the digest of their states, so that it never depends on the decision that counts it, and no
//! longer counts when one of them changes.

use std::collections::BTreeSet;

use serde_json::json;
use writ_model::{Check, Decision, Digest, EvidenceType};

use crate::bundle::Bundle;
use crate::control::Control;
use crate::manifest::canonical_digest;

/// Whether a control judges what people said to the release.
pub(crate) fn reads_approvals(bundle: &Bundle, control: &Control) -> bool {
    bundle.rules.get(&control.rule).is_some_and(|rule| {
        let needs = &rule.needs;
        needs.evidence.contains(&EvidenceType::Approval)
            || needs.optional.contains(&EvidenceType::Approval)
    })
}

/// The checks of the gate that an approver is shown, in the order of the decision.
#[must_use]
pub fn shown_checks<'d>(bundle: &Bundle, decision: &'d Decision) -> Vec<&'d Check> {
    decision
        .checks
        .iter()
        .filter(|check| {
            let control = bundle.controls.get(&check.control);
            !control.is_some_and(|control| reads_approvals(bundle, control))
        })
        .collect()
}

/// The digest that an approval of this decision's release names as `checksHash`.
#[must_use]
pub fn shown_digest(bundle: &Bundle, decision: &Decision) -> Digest {
    digest(shown_checks(bundle, decision))
}

/// SHA-256 of the canonical list of what is judged: control, version, state, exemptions relied on.
/// Evidence is left out, so that a scan that is repeated with the same result changes nothing.
pub(crate) fn digest<'c>(checks: impl IntoIterator<Item = &'c Check>) -> Digest {
    let states: Vec<serde_json::Value> = checks
        .into_iter()
        .map(|check| {
            let exemptions: BTreeSet<String> = check
                .exemptions
                .iter()
                .map(|exemption| exemption.id.to_string())
                .collect();
            json!({
                "control": check.control,
                "version": check.version,
                "state": check.state,
                "exemptions": exemptions,
            })
        })
        .collect();
    canonical_digest(&states)
}
