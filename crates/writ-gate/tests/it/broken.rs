//! Bundles that must not be used, and what is said about them.

use std::collections::BTreeMap;

use writ_gate::{BundleFiles, BundleSource, lint, load_bundle, test_controls};
use writ_model::State;

fn files() -> BTreeMap<String, Vec<u8>> {
    BundleFiles::read(&BundleSource::Embedded).unwrap().0
}

/// The shipped bundle with one text replaced in one file.
fn changed(path: &str, from: &str, to: &str) -> BundleSource {
    let mut files = files();
    let text = String::from_utf8(files[path].clone()).unwrap();
    assert!(text.contains(from), "{path} has no '{from}'");
    files.insert(path.to_owned(), text.replacen(from, to, 1).into_bytes());
    BundleSource::Files(files)
}

fn complaint(source: &BundleSource) -> String {
    load_bundle(source).unwrap_err().to_string()
}

#[test]
fn mistakes_are_named_with_place_and_remedy() {
    let control = "controls/VUL-02.toml";
    for (path, from, to, expected) in [
        (
            control,
            "owner ",
            "ownre ",
            "controls/VUL-02.toml:3:1: unknown field `ownre`; did you mean 'owner'?",
        ),
        (
            control,
            "none_in_image",
            "none_in_imgae",
            "controls/VUL-02.toml:6:1: rule 'vulnerabilities.none_in_imgae' does not exist; did you mean 'vulnerabilities.none_in_image'?",
        ),
        (
            control,
            "CC7.1",
            "CC7.9",
            "soc2 has no requirement 'CC7.9'; did you mean",
        ),
        (
            control,
            "soc2",
            "soc3",
            "framework 'soc3' is not in frameworks/; did you mean 'soc2'?",
        ),
        (
            control,
            "\"container-scan\"",
            "\"sbom\"",
            "rule vulnerabilities.none_in_image judges other evidence; write evidence = [\"container-scan\"]",
        ),
        (control, "\"block\"", "\"blok\"", "unknown variant `blok`"),
        (
            "controls/TST-01.toml",
            "percent = 80",
            "percent = \"80\"",
            "parameter 'percent' is string, rule coverage.at_least wants integer",
        ),
        (
            "controls/TST-01.toml",
            "percent = 80",
            "procent = 80",
            "rule coverage.at_least has no parameter 'procent'; did you mean 'percent'?",
        ),
        (
            "profiles/startup.toml",
            "\"SEC-01\"",
            "\"SEC-10\"",
            "control 'SEC-10' does not exist; did you mean 'SEC-01'?",
        ),
        (
            "rules/tests.rego",
            "passed > 0",
            "time.now_ns() > 0",
            "'time' reads clock",
        ),
        (
            "rules/tests.rego",
            "passed > 0",
            "passed > )",
            "rules/tests.rego",
        ),
        (
            "bundle.toml",
            "version",
            "vresion",
            "bundle.toml:2:1: unknown field `vresion`; did you mean 'version'?",
        ),
    ] {
        let complaint = complaint(&changed(path, from, to));
        assert!(
            complaint.contains(expected),
            "want {expected}\ngot {complaint}"
        );
    }
}

#[test]
fn every_file_is_in_the_digest() {
    let shipped = load_bundle(&BundleSource::Embedded)
        .unwrap()
        .reference
        .digest;
    let source = changed("fixtures/SEC-01/clean.json", "clean", "clear");
    assert_ne!(load_bundle(&source).unwrap().reference.digest, shipped);
}

#[test]
fn lint_wants_what_people_need() {
    let path = "controls/VUL-02.toml";
    for (from, to, expected) in [
        (
            "why      = \"A known, fixable flaw in production counts as our finding.\"",
            "why = \"\"",
            "why is empty",
        ),
        (
            "product-security\"\nversion",
            "\"\nversion",
            "owner is empty",
        ),
        ("expect = \"pass\"", "expect = \"fail\"", "no test passes"),
        (
            "fixtures/VUL-02/clean.json",
            "fixtures/VUL-02/claen.json",
            "did you mean 'fixtures/VUL-02/clean.json'?",
        ),
    ] {
        let bundle = load_bundle(&changed(path, from, to)).unwrap();
        let said: Vec<String> = lint(&bundle).iter().map(ToString::to_string).collect();
        assert!(
            said.iter().any(|line| line.contains(expected)),
            "want {expected}, got {said:?}"
        );
    }
    let bundle = load_bundle(&changed("profiles/startup.toml", ", \"SUP-01\"", "")).unwrap();
    assert!(
        lint(&bundle)
            .iter()
            .any(|p| p.cause.contains("silenced in a tool would go unseen"))
    );
}

/// A rule that never ends, answers nonsense or contradicts itself cannot tell: it never decides.
#[test]
fn a_rule_that_cannot_answer_is_an_error() {
    let from = "\"state\": \"pass\",\n\t\"title\": \"No secret in the commits of this change\"";
    for to in [
        "\"state\": \"exempt\",\n\t\"title\": \"t\"",
        "\"state\": \"pass\",\n\t\"verdict\": true,\n\t\"title\": \"t\"",
        "\"state\": \"pass\",\n\t\"title\": sprintf(\"%d\", [count([1 | numbers.range(1, 4000)[a]; numbers.range(1, 4000)[b]; a * b < 0])])",
    ] {
        let bundle = load_bundle(&changed("rules/secrets.rego", from, to)).unwrap();
        let outcomes = test_controls(&bundle, &["SEC-01".to_owned()]);
        let clean = outcomes
            .iter()
            .find(|o| o.given.ends_with("/clean.json"))
            .unwrap();
        assert_eq!(clean.got.as_ref().unwrap().state, State::Error, "{to}");
    }
}
