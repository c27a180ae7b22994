//! `[[oidc]]` in the settings: identity providers at which people sign in.

use std::path::PathBuf;

use serde::Deserialize;
use writ_model::{Grant, Role};
use writ_registry::directory::MAX_ISSUER;

use super::super::workload::Algorithm;

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// Short name: part of the callback's address and of login names.
    pub key: String,
    /// Name on the button.
    pub name: String,
    /// The claim `iss`, exactly; its discovery document says where the endpoints are.
    pub issuer: String,
    /// The name of this server at the provider.
    pub client_id: String,
    /// File with the secret of this server at the provider; absent: a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Scopes that are asked for.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// How the provider signs.
    #[serde(default = "all")]
    pub algorithms: Vec<Algorithm>,
    /// Origins beside the issuer's own that its endpoints may have: `https://www.example.com`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Authorities that vouch for the provider's servers, PEM. Absent: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Seconds within which the provider must answer.
    #[serde(default = "five")]
    pub timeout_seconds: u32,
    /// Plain `http` to the loopback interface is allowed, for a provider on this machine.
    #[serde(default)]
    pub allow_loopback: bool,
    /// Whether names and claims are asked for at the provider's userinfo endpoint too.
    #[serde(default = "yes")]
    pub userinfo: bool,
    /// Whether somebody who signs in for the first time gets an account, without a role.
    #[serde(default = "yes")]
    pub new_people: bool,
    /// Classes (`acr`) that are asked for.
    #[serde(default)]
    pub acr_values: Vec<String>,
    /// Classes (`acr`) that count as a second factor.
    #[serde(default)]
    pub strong_acr: Vec<String>,
    /// Methods (`amr`, RFC 8176) that count as a second factor.
    #[serde(default = "mfa")]
    pub strong_amr: Vec<String>,
    /// Roles that follow from claims.
    #[serde(default)]
    pub roles: Vec<RoleRule>,
}

/// A role that follows from a claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRule {
    /// Name of the claim: a text or a list of texts.
    pub claim: String,
    /// The value that it must be or have.
    pub value: String,
    /// The role.
    pub role: Role,
    /// The service that it is limited to.
    #[serde(default, rename = "for")]
    pub service: Option<String>,
}

impl RoleRule {
    /// The role with its limit.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant {
            role: self.role,
            service: self.service.clone(),
        }
    }
}

fn default_scopes() -> Vec<String> {
    vec!["openid".to_owned(), "profile".to_owned()]
}

fn all() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDsa]
}

fn mfa() -> Vec<String> {
    vec!["mfa".to_owned()]
}

const fn five() -> u32 {
    5
}

const fn yes() -> bool {
    true
}

impl OidcSettings {
    /// Whether the settings can work.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let of = |problem: &str| format!("of '{}' {problem}", self.key.escape_debug());
        let refuse = |key, problem: &str| Err((key, of(problem)));
        let word = |text: &str, also: &str| {
            (1..=200).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || also.as_bytes().contains(&byte))
        };
        let short = self.key.len() <= 20 && word(&self.key, "-");
        if !short || self.key != self.key.to_ascii_lowercase() {
            return refuse("oidc.key", "is not 1 to 20 small letters, digits or -");
        }
        let name = self.name.chars().count();
        if !(1..=60).contains(&name) || self.name.chars().any(char::is_control) {
            return refuse("oidc.name", "does not have 1 to 60 characters");
        }
        let https = |text: &str| text.starts_with("https://") || text.starts_with("http://");
        if self.issuer.len() > MAX_ISSUER || !https(&self.issuer) {
            return refuse("oidc.issuer", "is not an address");
        }
        if !(1..=200).contains(&self.client_id.len())
            || !self.client_id.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return refuse("oidc.client_id", "is not 1 to 200 visible characters");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return refuse("oidc.scopes", "must have openid: it asks who somebody is");
        }
        let scope = |text: &String| {
            (1..=200).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
        };
        if self.scopes.len() > 20 || !self.scopes.iter().all(scope) {
            return refuse("oidc.scopes", "are more than 20, or one has a space in it");
        }
        if self.acr_values.len() > 20 || !self.acr_values.iter().all(scope) {
            return refuse(
                "oidc.acr_values",
                "are more than 20, or one has a space in it",
            );
        }
        if self.algorithms.is_empty() {
            return refuse("oidc.algorithms", "names none: nobody could sign in");
        }
        if !(1..=25).contains(&self.timeout_seconds) {
            return refuse("oidc.timeout_seconds", "is not 1 to 25");
        }
        for rule in &self.roles {
            if !(1..=200).contains(&rule.claim.len()) || !(1..=500).contains(&rule.value.len()) {
                return refuse("oidc.roles", "have an empty or too long claim or value");
            }
            if rule.role == Role::Service {
                return refuse(
                    "oidc.roles",
                    "give the role service: a machine signs in with a token, not as a person",
                );
            }
        }
        Ok(())
    }
}
