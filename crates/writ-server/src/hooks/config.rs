//! `[[webhook]]` of the settings: which system may deliver what about which services, and the secret that
//! proves it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use writ_model::{Digest, Severity};
use zeroize::Zeroizing;

/// Most webhooks of a server.
pub const MAX_HOOKS: usize = 100;
/// Largest secret file, in bytes.
const MAX_SECRET_FILE: u64 = 64 << 10;
/// Shortest secret, in bytes: shorter ones can be guessed.
const MIN_SECRET: usize = 16;
/// What a signing key of Standard Webhooks begins with.
const SIGNING_KEY: &str = "whsec_";

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// The last part of its address.
    pub name: Name,
    /// Whose deliveries it takes.
    pub system: System,
    /// File with its secrets, one a line; only its owner may read it. Every line is accepted, so that a
    /// secret is replaced without a gap. A line that begins with `whsec_` is a signing key.
    pub secret: PathBuf,
    /// Address of the system, without a path; GitHub's and GitLab's own when absent.
    #[serde(default)]
    pub url: Option<String>,
    /// Which repository (for alerts: which namespace) is which service; several where one repository holds
    /// several.
    #[serde(default)]
    pub services: BTreeMap<String, Services>,
    /// Branches whose changes and protection count; the repository's default branch when empty.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Environment that alerts and heartbeats are about.
    #[serde(default)]
    pub environment: Option<String>,
    /// The mildest alert that is recorded.
    #[serde(default = "medium")]
    pub least: Severity,
}

fn medium() -> Severity {
    Severity::Medium
}

/// Systems that may deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// GitHub and GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
    /// Anything that sends CloudEvents.
    Cloudevents,
    /// Falco, or Falcosidekick.
    Falco,
}

impl System {
    /// Its word in settings, figures and statements.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Cloudevents => "cloudevents",
            Self::Falco => "falco",
        }
    }

    /// Its address when the settings name none.
    #[must_use]
    pub const fn usual_url(self) -> &'static str {
        match self {
            Self::Github => "https://github.com",
            Self::Gitlab => "https://gitlab.com",
            Self::Cloudevents | Self::Falco => "",
        }
    }
}

/// A name for addresses: lower case, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = (1..=40).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain {
            Ok(Self(text))
        } else {
            Err(format!(
                "the name '{}' must have 1 to 40 lower-case letters, digits and hyphens: it is part of an address",
                crate::http::problem::shown(&text)
            ))
        }
    }
}

impl Name {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One service or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct Services(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Services {
    type Error = String;

    fn try_from(given: OneOrMany) -> Result<Self, String> {
        let services = match given {
            OneOrMany::One(service) => vec![service],
            OneOrMany::Many(services) => services,
        };
        if services.is_empty() || services.len() > 50 {
            return Err("a repository is 1 to 50 services".to_owned());
        }
        for service in &services {
            let fits = (1..=200).contains(&service.len()) && !service.chars().any(char::is_control);
            if !fits {
                return Err("a service has a name of 1 to 200 bytes".to_owned());
            }
        }
        Ok(Self(services))
    }
}

impl Services {
    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl HookConfig {
    /// Checks what a single value cannot say; gives the key and the problem.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let name = self.name.as_str();
        if self.system == System::Falco && self.environment.is_none() {
            return Err((
                "webhook.environment",
                format!("'{name}' takes alerts: say which environment they are about"),
            ));
        }
        if matches!(self.system, System::Github | System::Gitlab) && self.services.is_empty() {
            return Err((
                "webhook.services",
                format!("'{name}' may speak for no service: say which repository is which service"),
            ));
        }
        if let Some(url) = &self.url
            && crate::config::authority(url).is_none()
        {
            return Err((
                "webhook.url",
                format!("'{url}' is not an address such as https://git.example, without a path"),
            ));
        }
        if let Some(environment) = &self.environment
            && (environment.is_empty() || environment.len() > 100)
        {
            return Err((
                "webhook.environment",
                format!("of '{name}' must have 1 to 100 bytes"),
            ));
        }
        for path in self.services.keys() {
            if path.is_empty() || path.len() > 300 || path.contains("://") {
                return Err((
                    "webhook.services",
                    format!(
                        "'{path}' of '{name}' is not a path such as group/project; the address of the system is the key `url`"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The address of the system.
    #[must_use]
    pub fn base(&self) -> &str {
        let url = self.url.as_deref().unwrap_or(self.system.usual_url());
        url.trim_end_matches('/')
    }

    /// The repository of a delivery: its address as the settings write it, and its services.
    #[must_use]
    pub fn repository(&self, path: &str) -> Option<(String, &[String])> {
        let (path, services) = self
            .services
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(path))?;
        Some((format!("{}/{path}", self.base()), &services.0))
    }

    /// The service of a namespace.
    #[must_use]
    pub fn service_of(&self, namespace: &str) -> Option<&str> {
        self.services.get(namespace)?.0.first().map(String::as_str)
    }

    /// Whether a delivery may speak for this service.
    #[must_use]
    pub fn speaks_for(&self, service: &str) -> bool {
        self.services
            .values()
            .any(|services| services.0.iter().any(|known| known == service))
    }

    /// Whether changes of this branch count, given the repository's default branch.
    #[must_use]
    pub fn counts(&self, branch: &str, default: Option<&str>) -> bool {
        if self.branches.is_empty() {
            default == Some(branch)
        } else {
            self.branches.iter().any(|known| known == branch)
        }
    }
}

/// The text of a file that only its owner may read.
///
/// # Errors
/// A sentence that never holds what is in it.
pub fn private_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let about = file
        .metadata()
        .map_err(|error| format!("cannot be examined: {error}"))?;
    if !about.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may read it (mode {mode:04o}); make it readable for its owner only: chmod 600"
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET_FILE + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_SECRET_FILE {
        return Err("is larger than secrets are".to_owned());
    }
    Ok(text)
}

/// Secrets of a webhook. Never printed, wiped when dropped.
#[derive(Default)]
pub struct Secrets {
    /// Digests of tokens that are sent as they are: equal digests are equal tokens, and all are of one length.
    pub(super) tokens: Vec<Digest>,
    /// Keys of signatures over the raw body.
    pub(super) plain: Vec<Zeroizing<Vec<u8>>>,
    /// Keys of signatures over id, time and body.
    pub(super) signing: Vec<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl Secrets {
    /// Reads a file of secrets.
    ///
    /// # Errors
    /// A sentence that never holds a secret.
    pub fn read(path: &Path, system: System) -> Result<Self, String> {
        let text = private_text(path)?;
        Self::parse(&text, system)
    }

    /// Reads the text of such a file.
    pub(super) fn parse(text: &str, system: System) -> Result<Self, String> {
        let mut secrets = Self::default();
        let lines = text.lines().map(str::trim).enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let at = at + 1;
            if line.len() < MIN_SECRET {
                return Err(format!(
                    "line {at}: the secret has fewer than {MIN_SECRET} characters; make one: openssl rand -hex 32"
                ));
            }
            match line.strip_prefix(SIGNING_KEY) {
                Some(key) => {
                    let key = STANDARD
                        .decode(key)
                        .ok()
                        .filter(|key| key.len() >= MIN_SECRET)
                        .ok_or_else(|| {
                            format!("line {at}: after {SIGNING_KEY} there is no key of {MIN_SECRET} bytes or more in base64")
                        })?;
                    secrets.signing.push(Zeroizing::new(key));
                }
                None => {
                    secrets.tokens.push(Digest::of(line.as_bytes()));
                    secrets.plain.push(Zeroizing::new(line.as_bytes().to_vec()));
                }
            }
        }
        match system {
            System::Github | System::Falco if secrets.plain.is_empty() => {
                Err("holds no secret".to_owned())
            }
            System::Cloudevents if secrets.signing.is_empty() => Err(format!(
                "holds no signing key: a line that begins with {SIGNING_KEY}"
            )),
            _ if secrets.plain.is_empty() && secrets.signing.is_empty() => {
                Err("holds no secret".to_owned())
            }
            _ => Ok(secrets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    const GOOD: &str = "[[webhook]]\nname = \"git\"\nsystem = \"github\"\nsecret = \"/s\"\n\
        services = { \"acme/pay\" = \"payments\", \"acme/mono\" = [\"a\", \"b\"] }\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("server.toml"), text)
    }

    #[test]
    fn a_webhook_names_its_repositories_and_services() {
        let hook = parse(GOOD).unwrap().webhook.remove(0);
        let (url, services) = hook.repository("Acme/Pay").unwrap();
        assert_eq!(url, "https://github.com/acme/pay");
        assert_eq!(services, ["payments"]);
        assert_eq!(hook.repository("acme/mono").unwrap().1, ["a", "b"]);
        assert!(hook.repository("acme/other").is_none());
        assert!(hook.counts("main", Some("main")) && !hook.counts("x", Some("main")));
        assert!(hook.speaks_for("b") && !hook.speaks_for("c"));
    }

    #[test]
    fn mistakes_name_the_line_or_the_key() {
        for (from, to, part) in [
            ("\"git\"", "\"Git Hub\"", "line 2"),
            ("\"github\"", "\"gitbucket\"", "line 3"),
            ("\"payments\"", "7", "line 5"),
            ("\"payments\"", "[]", "line 5"),
            ("services", "service", "line 5"),
            (
                "acme/pay",
                "https://github.com/acme/pay",
                "webhook.services",
            ),
            ("\"github\"", "\"falco\"", "webhook.environment"),
            (
                "name = \"git\"\n",
                "name = \"git\"\nurl = \"x\"\n",
                "webhook.url",
            ),
        ] {
            let message = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(message.contains(part), "{to}: {message}");
        }
        let twice = format!("{GOOD}{GOOD}");
        assert!(parse(&twice).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn secrets_are_long_private_and_of_the_right_kind() {
        let read = |text: &str, system| Secrets::parse(text, system);
        let key = format!("whsec_{}", STANDARD.encode([7; 24]));
        let both = read(&format!("\n{}\n{key}\n", "t".repeat(20)), System::Gitlab).unwrap();
        assert_eq!((both.tokens.len(), both.signing.len()), (1, 1));
        assert!(!format!("{both:?}").contains('t'.to_string().repeat(3).as_str()));
        for (text, system) in [
            ("", System::Github),
            ("short", System::Github),
            (key.as_str(), System::Github),
            ("whsec_%%%%%%%%%%%%%%%%", System::Gitlab),
            ("tttttttttttttttttttttttt", System::Cloudevents),
        ] {
            let error = read(text, system).unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret");
        std::fs::write(&path, "t".repeat(20)).unwrap();
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let error = Secrets::read(&path, System::Github).unwrap_err();
        assert!(error.contains("chmod 600"), "{error}");
        mode(0o600);
        assert!(Secrets::read(&path, System::Github).is_ok());
        assert!(Secrets::read(place.path(), System::Github).is_err());
    }
}
