//! [ResourceDescriptor](https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md)
//! and [DigestSet](https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use writ_model::Digest;

/// Digests of one thing, by algorithm: `sha256`, `gitCommit`, `gitTree`, `gitBlob`, …; the values
/// are lower-case hexadecimal.
pub type DigestSet = BTreeMap<String, String>;

/// Most digests of one resource.
const MAX_DIGESTS: usize = 16;

/// Longest digest, in hexadecimal digits (SHA-512).
const MAX_DIGEST_DIGITS: usize = 128;

/// A thing, named so that it can be matched (digest) and found (the rest).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// For people: not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the thing is identified; stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What the thing is: compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: DigestSet,
    /// The thing itself in base64; for less than 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where the thing can be had, when that differs from `uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_location: Option<String>,
    /// Media type of the thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Further facts.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub annotations: serde_json::Map<String, serde_json::Value>,
}

/// What is wrong with a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Without a digest nothing can be matched.
    #[error("has no digest; subjects are matched by digest only")]
    NoDigest,
    /// More digests than any real resource has.
    #[error("has {0} digests; expected at most {MAX_DIGESTS}")]
    TooManyDigests(usize),
    /// A digest that is not lower-case hexadecimal of a plausible or of the right length.
    #[error("digest {algorithm} is {value:?}; expected {expected}")]
    Digest {
        /// The algorithm, cut to 40 characters.
        algorithm: String,
        /// The value, cut to 140 characters.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
}

impl ResourceDescriptor {
    /// Something with a SHA-256 digest: an artefact, a file.
    pub fn sha256(name: impl Into<String>, digest: Digest) -> Self {
        Self::with_digest(name, "sha256", digest.to_hex())
    }

    /// A git commit, by its hexadecimal object id.
    pub fn git_commit(name: impl Into<String>, commit: impl Into<String>) -> Self {
        Self::with_digest(name, "gitCommit", commit)
    }

    /// Something with one digest of any algorithm.
    pub fn with_digest(name: impl Into<String>, algorithm: &str, value: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            digest: DigestSet::from([(algorithm.to_owned(), value.into())]),
            ..Self::default()
        }
    }

    /// The same thing, named by another digest too (for example `gitTree` beside `gitCommit`).
    #[must_use]
    pub fn and_digest(mut self, algorithm: &str, value: impl Into<String>) -> Self {
        self.digest.insert(algorithm.to_owned(), value.into());
        self
    }

    /// The SHA-256 digest, if there is a well-formed one.
    pub fn sha256_digest(&self) -> Option<Digest> {
        self.digest
            .get("sha256")
            .and_then(|value| value.parse().ok())
    }

    /// Whether both name the same thing: at least one algorithm in common, and equal values for
    /// all that are in common.
    pub fn matches(&self, other: &DigestSet) -> bool {
        let mut common = self
            .digest
            .iter()
            .filter_map(|(name, value)| Some((value, other.get(name)?)))
            .peekable();
        common.peek().is_some() && common.all(|(mine, theirs)| mine == theirs)
    }

    /// Whether the resource can stand as a subject.
    ///
    /// # Errors
    /// No digest, or one that is malformed.
    pub fn check_as_subject(&self) -> Result<(), ResourceError> {
        if self.digest.is_empty() {
            return Err(ResourceError::NoDigest);
        }
        self.check_digests()
    }

    /// Whether all digests are well-formed.
    ///
    /// # Errors
    /// One is malformed, or there are too many.
    pub fn check_digests(&self) -> Result<(), ResourceError> {
        if self.digest.len() > MAX_DIGESTS {
            return Err(ResourceError::TooManyDigests(self.digest.len()));
        }
        for (algorithm, value) in &self.digest {
            let (fits, expected): (fn(usize) -> bool, _) = match algorithm.as_str() {
                "sha256" => (|length| length == 64, "64 lower-case hexadecimal digits"),
                "sha512" => (|length| length == 128, "128 lower-case hexadecimal digits"),
                name if name.starts_with("git") => (
                    |length| length == 40 || length == 64,
                    "40 or 64 lower-case hexadecimal digits",
                ),
                _ => (
                    |length| (8..=MAX_DIGEST_DIGITS).contains(&length),
                    "8 to 128 lower-case hexadecimal digits",
                ),
            };
            let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            // dirHash values are written `h1:<base64>` by the tools that make them.
            let free_form = algorithm.starts_with("dirHash")
                && value.len() <= MAX_DIGEST_DIGITS
                && !value.is_empty();
            if algorithm.is_empty()
                || !(free_form || fits(value.len()) && value.bytes().all(lower_hex))
            {
                return Err(ResourceError::Digest {
                    algorithm: algorithm.chars().take(40).collect(),
                    value: value.chars().take(140).collect(),
                    expected,
                });
            }
        }
        Ok(())
    }
}
