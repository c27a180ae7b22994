//! LCOV tracefiles: lines of `KEY:value`, one section per source file.
//! Format: <https://github.com/linux-test-project/lcov/blob/master/man/geninfo.1>.

use writ_model::Digest;

use super::{Format, Yield};
use crate::coverage::{Files, Merge};
use crate::error::{CHECK_FORMAT, IngestError};
use crate::head::{Head, Kind, Likeness};
use crate::input::Input;
use crate::out::Out;

/// The format.
pub struct Lcov;

impl Format for Lcov {
    fn id(&self) -> &'static str {
        "lcov"
    }

    fn title(&self) -> &'static str {
        "LCOV tracefile"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["text/x-lcov"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Coverage]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let mut lines = head
            .text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let begins = match lines.next() {
            Some(line) if line.starts_with("SF:") => true,
            Some(line) if line.starts_with("TN:") => lines
                .next()
                .is_none_or(|l| l.starts_with("SF:") || l.starts_with("TN:")),
            _ => false,
        };
        super::certain_if(head.kind == Kind::Text && begins)
    }

    fn read(&self, mut input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("lcov", "");
        let mut files = Files::new(Merge::Sum);
        let mut file = None;
        let mut section = Section::default();
        loop {
            let format = input.format;
            let position = input.position();
            let Some(line) = input.line()? else {
                break;
            };
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "end_of_record" {
                if let Some(file) = file.take() {
                    section.close(&mut files, file);
                }
                section = Section::default();
                continue;
            }
            let shape = |cause: &str| IngestError::Shape {
                format,
                position,
                cause: cause.to_owned(),
                remedy: CHECK_FORMAT,
            };
            let pair = line
                .split_once(':')
                .filter(|(key, _)| !key.is_empty() && key.bytes().all(|b| b.is_ascii_uppercase()));
            let Some((key, value)) = pair else {
                // Between two sections a stray line harms nothing; inside one it may be a lost number.
                if file.is_none() && !files.is_empty() {
                    out.report
                        .note("a line between two sections that is not 'KEY:value'");
                    continue;
                }
                return Err(shape("this line is not 'KEY:value'"));
            };
            if key == "SF" {
                file = Some(files.file(out.path(value)));
                continue;
            }
            // Only test names, version lines and the like may stand outside a section.
            let Some(number) = file else {
                if matches!(key, "DA" | "BRDA" | "LF" | "LH") {
                    return Err(shape("a coverage line before the first 'SF:'"));
                }
                continue;
            };
            let known = section.line(key, value, number, &mut files, out)?;
            if known.is_none() {
                return Err(shape("the numbers of this line are not readable"));
            }
        }
        if file.is_some() {
            return Err(input.syntax("the file ends without 'end_of_record'"));
        }
        files.finish(out)
    }
}

/// Stated totals of one section.
#[derive(Default)]
struct Section {
    lines: [u64; 2],
    branches: [u64; 2],
}

impl Section {
    /// `Ok(None)`: the line cannot be read.
    fn line(
        &mut self,
        key: &str,
        value: &str,
        file: usize,
        files: &mut Files,
        out: &Out<'_>,
    ) -> Result<Option<()>, IngestError> {
        let mut parts = value.splitn(4, ',');
        let mut part = || parts.next().map(str::trim);
        match key {
            "DA" => {
                let line = part().and_then(|text| text.parse::<u32>().ok());
                let hits = part().and_then(count);
                let (Some(line), Some(hits)) = (line, hits) else {
                    return Ok(None);
                };
                // Line 0 is how some compilers write code without a line.
                if line > 0 {
                    files.line(file, line, hits, out)?;
                }
            }
            "BRDA" => {
                let line = part().and_then(|text| text.parse::<u32>().ok());
                let (block, branch, taken) = (part(), part(), part());
                let (Some(line), Some(block), Some(branch), Some(taken)) =
                    (line, block, branch, taken)
                else {
                    return Ok(None);
                };
                let id = Digest::of(format!("{block},{branch}").as_bytes());
                let [a, b, c, d, ..] = *id.as_bytes();
                let taken = taken != "-" && count(taken).is_some_and(|taken| taken > 0);
                files.branch(file, line, u32::from_le_bytes([a, b, c, d]), taken, out)?;
            }
            "LH" => self.lines[0] = count(value).unwrap_or(0),
            "LF" => self.lines[1] = count(value).unwrap_or(0),
            "BRH" => self.branches[0] = count(value).unwrap_or(0),
            "BRF" => self.branches[1] = count(value).unwrap_or(0),
            _ => {}
        }
        Ok(Some(()))
    }

    fn close(&self, files: &mut Files, file: usize) {
        files.stated_lines(file, self.lines[0], self.lines[1]);
        files.stated_branches(file, self.branches[0], self.branches[1]);
    }
}

/// A hit count: counts beyond 64 bits and in scientific notation mean "very often", negative ones (an
/// overflow in the compiler's runtime) count as not run.
fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    text.parse::<u64>().ok().or_else(|| {
        let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
        Some(if number < 1.0 { 0 } else { u64::from(u32::MAX) })
    })
}
