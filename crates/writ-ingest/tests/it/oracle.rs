//! Counts of every sample against `expected.toml`, which is made without any code of this project.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use writ_ingest::{FORMATS, IngestError, by_id, detect};
use writ_model::{Category, Severity};

use crate::samples::{parse, read};

#[derive(Deserialize)]
struct Oracle {
    report: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    file: String,
    format: String,
    findings: Option<u64>,
    suppressed: Option<u64>,
    components: Option<u64>,
    error: Option<String>,
    instances: Option<u64>,
    #[serde(default)]
    by: BTreeMap<String, u64>,
    #[serde(default)]
    kinds: BTreeMap<String, u64>,
    #[serde(default)]
    licences: BTreeMap<String, u64>,
    #[serde(default)]
    looked_at: BTreeMap<String, u64>,
    #[serde(default)]
    tests: BTreeMap<String, u64>,
    #[serde(default)]
    coverage: BTreeMap<String, u64>,
}

fn oracle() -> Vec<Expected> {
    let text = String::from_utf8(read("expected.toml")).unwrap();
    toml::from_str::<Oracle>(&text).unwrap().report
}

/// Every listed format has a sample, and every sample has a format.
#[test]
fn every_format_has_a_sample() {
    let sampled: BTreeSet<String> = oracle().into_iter().map(|e| e.format).collect();
    let listed: BTreeSet<String> = FORMATS.iter().map(|f| f.id().to_owned()).collect();
    assert_eq!(sampled, listed);
}

/// Ids are unique and titles, media types and yields are stated.
#[test]
fn the_table_is_complete() {
    let ids: BTreeSet<&str> = FORMATS.iter().map(|format| format.id()).collect();
    assert_eq!(ids.len(), FORMATS.len());
    for format in FORMATS {
        assert!(!format.title().is_empty(), "{}", format.id());
        assert!(!format.media_types().is_empty(), "{}", format.id());
        assert!(!format.yields().is_empty(), "{}", format.id());
        assert_eq!(by_id(format.id()).unwrap().id(), format.id());
    }
}

/// Content alone says the format; an empty list says nothing and is asked about.
#[test]
fn samples_are_recognised_by_content() {
    for expected in oracle() {
        let bytes = read(&expected.file);
        match detect(&bytes[..bytes.len().min(writ_ingest::HEAD_BYTES)]) {
            Ok(format) => assert_eq!(format.id(), expected.format, "{}", expected.file),
            Err(IngestError::Ambiguous { candidates }) => {
                assert_eq!(
                    expected.findings,
                    Some(0),
                    "{}: {candidates}",
                    expected.file
                );
                assert!(candidates.contains(&expected.format), "{candidates}");
            }
            Err(error) => panic!("{}: {error}", expected.file),
        }
    }
}

#[test]
fn counts_are_those_of_the_oracle() {
    for expected in oracle() {
        let file = &expected.file;
        let result = parse(&read(file), Some(&expected.format));
        if let Some(cause) = &expected.error {
            let error = result.expect_err(file);
            assert!(error.to_string().contains(cause), "{file}: {error}");
            continue;
        }
        let (report, sink) = result.unwrap_or_else(|error| panic!("{file}: {error}"));
        let license = |f: &&writ_model::Finding| f.category == Category::License;
        let open: Vec<_> = sink
            .findings
            .iter()
            .filter(|f| f.suppression.is_none())
            .collect();
        let licences = open.iter().copied().filter(license).count() as u64;
        let findings = expected.instances.or(expected.findings).unwrap_or_default();
        assert_eq!(report.findings - licences, findings, "{file}: findings");
        assert_eq!(
            licences,
            expected.licences.values().sum::<u64>(),
            "{file}: licences"
        );
        assert_eq!(
            report.findings + report.suppressed,
            sink.findings.len() as u64,
            "{file}"
        );
        assert_eq!(report.counts.total(), report.findings, "{file}");
        assert_eq!(
            report.suppressed_counts.total(),
            report.suppressed,
            "{file}"
        );
        if let Some(suppressed) = expected.suppressed {
            assert_eq!(report.suppressed, suppressed, "{file}: suppressed");
        }
        if let Some(components) = expected.components {
            assert_eq!(report.components, components, "{file}: components");
        }
        assert_eq!(report.components, sink.components.len() as u64, "{file}");
        if expected.instances.is_none() && !expected.by.is_empty() {
            severities(&expected, &report, licences);
        }
        for (what, count) in &expected.looked_at {
            let found = match &**what {
                // These two are problems, not denominators.
                "parsing_errors" | "skipped" => report.problem_count,
                "licences" => licences,
                _ => report.looked_at(what).unwrap_or_default(),
            };
            assert_eq!(found, *count, "{file}: {what}");
        }
        if let Some(tests) = report.tests {
            for (outcome, count) in &expected.tests {
                let found = match &**outcome {
                    "passed" => tests.passed,
                    "failed" => tests.failed,
                    "errors" => tests.errors,
                    _ => tests.skipped,
                };
                assert_eq!(found, *count, "{file}: {outcome}");
            }
            assert_eq!(tests.total, sink.test_cases.len() as u64, "{file}");
        } else {
            assert!(expected.tests.is_empty(), "{file}");
        }
        let coverage = report.coverage.unwrap_or_default();
        if let Some(lines) = expected.coverage.get("lines") {
            assert_eq!(coverage.lines_total, *lines, "{file}: lines");
            assert_eq!(
                coverage.lines_covered, expected.coverage["covered"],
                "{file}: covered"
            );
        }
        for (kind, count) in &expected.kinds {
            let category = match &**kind {
                "vulnerability" if expected.format == "cargo-audit" => continue,
                "vulnerability" => Category::Vulnerability,
                "misconfiguration" => Category::Misconfiguration,
                "secret" => Category::Secret,
                _ => continue,
            };
            let found = open.iter().filter(|f| f.category == category).count() as u64;
            assert_eq!(found, *count, "{file}: {kind}");
        }
    }
}

/// The tool's own words, counted by what the findings keep of them.
fn severities(expected: &Expected, report: &writ_ingest::Report, licences: u64) {
    let mut by: BTreeMap<Severity, u64> = BTreeMap::new();
    for (word, count) in expected.by.iter().chain(&expected.licences) {
        let Some(severity) = word_of(&expected.format, word) else {
            return;
        };
        *by.entry(severity).or_default() += count;
    }
    let total: u64 = by.values().sum();
    assert_eq!(
        total,
        expected.findings.unwrap_or_default() + licences,
        "{}",
        expected.file
    );
    for (severity, count) in by {
        assert_eq!(
            report.counts.get(severity),
            count,
            "{}: {severity}",
            expected.file
        );
    }
}

/// `None`: this format's words do not decide alone (a score or a table of rules does).
fn word_of(format: &str, word: &str) -> Option<Severity> {
    match (format, word) {
        (_, "none") | ("sarif" | "cargo-audit" | "osv-scanner" | "wapiti", _) => None,
        _ => Severity::from_word(word),
    }
}

/// Every format has its fuzz target, listed for the builder and for readers.
#[test]
fn every_format_has_a_fuzz_target() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let read = |name: &str| std::fs::read_to_string(fuzz.join(name)).unwrap();
    let (manifest, readme) = (read("Cargo.toml"), read("README.md"));
    for format in FORMATS {
        let name = format.id().replace('-', "_");
        let target = read(&format!("fuzz_targets/{name}.rs"));
        assert!(target.contains(&format!("\"{}\"", format.id())), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
}
