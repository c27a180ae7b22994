//! Findings as rules see them: filtered, counted and sorted here, so that a rule stays small and
//! thousands of findings never become thousands of values.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use writ_model::{
    Category, Check, CheckItem, Digest, EvidenceItem, Finding, Location, Severity, SeverityCounts,
};

use crate::exempt::Live;
use crate::inputs::{FindingsSource, Inputs};
use crate::rule::FindingsWanted;

/// The wanted findings of one evidence type, without duplicates.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// By fingerprint; the number of the exemption that covers it.
    pub findings: BTreeMap<Digest, (Finding, Option<String>)>,
}

impl Gathered {
    /// Adds the wanted findings of an item.
    pub(crate) fn add(
        &mut self,
        item: &EvidenceItem,
        wanted: &FindingsWanted,
        with: &Map<String, Value>,
        source: &dyn FindingsSource,
    ) -> Result<(), String> {
        let Some(digest) = &item.findings else {
            let expected = if wanted.suppressed {
                item.suppressed
            } else {
                item.counts.total()
            };
            return if expected == 0 {
                Ok(())
            } else {
                Err(format!(
                    "{expected} findings were counted but their list was not recorded"
                ))
            };
        };
        let only = names(with, wanted.rules_from.as_deref());
        let except = names(with, wanted.except_from.as_deref());
        for finding in source.findings(digest)?.iter() {
            if wanted.suppressed != finding.suppression.is_some()
                || !(wanted.categories.is_empty() || wanted.categories.contains(&finding.category))
                || wanted
                    .at_least
                    .is_some_and(|least| finding.severity < least)
                || (wanted.rules_from.is_some() && !is_named(finding, &only))
                || is_named(finding, &except)
            {
                continue;
            }
            self.findings
                .entry(finding.fingerprint)
                .or_insert_with(|| (finding.clone(), None));
        }
        Ok(())
    }

    /// Marks what exemptions cover; returns how many each covers.
    pub(crate) fn mark(&mut self, exemptions: &[Live]) -> Vec<u64> {
        let mut covered = vec![0; exemptions.len()];
        for (finding, number) in self.findings.values_mut() {
            if let Some(at) = exemptions.iter().position(|e| e.covers(finding)) {
                covered[at] += 1;
                *number = Some(exemptions[at].number.clone());
            }
        }
        covered
    }

    /// As `input.findings[type]`; with `open_only`, what no exemption covers.
    pub(crate) fn view(&self, wanted: &FindingsWanted, inputs: &Inputs, open_only: bool) -> Value {
        let mut counts = SeverityCounts::default();
        let mut fixable = 0_u64;
        let mut kept: Vec<&Finding> = Vec::new();
        for (finding, exempted) in self.findings.values() {
            if open_only && exempted.is_some() {
                continue;
            }
            counts.add(finding.severity);
            fixable += u64::from(finding.has_fix());
            kept.push(finding);
        }
        sort(&mut kept);
        let limit = if wanted.all {
            usize::MAX
        } else {
            Check::MAX_ITEMS
        };
        let items: Vec<Value> = kept
            .iter()
            .take(limit)
            .map(|finding| {
                let mut value = serde_json::to_value(item(finding, None)).unwrap_or(Value::Null);
                if let Value::Object(map) = &mut value {
                    map.insert("fixable".into(), finding.has_fix().into());
                    map.insert("rule".into(), finding.rule.clone().into());
                    if let Some(since) = inputs.first_seen.get(&finding.fingerprint) {
                        let days = inputs.as_of.since(*since).secs().max(0) / 86_400;
                        map.insert("age_days".into(), days.into());
                    }
                }
                value
            })
            .collect();
        json!({
            "total": kept.len(),
            "fixable": fixable,
            "critical": counts.critical,
            "high": counts.high,
            "medium": counts.medium,
            "low": counts.low,
            "info": counts.info,
            "unknown": counts.unknown,
            "items": items,
        })
    }
}

/// Names listed by a parameter, `tool:rule` or `rule`.
fn names(with: &Map<String, Value>, parameter: Option<&str>) -> Vec<String> {
    let list = parameter
        .and_then(|name| with.get(name))
        .and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn is_named(finding: &Finding, names: &[String]) -> bool {
    names
        .iter()
        .any(|name| finding.rule == *name || finding.identifiers.iter().any(|i| i.value == *name))
}

/// The most severe first; then by name and place, so that lists never depend on the tool's order.
fn sort(findings: &mut [&Finding]) {
    findings.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| b.cvss_tenths.cmp(&a.cvss_tenths))
            .then_with(|| a.name().cmp(b.name()))
            .then_with(|| place(&a.location).cmp(&place(&b.location)))
            .then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
}

/// A finding as an item of a check.
pub(crate) fn item(finding: &Finding, exempted_by: Option<String>) -> CheckItem {
    CheckItem {
        fingerprint: Some(finding.fingerprint),
        name: finding.name().to_owned(),
        severity: (finding.severity != Severity::Unknown).then_some(finding.severity),
        text: text(finding),
        location: (finding.location != Location::None).then(|| finding.location.clone()),
        fix: fix(finding),
        exempted_by,
    }
}

fn text(finding: &Finding) -> String {
    match &finding.location {
        Location::Package { name, version, .. } if finding.category == Category::Vulnerability => {
            let version = version
                .as_ref()
                .map(|v| format!(" {v}"))
                .unwrap_or_default();
            let fixed = finding
                .fix
                .as_ref()
                .filter(|fix| !fix.versions.is_empty())
                .map(|fix| format!(", fixed in {}", fix.versions.join(", ")))
                .unwrap_or_else(|| ", no fixed version known".to_owned());
            format!("{name}{version}{fixed}: {}", finding.title)
        }
        _ => finding.title.clone(),
    }
}

fn fix(finding: &Finding) -> Option<String> {
    let fix = finding.fix.as_ref()?;
    match (&finding.location, fix.versions.last(), &fix.text) {
        (Location::Package { name, .. }, Some(version), _) => {
            Some(format!("Upgrade {name} to {version}"))
        }
        (_, _, Some(text)) => Some(text.clone()),
        (_, Some(version), None) => Some(format!("Upgrade to {version}")),
        _ => None,
    }
}

/// `path:line`, `name version` or the URL.
#[must_use]
pub fn place(location: &Location) -> String {
    match location {
        Location::File {
            path,
            line: Some(line),
            ..
        } => format!("{path}:{line}"),
        Location::File { path, .. } => path.clone(),
        Location::Package { name, version, .. } => version
            .as_ref()
            .map_or_else(|| name.clone(), |v| format!("{name} {v}")),
        Location::Url { url, .. } => url.clone(),
        Location::None => String::new(),
    }
}

/// Items of a check from gathered findings: the open ones first.
pub(crate) fn check_items(
    gathered: &BTreeMap<writ_model::EvidenceType, Gathered>,
) -> Vec<CheckItem> {
    let all: BTreeMap<&Digest, &(Finding, Option<String>)> =
        gathered.values().flat_map(|g| &g.findings).collect();
    let part = |exempted: bool| {
        let mut findings: Vec<&Finding> = all
            .values()
            .filter(|(_, number)| number.is_some() == exempted)
            .map(|(finding, _)| finding)
            .collect();
        sort(&mut findings);
        findings
            .into_iter()
            .map(|finding| item(finding, all[&finding.fingerprint].1.clone()))
            .collect::<Vec<_>>()
    };
    let mut items = part(false);
    items.extend(part(true));
    items
}
