//! Predicates: the corpus that must be read for ever, published schemas, and the rules of each kind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use writ_evidence::predicate::{
    CycloneDxBom, Decision, Exemption, PREDICATES, PredicateType, Run, Scan, SpdxDocument,
    TestResult, schema_json,
};
use writ_evidence::{
    Algorithm, Envelope, LocalSigner, Predicate, Purpose, Signer, Statement, TrustedKey,
    TrustedKeys, canonical, dsse,
};
use writ_model::{EvidenceType, Timestamp};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The verified payload of a corpus envelope.
pub fn corpus(name: &str) -> Vec<u8> {
    let path = tests().join("corpus").join(format!("{name}.json"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let signer = LocalSigner::from_seed(Algorithm::Ed25519, &[0x42; 32]).unwrap();
    let keys: TrustedKeys = [TrustedKey::new(
        signer.public_key().clone(),
        Purpose::Producer,
    )]
    .into_iter()
    .collect();
    let envelope = Envelope::parse(&bytes).unwrap();
    assert_eq!(envelope.to_canonical_json(), bytes);
    dsse::verify(
        &envelope,
        &keys.select(&Purpose::Producer, Timestamp::from_micros(0)),
        1,
    )
    .unwrap()
    .into_content()
}

fn predicate(name: &str) -> Value {
    Statement::parse_any(&corpus(name)).unwrap().predicate
}

fn check(name: &str, value: &Value) -> Result<(), String> {
    (PREDICATES
        .iter()
        .find(|row| row.name == name)
        .unwrap()
        .check)(value)
}

/// The error after one change to a good sample.
fn refused(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut value = predicate(name);
    check(name, &value).unwrap();
    change(&mut value);
    check(name, &value).unwrap_err()
}

#[test]
fn every_kind_has_an_old_envelope_that_still_verifies_and_reads() {
    let on_disk: BTreeSet<String> = std::fs::read_dir(tests().join("corpus"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let named: BTreeSet<String> = PREDICATES.iter().map(|row| row.name.to_owned()).collect();
    assert!(
        named.is_subset(&on_disk),
        "missing: {:?}",
        named.difference(&on_disk)
    );
    for name in on_disk {
        let statement = Statement::parse_any(&corpus(&name)).unwrap();
        let row = PredicateType::find(&statement.predicate_type).unwrap();
        (row.check)(&statement.predicate).unwrap_or_else(|reason| panic!("{name}: {reason}"));
    }
}

/// Reading into the Rust type and writing again loses nothing and adds nothing.
#[test]
fn typed_and_written_again_an_old_payload_is_the_same_bytes() {
    fn round<P: Predicate>(name: &str) {
        let payload = corpus(name);
        let statement: Statement<P> = Statement::parse(&payload).unwrap();
        assert_eq!(
            String::from_utf8(statement.to_payload().unwrap()).unwrap(),
            String::from_utf8(payload).unwrap(),
            "{name}"
        );
    }
    use writ_evidence::predicate as p;
    round::<Scan>("scan");
    round::<p::Coverage>("coverage");
    round::<TestResult>("test-result");
    round::<p::CodeReview>("code-review");
    round::<p::Approval>("approval");
    round::<p::Rejection>("rejection");
    round::<Exemption>("exemption");
    round::<p::BreakGlass>("break-glass");
    round::<p::Deployment>("deployment");
    round::<p::Snapshot>("snapshot");
    round::<p::Alert>("alert");
    round::<p::Probe>("probe");
    round::<Run>("run");
    round::<Decision>("decision");
    round::<p::Definition>("definition");
    round::<p::KeyStatement>("key");
    round::<p::AccessReview>("access-review");
    round::<p::ReportStatement>("report");
    round::<p::Disposal>("disposal");
    round::<p::Hold>("hold");
    round::<writ_evidence::reference::Reference>("reference");
    round::<p::SlsaProvenance>("slsa-provenance");
    round::<p::VerificationSummary>("verification-summary");
    round::<p::Vulnerabilities>("vulnerabilities");
    round::<CycloneDxBom>("cyclonedx");
    round::<SpdxDocument>("spdx");
    round::<p::OpenVex>("openvex");
}

#[test]
fn the_published_schemas_are_fresh() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    for row in PREDICATES.iter().filter(|row| row.is_own()) {
        let path = directory.join(format!("{}-v1.schema.json", row.name));
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == schema_json(row),
            "{} is stale; run `cargo run -p writ-evidence --example schemas`",
            path.display()
        );
    }
}

#[test]
fn the_table_is_sound() {
    let mut uris = BTreeSet::new();
    for row in PREDICATES {
        assert!(
            uris.insert(row.uri) && row.also.iter().all(|uri| uris.insert(uri)),
            "{} twice",
            row.name
        );
        assert_eq!(
            row.is_own(),
            row.uri == format!("urn:writ:predicate:{}:v1", row.name),
            "{}",
            row.name
        );
        assert_eq!(PredicateType::find(row.uri).unwrap().name, row.name);
    }
    let served: BTreeSet<_> = PREDICATES.iter().flat_map(|row| row.serves).collect();
    let unserved: Vec<_> = EvidenceType::ALL
        .iter()
        .filter(|word| !served.contains(word))
        .collect();
    assert!(unserved.is_empty(), "no predicate serves {unserved:?}");
    assert!(PredicateType::find("urn:writ:predicate:verdict:v1").is_none());
}

/// No type of a predicate can hold a fraction.
#[test]
fn no_own_schema_allows_a_fraction() {
    fn numbers(value: &Value, path: &str) {
        match value {
            Value::Object(members) => {
                assert_ne!(members.get("type"), Some(&json!("number")), "{path}");
                members
                    .iter()
                    .for_each(|(key, member)| numbers(member, &format!("{path}/{key}")));
            }
            Value::Array(items) => items.iter().for_each(|item| numbers(item, path)),
            _ => {}
        }
    }
    for row in PREDICATES.iter().filter(|row| row.is_own()) {
        numbers(&serde_json::to_value((row.schema)()).unwrap(), row.name);
    }
    assert!(canonical::to_vec(&json!({"facts": {"score": 7.5}})).is_err());
}

#[test]
fn later_fields_do_not_disturb_todays_readers() {
    for row in PREDICATES {
        let mut value = predicate(row.name);
        value["addedLater"] = json!({"x": [1]});
        (row.check)(&value).unwrap_or_else(|reason| panic!("{}: {reason}", row.name));
    }
}

#[test]
fn a_scan_that_looked_at_nothing_is_not_completed() {
    assert!(
        refused("scan", |scan| scan["lookedAt"] = json!([])).contains("looked at nothing is empty")
    );
    assert!(
        refused("scan", |scan| scan["lookedAt"][0]["count"] = 0.into())
            .contains("looked at nothing")
    );
    assert!(
        refused("scan", |scan| scan["outcome"] = "timed-out".into()).contains("without a reason")
    );
    assert!(refused("scan", |scan| scan["findings"]["count"] = 9.into()).contains("add up to 4"));
    assert!(
        refused("scan", |scan| scan["finishedAt"] =
            "2020-01-01T00:00:00Z".into())
        .contains("before startedAt")
    );
    assert!(
        refused("scan", |scan| scan["observedAt"] =
            "2027-01-01T00:00:00Z".into())
        .contains("after finishedAt")
    );
    assert!(
        refused("scan", |scan| scan["cachedFrom"]["observedAt"] =
            "2026-01-01T00:00:00Z".into())
        .contains("keeps the observedAt")
    );
    assert!(refused("scan", |scan| scan["evidenceType"] = "verdict".into()).contains("verdict"));
    assert!(refused("scan", |scan| scan["counts"]["high"] = json!(0.5)).contains("0.5"));
    let mut empty = predicate("scan");
    empty["outcome"] = "empty".into();
    empty["reason"] = "no commits in the range".into();
    empty["lookedAt"] = json!([]);
    check("scan", &empty).unwrap();
}

#[test]
fn the_other_kinds_keep_their_rules() {
    assert!(
        refused("coverage", |value| value["lines"]["covered"] = 501.into()).contains("501 of 500")
    );
    assert!(
        refused("approval", |value| value["release"] = Value::Null)
            .contains("must name the release")
    );
    assert!(refused("rejection", |value| value["reason"] = " ".into()).contains("reason is empty"));
    assert!(
        refused("exemption", |value| value["controls"] = json!([])).contains("controls is empty")
    );
    assert!(
        refused("exemption", |value| value["expiresAt"] =
            value["observedAt"].clone())
        .contains("not after")
    );
    assert!(refused("exemption", |value| value["form"] = "forever".into()).contains("forever"));
    assert!(
        refused("break-glass", |value| value["reason"] = "".into()).contains("reason is empty")
    );
    assert!(refused("probe", |value| value["reason"] = Value::Null).contains("without a reason"));
    assert!(
        refused("decision", |value| value["answer"] = "no".into()).contains("the counts give Yes")
    );
    assert!(
        refused("decision", |value| {
            value["checksFile"] = Value::Null;
            value["checks"] = json!([]);
        })
        .contains("counts do not match")
    );
    assert!(
        refused("key", |value| value["keyId"] = "00".repeat(32).into()).contains("publicKey is")
    );
    assert!(
        refused("disposal", |value| value["observedAt"] =
            "2020-01-01T00:00:00Z".into())
        .contains("before its time")
    );
    assert!(refused("hold", |value| value["reason"] = " ".into()).contains("reason"));
    assert!(refused("hold", |value| value["until"] = value["from"].clone()).contains("not after"));
    assert!(refused("hold", |value| value["service"] = Value::Null).contains("either"));
    assert!(
        refused(
            "verification-summary",
            |value| value["verificationResult"] = "FAILED".into()
        )
        .contains("disagree")
    );
    assert!(
        refused("openvex", |value| value["statements"][0]["status"] =
            "affected".into())
        .contains("action_statement")
    );
    assert!(
        refused("cyclonedx", |value| value["bomFormat"] = "other".into()).contains("bomFormat")
    );
    assert!(
        refused("reference", |value| value["predicateType"] =
            value_uri().into())
        .contains("refer to a reference")
    );
}

fn value_uri() -> &'static str {
    writ_evidence::reference::Reference::URI
}

#[test]
fn every_form_of_an_exemption_reads() {
    let by = predicate("exemption")["requestedBy"].clone();
    let request = predicate("report")["observedAt"].clone();
    let evidence = format!("ev_{}", "12".repeat(32));
    for form in [
        json!({"form": "grant", "request": evidence, "by": by, "expiresAt": "2026-12-01T00:00:00Z", "observedAt": request}),
        json!({"form": "deny", "request": evidence, "by": by, "reason": "fix it", "observedAt": request}),
        json!({"form": "revoke", "request": evidence, "by": by, "reason": "fixed", "observedAt": request}),
        json!({"form": "expire", "request": evidence, "observedAt": request}),
    ] {
        let read: Exemption = serde_json::from_value(form.clone()).unwrap();
        read.validate().unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), form);
    }
}

#[test]
fn facts_come_out_typed() {
    let scan: Scan = serde_json::from_value(predicate("scan")).unwrap();
    assert_eq!(scan.production.evidence_type, EvidenceType::SecretScan);
    assert_eq!(scan.production.looked_at[0].count, 168);
    let run: Run = serde_json::from_value(predicate("run")).unwrap();
    assert!(run.dirty && run.stages[0].cached);
    let tests: TestResult = serde_json::from_value(predicate("test-result")).unwrap();
    assert_eq!(tests.writ.unwrap().counts.passed, 41);
    let decision: Decision = serde_json::from_value(predicate("decision")).unwrap();
    assert_eq!(decision.checks[0].control, "VUL-02");
    let bom: CycloneDxBom = serde_json::from_value(predicate("cyclonedx")).unwrap();
    assert_eq!(
        (
            bom.summary().components,
            bom.summary().spec_version.as_str()
        ),
        (2, "1.6")
    );
    let spdx: SpdxDocument = serde_json::from_value(predicate("spdx")).unwrap();
    assert_eq!(spdx.summary().components, 1);
}
