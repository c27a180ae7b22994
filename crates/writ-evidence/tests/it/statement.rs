//! Statements: what is refused, what is tolerated, and the way from a statement to its id and back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use writ_evidence::statement::{ResourceError, StatementError};
use writ_evidence::{
    Algorithm, LocalSigner, Predicate, Purpose, ResourceDescriptor, Signer, Statement, TrustedKey,
    TrustedKeys, dsse,
};
use writ_model::{Digest, Timestamp};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Note {
    text: String,
}

impl Predicate for Note {
    const URI: &'static str = "urn:example:note:v2";
    const ALSO: &'static [&'static str] = &["urn:example:note:v1"];

    fn validate(&self) -> Result<(), String> {
        if self.text.is_empty() {
            Err("text is empty; say something".to_owned())
        } else {
            Ok(())
        }
    }
}

const COMMIT: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn note(text: &str) -> Statement<Note> {
    Statement::new(
        vec![ResourceDescriptor::git_commit("repo", COMMIT)],
        Note {
            text: text.to_owned(),
        },
    )
}

fn parse(json: &Value) -> Result<Statement<Note>, StatementError> {
    Statement::parse(json.to_string().as_bytes())
}

#[test]
fn signed_verified_read() {
    let signer = LocalSigner::generate(Algorithm::EcdsaP256).unwrap();
    let (id, envelope) = note("é").sign(&signer).unwrap();
    let keys: TrustedKeys = [TrustedKey::new(
        signer.public_key().clone(),
        Purpose::Producer,
    )]
    .into_iter()
    .collect();
    let verified = dsse::verify(
        &envelope,
        &keys.select(&Purpose::Producer, Timestamp::from_micros(0)),
        1,
    )
    .unwrap();
    assert_eq!(verified.evidence_id(), id);
    assert_eq!(id.digest(), envelope.payload_digest());
    assert_eq!(
        String::from_utf8(verified.content().clone()).unwrap(),
        r#"{"_type":"https://in-toto.io/Statement/v1","predicate":{"text":"é"},"predicateType":"urn:example:note:v2","subject":[{"digest":{"gitCommit":"da39a3ee5e6b4b0d3255bfef95601890afd80709"},"name":"repo"}]}"#
    );
    let statement = verified.clone().statement::<Note>().unwrap();
    assert_eq!(statement.content(), &note("é"));
    assert_eq!(statement.signers(), [signer.key_id()]);
    let any = verified.any_statement().unwrap().into_content();
    assert_eq!(any.into_typed::<Note>().unwrap(), note("é"));
}

#[test]
fn another_payload_type_is_not_a_statement() {
    let signer = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let keys: TrustedKeys = [TrustedKey::new(
        signer.public_key().clone(),
        Purpose::Producer,
    )]
    .into_iter()
    .collect();
    let keys = keys.select(&Purpose::Producer, Timestamp::from_micros(0));
    let read = |kind: &str| {
        let envelope = dsse::sign(kind, note("x").to_payload().unwrap(), &signer).unwrap();
        dsse::verify(&envelope, &keys, 1)
            .unwrap()
            .statement::<Note>()
    };
    assert!(matches!(
        read("text/plain"),
        Err(StatementError::PayloadType(_))
    ));
    read("application/vnd.in-toto.note+json").unwrap();
}

#[test]
fn old_versions_and_unknown_fields_are_read() {
    let json = json!({
        "_type": "https://in-toto.io/Statement/v0.1", "predicateType": "urn:example:note:v1", "later": [1],
        "subject": [{"name": "a", "digest": {"gitCommit": COMMIT, "gitTree": COMMIT}, "later": 1}],
        "predicate": {"text": "x", "later": {}},
    });
    assert_eq!(parse(&json).unwrap().predicate.text, "x");
    let bare = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "p", "subject": [{"digest": {"sha256": "ab".repeat(32)}}]});
    assert_eq!(
        Statement::parse_any(bare.to_string().as_bytes())
            .unwrap()
            .predicate,
        Value::Null
    );
}

#[test]
fn what_is_wrong_is_named() {
    let good: Value = serde_json::from_slice(&note("x").to_payload().unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        parse(&json).unwrap_err().to_string()
    };
    assert!(
        refused(&|json| json["_type"] = "https://in-toto.io/Statement/v2".into())
            .contains("Statement/v2")
    );
    assert!(refused(&|json| json["subject"] = json!([])).contains("0 subjects"));
    assert!(
        refused(&|json| json["subject"] = vec![json["subject"][0].clone(); 1025].into())
            .contains("1025 subjects")
    );
    assert!(
        refused(&|json| json["subject"] = json!([{"name": "a"}]))
            .contains("subject[0]: has no digest")
    );
    assert!(
        refused(&|json| json["predicateType"] = "urn:example:other:v1".into())
            .contains("expected \"urn:example:note:v2\"")
    );
    assert!(refused(&|json| json["predicate"]["text"] = "".into()).contains("text is empty"));
    assert!(refused(&|json| json["predicate"]["text"] = 5.into()).contains("line 1, column"));
    assert!(matches!(
        note("").to_payload(),
        Err(StatementError::Predicate { .. })
    ));
    assert!(Statement::<Note>::parse(b"{").is_err());
}

#[test]
fn digests_are_lower_hex_of_the_right_length() {
    let check = |algorithm: &str, value: &str| {
        ResourceDescriptor::with_digest("a", algorithm, value).check_as_subject()
    };
    check("sha256", &"ab".repeat(32)).unwrap();
    check("gitCommit", &"ab".repeat(20)).unwrap();
    check("gitTree", &"ab".repeat(32)).unwrap();
    check("dirHash1", "h1:abcABC+/=").unwrap();
    check("sha384", &"0f".repeat(48)).unwrap();
    for (algorithm, value) in [
        ("sha256", "AB".repeat(32)),
        ("sha256", "ab".repeat(20)),
        ("sha256", format!("sha256:{}", "ab".repeat(32))),
        ("gitCommit", "abc".to_owned()),
        ("", "ab".repeat(32)),
        ("md5", "xy".repeat(16)),
        ("sha384", "ab".repeat(400)),
    ] {
        assert!(
            matches!(check(algorithm, &value), Err(ResourceError::Digest { .. })),
            "{algorithm} {value}"
        );
    }
}

#[test]
fn matching_needs_a_common_digest_and_no_contradiction() {
    let digest = Digest::of(b"a");
    let resource = ResourceDescriptor::sha256("a", digest).and_digest("gitCommit", COMMIT);
    assert_eq!(resource.sha256_digest(), Some(digest));
    let set = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    assert!(resource.matches(&set(&[("gitCommit", COMMIT), ("gitTree", "x")])));
    assert!(!resource.matches(&set(&[("gitCommit", COMMIT), ("sha256", "other")])));
    assert!(!resource.matches(&set(&[("gitTree", "x")])));
    assert!(!resource.matches(&set(&[])));
}
