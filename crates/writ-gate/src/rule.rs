//! What a rule file declares about its rules, read from `# METADATA` comment blocks, and what a
//! rule file may not use.

use std::collections::BTreeMap;

use serde::Deserialize;
use writ_model::{Category, EvidenceType, Severity};

use crate::error::Problem;

/// Names of builtin families that would make an answer depend on something other than its inputs.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http", "network"),
    ("net", "network"),
    ("time", "clock"),
    ("rand", "randomness"),
    ("uuid", "randomness"),
    ("opa", "the machine it runs on"),
    ("rego", "the evaluator's own files"),
    ("trace", "output outside the answer"),
    ("print", "output outside the answer"),
];

/// Which findings a rule is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingsWanted {
    /// Categories; empty means all.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// Least severity.
    #[serde(default)]
    pub at_least: Option<Severity>,
    /// Name of the parameter that lists the tool rules (or identifiers) wanted.
    #[serde(default)]
    pub rules_from: Option<String>,
    /// Name of the parameter that lists tool rules left to other controls.
    #[serde(default)]
    pub except_from: Option<String>,
    /// The suppressed findings instead of the open ones.
    #[serde(default)]
    pub suppressed: bool,
    /// Also findings without a severity, whatever `at_least` says.
    #[serde(default)]
    pub unrated: bool,
    /// With ages; those younger than the smallest whole-number parameter are counted, not listed.
    #[serde(default)]
    pub dated: bool,
    /// Grouped by the tool's rule (`rules`) instead of listed (`items`).
    #[serde(default)]
    pub by_rule: bool,
    /// Every finding, not only the first [`writ_model::Check::MAX_ITEMS`].
    #[serde(default)]
    pub all: bool,
}

/// What a rule declares under `custom:`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleNeeds {
    /// Evidence types without which there is nothing to judge.
    pub evidence: Vec<EvidenceType>,
    /// Evidence types that are read where they exist.
    #[serde(default)]
    pub optional: Vec<EvidenceType>,
    /// Parameters: name to kind (`integer`, `string`, `list`, `map`).
    #[serde(default)]
    pub with: BTreeMap<String, String>,
    /// Findings, when it judges them.
    #[serde(default)]
    pub findings: Option<FindingsWanted>,
    /// Types of which it reads all items below the ledger head, not only the latest of each kind.
    #[serde(default)]
    pub history: Vec<EvidenceType>,
    /// Types whose age the rule judges itself, so that the control's `fresh` is not applied.
    #[serde(default)]
    pub aged_by_rule: Vec<EvidenceType>,
    /// Whether the latest run of the commit is needed (`input.run`).
    #[serde(default)]
    pub run: bool,
    /// Whether it looks at who and what is released: subject, environment, people, signers.
    #[serde(default)]
    pub release: bool,
    /// Whether it reads the profile's floors (`input.floor`).
    #[serde(default)]
    pub floor: bool,
    /// Whether the instant of judgement (`input.as_of`, microseconds) and ages are given.
    #[serde(default)]
    pub clock: bool,
}

/// A rule that controls may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// `family.name`.
    pub id: String,
    /// File that defines it.
    pub file: String,
    /// Line of the definition.
    pub line: u32,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// What it declares.
    pub needs: RuleNeeds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(default)]
    title: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "scope")]
    _scope: Option<String>,
    #[serde(default)]
    custom: Option<RuleNeeds>,
}

/// Reads the rules that a file declares. A block without `custom` documents a helper.
pub(crate) fn declared_rules(file: &str, text: &str) -> Result<Vec<RuleInfo>, Problem> {
    let lines: Vec<&str> = text.lines().collect();
    let package = lines
        .iter()
        .find_map(|line| line.strip_prefix("package "))
        .map(str::trim)
        .ok_or_else(|| {
            Problem::of_file(
                file,
                "no package",
                "start the file with 'package writ.<family>'",
            )
        })?;
    let Some(family) = package.strip_prefix("writ.") else {
        return Err(Problem::at_key(
            file,
            text,
            "package",
            format!("package '{package}'"),
            "rules live in packages 'writ.<family>'",
        ));
    };
    let mut rules = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim_end() != "# METADATA" {
            at += 1;
            continue;
        }
        let start = at + 1;
        let end = lines[start..]
            .iter()
            .position(|line| !line.starts_with('#'))
            .map_or(lines.len(), |n| start + n);
        let yaml: String = lines[start..end]
            .iter()
            .map(|line| {
                line.strip_prefix("# ")
                    .unwrap_or(line.trim_start_matches('#'))
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let metadata: Metadata = serde_saphyr::from_str(&yaml).map_err(|error| {
            let cause = error.to_string();
            Problem {
                line: u32::try_from(start).unwrap_or(u32::MAX),
                column: 1,
                ..Problem::of_file(
                    file,
                    format!("METADATA block: {}", cause.lines().next().unwrap_or("")),
                    "it is YAML with title, description and custom",
                )
            }
        })?;
        if let Some(needs) = metadata.custom {
            let name: String = lines
                .get(end)
                .unwrap_or(&"")
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if name.is_empty() {
                return Err(Problem {
                    line: u32::try_from(start).unwrap_or(u32::MAX),
                    column: 1,
                    ..Problem::of_file(
                        file,
                        "METADATA block without a rule below it",
                        "put it directly above the rule",
                    )
                });
            }
            rules.push(RuleInfo {
                id: format!("{family}.{name}"),
                file: file.to_owned(),
                line: u32::try_from(end + 1).unwrap_or(u32::MAX),
                title: metadata.title,
                description: metadata.description,
                needs,
            });
        }
        at = end;
    }
    Ok(rules)
}

/// Refuses clocks, network, randomness and other builtins whose answers are not in the inputs.
pub(crate) fn refuse_impure(file: &str, text: &str) -> Result<(), Problem> {
    for (offset, word, after) in words_outside_strings(text) {
        let imported = text[..offset].ends_with("import ") && after.starts_with(".v1");
        if word == "rego" && imported {
            continue;
        }
        let called = after.starts_with('.') || after.starts_with('[') || after.starts_with('(');
        if !called {
            continue;
        }
        if let Some((_, what)) = FORBIDDEN.iter().find(|(name, _)| *name == word) {
            return Err(Problem::at_offset(
                file,
                text,
                offset,
                format!("'{word}' reads {what}"),
                "a decision depends on its inputs only: take the fact from evidence",
            ));
        }
    }
    Ok(())
}

/// Identifiers outside comments and strings that do not follow a dot, with the text after them.
fn words_outside_strings(text: &str) -> Vec<(usize, &str, &str)> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at += text[at..].find('\n').unwrap_or(text.len() - at),
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'`' => at += 2 + text[at + 1..].find('`').unwrap_or(text.len() - at - 1),
            c if c.is_ascii_alphabetic() || c == b'_' => {
                let start = at;
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
                    at += 1;
                }
                if start == 0 || bytes[start - 1] != b'.' {
                    words.push((start, &text[start..at], text[at..].trim_start_matches(' ')));
                }
            }
            _ => at += 1,
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_builtins_are_refused_with_their_place() {
        for bad in [
            "x := http.send({})",
            "x := time.now_ns()",
            "x := rand.intn(\"a\", 5)",
            "x := rand[\"intn\"](\"a\", 5)",
            "x := opa.runtime()",
            "x := net.lookup_ip_addr(\"a\")",
        ] {
            let text = format!("package writ.x\n\n{bad}\n");
            let problem = refuse_impure("rules/x.rego", &text).unwrap_err();
            assert_eq!((problem.line, problem.column), (3, 6), "{bad}");
        }
        for good in [
            "# http.send in a comment",
            "x := \"time.now_ns() in a string\"",
            "x := input.time.now",
            "x := `raw http.send`",
            "times := 1",
        ] {
            assert_eq!(refuse_impure("rules/x.rego", good), Ok(()), "{good}");
        }
    }

    #[test]
    fn declares_rules_by_metadata() {
        let text = "package writ.coverage\n\n# METADATA\n# title: T\n# custom:\n#   evidence: [coverage]\n#   with: {percent: integer}\nat_least := 1\n";
        let rules = declared_rules("rules/coverage.rego", text).unwrap();
        assert_eq!(rules[0].id, "coverage.at_least");
        assert_eq!(rules[0].line, 8);
        assert_eq!(rules[0].needs.evidence, [EvidenceType::Coverage]);
        assert!(declared_rules("x", "x := 1").is_err());
    }
}
