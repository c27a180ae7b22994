//! `writ server rematch` as an operator meets it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::sandbox::{Listening, Sandbox};

const SBOM: &str = r#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [
  {"type": "library", "name": "pyjwt", "version": "1.7.1", "purl": "pkg:pypi/pyjwt@1.7.1"}]}"#;

/// Records that a digest runs in production, as an observer would.
fn observed(sandbox: &Sandbox, digest: &str) {
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "production", "annotations": {"kind": "environment"}, "digest": {"sha256": "0".repeat(64)}}],
        "predicateType": "urn:writ:predicate:snapshot:v1",
        "predicate": {
            "environment": "production", "source": "cluster", "outcome": "completed",
            "running": [{"service": "shop", "name": "shop", "replicas": 1, "artifact": digest}],
            "observedAt": "2026-01-02T03:04:05Z", "origin": "observed", "producerClass": "server",
        },
    });
    let payload = writ_evidence::canonical::to_vec(&statement).unwrap();
    let data = sandbox.path("home/.local/share/writ");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = writ_registry::StoreOptions::new(data.join("trust"));
        let store = writ_registry::Store::open(data.join("store"), options)
            .await
            .unwrap();
        let record = writ_registry::NewRecord::payload(payload);
        store.record(record).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn it_says_what_it_cannot_tell() {
    let sandbox =
        Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE), ("bom.json", SBOM)]);
    let digest = format!("sha256:{}", "ab".repeat(32));
    // No store is made only to look.
    assert_eq!(sandbox.writ(&["server", "rematch"]).code, 2);
    let attested = sandbox.writ(&[
        "attest",
        "bom.json",
        "--kind",
        "sbom",
        "--artifact",
        &digest,
    ]);
    assert_eq!(attested.code, 0, "{}", attested.err);
    let nothing = sandbox.writ(&["server", "rematch"]);
    assert_eq!(nothing.code, 0, "{}", nothing.err);
    assert!(
        nothing.out.contains("nothing is known to run"),
        "{}",
        nothing.out
    );

    observed(&sandbox, &digest);
    let unknown = sandbox.writ(&["server", "rematch", "--environment", "moon"]);
    assert_eq!(unknown.code, 2, "{}", unknown.out);
    assert!(
        unknown.err.contains("there are: production"),
        "{}",
        unknown.err
    );
    let absent = sandbox.writ(&["server", "rematch", "--offline"]);
    assert_eq!(absent.code, 3, "{}{}", absent.out, absent.err);
    assert!(
        absent.out.contains("production  shop  abababab")
            && absent.out.contains("writ tool install trivy"),
        "{}",
        absent.out
    );
    let absent = sandbox.writ(&["server", "rematch", "--offline", "-f", "json"]);
    let document = absent.json();
    assert_eq!(document["schema"], "writ.rematch/1");
    assert_eq!(document["complete"], false);
    assert_eq!(document["report"]["rows"][0]["state"], "untold");
    assert_eq!(document["report"]["rows"][0]["cause"], "tool");
    assert_eq!(sandbox.writ(&["verify"]).code, 0);
}

/// The body of a page of a server.
fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_does_it_by_itself_and_its_health_says_what_came_of_it() {
    let sandbox =
        Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE), ("bom.json", SBOM)]);
    let digest = format!("sha256:{}", "ab".repeat(32));
    let attest = [
        "attest",
        "bom.json",
        "--kind",
        "sbom",
        "--artifact",
        &digest,
    ];
    assert_eq!(sandbox.writ(&attest).code, 0);
    observed(&sandbox, &digest);
    let serve = [
        "serve",
        "--offline",
        "--listen",
        "127.0.0.1:0",
        "-f",
        "json",
    ];
    let server = Listening::start(&mut sandbox.command(&serve), None);
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let health = page(server.address(), "/admin/health");
        if health.contains("trivy is not installed") {
            assert!(health.contains("match the SBOMs of what runs with newer data"));
            break;
        }
        assert!(Instant::now() < deadline, "{health}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
