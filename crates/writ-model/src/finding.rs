//! One normalised problem: the same struct whatever tool found it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::severity::Severity;

/// What kind of problem a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Credential material.
    Secret,
    /// A weakness in our own code.
    Code,
    /// A quality problem without security weight.
    Quality,
    /// A known vulnerability of a component.
    Vulnerability,
    /// Infrastructure code or container build that is unsafe.
    Misconfiguration,
    /// A licence that needs judgement.
    License,
    /// Found by talking to the running service.
    Dynamic,
}

/// A public or tool-owned name of the problem.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Identifier {
    /// `CVE`, `GHSA`, `CWE`, `OSV`, `RUSTSEC`, `PYSEC`, `OWASP`, `AVD`, …
    pub kind: String,
    /// `CVE-2026-31817`, `CWE-89`.
    pub value: String,
}

/// Where the problem is. Line numbers are for people: they never enter the fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Location {
    /// A place in a file of the repository, relative, with forward slashes.
    File {
        /// Path relative to the repository.
        path: String,
        /// First line, 1-based.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        line: Option<u32>,
        /// Last line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end_line: Option<u32>,
        /// First column, 1-based.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<u32>,
        /// Commit that holds it, for history scans.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
        /// Address of the resource (`aws_s3_bucket.logs`, `Deployment/payments`), for infrastructure code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<String>,
    },
    /// A component.
    Package {
        /// Package URL where the tool gives one or it can be derived.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purl: Option<String>,
        /// Package name.
        name: String,
        /// Installed version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Lock file or path inside the image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// A place in a running service.
    Url {
        /// Absolute URL without credentials.
        url: String,
        /// HTTP method.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
        /// Parameter name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter: Option<String>,
    },
    /// The report names no place.
    None,
}

/// How to get rid of a finding, as far as the tool knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// Versions that no longer have the problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Advice in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Somebody asked the tool to keep silent about a finding. Always *unapproved* until an exemption covers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    /// `in-source`, `ignore-file`, `vex`, `external`.
    pub kind: String,
    /// The tool's status word, when it has one (`accepted`, `under-review`, `rejected`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The stated reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<String>,
}

/// One normalised problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Writ's own fingerprint: stable under line moves, tool upgrades and severity changes.
    pub fingerprint: Digest,
    /// Kind of problem.
    pub category: Category,
    /// The tool's rule: `CVE-2026-31817`, `python.sql-injection`, `CKV_AWS_20`.
    pub rule: String,
    /// One line for people.
    pub title: String,
    /// Normalised severity.
    pub severity: Severity,
    /// The tool's own severity word or number.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub raw_severity: String,
    /// CVSS base score in tenths (81 = 8.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cvss_tenths: Option<u16>,
    /// Public names, aliases folded, sorted, without the rule itself repeated under another case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// Where it is.
    pub location: Location,
    /// How to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// Further text for people, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Silenced in the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<Suppression>,
    /// The tool's own fingerprints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Keyed hash of the secret (hex), for category secret: the secret itself is never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_hash: Option<String>,
}

impl Finding {
    /// The preferred public name: the first CVE, else GHSA, else the rule.
    #[must_use]
    pub fn name(&self) -> &str {
        for kind in ["CVE", "GHSA"] {
            if let Some(identifier) = self.identifiers.iter().find(|i| i.kind == kind) {
                return &identifier.value;
            }
        }
        &self.rule
    }

    /// True where a version that has the fix is known.
    #[must_use]
    pub fn has_fix(&self) -> bool {
        self.fix
            .as_ref()
            .is_some_and(|fix| !fix.versions.is_empty())
    }
}

/// A component of an SBOM.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// SPDX licence expressions or names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
}
