//! `writ env …` over real processes: what runs is hashed, compared, and named when it was replaced.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use writ_gate::evaluate::{decision_id, writ_record};
use writ_model::{
    Answer, BundleRef, Decision, Digest, LedgerHead, State, StateCounts, Subject, Timestamp,
};
use writ_registry::{NewRecord, Store, StoreOptions};

use crate::sandbox::{SHOP, Sandbox};

/// A service that runs; it ends with the value.
struct Service(Child);

impl Service {
    /// Starts an executable that waits, and waits until it is executed.
    fn start(exe: &Path) -> Self {
        let child = Command::new(exe)
            .arg("600")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let link = format!("/proc/{}/exe", child.id());
        let end = Instant::now() + Duration::from_secs(30);
        while std::fs::read_link(&link).ok().as_deref() != Some(exe) {
            assert!(Instant::now() < end, "{} does not run", exe.display());
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts a program in its place; `version` makes its bytes its own. As a hand would do it: the new file
/// takes the name of the old one.
fn install(exe: &Path, version: &str) -> Digest {
    let sleep = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("sleep"))
        .find(|path| path.is_file())
        .unwrap();
    // Bytes behind the end of an executable are never executed.
    let mut bytes = std::fs::read(std::fs::canonicalize(sleep).unwrap()).unwrap();
    bytes.extend_from_slice(version.as_bytes());
    let new = exe.with_extension("new");
    std::fs::write(&new, &bytes).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, exe).unwrap();
    Digest::of(&bytes)
}

/// What is recorded straight into the sandbox's store.
fn recorded<T, W: Future<Output = T>>(sandbox: &Sandbox, work: impl FnOnce(Arc<Store>) -> W) -> T {
    let data = sandbox.path("home/.local/share/writ");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = StoreOptions::new(data.join("trust")).create();
        let store = Arc::new(Store::open(data.join("store"), options).await.unwrap());
        let done = work(Arc::clone(&store)).await;
        Arc::into_inner(store).unwrap().close().await.unwrap();
        done
    })
}

/// The writ of a decision that said yes.
async fn authorise(store: &Store, artifact: Digest) {
    let check = serde_json::from_value(json!({
        "control": "TST-01", "version": 1, "code": "TST-01/pass", "state": "pass", "title": "ok",
        "found": [], "required": "", "why": "", "owner": "qa", "fix": [], "evidence": [], "maps": [],
    }))
    .unwrap();
    let decision = Decision {
        service: "shop".to_owned(),
        environment: "production".to_owned(),
        subject: Subject {
            artifact: Some(artifact),
            ..Subject::default()
        },
        profile: "startup".to_owned(),
        bundle: BundleRef {
            name: "test".to_owned(),
            version: "v1".to_owned(),
            digest: Digest::of(b"bundle"),
        },
        as_of: store.now(),
        answer: Answer::Yes,
        counts: StateCounts::of([State::Pass]),
        checks: vec![check],
        later: Vec::new(),
        not_covered: Vec::new(),
        ledger: LedgerHead {
            size: 0,
            root: Digest::of(b""),
        },
        inputs: Digest::of(b"inputs"),
        engine: "test 1".to_owned(),
    };
    let id = decision_id(&decision).unwrap();
    let (_, record) = writ_record(store, &decision, id).await.unwrap();
    store.record(record).await.unwrap();
}

/// The record of a deployment.
async fn deployed(store: &Store, artifact: Digest, at: Timestamp) {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "shop", "annotations": {"kind": "artifact"}, "digest": {"sha256": artifact.to_hex()}}],
        "predicateType": "urn:writ:predicate:deployment:v1",
        "predicate": {
            "release": {"service": "shop", "environment": "production", "artifact": artifact},
            "outcome": "succeeded", "deployer": "p_test", "startedAt": at, "observedAt": at,
            "origin": "observed", "producerClass": "ci",
        },
    });
    let payload = writ_evidence::canonical::to_vec(&statement).unwrap();
    store.record(NewRecord::payload(payload)).await.unwrap();
}

fn with_exe(exe: &Path) -> String {
    format!(
        "{SHOP}\n[[environment.production.observe]]\nkind = \"process\"\nexe = \"{}\"\n",
        exe.display()
    )
}

fn world() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with_shop(SHOP);
    let folder = std::fs::canonicalize(sandbox.path("home")).unwrap();
    let exe = folder.join("shop-server");
    sandbox.write("writ.toml", &with_exe(&exe));
    (sandbox, exe)
}

#[test]
fn a_binary_that_is_replaced_by_hand_is_named() {
    let (sandbox, exe) = world();
    let good = install(&exe, "1");
    recorded(&sandbox, async |store| {
        authorise(&store, good).await;
        deployed(&store, good, store.now()).await;
    });
    let service = Service::start(&exe);
    let first = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    assert!(first.out.contains("as authorised: 1 of 1"), "{}", first.out);

    // The file is replaced; what runs is still the old one, and the next start is told.
    let other = install(&exe, "by hand");
    let waiting = sandbox.writ(&["env", "snapshot", "production", "-f", "json"]);
    assert_eq!(waiting.code, 1, "{}{}", waiting.out, waiting.err);
    let told = waiting.json();
    assert_eq!(told["components"].as_array().unwrap().len(), 2, "{told}");
    let (bad, fine) = (&told["components"][0], &told["components"][1]);
    assert_eq!(
        (&bad["state"], &bad["observed"]),
        (&json!("different"), &json!(other))
    );
    assert!(
        bad["name"].as_str().unwrap().contains("at the next start"),
        "{bad}"
    );
    assert_eq!(
        (&fine["state"], &fine["observed"]),
        (&json!("authorised"), &json!(good))
    );

    // It is started: drift names service, authorised digest and observed digest.
    drop(service);
    let _service = Service::start(&exe);
    let drift = sandbox.writ(&["env", "snapshot"]);
    assert_eq!(drift.code, 1, "{}{}", drift.out, drift.err);
    for part in [
        "different",
        "shop",
        &good.short(),
        &other.short(),
        "ways back",
    ] {
        assert!(drift.out.contains(part), "{part}: {}", drift.out);
    }
    let shown = sandbox.writ(&["env", "show", "production", "-f", "json"]);
    assert_eq!(shown.code, 1);
    let shown = shown.json();
    assert_eq!(shown["state"], "drift");
    assert_eq!(shown["components"][0]["authorised"], json!(good));
    assert_eq!(shown["components"][0]["observed"], json!(other));
    assert_eq!(shown["components"].as_array().unwrap().len(), 1);

    // What the store compared is a statement of its own, and says which snapshot it is about.
    recorded(&sandbox, async |store| {
        let below = store.indexed().await.unwrap();
        let items = store
            .evidence(&writ_registry::Query {
                types: vec![writ_model::EvidenceType::DriftCheck],
                as_of: Some(below),
                ..writ_registry::Query::default()
            })
            .await
            .unwrap()
            .items;
        assert_eq!(items.len(), 6);
        let (compared, seen) = (&items[0], &items[1]);
        assert_eq!(compared.facts["compared"]["snapshot"], json!(seen.id));
        assert_eq!(compared.facts["drift"][0]["authorised"], json!(good));
        assert_eq!(compared.facts["drift"][0]["observed"], json!(other));
        assert_eq!(compared.observed_at, seen.observed_at);
        assert!(!seen.facts.contains_key("drift"));
        // Doing it again tells nothing new.
        let limits = writ_release::observe::Limits::default();
        let again = writ_release::observe::settle(&store, None, limits)
            .await
            .unwrap();
        assert_eq!(again, []);
    });

    // The past, as git writes it.
    assert_eq!(sandbox.writ(&["env", "show", "production@{-2}"]).code, 0);
    let diff = sandbox.writ(&["env", "diff", "production@{-2}", "-f", "json"]);
    assert_eq!(diff.code, 1, "{}{}", diff.out, diff.err);
    let diff = diff.json();
    assert_eq!(diff["changes"].as_array().unwrap().len(), 1, "{diff}");
    assert_eq!(diff["changes"][0]["change"], "replaced");
    assert_eq!(diff["changes"][0]["before"], json!(good));
    assert_eq!(diff["changes"][0]["after"], json!(other));
    let same = sandbox.writ(&["env", "diff", "production", "production"]);
    assert_eq!(same.code, 0, "{}", same.out);
    assert_eq!(sandbox.writ(&["env", "list"]).code, 1);

    // Somebody has it judged: the same process is authorised then.
    recorded(&sandbox, async |store| {
        authorise(&store, other).await;
        deployed(&store, other, store.now()).await;
    });
    let again = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
}

#[test]
fn what_cannot_be_looked_at_is_not_drift() {
    let (sandbox, exe) = world();
    let good = install(&exe, "1");
    recorded(&sandbox, async |store| {
        authorise(&store, good).await;
        deployed(&store, good, store.now()).await;
    });
    // Nobody looked.
    let unseen = sandbox.writ(&["env", "show", "production"]);
    assert_eq!(unseen.code, 3, "{}", unseen.out);
    assert!(unseen.out.contains("nobody ever looked"), "{}", unseen.out);
    // An engine that is not there.
    let socket = sandbox.path("home/engine.sock");
    let unread = sandbox.writ(&[
        "env",
        "snapshot",
        "production",
        "--containers",
        socket.to_str().unwrap(),
    ]);
    assert_eq!(unread.code, 3, "{}{}", unread.out, unread.err);
    assert!(
        unread.out.contains("unreached") && unread.out.contains("no socket"),
        "{}",
        unread.out
    );
    let listed = sandbox.writ(&["env", "list", "-f", "json"]);
    assert_eq!(listed.code, 3);
    assert_eq!(listed.json()["environments"][0]["state"], "unreachable");
    assert_eq!(listed.json()["environments"][0]["drift"], json!([]));
    // It does not run: that can be said of a host that was read, and not while an engine was not.
    let gone = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(gone.code, 3, "{}{}", gone.out, gone.err);
}

#[test]
fn what_was_deployed_and_does_not_run_is_missing() {
    let (sandbox, exe) = world();
    let good = install(&exe, "1");
    recorded(&sandbox, async |store| {
        authorise(&store, good).await;
        deployed(&store, good, store.now()).await;
    });
    // Its file is taken away when it ends; which processes of others run is nobody's business.
    let by_number = with_exe(&exe)
        .replace("exe = ", "pid_file = ")
        .replace("shop-server", "shop.pid");
    sandbox.write("writ.toml", &by_number);
    let gone = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(gone.code, 1, "{}{}", gone.out, gone.err);
    assert!(
        gone.out.contains("missing") && gone.out.contains("does not run"),
        "{}",
        gone.out
    );
}

#[test]
fn wrong_questions_say_what_is_meant() {
    let sandbox = Sandbox::with_shop(SHOP);
    let silent = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(silent.code, 2, "{}", silent.err);
    assert!(
        silent.err.contains("environment.production.observe"),
        "{}",
        silent.err
    );
    for (arguments, part) in [
        (
            &["env", "show", "production@{yesterday}"][..],
            "between the braces",
        ),
        (&["env", "diff", "production@{-1"], "not closed"),
        (&["env", "show", "-f", "sarif"], "no sarif form"),
    ] {
        let answer = sandbox.writ(arguments);
        assert_eq!(answer.code, 2, "{arguments:?}: {}", answer.err);
        assert!(answer.err.contains(part), "{arguments:?}: {}", answer.err);
    }
    let two = format!(
        "{SHOP}\n[[environment.production.observe]]\nkind = \"process\"\nexe = \"/a\"\nunit = \"b\"\n\n[[environment.production.observe]]\nkind = \"endpoint\"\nsocket = \"/run/x\"\n"
    );
    sandbox.write("writ.toml", &two);
    let wrong = sandbox.writ(&["env", "snapshot", "production"]);
    assert_eq!(wrong.code, 2);
    for part in [
        "one of `exe`, `unit` and `pid_file`",
        "`socket` belongs to",
        "`url` is missing",
    ] {
        let words: Vec<&str> = wrong.err.split_whitespace().collect();
        assert!(words.join(" ").contains(part), "{part}: {}", wrong.err);
    }
}
