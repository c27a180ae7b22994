//! The server's own log: one line per request with its id, route, status and duration.
//!
//! Never logged: query strings, bodies, header values, names of people, tokens. A request is found
//! by its id, which every answer carries.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Starts the log on standard error; only the first call of a process has an effect.
///
/// # Errors
/// The level cannot be understood; the error is a sentence.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .parse(&log.level)
        .map_err(|error| format!("log.level '{}': {error}", log.level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_target(false);
    let started = match log.format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    // A log that another part of the process has begun goes on.
    drop(started);
    Ok(())
}
