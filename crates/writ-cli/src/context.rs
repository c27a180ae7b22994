//! What was typed, interpreted once: paths, formats, colour, time, identity.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use writ_model::Timestamp;
use writ_render::{EdgeError, Format};

use crate::args::{Global, When};
use crate::edge::{self, Edge};

/// The meaning of the global flags and of the environment.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where results go.
    pub sinks: Vec<Sink>,
    /// Whether standard output is a terminal.
    pub stdout_tty: bool,
    /// Whether standard error is a terminal.
    pub stderr_tty: bool,
    /// Colour on standard output.
    pub color: bool,
    /// Columns of the terminal, 80 where there is none.
    pub width: usize,
    /// Instant given by `--at`.
    pub at: Option<Timestamp>,
    /// Service given by flag.
    pub service: Option<String>,
    /// Say only the result.
    pub quiet: bool,
    /// Say more.
    pub verbose: u8,
    /// Never ask.
    pub no_input: bool,
    /// Never use the network.
    pub offline: bool,
    /// `writ.toml` given by flag.
    pub config: Option<PathBuf>,
    /// Store folder.
    pub store: PathBuf,
    /// Trust folder.
    pub trust: PathBuf,
    /// Whether evidence goes into the spool instead of a store.
    pub spools: bool,
    /// Spool folder; `None` without a home directory.
    pub spool: Option<PathBuf>,
    /// Most bytes that the spool may hold.
    pub spool_limit: Option<u64>,
    /// Server given by flag or environment.
    pub server: Option<String>,
    /// Cache folder for tools and databases.
    pub cache: PathBuf,
    /// Bundle folder given by flag.
    pub bundle: Option<PathBuf>,
    /// Local identity.
    pub identity: String,
    /// Name of the CI system, when in one.
    pub ci: Option<&'static str>,
}

/// One consumer of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Format.
    pub format: Format,
    /// File; `None` is standard output.
    pub file: Option<PathBuf>,
}

impl Context {
    /// Interprets the flags and the environment.
    ///
    /// # Errors
    ///
    /// An output that names an unknown format, or no home directory where a default path needs one.
    pub fn new(global: &Global) -> Result<Self, EdgeError> {
        let stdout_tty = std::io::stdout().is_terminal();
        let stderr_tty = std::io::stderr().is_terminal();
        let home = env_path("HOME");
        let base = |variable: &str, below: &str| -> Result<PathBuf, EdgeError> {
            if let Some(path) = env_path(variable) {
                return Ok(path);
            }
            home.as_ref().map(|home| home.join(below)).ok_or_else(|| {
                edge::usage(format!("neither {variable} nor HOME is set"))
                    .try_this("writ --store DIR --trust DIR …")
            })
        };
        let store = match &global.store {
            Some(path) => path.clone(),
            None => base("XDG_DATA_HOME", ".local/share")?.join("writ/store"),
        };
        // A file that names a store's parts may name its keys too.
        let named = writ_registry::StoreConfig::at(&store)
            .map_err(|error| edge::usage(edge::chain(&error)))?
            .trust;
        let trust = match global.trust.clone().or(named) {
            Some(path) => path,
            None => base("XDG_DATA_HOME", ".local/share")?.join("writ/trust"),
        };
        let cache = base("XDG_CACHE_HOME", ".cache")?.join("writ");
        Ok(Self {
            sinks: sinks(global.format, &global.output)?,
            stdout_tty,
            stderr_tty,
            color: wants_color(global.color, stdout_tty),
            width: width(),
            at: global.at,
            service: global.service.clone(),
            quiet: global.quiet,
            verbose: global.verbose,
            no_input: global.no_input || detect_ci().is_some(),
            offline: global.offline,
            config: global.config.clone(),
            store,
            trust,
            spools: global.spool.spool.is_some(),
            spool: global
                .spool
                .spool
                .clone()
                .flatten()
                .or_else(writ_registry::spool::default_spool),
            spool_limit: global.spool.spool_limit,
            server: global.server.clone(),
            cache,
            bundle: global.bundle.clone(),
            identity: global
                .identity
                .clone()
                .unwrap_or_else(operating_system_user),
            ci: detect_ci(),
        })
    }

    /// The instant to judge as of: `--at`, else the clock.
    pub fn now(&self) -> Timestamp {
        self.at.unwrap_or_else(clock)
    }

    /// The user's own tool adapters: `$XDG_CONFIG_HOME/writ/tools`.
    pub fn adapters(&self) -> PathBuf {
        let base = env_path("XDG_CONFIG_HOME")
            .or_else(|| env_path("HOME").map(|home| home.join(".config")))
            .unwrap_or_default();
        base.join("writ/tools")
    }

    /// The first format that goes to standard output.
    pub fn stdout_format(&self) -> Format {
        self.sinks
            .iter()
            .find(|sink| sink.file.is_none())
            .map_or(Format::Human, |sink| sink.format)
    }

    /// Whether people read along: neither quiet nor a machine format on standard output.
    pub fn talks(&self) -> bool {
        !self.quiet
    }
}

/// The clock of the machine.
pub fn clock() -> Timestamp {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        });
    Timestamp::from_micros(micros)
}

fn env_path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn sinks(format: Option<Format>, outputs: &[String]) -> Result<Vec<Sink>, EdgeError> {
    let mut sinks = Vec::new();
    for output in outputs {
        let (sink_format, file) = match output.split_once('=') {
            Some((word, file)) => {
                let parsed = word
                    .parse::<Format>()
                    .map_err(|error| edge::usage(error.to_string()).at("--output"))?;
                (parsed, file)
            }
            None => (format.unwrap_or(Format::Human), output.as_str()),
        };
        if file.is_empty() {
            return Err(edge::usage("the file name is empty").at(format!("--output {output}")));
        }
        sinks.push(Sink {
            format: sink_format,
            file: Some(PathBuf::from(file)),
        });
    }
    // A plain `-o FILE` replaces standard output; FORMAT=FILE comes in addition to it.
    let replaced = outputs.iter().any(|output| !output.contains('='));
    if !replaced {
        sinks.insert(
            0,
            Sink {
                format: format.unwrap_or(Format::Human),
                file: None,
            },
        );
    }
    Ok(sinks)
}

fn wants_color(when: When, tty: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            if set("NO_COLOR") {
                return false;
            }
            if std::env::var_os("CLICOLOR_FORCE")
                .is_some_and(|value| !value.is_empty() && value != "0")
            {
                return true;
            }
            tty && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|columns| *columns >= 40)
        .map_or_else(
            || terminal_columns().unwrap_or(80),
            |columns: usize| columns.min(160),
        )
}

fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let columns = usize::from(size.ws_col);
    (columns >= 40).then_some(columns.min(120))
}

fn operating_system_user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// Which CI system runs this process.
pub fn detect_ci() -> Option<&'static str> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    [
        ("GITHUB_ACTIONS", "github"),
        ("GITLAB_CI", "gitlab"),
        ("JENKINS_URL", "jenkins"),
        ("BUILDKITE", "buildkite"),
        ("TF_BUILD", "azure"),
        ("CI", "ci"),
    ]
    .into_iter()
    .find_map(|(variable, name)| set(variable).then_some(name))
}

/// Writes bytes to a file through a temporary file beside it, so that a reader never sees half of it.
///
/// # Errors
///
/// Any error of the file system, with the path.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), EdgeError> {
    let failed = |error: std::io::Error| {
        edge::cannot_tell("cannot write the result")
            .at(path.display())
            .because(error)
    };
    let name = path
        .file_name()
        .ok_or_else(|| edge::usage("the output is not a file name").at(path.display()))?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    std::fs::write(&temporary, bytes).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(|error| {
        // Leave no half result beside the target; the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_feed_several_consumers() {
        let got = sinks(
            Some(Format::Human),
            &["sarif=a.sarif".into(), "junit=b.xml".into()],
        )
        .unwrap();
        assert_eq!(got.len(), 3);
        assert_eq!(
            got[0],
            Sink {
                format: Format::Human,
                file: None
            }
        );
        let replaced = sinks(Some(Format::Json), &["out.json".into()]).unwrap();
        assert_eq!(
            replaced,
            vec![Sink {
                format: Format::Json,
                file: Some("out.json".into())
            }]
        );
        assert!(sinks(None, &["nonsense=x".into()]).is_err());
        assert!(sinks(None, &["sarif=".into()]).is_err());
    }
}
