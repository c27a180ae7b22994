//! Keys: files, forms, purposes, times, and that secrets never print.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use writ_evidence::key::{
    KeyError, SignerRef, VaultLogin, VaultSettings, load_private_key, save_private_key,
};
use writ_evidence::{
    Algorithm, KeyId, LocalSigner, PublicKey, Purpose, Signer, TrustedKey, TrustedKeys,
};
use writ_model::Timestamp;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::EcdsaP256];

#[test]
fn a_key_survives_its_file() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in ALGORITHMS {
        let path = directory.path().join(algorithm.to_string());
        let signer = LocalSigner::generate(algorithm).unwrap();
        save_private_key(&signer, &path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let loaded = load_private_key(&path).unwrap();
        assert_eq!(loaded.public_key(), signer.public_key());
        assert_eq!(loaded.algorithm(), algorithm);
        let error = save_private_key(&signer, &path).unwrap_err();
        assert!(error.to_string().contains("never overwritten"), "{error}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    save_private_key(&LocalSigner::generate(Algorithm::Ed25519).unwrap(), &path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = load_private_key(&path).unwrap_err();
        assert!(
            error.to_string().contains(&format!("mode {mode:04o}")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_key_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    save_private_key(
        &LocalSigner::generate(Algorithm::Ed25519).unwrap(),
        &path("key"),
    )
    .unwrap();
    std::os::unix::fs::symlink(path("key"), path("link")).unwrap();
    assert!(matches!(
        load_private_key(&path("link")),
        Err(KeyError::File { .. })
    ));
    assert!(matches!(
        load_private_key(directory.path()),
        Err(KeyError::NotAKeyFile { .. })
    ));
    assert!(matches!(
        load_private_key(&path("absent")),
        Err(KeyError::File { .. })
    ));
    for (name, content) in [
        ("empty", String::new()),
        ("noise", "hello".to_owned()),
        ("large", "x".repeat(20_000)),
    ] {
        fs::write(path(name), content).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(load_private_key(&path(name)).is_err(), "{name}");
    }
}

#[test]
fn secrets_never_print() {
    for algorithm in ALGORITHMS {
        let signer = LocalSigner::from_seed(algorithm, &[0x5a; 32]).unwrap();
        let printed = format!("{signer:?} {:?}", signer.public_key());
        assert!(printed.contains("redacted"));
        assert!(
            !printed.contains("5a5a5a") && !printed.contains("90, 90"),
            "{printed}"
        );
        // A truncated PEM's error must not quote it.
        let pem = signer.to_pkcs8_pem().unwrap();
        let broken = pem.replace("END PRIVATE", "END");
        let error = LocalSigner::from_pkcs8_pem(&broken)
            .unwrap_err()
            .to_string();
        assert!(!error.contains("WlpaWlpa"), "{error}");
    }
}

#[test]
fn public_keys_round_trip_and_weak_or_foreign_ones_are_refused() {
    for algorithm in ALGORITHMS {
        let key = LocalSigner::generate(algorithm)
            .unwrap()
            .public_key()
            .clone();
        assert_eq!(PublicKey::from_pem(&key.to_pem().unwrap()).unwrap(), key);
        assert_eq!(PublicKey::from_der(&key.to_der().unwrap()).unwrap(), key);
        assert_eq!(key.id().to_string().parse::<KeyId>().unwrap(), key.id());
    }
    // The identity point: every message has a valid signature under it.
    let mut weak = hex::decode("302a300506032b6570032100").unwrap();
    weak.push(1);
    weak.extend([0; 31]);
    assert!(
        PublicKey::from_der(&weak)
            .unwrap_err()
            .to_string()
            .contains("small order")
    );
    // X25519 has the same shape and another purpose.
    weak[8] = 0x6e;
    assert!(PublicKey::from_der(&weak).is_err());
    assert!("AB".repeat(32).parse::<KeyId>().is_err());
    assert!("ab".repeat(31).parse::<KeyId>().is_err());
}

#[test]
fn a_key_serves_its_purpose_in_its_time() {
    let key = LocalSigner::generate(Algorithm::Ed25519)
        .unwrap()
        .public_key()
        .clone();
    let at = Timestamp::from_micros;
    let keys: TrustedKeys = [TrustedKey {
        valid_from: Some(at(100)),
        valid_until: Some(at(200)),
        ..TrustedKey::new(key, Purpose::Writ("production".to_owned()))
    }]
    .into_iter()
    .collect();
    let count = |purpose: &str, time| keys.select(&purpose.parse().unwrap(), at(time)).len();
    assert_eq!(count("writ:production", 100), 1);
    assert_eq!(count("writ:production", 199), 1);
    assert_eq!(count("writ:production", 99), 0);
    assert_eq!(count("writ:production", 200), 0);
    assert_eq!(count("writ:staging", 150), 0);
    assert_eq!(count("producer", 150), 0);
    assert_eq!(count("log", 150), 0);
    assert!("writ:".parse::<Purpose>().is_err());
    assert!("root".parse::<Purpose>().is_err());
}

#[test]
fn a_refusal_says_why() {
    let key = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let at = Timestamp::from_micros;
    let key = TrustedKey {
        valid_from: Some(at(100)),
        valid_until: Some(at(200)),
        ..TrustedKey::new(key.public_key().clone(), Purpose::Producer)
    };
    let why = |key: &TrustedKey, purpose: &Purpose, time| {
        key.refusal(purpose, at(time)).map(|why| why.to_string())
    };
    for time in [99, 100, 199, 200] {
        // The two questions never answer differently.
        assert_eq!(
            key.serves(&Purpose::Producer, at(time)),
            why(&key, &Purpose::Producer, time).is_none()
        );
    }
    assert!(
        why(&key, &Purpose::Log, 150)
            .unwrap()
            .contains("only for producer")
    );
    assert!(
        why(&key, &Purpose::Producer, 99)
            .unwrap()
            .contains("counts from")
    );
    assert!(
        why(&key, &Purpose::Producer, 200)
            .unwrap()
            .contains("was retired")
    );
    let revoked = TrustedKey {
        revoked: Some("the laptop was stolen".to_owned()),
        ..key
    };
    let said = why(&revoked, &Purpose::Producer, 200).unwrap();
    assert!(
        said.contains("was revoked") && said.contains("the laptop was stolen"),
        "{said}"
    );
    assert_eq!(why(&revoked, &Purpose::Producer, 199), None);
}

#[test]
fn where_a_key_is_can_be_written_and_read() {
    for text in [
        "file:log.key",
        "file:/etc/writ/producer.key",
        "vault://transit/keys/writ-log?version=3",
        "vault://team/transit/keys/writ.log",
    ] {
        assert_eq!(text.parse::<SignerRef>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "log.key",
        "file:",
        "file:../store/log.key",
        "file:a\nb",
        "vault://",
        "vault://transit/keys/",
        "vault://transit/sign/x",
        "vault://transit/../sys/keys/x",
        "vault://transit/keys/a b",
        "vault://transit/keys/a?version=0",
        "vault://transit/keys/a?version=03",
        "vault://transit/keys/a?version=1&x=2",
        "vault://transit/keys/a?token=s",
        "https://vault/v1/transit/keys/a",
    ] {
        assert!(text.parse::<SignerRef>().is_err(), "{text}");
    }
    assert!(
        format!("file:{}", "x".repeat(600))
            .parse::<SignerRef>()
            .is_err()
    );
}

#[test]
fn settings_of_a_key_service_are_strict() {
    let read = |text: &str| toml::from_str::<VaultSettings>(text);
    let full = read(
        "address = 'https://vault:8200'\nnamespace = 'team/a'\nca_file = 'ca.pem'\ntimeout_seconds = 5\n\
         [login]\nmethod = 'approle'\nrole_id = 'r'\nsecret_id_file = '/run/secret'\n",
    )
    .unwrap();
    assert_eq!(
        full.login,
        Some(VaultLogin::AppRole {
            mount: "approle".to_owned(),
            role_id: "r".to_owned(),
            secret_id_file: Some("/run/secret".into()),
        })
    );
    assert_eq!(read(&toml::to_string(&full).unwrap()).unwrap(), full);
    // A secret has no place here.
    assert!(read("token = 'hvs.x'").is_err());
    assert!(read("[login]\nmethod = 'token'\ntoken = 'hvs.x'").is_err());
    assert!(read("[login]\nmethod = 'ldap'").is_err());
}
