//! Against OpenBao's own server (`WRIT_TEST_VAULT`, root token `root`). Every test mounts engines of its
//! own, so that all of them can share one server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use writ_connect::http::Request;
use writ_connect::{Client, ClientOptions, Secret, Vault, VaultService};
use writ_evidence::key::{
    KeyService as _, PublicKey, ServiceKey, VaultKey, VaultLogin, VaultSettings,
};
use writ_evidence::{Algorithm, LocalSigner, Signer};

use crate::vault::key;

struct Server {
    client: Client,
    runtime: tokio::runtime::Runtime,
    address: String,
    namespace: Option<String>,
}

impl Server {
    fn new() -> Option<Self> {
        let Ok(address) = std::env::var("WRIT_TEST_VAULT") else {
            assert!(
                std::env::var_os("WRIT_REQUIRE_SERVICES").is_none(),
                "WRIT_TEST_VAULT is not set"
            );
            println!("skipped: WRIT_TEST_VAULT is not set");
            return None;
        };
        Some(Self {
            client: Client::new(&address, ClientOptions::default()).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            address,
            namespace: None,
        })
    }

    /// As root: what the operator does.
    fn post(&self, path: &str, body: Value) -> Value {
        let mut request = Request::post(format!("v1/{path}"), &body);
        let root = Secret::new("root".to_owned()).unwrap();
        request.secrets.push(("X-Vault-Token", root));
        if let Some(namespace) = &self.namespace {
            request
                .headers
                .push(("X-Vault-Namespace", namespace.clone()));
        }
        let reply = self.runtime.block_on(self.client.send(&request)).unwrap();
        assert!(
            reply.is_success(),
            "{path}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
    }

    /// A new mount of an engine or of a log-in method.
    fn mount(&self, what: &str, kind: &str) -> String {
        let name = format!("{kind}-{}", unique());
        self.post(&format!("sys/{what}/{name}"), json!({"type": kind}));
        name
    }

    fn settings(&self) -> VaultSettings {
        VaultSettings {
            address: Some(self.address.clone()),
            namespace: self.namespace.clone(),
            ..VaultSettings::default()
        }
    }

    fn with(&self, settings: &VaultSettings, token: &str) -> VaultService {
        let environment = |name: &str| (name == "VAULT_TOKEN").then(|| token.to_owned());
        VaultService::new(Vault::new(settings, &environment).unwrap())
    }

    fn as_root(&self) -> VaultService {
        self.with(&self.settings(), "root")
    }

    /// A token that may do what the policy says.
    fn token(&self, policy: &str) -> String {
        let name = self.policy(policy);
        let made = self.post("auth/token/create", json!({"policies": [name]}));
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    fn policy(&self, policy: &str) -> String {
        let name = format!("policy-{}", unique());
        self.post(
            &format!("sys/policies/acl/{name}"),
            json!({"policy": policy}),
        );
        name
    }
}

fn unique() -> String {
    // A key id is a name that nobody else has.
    let key = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    key.key_id().to_string()[..12].to_owned()
}

fn signs(service: &VaultService, key: &ServiceKey) {
    let signer = service.signer(&key.key, &key.public).unwrap();
    let signature = signer.sign(b"a statement").unwrap();
    assert!(
        key.public
            .verifies(b"a statement", &signature, Default::default())
    );
    assert!(
        !key.public
            .verifies(b"another", &signature, Default::default())
    );
}

#[test]
fn keys_are_made_looked_up_rotated_and_sign_at_their_version() {
    let Some(server) = Server::new() else { return };
    let mount = server.mount("mounts", "transit");
    let service = server.as_root();
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let name = key(&format!("vault://{mount}/keys/{algorithm}"));
        let first = service.create(&name, algorithm).unwrap();
        assert_eq!(
            (first.key.version, first.public.algorithm()),
            (Some(1), algorithm)
        );
        signs(&service, &first);
        assert_eq!(service.look_up(&name).unwrap().public, first.public);
        let again = service.create(&name, algorithm).unwrap_err().to_string();
        assert!(again.contains("one of this name already"), "{again}");
        let second = service.rotate(&name).unwrap();
        assert_eq!(second.key.version, Some(2));
        assert_ne!(second.public, first.public);
        signs(&service, &second);
        signs(&service, &first);
        assert_eq!(service.look_up(&first.key).unwrap().public, first.public);
        assert_eq!(service.look_up(&name).unwrap().public, second.public);
        // The version that is trusted, and another key behind it.
        let confused = service.signer(&second.key, &first.public).unwrap();
        let error = confused.sign(b"m").unwrap_err().to_string();
        assert!(error.contains("was not made by key"), "{error}");
        let error = service.look_up(&name.at(7)).unwrap_err().to_string();
        assert!(error.contains("no version 7; the latest is 2"), "{error}");
        let late = service.signer(&name.at(7), &first.public).unwrap();
        let error = late.sign(b"m").unwrap_err().to_string();
        assert!(error.contains("cannot be used"), "{error}");
    }
}

#[test]
fn keys_that_cannot_serve_are_named() {
    let Some(server) = Server::new() else { return };
    let mount = server.mount("mounts", "transit");
    let service = server.as_root();
    let public = PublicKey::from_pem(
        &LocalSigner::generate(Algorithm::Ed25519)
            .unwrap()
            .public_key()
            .to_pem()
            .unwrap(),
    )
    .unwrap();
    for (kind, more) in [
        ("aes256-gcm96", json!({})),
        ("rsa-2048", json!({})),
        ("ed25519", json!({"derived": true})),
    ] {
        let mut body = more;
        body["type"] = json!(kind);
        server.post(&format!("{mount}/keys/{kind}"), body);
        let error = service
            .look_up(&key(&format!("vault://{mount}/keys/{kind}")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot be used"), "{kind}: {error}");
    }
    for text in [
        format!("vault://{mount}/keys/nobody?version=1"),
        format!("vault://nowhere-{mount}/keys/x?version=1"),
    ] {
        let signer = service.signer(&key(&text), &public).unwrap();
        for error in [
            service.look_up(&key(&text)).unwrap_err().to_string(),
            signer.sign(b"m").unwrap_err().to_string(),
        ] {
            assert!(
                error.contains("no such key") && error.contains(&text),
                "{error}"
            );
        }
    }
    let error = server
        .with(&server.settings(), "not-a-token")
        .look_up(&key(&format!("vault://{mount}/keys/ed25519")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("permission denied"), "{error}");
}

/// A policy with update on sign/NAME is enough to sign, and no more.
#[test]
fn the_smallest_policy_signs_and_does_nothing_else() {
    let Some(server) = Server::new() else { return };
    let mount = server.mount("mounts", "transit");
    let name = key(&format!("vault://{mount}/keys/log"));
    let made = server.as_root().create(&name, Algorithm::Ed25519).unwrap();
    let token = server.token(&format!(
        "path \"{mount}/sign/log\" {{ capabilities = [\"update\"] }}"
    ));
    let service = server.with(&server.settings(), &token);
    signs(&service, &made);
    for error in [
        service.look_up(&name).unwrap_err(),
        service.rotate(&name).unwrap_err(),
        service
            .signer(
                &key(&format!("vault://{mount}/keys/other?version=1")),
                &made.public,
            )
            .unwrap()
            .sign(b"m")
            .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("permission denied") && text.contains("give the token a policy"),
            "{text}"
        );
        assert!(!text.contains(&token), "{text}");
    }
}

#[test]
fn approle_and_jwt_log_in_and_come_back_after_their_token_is_gone() {
    let Some(server) = Server::new() else { return };
    let mount = server.mount("mounts", "transit");
    let made: ServiceKey = server
        .as_root()
        .create(
            &key(&format!("vault://{mount}/keys/producer")),
            Algorithm::EcdsaP256,
        )
        .unwrap();
    let policy = server.policy(&format!(
        "path \"{mount}/sign/producer\" {{ capabilities = [\"update\"] }}"
    ));
    let directory = tempfile::tempdir().unwrap();

    let approle = server.mount("auth", "approle");
    server.post(
        &format!("auth/{approle}/role/ci"),
        json!({"token_policies": policy, "token_ttl": "60s"}),
    );
    let role_id = server
        .runtime
        .block_on(async {
            let mut request = Request::get(format!("v1/auth/{approle}/role/ci/role-id"));
            let root = Secret::new("root".to_owned()).unwrap();
            request.secrets.push(("X-Vault-Token", root));
            server.client.send(&request).await
        })
        .unwrap()
        .json::<Value>()
        .unwrap()["data"]["role_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let secret_id =
        server.post(&format!("auth/{approle}/role/ci/secret-id"), json!({}))["data"]["secret_id"]
            .as_str()
            .unwrap()
            .to_owned();
    let secret_file = directory.path().join("secret-id");
    std::fs::write(&secret_file, format!("{secret_id}\n")).unwrap();

    let jwt = server.mount("auth", "jwt");
    let issuer = LocalSigner::generate(Algorithm::Ed25519).unwrap();
    server.post(
        &format!("auth/{jwt}/config"),
        json!({"jwt_validation_pubkeys": [issuer.public_key().to_pem().unwrap()], "jwt_supported_algs": ["EdDSA"]}),
    );
    server.post(
        &format!("auth/{jwt}/role/ci"),
        json!({"role_type": "jwt", "bound_audiences": ["writ"], "user_claim": "sub", "token_policies": policy, "token_ttl": "60s"}),
    );
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!(
        "{}.{}",
        part(json!({"alg": "EdDSA", "typ": "JWT"})),
        part(
            json!({"sub": "job-7", "aud": "writ", "iat": 1_600_000_000, "nbf": 1_600_000_000, "exp": 4_102_444_800_i64})
        )
    );
    let token = format!(
        "{unsigned}.{}",
        URL_SAFE_NO_PAD.encode(issuer.sign(unsigned.as_bytes()).unwrap())
    );
    let jwt_file = directory.path().join("jwt");
    std::fs::write(&jwt_file, &token).unwrap();

    for login in [
        VaultLogin::AppRole {
            mount: approle.clone(),
            role_id,
            secret_id_file: Some(secret_file),
        },
        VaultLogin::Jwt {
            mount: jwt.clone(),
            role: "ci".to_owned(),
            jwt_file: Some(jwt_file.clone()),
        },
    ] {
        let settings = VaultSettings {
            login: Some(login),
            ..server.settings()
        };
        let service = server.with(&settings, "");
        signs(&service, &made);
        // All tokens of the method are withdrawn; the client finds out and logs in again.
        let method = if settings
            .login
            .as_ref()
            .is_some_and(|l| matches!(l, VaultLogin::Jwt { .. }))
        {
            &jwt
        } else {
            &approle
        };
        server.post(
            &format!("sys/leases/revoke-prefix/auth/{method}"),
            json!({}),
        );
        signs(&service, &made);
    }
    // A changed token is refused, by name of the method, and is not shown.
    std::fs::write(&jwt_file, format!("{token}x")).unwrap();
    let settings = VaultSettings {
        login: Some(VaultLogin::Jwt {
            mount: jwt,
            role: "ci".to_owned(),
            jwt_file: Some(jwt_file),
        }),
        ..server.settings()
    };
    let error = server
        .with(&settings, "")
        .look_up(&made.key)
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused the log-in"), "{error}");
    assert!(!error.contains(&token), "{error}");
}

#[test]
fn namespaces_are_kept_apart() {
    let Some(mut server) = Server::new() else {
        return;
    };
    let namespace = format!("ns-{}", unique());
    server.post(&format!("sys/namespaces/{namespace}"), json!({}));
    server.namespace = Some(namespace);
    let mount = server.mount("mounts", "transit");
    let name: VaultKey = key(&format!("vault://{mount}/keys/log"));
    let service = server.as_root();
    let made = service.create(&name, Algorithm::Ed25519).unwrap();
    signs(&service, &made);
    server.namespace = None;
    let outside = server.as_root();
    let error = outside.look_up(&name).unwrap_err().to_string();
    assert!(error.contains("no such key"), "{error}");
}
