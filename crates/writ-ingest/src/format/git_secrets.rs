//! git-secrets: lines `commit:path:line:content` or `path:line:content`, then advice. No output: nothing matched.
//!
//! The content is the whole line with the secret. It is hashed and dropped.

use std::io::Write;

use writ_model::{Category, Identifier, Location, Severity};

use super::{Format, Yield};
use crate::error::{CHECK_FORMAT, IngestError};
use crate::fingerprint::Basis;
use crate::head::{Head, Kind, Likeness};
use crate::input::Input;
use crate::out::{Out, blank, secret_hash};
use crate::redact::{Redaction, hashed};

/// The format.
pub struct GitSecrets;

/// The last line of a scan that found something.
const VERDICT: &str = "[ERROR] Matched one or more prohibited patterns";

/// git-secrets does not say which of its patterns matched.
const RULE: &str = "prohibited-pattern";

impl Format for GitSecrets {
    fn id(&self) -> &'static str {
        "git-secrets"
    }

    fn title(&self) -> &'static str {
        "git-secrets text"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["text/x-git-secrets"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        if head.kind != Kind::Text {
            return Likeness::No;
        }
        let first = head.text.lines().find(|line| !line.trim().is_empty());
        let hit = first.and_then(Hit::parse);
        if head.text.contains(VERDICT) || hit.as_ref().is_some_and(|hit| !hit.commit.is_empty()) {
            Likeness::Certain
        } else if hit.is_some() {
            Likeness::Possible
        } else {
            Likeness::No
        }
    }

    fn read(&self, mut input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("git-secrets", "");
        loop {
            let (format, position) = (input.format, input.position());
            let Some(line) = input.line()? else {
                return Ok(());
            };
            let line = String::from_utf8_lossy(line);
            if line.contains(VERDICT) {
                // What follows is advice.
                while input.line()?.is_some() {}
                return Ok(());
            }
            match Hit::parse(&line) {
                Some(hit) => hit.emit(out)?,
                None if line.trim().is_empty() || line.starts_with("Binary file ") => {}
                None => {
                    return Err(IngestError::Shape {
                        format,
                        position,
                        cause: "this line is not 'path:line:content'".to_owned(),
                        remedy: CHECK_FORMAT,
                    });
                }
            }
        }
    }

    fn empty_is_clean(&self) -> bool {
        true
    }

    fn redaction(&self) -> Redaction {
        Redaction::Custom(redact)
    }
}

/// One match.
struct Hit<'a> {
    commit: &'a str,
    path: &'a str,
    line: u32,
    content: &'a str,
}

impl<'a> Hit<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (commit, rest) = match text.split_once(':') {
            Some((commit, rest))
                if commit.len() >= 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                (commit, rest)
            }
            _ => ("", text),
        };
        // The path may hold colons; the first number between two of them is the line.
        let mut from = 0;
        loop {
            let colon = from + rest[from..].find(':')?;
            let after = &rest[colon + 1..];
            if let Some((number, content)) = after.split_once(':')
                && let Ok(line) = number.parse::<u32>()
                && colon > 0
            {
                return Some(Self {
                    commit,
                    path: &rest[..colon],
                    line,
                    content,
                });
            }
            from = colon + 1;
        }
    }

    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let path = out.path(self.path);
        let secret = secret_hash(out.options.secret_key, self.content.trim());
        let title = "A line matches a prohibited pattern";
        let mut finding = blank(Category::Secret, RULE, title, Severity::High);
        finding.identifiers.push(Identifier {
            kind: "CWE".to_owned(),
            value: "CWE-798".to_owned(),
        });
        finding.location = Location::File {
            path: path.clone(),
            line: Some(self.line).filter(|line| *line > 0),
            end_line: None,
            column: None,
            commit: (!self.commit.is_empty()).then(|| self.commit.to_owned()),
            resource: None,
        };
        finding.secret_hash.clone_from(&secret);
        let basis = Basis::Secret {
            rule: RULE,
            path: &path,
            context: None,
            secret: secret.as_deref(),
        };
        out.finding(finding, &basis)
    }
}

fn redact(
    mut input: Input<'_>,
    writer: &mut dyn Write,
    secret_key: &[u8; 32],
) -> Result<u64, IngestError> {
    let mut replaced = 0;
    let mut verdict = false;
    while let Some(line) = input.line()? {
        let line = String::from_utf8_lossy(line);
        verdict |= line.contains(VERDICT);
        let kept = match Hit::parse(&line) {
            Some(hit) if !verdict => {
                replaced += 1;
                let before = line.len() - hit.content.len();
                format!(
                    "{}{}",
                    &line[..before],
                    hashed(secret_key, hit.content.trim())
                )
            }
            _ => line.into_owned(),
        };
        writeln!(writer, "{kept}").map_err(IngestError::Write)?;
    }
    Ok(replaced)
}
