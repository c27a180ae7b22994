//! What a printer knows about its surroundings.

use writ_model::{DecisionId, Timestamp, WritId};

/// Everything around a decision that decides how it is printed. `Context::default()` is a log
/// file: 80 columns, no colour, absolute times, no links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Id of the recorded decision; `None` where nothing was recorded.
    pub decision_id: Option<DecisionId>,
    /// Ledger index of the decision.
    pub log_index: Option<u64>,
    /// Colour the state words.
    pub color: bool,
    /// Columns to wrap at; below 40 counts as 40.
    pub width: usize,
    /// A person is watching: times are relative and tables may be cut.
    pub tty: bool,
    /// Base URL of the dashboard, without a trailing slash; ignored unless `http://` or `https://`.
    pub links: Option<String>,
    /// Base URL under which files of the change are shown, such as
    /// `https://git.example/payments/api/-/blob/4f2a9c1`; ignored unless `http://` or `https://`.
    pub sources: Option<String>,
    /// The present, for relative times. Without it times are absolute.
    pub now: Option<Timestamp>,
    /// What is being judged, in the words of a person: `payments-api 4f2a9c1`. When absent it is
    /// made from the service and its commit or artefact.
    pub change: Option<String>,
    /// End the human form with `exit N`.
    pub exit_line: bool,
    /// The writ that was issued, when the decision is compliant.
    pub writ: Option<WritNote>,
    /// File that findings without a place of their own are attached to, relative to the
    /// repository: the file that asked for the judgement.
    pub definition: String,
    /// Version of the program that prints, for tools that want to know their driver.
    pub version: String,
}

/// Where a pipeline is defined unless somebody says otherwise.
const DEFINITION: &str = "writ.toml";

/// Whether anything of a path is left without slashes and blanks.
pub(crate) fn names_a_file(path: &str) -> bool {
    !path
        .trim_matches(|c: char| c == '/' || c.is_whitespace())
        .is_empty()
}

/// The writ that a passing decision issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritNote {
    /// Its id.
    pub id: WritId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Issued by an embedded store: no environment but `local` trusts it.
    pub preview: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            decision_id: None,
            log_index: None,
            color: false,
            width: 80,
            tty: false,
            links: None,
            sources: None,
            now: None,
            change: None,
            exit_line: false,
            writ: None,
            definition: DEFINITION.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Context {
    /// Columns to wrap at, never below 40.
    pub(crate) fn columns(&self) -> usize {
        self.width.max(40)
    }

    /// `https://writ.example/d/dec_…` below the dashboard's base, when there is one.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        below(self.links.as_deref(), path)
    }

    /// A file of the change in the code host.
    pub(crate) fn source(&self, path: &str, line: Option<u32>) -> Option<String> {
        let fragment = line.map_or_else(String::new, |line| format!("#L{line}"));
        below(
            self.sources.as_deref(),
            &format!("{}{fragment}", crate::text::percent_path(path)),
        )
    }

    /// The definition file, never empty.
    pub(crate) fn definition(&self) -> &str {
        if names_a_file(&self.definition) {
            &self.definition
        } else {
            DEFINITION
        }
    }

    /// An instant to come: `in 6 days` for a person, else `2026-11-28T10:00:00Z`.
    pub(crate) fn until(&self, end: Timestamp) -> String {
        match self.now.filter(|_| self.tty) {
            Some(now) if end > now => format!("in {}", end.since(now).human()),
            Some(now) => format!("{} ago", now.since(end).human()),
            None => end.to_seconds_text(),
        }
    }

    /// An instant that has passed: `3 min ago` for a person, else RFC 3339.
    pub(crate) fn at(&self, instant: Timestamp) -> String {
        self.until(instant)
    }
}

/// Joins base and path; refuses bases that a browser would not fetch over HTTP.
fn below(base: Option<&str>, path: &str) -> Option<String> {
    let base = base?;
    let safe = (base.starts_with("https://") || base.starts_with("http://"))
        && base
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | '(' | ')' | '`' | '|'));
    safe.then(|| format!("{}/{path}", base.trim_end_matches('/')))
}
