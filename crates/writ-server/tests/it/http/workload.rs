//! CI jobs that deliver evidence without a stored secret, and tokens that are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use writ_evidence::key::{Algorithm, LocalSigner, Signer, TrustedKeys, job};
use writ_evidence::{canonical, dsse};
use writ_gate::{BundleSource, load_bundle};
use writ_ledger::Clock;
use writ_registry::{
    ReceiptTrust, Store, StoreOptions, VerifyOptions, verify_receipt, verify_store,
};
use writ_server::{Config, Parts};

use super::Server;
use super::issuer::{Issuer, Mood, b64, jwk, public_der, signed, unsigned};

/// 2027-01-15T08:00:00Z
const NOW: i64 = 1_800_000_000;

/// A clock that is set by hand.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst) * 1_000_000
    }
}

struct Ci {
    server: Server,
    issuer: Issuer,
    clock: Arc<Hand>,
    place: TempDir,
}

impl Ci {
    /// A server with two rules: a GitLab-shaped and a GitHub-shaped one.
    async fn start() -> Self {
        let issuer = Issuer::start().await;
        let address = issuer.address();
        let text = format!(
            r#"
listen = "127.0.0.1:0"

[[workload]]
name = "payments"
kind = "gitlab"
issuer = "{address}"
jwks = "{address}/keys"
allow_loopback = true
timeout_seconds = 1
audience = "https://writ.example"
services = ["payments-api"]
[workload.claims]
project_path = "group/payments-api"
project_id = "42"
ref = ["main", "release/*"]
pipeline_source = ["push", "web"]
ci_config_ref_uri = "gitlab.example/group/payments-api//.gitlab-ci.yml@refs/heads/*"

[[workload]]
name = "orders"
kind = "github"
issuer = "{address}/github"
jwks = "{address}/keys"
allow_loopback = true
audience = "https://writ.example"
services = ["orders"]
[workload.claims]
repository = "octo/orders"
repository_id = "99"
ref = "refs/heads/main"
job_workflow_ref = "octo/ci/.github/workflows/release.yml@refs/heads/main"
event_name = "push"
"#
        );
        let config = Config::parse(std::path::Path::new("server.toml"), &text).unwrap();
        let place = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(NOW)));
        let options = StoreOptions::new(place.path().join("trust"))
            .create()
            .clock(clock.clone());
        let store = Store::open(place.path().join("store"), options)
            .await
            .unwrap();
        let parts = Parts {
            store: Arc::new(store),
            bundle: Arc::new(load_bundle(&BundleSource::Embedded).unwrap()),
            config,
            operator: "operator".to_owned(),
            demo: false,
        };
        let server = Server::over(parts, None).await;
        Self {
            server,
            issuer,
            clock,
            place,
        }
    }

    fn gitlab(&self) -> Value {
        json!({
            "iss": self.issuer.address(), "aud": "https://writ.example",
            "iat": NOW - 5, "nbf": NOW - 10, "exp": NOW + 3_600, "jti": "t-1",
            "sub": "project_path:group/payments-api:ref_type:branch:ref:main",
            "project_path": "group/payments-api", "project_id": "42",
            "namespace_path": "group", "namespace_id": "7",
            "user_login": "mallory", "user_email": "mallory@example.org",
            "pipeline_id": "512", "pipeline_source": "push", "job_id": "812",
            "ref": "main", "ref_type": "branch", "ref_protected": "true",
            "sha": "a".repeat(40), "runner_id": 3, "runner_environment": "self-hosted",
            "ci_config_ref_uri": "gitlab.example/group/payments-api//.gitlab-ci.yml@refs/heads/main",
        })
    }

    fn github(&self) -> Value {
        json!({
            "iss": format!("{}/github", self.issuer.address()), "aud": "https://writ.example",
            "iat": NOW - 1, "nbf": NOW - 600, "exp": NOW + 300, "jti": "t-2",
            "sub": "repo:octo/orders:ref:refs/heads/main",
            "repository": "octo/orders", "repository_id": "99", "repository_owner": "octo",
            "actor": "mallory", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
            "event_name": "push", "run_id": "4711", "run_attempt": "2", "sha": "b".repeat(40),
            "job_workflow_ref": "octo/ci/.github/workflows/release.yml@refs/heads/main",
            "runner_environment": "github-hosted",
        })
    }

    async fn bind(&self, token: &str, key: &LocalSigner) -> (u16, Value) {
        let proof = STANDARD.encode(job::prove(token, key).unwrap());
        let body = json!({"publicKey": key.public_key().to_pem().unwrap(), "proof": proof});
        self.post(
            "/api/v1/workload/keys",
            token,
            "application/json",
            body.to_string().into_bytes(),
        )
        .await
    }

    async fn deliver(&self, token: &str, envelope: Vec<u8>) -> (u16, Value) {
        self.post(
            "/api/v1/evidence?proof=true",
            token,
            "application/json",
            envelope,
        )
        .await
    }

    async fn post(&self, path: &str, token: &str, kind: &str, body: Vec<u8>) -> (u16, Value) {
        let answer = self
            .server
            .request(Method::POST, path)
            .header("content-type", kind)
            .bearer_auth(token)
            .body(body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// What a token may not do, in words.
    async fn refusal(&self, token: &str) -> String {
        let answer = self
            .server
            .request(Method::GET, "/api/v1/evidence")
            .bearer_auth(token)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let mut problem: Value = answer.json().await.unwrap();
        assert!(status >= 400, "{problem}");
        let fields = problem.as_object_mut().unwrap();
        fields.remove("instance");
        let text = serde_json::to_string_pretty(&problem).unwrap();
        text.replace(&self.issuer.address(), "http://ISSUER")
    }
}

fn key() -> LocalSigner {
    LocalSigner::generate(Algorithm::Ed25519).unwrap()
}

/// A coverage statement of a job.
fn evidence(service: &str, class: &str, signer: &dyn Signer) -> Vec<u8> {
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": service, "digest": {"gitCommit": "a".repeat(40), "gitTree": "b".repeat(40)}}],
        "predicateType": "urn:writ:predicate:probe:v1",
        "predicate": {
            "service": service, "evidenceType": "branch-protection", "target": "git.example",
            "observedAt": "2026-01-01T00:00:00Z", "origin": "observed", "producerClass": class,
            "outcome": "completed", "lookedAt": [{"what": "branches", "count": 1}],
            "facts": {"branch": "main", "protected": true},
        },
    }))
    .unwrap();
    dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer)
        .unwrap()
        .to_canonical_json()
}

fn with(mut claims: Value, change: &[(&str, Value)]) -> Value {
    for (name, value) in change {
        match value {
            Value::Null => {
                claims.as_object_mut().unwrap().remove(*name);
            }
            value => claims[*name] = value.clone(),
        }
    }
    claims
}

/// Token, key of its own, envelope, receipt: nothing was stored anywhere before.
#[tokio::test]
async fn jobs_of_both_systems_deliver_without_a_stored_secret() {
    let ci = Ci::start().await;
    for (claims, service, job, project) in [
        (
            ci.gitlab(),
            "payments-api",
            "job 812 of group/payments-api at main",
            "project_path",
        ),
        (
            ci.github(),
            "orders",
            "run 4711.2 of octo/orders at refs/heads/main",
            "repository",
        ),
    ] {
        let (token, key) = (ci.issuer.token(&claims), key());
        // Before the key is bound nobody believes it.
        let early = ci.deliver(&token, evidence(service, "ci", &key)).await;
        assert_eq!(early.0, 422, "{}", early.1);

        let (status, bound) = ci.bind(&token, &key).await;
        assert_eq!(status, 201, "{bound}");
        assert_eq!(bound["job"], job);
        assert_eq!(bound["services"], json!([service]));
        assert_eq!(bound["producerClass"], "ci-protected");
        assert_eq!(bound["claims"][project], claims[project]);
        // Who pushed stays out of the ledger.
        assert!(!bound.to_string().contains("mallory"), "{bound}");

        // The same again is no second entry.
        let (_, again) = ci.bind(&token, &key).await;
        assert_eq!(again["entry"], bound["entry"]);

        let (status, receipt) = ci
            .deliver(&token, evidence(service, "ci-protected", &key))
            .await;
        assert_eq!(status, 201, "{receipt}");
        let id = receipt["id"].as_str().unwrap();

        // Offline: with the public keys of the trust directory and nothing else.
        let store = &ci.server.app.store;
        let evidence_keys: &TrustedKeys = &store.trust().keys();
        let trust = ReceiptTrust {
            keys: store.log_keys().unwrap(),
            policy: None,
            evidence: Some(evidence_keys),
        };
        assert!(receipt["proof"].as_str().is_some(), "{receipt}");
        let index = receipt["index"].as_u64().unwrap();
        let proved = store.prove(index, None).await.unwrap();
        let mut proof = proved.receipt;
        proof.extra = Some(proved.entry.as_bytes().to_vec());
        let text = proof.to_text();
        verify_receipt(&text, &trust).unwrap();

        let (status, view) = ci.server.json(&format!("/api/v1/evidence/{id}")).await;
        assert_eq!(status, 200);
        assert_eq!(view["job"]["name"], job);
        assert_eq!(view["job"]["keyId"], json!(key.key_id()));

        // Another service, another producer, another time.
        for (envelope, reason) in [
            (
                evidence("ledgerd", "ci", &key),
                "it is about service 'ledgerd', and whoever hands it in may record for",
            ),
            (evidence(service, "ci", &self::key()), "is bound to no job"),
        ] {
            let (status, problem) = ci.deliver(&token, envelope).await;
            assert_eq!(status, 422, "{problem}");
            assert!(
                problem["detail"].as_str().unwrap().contains(reason),
                "{problem}"
            );
        }
    }

    // A token binds one key: a second one is somebody else's, or the first was.
    let (status, problem) = ci.bind(&ci.issuer.token(&ci.gitlab()), &key()).await;
    assert_eq!(status, 403, "{problem}");
    assert_eq!(problem["detail"], "this token bound another key before");

    // A job says ci-protected only where its branch is.
    let Ci { server, place, .. } = ci;
    server.app.store.settle().await.unwrap();
    server.end().await;
    let options = VerifyOptions::new(place.path().join("trust"));
    let report = verify_store(&place.path().join("store"), &options, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!((report.jobs.keys, report.jobs.entries), (2, 2));
}

#[tokio::test]
async fn the_key_of_a_job_ends_with_its_token() {
    let ci = Ci::start().await;
    let (claims, key) = (ci.gitlab(), key());
    let token = ci.issuer.token(&claims);
    assert_eq!(ci.bind(&token, &key).await.0, 201);
    // The token is over, and another one of the same job is there.
    ci.clock.0.store(NOW + 3_700, Ordering::SeqCst);
    assert!(ci.refusal(&token).await.contains("the token ended at"));
    let later = with(
        claims,
        &[
            ("iat", json!(NOW + 3_650)),
            ("nbf", json!(NOW + 3_650)),
            ("exp", json!(NOW + 4_000)),
            ("jti", json!("t-3")),
        ],
    );
    let token = ci.issuer.token(&later);
    let (status, answer) = ci
        .deliver(&token, evidence("payments-api", "ci", &key))
        .await;
    assert_eq!(status, 201, "within the grace: {answer}");
    ci.clock.0.store(NOW + 3_901, Ordering::SeqCst);
    let (status, problem) = ci
        .deliver(&token, evidence("payments-api", "ci-protected", &key))
        .await;
    assert_eq!(status, 422, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("it is late"),
        "{problem}"
    );
    // The same job may go on.
    assert_eq!(ci.bind(&token, &key).await.0, 201);
    let (status, answer) = ci
        .deliver(&token, evidence("payments-api", "ci-protected", &key))
        .await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test]
async fn a_key_is_bound_by_who_has_it() {
    let ci = Ci::start().await;
    let token = ci.issuer.token(&ci.gitlab());
    let (mine, theirs) = (key(), key());
    let proof = STANDARD.encode(job::prove(&token, &mine).unwrap());
    let other = STANDARD.encode(job::prove("a.b.c", &theirs).unwrap());
    let pem = theirs.public_key().to_pem().unwrap();
    for (body, status) in [
        (json!({"publicKey": pem, "proof": proof}), 422),
        (json!({"publicKey": pem, "proof": other}), 422),
        (json!({"publicKey": pem, "proof": "%"}), 400),
        (json!({"publicKey": "x", "proof": proof}), 400),
        (json!({"publicKey": pem}), 400),
        (
            json!({"publicKey": pem, "proof": proof, "services": ["orders"]}),
            400,
        ),
        (json!([]), 400),
        (
            json!({"publicKey": "x".repeat(40_000), "proof": proof}),
            413,
        ),
    ] {
        let path = "/api/v1/workload/keys";
        let answer = ci
            .post(
                path,
                &token,
                "application/json",
                body.to_string().into_bytes(),
            )
            .await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
    // Nobody binds without a token, not even who may everything else.
    let answer = ci
        .server
        .request(Method::POST, "/api/v1/workload/keys")
        .body(json!({"publicKey": pem, "proof": proof}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(ci.server.app.store.extent().await.unwrap().entries, 0);
}

/// Every way in which a token is not good enough, and what is said of it.
#[tokio::test]
async fn what_is_refused_and_how_it_is_said() {
    let ci = Ci::start().await;
    let (gitlab, github) = (ci.gitlab(), ci.github());
    let good = ci.issuer.token(&gitlab);
    let parts: Vec<&str> = good.split('.').collect();
    let header = |header: Value| b64(header.to_string().as_bytes());
    let confused = {
        let signed = unsigned(&json!({"alg": "HS256", "kid": "k1"}), &gitlab);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &public_der());
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", b64(tag.as_ref()))
    };
    let from =
        |claims: &Value, change: &[(&str, Value)]| ci.issuer.token(&with(claims.clone(), change));
    let cases: Vec<(&str, String)> = vec![
        (
            "another project",
            from(
                &gitlab,
                &[
                    ("project_path", json!("group/other")),
                    ("project_id", json!("43")),
                ],
            ),
        ),
        (
            "a new project of the old name",
            from(&gitlab, &[("project_id", json!("4300"))]),
        ),
        (
            "an unprotected branch",
            from(
                &gitlab,
                &[
                    ("ref", json!("release/x")),
                    ("ref_protected", json!("false")),
                ],
            ),
        ),
        (
            "another branch",
            from(&gitlab, &[("ref", json!("maintenance"))]),
        ),
        (
            "another source",
            from(
                &gitlab,
                &[("pipeline_source", json!("merge_request_event"))],
            ),
        ),
        (
            "another definition",
            from(
                &gitlab,
                &[(
                    "ci_config_ref_uri",
                    json!("evil.example/x//ci.yml@refs/heads/main"),
                )],
            ),
        ),
        (
            "no protection said",
            from(&github, &[("ref_protected", Value::Null)]),
        ),
        (
            "another repository",
            from(&github, &[("repository", json!("fork/orders"))]),
        ),
        (
            "another workflow",
            from(
                &github,
                &[(
                    "job_workflow_ref",
                    json!("octo/orders/.github/workflows/x.yml@refs/heads/main"),
                )],
            ),
        ),
        (
            "a pull request",
            from(&github, &[("event_name", json!("pull_request"))]),
        ),
        (
            "another audience",
            from(&gitlab, &[("aud", json!("https://vault.example"))]),
        ),
        (
            "two audiences",
            from(
                &gitlab,
                &[(
                    "aud",
                    json!(["https://writ.example", "https://vault.example"]),
                )],
            ),
        ),
        ("no audience", from(&gitlab, &[("aud", Value::Null)])),
        (
            "another issuer",
            from(&gitlab, &[("iss", json!("https://evil.example"))]),
        ),
        (
            "the issuer of the other rule",
            from(
                &gitlab,
                &[("iss", json!(format!("{}/github", ci.issuer.address())))],
            ),
        ),
        ("expired", from(&gitlab, &[("exp", json!(NOW - 60))])),
        ("not yet", from(&gitlab, &[("nbf", json!(NOW + 60))])),
        (
            "made in the future",
            from(&gitlab, &[("iat", json!(NOW + 600)), ("nbf", Value::Null)]),
        ),
        ("no end", from(&gitlab, &[("exp", Value::Null)])),
        (
            "a year long",
            from(&gitlab, &[("exp", json!(NOW + 31_536_000))]),
        ),
        (
            "a time that is none",
            from(&gitlab, &[("exp", json!("tomorrow"))]),
        ),
        (
            "alg none",
            format!(
                "{}.{}.",
                header(json!({"alg": "none", "kid": "k1"})),
                parts[1]
            ),
        ),
        (
            "alg none with a signature",
            format!(
                "{}.{}.{}",
                header(json!({"alg": "none", "kid": "k1"})),
                parts[1],
                parts[2]
            ),
        ),
        ("HS256 by the public key", confused),
        (
            "another algorithm than the key's",
            format!(
                "{}.{}.{}",
                header(json!({"alg": "ES256", "kid": "k1"})),
                parts[1],
                parts[2]
            ),
        ),
        (
            "a shared key of the set",
            format!(
                "{}.{}.{}",
                header(json!({"alg": "RS256", "kid": "shared"})),
                parts[1],
                parts[2]
            ),
        ),
        ("an unknown key", signed("k9", &gitlab)),
        (
            "no key named",
            format!(
                "{}.{}.{}",
                header(json!({"alg": "RS256"})),
                parts[1],
                parts[2]
            ),
        ),
        (
            "extensions",
            format!(
                "{}.{}.{}",
                header(json!({"alg": "RS256", "kid": "k1", "crit": ["exp"]})),
                parts[1],
                parts[2]
            ),
        ),
        (
            "changed",
            format!(
                "{}.{}.{}",
                parts[0],
                b64(with(gitlab.clone(), &[("sha", json!("f"))])
                    .to_string()
                    .as_bytes()),
                parts[2]
            ),
        ),
        ("cut", good[..good.len() - 9].to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("not base64", format!("%.{}.{}", parts[1], parts[2])),
        (
            "too large",
            from(&gitlab, &[("more", json!("x".repeat(20_000)))]),
        ),
        ("no token at all", "abcdef".to_owned()),
    ];
    let mut told = String::new();
    for (name, token) in &cases {
        told.push_str(&format!("## {name}\n{}\n\n", ci.refusal(token).await));
    }
    insta::assert_snapshot!(told);
    // What is good is let in all the same.
    let good = ci
        .server
        .request(Method::GET, "/api/v1/evidence")
        .bearer_auth(&good)
        .send()
        .await
        .unwrap();
    assert_eq!(good.status().as_u16(), 200);
    // One asking for the key that was unknown, within ten seconds.
    assert!(ci.issuer.asked() <= 2, "{}", ci.issuer.asked());
    let metrics = ci.server.get("/metrics").await.text().await.unwrap();
    for reason in [
        "project",
        "protected",
        "audience",
        "issuer",
        "expired",
        "signature",
        "algorithm",
    ] {
        let line = format!("writ_tokens_refused_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked() {
    let ci = Ci::start().await;
    let token = ci.issuer.token(&ci.gitlab());
    let mut told = String::new();
    let mut now = NOW;
    for mood in [
        Mood::Broken,
        Mood::Huge,
        Mood::Slow,
        Mood::Nonsense,
        Mood::Empty,
    ] {
        ci.issuer.is(mood);
        told.push_str(&format!("## {mood:?}\n{}\n\n", ci.refusal(&token).await));
        let asked = ci.issuer.asked();
        // At once again: nobody is asked.
        ci.refusal(&token).await;
        assert_eq!(ci.issuer.asked(), asked, "{mood:?}");
        now += 11;
        ci.clock.0.store(now, Ordering::SeqCst);
    }
    insta::assert_snapshot!(told);
    // It is back; later it goes away, and what was known counts for a day.
    ci.issuer.is(Mood::Well);
    let get = || {
        ci.server
            .request(Method::GET, "/api/v1/evidence")
            .bearer_auth(&token)
            .send()
    };
    assert_eq!(get().await.unwrap().status().as_u16(), 200);
    ci.issuer.is(Mood::Broken);
    assert_eq!(get().await.unwrap().status().as_u16(), 200);
    ci.clock.0.store(now + 3_500, Ordering::SeqCst);
    let later = with(
        ci.gitlab(),
        &[
            ("iat", json!(now + 3_700)),
            ("nbf", json!(now + 3_700)),
            ("exp", json!(now + 7_000)),
        ],
    );
    ci.clock.0.store(now + 3_701, Ordering::SeqCst);
    let token = ci.issuer.token(&later);
    let get = || {
        ci.server
            .request(Method::GET, "/api/v1/evidence")
            .bearer_auth(&token)
            .send()
    };
    assert_eq!(get().await.unwrap().status().as_u16(), 200);

    // A new key is found, the old one is gone.
    ci.issuer.is(Mood::Well);
    ci.clock.0.store(now + 3_720, Ordering::SeqCst);
    ci.issuer.publish(vec![jwk("k2")]);
    let new = signed("k2", &later);
    let answer = ci
        .server
        .request(Method::GET, "/api/v1/evidence")
        .bearer_auth(&new)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert!(ci.refusal(&token).await.contains("the issuer has no key"));
}
