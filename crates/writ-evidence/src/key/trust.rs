//! Which keys are believed, for what, and during which time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use writ_model::Timestamp;

use super::{EcdsaEncoding, KeyError, KeyId, PublicKey};

/// What a key may sign. A key for one purpose proves nothing about another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// Checkpoints of the ledger.
    Log,
    /// Evidence: scans, runs, approvals, everything that is recorded.
    Producer,
    /// Writs for one environment, by name.
    Writ(String),
}

impl fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => formatter.write_str("log"),
            Self::Producer => formatter.write_str("producer"),
            Self::Writ(environment) => write!(formatter, "writ:{environment}"),
        }
    }
}

impl FromStr for Purpose {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "log" => Ok(Self::Log),
            "producer" => Ok(Self::Producer),
            _ => match text.strip_prefix("writ:") {
                Some(environment) if !environment.is_empty() => {
                    Ok(Self::Writ(environment.to_owned()))
                }
                _ => Err(KeyError::UnknownPurpose(text.chars().take(80).collect())),
            },
        }
    }
}

impl Serialize for Purpose {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Purpose {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Purpose".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What a key may sign: log, producer, or writ:<environment>.",
            "type": "string",
            "pattern": "^(log|producer|writ:.+)$",
        })
    }
}

/// One key, what it is trusted for, and when.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// What people call it; empty: its id.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// What it may sign.
    pub purposes: Vec<Purpose>,
    /// First moment at which its signatures count; `None`: always did.
    pub valid_from: Option<Timestamp>,
    /// First moment at which its signatures no longer count; `None`: still do.
    pub valid_until: Option<Timestamp>,
    /// Why its signatures no longer count from `valid_until` on, when it was revoked.
    pub revoked: Option<String>,
    /// How its ECDSA signatures are written.
    pub encoding: EcdsaEncoding,
}

impl TrustedKey {
    /// A key trusted for one purpose, at any time, with DER signatures.
    pub fn new(key: PublicKey, purpose: Purpose) -> Self {
        Self {
            name: String::new(),
            key,
            purposes: vec![purpose],
            valid_from: None,
            valid_until: None,
            revoked: None,
            encoding: EcdsaEncoding::Der,
        }
    }

    /// Whether a signature made at `at` for `purpose` counts.
    pub fn serves(&self, purpose: &Purpose, at: Timestamp) -> bool {
        self.purposes.contains(purpose)
            && self.valid_from.is_none_or(|from| from <= at)
            && self.valid_until.is_none_or(|until| at < until)
    }

    /// Why a signature of `at` for `purpose` does not count; `None`: it does.
    pub fn refusal(&self, purpose: &Purpose, at: Timestamp) -> Option<Refusal<'_>> {
        if !self.purposes.contains(purpose) {
            return Some(Refusal::Purpose(&self.purposes));
        }
        if let Some(from) = self.valid_from.filter(|from| at < *from) {
            return Some(Refusal::Early(from));
        }
        let until = self.valid_until.filter(|until| *until <= at)?;
        Some(match &self.revoked {
            Some(reason) => Refusal::Revoked(until, reason),
            None => Refusal::Retired(until),
        })
    }
}

/// Why a trusted key's signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// The key is trusted for other purposes only.
    Purpose(&'a [Purpose]),
    /// The key counts from later on.
    Early(Timestamp),
    /// The key was replaced.
    Retired(Timestamp),
    /// The key was revoked, and why.
    Revoked(Timestamp, &'a str),
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purpose(purposes) => {
                formatter.write_str("it is trusted only for ")?;
                for (number, purpose) in purposes.iter().enumerate() {
                    write!(
                        formatter,
                        "{}{purpose}",
                        if number == 0 { "" } else { ", " }
                    )?;
                }
                Ok(())
            }
            Self::Early(from) => write!(formatter, "it counts from {from} on"),
            Self::Retired(until) => write!(formatter, "it was retired: it counted until {until}"),
            Self::Revoked(until, reason) => {
                write!(formatter, "it was revoked from {until} on: {reason}")
            }
        }
    }
}

/// All keys of a trust root, with purposes and validity.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    keys: Vec<Arc<TrustedKey>>,
}

impl TrustedKeys {
    /// No keys: nothing verifies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. The same key may be added again, with other purposes or another validity.
    pub fn add(&mut self, key: TrustedKey) {
        self.keys.push(Arc::new(key));
    }

    /// All keys, in the order of their addition.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().map(Arc::as_ref)
    }

    /// The keys whose signatures count for `purpose` at `at`: the time at which the ledger
    /// recorded the entry, not the present.
    pub fn select(&self, purpose: &Purpose, at: Timestamp) -> KeySet {
        let mut keys: Vec<_> = self
            .keys
            .iter()
            .filter(|key| key.serves(purpose, at))
            .cloned()
            .collect();
        keys.sort_by_key(|key| key.key.id());
        KeySet { keys }
    }
}

impl FromIterator<TrustedKey> for TrustedKeys {
    fn from_iter<I: IntoIterator<Item = TrustedKey>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().map(Arc::new).collect(),
        }
    }
}

/// Keys selected for one purpose and one time: what [`crate::dsse::verify`] accepts.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// Sorted by id; the same id may occur twice with different encodings.
    keys: Vec<Arc<TrustedKey>>,
}

impl KeySet {
    /// How many keys there are (the same key in two encodings counts twice).
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing can verify.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys with this id.
    pub(crate) fn with_id(&self, id: KeyId) -> &[Arc<TrustedKey>] {
        let start = self.keys.partition_point(|key| key.key.id() < id);
        let end = self.keys.partition_point(|key| key.key.id() <= id);
        &self.keys[start..end]
    }

    /// All keys, by id.
    pub(crate) fn all(&self) -> &[Arc<TrustedKey>] {
        &self.keys
    }
}
