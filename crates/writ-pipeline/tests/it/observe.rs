//! Looking at what runs: a cluster and an engine that answer by script, and a process that is this one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use writ_evidence::predicate::Snapshot;
use writ_evidence::statement::Predicate as _;
use writ_model::{Outcome, ProducerClass, Timestamp};
use writ_pipeline::config::{Config, Observe, ObserveKind};
use writ_pipeline::observe::{Looking, look};

fn looking() -> Looking {
    Looking {
        environment: "production".to_owned(),
        service: Some("shop".to_owned()),
        host: "host-a".to_owned(),
        proc: PathBuf::from("/proc"),
        producer_class: ProducerClass::Ci,
    }
}

async fn seen(observe: &Observe) -> Snapshot {
    let snapshot = look(&looking(), observe, Timestamp::from_micros(1)).await;
    assert_eq!(snapshot.validate(), Ok(()));
    assert!(snapshot.drift.is_empty() && snapshot.compared.is_none());
    snapshot
}

/// Answers every request that begins with a path.
fn answer(mut stream: impl Read + Write, answers: &[(String, u16, String)]) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&bytes).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = answers
        .iter()
        .find(|(begin, ..)| path.starts_with(begin.as_str()))
        .map_or((404, ""), |(_, status, body)| (*status, body.as_str()));
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn cluster(answers: Vec<(String, u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), &answers);
        }
    });
    url
}

fn pod(name: &str, image: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","labels":{{"app":"orders","pod-template-hash":"5d9c"}},"ownerReferences":[{{"kind":"ReplicaSet","name":"orders-5d9c"}}]}},
            "status":{{"containerStatuses":[{{"name":"app","image":"orders:3","imageID":"orders@sha256:{image}","state":{{"running":{{"startedAt":"2026-11-20T10:00:00Z"}}}}}}]}}}}"#
    )
}

#[tokio::test]
async fn pods_of_a_workload_are_one_row_per_digest() {
    let (old, new) = ("0a".repeat(32), "0b".repeat(32));
    let list = format!(
        r#"{{"metadata":{{}},"items":[{},{},{}]}}"#,
        pod("orders-5d9c-1", &old),
        pod("orders-5d9c-2", &old),
        pod("orders-5d9c-3", &new)
    );
    let mut observe = Observe::of(ObserveKind::Kubernetes);
    observe.url = Some(cluster(vec![("/api/v1/pods".to_owned(), 200, list)]));
    observe.service_label = Some("app".to_owned());
    let snapshot = seen(&observe).await;
    assert_eq!(snapshot.outcome, Outcome::Completed);
    let rows: Vec<(&str, Option<&str>, u64)> = snapshot
        .running
        .iter()
        .map(|one| (one.name.as_str(), one.service.as_deref(), one.replicas))
        .collect();
    assert_eq!(
        rows,
        [
            ("shop/orders/app", Some("orders"), 2),
            ("shop/orders/app", Some("orders"), 1)
        ]
    );
    assert_eq!(snapshot.running[0].artifact.unwrap().to_hex(), old);
    // A cluster that refuses is not an empty one.
    observe.url = Some(cluster(vec![(
        "/api/v1/pods".to_owned(),
        403,
        r#"{"message":"pods is forbidden"}"#.to_owned(),
    )]));
    let refused = seen(&observe).await;
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.reason.unwrap().contains("pods is forbidden"));
}

#[tokio::test]
async fn an_engine_without_containers_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let none = ("/containers/json".to_owned(), 200, "[]".to_owned());
            answer(stream.unwrap(), &[none]);
        }
    });
    let mut observe = Observe::of(ObserveKind::Containers);
    observe.socket = Some(socket);
    let empty = seen(&observe).await;
    assert_eq!(empty.outcome, Outcome::Empty);
    observe.socket = Some(folder.path().join("nobody.sock"));
    let absent = seen(&observe).await;
    assert_eq!(absent.outcome, Outcome::Failed);
    assert_eq!(absent.source, empty.source);
}

#[tokio::test]
async fn this_process_is_found_by_its_executable_and_its_number() {
    let exe = std::fs::canonicalize(std::env::current_exe().unwrap()).unwrap();
    let mut observe = Observe::of(ObserveKind::Process);
    observe.exe = Some(exe.clone());
    let by_exe = seen(&observe).await;
    assert_eq!(by_exe.outcome, Outcome::Completed);
    assert_eq!(by_exe.source, "process shop on host-a");
    let own = writ_registry::file_digest(&exe).unwrap();
    assert_eq!(by_exe.running.len(), 1);
    assert_eq!(by_exe.running[0].artifact, Some(own));
    assert!(by_exe.running[0].replicas >= 1);
    let since = by_exe.running[0].since.unwrap();
    assert!(since.micros() > 1_600_000_000_000_000, "{since}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("this.pid");
    std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
    let mut observe = Observe::of(ObserveKind::Process);
    observe.pid_file = Some(file);
    assert_eq!(seen(&observe).await.running[0].artifact, Some(own));
    // What is interpreted is the file that is released.
    let script = folder.path().join("app.py");
    std::fs::write(&script, "print(1)").unwrap();
    observe.file = Some(script.clone());
    let digest = writ_registry::file_digest(&script).unwrap();
    assert_eq!(seen(&observe).await.running[0].artifact, Some(digest));
}

#[test]
fn settings_are_read_and_mistakes_named() {
    let text = |observe: &str| {
        format!(
            "version = 1\nservice = \"shop\"\n[environment.production]\n[[environment.production.observe]]\n{observe}"
        )
    };
    let read = |observe: &str| {
        Config::parse(&text(observe), std::path::Path::new("writ.toml")).map_err(|e| e.to_string())
    };
    let config =
        read("kind = \"containers\"\nlabels = [\"a=b\"]\nservice_label = \"app\"\n").unwrap();
    let (_, environment) = config.environments_in_order()[0];
    assert_eq!(
        *environment.observe[0].kind.get_ref(),
        ObserveKind::Containers
    );
    for (observe, part) in [
        (
            "kind = \"process\"\n",
            "one of `exe`, `unit` and `pid_file`",
        ),
        (
            "kind = \"process\"\nexe = \"/a\"\nurl = \"https://x\"\n",
            "`url` belongs to",
        ),
        ("kind = \"kubernetes\"\n", "`url` is missing"),
        (
            "kind = \"endpoint\"\nurl = \"https://x\"\nlabels = [\"a\"]\n",
            "`labels` belongs to",
        ),
        ("kind = \"vm\"\n", "vm"),
        ("exe = \"/a\"\n", "kind"),
        ("kind = \"process\"\nexe = \"/a\"\nexec = \"/b\"\n", "exec"),
    ] {
        let error = read(observe).unwrap_err();
        assert!(error.contains(part), "{observe}: {error}");
    }
}
