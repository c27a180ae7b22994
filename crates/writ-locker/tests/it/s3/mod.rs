//! The S3 driver against a real server with Object Lock.

mod bucket;
mod faults;
mod locker;
mod probe;
mod proxy;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use writ_locker::s3::{Bucket, Credentials, S3Config};

/// The address of a test service, `http://host:port`. Without one the test says that it is skipped
/// and passes, unless services are required.
pub fn service(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(address) => Some(address),
        Err(_) => {
            assert!(
                std::env::var_os("WRIT_REQUIRE_SERVICES").is_none_or(|value| value != "1"),
                "{variable} is not set, and WRIT_REQUIRE_SERVICES is"
            );
            eprintln!("skipped: {variable} is not set");
            None
        }
    }
}

/// One request without a signature, which the test servers accept.
pub fn raw(server: &str, method: &str, path: &str, headers: &str, body: &str) -> String {
    let host = server
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A bucket of its own for a test.
pub fn make_bucket(server: &str, locked: bool) -> S3Config {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "test-{}-{}-{}",
        std::process::id(),
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let headers = if locked {
        "x-amz-bucket-object-lock-enabled: true\r\n"
    } else {
        ""
    };
    let answer = raw(server, "PUT", &format!("/{name}"), headers, "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    S3Config {
        endpoint: Some(server.to_owned()),
        prefix: "writ".to_owned(),
        credentials: Credentials::Static {
            access_key_id: "test-key-id".to_owned(),
            secret_access_key: "test-secret".to_owned(),
            session_token: None,
        },
        pause: Duration::from_millis(1),
        ..S3Config::new(name)
    }
}

/// A bucket with Object Lock on the faithful server; `None` when there is none.
pub fn locked_bucket() -> Option<(S3Config, Bucket)> {
    let server = service("WRIT_TEST_S3")?;
    let config = make_bucket(&server, true);
    let bucket = Bucket::open(&config).unwrap();
    Some((config, bucket))
}
