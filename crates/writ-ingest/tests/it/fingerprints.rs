//! What may change a fingerprint, and what may not.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use writ_ingest::{Collected, Options, ingest};

use crate::samples::{KEY, all, fingerprints, parse, read};

/// Samples whose JSON can be taken apart and put together again.
fn json_samples() -> Vec<(String, String, Value)> {
    all()
        .into_iter()
        .filter_map(|(file, format)| {
            let value = serde_json::from_slice(&read(&file)).ok()?;
            let ingestible = parse(&read(&file), Some(&format)).is_ok();
            ingestible.then_some((file, format, value))
        })
        .collect()
}

/// Keys in another order (here: alphabetical) change nothing, even where that puts findings before
/// the rules or targets they refer to.
#[test]
fn the_order_of_keys_does_not_matter() {
    let samples = json_samples();
    assert!(samples.len() > 30);
    for (file, format, value) in samples {
        let reordered = value.to_string();
        let before = fingerprints(&read(&file), &format);
        assert_eq!(
            fingerprints(reordered.as_bytes(), &format),
            before,
            "{file}"
        );
        let (report, _) = parse(&read(&file), Some(&format)).unwrap();
        let (again, _) = parse(reordered.as_bytes(), Some(&format)).unwrap();
        assert_eq!(again.counts, report.counts, "{file}");
        assert_eq!(again.tool, report.tool, "{file}");
    }
}

fn reversed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let members: Vec<String> = map
                .iter()
                .rev()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), reversed(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(reversed).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// As above, the other way round.
#[test]
fn reversed_keys_do_not_matter() {
    for (file, format, value) in json_samples() {
        let before = fingerprints(&read(&file), &format);
        let after = fingerprints(reversed(&value).as_bytes(), &format);
        assert_eq!(after, before, "{file}");
    }
}

fn shift(value: &mut Value, by: u64) {
    const LINES: &[&str] = &[
        "StartLine",
        "EndLine",
        "startLine",
        "endLine",
        "start_line",
        "end_line",
        "line",
        "startColumn",
        "endColumn",
        "col",
        "column",
        "StartColumn",
        "EndColumn",
    ];
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value.as_u64() {
                    Some(line) if LINES.contains(&&**key) => *value = Value::from(line + by),
                    _ if key == "file_line_range" => {
                        for line in value.as_array_mut().into_iter().flatten() {
                            *line = Value::from(line.as_u64().unwrap_or_default() + by);
                        }
                    }
                    _ => shift(value, by),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| shift(value, by)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Code that moves keeps its findings.
    #[test]
    fn lines_and_columns_do_not_matter(by in 1_u64..5_000) {
        for (file, format, mut value) in json_samples() {
            // These two quote the line together with its number; the work tree decides for them.
            if matches!(&*format, "bandit" | "gosec") {
                continue;
            }
            let before = fingerprints(&read(&file), &format);
            shift(&mut value, by);
            prop_assert_eq!(fingerprints(value.to_string().as_bytes(), &format), before, "{}", file);
        }
    }
}

/// The same vulnerability of the same package is one finding, whoever reports it.
#[test]
fn scanners_agree_on_vulnerabilities() {
    let of = |file: &str, format: &str| -> BTreeSet<String> {
        let (_, sink) = parse(&read(file), Some(format)).unwrap();
        let vulnerable =
            |f: &&writ_model::Finding| f.category == writ_model::Category::Vulnerability;
        sink.findings
            .iter()
            .filter(vulnerable)
            .map(|f| format!("{} {}", f.name(), f.fingerprint))
            .collect()
    };
    let trivy = of("trivy/fs.json", "trivy");
    assert_eq!(trivy.len(), 12);
    assert_eq!(of("pip-audit/findings.json", "pip-audit"), trivy);
    assert_eq!(of("osv-scanner/requirements.json", "osv-scanner"), trivy);
    assert_eq!(of("cyclonedx/trivy-fs.cdx.json", "cyclonedx"), trivy);
    let grype = of("grype/image.json", "grype");
    assert!(grype.intersection(&trivy).count() >= 4, "{grype:?}");
}

/// No fingerprint stands for two different findings of code in one report.
#[test]
fn different_findings_have_different_fingerprints() {
    for (file, format) in all() {
        let Ok((_, sink)) = parse(&read(&file), Some(&format)) else {
            continue;
        };
        let mut seen = BTreeSet::new();
        for finding in &sink.findings {
            use writ_model::Category::{Code, Misconfiguration, Quality};
            if matches!(finding.category, Code | Quality | Misconfiguration) {
                assert!(seen.insert(finding.fingerprint), "{file}: {finding:?}");
            }
        }
    }
}

fn semgrep_at(root: &std::path::Path, line: u32) -> String {
    let report = format!(
        r#"{{"version":"1","errors":[],"paths":{{"scanned":["a.py"]}},"results":[
            {{"check_id":"rules.eval","path":"a.py","start":{{"line":{line}}},"end":{{"line":{line}}},
              "extra":{{"message":"m","severity":"ERROR","lines":"requires login"}}}}]}}"#
    );
    let mut sink = Collected::default();
    let options = Options {
        root: Some(root),
        ..Options::new(&KEY)
    };
    ingest(&mut report.as_bytes(), &options, &mut sink).unwrap();
    sink.findings[0].fingerprint.to_hex()
}

/// With the work tree at hand the line itself is the identity.
#[test]
fn source_lines_are_the_identity() {
    let root = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(root.path().join("a.py"), text).unwrap();
    write("import os\neval(x)\n");
    let first = semgrep_at(root.path(), 2);
    write("# new\n# lines\nimport os\n    eval(x)\n");
    assert_eq!(semgrep_at(root.path(), 4), first, "moved and indented");
    write("import os\neval(y)\n");
    assert_ne!(semgrep_at(root.path(), 2), first, "another line");
}

/// Severity, titles and the tool's version are no part of the identity.
#[test]
fn severity_and_words_do_not_matter() {
    let sample = String::from_utf8(read("trivy/fs.json")).unwrap();
    let changed = sample
        .replace("\"CRITICAL\"", "\"LOW\"")
        .replace("\"Version\": \"0.76.0\"", "\"Version\": \"1.0.0\"")
        .replace("\"Title\": \"", "\"Title\": \"Other ");
    assert_ne!(changed, sample);
    assert_eq!(
        fingerprints(changed.as_bytes(), "trivy"),
        fingerprints(sample.as_bytes(), "trivy")
    );
}
