//! `[[workload]]` in the settings: which jobs of which CI system are let in, and for what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

/// Jobs of a CI system that are let in without a stored secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSettings {
    /// Name of this rule, for messages, figures and entries of the ledger.
    pub name: String,
    /// Whose tokens.
    pub kind: Kind,
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// Where the issuer's keys are: an address or an absolute path. Absent: where the issuer's
    /// discovery document says.
    #[serde(default)]
    pub jwks: Option<String>,
    /// Authorities that vouch for the issuer's server, PEM. Absent: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Seconds within which the issuer's server must answer.
    #[serde(default = "five")]
    pub timeout_seconds: u32,
    /// Plain `http` to the loopback interface is allowed, for a CI system on this machine.
    #[serde(default)]
    pub allow_loopback: bool,
    /// The claim `aud`, exactly and alone.
    pub audience: String,
    /// How the issuer signs.
    #[serde(default = "only_rs256")]
    pub algorithms: Vec<Algorithm>,
    /// Services that such a job may record evidence of.
    pub services: Vec<String>,
    /// Only jobs on protected branches and tags. Their evidence may say `ci-protected`.
    #[serde(default = "yes")]
    pub protected_only: bool,
    /// What claims must be, each one text or several of which one must fit. `*` stands for any text.
    pub claims: BTreeMap<String, Pin>,
    /// Longest life of a token, in seconds.
    #[serde(default = "two_hours")]
    pub max_lifetime_seconds: u32,
    /// How long after the token's end the key of a job may still deliver, in seconds.
    #[serde(default = "five_minutes")]
    pub grace_seconds: u32,
}

/// CI systems whose tokens are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// GitLab `id_tokens`.
    Gitlab,
    /// GitHub Actions, `id-token: write`.
    Github,
}

/// Signature algorithms (RFC 7518, RFC 8037). There is no `none` and no HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Algorithm {
    /// RSA, PKCS#1 v1.5, SHA-256.
    RS256,
    /// ECDSA P-256, SHA-256.
    ES256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What a claim must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Pin {
    /// This.
    One(String),
    /// One of these.
    Any(Vec<String>),
}

fn only_rs256() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

const fn five() -> u32 {
    5
}

const fn yes() -> bool {
    true
}

const fn two_hours() -> u32 {
    7_200
}

const fn five_minutes() -> u32 {
    300
}

impl Kind {
    /// The claims that say which project a token is for; one of them must be pinned, without `*`.
    #[must_use]
    pub const fn project_claims(self) -> [&'static str; 2] {
        match self {
            Self::Gitlab => ["project_path", "project_id"],
            Self::Github => ["repository", "repository_id"],
        }
    }

    /// The claims that can be pinned. They are what is recorded of a job, too: no person is named in
    /// them.
    #[must_use]
    pub const fn claims(self) -> &'static [&'static str] {
        match self {
            Self::Gitlab => &[
                "project_path",
                "project_id",
                "namespace_path",
                "namespace_id",
                "pipeline_source",
                "pipeline_id",
                "job_id",
                "ref",
                "ref_type",
                "ref_path",
                "sha",
                "environment",
                "environment_protected",
                "deployment_tier",
                "runner_id",
                "runner_environment",
                "ci_config_ref_uri",
                "ci_config_sha",
                "project_visibility",
            ],
            Self::Github => &[
                "repository",
                "repository_id",
                "repository_owner",
                "repository_owner_id",
                "repository_visibility",
                "event_name",
                "run_id",
                "run_number",
                "run_attempt",
                "ref",
                "ref_type",
                "sha",
                "environment",
                "workflow",
                "workflow_ref",
                "workflow_sha",
                "job_workflow_ref",
                "job_workflow_sha",
                "runner_environment",
                "check_run_id",
            ],
        }
    }
}

impl Algorithm {
    /// The word in a token's header.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::RS256, Self::ES256, Self::EdDsa]
            .into_iter()
            .find(|known| known.word() == word)
    }
}

impl Pin {
    /// The patterns.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Any(any) => any,
        }
    }

    /// Whether a value fits.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        self.patterns().iter().any(|pattern| fits(pattern, value))
    }

    /// What is allowed, in words.
    #[must_use]
    pub fn shown(&self) -> String {
        self.patterns().join(" or ")
    }
}

/// Whether a value fits a pattern, in which `*` stands for any text. Takes time in proportion to the
/// product of the two lengths at most.
fn fits(pattern: &str, value: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == value;
    };
    let Some(mut left) = value.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    true
}

impl WorkloadSettings {
    /// Whether the rule can work.
    ///
    /// # Errors
    /// The key that cannot, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let plain = |text: &str| {
            (1..=100).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !plain(&self.name) {
            return Err((
                "workload.name",
                format!(
                    "'{}' is not a name of letters, digits, '-', '_' and '.'",
                    self.name
                ),
            ));
        }
        let refuse = |key, problem: &str| Err((key, format!("of '{}': {problem}", self.name)));
        let secure = self.issuer.starts_with("https://")
            || (self.allow_loopback && self.issuer.starts_with("http://"));
        if !secure {
            return refuse("workload.issuer", "it does not begin with https://");
        }
        if self.audience.is_empty() || self.audience.len() > 500 {
            return refuse("workload.audience", "it must have 1 to 500 bytes");
        }
        if self.algorithms.is_empty() {
            return refuse(
                "workload.algorithms",
                "none is named: RS256, ES256 or EdDSA",
            );
        }
        let unique: BTreeSet<&String> = self.services.iter().collect();
        if self.services.is_empty()
            || self.services.len() > writ_registry::keys::job::MAX_SERVICES
            || unique.len() != self.services.len()
            || self
                .services
                .iter()
                .any(|name| name.is_empty() || name.len() > 200)
        {
            return refuse(
                "workload.services",
                "name the services that such a job records for, each once, 1 to 100 of them",
            );
        }
        if !(60..=86_400).contains(&self.max_lifetime_seconds) {
            return refuse(
                "workload.max_lifetime_seconds",
                "it must lie between 60 and 86400",
            );
        }
        if !(1..=20).contains(&self.timeout_seconds) {
            return refuse("workload.timeout_seconds", "it must lie between 1 and 20");
        }
        if self.grace_seconds > 3_600 {
            return refuse("workload.grace_seconds", "it must be at most 3600");
        }
        self.check_claims()
    }

    fn check_claims(&self) -> Result<(), (&'static str, String)> {
        let key = "workload.claims";
        let known = self.kind.claims();
        for (name, pin) in &self.claims {
            let refuse = |problem: String| Err((key, format!("of '{}': {problem}", self.name)));
            if !known.contains(&name.as_str()) {
                return refuse(match name.as_str() {
                    "ref_protected" => {
                        "ref_protected is asked for by protected_only = true, which is the default"
                            .to_owned()
                    }
                    _ => format!("'{name}' is none of {}", known.join(", ")),
                });
            }
            let patterns = pin.patterns();
            if patterns.is_empty() || patterns.iter().any(String::is_empty) {
                return refuse(format!("{name} must be something"));
            }
            if self.kind.project_claims().contains(&name.as_str())
                && patterns.iter().any(|pattern| pattern.contains('*'))
            {
                return refuse(format!(
                    "{name} is named whole, without '*': who may create a project could let it in"
                ));
            }
        }
        let [first, second] = self.kind.project_claims();
        if !self.claims.contains_key(first) && !self.claims.contains_key(second) {
            return Err((
                key,
                format!(
                    "of '{}': pin {first} or {second}: else every project of the issuer could record evidence",
                    self.name
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_values() {
        for (pattern, value, expected) in [
            ("main", "main", true),
            ("main", "maint", false),
            ("main", "refs/heads/main", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release", false),
            ("release/*", "xrelease/1", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**x", "x", true),
        ] {
            assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
        }
    }
}
