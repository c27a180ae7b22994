//! The bundle that ships: it loads, every recorded case gives what it says, every message is golden.

use std::fmt::Write as _;
use std::sync::LazyLock;

use writ_gate::{Bundle, BundleSource, lint, load_bundle, place, test_controls};
use writ_model::Check;

/// Loaded once: every test reads the same bundle.
pub(crate) fn bundle() -> &'static Bundle {
    static BUNDLE: LazyLock<Bundle> =
        LazyLock::new(|| match load_bundle(&BundleSource::Embedded) {
            Ok(bundle) => bundle,
            Err(error) => panic!("{error}"),
        });
    &BUNDLE
}

#[test]
fn every_recorded_case_gives_what_it_says() {
    let wrong: Vec<String> = test_controls(bundle(), &[])
        .iter()
        .filter(|outcome| !outcome.holds())
        .map(|outcome| match &outcome.got {
            Ok(check) => format!(
                "{}: want {} {:?}, got {} {}: {:?}",
                outcome.given,
                outcome.expected,
                outcome.expected_code,
                check.state,
                check.code,
                check.found
            ),
            Err(cause) => format!("{}: {cause}", outcome.given),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_shipped_bundle_has_nothing_to_lint() {
    let problems: Vec<String> = lint(bundle()).iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Every message as a blocked developer reads it.
#[test]
fn messages_are_golden() {
    let bundle = bundle();
    for control in bundle.controls.keys() {
        let mut text = String::new();
        for outcome in test_controls(bundle, std::slice::from_ref(control)) {
            let name = outcome.given.rsplit('/').next().unwrap_or_default();
            let _ = writeln!(text, "## {name}");
            match outcome.got {
                Ok(check) => text.push_str(&card(&check)),
                Err(cause) => text.push_str(&cause),
            }
            text.push('\n');
        }
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(control.as_str(), text);
        });
    }
}

fn card(check: &Check) -> String {
    let mut text = format!(
        "{}  {}  {}\n  code      {}\n",
        check.state, check.control, check.title, check.code
    );
    let mut part = |name: &str, lines: &[String]| {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { name } else { "" };
            let _ = writeln!(text, "  {label:<9} {line}");
        }
    };
    part("found", &check.found);
    let items: Vec<String> = check
        .items
        .iter()
        .map(|item| {
            let severity = item
                .severity
                .map(|s| s.word().to_uppercase())
                .unwrap_or_default();
            let at = item.location.as_ref().map(place).unwrap_or_default();
            let fix = item
                .fix
                .as_ref()
                .map(|f| format!(" -> {f}"))
                .unwrap_or_default();
            let exempt = item
                .exempted_by
                .as_ref()
                .map(|n| format!(" [{n}]"))
                .unwrap_or_default();
            format!(
                "- {} {severity} {} ({at}){fix}{exempt}",
                item.name, item.text
            )
        })
        .collect();
    part("", &items);
    part("required", std::slice::from_ref(&check.required));
    part("fix", &check.fix);
    if let Some(or) = &check.or {
        part(
            "or",
            std::slice::from_ref(&format!(
                "{}{}",
                or.command
                    .as_ref()
                    .map(|c| format!("{c}  "))
                    .unwrap_or_default(),
                or.text
            )),
        );
    }
    let evidence: Vec<String> = check.evidence.iter().map(|e| e.summary.clone()).collect();
    part("evidence", &evidence);
    let exemptions: Vec<String> = check
        .exemptions
        .iter()
        .map(|e| format!("{} covers {} until {}", e.number, e.covers, e.expires_at))
        .collect();
    part("exempt", &exemptions);
    text
}
