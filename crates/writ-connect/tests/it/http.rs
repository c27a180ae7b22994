//! What every client has: limits, tries, no redirects, authorities, secrets that stay secret.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use writ_connect::http::Request;
use writ_connect::{Client, ClientOptions, HttpError, Secret};

use crate::stub::{Act, Stub};

fn client(stub: &Stub) -> Client {
    Client::new(&stub.url(), ClientOptions::default()).unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_is_meant() {
    let stub = Stub::new(vec![Act::Say(200, r#"{"ok":true}"#.to_owned())]);
    let client = Client::new(&format!("{}/base", stub.url()), ClientOptions::default()).unwrap();
    let mut request = Request::post("v1/x", &json!({"a": 1}));
    request.headers.push(("X-Plain", "p".to_owned()));
    let secret = Secret::new(" s3cret \n".to_owned()).unwrap();
    request.secrets.push(("X-Secret", secret.clone()));
    let reply = client.send(&request).await.unwrap();
    assert!(reply.is_success());
    assert_eq!(
        reply.json::<serde_json::Value>().unwrap(),
        json!({"ok": true})
    );
    let asked = &stub.asked()[0].to_lowercase();
    for part in [
        "post /base/v1/x http/1.1",
        "x-plain: p",
        "x-secret: s3cret\r\n",
        "user-agent: writ/",
        "content-type: application/json",
        r#"{"a":1}"#,
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    for printed in [
        format!("{request:?}"),
        format!("{reply:?}"),
        format!("{secret:?}"),
    ] {
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    for not in ["", "  ", "a\nb", "a\u{7f}b"] {
        assert!(Secret::new(not.to_owned()).is_none(), "{not:?}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_may_have_happened_is_not() {
    let passing = || Act::Say(503, String::new());
    let good = || Act::Say(200, "{}".to_owned());
    let stub = Stub::new(vec![passing(), Act::Hang, good()]);
    let reply = client(&stub).send(&Request::get("x")).await.unwrap();
    assert_eq!((reply.status, stub.asked().len()), (200, 3));
    // Tries end, and the last answer is the answer.
    let stub = Stub::new(vec![passing()]);
    let reply = client(&stub).send(&Request::get("x")).await.unwrap();
    assert_eq!((reply.status, stub.asked().len()), (503, 4));
    // What must not happen twice is sent once, whatever comes back.
    for act in [passing(), Act::Hang] {
        let stub = Stub::new(vec![act, good()]);
        let _ = client(&stub).send(&Request::post("x", &json!({}))).await;
        assert_eq!(stub.asked().len(), 1);
    }
    // Other answers are final.
    for status in [400, 403, 404, 500] {
        let stub = Stub::new(vec![Act::Say(status, String::new()), good()]);
        let reply = client(&stub).send(&Request::get("x")).await.unwrap();
        assert_eq!((reply.status, stub.asked().len()), (status, 1));
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Client::new(&format!("http://{free}"), ClientOptions::default()).unwrap();
    // A connection that was never made is tried again even for what must not happen twice.
    let error = nobody
        .send(&Request::post("x", &json!({})))
        .await
        .unwrap_err();
    assert!(
        matches!(error, HttpError::Unreachable { tries: 4, .. }),
        "{error}"
    );
    let stub = Stub::new(vec![Act::Silent]);
    let options = ClientOptions {
        timeout: Duration::from_millis(200),
        ..ClientOptions::default()
    };
    let error = Client::new(&stub.url(), options)
        .unwrap()
        .send(&Request::get("x"))
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("within 200 ms"), "{error}");
}

#[tokio::test]
async fn redirects_are_answers_not_orders() {
    let elsewhere = Stub::new(vec![Act::Say(200, "{}".to_owned())]);
    let stub = Stub::new(vec![Act::Raw(
        format!(
            "HTTP/1.1 307 X\r\nlocation: {}/x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            elsewhere.url()
        )
        .into_bytes(),
    )]);
    let mut request = Request::get("x");
    request
        .secrets
        .push(("X-Vault-Token", Secret::new("t".to_owned()).unwrap()));
    let reply = client(&stub).send(&request).await.unwrap();
    assert_eq!(reply.status, 307);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn answers_are_bounded_and_read_strictly() {
    let options = ClientOptions {
        max_body: 1_000,
        ..ClientOptions::default()
    };
    let endless = [
        b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        b"400\r\n".to_vec(),
        vec![b'x'; 0x400],
        b"\r\n".to_vec(),
    ]
    .concat();
    for act in [Act::Say(200, "x".repeat(1_001)), Act::Raw(endless)] {
        let stub = Stub::new(vec![act]);
        let error = Client::new(&stub.url(), options.clone())
            .unwrap()
            .send(&Request::get("x"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, HttpError::TooLarge { limit: 1_000, .. }),
            "{error}"
        );
        assert_eq!(stub.asked().len(), 1);
    }
    let stub = Stub::new(vec![Act::Say(200, "<html>".to_owned())]);
    let reply = client(&stub).send(&Request::get("x")).await.unwrap();
    let error = reply.json::<serde_json::Value>().unwrap_err();
    assert!(matches!(error, HttpError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn names_that_lead_to_refused_addresses_are_refused_when_they_are_resolved() {
    // A literal is refused when the client is made; a name only the resolver can judge.
    let error = Client::new("https://169.254.169.254", ClientOptions::default()).unwrap_err();
    assert!(error.to_string().contains("link-local"), "{error}");
    let stub = Stub::new(vec![Act::Say(200, "{}".to_owned())]);
    let port = stub.address.port();
    let named = Client::new(
        &format!("http://localhost:{port}"),
        ClientOptions::default(),
    )
    .unwrap();
    assert_eq!(named.send(&Request::get("x")).await.unwrap().status, 200);
}

/// A server with a certificate of its own authority (`tests/data/tls`, valid until 2126).
async fn tls_server() -> std::net::SocketAddr {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let read = |name: &str| {
        std::fs::read(format!(
            "{}/tests/data/tls/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    };
    let chain = CertificateDer::pem_slice_iter(&read("server.pem"))
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let answer = "HTTP/1.1 200 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

#[tokio::test]
async fn only_the_named_authorities_are_believed() {
    let address = tls_server().await;
    let authority = std::fs::read(format!(
        "{}/tests/data/tls/ca.pem",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let with = |authorities: Option<Vec<u8>>, host: &str| {
        let options = ClientOptions {
            authorities,
            timeout: Duration::from_secs(5),
            tries: 1,
            ..ClientOptions::default()
        };
        Client::new(&format!("https://{host}:{}", address.port()), options)
    };
    let known = with(Some(authority.clone()), "localhost").unwrap();
    assert_eq!(known.send(&Request::get("x")).await.unwrap().status, 200);
    for unknown in [
        // The system's authorities do not know it; and its certificate is for localhost only.
        with(None, "localhost").unwrap(),
        with(Some(authority), "127.0.0.1").unwrap(),
    ] {
        let error = unknown.send(&Request::get("x")).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, HttpError::Unreachable { .. }), "{text}");
        assert!(text.to_lowercase().contains("certificate"), "{text}");
    }
    let error = with(Some(b"nothing".to_vec()), "localhost").unwrap_err();
    assert!(matches!(error, HttpError::Setup(_)), "{error}");
}
