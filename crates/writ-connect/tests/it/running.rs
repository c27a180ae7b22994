//! Container engines, clusters and services that tell what runs: recorded answers on a real socket.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use writ_connect::Secret;
use writ_connect::running::{Cluster, ClusterOptions, Engine, RunningError, told_digest};
use writ_model::Digest;

use crate::stub::{Act, Stub};

const LIMIT: Duration = Duration::from_secs(10);

fn hex(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

fn digest(number: u8) -> Digest {
    format!("sha256:{}", hex(number)).parse().unwrap()
}

/// An engine on a socket: answers by the beginning of the path.
struct Socket {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Socket {
    fn new(answers: Vec<(&'static str, u16, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                let request = String::from_utf8_lossy(&bytes).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(path.clone());
                let (status, body) = answers
                    .iter()
                    .find(|(begin, ..)| path.starts_with(begin))
                    .map_or((404, String::new()), |(_, status, body)| {
                        (*status, body.clone())
                    });
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { folder, asked }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }
}

#[tokio::test]
async fn containers_have_the_digest_of_their_image() {
    let list = format!(
        r#"[{{"Id":"c1","Names":["/orders"],"Image":"registry.example:5000/orders:3","ImageID":"sha256:{own}","Created":1790000000,"Labels":{{"service":"orders"}},"State":"running","Status":"Up 3 hours"}},
            {{"Id":"c2","Names":["/built-here"],"Image":"sandbox","ImageID":"sha256:{local}","Created":1790000001,"Labels":null,"State":"running"}},
            {{"Id":"c3","Names":["/orders-2"],"Image":"registry.example:5000/orders:3","ImageID":"sha256:{own}","Created":1790000002,"Labels":{{}},"State":"running"}},
            {{"Id":"c4","Names":["/gone"],"Image":"sandbox","ImageID":"sha256:{local}","Created":1,"Labels":{{}},"State":"exited"}}]"#,
        own = hex(0xa1),
        local = hex(0xb2),
    );
    let pulled = format!(
        r#"{{"Id":"sha256:{}","RepoDigests":["mirror.example/orders@sha256:{}","registry.example:5000/orders@sha256:{}"]}}"#,
        hex(0xa1),
        hex(0xc3),
        hex(0xd4)
    );
    let built = format!(r#"{{"Id":"sha256:{}","RepoDigests":null}}"#, hex(0xb2));
    let image = format!("/images/sha256%3A{}", hex(0xa1));
    let engine = Socket::new(vec![
        ("/containers/json", 200, list),
        (image.leak(), 200, pulled),
        ("/images/", 200, built),
    ]);
    let found = Engine::new(&engine.path(), LIMIT)
        .unwrap()
        .running(&["team=shop".to_owned()])
        .await
        .unwrap();
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["built-here", "orders", "orders-2"]);
    // The registry's digest under the name it runs by, the others beside it.
    assert_eq!(found[1].digest, Some(digest(0xd4)));
    assert_eq!(found[1].also, [digest(0xc3), digest(0xa1)]);
    assert_eq!(
        found[1].labels,
        BTreeMap::from([("service".to_owned(), "orders".to_owned())])
    );
    // What was built here has no other.
    assert_eq!(
        (found[0].digest, found[0].also.len()),
        (Some(digest(0xb2)), 0)
    );
    let asked = engine.asked.lock().unwrap().clone();
    assert!(
        asked[0].contains("label") && asked[0].contains("team%3Dshop"),
        "{asked:?}"
    );
    // Each image is looked at once.
    assert_eq!(asked.len(), 3, "{asked:?}");
}

#[tokio::test]
async fn an_engine_that_does_not_answer_tells_nothing() {
    let engine = Socket::new(vec![(
        "/containers/json",
        500,
        r#"{"message":"the daemon is starting"}"#.to_owned(),
    )]);
    let refused = Engine::new(&engine.path(), LIMIT)
        .unwrap()
        .running(&[])
        .await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("500") && error.contains("the daemon is starting"),
        "{error}"
    );
    let nobody = Engine::new(&engine.folder.path().join("other.sock"), LIMIT)
        .unwrap()
        .running(&[])
        .await;
    assert!(matches!(nobody, Err(RunningError::Http(_))));
    // Half an answer is none: an image that cannot be looked at is not "without a digest".
    let list = format!(
        r#"[{{"Names":["/a"],"Image":"a","ImageID":"sha256:{}","State":"running"}}]"#,
        hex(1)
    );
    let engine = Socket::new(vec![("/containers/json", 200, list)]);
    let refused = Engine::new(&engine.path(), LIMIT)
        .unwrap()
        .running(&[])
        .await;
    assert!(matches!(
        refused,
        Err(RunningError::Refused { status: 404, .. })
    ));
    let engine = Socket::new(vec![("/containers/json", 200, "{}".to_owned())]);
    assert!(
        Engine::new(&engine.path(), LIMIT)
            .unwrap()
            .running(&[])
            .await
            .is_err()
    );
}

fn pod(name: &str, ready: bool, image: &str) -> String {
    let state = if ready {
        r#"{"running":{"startedAt":"2026-11-20T10:00:00Z"}}"#
    } else {
        r#"{"waiting":{"reason":"ContainerCreating"}}"#
    };
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","labels":{{"app":"orders","pod-template-hash":"5d9c"}},"ownerReferences":[{{"kind":"ReplicaSet","name":"orders-5d9c","uid":"x"}}]}},
            "spec":{{}},"status":{{"phase":"Running","containerStatuses":[{{"name":"app","image":"registry.example/orders:3","imageID":"{image}","ready":true,"state":{state}}}]}}}}"#
    )
}

#[tokio::test]
async fn pods_are_read_to_the_last_page_with_the_token() {
    let first = format!(
        r#"{{"kind":"PodList","metadata":{{"continue":"next page"}},"items":[{}]}}"#,
        pod(
            "orders-5d9c-a",
            true,
            &format!("registry.example/orders@sha256:{}", hex(7))
        )
    );
    let second = format!(
        r#"{{"kind":"PodList","metadata":{{}},"items":[{},{}]}}"#,
        pod(
            "orders-5d9c-b",
            true,
            &format!(
                "docker-pullable://registry.example/orders@sha256:{}",
                hex(8)
            )
        ),
        pod("orders-5d9c-c", false, "")
    );
    let stub = Stub::new(vec![Act::Say(200, first), Act::Say(200, second)]);
    let cluster = Cluster::new(ClusterOptions {
        url: stub.url(),
        token: Secret::new("account-token".to_owned()),
        authority: None,
        timeout: LIMIT,
    })
    .unwrap();
    let found = cluster
        .running(Some("shop"), Some("app=orders"))
        .await
        .unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].digest, Some(digest(7)));
    assert_eq!(found[1].digest, Some(digest(8)));
    assert_eq!(found[0].owner.as_deref(), Some("ReplicaSet/orders-5d9c"));
    assert_eq!(found[0].since.unwrap().to_string(), "2026-11-20T10:00:00Z");
    let asked = stub.asked();
    assert!(
        asked[0]
            .starts_with("GET /api/v1/namespaces/shop/pods?limit=250&labelSelector=app%3Dorders "),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("&continue=next%20page"), "{}", asked[1]);
    assert!(asked.iter().all(|request| {
        request
            .to_lowercase()
            .contains("authorization: bearer account-token")
    }));
}

#[tokio::test]
async fn a_cluster_that_refuses_does_not_show_the_token() {
    let stub = Stub::new(vec![Act::Say(
        403,
        r#"{"kind":"Status","message":"account-token may not list pods"}"#.to_owned(),
    )]);
    let cluster = Cluster::new(ClusterOptions {
        url: stub.url(),
        token: Secret::new("account-token".to_owned()),
        authority: None,
        timeout: LIMIT,
    })
    .unwrap();
    let error = cluster.running(None, None).await.unwrap_err().to_string();
    assert!(
        error.contains("403") && error.contains("may not list pods"),
        "{error}"
    );
    assert!(!error.contains("account-token"), "{error}");
}

#[tokio::test]
async fn a_service_tells_its_digest() {
    let text = format!("sha256:{}\n", hex(5));
    let json = format!(
        r#"{{"image":{{"digest":"registry.example/a@sha256:{}"}}}}"#,
        hex(6)
    );
    let stub = Stub::new(vec![
        Act::Say(200, text),
        Act::Say(200, json.clone()),
        Act::Say(200, json),
        Act::Say(200, "v1.2.3".to_owned()),
        Act::Say(503, String::new()),
    ]);
    let url = format!("{}/status/version?full=1", stub.url());
    let ask = async |pointer| told_digest(&url, pointer, false, LIMIT).await;
    assert_eq!(ask(None).await.unwrap(), digest(5));
    assert_eq!(ask(Some("/image/digest")).await.unwrap(), digest(6));
    assert!(matches!(
        ask(Some("/digest")).await,
        Err(RunningError::Strange { .. })
    ));
    assert!(matches!(ask(None).await, Err(RunningError::Strange { .. })));
    assert!(stub.asked()[0].starts_with("GET /status/version?full=1 "));
    let plain = told_digest("http://192.0.2.1/version", None, false, LIMIT).await;
    assert!(plain.unwrap_err().to_string().contains("plain http"));
}
