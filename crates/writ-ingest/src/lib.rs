//! Report formats: streaming, bounded parsers that turn a tool's raw output into findings,
//! components, test results and coverage.
//!
//! - [`detect`] recognises a format by content, never by file name.
//! - [`ingest`] streams a report into a [`Sink`]; memory does not grow with the file.
//! - [`redact`] copies a report without secrets and people, for hashing and storing.
//!
//! A format is one file under `format/` and one line in [`FORMATS`]. **In scope:** reading what tools
//! wrote, normalising it, saying what was looked at and what could not be. **Out of scope:** judging;
//! nothing here knows a threshold, a control or a verdict.
//!
//! Every report is hostile: size, nesting, strings and counts are bounded by [`Limits`], XML entities
//! are never expanded, and an error means that nothing the sink received may be used.

mod coverage;
mod cvss;
mod error;
mod fingerprint;
mod format;
mod head;
mod identify;
mod input;
mod json;
mod options;
mod out;
mod package;
mod redact;
mod report;
mod sink;
mod source;
mod text;
mod xml;

use std::io::{Read, Write};

pub use error::{IngestError, Position, SinkError};
pub use format::{FORMATS, Format, Yield, by_id};
pub use head::{Head, Kind, Likeness};
pub use input::HEAD_BYTES;
pub use options::{Limits, Options};
pub use out::keyed_hash;
pub use redact::{MASK, Redacted, Redaction};
pub use report::{Binding, CoverageTotals, Note, Problem, ProblemKind, Report, TestTotals};
pub use sink::{Collected, Discard, FileCoverage, LineHits, Sink, TestCase, TestOutcome};

use input::Input;
use out::Out;

/// Recognises the format of a report by its first bytes ([`HEAD_BYTES`] are enough).
///
/// # Errors
/// [`IngestError::Empty`], [`IngestError::Encoding`], [`IngestError::Unknown`], and
/// [`IngestError::Ambiguous`] for content such as `[]` that several tools write.
pub fn detect(head: &[u8]) -> Result<&'static dyn Format, IngestError> {
    let head = Head::new(head)?;
    for wanted in [Likeness::Certain, Likeness::Possible] {
        let fits: Vec<&'static dyn Format> = FORMATS
            .iter()
            .copied()
            .filter(|format| format.likeness(&head) == wanted)
            .collect();
        match fits[..] {
            [] => {}
            [only] => return Ok(only),
            _ => {
                let ids: Vec<&str> = fits.iter().map(|format| format.id()).collect();
                return Err(IngestError::Ambiguous {
                    candidates: ids.join(", "),
                });
            }
        }
    }
    Err(IngestError::Unknown {
        seen: head.describe(),
        known: format::known(),
    })
}

/// Reads a report to its end and streams its items into `sink`.
///
/// # Errors
/// See [`IngestError`]. After an error the receiver discards what it got: nothing is half applied.
pub fn ingest(
    reader: &mut dyn Read,
    options: &Options<'_>,
    sink: &mut dyn Sink,
) -> Result<Report, IngestError> {
    let mut counted = Counted { reader, bytes: 0 };
    let mut input = Input::new(&mut counted, options.limits);
    let format = choose(&mut input, options.format)?;
    input.format = format.id();
    let mut out = Out::new(format.id(), *options, sink);
    format.read(input, &mut out)?;
    let mut report = out.report;
    report.settle_times();
    report.bytes = counted.bytes;
    Ok(report)
}

/// Copies a report without secrets, people's names and mails, request bodies and source text.
/// `format` is an id or `None` to detect. Formats without such content are copied byte for byte.
///
/// # Errors
/// See [`IngestError`]. After an error what was written is not to be used.
pub fn redact(
    format: Option<&str>,
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    secret_key: &[u8; 32],
    limits: Limits,
) -> Result<Redacted, IngestError> {
    let mut counted = Counted { reader, bytes: 0 };
    let mut input = Input::new(&mut counted, limits);
    let format = choose(&mut input, format)?;
    input.format = format.id();
    let mut writer = redact::Hashing::new(writer);
    let replaced = redact::run(format.redaction(), input, &mut writer, secret_key)?;
    let (digest, bytes_written) = writer.finish()?;
    Ok(Redacted {
        format: format.id(),
        replaced,
        bytes_read: counted.bytes,
        bytes_written,
        digest,
    })
}

fn choose(input: &mut Input<'_>, format: Option<&str>) -> Result<&'static dyn Format, IngestError> {
    let head = input.head()?;
    match format {
        None => detect(head),
        Some(id) => {
            let format = by_id(id)?;
            // Emptiness and encoding have better errors than the parser's.
            match Head::new(head) {
                Err(IngestError::Empty) if format.empty_is_clean() => Ok(format),
                Err(error) => Err(error),
                // A parser that finds none of its keys would call a foreign report clean.
                Ok(seen) if format.likeness(&seen) == Likeness::No => match detect(head) {
                    Ok(found) => Err(IngestError::WrongFormat {
                        claimed: format.id(),
                        found: found.id(),
                    }),
                    Err(_) => Ok(format),
                },
                Ok(_) => Ok(format),
            }
        }
    }
}

struct Counted<'r> {
    reader: &'r mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(target)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
