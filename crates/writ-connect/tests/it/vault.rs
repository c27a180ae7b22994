//! A Vault that misbehaves: every way ends in an error that says what to do, and never in a signature
//! that is not one, a panic or a token in a message.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use writ_connect::{Vault, VaultService};
use writ_evidence::key::{
    KeyError, KeyService as _, SignerRef, VaultKey, VaultLogin, VaultSettings,
};
use writ_evidence::{Algorithm, LocalSigner, Signer};

use crate::stub::{Act, Stub};

const TOKEN: &str = "hvs.CAESIJsecret";

pub fn key(text: &str) -> VaultKey {
    match text.parse().unwrap() {
        SignerRef::Vault(key) => key,
        SignerRef::File(_) => panic!("{text}"),
    }
}

fn settings(stub: &Stub) -> VaultSettings {
    VaultSettings {
        address: Some(stub.url()),
        timeout_seconds: Some(1),
        ..VaultSettings::default()
    }
}

fn service(stub: &Stub) -> VaultService {
    let environment = |name: &str| (name == "VAULT_TOKEN").then(|| TOKEN.to_owned());
    VaultService::new(Vault::new(&settings(stub), &environment).unwrap())
}

fn say(body: serde_json::Value) -> Act {
    Act::Say(200, body.to_string())
}

/// What the engine answers when `signer` signs the message of a request.
fn signed(signer: &LocalSigner, version: &str, request: &str) -> Act {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let message = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
    let signature = STANDARD.encode(signer.sign(&message).unwrap());
    say(json!({"data": {"signature": format!("vault:{version}:{signature}")}}))
}

#[test]
fn a_signature_is_asked_for_and_checked() {
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let local = LocalSigner::generate(algorithm).unwrap();
        let public = local.public_key().clone();
        let stub = Stub::answering(move |_, request| signed(&local, "v3", request));
        let signer = service(&stub)
            .signer(&key("vault://team/transit/keys/log?version=3"), &public)
            .unwrap();
        let signature = signer.sign(b"a statement").unwrap();
        assert!(public.verifies(b"a statement", &signature, Default::default()));
        let asked = &stub.asked()[0];
        assert!(
            asked.starts_with("POST /v1/team/transit/sign/log HTTP"),
            "{asked}"
        );
        assert!(asked.contains(r#""key_version":3"#), "{asked}");
        assert_eq!(asked.contains("asn1"), algorithm == Algorithm::EcdsaP256);
        assert!(asked.to_lowercase().contains("x-vault-request: true"));
    }
}

#[test]
fn what_is_no_signature_of_the_trusted_key_is_refused() {
    let local = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let other = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let public = local.public_key().clone();
    let fixed = |text: &str| {
        let text = text.to_owned();
        Stub::answering(move |_, _| say(json!({"data": {"signature": text}})))
    };
    let cases = [
        // Exchanged in the server: the version is there, but is another key.
        (
            Stub::answering(move |_, request| signed(&other, "v1", request)),
            "was not made by key",
        ),
        (
            Stub::answering(move |_, request| signed(&local, "v2", request)),
            "asked for was v1",
        ),
        (fixed("AAAA"), "does not have the form"),
        (fixed("vault:v1:!"), "not base64"),
        (fixed("vault:v1:"), "was not made by key"),
        (fixed(&"vault:v1:".repeat(1_000)), "not base64"),
        (
            Stub::new(vec![say(json!({"data": {}}))]),
            "cannot be understood",
        ),
        (
            Stub::new(vec![Act::Say(200, "<html>".to_owned())]),
            "cannot be understood",
        ),
        (
            Stub::new(vec![Act::Say(200, "x".repeat(2 << 20))]),
            "more than",
        ),
    ];
    for (stub, expected) in cases {
        let signer = service(&stub)
            .signer(&key("vault://transit/keys/log?version=1"), &public)
            .unwrap();
        let error = signer.sign(b"m").unwrap_err();
        assert!(matches!(error, KeyError::Service { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.starts_with("vault://transit/keys/log?version=1: "),
            "{expected}: {text}"
        );
    }
}

#[test]
fn what_the_server_refuses_is_said_with_a_remedy_and_without_the_token() {
    let public = LocalSigner::generate(Algorithm::Ed25519)
        .unwrap()
        .public_key()
        .clone();
    let words = |text: &str| json!({"errors": [text]}).to_string();
    let echo = format!("token {TOKEN}\n\tis bad \u{1b}[31m");
    for (status, body, expected) in [
        // As OpenBao 2.7.2 says it.
        (
            503,
            words("Vault is sealed"),
            "not ready (503): Vault is sealed; unseal",
        ),
        (
            403,
            words("permission denied"),
            "refused: permission denied; give the token a policy",
        ),
        (404, words("no handler for route"), "no such key"),
        (400, words("signing key not found"), "no such key"),
        (
            400,
            words("key type aes256-gcm96 does not support signing"),
            "cannot be used",
        ),
        (
            500,
            words("requested version for signing is higher"),
            "cannot be used",
        ),
        (500, words("boom"), "answered 500: boom"),
        (418, "teapot".to_owned(), "answered 418: it gave no reason"),
        (400, words(&echo), "token (redacted) is bad [31m"),
        (500, words(&"x".repeat(100_000)), "xxx"),
    ] {
        let stub = Stub::new(vec![Act::Say(status, body)]);
        let signer = service(&stub)
            .signer(&key("vault://transit/keys/log?version=1"), &public)
            .unwrap();
        let error = signer.sign(b"m").unwrap_err();
        let text = format!("{error}");
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(text.len() < 700, "{}", text.len());
        assert!(!format!("{error:?}{text}").contains("CAESIJ"), "{text}");
    }
}

#[test]
fn a_server_that_hangs_ends_in_time_and_does_not_hold_up_another() {
    let public = LocalSigner::generate(Algorithm::Ed25519)
        .unwrap()
        .public_key()
        .clone();
    let silent = Stub::new(vec![Act::Silent]);
    let service = service(&silent);
    let signers: Vec<_> = (0..4)
        .map(|_| {
            service
                .signer(&key("vault://transit/keys/log?version=1"), &public)
                .unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for signer in &signers {
            scope.spawn(|| {
                let error = signer.sign(b"m").unwrap_err().to_string();
                assert!(error.contains("did not answer within 1000 ms"), "{error}");
            });
        }
    });
    // They waited beside each other: all four reached the server.
    assert_eq!(silent.asked().len(), 4);
}

/// From inside every kind of runtime: the call blocks its thread for a bounded time, and nothing panics.
#[test]
fn signing_works_inside_and_outside_of_runtimes() {
    let local = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let public = local.public_key().clone();
    let stub = Stub::answering(move |_, request| signed(&local, "v1", request));
    let signer = service(&stub)
        .signer(&key("vault://transit/keys/log?version=1"), &public)
        .unwrap();
    signer.sign(b"no runtime").unwrap();
    let current = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    current.block_on(async { signer.sign(b"in it").unwrap() });
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    many.block_on(async {
        let inside: Arc<dyn Signer> = Arc::clone(&signer);
        tokio::spawn(async move { inside.sign(b"on a worker").unwrap() })
            .await
            .unwrap();
        let inside: Arc<dyn Signer> = Arc::clone(&signer);
        tokio::task::spawn_blocking(move || inside.sign(b"where it belongs").unwrap())
            .await
            .unwrap();
    });
    drop(many);
    // The signer outlives the runtimes, and is dropped inside another one.
    signer.sign(b"again").unwrap();
    current.block_on(async move { drop(signer) });
}

#[test]
fn log_ins_are_made_once_and_again_when_a_token_is_refused() {
    let local = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let public = local.public_key().clone();
    // Tokens t0, t1, …: the first one ends after one signature.
    let logins = Arc::new(Mutex::new(0));
    let count = Arc::clone(&logins);
    let mut served = 0;
    let stub = Stub::answering(move |_, request| {
        if request.starts_with("POST /v1/auth/ci/approle/login") {
            assert!(
                request.contains(r#""role_id":"r""#) && request.contains(r#""secret_id":"sid""#)
            );
            let mut count = count.lock().unwrap();
            let token = format!("t{count}");
            *count += 1;
            return say(json!({"auth": {"client_token": token, "lease_duration": 3600}}));
        }
        let first = request.to_lowercase().contains("x-vault-token: t0");
        served += u32::from(first);
        if first && served > 1 {
            return Act::Say(403, json!({"errors": ["permission denied"]}).to_string());
        }
        signed(&local, "v1", request)
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret-id");
    std::fs::write(&file, "sid\n").unwrap();
    let settings = VaultSettings {
        login: Some(VaultLogin::AppRole {
            mount: "ci/approle".to_owned(),
            role_id: "r".to_owned(),
            secret_id_file: Some(file),
        }),
        ..settings(&stub)
    };
    let service = VaultService::new(Vault::new(&settings, &|_| None).unwrap());
    let signer = service
        .signer(&key("vault://transit/keys/log?version=1"), &public)
        .unwrap();
    signer.sign(b"one").unwrap();
    assert_eq!(*logins.lock().unwrap(), 1);
    // Refused now, for all of them at once: one more log-in serves all.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| signer.sign(b"more").unwrap());
        }
    });
    assert_eq!(*logins.lock().unwrap(), 2);
}

#[test]
fn a_refusal_that_stays_is_the_answer() {
    let public = LocalSigner::generate(Algorithm::Ed25519)
        .unwrap()
        .public_key()
        .clone();
    let stub = Stub::answering(|_, request| {
        if request.contains("/login") {
            say(json!({"auth": {"client_token": "t", "lease_duration": 0}}))
        } else {
            Act::Say(403, json!({"errors": ["permission denied"]}).to_string())
        }
    });
    let settings = VaultSettings {
        login: Some(VaultLogin::Jwt {
            mount: "jwt".to_owned(),
            role: "ci".to_owned(),
            jwt_file: None,
        }),
        ..settings(&stub)
    };
    let environment = |name: &str| (name == "WRIT_VAULT_JWT").then(|| "ey.J.x".to_owned());
    let service = VaultService::new(Vault::new(&settings, &environment).unwrap());
    let signer = service
        .signer(&key("vault://transit/keys/log?version=1"), &public)
        .unwrap();
    let error = signer.sign(b"m").unwrap_err().to_string();
    assert!(error.contains("permission denied"), "{error}");
    assert_eq!(stub.asked().len(), 4, "log in, ask, log in, ask");
    // A refused log-in shows neither the secret nor goes on.
    let stub = Stub::new(vec![Act::Say(
        400,
        json!({"errors": ["error validating token ey.J.x: expired"]}).to_string(),
    )]);
    let settings = VaultSettings {
        address: Some(stub.url()),
        ..settings
    };
    let service = VaultService::new(Vault::new(&settings, &environment).unwrap());
    let error = service
        .look_up(&key("vault://transit/keys/log"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("refused the log-in (400)") && error.contains("(redacted): expired"),
        "{error}"
    );
    assert!(!error.contains("ey.J.x"), "{error}");
    assert_eq!(stub.asked().len(), 1);
}

#[test]
fn settings_come_from_the_file_then_from_the_environment() {
    let environment = |name: &str| match name {
        "VAULT_ADDR" => Some("https://from.environment:8200".to_owned()),
        "VAULT_TOKEN" => Some("t".to_owned()),
        _ => None,
    };
    let vault = Vault::new(&VaultSettings::default(), &environment).unwrap();
    assert_eq!(vault.address(), "https://from.environment:8200");
    let said = VaultSettings {
        address: Some("https://said:8200/".to_owned()),
        ..VaultSettings::default()
    };
    let vault = Vault::new(&said, &environment).unwrap();
    assert_eq!(vault.address(), "https://said:8200");
    assert!(!format!("{vault:?}").contains("\"t\""));
    let wrong =
        |settings: VaultSettings| Vault::new(&settings, &environment).unwrap_err().to_string();
    for (settings, expected) in [
        (
            VaultSettings {
                address: Some("http://vault.example:8200".to_owned()),
                ..VaultSettings::default()
            },
            "plain http",
        ),
        (
            VaultSettings {
                address: Some("https://169.254.169.254".to_owned()),
                ..VaultSettings::default()
            },
            "link-local",
        ),
        (
            VaultSettings {
                timeout_seconds: Some(0),
                ..VaultSettings::default()
            },
            "1 to 60",
        ),
        (
            VaultSettings {
                timeout_seconds: Some(u64::MAX),
                ..VaultSettings::default()
            },
            "1 to 60",
        ),
        (
            VaultSettings {
                ca_file: Some("/nonexistent/ca.pem".into()),
                ..VaultSettings::default()
            },
            "/nonexistent/ca.pem",
        ),
        (
            VaultSettings {
                namespace: Some("a\r\nX-Evil: 1".to_owned()),
                ..VaultSettings::default()
            },
            "namespace",
        ),
        (
            VaultSettings {
                login: Some(VaultLogin::AppRole {
                    mount: "../../sys".to_owned(),
                    role_id: "r".to_owned(),
                    secret_id_file: Some("x".into()),
                }),
                ..VaultSettings::default()
            },
            "mount of [vault.login]",
        ),
        (
            VaultSettings {
                login: Some(VaultLogin::Jwt {
                    mount: "jwt".to_owned(),
                    role: "r".to_owned(),
                    jwt_file: None,
                }),
                ..VaultSettings::default()
            },
            "WRIT_VAULT_JWT",
        ),
    ] {
        let text = wrong(settings);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let none = Vault::new(&VaultSettings::default(), &|_| None).unwrap_err();
    assert!(none.to_string().contains("VAULT_ADDR"), "{none}");
    let none = Vault::new(&said, &|_| None).unwrap_err();
    assert!(none.to_string().contains("VAULT_TOKEN"), "{none}");
}

#[test]
fn a_key_without_a_pinned_version_does_not_sign() {
    let local = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    let stub = Stub::new(vec![Act::Hang]);
    let error = service(&stub)
        .signer(&key("vault://transit/keys/log"), local.public_key())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no version of the key is pinned"), "{error}");
    assert!(stub.asked().is_empty());
}
