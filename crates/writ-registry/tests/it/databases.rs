//! Both databases: every statement runs on both, a server may go away, several processes share one.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use writ_model::{Digest, Severity, Span, Timestamp};
use writ_registry::backup::{Acceptance, BackupOptions, accept_rollback};
use writ_registry::{Compared, EventQuery, NewRecord, Query, RegistryError, Store, db};

use crate::common::{Place, START, each_database, finding, postgres, scan, scan_with, service};
use crate::door::copy;
use crate::notices::said;
use crate::{
    exemptions, hooks, keep, keys_trouble, notices, passkeys, people, recording, repeated, roster,
    stock, tokens, views,
};

/// Everything that asks or fills a database, once.
async fn everything(make: impl AsyncFn() -> Place) {
    recording::a_scan_is_recorded_indexed_and_read_back(make().await).await;
    recording::cached_results_are_found_by_their_inputs(make().await).await;
    recording::a_deleted_index_comes_back_the_same(make().await).await;
    exemptions::a_second_person_grants_and_the_rules_read_it(make().await).await;
    views::all(&make).await;
    stock::what_no_index_knows_is_looked_for_in_parts(make().await).await;
    repeated::one_of_several_does_what_is_due(make().await).await;
    people::accounts_sessions_and_codes(make().await).await;
    passkeys::passkeys_are_what_the_ledger_says(make().await).await;
    tokens::a_token_is_kept_by_its_hash_and_comes_back_with_a_backup(make().await).await;
    hooks::deliveries_are_remembered(make().await).await;
    notices::a_notice_is_said_once_on_each_channel(make().await).await;
    roster::people_come_and_go(make().await).await;
    keys_trouble::a_stolen_key_is_revoked_from_the_day_it_was_stolen(make().await).await;
    let place = make().await;
    let store = place.create().await;
    assert_eq!(said(&store, 0).await, 1);
    assert_eq!(said(&store, 0).await, 0);
    let token = Digest::of(b"token");
    let key = store.trust().producer(store.now()).unwrap().key_id();
    let ends = Timestamp::from_micros(START).plus(Span::from_secs(60));
    assert_eq!(store.claim_token(token, key, ends).await.unwrap(), key);
    let alice = store.local_principal("alice").await.unwrap();
    assert_eq!(
        store.person_name(&alice).await.unwrap().as_deref(),
        Some("alice")
    );
    for (seconds, severity) in [(0, Severity::High), (1, Severity::Low)] {
        let found = [finding("a", severity)];
        let record = scan("payments", START - 10 + seconds, &found);
        store.record(record).await.unwrap();
    }
    // Its findings are reported and not handed in.
    let lost = scan_with("payments", START, &[], |p| {
        p["counts"]["high"] = 1.into();
        p.as_object_mut().unwrap().remove("findings");
    });
    store.record(lost).await.unwrap();
    for name in ["approval", "verification-summary"] {
        store.record(corpus(name)).await.unwrap();
    }
    assert_eq!(store.writs(None, None, 0).await.unwrap().len(), 1);
    let approvals = store.approvals_listed(&EventQuery::default()).await;
    assert_eq!(approvals.unwrap().items.len(), 1);
    assert_eq!(store.exemptions(None).await.unwrap(), []);
    store.runs(None, 0).await.unwrap();
    store.decisions(None, None, 0).await.unwrap();
    store.decision_counts().await.unwrap();
    store.run_counts().await.unwrap();
    assert_eq!(store.problems(10).await.unwrap().len(), 1);
    store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert_eq!(store.held_checkpoints().await.unwrap().len(), 1);
    let to = place.dir.path().join("backup");
    store
        .backup(&to, BackupOptions::default(), &mut |_, _, _| {})
        .await
        .unwrap();
    store.close().await.unwrap();
    an_index_of_lost_entries_is_replaced(make().await).await;
}

/// First locks are lengthened once, whoever opens the store next.
async fn a_bucket_notes_what_is_settled(place: Place) {
    let Some(section) = keep::bucket_section(&place) else {
        return;
    };
    place.write_config(&section);
    let open = async || Store::open(place.config_file(), place.options().create()).await;
    for _ in 0..2 {
        let store = open().await.unwrap();
        let observed = store.now().micros();
        store.record(scan("payments", observed, &[])).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(open().await.unwrap().settle_locks().await.unwrap(), 0);
        place.clock.advance(60);
    }
}

each_database!(an_index_of_lost_entries_is_replaced);

/// The ledger goes back and the index does not: then the longer index is the wrong one.
async fn an_index_of_lost_entries_is_replaced(place: Place) {
    let store = place.create().await;
    store.record(scan("payments", START, &[])).await.unwrap();
    store.close().await.unwrap();
    let (ledger, saved) = (
        place.directory().join("ledger"),
        place.dir.path().join("saved"),
    );
    copy(&ledger, &saved);
    let store = place.open().await;
    store.record(scan("billing", START, &[])).await.unwrap();
    store.record(scan("wallet", START, &[])).await.unwrap();
    for position in [0, 2] {
        assert_eq!(said(&store, position).await, 1);
    }
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    store.close().await.unwrap();
    std::fs::remove_dir_all(&ledger).unwrap();
    copy(&saved, &ledger);
    let acceptance = Acceptance {
        reason: "the disk is gone".to_owned(),
        by: "olga".to_owned(),
    };
    accept_rollback(&place.store(), place.options(), &acceptance)
        .await
        .unwrap();
    let store = place.open().await;
    let stats = store.extent().await.unwrap();
    assert_eq!((stats.entries, stats.indexed), (2, 2));
    let dump = store.index_dump().await.unwrap();
    assert!(!dump.contains("wallet"), "{dump}");
    // Another entry stands at that position now: what was delivered about the old one is not said
    // of it.
    for (position, fresh) in [(0, 0), (2, 1)] {
        assert_eq!(said(&store, position).await, fresh, "{position}");
    }
    store.close().await.unwrap();
}

/// A statement of the corpus that must be readable for ever.
fn corpus(name: &str) -> NewRecord {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../writ-evidence/tests/corpus")
        .join(format!("{name}.json"));
    let envelope: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap());
    NewRecord::payload(payload.unwrap())
}

/// `sql(…)` and `fetch(…)` in the sources: file and line.
fn in_sources(directory: &Path, found: &mut BTreeMap<(String, u32), String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_sources(&path, found);
            continue;
        }
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        // What tests alone ask is not asked of a server.
        if name.starts_with("src/db") || name.ends_with("plans.rs") {
            continue;
        }
        let name = format!("crates/writ-registry/{}", name.display());
        for (line, text) in (1..).zip(std::fs::read_to_string(&path).unwrap().lines()) {
            let code = text.split("//").next().unwrap_or_default();
            // There the place of its caller counts.
            if code.contains("= sql(text).bind_all(values)") {
                continue;
            }
            let calls = [" sql(", "(sql(", ".fetch("];
            if calls.iter().any(|call| code.contains(call)) || code.trim_start().starts_with("sql(")
            {
                found.insert((name.clone(), line), text.to_owned());
            }
        }
    }
}

#[tokio::test]
async fn every_statement_runs_on_both_databases() {
    let Some(server) = postgres() else { return };
    let bucket = service("WRIT_TEST_S3");
    everything(async || Place::new()).await;
    recording::a_statement_that_a_hostile_ledger_holds_twice(Place::new()).await;
    everything(async || Place::on(&server).await).await;
    if bucket.is_some() {
        a_bucket_notes_what_is_settled(Place::new()).await;
        a_bucket_notes_what_is_settled(Place::on(&server).await).await;
    }
    let mut sources = BTreeMap::new();
    in_sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    assert!(sources.len() > 50, "{}", sources.len());
    let seen = db::statements::seen();
    let mut missing = Vec::new();
    for ((file, line), text) in &sources {
        for database in ["sqlite", "postgres"] {
            let ran = seen
                .iter()
                .any(|(on, in_file, at)| *on == database && in_file == file && at == line);
            let only_files = [
                // Which file was in use before is asked of files only.
                "SELECT value FROM meta WHERE key = 'state'",
                // Only files are filled before they have the unique key of entries.
                "UPDATE meta SET value = $1 WHERE key = $2",
                // A backup's copy is a file, whatever it is a copy of.
                "sql(*insert).bind_all(values)",
            ];
            let needless = (database == "postgres"
                && only_files.iter().any(|only| text.contains(only)))
                // What was settled is noted where first locks are lengthened: in buckets.
                || (bucket.is_none() && file.ends_with("src/ops.rs") && text.contains(" meta "));
            if !ran && !needless {
                missing.push(format!("{database}: {file}:{line}"));
            }
        }
    }
    assert!(missing.is_empty(), "never ran:\n{}", missing.join("\n"));
}

/// A server of this test's own, that it may stop.
struct Server {
    bin: PathBuf,
    data: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let bin = match std::env::var_os("WRIT_TEST_POSTGRES_BIN") {
            Some(bin) => PathBuf::from(bin),
            None => std::fs::read_dir("/usr/lib/postgresql")
                .ok()?
                .flatten()
                .map(|version| version.path().join("bin"))
                .filter(|bin| bin.join("initdb").exists())
                .max()?,
        };
        let data = tempfile::tempdir().unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let server = Self { bin, data, port };
        if rustix::process::geteuid().is_root() {
            // PostgreSQL refuses to run as root.
            std::os::unix::fs::chown(server.data.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let place = server.place();
        server.run(
            "initdb",
            &[
                "-D",
                &place,
                "-U",
                "writ",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "-N",
                "--locale=C",
            ],
        );
        server.control("start");
        Some(server)
    }

    fn place(&self) -> String {
        self.data.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir("/");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        assert!(
            command.status().unwrap().success(),
            "{program} {arguments:?}"
        );
    }

    fn control(&self, what: &str) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off",
            self.port
        );
        let (place, log) = (self.place(), self.data.path().join("log"));
        let log = log.display().to_string();
        let mut arguments = vec!["-D", &place, "-w", "-t", "120", "-l", &log, "-o", &options];
        if what != "start" {
            // As a crash: transactions are cut off in the middle.
            arguments.extend(["-m", "immediate"]);
        }
        arguments.push(what);
        self.run("pg_ctl", &arguments);
    }

    fn address(&self) -> String {
        format!("postgres://writ@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control("stop");
    }
}

/// How long what should happen at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user without rights, on every Linux.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_costs_time_and_nothing_else() {
    if postgres().is_none() {
        return;
    }
    let Some(server) = Server::start() else {
        println!("skipped: there are no programs of a PostgreSQL server");
        return;
    };
    let server = Arc::new(server);
    let place = Place::on(&server.address()).await;
    let store = Arc::new(place.create().await);
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let (writing, ended, counted) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&count));
    let writer = tokio::spawn(async move {
        let mut recorded = Vec::new();
        let mut number = 0;
        while !ended.load(Ordering::SeqCst) {
            number += 1;
            let found = [finding(&format!("CVE-{number}"), Severity::High)];
            let record = scan_with("payments", START, &found, |p| {
                p["notes"] = serde_json::json!([format!("number {number}")]);
            });
            match writing.record(record).await {
                Ok(done) => {
                    recorded.push(done.id.to_string());
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                // It says that the database went away, and is in the ledger or is not.
                Err(RegistryError::Away { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        recorded
    });
    for _ in 0..3 {
        let before = count.load(Ordering::SeqCst);
        let end = Instant::now() + PATIENCE;
        while count.load(Ordering::SeqCst) < before + 5 {
            // A writer that ended has a reason, which is told below.
            if writer.is_finished() {
                break;
            }
            assert!(
                Instant::now() < end,
                "nothing was recorded for {PATIENCE:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let again = Arc::clone(&server);
        tokio::task::spawn_blocking(move || again.control("restart"))
            .await
            .unwrap();
        // Who only reads waits for the server too.
        store.runs(None, 1).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let recorded = writer.await.unwrap();
    assert!(recorded.len() >= 15, "{}", recorded.len());
    for id in &recorded {
        store.get(id).await.unwrap();
    }
    Arc::try_unwrap(store).unwrap().close().await.unwrap();
    let store = place.open().await;
    let stats = store.extent().await.unwrap();
    assert_eq!(stats.indexed, stats.entries);
    assert_eq!(store.problems(10).await.unwrap(), []);
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_schema_belongs_to_one_store() {
    let Some(place) = Place::on_postgres().await else {
        return;
    };
    place.create().await.close().await.unwrap();
    let other = place.beside();
    let error = Store::open(other.store(), other.options().create())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("name another schema"), "{error}");
    other.write_config("schema = 'other'\n");
    let store = Store::open(other.store(), other.options()).await.unwrap();
    store.record(scan("payments", START, &[])).await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.extent().await.unwrap().indexed, 0);
}

each_database!(who_has_the_old_index_open_goes_on_and_finds_the_new_one);

/// Two programs have the store open; one rebuilds while the other records and reads.
async fn who_has_the_old_index_open_goes_on_and_finds_the_new_one(place: Place) {
    let first = place.create().await;
    for service in ["payments", "billing"] {
        first.record(scan(service, START, &[])).await.unwrap();
    }
    let second = place.open().await;
    // Statements are prepared, files are open.
    assert_eq!(
        second
            .evidence(&Query::default())
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    place
        .execute("UPDATE evidence SET service = 'nothing' WHERE service = 'billing'")
        .await;
    let services = async |store: &Store| -> Vec<String> {
        let page = store.evidence(&Query::default()).await.unwrap();
        page.items.into_iter().map(|item| item.service).collect()
    };
    for round in 1..=3 {
        first.reindex(&mut |_, _| {}).await.unwrap();
        assert_eq!(services(&second).await.len(), 1 + round);
        let repaired = Query {
            service: Some("billing".to_owned()),
            ..Query::default()
        };
        assert_eq!(second.evidence(&repaired).await.unwrap().items.len(), 1);
        let name = format!("service-{round}");
        second.record(scan(&name, START, &[])).await.unwrap();
        assert_eq!(services(&second).await[0], name);
        assert_eq!(services(&first).await[0], name);
    }
    let dump = first.index_dump().await.unwrap();
    assert_eq!(second.index_dump().await.unwrap(), dump);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

each_database!(a_rebuild_says_whether_the_index_in_use_was_right);

async fn a_rebuild_says_whether_the_index_in_use_was_right(place: Place) {
    let store = place.create().await;
    for service in ["payments", "billing"] {
        store.record(scan(service, START, &[])).await.unwrap();
    }
    let rebuilt = store.rebuild(true, &mut |_, _| {}).await.unwrap();
    let (entries, resumed) = (rebuilt.entries, rebuilt.resumed);
    assert_eq!(
        (entries, resumed, rebuilt.compared),
        (2, 0, Some(Compared::Same))
    );
    place
        .execute("UPDATE evidence SET service = 'nothing' WHERE service = 'billing'")
        .await;
    let rebuilt = store.rebuild(true, &mut |_, _| {}).await.unwrap();
    let Some(Compared::Differs { line }) = rebuilt.compared else {
        panic!("{rebuilt:?}");
    };
    assert!(line.contains("nothing"), "{line}");
    // It is right now, and nobody asks.
    let rebuilt = store.rebuild(false, &mut |_, _| {}).await.unwrap();
    assert_eq!(rebuilt.compared, None);
    store.close().await.unwrap();

    // Without an index the rebuild is the first to make one.
    place.drop_index().await;
    let options = place.options().rebuilding();
    let store = Store::open(place.store(), options).await.unwrap();
    let mut told = Vec::new();
    let rebuilt = store
        .rebuild(true, &mut |done, total| told.push((done, total)))
        .await
        .unwrap();
    assert_eq!(rebuilt.compared, Some(Compared::Absent));
    assert_eq!(told, [(2, 2)]);
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.extent().await.unwrap().indexed, 2);
    store.close().await.unwrap();
}
