//! Jobs of GitLab and of GitHub Actions: they deliver evidence to a server with accounts and get its
//! decision, with nothing stored but what their CI system gives to each job.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use writ_evidence::key::{Algorithm, LocalSigner, Signer as _};

use crate::account::with_input;
use crate::between::{Between, answer as http};
use crate::sandbox::{Answer, Listening, SHOP, Sandbox, answer};

const ISSUER: &str = "https://gitlab.example.com";
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// A repository, a server with one account, and the issuer of both systems' tokens.
struct World {
    sandbox: Sandbox,
    between: Between,
    issuer: LocalSigner,
    _server: Listening,
}

impl World {
    fn new() -> Self {
        let between = Between::new();
        let place = format!(
            "profile = \"startup\"\n\n[server]\nurl = \"{}\"\n",
            between.url()
        );
        let sandbox = Sandbox::with_shop(&SHOP.replace("profile = \"startup\"\n", &place));
        let issuer = LocalSigner::generate(Algorithm::Ed25519).unwrap();
        let keys = sandbox.path("keys.json");
        std::fs::write(&keys, jwks(&issuer).to_string()).unwrap();
        let config = sandbox.path("server.toml");
        let rule = |name: &str, kind: &str, issuer: &str, claims: &str| {
            format!(
                "[[workload]]\nname = \"{name}\"\nkind = \"{kind}\"\nissuer = \"{issuer}\"\njwks = \"{}\"\n\
                 algorithms = [\"EdDSA\"]\naudience = \"{}\"\nservices = [\"shop\"]\n\n[workload.claims]\n{claims}\n\n",
                keys.display(),
                between.url()
            )
        };
        let rules = rule(
            "shop-gitlab",
            "gitlab",
            ISSUER,
            "project_path = \"group/shop\"\nproject_id = \"42\"",
        ) + &rule(
            "shop-github",
            "github",
            GITHUB,
            "repository = \"octo/shop\"\nrepository_id = \"99\"",
        );
        std::fs::write(&config, rules).unwrap();
        let operator = ["server", "account", "add", "ada", "--role", "operator"];
        let made = with_input(&sandbox, &operator, "correct horse battery\n");
        assert_eq!(made.code, 0, "{made:?}");
        let bind = [
            "control",
            "bind",
            "startup",
            "--service",
            "shop",
            "--identity",
            "ada",
        ];
        let bound = sandbox.writ(&bind);
        assert_eq!(bound.code, 0, "{bound:?}");
        let config = config.display().to_string();
        let serve = [
            "serve",
            "--config",
            &config,
            "--listen",
            "127.0.0.1:0",
            "-f",
            "json",
        ];
        let server = Listening::start(&mut sandbox.command(&serve), None);
        let address: SocketAddr = server.address().parse().unwrap();
        between.leads_to(Some(address));
        Self {
            sandbox,
            between,
            issuer,
            _server: server,
        }
    }

    /// A token of five minutes.
    fn token(&self, claims: Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut all = json!({
            "aud": self.between.url(), "iat": now, "nbf": now, "exp": now + 300, "jti": format!("{now}-{}", claims["job"]),
        });
        all.as_object_mut()
            .unwrap()
            .extend(claims["claims"].as_object().unwrap().clone());
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"typ": "JWT", "alg": "EdDSA", "kid": "k1"});
        let signed = format!("{}.{}", part(&head), part(&all));
        let signature = self.issuer.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn gitlab(&self, project: &str) -> String {
        self.token(json!({"job": project, "claims": {
            "iss": ISSUER, "sub": format!("project_path:{project}:ref_type:branch:ref:main"),
            "project_path": project, "project_id": "42", "pipeline_id": "7", "job_id": "812",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "pipeline_source": "push", "sha": "a".repeat(40), "user_login": "mallory",
        }}))
    }

    fn github(&self) -> String {
        self.token(json!({"job": "octo", "claims": {
            "iss": GITHUB, "sub": "repo:octo/shop:ref:refs/heads/main", "repository": "octo/shop",
            "repository_id": "99", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true",
            "sha": "a".repeat(40), "run_id": "4711", "run_attempt": "1", "event_name": "push", "actor": "mallory",
        }}))
    }

    /// A job on a machine that has nothing but the repository.
    fn job(&self, name: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Answer {
        let home: PathBuf = self.sandbox.path(name);
        std::fs::create_dir_all(&home).unwrap();
        let mut command: Command = self.sandbox.command(arguments);
        command.env("HOME", home).env("CI", "true");
        command.envs(variables.iter().copied());
        answer(command.output().unwrap())
    }
}

fn jwks(issuer: &LocalSigner) -> Value {
    let pem = issuer.public_key().to_pem().unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der).unwrap();
    // The last 32 bytes of its SubjectPublicKeyInfo (RFC 8410) are the key.
    let key = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": key}]})
}

/// GitHub's side of a job: it gives the token to who shows the secret of the job and names the audience.
fn runner(token: String, audience: &str) -> String {
    let wanted = format!(
        "audience={}",
        audience.replace(':', "%3A").replace('/', "%2F")
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process of the tests.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1)
            {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let asked = head.contains(&wanted.to_lowercase());
            let said = match asked && head.contains("authorization: bearer of-the-runner") {
                true => http(
                    200,
                    "content-type: application/json\r\n",
                    &json!({"value": token}).to_string(),
                ),
                false => http(403, "", ""),
            };
            // A client that went away asks nothing.
            drop(stream.write_all(said.as_bytes()));
        }
    });
    format!("http://{address}/token?api-version=2.0")
}

#[test]
fn jobs_of_both_systems_deliver_with_no_stored_secret() {
    let world = World::new();
    let gitlab = world.gitlab("group/shop");
    let of_gitlab = [
        ("GITLAB_CI", "true"),
        ("CI_COMMIT_REF_NAME", "main"),
        ("CI_COMMIT_REF_PROTECTED", "true"),
        ("CI_PROJECT_PATH", "group/shop"),
        ("WRIT_ID_TOKEN", &gitlab),
    ];
    let url = runner(world.github(), &world.between.url());
    let of_github = [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REF_NAME", "main"),
        ("GITHUB_REF_PROTECTED", "true"),
        ("GITHUB_REPOSITORY", "octo/shop"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-runner"),
    ];
    for (name, variables) in [("gitlab", &of_gitlab[..]), ("github", &of_github[..])] {
        let ran = world.job(name, variables, &["run"]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.err);
        let waits = world.job(name, variables, &["spool", "list", "-f", "json"]);
        assert_eq!(waits.json()["waiting"], json!([]), "{}", waits.out);
        let gate = world.job(name, variables, &["gate", "production", "-f", "json"]);
        assert!(matches!(gate.code, 0 | 1), "{}{}", gate.out, gate.err);
        let seen = world.job(name, variables, &["status", "-f", "json"]);
        assert_eq!(seen.code, 0, "{}", seen.err);
    }
    // The operator's own machine checks all of it, whose jobs they were too.
    let verified = world.sandbox.writ(&["verify", "-f", "json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!(verified.json()["jobs"]["keys"], 2, "{}", verified.out);
    assert!(
        verified.json()["jobs"]["entries"].as_u64() >= Some(2),
        "{}",
        verified.out
    );
}

#[test]
fn who_is_not_that_job_is_refused_with_the_reason() {
    let world = World::new();
    let flat = |answer: &Answer| answer.err.split_whitespace().collect::<Vec<_>>().join(" ");

    let none = world.job("nobody", &[("GITLAB_CI", "true")], &["run"]);
    assert_eq!(none.code, 4, "{}", none.err);
    assert!(
        flat(&none).contains("in CI give the job an identity token"),
        "{}",
        none.err
    );

    let other = world.gitlab("group/other");
    let refused = world.job(
        "other",
        &[("GITLAB_CI", "true"), ("WRIT_ID_TOKEN", &other)],
        &["run"],
    );
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(
        flat(&refused).contains("token is for project group/other; this binding allows group/shop"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains(&other));

    // A token for somebody else is not even sent.
    let before = world.between.seen().len();
    let elsewhere = world.job(
        "elsewhere",
        &[
            ("GITLAB_CI", "true"),
            ("WRIT_ID_TOKEN", &other),
            ("WRIT_SERVER", "http://127.0.0.1:9"),
        ],
        &["run"],
    );
    assert_eq!((before > 0, elsewhere.code), (true, 2), "{}", elsewhere.err);
    assert!(
        flat(&elsewhere).contains("the identity of this job is not made out for this server"),
        "{}",
        elsewhere.err
    );

    // What would work anywhere does not go where only the repository says.
    let stored = world.job("stored", &[("WRIT_TOKEN", "writ_0123")], &["run"]);
    assert_eq!(stored.code, 2, "{}", stored.err);
    assert!(
        flat(&stored).contains("not sent to an address that only writ.toml names"),
        "{}",
        stored.err
    );
    assert_eq!(world.between.seen().len(), 0);
}

#[test]
fn a_machine_without_an_identity_has_a_token_of_the_server() {
    let world = World::new();
    let new = |name: &str, narrow: &[&str]| {
        let arguments = [
            "server",
            "token",
            "new",
            "--name",
            name,
            "--service",
            "shop",
        ];
        let made = world
            .sandbox
            .writ(&[&arguments[..], narrow, &["--expires", "1d", "-f", "json"]].concat());
        assert_eq!(made.code, 0, "{made:?}");
        made.json()["secret"].as_str().unwrap().to_owned()
    };
    let token = new("jenkins", &[]);
    let figures = new("prometheus", &["--action", "read-metrics"]);
    let url = world.between.url();
    let run = |token: &str| {
        world.job(
            "jenkins",
            &[("WRIT_TOKEN", token), ("WRIT_SERVER", &url)],
            &["run"],
        )
    };
    // It is let in; its key is not yet believed.
    let unknown = run(&token);
    assert!(matches!(unknown.code, 3 | 4), "{}", unknown.err);
    assert!(
        unknown.err.contains("no trusted key signed it"),
        "{}",
        unknown.err
    );
    let narrow = run(&figures);
    assert_eq!(narrow.code, 4, "{}", narrow.err);
    assert!(narrow.err.contains("this token may not"), "{}", narrow.err);
    let listed = world.sandbox.writ(&["server", "token", "list"]);
    assert!(
        listed.out.contains("jenkins") && !listed.out.contains(&token),
        "{}",
        listed.out
    );
    let revoked = world
        .sandbox
        .writ(&["server", "token", "revoke", "jenkins"]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let late = run(&token);
    assert_eq!(late.code, 4, "{}", late.err);
    assert!(late.err.contains("was revoked"), "{}", late.err);
}
