//! One test per kind of bad input: the error says what, where, why and what to do.

use std::io::Read;

use writ_ingest::{
    Discard, IngestError, Limits, Options, ProblemKind, TestOutcome, ingest, keyed_hash,
};

use crate::samples::{KEY, parse};

fn error(bytes: &[u8], format: Option<&str>) -> String {
    parse(bytes, format).expect_err("an error").to_string()
}

#[test]
fn empty_is_not_clean() {
    for bytes in [&b""[..], b" \n\t", b"\xef\xbb\xbf"] {
        assert!(error(bytes, None).contains("empty"));
        assert!(error(bytes, Some("trivy")).contains("empty"));
    }
    // Except for a tool that says nothing when it finds nothing, if it is named.
    let (report, _) = parse(b"", Some("git-secrets")).unwrap();
    assert_eq!(report.findings, 0);
    assert!(report.looked_at.is_empty());
}

#[test]
fn an_empty_list_is_ambiguous() {
    let text = error(b"[]", None);
    assert!(text.contains("gitleaks") && text.contains("hadolint") && text.contains("--as"));
    assert_eq!(parse(b"[]", Some("gitleaks")).unwrap().0.findings, 0);
    assert!(error(br#"{"results": []}"#, None).contains("tfsec"));
}

#[test]
fn other_encodings_are_named() {
    let utf16: Vec<u8> = "\u{feff}[{\"RuleID\":1}]"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(error(&utf16, None).contains("UTF-16LE"));
    assert!(error(&utf16, Some("gitleaks")).contains("iconv"));
    assert!(error(b"\x1f\x8b\x08\0", None).contains("gzip"));
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite name='\xe4'/>";
    assert!(
        error(latin, None).contains("UTF-8"),
        "{}",
        error(latin, None)
    );
    assert!(
        error(
            b"[{\"RuleID\":\"\xff\",\"File\":\"f\",\"Secret\":\"\"}]",
            None
        )
        .contains("byte 12")
    );
}

#[test]
fn a_byte_order_mark_is_fine() {
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend_from_slice(br#"{"SchemaVersion":2,"Results":[]}"#);
    assert_eq!(parse(&bytes, None).unwrap().0.format, "trivy");
}

#[test]
fn unknown_content_is_described() {
    let text = error(br#"{"hello":1,"world":2}"#, None);
    assert!(
        text.contains("hello, world") && text.contains("--as"),
        "{text}"
    );
    assert!(error(b"<html></html>", None).contains("'html'"));
    assert!(error(b"some words", None).contains("plain text"));
    let text = error(b"{}", Some("trivvy"));
    assert!(text.contains("did you mean 'trivy'"), "{text}");
}

#[test]
fn wrong_format_is_said() {
    let text = error(br#"[{"RuleID":"x","File":"f","Secret":""}]"#, Some("sarif"));
    assert!(
        text.contains("not sarif") && text.contains("looks like gitleaks"),
        "{text}"
    );
    let text = error(br#"{"a":1}"#, Some("sarif"));
    assert!(
        text.starts_with("sarif: ") && text.contains("--as"),
        "{text}"
    );
    assert!(error(br#"{"SchemaVersion":3}"#, Some("trivy")).contains("schema version 2"));
    assert!(error(br#"{"version":"3.0","runs":[]}"#, Some("sarif")).contains("2.1.0"));
    assert!(error(br#"{"spdxVersion":"SPDX-3.0"}"#, Some("spdx")).contains("SPDX-2.3"));
}

#[test]
fn places_are_byte_line_and_column() {
    let text = error(
        b"[\n {\"RuleID\": \"a\",\n  \"File\": nope}\n]",
        Some("gitleaks"),
    );
    assert!(
        text.contains("line 3") && text.contains("byte 30"),
        "{text}"
    );
}

#[test]
fn nesting_is_bounded() {
    for depth in [200, 200_000] {
        let json = format!("{{\"SchemaVersion\":2,\"x\":{}", "[".repeat(depth));
        assert!(error(json.as_bytes(), Some("trivy")).contains("levels of nesting"));
        let element = format!("[{{\"RuleID\":{}", "{\"a\":".repeat(depth));
        assert!(error(element.as_bytes(), Some("gitleaks")).contains("levels of nesting"));
        let xml = "<testsuite>".repeat(depth);
        assert!(error(xml.as_bytes(), Some("junit")).contains("levels of nesting"));
    }
}

fn limited(bytes: &[u8], limits: Limits) -> Result<writ_ingest::Report, IngestError> {
    let options = Options {
        limits,
        ..Options::new(&KEY)
    };
    ingest(&mut &bytes[..], &options, &mut Discard)
}

#[test]
fn strings_items_and_bytes_are_bounded() {
    let limits = Limits {
        max_string: 1_000,
        max_item: 5_000,
        max_bytes: 900_000,
        max_findings: 3,
        ..Limits::default()
    };
    let leak = |file: &str| format!(r#"{{"RuleID":"a","Secret":"b","File":"{file}"}}"#);
    let text = |bytes: &str| {
        limited(bytes.as_bytes(), limits)
            .expect_err("too much")
            .to_string()
    };
    assert!(text(&format!("[{}]", leak(&"x".repeat(2_000)))).contains("1000 bytes in one string"));
    let wide = format!(
        r#"[{{"RuleID":"a","Secret":"b","File":"c","x":[{}1]}}]"#,
        "1,".repeat(400_000)
    );
    assert!(text(&wide).contains("5000 bytes in one entry"));
    let skipped = format!(
        r#"{{"SchemaVersion":2,"Results":[],"x":"{}"}}"#,
        "y".repeat(2_000)
    );
    assert!(text(&skipped).contains("in one string"));
    assert!(text(&format!("[{}]", vec![leak("f"); 4].join(","))).contains("3 items"));
    let long = format!("[{}{}]", " ".repeat(1_000_000), leak("f"));
    assert!(
        limited(
            long.as_bytes(),
            Limits {
                max_bytes: 900_000,
                ..Limits::default()
            }
        )
        .is_err()
    );
    let xml = format!(
        "<testsuite><testcase name='{}'/></testsuite>",
        "n".repeat(2_000)
    );
    assert!(text(&xml).contains("1000 bytes in one element"));
}

/// Much more than memory should hold, from a reader that makes it up.
#[test]
fn a_long_report_streams() {
    struct Endless {
        left: u64,
        at: usize,
    }
    const LEAK: &[u8] = br#"{"RuleID":"a","Secret":"b","File":"c","Match":"key = b"},"#;
    impl Read for Endless {
        fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
            for (written, byte) in target.iter_mut().enumerate() {
                if self.left == 0 {
                    return Ok(written);
                }
                *byte = LEAK[self.at];
                self.at = (self.at + 1) % LEAK.len();
                self.left -= 1;
            }
            Ok(target.len())
        }
    }
    let count = 50_000;
    let middle = Endless {
        left: count * LEAK.len() as u64 - 1,
        at: 0,
    };
    let mut reader = (&b"["[..]).chain(middle).chain(&b"]"[..]);
    let report = ingest(&mut reader, &Options::new(&KEY), &mut Discard).unwrap();
    assert_eq!(report.findings, count);
}

#[test]
fn nul_bytes_are_errors_or_dropped() {
    assert!(error(b"[{\"RuleID\":\"a\0\"}]", Some("gitleaks")).contains("control character"));
    let (_, sink) = parse(
        br#"[{"RuleID":"a\u0000b","Secret":"s","File":"x\u0000y"}]"#,
        Some("gitleaks"),
    )
    .unwrap();
    assert_eq!(sink.findings[0].rule, "a b");
}

/// A key twice in one entry: no guess which one counts.
#[test]
fn duplicate_keys_make_a_bad_entry() {
    let report = br#"[{"RuleID":"a","RuleID":"b","Secret":"s","File":"f"},{"RuleID":"c","Secret":"s","File":"f"}]"#;
    let (report, sink) = parse(report, None).unwrap();
    assert_eq!(sink.findings.len(), 1);
    assert_eq!(report.problem_count, 1);
    assert_eq!(report.problems[0].kind, ProblemKind::BadEntry);
    assert!(
        report.problems[0].text.contains("duplicate field"),
        "{:?}",
        report.problems
    );
}

#[test]
fn numbers_may_be_strings() {
    let report = br#"[{"RuleID":1,"Secret":"s","File":"f","StartLine":"12"}]"#;
    let (_, sink) = parse(report, Some("gitleaks")).unwrap();
    let json = serde_json::to_value(&sink.findings[0]).unwrap();
    assert_eq!(json["location"]["line"], 12);
    assert_eq!(json["rule"], "1");
}

#[test]
fn entities_are_never_expanded() {
    let mut laughs = String::from("<?xml version='1.0'?><!DOCTYPE t [<!ENTITY a0 'ha'>");
    for level in 1..30 {
        let below = level - 1;
        laughs.push_str(&format!(
            "<!ENTITY a{level} '{}'>",
            format!("&a{below};").repeat(10)
        ));
    }
    laughs.push_str("<!ENTITY file SYSTEM 'file:///etc/passwd'>]>");
    laughs.push_str("<testsuite name='&a29;'><testcase name='&file;'><failure>&a29;&file;</failure></testcase></testsuite>");
    let (_, sink) = parse(laughs.as_bytes(), None).unwrap();
    let text = serde_json::to_string(&sink).unwrap();
    assert!(text.len() < 1_000 && !text.contains("root:"), "{text}");
}

#[test]
fn nested_suites_and_missing_counts_are_recounted() {
    let xml = "<testsuites tests='9'><testsuite name='a'><testsuite name='b'>\
        <testcase name='1'/><testcase name='2'><failure message='no'/><error/></testcase>\
        <testcase name='3' status='notrun'/></testsuite></testsuite></testsuites>";
    let (report, sink) = parse(xml.as_bytes(), None).unwrap();
    let totals = report.tests.unwrap();
    assert_eq!(
        (totals.total, totals.passed, totals.errors, totals.skipped),
        (3, 1, 1, 1)
    );
    assert_eq!(sink.test_cases[0].suite, "a / b");
    assert_eq!(sink.test_cases[1].outcome, TestOutcome::Error);
    assert_eq!(report.problems[0].kind, ProblemKind::Inconsistent);
}

#[test]
fn trailing_content_is_an_error() {
    assert!(
        error(br#"{"SchemaVersion":2,"Results":[]} {"#, Some("trivy")).contains("after the end")
    );
}

/// Values of the report never appear in messages: they may be secrets.
#[test]
fn messages_do_not_quote_the_report() {
    let report = br#"[{"RuleID":"a","Secret":"s","File":"f"},"hunter2-hunter2"]"#;
    let (report, _) = parse(report, Some("gitleaks")).unwrap();
    assert_eq!(report.problem_count, 1);
    assert!(!format!("{report:?}").contains("hunter2"));
}

/// RFC 4231 has no case with a key of 32 bytes; this value is from `openssl dgst -sha256 -mac HMAC`.
#[test]
fn keyed_hashes_are_hmac_sha256() {
    assert_eq!(
        keyed_hash(&KEY, b"writ"),
        "a69a1a6f2d2b7d77bbf0754d27de016ed5ec57a95d3a05beb7d7d6e532f0a180"
    );
}

#[test]
fn an_audit_that_failed_is_an_error_of_the_tool() {
    let text = error(
        br#"{"error":{"code":"ENOLOCK","summary":"needs a lock file"}}"#,
        None,
    );
    assert!(
        text.contains("ENOLOCK") && text.contains("error instead of a result"),
        "{text}"
    );
}

#[test]
fn stray_lines_of_lcov_matter_inside_a_section_only() {
    let (report, _) = parse(b"SF:a\nDA:1,1\nend_of_record\nEOF\n", Some("lcov")).unwrap();
    assert_eq!(
        (report.coverage.unwrap().lines_total, report.notes.len()),
        (1, 1)
    );
    assert!(error(b"SF:a\nDA 1,1\nend_of_record\n", Some("lcov")).contains("line 2"));
}
