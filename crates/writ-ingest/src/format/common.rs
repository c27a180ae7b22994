//! What several formats share: places, vulnerable packages, quoted source lines.

use writ_model::{Category, Finding, Fix, Identifier, Location, Severity, Suppression};

use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::identify::Identifiers;
use crate::out::{Out, blank};
use crate::package::PackageKey;
use crate::text;

/// A place in a file.
pub fn file(path: &str, line: Option<u32>, end_line: Option<u32>, column: Option<u32>) -> Location {
    Location::File {
        path: path.to_owned(),
        line,
        end_line,
        column,
        commit: None,
        resource: None,
    }
}

/// A place in a file that declares a resource.
pub fn resource(path: &str, lines: [Option<u32>; 2], address: &str) -> Location {
    Location::File {
        path: path.to_owned(),
        line: lines[0],
        end_line: lines[1],
        column: None,
        commit: None,
        resource: (!address.is_empty()).then(|| address.to_owned()),
    }
}

/// Advice in words.
pub fn advice(words: &str) -> Option<Fix> {
    text::block(words, 500).map(|text| Fix {
        versions: Vec::new(),
        text: Some(text),
    })
}

/// A weakness about credentials in source: its line and its message may hold one, so neither is
/// kept and the line stays out of the fingerprint.
pub fn quotes_credentials(identifiers: &[Identifier]) -> bool {
    let weaknesses = ["CWE-798", "CWE-259", "CWE-321", "CWE-312", "CWE-522"];
    identifiers
        .iter()
        .any(|id| weaknesses.contains(&&*id.value))
}

/// A vulnerability of a package, as dependency scanners report it.
#[derive(Default)]
pub struct Vulnerable<'a> {
    /// The tool's id.
    pub id: &'a str,
    /// All public names, the id included.
    pub ids: Identifiers,
    /// One line.
    pub title: &'a str,
    /// More text.
    pub description: &'a str,
    /// The tool's severity word or number.
    pub raw_severity: &'a str,
    /// Normalised.
    pub severity: Severity,
    /// Base score.
    pub cvss_tenths: Option<u16>,
    /// Package URL; may be empty.
    pub purl: &'a str,
    /// The tool's word for the ecosystem, when there is no package URL.
    pub ecosystem: &'a str,
    /// Package name.
    pub name: &'a str,
    /// Installed version; may be empty.
    pub version: &'a str,
    /// Lock file or path; may be empty.
    pub path: &'a str,
    /// Versions without the problem.
    pub fixed: Vec<String>,
    /// Advice in words.
    pub advice: Option<String>,
    /// Silenced in the tool.
    pub suppression: Option<Suppression>,
}

impl Vulnerable<'_> {
    /// Hands the finding on.
    pub fn emit(self, cwes: &[&str], out: &mut Out<'_>) -> Result<(), IngestError> {
        let key = PackageKey::new(self.purl, self.ecosystem, self.name);
        let preferred = self.ids.preferred(self.id).to_owned();
        let mut ids = self.ids;
        for cwe in cwes {
            ids.add_cwe(cwe);
        }
        let mut finding = blank(Category::Vulnerability, self.id, self.title, self.severity);
        finding.raw_severity = text::one_line(self.raw_severity, 40);
        finding.cvss_tenths = self.cvss_tenths;
        finding.identifiers = ids.finish();
        finding.message = text::block(self.description, 2_000);
        finding.suppression = self.suppression;
        if !self.fixed.is_empty() || self.advice.is_some() {
            finding.fix = Some(Fix {
                versions: self.fixed,
                text: self.advice,
            });
        }
        let path = out.path(self.path);
        finding.location = Location::Package {
            purl: if self.purl.is_empty() {
                key.to_purl(self.version)
            } else {
                Some(text::one_line(self.purl, 500))
            },
            name: text::one_line(self.name, 300),
            version: (!self.version.is_empty()).then(|| text::one_line(self.version, 200)),
            path: (!path.is_empty()).then_some(path),
        };
        let basis = Basis::Package {
            ecosystem: &key.ecosystem,
            name: &key.name,
            id: &preferred,
        };
        out.finding(finding, &basis)
    }
}

/// The line with this number from a quotation such as `12: code` or `12 code`, which also holds
/// neighbouring lines.
pub fn quoted_line(quotation: &str, line: Option<u32>) -> &str {
    let Some(line) = line else {
        return "";
    };
    let number = line.to_string();
    quotation
        .lines()
        .find_map(|text| {
            let rest = text.trim_start().strip_prefix(number.as_str())?;
            rest.strip_prefix(": ")
                .or_else(|| rest.strip_prefix([' ', '\t']))
        })
        .unwrap_or_default()
}

/// Completes a code finding: place, content, credentials left out.
pub fn code(
    mut finding: Finding,
    place: [Option<u32>; 3],
    raw_path: &str,
    snippet: &str,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    let path = out.path(raw_path);
    let [line, end_line, column] = place;
    let hide = quotes_credentials(&finding.identifiers);
    if hide {
        finding.message = None;
    }
    let content = if hide {
        None
    } else {
        out.content(&path, line, end_line, snippet)
    };
    finding.location = file(&path, line, end_line, column);
    let rule = finding.rule.clone();
    let basis = Basis::Code {
        rule: &rule,
        path: &path,
        content,
    };
    out.finding(finding, &basis)
}
