//! Why a report could not be read: what, where, cause and remedy in every message.

use std::fmt;

/// A place in a report. Lines and columns are 1-based; columns count bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before the place.
    pub offset: u64,
    /// Line.
    pub line: u64,
    /// Column in bytes.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "byte {} (line {}, column {})",
            self.offset, self.line, self.column
        )
    }
}

/// Error of a [`Sink`](crate::Sink): whatever its owner chooses.
pub type SinkError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a report could not be ingested. After an error nothing that the sink received may be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The bytes could not be had.
    #[error("the report could not be read at byte {offset}: check the file and its permissions")]
    Read {
        /// Bytes read before the failure.
        offset: u64,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// No bytes, or white space only.
    #[error(
        "the report is empty: the tool wrote nothing, which is not a clean result; look at the tool's own output"
    )]
    Empty,
    /// Not UTF-8.
    #[error(
        "the report is encoded as {encoding}, only UTF-8 is read: convert it first, for example with 'iconv -f {encoding} -t UTF-8'"
    )]
    Encoding {
        /// The encoding that the first bytes show.
        encoding: &'static str,
    },
    /// No format recognises the content.
    #[error(
        "no known report format looks like this ({seen}): name the format with '--as', known are {known}"
    )]
    Unknown {
        /// What the first bytes are, in words; never their content.
        seen: String,
        /// All format ids.
        known: String,
    },
    /// Several formats would fit, such as for `[]`.
    #[error("the content fits more than one format ({candidates}): name the right one with '--as'")]
    Ambiguous {
        /// Format ids, comma separated.
        candidates: String,
    },
    /// `--as` names a format that does not exist.
    #[error("there is no report format '{given}'{hint}: known are {known}")]
    NoSuchFormat {
        /// What was asked for.
        given: String,
        /// `, did you mean 'x'?` or empty.
        hint: String,
        /// All format ids.
        known: String,
    },
    /// `--as` names one format and the content is plainly another.
    #[error("this is not {claimed}, it looks like {found}: leave '--as' away, or name {found}")]
    WrongFormat {
        /// What was asked for.
        claimed: &'static str,
        /// What the content is.
        found: &'static str,
    },
    /// The bytes are not what the format needs: broken JSON, broken XML, cut short.
    #[error("{format}: not readable at {position}: {cause}; {remedy}")]
    Syntax {
        /// Format id.
        format: &'static str,
        /// Where.
        position: Position,
        /// What is wrong, without content of the report.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Well-formed, but not a report of this format.
    #[error("{format}: unexpected content at {position}: {cause}; {remedy}")]
    Shape {
        /// Format id.
        format: &'static str,
        /// Where.
        position: Position,
        /// What is wrong, without content of the report.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The tool wrote an error instead of a report.
    #[error(
        "{format}: the tool reports an error instead of a result: {cause}; repeat the scan after removing the cause"
    )]
    ToolFailed {
        /// Format id.
        format: &'static str,
        /// The tool's words, cut to 300 characters.
        cause: String,
    },
    /// Larger, deeper or more than allowed.
    #[error("{format}: more than {limit} {what} at {position}; {remedy}")]
    Limit {
        /// Format id.
        format: &'static str,
        /// Where the limit was passed.
        position: Position,
        /// Unit of the limit.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A report that had to be held back did not fit on disk.
    #[error(
        "{format}: the temporary file for results that come before their rules failed: make room in the temporary directory"
    )]
    Spill {
        /// Format id.
        format: &'static str,
        /// The operating system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The redacted copy could not be written.
    #[error(
        "the redacted copy could not be written: check the space and rights of its destination"
    )]
    Write(#[source] std::io::Error),
    /// The receiver of the findings refused.
    #[error("the receiver of the findings failed")]
    Sink(#[source] SinkError),
}

/// Remedy for a file that ends early or is broken.
pub(crate) const REPEAT: &str = "the file is damaged or cut short: run the tool again";
/// Remedy for content of another shape.
pub(crate) const CHECK_FORMAT: &str =
    "check that the file is what '--as' says, and that the tool's version is supported";
/// Remedy for a limit that an operator can raise.
pub(crate) const RAISE: &str = "split the scan, or raise the limit on purpose";
