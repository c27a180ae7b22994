//! Decisions: pure, replayable, and never better for a lack of evidence.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use writ_gate::{
    Bundle, EvidencePointer, FindingsSource, Gate, Inputs, Manifest, Prepared, ReplayError,
    ReplayLoader, WritError, WritTerms, decide, decision_payload, prepare, replay, writ,
};
use writ_model::{
    Answer, BundleRef, Decision, DecisionId, Digest, EvidenceItem, Finding, Span, State,
};

use crate::shipped::bundle;

/// Everything that profile `startup` wants, in order and clean.
const COMPLIANT: &str = include_str!("compliant.json");

fn compliant() -> Prepared {
    prepare(COMPLIANT).unwrap()
}

fn judge(bundle: &Bundle, prepared: &Prepared) -> Decision {
    decide(bundle, &prepared.inputs, &prepared.findings).unwrap()
}

fn state(decision: &Decision, control: &str) -> State {
    decision
        .checks
        .iter()
        .find(|c| c.control == control)
        .unwrap()
        .state
}

#[test]
fn one_person_can_be_compliant_and_is_told_what_is_not_covered() {
    let decision = judge(bundle(), &compliant());
    let open: Vec<_> = decision
        .checks
        .iter()
        .filter(|check| !check.state.is_satisfied())
        .map(|check| (&check.control, check.state, &check.title, &check.found))
        .collect();
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(decision.answer, Answer::Yes);
    assert_eq!(decision.counts.in_scope(), 13);
    assert!(
        decision
            .not_covered
            .iter()
            .any(|text| text.contains("CHG-02"))
    );
    // A laptop's evidence counts here, visibly.
    let secrets = &decision.checks[0].evidence[0].summary;
    assert!(secrets.contains("made on a laptop"), "{secrets}");
}

#[test]
fn other_profiles_say_what_is_missing() {
    let bundle = bundle();
    for profile in ["soc2", "iso27001", "sox-production", "container-800-190"] {
        let mut prepared = compliant();
        prepared.inputs.profile = profile.to_owned();
        let decision = judge(bundle, &prepared);
        assert_eq!(decision.answer, Answer::No, "{profile}");
        assert!(
            decision.counts.missing > 5,
            "{profile}: {:?}",
            decision.counts
        );
        // Controls about the environment are shown and never block a first release.
        assert!(
            decision.later.iter().any(|check| check.control == "RUN-01"),
            "{profile}"
        );
        assert!(
            decision
                .checks
                .iter()
                .all(|check| check.control != "RUN-01"),
            "{profile}"
        );
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_their_order() {
    let bundle = bundle();
    let mut prepared = compliant();
    let first = decision_payload(&judge(bundle, &prepared));
    prepared.inputs.evidence.reverse();
    assert_eq!(decision_payload(&judge(bundle, &prepared)), first);
    let mut gate = Gate::new(bundle);
    for _ in 0..2 {
        let again = gate.decide(&prepared.inputs, &prepared.findings).unwrap();
        assert_eq!(decision_payload(&again), first);
    }
}

struct Store {
    bundle: Bundle,
    evidence: BTreeMap<u64, EvidenceItem>,
    findings: BTreeMap<Digest, Vec<Finding>>,
}

impl FindingsSource for Store {
    fn findings(&self, digest: &Digest) -> Result<Cow<'_, [Finding]>, String> {
        self.findings.findings(digest)
    }
}

impl ReplayLoader for Store {
    fn bundle(&self, _: &BundleRef) -> Result<Bundle, String> {
        Ok(self.bundle.clone())
    }

    fn evidence(&self, pointer: &EvidencePointer) -> Result<EvidenceItem, String> {
        self.evidence
            .get(&pointer.index)
            .cloned()
            .ok_or_else(|| "not in the ledger".to_owned())
    }
}

fn store(prepared: &Prepared) -> Store {
    Store {
        bundle: bundle().clone(),
        evidence: prepared
            .inputs
            .evidence
            .iter()
            .map(|i| (i.index, i.clone()))
            .collect(),
        findings: prepared.findings.clone(),
    }
}

#[test]
fn a_past_decision_replays_to_the_same_bytes() {
    let mut prepared = compliant();
    for (n, at) in [(1, 0), (2, -60), (3, 0)] {
        let at = prepared.inputs.as_of.plus(Span::from_secs(at));
        prepared.inputs.first_seen.insert(Digest::of(&[n]), at);
    }
    let store = store(&prepared);
    let decision = judge(&store.bundle, &prepared);
    let manifest = Manifest::of(&store.bundle, &prepared.inputs);
    assert_eq!(manifest.digest(), decision.inputs);
    // The manifest survives the locker.
    let read: Manifest = serde_json::from_slice(&manifest.canonical()).unwrap();
    let again = replay(&read, &store).unwrap();
    assert_eq!(decision_payload(&again), decision_payload(&decision));
}

#[test]
fn replay_refuses_what_it_cannot_repeat() {
    let prepared = compliant();
    let mut store = store(&prepared);
    let manifest = Manifest::of(&store.bundle, &prepared.inputs);
    let other = Manifest {
        engine: "writ-gate 9.9.9".to_owned(),
        ..manifest.clone()
    };
    assert!(matches!(
        replay(&other, &store),
        Err(ReplayError::UnknownEngine { .. })
    ));
    store.evidence.remove(&3);
    assert!(matches!(
        replay(&manifest, &store),
        Err(ReplayError::Load { .. })
    ));
}

#[test]
fn nothing_beyond_the_head_or_the_instant_is_read() {
    let bundle = bundle();
    let mut prepared = compliant();
    let last = prepared.inputs.evidence.len() as u64 - 1;
    let control = "SEC-01";
    assert_eq!(state(&judge(bundle, &prepared), control), State::Pass);
    let scan = prepared
        .inputs
        .evidence
        .iter_mut()
        .find(|i| i.evidence_type.word() == "secret-scan")
        .unwrap();
    scan.index = last + 1;
    assert_eq!(state(&judge(bundle, &prepared), control), State::Missing);
    let mut prepared = compliant();
    prepared.inputs.as_of = prepared.inputs.as_of.plus(Span::from_secs(-3_600));
    assert_eq!(judge(bundle, &prepared).counts.pass, 0);
}

#[test]
fn an_unknown_profile_gets_a_suggestion() {
    let mut prepared = compliant();
    prepared.inputs.profile = "startpu".to_owned();
    let error = decide(bundle(), &prepared.inputs, &prepared.findings).unwrap_err();
    assert!(
        error.to_string().contains("did you mean 'startup'?"),
        "{error}"
    );
}

#[test]
fn findings_that_cannot_be_had_are_an_error_and_never_a_pass() {
    let mut prepared = compliant();
    prepared.findings.clear();
    let decision = judge(bundle(), &prepared);
    assert_eq!(state(&decision, "SEC-01"), State::Error);
    assert_ne!(decision.answer, Answer::Yes);
}

#[test]
fn a_writ_needs_a_yes_and_carries_the_decision() {
    let bundle = bundle();
    let mut prepared = compliant();
    let decision = judge(bundle, &prepared);
    let id = DecisionId::of_payload(&decision_payload(&decision));
    let terms = WritTerms {
        verifier: "urn:writ:verifier:local".to_owned(),
        resource_uri: "registry.example/payments/api".to_owned(),
        expires_at: decision.as_of.plus(Span::from_secs(3_600)),
        preview: true,
    };
    let summary = writ(&decision, id, &terms).unwrap();
    assert_eq!(summary.verified_levels, ["WRIT_PROFILE_STARTUP"]);
    assert_eq!(summary.writ.as_ref().unwrap().decision, id);
    assert!(summary.input_attestations.len() >= 8);
    let over = WritTerms {
        expires_at: decision.as_of,
        ..terms.clone()
    };
    assert!(matches!(
        writ(&decision, id, &over),
        Err(WritError::AlreadyOver { .. })
    ));
    prepared.inputs.evidence.pop();
    let blocked = judge(bundle, &prepared);
    assert!(matches!(
        writ(&blocked, id, &terms),
        Err(WritError::NotCompliant { .. })
    ));
}

fn without(inputs: &Inputs, removed: &[bool]) -> Inputs {
    let mut inputs = inputs.clone();
    let mut keep = removed
        .iter()
        .map(|removed| !removed)
        .chain(std::iter::repeat(true));
    inputs.evidence.retain(|_| keep.next().unwrap_or(true));
    inputs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Removing positive evidence never turns a no into a yes: neither from a compliant set, nor
    /// from one in which a scan fails.
    #[test]
    fn less_evidence_is_never_better(removed in proptest::collection::vec(any::<bool>(), 9)) {
        let bundle = bundle();
        let mut prepared = compliant();
        prop_assume!(removed.iter().any(|r| *r));
        prepared.inputs = without(&prepared.inputs, &removed);
        prop_assert_ne!(judge(bundle, &prepared).answer, Answer::Yes);
    }

    /// The failing scan stays; whatever else goes, the answer stays a no.
    #[test]
    fn a_failing_scan_is_heard(removed in proptest::collection::vec(any::<bool>(), 9)) {
        let bundle = bundle();
        let mut prepared = compliant();
        let mut failing = prepare(include_str!("../../../../bundle/fixtures/SEC-01/secret.json")).unwrap();
        prepared.inputs = without(&prepared.inputs, &removed);
        let mut scan = failing.inputs.evidence.remove(0);
        scan.index = 99;
        prepared.inputs.ledger.size = 100;
        prepared.inputs.evidence.push(scan);
        prepared.findings.append(&mut failing.findings);
        let decision = judge(bundle, &prepared);
        prop_assert_eq!(state(&decision, "SEC-01"), State::Fail);
        prop_assert_eq!(decision.answer, Answer::No);
    }
}

/// The image check of a release with these scans, and a match of what runs that found a flaw `hours`
/// before. Its producer is as weak as there is: what counts against a release has no floor.
fn image_check(hours: i64, scans: &str) -> State {
    let as_of = prepare(r#"{"about": "", "evidence": []}"#)
        .unwrap()
        .inputs
        .as_of;
    let seen = as_of
        .plus(Span::from_secs(-hours * 3_600))
        .to_seconds_text();
    let text = format!(
        r#"{{"about": "a match of what runs", "evidence": [{scans}
          {{"evidenceType": "container-scan", "scope": "rematch/production",
            "observedAt": "{seen}", "recordedAt": "{seen}",
            "tool": {{"name": "trivy", "version": "1.0.0"}},
            "origin": "handed-in", "producerClass": "laptop",
            "lookedAt": [{{"what": "packages", "count": 168}}],
            "database": {{"name": "trivy-db", "updatedAt": "{seen}"}},
            "facts": {{"rematch": {{"sbom": "sha256:00"}}}},
            "findings": [{{"rule": "CVE-2026-1", "severity": "critical", "category": "vulnerability",
              "title": "new", "raw_severity": "", "identifiers": [],
              "location": {{"kind": "package", "name": "zlib", "version": "1.2"}},
              "fix": {{"versions": ["1.3"]}}}}]}}]}}"#
    );
    state(&judge(bundle(), &prepare(&text).unwrap()), "VUL-02")
}

#[test]
fn a_match_of_what_runs_is_heard_against_a_release_and_proves_nothing() {
    let scan = |hours: i64| {
        let as_of = prepare(r#"{"about": "", "evidence": []}"#)
            .unwrap()
            .inputs
            .as_of;
        let seen = as_of
            .plus(Span::from_secs(-hours * 3_600))
            .to_seconds_text();
        format!(
            r#"{{"evidenceType": "container-scan", "observedAt": "{seen}", "recordedAt": "{seen}",
              "tool": {{"name": "trivy-image", "version": "1.0.0"}}, "findings": [],
              "lookedAt": [{{"what": "packages", "count": 168}}],
              "database": {{"name": "trivy-db", "updatedAt": "{seen}"}}}},"#
        )
    };
    assert_eq!(image_check(1, &scan(2)), State::Fail);
    // Weeks later the scans of the pipeline are too old; the flaw is still named.
    assert_eq!(image_check(1, &scan(600)), State::Fail);
    assert_eq!(image_check(1, ""), State::Fail);
    // One that was not renewed says nothing either way: the digest may not run any more.
    assert_eq!(image_check(600, &scan(2)), State::Pass);
    assert_eq!(image_check(600, ""), State::Missing);
}
