//! A store whose locker is a bucket, on real servers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::doctor::PIPELINE;
use crate::sandbox::{Answer, Sandbox};

/// The address of a test service; without one the test says so and passes, unless it is required.
pub fn service(variable: &str) -> Option<String> {
    if let Ok(address) = std::env::var(variable) {
        return Some(address);
    }
    assert!(
        std::env::var_os("WRIT_REQUIRE_SERVICES").is_none_or(|value| value != "1"),
        "{variable} is not set, and WRIT_REQUIRE_SERVICES is"
    );
    eprintln!("skipped: {variable} is not set");
    None
}

/// Makes a bucket, with Object Lock or without versions.
pub fn make_bucket(server: &str, bucket: &str, locked: bool) {
    let host = server.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {host}\r\nx-amz-bucket-object-lock-enabled: {locked}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A machine whose store is in a new bucket with Object Lock.
fn machine(server: &str) -> Sandbox {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let bucket = format!("cli-{}-{}", std::process::id(), since.unwrap().as_nanos());
    make_bucket(server, &bucket, true);
    let keys = sandbox.path("home/keys");
    std::fs::write(
        &keys,
        "[default]\naws_access_key_id = test\naws_secret_access_key = sesame\n",
    )
    .unwrap();
    let config = format!(
        "version = 1\ndirectory = \"{}\"\n\n[locker]\ndriver = \"s3\"\n\n[locker.s3]\nbucket = \"{bucket}\"\nendpoint = \"{server}\"\ncredentials = {{ source = \"file\", path = \"{}\" }}\n",
        sandbox.path("home/parts").display(),
        keys.display()
    );
    std::fs::write(sandbox.path("home/store.toml"), config).unwrap();
    sandbox
}

fn writ(sandbox: &Sandbox, arguments: &[&str]) -> Answer {
    let store = sandbox.path("home/store.toml");
    let mut all = arguments.to_vec();
    all.extend(["--store", store.to_str().unwrap()]);
    sandbox.writ(&all)
}

fn locker_lines(answer: &Answer) -> Vec<(String, String)> {
    let json = answer.json();
    json["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["what"] == "locker")
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("health"), text("found"))
        })
        .collect()
}

#[test]
fn doctor_proves_that_a_bucket_locks() {
    let Some(server) = service("WRIT_TEST_S3") else {
        return;
    };
    let answer = writ(&machine(&server), &["doctor", "-f", "json"]);
    let lines = locker_lines(&answer);
    let [(health, found)] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(health, "ok", "{found}");
    for part in ["version-delete", "downgrade", "shorten", "locked until"] {
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn doctor_exposes_a_server_that_pretends() {
    let Some(server) = service("WRIT_TEST_S3_PRETENDER") else {
        return;
    };
    let answer = writ(&machine(&server), &["doctor", "-f", "json"]);
    assert_eq!(answer.code, 1);
    let lines = locker_lines(&answer);
    assert!(lines.iter().all(|(health, _)| health == "wrong"));
    for name in ["shorten: ", "downgrade: ", "delete-after: "] {
        assert!(
            lines.iter().any(|(_, found)| found.starts_with(name)),
            "{name}: {lines:?}"
        );
    }
    assert!(!answer.out.contains("sesame"));
}
