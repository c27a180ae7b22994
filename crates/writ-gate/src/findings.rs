//! Findings as rules see them: filtered, counted and sorted here, so that a rule stays small and
//! thousands of findings never become thousands of values.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value, json};
use writ_model::{
    Category, Check, CheckItem, Digest, EvidenceItem, Finding, Location, Severity, SeverityCounts,
};

use crate::exempt::Live;
use crate::inputs::{FindingsSource, Inputs};
use crate::rule::FindingsWanted;

/// Lists of findings, each fetched once per decision however many rules read it.
pub(crate) struct Lists<'a> {
    source: &'a dyn FindingsSource,
    held: RefCell<HashMap<Digest, Result<List<'a>, String>>>,
}

type List<'a> = Rc<Cow<'a, [Finding]>>;

impl<'a> Lists<'a> {
    pub(crate) fn new(source: &'a dyn FindingsSource) -> Self {
        Self {
            source,
            held: RefCell::default(),
        }
    }

    fn get(&self, digest: &Digest) -> Result<List<'a>, String> {
        if let Some(known) = self.held.borrow().get(digest) {
            return known.clone();
        }
        let list = self.source.findings(digest).map(Rc::new);
        self.held.borrow_mut().insert(*digest, list.clone());
        list
    }
}

/// One wanted finding: where it stands, and the number of the exemption that covers it.
pub(crate) struct Entry<'a> {
    list: List<'a>,
    at: usize,
    exempted_by: Option<String>,
}

impl Entry<'_> {
    fn finding(&self) -> &Finding {
        &self.list[self.at]
    }
}

/// The wanted findings of one evidence type, without duplicates.
#[derive(Default)]
pub(crate) struct Gathered<'a> {
    entries: BTreeMap<Digest, Entry<'a>>,
}

impl<'a> Gathered<'a> {
    /// Adds the wanted findings of an item.
    pub(crate) fn add(
        &mut self,
        item: &EvidenceItem,
        wanted: &FindingsWanted,
        with: &Map<String, Value>,
        lists: &Lists<'a>,
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
        let list = lists.get(digest)?;
        for (at, finding) in list.iter().enumerate() {
            if wanted.suppressed != finding.suppression.is_some()
                || !(wanted.categories.is_empty() || wanted.categories.contains(&finding.category))
                || !severe_enough(finding.severity, wanted)
                || (wanted.rules_from.is_some() && !is_named(finding, &only))
                || is_named(finding, &except)
            {
                continue;
            }
            self.entries
                .entry(finding.fingerprint)
                .or_insert_with(|| Entry {
                    list: Rc::clone(&list),
                    at,
                    exempted_by: None,
                });
        }
        Ok(())
    }

    /// Marks what exemptions cover; returns how many each covers.
    pub(crate) fn mark(&mut self, exemptions: &[Live]) -> Vec<u64> {
        let mut covered = vec![0; exemptions.len()];
        for entry in self.entries.values_mut() {
            if let Some(at) = exemptions.iter().position(|e| e.covers(entry.finding())) {
                covered[at] += 1;
                entry.exempted_by = Some(exemptions[at].number.clone());
            }
        }
        covered
    }

    /// As `input.findings[type]`; with `open_only`, what no exemption covers.
    pub(crate) fn view(
        &self,
        wanted: &FindingsWanted,
        with: &Map<String, Value>,
        inputs: &Inputs,
        open_only: bool,
    ) -> Value {
        let mut counts = SeverityCounts::default();
        let mut fixable = 0_u64;
        let mut kept: Vec<&Finding> = Vec::new();
        let mut total = 0_u64;
        let age = |finding: &Finding| {
            let since = inputs.first_seen.get(&finding.fingerprint)?;
            Some(inputs.as_of.since(*since).secs().max(0) / 86_400)
        };
        // What is younger than every limit cannot be overdue: it is counted and not listed.
        let youngest = with.values().filter_map(Value::as_i64).min();
        for entry in self.entries.values() {
            let finding = entry.finding();
            if open_only && entry.exempted_by.is_some() {
                continue;
            }
            counts.add(finding.severity);
            fixable += u64::from(finding.has_fix());
            total += 1;
            let in_time = || match (age(finding), youngest) {
                (Some(age), Some(limit)) => age <= limit,
                _ => false,
            };
            if !(wanted.dated && in_time()) {
                kept.push(finding);
            }
        }
        sort(&mut kept);
        let shown = |finding: &Finding| {
            let mut value = serde_json::to_value(item(finding, None)).unwrap_or(Value::Null);
            if let Value::Object(map) = &mut value {
                map.insert("fixable".into(), finding.has_fix().into());
                map.insert("rule".into(), finding.rule.clone().into());
                if let Some(days) = age(finding).filter(|_| wanted.dated) {
                    map.insert("age_days".into(), days.into());
                }
            }
            value
        };
        let limit = if wanted.all {
            usize::MAX
        } else {
            Check::MAX_ITEMS
        };
        let mut view = json!({
            "total": total,
            "fixable": fixable,
            "critical": counts.critical,
            "high": counts.high,
            "medium": counts.medium,
            "low": counts.low,
            "info": counts.info,
            "unknown": counts.unknown,
        });
        if wanted.by_rule {
            view["rules"] = by_rule(&kept, shown);
        } else {
            view["items"] = kept
                .iter()
                .take(limit)
                .map(|finding| shown(finding))
                .collect();
        }
        view
    }
}

/// Whether a finding is severe enough; one that nobody rated is, where the rule says so.
fn severe_enough(severity: Severity, wanted: &FindingsWanted) -> bool {
    wanted.at_least.is_none_or(|least| severity >= least)
        || (wanted.unrated && severity == Severity::Unknown)
}

/// Findings per tool rule: how many, and the first of each.
fn by_rule(findings: &[&Finding], shown: impl Fn(&Finding) -> Value) -> Value {
    let mut groups: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry(&finding.rule).or_default().push(finding);
    }
    groups
        .into_iter()
        .map(|(rule, findings)| {
            let items: Vec<Value> = findings
                .iter()
                .take(MAX_PER_RULE)
                .map(|finding| shown(finding))
                .collect();
            json!({"rule": rule, "count": findings.len(), "items": items})
        })
        .collect()
}

/// Findings listed per rule where a rule asks for groups.
const MAX_PER_RULE: usize = 10;

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
    gathered: &BTreeMap<writ_model::EvidenceType, Gathered<'_>>,
) -> (Vec<CheckItem>, u64) {
    let all: BTreeMap<&Digest, &Entry<'_>> =
        gathered.values().flat_map(|group| &group.entries).collect();
    let mut items = Vec::new();
    for exempted in [false, true] {
        let mut findings: Vec<&Finding> = all
            .values()
            .filter(|entry| entry.exempted_by.is_some() == exempted)
            .map(|entry| entry.finding())
            .collect();
        sort(&mut findings);
        let room = Check::MAX_ITEMS.saturating_sub(items.len());
        items.extend(findings.into_iter().take(room).map(|finding| {
            let exempted_by = all[&finding.fingerprint].exempted_by.clone();
            item(finding, exempted_by)
        }));
    }
    (items, all.len() as u64)
}
