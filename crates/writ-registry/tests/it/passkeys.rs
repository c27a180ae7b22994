//! Passkeys of a store: what the ledger says of them, and what is kept beside it.

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use writ_evidence::key::PublicKey;
use writ_evidence::predicate::Assertion;
use writ_evidence::webauthn::{NewPasskey, Presence, RelyingParty, text};
use writ_model::{Assurance, PrincipalId};
use writ_registry::Store;
use writ_registry::directory::{AddPasskey, MAX_PASSKEYS};

use crate::common::{Place, each_database};

const SITE: RelyingParty<'static> = RelyingParty {
    id: "localhost",
    origin: Some("http://localhost:1"),
};

fn made(number: u8) -> (SigningKey, NewPasskey) {
    let key = SigningKey::from_bytes(&[number; 32]);
    let new = NewPasskey {
        credential_id: vec![number; 16],
        key: PublicKey::from_ed25519_raw(&key.verifying_key().to_bytes()).unwrap(),
        presence: Presence {
            sign_count: 1,
            backup_eligible: false,
            backed_up: false,
        },
    };
    (key, new)
}

fn sign(key: &SigningKey, id: &[u8], challenge: &[u8; 32], count: u32) -> Assertion {
    let client = format!(
        r#"{{"type":"webauthn.get","challenge":"{}","origin":"http://localhost:1"}}"#,
        text(challenge)
    );
    let mut data = Sha256::digest(b"localhost").to_vec();
    data.push(0b101);
    data.extend(count.to_be_bytes());
    let mut message = data.clone();
    message.extend(Sha256::digest(client.as_bytes()));
    Assertion {
        credential_id: text(id),
        client_data_json: text(client.as_bytes()),
        authenticator_data: text(&data),
        signature: text(&key.sign(&message).to_bytes()),
        session: None,
    }
}

/// A passkey is added, used, counted, and ended.
async fn everything(store: &Store, account: &PrincipalId, other: &PrincipalId) {
    let (key, new) = made(3);
    let add = AddPasskey {
        account,
        new: &new,
        site: "localhost",
        name: "a key",
        proven: Assurance::Password,
    };
    assert_eq!(store.passkeys(account).await.unwrap(), []);
    store.add_passkey(&add).await.unwrap();
    let again = AddPasskey {
        account: other,
        ..add
    };
    let error = store.add_passkey(&again).await.unwrap_err();
    assert!(error.to_string().contains("in use already"), "{error}");
    let held = store.passkeys(account).await.unwrap();
    assert_eq!((held[0].name.as_str(), held[0].sign_count), ("a key", 1));
    let id = &new.credential_id;
    let prove = async |who: &PrincipalId, challenge: u8, count: u32| {
        let challenge = [challenge; 32];
        let assertion = sign(&key, id, &challenge, count);
        let proven = store.prove_passkey(who, &assertion, SITE, &challenge).await;
        proven.map(|_| ()).map_err(|error| error.to_string())
    };
    prove(account, 1, 2).await.unwrap();
    for (who, challenge, count, why) in [
        (account, 1, 3, "answered with a passkey before"),
        (account, 2, 2, "counts backwards"),
        (account, 3, 1, "counts backwards"),
        (other, 4, 9, "somebody else's"),
    ] {
        let error = prove(who, challenge, count).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    prove(account, 5, 9).await.unwrap();
    let held = store.passkeys(account).await.unwrap();
    assert_eq!(held[0].sign_count, 9);
    assert!(held[0].used_at.is_some());
    let error = store.end_passkey(other, &held[0].id, other, None).await;
    assert!(error.unwrap_err().to_string().contains("no such passkey"));
    let why = Some("lost".to_owned());
    store
        .end_passkey(account, &held[0].id, other, why)
        .await
        .unwrap();
    assert_eq!(store.passkeys(account).await.unwrap(), []);
    let error = prove(account, 6, 10).await.unwrap_err();
    assert!(error.contains("it was ended"), "{error}");
}

each_database!(passkeys_are_what_the_ledger_says);

pub async fn passkeys_are_what_the_ledger_says(place: Place) {
    let store = place.create().await;
    let ada = store.add_account("ada", "correct horse battery").await;
    let bob = store.add_account("bob", "correct horse battery").await;
    let (ada, bob) = (ada.unwrap(), bob.unwrap());
    everything(&store, &ada, &bob).await;
    let limit = u8::try_from(MAX_PASSKEYS).unwrap();
    for number in 10..=10 + limit {
        let (_, new) = made(number);
        let add = AddPasskey {
            account: &ada,
            new: &new,
            site: "localhost",
            name: if number == 11 { " " } else { "one" },
            proven: Assurance::Totp,
        };
        let added = store.add_passkey(&add).await;
        assert_eq!(added.is_err(), number == 11, "{number}");
    }
    let (_, new) = made(40);
    let add = AddPasskey {
        account: &ada,
        new: &new,
        site: "localhost",
        name: "one too many",
        proven: Assurance::Totp,
    };
    let error = store.add_passkey(&add).await.unwrap_err();
    assert!(error.to_string().contains("at most 10"), "{error}");
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.passkeys(&ada).await.unwrap().len(), MAX_PASSKEYS);
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good());
    assert_eq!(report.passkeys.bound, 11);
}
