//! `writ.toml`: the stages and environments of a service.
//!
//! The file says *what to run*. It never says what is good enough: thresholds belong to the profile,
//! which other people own. Every mistake is reported with file, line, column and a remedy; a key that
//! is not known is an error, because a misspelt `needs` would silently change what runs.

mod deploy;
mod error;
mod lock;
mod observe;
mod server;
#[cfg(test)]
mod tests;
mod types;

use std::path::Path;

pub use deploy::{Deploy, DeployConfig, Driver, PrometheusConfig};
pub(crate) use error::Mistakes;
pub use error::{ConfigError, Mistake, did_you_mean};
pub use lock::{Lock, LockDifference, LockError, PinnedAdapter, PinnedBundle, PinnedTool};
pub use observe::{Observe, ObserveKind};
pub use server::Server;
pub use types::{
    Approvals, Artifact, BackgroundService, Config, Controls, EnvironmentConfig, GateMode, On,
    Produces, StageConfig,
};

use toml::de::{DeTable, DeValue};

/// Largest `writ.toml` that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or breaks a rule of the format.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let fault = |message: String, help: Option<&str>| {
            ConfigError::whole_file(file, message, help.map(str::to_owned))
        };
        let size = std::fs::metadata(file)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => fault(
                    "there is no such file".into(),
                    Some("writ init    # writes one"),
                ),
                _ => fault(format!("cannot be read: {error}"), None),
            })?
            .len();
        if size > MAX_CONFIG_BYTES {
            return Err(fault(
                format!("is {size} bytes long; at most {MAX_CONFIG_BYTES} are read"),
                None,
            ));
        }
        let text = std::fs::read_to_string(file).map_err(|error| {
            fault(
                format!("cannot be read as UTF-8 text: {error}"),
                Some("save the file as UTF-8"),
            )
        })?;
        Self::parse(&text, file)
    }

    /// Checks a text; `file` is only used in messages.
    ///
    /// # Errors
    /// When the text is not TOML or breaks a rule of the format; all mistakes are listed.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut mistakes = Mistakes::new(text);
        let config: Self = match toml::from_str(text) {
            Ok(config) => config,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let (message, help) = explain(error.message());
                mistakes.add(span, message, help);
                return match mistakes.finish(file, ()) {
                    Err(error) => Err(error),
                    Ok(()) => Err(ConfigError::whole_file(file, "is not valid".into(), None)),
                };
            }
        };
        if let Ok(table) = DeTable::parse(text) {
            refuse_empty(table.get_ref(), &mut mistakes);
        }
        config.validate(&mut mistakes);
        mistakes.finish(file, config)
    }
}

/// Turns the deserialiser's "unknown field" into words with a suggestion.
fn explain(message: &str) -> (String, Option<String>) {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    for (start, what) in [("unknown field", "key"), ("unknown variant", "value")] {
        if message.starts_with(start)
            && let Some((typed, known)) = quoted.split_first()
        {
            let help = did_you_mean(typed, known.iter().copied()).map_or_else(
                || format!("one of: {}", known.join(", ")),
                |word| format!("did you mean `{word}`?"),
            );
            return (format!("unknown {what} `{typed}`"), Some(help));
        }
    }
    (message.trim_end().replace('\n', " "), None)
}

/// An empty value is always a mistake: it looks set and is not.
fn refuse_empty(table: &DeTable<'_>, mistakes: &mut Mistakes<'_>) {
    for (key, value) in table {
        visit(key.get_ref(), value, mistakes);
    }
}

fn visit(key: &str, value: &toml::Spanned<DeValue<'_>>, mistakes: &mut Mistakes<'_>) {
    match value.get_ref() {
        DeValue::String(text) if text.trim().is_empty() => mistakes.add(
            value.span(),
            format!("`{key}` is empty"),
            Some(format!("remove `{key}` or give it a value")),
        ),
        DeValue::Array(items) => {
            if items.is_empty() {
                mistakes.add(
                    value.span(),
                    format!("`{key}` is an empty list"),
                    Some(format!("remove `{key}` or list something")),
                );
            }
            for item in items {
                visit(key, item, mistakes);
            }
        }
        DeValue::Table(table) => refuse_empty(table, mistakes),
        _ => {}
    }
}

/// The JSON schema of `writ.toml` for editors (`#:schema ./writ-1.schema.json`).
///
/// # Errors
/// Never in practice: only when the schema cannot be written as JSON.
pub fn json_schema() -> Result<String, serde_json::Error> {
    let schema = schemars::schema_for!(Config);
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}
