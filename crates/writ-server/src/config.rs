//! Settings: `/etc/writ/server.toml`, every key with a default, errors with file and line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::access::oidc::OidcSettings;
use crate::access::workload::WorkloadSettings;
use crate::collect::config::{CollectorConfig, MAX_COLLECTORS};
use crate::hooks::config::{HookConfig, MAX_HOOKS};
use crate::notify::config::{ChannelConfig, MAX_CHANNELS};

/// Where settings are read from when no file is named.
pub const DEFAULT_FILE: &str = "/etc/writ/server.toml";

/// Largest settings file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Settings of the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// How people and programs reach the server, without a path: `https://writ.example`.
    pub public_url: Option<String>,
    /// Certificate and key.
    pub tls: Option<Tls>,
    /// A proxy in front encrypts and is the only one that can reach the address.
    pub behind_proxy: bool,
    /// Bounds.
    pub limits: Limits,
    /// Work that is repeated.
    pub schedule: Schedule,
    /// The server's own log.
    pub log: Log,
    /// CI jobs that are let in.
    pub workload: Vec<WorkloadSettings>,
    /// Identity providers at which people sign in.
    pub oidc: Vec<OidcSettings>,
    /// Systems that may deliver events.
    pub webhook: Vec<HookConfig>,
    /// Git hosts that are read.
    pub collector: Vec<CollectorConfig>,
    /// Who is told of what.
    pub notify: Vec<ChannelConfig>,
}

/// Work that the server repeats; of several processes of a store one does it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Whether this process takes part.
    pub enabled: bool,
    /// Hours between two verifications of the whole store; 0: never.
    pub verify_hours: u32,
    /// Minutes between two looks at the git hosts; 0: never.
    pub collect_minutes: u32,
    /// Days for which it is kept who read what; 0: for ever.
    pub reads_days: u32,
    /// Hours between two looks whether the SBOMs of what runs are to be matched again; 0: never.
    pub rematch_hours: u32,
}

/// Files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Bounds of what one asker can make the server do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Seconds until the head of a request must have arrived.
    pub head_seconds: u64,
    /// Seconds until a request must be answered, its body included.
    pub request_seconds: u64,
    /// Largest body of one envelope, in bytes.
    pub envelope_bytes: usize,
    /// Largest body of a batch, in bytes.
    pub batch_bytes: usize,
    /// Most envelopes of a batch.
    pub batch_items: usize,
    /// Largest file that is taken in parts, in bytes.
    pub upload_bytes: u64,
    /// Envelopes that may wait to be recorded.
    pub intake_queue: usize,
    /// Largest delivery of a webhook, in bytes.
    pub hook_bytes: usize,
    /// Seconds that open requests are given when the server ends.
    pub shutdown_seconds: u64,
}

/// The server's own log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Form of the lines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or per module as in `info,writ_server=debug`.
    pub level: String,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            tls: None,
            behind_proxy: false,
            limits: Limits::default(),
            schedule: Schedule::default(),
            log: Log::default(),
            workload: Vec::new(),
            oidc: Vec::new(),
            webhook: Vec::new(),
            collector: Vec::new(),
            notify: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            head_seconds: 10,
            request_seconds: 30,
            envelope_bytes: 32 << 20,
            batch_bytes: 32 << 20,
            batch_items: 2_000,
            upload_bytes: 512 << 20,
            intake_queue: 4_096,
            hook_bytes: 5 << 20,
            shutdown_seconds: 20,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            enabled: true,
            verify_hours: 24,
            collect_minutes: 60,
            reads_days: 400,
            rematch_hours: 6,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the settings {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The file is far larger than settings are.
    #[error("the settings {} have more than {MAX_BYTES} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line cannot be understood; the message shows it.
    #[error("the settings {} cannot be used:\n{problem}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, excerpt and cause.
        problem: String,
    },
    /// A file of secrets cannot be used.
    #[error("the secret file {} {problem}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong; never holds a secret.
        problem: String,
    },
    /// A git host cannot be read.
    #[error("[[collector]]: {problem}")]
    Collector {
        /// What is wrong; never holds a secret.
        problem: String,
    },
    /// Nobody can be told on a channel.
    #[error("[[notify]] '{name}': {problem}")]
    Notify {
        /// The channel.
        name: String,
        /// What is wrong; never holds a secret.
        problem: String,
    },
    /// A value is of the right type and cannot work.
    #[error("the settings {}: {key}: {problem}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Config {
    /// Reads a settings file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
            });
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?)
    }

    /// Reads settings from a text; `path` is for messages.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let refuse = |key, problem: String| {
            Err(ConfigError::Value {
                path: path.to_owned(),
                key,
                problem,
            })
        };
        if let Some(url) = &self.public_url
            && authority(url).is_none()
        {
            return refuse(
                "public_url",
                format!("'{url}' is not an address such as https://writ.example, without a path"),
            );
        }
        let limits = &self.limits;
        for (key, value) in [
            ("limits.connections", limits.connections),
            ("limits.envelope_bytes", limits.envelope_bytes),
            ("limits.batch_bytes", limits.batch_bytes),
            ("limits.batch_items", limits.batch_items),
            ("limits.intake_queue", limits.intake_queue),
            ("limits.hook_bytes", limits.hook_bytes),
        ] {
            if value == 0 {
                return refuse(key, "0 lets nothing through".to_owned());
            }
        }
        for (key, value) in [
            ("limits.head_seconds", limits.head_seconds),
            ("limits.request_seconds", limits.request_seconds),
        ] {
            if value == 0 || value > 3_600 {
                return refuse(key, format!("{value} is not between 1 and 3600"));
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for rule in &self.workload {
            if let Err((key, problem)) = rule.check() {
                return refuse(key, problem);
            }
            if !names.insert(&rule.name) {
                return refuse(
                    "workload.name",
                    format!("two have the name '{}'", rule.name),
                );
            }
        }
        for (at, provider) in self.oidc.iter().enumerate() {
            if let Err((key, problem)) = provider.check() {
                return refuse(key, problem);
            }
            let same =
                |other: &OidcSettings| other.key == provider.key || other.issuer == provider.issuer;
            if self.oidc.iter().take(at).any(same) {
                return refuse(
                    "oidc.key",
                    format!("of '{}': another has its key or its issuer", provider.key),
                );
            }
        }
        if self.collector.len() > MAX_COLLECTORS {
            return refuse("collector", format!("there are more than {MAX_COLLECTORS}"));
        }
        for collector in &self.collector {
            if let Err((key, problem)) = collector.check() {
                return refuse(key, problem);
            }
        }
        if self.notify.len() > MAX_CHANNELS {
            return refuse("notify", format!("there are more than {MAX_CHANNELS}"));
        }
        for (at, channel) in self.notify.iter().enumerate() {
            if self.notify[..at]
                .iter()
                .any(|other| other.name == channel.name)
            {
                let name = channel.name.as_str();
                return refuse("notify.name", format!("'{name}' is there twice"));
            }
        }
        if self.webhook.len() > MAX_HOOKS {
            return refuse("webhook", format!("there are more than {MAX_HOOKS}"));
        }
        for (at, hook) in self.webhook.iter().enumerate() {
            if let Err((key, problem)) = hook.check() {
                return refuse(key, problem);
            }
            if self.webhook[..at]
                .iter()
                .any(|other| other.name == hook.name)
            {
                let name = hook.name.as_str();
                return refuse("webhook.name", format!("'{name}' is there twice"));
            }
        }
        Ok(())
    }

    /// Host and port that `public_url` names, as a browser sends them.
    #[must_use]
    pub fn public_authority(&self) -> Option<&str> {
        self.public_url.as_deref().and_then(authority)
    }

    /// The address for links outside of pages.
    #[must_use]
    pub fn base(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!(
                "{}://{}",
                if self.tls.is_some() { "https" } else { "http" },
                self.listen
            ),
        }
    }
}

pub(crate) fn authority(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let plain = !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    plain.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("server.toml"), text)
    }

    #[test]
    fn nothing_needs_to_be_set() {
        assert_eq!(parse("").unwrap(), Config::default());
        let config = parse("listen = \"127.0.0.1:9\"\n[log]\nformat = \"json\"\n").unwrap();
        assert_eq!(
            (config.listen.port(), config.log.format),
            (9, LogFormat::Json)
        );
        assert_eq!(config.log.level, "info");
    }

    #[test]
    fn errors_name_the_line_and_the_cause() {
        let message = parse("listen = \"127.0.0.1:1\"\nlisten_on = 3\n")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("line 2") && message.contains("listen_on"),
            "{message}"
        );
        for (text, part) in [
            ("[limits]\nconnections = 0\n", "limits.connections"),
            ("public_url = \"writ.example/x\"\n", "public_url"),
            ("public_url = \"https://a/b\"\n", "public_url"),
            ("listen = \"nowhere\"\n", "line 1"),
            ("[tls]\nkey = \"a\"\n", "certificate"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_public_address() {
        let config = parse("public_url = \"https://writ.example:8443/\"").unwrap();
        assert_eq!(config.public_authority(), Some("writ.example:8443"));
        assert_eq!(config.base(), "https://writ.example:8443");
    }
}
