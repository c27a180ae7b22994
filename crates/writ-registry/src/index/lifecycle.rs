//! The life of findings: what one scan changes in its stream.
//!
//! A **stream** is the sequence of scans with the same (service, evidence type, tool, scope): only
//! they look at the same things, so only they can say that something is gone. Pure functions; the
//! projector turns the changes into rows.

use std::collections::HashMap;

use writ_model::{Digest, EvidenceItem, Finding, Location, Outcome, Timestamp};

/// What the index keeps about a finding that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Digest of the finding's line, cut to 63 bits.
    pub content: i64,
    /// Open or fixed.
    pub open: bool,
}

/// A finding of the new scan, as the index keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub fingerprint: Digest,
    pub content: i64,
    pub severity: i64,
    pub category: String,
    pub rule: String,
    pub name: String,
    pub title: String,
    pub place: String,
    pub fixable: bool,
    pub suppressed: bool,
}

/// What changes: references into the scan, and the fingerprints that are gone.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    /// Never seen in this stream.
    pub new: Vec<&'a Seen>,
    /// Open before and now, but its text, severity or place differs.
    pub changed: Vec<&'a Seen>,
    /// Fixed before, here again: keeps its first sighting.
    pub reopened: Vec<&'a Seen>,
    /// Open before, not here.
    pub fixed: Vec<Digest>,
}

/// Longest text kept in the index, in characters; the whole text is in the locker.
const MAX_TEXT: usize = 300;

impl Seen {
    /// Of a finding and the line that holds it.
    pub(crate) fn new(finding: &Finding, line: &[u8]) -> Self {
        let digest = Digest::of(line);
        let mut eight = [0_u8; 8];
        eight.copy_from_slice(&digest.as_bytes()[..8]);
        let category = match serde_json::to_value(finding.category) {
            Ok(serde_json::Value::String(word)) => word,
            _ => String::new(),
        };
        Self {
            fingerprint: finding.fingerprint,
            content: i64::from_be_bytes(eight) & i64::MAX,
            severity: finding.severity as i64,
            category,
            rule: cut(&finding.rule),
            // Names are counted under what the database keeps.
            name: cut(finding.name()).replace('\0', "\u{fffd}"),
            title: cut(&finding.title),
            place: cut(&place(&finding.location)),
            fixable: finding.has_fix(),
            suppressed: finding.suppression.is_some(),
        }
    }
}

/// One line that says where a finding is.
pub(crate) fn place(location: &Location) -> String {
    match location {
        Location::File {
            path,
            line,
            resource,
            ..
        } => {
            let mut text = path.clone();
            if let Some(line) = line {
                text.push_str(&format!(":{line}"));
            }
            if let Some(resource) = resource {
                text.push_str(&format!(" ({resource})"));
            }
            text
        }
        Location::Package {
            purl,
            name,
            version,
            path,
        } => {
            let mut text = purl.clone().unwrap_or_else(|| match version {
                Some(version) => format!("{name}@{version}"),
                None => name.clone(),
            });
            if let Some(path) = path {
                text.push_str(&format!(" ({path})"));
            }
            text
        }
        Location::Url { url, parameter, .. } => match parameter {
            Some(parameter) => format!("{url} ({parameter})"),
            None => url.clone(),
        },
        Location::None => String::new(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

/// Whether a scan may change the life of findings: it ran to its end, really looked, speaks for a
/// commit, and is not older than what the stream knows already. (A cached or late result repeats
/// an old observation: it can neither close nor open anything.)
pub(crate) fn speaks(item: &EvidenceItem, last_observed: Option<Timestamp>) -> bool {
    item.outcome == Outcome::Completed
        && !item.dirty
        && item.looked_at.iter().any(|looked| looked.count > 0)
        && last_observed.is_none_or(|last| item.observed_at >= last)
}

/// What `scan` (sorted by fingerprint, each once) changes.
pub(crate) fn changes<'a>(known: &HashMap<Digest, Known>, scan: &'a [Seen]) -> Changes<'a> {
    let mut changes = Changes::default();
    for seen in scan {
        match known.get(&seen.fingerprint) {
            None => changes.new.push(seen),
            Some(known) if !known.open => changes.reopened.push(seen),
            Some(known) if known.content != seen.content => changes.changed.push(seen),
            Some(_) => {}
        }
    }
    changes.fixed = known
        .iter()
        .filter(|(fingerprint, known)| {
            known.open
                && scan
                    .binary_search_by(|seen| seen.fingerprint.cmp(fingerprint))
                    .is_err()
        })
        .map(|(fingerprint, _)| *fingerprint)
        .collect();
    changes.fixed.sort_unstable();
    changes
}
