//! Passkeys: what an authenticator signs is believed as it is, and in no other way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ed25519_dalek::Signer as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use writ_evidence::key::PublicKey;
use writ_evidence::predicate::Assertion;
use writ_evidence::webauthn::{
    Expected, NewPasskey, PasskeyError, RelyingParty, challenge, embed, register, text, verify,
};

const SITE: RelyingParty<'static> = RelyingParty {
    id: "writ.example",
    origin: Some("https://writ.example"),
};
const CHALLENGE: [u8; 32] = [7; 32];
/// Present and verified.
const SEEN: u8 = 0b101;
const ATTESTED: u8 = 1 << 6;

enum Secret {
    Es256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

/// An authenticator in software.
struct Authenticator {
    secret: Secret,
    id: Vec<u8>,
}

impl Authenticator {
    fn es256() -> Self {
        let secret = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
        Self {
            secret: Secret::Es256(secret),
            id: vec![1; 20],
        }
    }

    fn ed25519() -> Self {
        Self {
            secret: Secret::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[8; 32])),
            id: vec![2; 64],
        }
    }

    fn cose(&self) -> Vec<u8> {
        match &self.secret {
            Secret::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let bytes = point.as_bytes();
                let mut cose = vec![0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
                cose.extend(&bytes[1..33]);
                cose.extend([0x22, 0x58, 32]);
                cose.extend(&bytes[33..]);
                cose
            }
            Secret::Ed25519(key) => {
                let mut cose = vec![0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
                cose.extend(key.verifying_key().to_bytes());
                cose
            }
        }
    }

    fn attestation(&self, cose: &[u8]) -> Vec<u8> {
        let mut data = data(SITE.id, SEEN | ATTESTED, 0);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(cose);
        object(&data)
    }

    fn new_passkey(&self) -> NewPasskey {
        let client = client(&json!({}), "webauthn.create");
        register(&client, &self.attestation(&self.cose()), SITE, &CHALLENGE).unwrap()
    }

    fn sign(&self, client: &[u8], data: &[u8]) -> Assertion {
        let mut message = data.to_vec();
        message.extend(Sha256::digest(client));
        let signature = match &self.secret {
            Secret::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(&message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::Ed25519(key) => key.sign(&message).to_bytes().to_vec(),
        };
        Assertion {
            credential_id: text(&self.id),
            client_data_json: text(client),
            authenticator_data: text(data),
            signature: text(&signature),
            session: None,
        }
    }
}

fn data(site: &str, flags: u8, count: u32) -> Vec<u8> {
    let mut data = Sha256::digest(site.as_bytes()).to_vec();
    data.push(flags);
    data.extend(count.to_be_bytes());
    data
}

/// `{"fmt": "none", "attStmt": {}, "authData": data}`
fn object(data: &[u8]) -> Vec<u8> {
    let mut object = vec![0xa3, 0x63];
    object.extend(b"fmt");
    object.push(0x64);
    object.extend(b"none");
    object.push(0x67);
    object.extend(b"attStmt");
    object.extend([0xa0, 0x68]);
    object.extend(b"authData");
    object.push(0x59);
    object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    object.extend(data);
    object
}

fn client(change: &Value, kind: &str) -> Vec<u8> {
    let mut client = json!({
        "type": kind,
        "challenge": text(&CHALLENGE),
        "origin": "https://writ.example",
        "crossOrigin": false,
    });
    for (name, value) in change.as_object().unwrap() {
        client[name] = value.clone();
    }
    serde_json::to_vec(&client).unwrap()
}

fn judge(made: &NewPasskey, assertion: &Assertion) -> Result<u32, PasskeyError> {
    let expected = Expected {
        credential: &text(&made.credential_id),
        key: &made.key,
        site: SITE,
        challenge: &CHALLENGE,
    };
    verify(assertion, &expected).map(|seen| seen.sign_count)
}

#[test]
fn both_kinds_of_keys_are_registered_and_sign() {
    for authenticator in [Authenticator::es256(), Authenticator::ed25519()] {
        let made = authenticator.new_passkey();
        assert_eq!(made.credential_id, authenticator.id);
        let seen = data(SITE.id, SEEN, 41);
        let assertion = authenticator.sign(&client(&json!({}), "webauthn.get"), &seen);
        assert_eq!(judge(&made, &assertion), Ok(41));
        // Stored and read back, the key is the same.
        let der = made.key.to_der().unwrap();
        assert_eq!(PublicKey::from_der(&der).unwrap(), made.key);
    }
}

#[test]
fn what_was_asked_otherwise_is_refused_in_words() {
    let authenticator = Authenticator::es256();
    let made = authenticator.new_passkey();
    let good = data(SITE.id, SEEN, 1);
    let say = |change: Value, kind: &str, data: &[u8]| {
        judge(&made, &authenticator.sign(&client(&change, kind), data))
            .unwrap_err()
            .to_string()
    };
    for (change, kind, data, why) in [
        (
            json!({}),
            "webauthn.create",
            &good,
            "of the type 'webauthn.create'",
        ),
        (
            json!({"challenge": text(&[8; 32])}),
            "webauthn.get",
            &good,
            "signs the challenge",
        ),
        (
            json!({"origin": "https://evil.example"}),
            "webauthn.get",
            &good,
            "made at https://evil.example",
        ),
        (
            json!({"origin": "http://writ.example"}),
            "webauthn.get",
            &good,
            "https://writ.example is required",
        ),
        (
            json!({"crossOrigin": true}),
            "webauthn.get",
            &good,
            "a page of another site",
        ),
        (
            json!({"topOrigin": "https://evil.example"}),
            "webauthn.get",
            &good,
            "a page of another site",
        ),
        (
            json!({"challenge": 7}),
            "webauthn.get",
            &good,
            "cannot be understood",
        ),
        (
            json!({}),
            "webauthn.get",
            &data("evil.example", SEEN, 1),
            "another relying party",
        ),
        (
            json!({}),
            "webauthn.get",
            &data(SITE.id, 0b100, 1),
            "somebody is present",
        ),
        (
            json!({}),
            "webauthn.get",
            &data(SITE.id, 0b001, 1),
            "did not check who",
        ),
        (
            json!({}),
            "webauthn.get",
            &data(SITE.id, SEEN | 1 << 4, 1),
            "backed up",
        ),
        (
            json!({}),
            "webauthn.get",
            &data(SITE.id, SEEN | ATTESTED, 1),
            "brings a new passkey",
        ),
        (
            json!({}),
            "webauthn.get",
            &[good.as_slice(), &[0]].concat(),
            "follows its end",
        ),
        (json!({}), "webauthn.get", &good[..36].to_vec(), "too few"),
        (json!({}), "webauthn.get", &vec![0; 5_000], "at most 4096"),
        (
            json!({"origin": "x".repeat(5_000)}),
            "webauthn.get",
            &good,
            "at most 4096",
        ),
    ] {
        let said = say(change, kind, data);
        let why = if why.starts_with("another rel") {
            "relying party with the hash"
        } else {
            why
        };
        assert!(said.contains(why), "{said} / {why}");
    }
    // Another passkey's answer, a key of another kind, a signature in another encoding.
    let other = Authenticator::ed25519();
    let assertion = other.sign(&client(&json!({}), "webauthn.get"), &good);
    assert!(matches!(
        judge(&made, &assertion),
        Err(PasskeyError::Credential { .. })
    ));
    let renamed = Assertion {
        credential_id: text(&authenticator.id),
        ..assertion
    };
    assert_eq!(judge(&made, &renamed), Err(PasskeyError::Signature));
    let mut padded = authenticator.sign(&client(&json!({}), "webauthn.get"), &good);
    padded.signature.push('=');
    assert_eq!(
        judge(&made, &padded),
        Err(PasskeyError::Encoding("the signature"))
    );
}

#[test]
fn registrations_that_are_refused() {
    let authenticator = Authenticator::es256();
    let cose = authenticator.cose();
    let client = client(&json!({}), "webauthn.create");
    let refuse = |attestation: &[u8]| {
        register(&client, attestation, SITE, &CHALLENGE)
            .unwrap_err()
            .to_string()
    };
    let with = |at: usize, byte: u8| {
        let mut changed = cose.clone();
        changed[at] = byte;
        refuse(&authenticator.attestation(&changed))
    };
    // Algorithm, kind and curve belong together.
    assert!(with(4, 0x27).contains("do not belong to the algorithm"));
    assert!(with(2, 1).contains("do not belong to the algorithm"));
    assert!(with(6, 6).contains("do not belong to the algorithm"));
    assert!(with(4, 0x25).contains("algorithm -6"));
    assert!(with(5, 0x21).contains("kind 0, not bytes"));
    // Not a point of the curve; a coordinate that is too short.
    assert!(with(cose.len() - 1, cose[cose.len() - 1] ^ 1).contains("the passkey's key"));
    assert!(with(9, 31).contains("31 bytes"));
    let weak = [
        &[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32, 1][..],
        &[0; 31],
    ]
    .concat();
    assert!(refuse(&authenticator.attestation(&weak)).contains("small order"));
    let good = authenticator.attestation(&cose);
    assert!(refuse(&[good.as_slice(), &[0]].concat()).contains("follows its end"));
    assert!(refuse(&[0xa0]).contains("no authData"));
    assert!(refuse(&[0xbb, 255, 255, 255, 255, 255, 255, 255, 255]).contains("ends early"));
    assert!(refuse(&vec![0; 20_000]).contains("at most 16384"));
    assert!(refuse(&object(&data(SITE.id, SEEN, 0))).contains("brings no passkey"));
    // Nobody there, or nobody verified.
    assert!(refuse(&object(&data(SITE.id, ATTESTED | 4, 0))).contains("is present"));
    for end in 0..good.len() {
        assert!(
            register(&client, &good[..end], SITE, &CHALLENGE).is_err(),
            "{end}"
        );
    }
    assert!(register(&client, &good, SITE, &[8; 32]).is_err());
}

#[test]
fn an_assertion_is_bound_to_the_whole_statement() {
    let statement = |comment: &str| {
        writ_evidence::canonical::to_vec(&json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "pay", "digest": {"sha256": "a".repeat(64)}}],
            "predicateType": "urn:writ:predicate:approval:v1",
            "predicate": {"by": {"principal": "p_1", "assurance": "webauthn"}, "comment": comment},
        }))
        .unwrap()
    };
    let assertion = Assertion {
        credential_id: "AA".to_owned(),
        client_data_json: "AA".to_owned(),
        authenticator_data: "AA".to_owned(),
        signature: "AA".to_owned(),
        session: None,
    };
    let bare = statement("fine");
    let whole = embed(&bare, "by", &assertion).unwrap();
    assert_ne!(bare, whole);
    assert_eq!(challenge(&whole), challenge(&bare));
    assert_eq!(
        challenge(&bare).unwrap().as_bytes()[..],
        Sha256::digest(&bare)[..]
    );
    assert_ne!(challenge(&statement("not fine")), challenge(&bare));
    assert!(embed(&bare, "requestedBy", &assertion).is_err());
    assert!(challenge(b"{}").is_err());
}

proptest! {
    /// Whatever bit of whatever field changes: nothing is proven any more.
    #[test]
    fn no_flipped_bit_is_believed(field in 0..4_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8, kind in any::<bool>()) {
        let authenticator = if kind { Authenticator::es256() } else { Authenticator::ed25519() };
        let made = authenticator.new_passkey();
        let mut assertion = authenticator.sign(&client(&json!({}), "webauthn.get"), &data(SITE.id, SEEN, 1));
        let text_of = match field {
            0 => &mut assertion.credential_id,
            1 => &mut assertion.client_data_json,
            2 => &mut assertion.authenticator_data,
            _ => &mut assertion.signature,
        };
        let mut bytes = BASE64.decode(&*text_of).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        *text_of = BASE64.encode(bytes);
        prop_assert!(judge(&made, &assertion).is_err());
    }

    /// No bytes make the readers fail in another way than by an error.
    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let client = client(&json!({}), "webauthn.create");
        let _ = register(&client, &bytes, SITE, &CHALLENGE);
        let _ = register(&bytes, &bytes, SITE, &CHALLENGE);
        let mut seen = data(SITE.id, SEEN | ATTESTED | 1 << 7, 0);
        seen.extend(&bytes);
        let _ = register(&client, &object(&seen), SITE, &CHALLENGE);
    }
}
