//! Envelopes: vectors of the specification, hostile input, thresholds.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use writ_evidence::dsse::{
    self, EnvelopeError, MAX_SIGNATURES, Memo, VerifyError, pre_authentication_encoding,
};
use writ_evidence::key::EcdsaEncoding;
use writ_evidence::{
    Algorithm, Envelope, KeySet, LocalSigner, PublicKey, Purpose, Signer, TrustedKey, TrustedKeys,
    canonical,
};
use writ_model::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn signer(seed: u8) -> LocalSigner {
    LocalSigner::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn trust(signers: &[&LocalSigner]) -> KeySet {
    signers
        .iter()
        .map(|signer| TrustedKey::new(signer.public_key().clone(), Purpose::Producer))
        .collect::<TrustedKeys>()
        .select(&Purpose::Producer, NOW)
}

/// Parses the envelope after `change` was made to its JSON.
fn altered(
    envelope: &Envelope,
    change: impl FnOnce(&mut Value),
) -> Result<Envelope, EnvelopeError> {
    let mut json: Value = serde_json::from_slice(&envelope.to_canonical_json()).unwrap();
    change(&mut json);
    Envelope::parse(json.to_string().as_bytes())
}

#[test]
fn the_signed_bytes_match_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../data/dsse.json")).unwrap();
    for vector in vectors["pae"].as_array().unwrap() {
        let (kind, body) = (
            vector["type"].as_str().unwrap(),
            vector["body_utf8"].as_str().unwrap(),
        );
        let encoded = pre_authentication_encoding(kind, body.as_bytes());
        if let Some(text) = vector["pae_utf8"].as_str() {
            assert_eq!(encoded, text.as_bytes());
            assert_eq!(
                hex::encode(Sha256::digest(&encoded)),
                vector["pae_sha256"].as_str().unwrap()
            );
        } else {
            assert_eq!(hex::encode(&encoded), vector["pae_hex"].as_str().unwrap());
        }
    }
}

/// The example of the DSSE specification: its P-256 key, its envelope, its raw r‖s signature.
#[test]
fn the_specifications_own_example_verifies_only_as_raw() {
    let envelope = json!({
        "payload": "aGVsbG8gd29ybGQ=",
        "payloadType": "http://example.com/HelloWorld",
        "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}],
    });
    let envelope = Envelope::parse(envelope.to_string().as_bytes()).unwrap();
    let key = PublicKey::from_pem(include_str!("../data/dsse-spec-p256.pub.pem")).unwrap();
    let with = |encoding| {
        let trusted = TrustedKey {
            encoding,
            ..TrustedKey::new(key.clone(), Purpose::Producer)
        };
        dsse::verify(
            &envelope,
            &[trusted]
                .into_iter()
                .collect::<TrustedKeys>()
                .select(&Purpose::Producer, NOW),
            1,
        )
    };
    assert_eq!(with(EcdsaEncoding::Raw).unwrap().content(), b"hello world");
    assert!(matches!(
        with(EcdsaEncoding::Der),
        Err(VerifyError::NotEnough { .. })
    ));
}

/// Keys and envelopes that another implementation made.
#[test]
fn another_implementations_envelopes_verify_and_ours_are_equal() {
    let interop: Value = serde_json::from_str(include_str!("../data/interop.json")).unwrap();
    for case in interop["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let public = PublicKey::from_pem(text("publicKey")).unwrap();
        assert_eq!(public.id().to_string(), text("keyId"));
        assert_eq!(public.to_pem().unwrap(), text("publicKey"));
        let keys: TrustedKeys = [TrustedKey::new(public, Purpose::Producer)]
            .into_iter()
            .collect();
        let keys = keys.select(&Purpose::Producer, NOW);

        let envelope = Envelope::parse(case["envelope"].to_string().as_bytes()).unwrap();
        let verified = dsse::verify(&envelope, &keys, 1).unwrap();
        assert_eq!(
            verified.content(),
            interop["payload"].as_str().unwrap().as_bytes()
        );

        let signer = LocalSigner::from_pkcs8_pem(text("privateKey")).unwrap();
        let ours =
            dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, verified.into_content(), &signer).unwrap();
        dsse::verify(&ours, &keys, 1).unwrap();
        if signer.algorithm() == Algorithm::Ed25519 {
            // Ed25519 is deterministic, so the envelopes are the same bytes.
            assert_eq!(
                ours.to_canonical_json(),
                canonical::to_vec(&case["envelope"]).unwrap()
            );
            assert_eq!(signer.to_pkcs8_pem().unwrap().as_str(), text("privateKey"));
        }
    }
}

#[test]
fn the_envelopes_json_is_canonical() {
    let mut envelope = dsse::sign("a/\"\u{1}\u{e9}", b"\xff\xfe".to_vec(), &signer(1)).unwrap();
    dsse::countersign(&mut envelope, &signer(2)).unwrap();
    let bytes = envelope.to_canonical_json();
    assert!(canonical::is_canonical(&bytes).unwrap());
    assert_eq!(Envelope::parse(&bytes).unwrap(), envelope);
}

#[test]
fn both_base64_alphabets_are_accepted_and_sloppy_ones_refused() {
    let body = [0xfb_u8, 0xef, 0xff, 0xfe, 0x01];
    let envelope = dsse::sign("t", body.to_vec(), &signer(1)).unwrap();
    let sig = envelope.signatures()[0].sig.clone();
    let url_safe = altered(&envelope, |json| {
        json["payload"] = URL_SAFE_NO_PAD.encode(body).into();
        json["signatures"][0]["sig"] = URL_SAFE_NO_PAD.encode(&sig).into();
    })
    .unwrap();
    assert_eq!(url_safe, envelope);
    dsse::verify(&url_safe, &trust(&[&signer(1)]), 1).unwrap();

    for bad in ["++__", "ab cd", "ab\ncd", "YWJ", "YW=J", "YWK=", "\u{e9}"] {
        if let Ok(envelope) = altered(&envelope, |json| json["payload"] = bad.into()) {
            // Unpadded but otherwise exact.
            assert_eq!((bad, envelope.payload_len()), ("YWJ", 2));
        }
    }
    assert!(matches!(
        altered(&envelope, |json| json["payload"] = "YWK=".into()),
        Err(EnvelopeError::Base64 { .. })
    ));
}

#[test]
fn hostile_envelopes_are_refused_with_a_reason() {
    let envelope = dsse::sign("t", b"body".to_vec(), &signer(1)).unwrap();
    let refused = |change: fn(&mut Value)| altered(&envelope, change).unwrap_err().to_string();
    assert!(refused(|json| json["signatures"] = json!([])).contains("0 signatures"));
    assert!(
        refused(|json| json["signatures"] =
            vec![json["signatures"][0].clone(); MAX_SIGNATURES + 1].into())
        .contains("17 signatures")
    );
    assert!(
        refused(|json| json["signatures"][0]["sig"] = "".into())
            .contains("signatures[0].sig has 0 bytes")
    );
    assert!(
        refused(|json| json["signatures"][0]["sig"] = STANDARD.encode([0; 2000]).into())
            .contains("signatures[0].sig")
    );
    assert!(
        refused(|json| json["signatures"][0]["keyid"] = "k".repeat(2000).into())
            .contains("keyid has 2000 bytes")
    );
    assert!(refused(|json| json["payloadType"] = "".into()).contains("payloadType has 0 bytes"));
    assert!(refused(|json| json["payload"] = 7.into()).contains("line 1"));
    assert!(
        refused(|json| *json = json!([])).contains("expected payload, payloadType and signatures")
    );
    let twice =
        br#"{"payload":"","payload":"YQ==","payloadType":"t","signatures":[{"sig":"YQ=="}]}"#;
    assert!(
        Envelope::parse(twice)
            .unwrap_err()
            .to_string()
            .contains("duplicate field")
    );
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Envelope::parse(deep.as_bytes()).is_err());
    assert!(matches!(
        Envelope::parse_bounded(&envelope.to_canonical_json(), 10),
        Err(EnvelopeError::TooLarge { limit: 10, .. })
    ));
    // Unknown fields do no harm.
    altered(&envelope, |json| json["later"] = json!({"x": 1})).unwrap();
}

#[test]
fn thresholds_count_distinct_trusted_keys() {
    let (one, two, stranger) = (signer(1), signer(2), signer(3));
    let mut envelope = dsse::sign("t", b"body".to_vec(), &one).unwrap();
    dsse::countersign(&mut envelope, &one).unwrap();
    dsse::countersign(&mut envelope, &stranger).unwrap();
    let keys = trust(&[&one, &two]);
    assert_eq!(
        dsse::verify(&envelope, &keys, 1).unwrap().signers(),
        [one.key_id()]
    );
    let error = dsse::verify(&envelope, &keys, 2).unwrap_err();
    assert!(
        matches!(
            error,
            VerifyError::NotEnough {
                good: 1,
                threshold: 2,
                present: 3,
                keys: 2,
                ..
            }
        ),
        "{error}"
    );
    dsse::countersign(&mut envelope, &two).unwrap();
    assert_eq!(
        dsse::verify(&envelope, &keys, 2).unwrap().signers().len(),
        2
    );
    assert!(matches!(
        dsse::verify(&envelope, &keys, 0),
        Err(VerifyError::ZeroThreshold)
    ));
    assert!(dsse::verify(&envelope, &trust(&[]), 1).is_err());
    for _ in envelope.signatures().len()..MAX_SIGNATURES {
        dsse::countersign(&mut envelope, &one).unwrap();
    }
    assert!(dsse::countersign(&mut envelope, &one).is_err());
}

/// One key in both ECDSA encodings is still one key.
#[test]
fn one_key_in_two_encodings_counts_once() {
    let key = LocalSigner::from_seed(Algorithm::EcdsaP256, &[9; 32]).unwrap();
    let mut envelope = dsse::sign("t", b"body".to_vec(), &key).unwrap();
    dsse::countersign(&mut envelope, &key).unwrap();
    let keys: TrustedKeys = [EcdsaEncoding::Der, EcdsaEncoding::Raw]
        .map(|encoding| TrustedKey {
            encoding,
            ..TrustedKey::new(key.public_key().clone(), Purpose::Producer)
        })
        .into_iter()
        .collect();
    assert!(dsse::verify(&envelope, &keys.select(&Purpose::Producer, NOW), 2).is_err());
}

#[test]
fn the_key_id_is_only_a_hint() {
    let (one, two) = (signer(1), signer(2));
    let envelope = dsse::sign("t", b"body".to_vec(), &one).unwrap();
    let keys = trust(&[&one, &two]);
    for keyid in [
        json!(two.key_id().to_string()),
        json!("SHA256:something"),
        json!(""),
        json!(null),
    ] {
        let renamed = altered(&envelope, |json| json["signatures"][0]["keyid"] = keyid).unwrap();
        assert_eq!(
            dsse::verify(&renamed, &keys, 1).unwrap().signers(),
            [one.key_id()]
        );
    }
    // A trusted name on a stranger's signature earns nothing.
    let stranger = dsse::sign("t", b"body".to_vec(), &signer(3)).unwrap();
    let posing = altered(&stranger, |json| {
        json["signatures"][0]["keyid"] = one.key_id().to_string().into()
    })
    .unwrap();
    assert!(dsse::verify(&posing, &keys, 1).is_err());
}

#[test]
fn work_without_a_usable_hint_is_bounded() {
    let signers: Vec<_> = (1..=70).map(signer).collect();
    let keys = trust(&signers.iter().collect::<Vec<_>>());
    let envelope = dsse::sign("t", b"body".to_vec(), &signers[69]).unwrap();
    dsse::verify(&envelope, &keys, 1).unwrap();
    let nameless = altered(&envelope, |json| {
        json["signatures"][0]["keyid"] = json!(null)
    })
    .unwrap();
    assert!(matches!(
        dsse::verify(&nameless, &keys, 1),
        Err(VerifyError::TooManyCandidates { index: 0, keys: 70 })
    ));
}

proptest! {
    #[test]
    fn no_changed_byte_verifies(body in proptest::collection::vec(any::<u8>(), 0..200), at in any::<proptest::sample::Index>(), flip in 1..=255_u8) {
        let envelope = dsse::sign("text/plain", body.clone(), &signer(1)).unwrap();
        let keys = trust(&[&signer(1)]);
        prop_assert_eq!(dsse::verify(&envelope, &keys, 1).unwrap().into_content(), body.clone());

        let mut bytes = envelope.to_canonical_json();
        let position = at.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(changed) = Envelope::parse(&bytes) {
            // The hint may change, and the JSON may be spelt differently; the content may not.
            match dsse::verify(&changed, &keys, 1) {
                Ok(verified) => prop_assert_eq!(verified.content(), &body),
                Err(error) => prop_assert!(matches!(error, VerifyError::NotEnough { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Envelope::parse(&bytes);
    }
}

/// What a memory holds is the signature, never the belief in the key.
#[test]
fn a_memory_of_signatures_believes_nobody() {
    let (one, two) = (signer(1), signer(2));
    let memo = Memo::new();
    let mut envelope = dsse::sign("t", b"body".to_vec(), &one).unwrap();
    for _ in 0..3 {
        let verified = dsse::verify_with(&envelope, &trust(&[&one]), 1, &memo).unwrap();
        assert_eq!(verified.content(), b"body");
        assert!(dsse::verify_with(&envelope, &trust(&[&two]), 1, &memo).is_err());
        assert!(dsse::verify_with(&envelope, &trust(&[]), 1, &memo).is_err());
    }
    // Another message, another signature, another key: none of them is known.
    let other = dsse::sign("t", b"other".to_vec(), &one)
        .unwrap()
        .to_canonical_json();
    let mut mixed: Value = serde_json::from_slice(&envelope.to_canonical_json()).unwrap();
    mixed["payload"] = serde_json::from_slice::<Value>(&other).unwrap()["payload"].clone();
    let mixed = Envelope::parse(mixed.to_string().as_bytes()).unwrap();
    assert!(dsse::verify_with(&mixed, &trust(&[&one]), 1, &memo).is_err());
    assert!(dsse::verify_with(&mixed, &trust(&[&one]), 1, &memo).is_err());
    // Signers come in the order of the envelope, whatever their ids.
    dsse::countersign(&mut envelope, &two).unwrap();
    let signers = [one.key_id(), two.key_id()];
    for _ in 0..2 {
        let verified = dsse::verify_with(&envelope, &trust(&[&two, &one]), 2, &memo).unwrap();
        assert_eq!(verified.signers(), signers);
    }
}
