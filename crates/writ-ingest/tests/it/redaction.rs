//! Nothing of a secret or a person survives in what is stored, and the counts stay.

use writ_ingest::{Limits, MASK, redact};
use writ_model::Digest;

use crate::samples::{KEY, all, fingerprints, parse, read};

fn redacted(bytes: &[u8], format: &str) -> Vec<u8> {
    let mut copy = Vec::new();
    let outcome = redact(
        Some(format),
        &mut &bytes[..],
        &mut copy,
        &KEY,
        Limits::default(),
    )
    .unwrap();
    assert_eq!(outcome.digest, Digest::of(&copy));
    assert_eq!(outcome.bytes_written, copy.len() as u64);
    copy
}

/// A redacted report reads as the original does.
#[test]
fn redacted_reports_have_the_same_counts() {
    for (file, format) in all() {
        let original = read(&file);
        let Ok((report, _)) = parse(&original, Some(&format)) else {
            continue;
        };
        let copy = redacted(&original, &format);
        let (again, _) = parse(&copy, Some(&format)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(again.counts, report.counts, "{file}");
        assert_eq!(again.components, report.components, "{file}");
        assert_eq!(again.looked_at, report.looked_at, "{file}");
        assert_eq!(again.bindings, report.bindings, "{file}");
        let twice = redacted(&copy, &format);
        assert!(twice == copy, "{file}: redacting twice changes nothing");
    }
}

/// Where the fingerprint rests on nothing that is removed, it is the same too.
#[test]
fn redaction_keeps_fingerprints_of_secret_scanners() {
    for (file, format) in all() {
        if matches!(
            &*format,
            "gitleaks" | "git-secrets" | "zap" | "wapiti" | "nuclei" | "grype"
        ) {
            let original = read(&file);
            let copy = redacted(&original, &format);
            assert_eq!(
                fingerprints(&copy, &format),
                fingerprints(&original, &format),
                "{file}"
            );
        }
    }
}

#[test]
fn secrets_and_people_are_gone() {
    let original = String::from_utf8(read("gitleaks/unredacted.json")).unwrap();
    let leaks: Vec<serde_json::Value> = serde_json::from_str(&original).unwrap();
    let copy = String::from_utf8(redacted(original.as_bytes(), "gitleaks")).unwrap();
    let (_, sink) = parse(original.as_bytes(), None).unwrap();
    let findings = serde_json::to_string(&sink).unwrap();
    for leak in &leaks {
        for key in ["Secret", "Author", "Email", "Message"] {
            let value = leak[key].as_str().unwrap();
            if !value.is_empty() {
                assert!(!copy.contains(value), "{key} in the copy");
                assert!(!findings.contains(value), "{key} in the findings");
            }
        }
    }
    assert!(copy.contains("keyed-hash:"));
    assert!(
        sink.findings
            .iter()
            .all(|finding| finding.secret_hash.is_some())
    );
}

#[test]
fn git_secrets_lines_are_hashed() {
    let original = String::from_utf8(read("git-secrets/history.txt")).unwrap();
    let copy = String::from_utf8(redacted(original.as_bytes(), "git-secrets")).unwrap();
    let (_, sink) = parse(original.as_bytes(), None).unwrap();
    let findings = serde_json::to_string(&sink).unwrap();
    for word in ["AKIAWRITDEMOFAKEKEY2", "Opens7Nothing0"] {
        assert!(original.contains(word));
        assert!(!copy.contains(word));
        assert!(!findings.contains(word));
    }
}

/// Places where scanners quote source, requests or evidence.
#[test]
fn quotations_are_masked() {
    for (format, report, gone) in [
        (
            "sarif",
            r#"{"version":"2.1.0","runs":[{"results":[{"ruleId":"r","message":{"text":"m"},
               "partialFingerprints":{"author":"Jo Doe","email":"jo@example.org","commitSha":"abc"},
               "locations":[{"physicalLocation":{"artifactLocation":{"uri":"a"},
               "region":{"startLine":1,"snippet":{"text":"pw=hunter2"}}}}]}],"tool":{"driver":{"name":"x"}}}]}"#,
            &["hunter2", "Jo Doe", "jo@example.org"][..],
        ),
        (
            "zap",
            r#"{"@version":"2","site":[{"@name":"http://a","alerts":[{"pluginid":"1","instances":[
               {"uri":"http://a/","evidence":"Set-Cookie: sid=9","request-body":"password=hunter2"}]}]}]}"#,
            &["sid=9", "hunter2"],
        ),
        (
            "zap",
            "<OWASPZAPReport version='2'><site name='http://a'><alerts><alertitem><pluginid>1</pluginid>\
             <instances><instance><uri>http://a/</uri><evidence>sid=9</evidence></instance></instances>\
             </alertitem></alerts></site></OWASPZAPReport>",
            &["sid=9"],
        ),
        (
            "trivy",
            r#"{"SchemaVersion":2,"Metadata":{"Author":"Jo Doe","ImageConfig":{"history":[{"created_by":"ENV PW=hunter2"}]}},
               "Results":[{"Target":"a","Secrets":[{"RuleID":"r","Match":"hunter2","Code":{"Lines":[{"Content":"hunter2"}]}}]}]}"#,
            &["hunter2", "Jo Doe"],
        ),
        (
            "nuclei",
            r#"{"template-id":"t","info":{"author":["jo"]},"request":"Cookie: sid=9","curl-command":"curl -H sid=9"}"#,
            &["sid=9"],
        ),
        (
            "cyclonedx",
            "<bom xmlns='http://cyclonedx.org/schema/bom/1.6'><metadata><authors><author><name>Jo Doe</name>\
             </author></authors></metadata></bom>",
            &["Jo Doe"],
        ),
        (
            "spdx",
            r#"{"spdxVersion":"SPDX-2.3","creationInfo":{"creators":["Person: Jo Doe","Tool: syft-1.0"]}}"#,
            &["Jo Doe"],
        ),
    ] {
        let copy = String::from_utf8(redacted(report.as_bytes(), format)).unwrap();
        for word in gone {
            assert!(!copy.contains(word), "{format}: {word} in {copy}");
        }
        assert!(
            copy.contains(MASK) || copy.contains("null"),
            "{format}: {copy}"
        );
        parse(copy.as_bytes(), Some(format)).unwrap();
    }
}

/// Formats without secrets are copied byte for byte.
#[test]
fn nothing_to_remove_means_the_same_bytes() {
    for file in [
        "lcov/payments.info",
        "junit/payments.xml",
        "pip-audit/findings.json",
    ] {
        let format = file.split('/').next().unwrap();
        assert_eq!(redacted(&read(file), format), read(file), "{file}");
    }
}
