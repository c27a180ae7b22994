//! What changed between two moments of an environment.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_evidence::predicate::Running;
use writ_model::{Digest, EvidenceId, Timestamp};

/// What ran at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// How it is written: `production@{-1}`.
    pub address: String,
    /// When the newest of its snapshots was taken.
    pub observed_at: Timestamp,
    /// The newest snapshot of each source then that could read everything.
    pub snapshots: Vec<EvidenceId>,
    /// What ran, by source.
    pub running: BTreeMap<String, Vec<Running>>,
}

/// What happened to something that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It runs now and did not.
    Appeared,
    /// It ran and does not now.
    Vanished,
    /// Another digest runs.
    Replaced,
    /// Another number runs.
    Scaled,
}

impl Change {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Appeared => "appeared",
            Self::Vanished => "vanished",
            Self::Replaced => "replaced",
            Self::Scaled => "scaled",
        }
    }
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// What happened.
    pub change: Change,
    /// Service, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its name where it runs.
    pub name: String,
    /// Who saw it.
    pub source: String,
    /// The digest before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    /// The digest after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
    /// How many ran before.
    pub replicas_before: u64,
    /// How many run after.
    pub replicas_after: u64,
}

type Digests = BTreeMap<Option<Digest>, u64>;

#[derive(Default)]
struct Sides {
    service: Option<String>,
    before: Digests,
    after: Digests,
}

/// What changed from one moment to another, by source and name.
#[must_use]
pub fn difference(before: &Moment, after: &Moment) -> Vec<Changed> {
    let mut all: BTreeMap<(&str, &str), Sides> = BTreeMap::new();
    for (moment, is_after) in [(before, false), (after, true)] {
        for (source, running) in &moment.running {
            for one in running {
                let sides = all.entry((source, &one.name)).or_default();
                if sides.service.is_none() {
                    sides.service.clone_from(&one.service);
                }
                let side = if is_after {
                    &mut sides.after
                } else {
                    &mut sides.before
                };
                let count = side.entry(one.artifact).or_default();
                *count = count.saturating_add(one.replicas);
            }
        }
    }
    let mut changed = Vec::new();
    for ((source, name), sides) in all {
        let mut push = |change,
                        before: Option<(&Option<Digest>, &u64)>,
                        after: Option<(&Option<Digest>, &u64)>| {
            changed.push(Changed {
                change,
                service: sides.service.clone(),
                name: name.to_owned(),
                source: source.to_owned(),
                before: before.and_then(|(digest, _)| *digest),
                after: after.and_then(|(digest, _)| *digest),
                replicas_before: before.map_or(0, |(_, count)| *count),
                replicas_after: after.map_or(0, |(_, count)| *count),
            });
        };
        let gone: Vec<_> = sides
            .before
            .iter()
            .filter(|(digest, _)| !sides.after.contains_key(*digest))
            .collect();
        let come: Vec<_> = sides
            .after
            .iter()
            .filter(|(digest, _)| !sides.before.contains_key(*digest))
            .collect();
        if let ([old], [new]) = (gone.as_slice(), come.as_slice()) {
            push(Change::Replaced, Some(*old), Some(*new));
        } else {
            for old in gone {
                push(Change::Vanished, Some(old), None);
            }
            for new in come {
                push(Change::Appeared, None, Some(new));
            }
        }
        let both: BTreeSet<_> = sides
            .before
            .keys()
            .filter(|digest| sides.after.contains_key(*digest))
            .collect();
        for digest in both {
            if let (Some(old), Some(new)) = (
                sides.before.get_key_value(digest),
                sides.after.get_key_value(digest),
            ) && old.1 != new.1
            {
                push(Change::Scaled, Some(old), Some(new));
            }
        }
    }
    changed
}
