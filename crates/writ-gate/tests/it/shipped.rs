//! The bundle that ships: it loads, every recorded case gives what it says, every message is golden.

use writ_gate::{Bundle, BundleSource, load_bundle, test_controls};

pub fn bundle() -> Bundle {
    match load_bundle(&BundleSource::Embedded) {
        Ok(bundle) => bundle,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_recorded_case_gives_what_it_says() {
    let wrong: Vec<String> = test_controls(&bundle(), &[])
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
