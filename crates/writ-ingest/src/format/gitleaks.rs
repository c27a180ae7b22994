//! gitleaks 8 JSON: a list of leaks, `[]` when there are none.
//! Fields: <https://github.com/gitleaks/gitleaks/blob/master/report/finding.go>.
//!
//! The report does not say how many commits or files were looked at: that number comes from elsewhere.

use std::io::Write;

use serde::Deserialize;
use writ_model::{Category, Location, Severity};

use super::{Format, Yield};
use crate::error::IngestError;
use crate::fingerprint::{self, Basis};
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Int, Json, Text};
use crate::out::{Out, blank, secret_hash};
use crate::redact::{MASK, Members, Redaction, hashed};

/// The format.
pub struct Gitleaks;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Leak<'a> {
    #[serde(borrow, rename = "RuleID")]
    rule_id: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(default)]
    start_line: Int,
    #[serde(default)]
    end_line: Int,
    #[serde(default)]
    start_column: Int,
    #[serde(borrow, default, rename = "Match")]
    matched: Text<'a>,
    #[serde(borrow, default)]
    secret: Text<'a>,
    #[serde(borrow)]
    file: Text<'a>,
    #[serde(borrow, default)]
    commit: Text<'a>,
    #[serde(borrow, default)]
    fingerprint: Text<'a>,
}

impl Format for Gitleaks {
    fn id(&self) -> &'static str {
        "gitleaks"
    }

    fn title(&self) -> &'static str {
        "gitleaks JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.gitleaks.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        if head.has_all(&["[]/RuleID", "[]/Secret", "[]/File"]) {
            Likeness::Certain
        } else if head.is_empty_list() {
            Likeness::Possible
        } else {
            Likeness::No
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("gitleaks", "");
        let mut json = Json::new(input);
        json.array(|json| match json.element::<Leak<'_>>()? {
            Some(leak) => leak.emit(out),
            None => Ok(()),
        })?;
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Custom(redact)
    }
}

impl Leak<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let path = out.path(&self.file);
        let secret = secret_hash(out.options.secret_key, &self.secret);
        // gitleaks has no severity: a credential in a repository is HIGH until somebody knows better.
        let mut finding = blank(
            Category::Secret,
            &self.rule_id,
            &self.description,
            Severity::High,
        );
        finding.identifiers.push(writ_model::Identifier {
            kind: "CWE".to_owned(),
            value: "CWE-798".to_owned(),
        });
        finding.aliases.extend(self.fingerprint.some());
        let context = fingerprint::content(&context(&self.matched, &self.secret));
        let basis = Basis::Secret {
            rule: &self.rule_id,
            path: &path,
            context,
            secret: secret.as_deref(),
        };
        finding.location = Location::File {
            path: path.clone(),
            line: self.start_line.line(),
            end_line: self.end_line.line(),
            column: self.start_column.line(),
            commit: self.commit.some(),
            resource: None,
        };
        finding.secret_hash.clone_from(&secret);
        out.finding(finding, &basis)
    }
}

/// The match without the secret, as `gitleaks --redact` writes it: tells two secrets of one rule in one
/// file apart, and holds nothing of either.
fn context(matched: &str, secret: &str) -> String {
    if secret.is_empty() || !matched.contains(secret) {
        return String::new();
    }
    matched.replace(secret, "REDACTED")
}

/// Replaces secret and match; empties author, mail and commit message.
fn redact(
    input: Input<'_>,
    writer: &mut dyn Write,
    secret_key: &[u8; 32],
) -> Result<u64, IngestError> {
    let mut json = Json::new(input);
    let mut replaced = 0;
    let mut first = true;
    let mut line = Vec::new();
    writer.write_all(b"[").map_err(IngestError::Write)?;
    json.array(|json| {
        let members: Members<'_> = json.value()?;
        let text = |name: &str| {
            members
                .0
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .and_then(|(_, raw)| serde_json::from_str::<Text<'_>>(raw.get()).ok())
                .unwrap_or_default()
        };
        let secret = text("Secret");
        let hidden = hashed(secret_key, &secret);
        line.clear();
        line.extend_from_slice(if first { b"\n{" } else { b",\n{" });
        first = false;
        for (index, (key, raw)) in members.0.iter().enumerate() {
            let instead = match key.to_ascii_lowercase().as_str() {
                "secret" | "offender" if !secret.is_empty() => Some(hidden.clone()),
                // The secret's replacement stands in the match too, so that its context stays.
                "match" | "line" => Some(match text(key) {
                    matched if secret.is_empty() || !matched.contains(&*secret) => {
                        if matched.is_empty() {
                            String::new()
                        } else {
                            MASK.to_owned()
                        }
                    }
                    matched => matched.replace(&*secret, &hidden),
                }),
                "author" | "email" | "message" | "offender" | "commitmessage" => {
                    Some(if text(key).is_empty() {
                        String::new()
                    } else {
                        MASK.to_owned()
                    })
                }
                _ => None,
            };
            if index > 0 {
                line.push(b',');
            }
            push_json(&mut line, key);
            line.push(b':');
            match instead {
                Some(instead) => {
                    replaced += u64::from(!instead.is_empty());
                    push_json(&mut line, &instead);
                }
                None => line.extend_from_slice(raw.get().as_bytes()),
            }
        }
        line.push(b'}');
        writer.write_all(&line).map_err(IngestError::Write)
    })?;
    json.finish()?;
    writer.write_all(b"\n]\n").map_err(IngestError::Write)?;
    Ok(replaced)
}

fn push_json(line: &mut Vec<u8>, text: &str) {
    // Writing text into memory cannot fail.
    let quoted = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned());
    line.extend_from_slice(quoted.as_bytes());
}
