//! What holds when nothing fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use writ_ledger::{LedgerError, SystemClock};
use writ_registry::RegistryError;
use writ_registry::log::shared::{SharedError, SharedOptions};
use writ_registry::log::{Log as _, Placed};

use super::{
    Hands, ORIGIN, Place, entries, entry, keys, names, options, verify, with_view, writer,
    writer_at,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_appends_another_reads_and_proves() {
    let Some(place) = Place::new() else { return };
    let (one, two) = (Arc::new(place.log()), Arc::new(place.log()));
    assert!(!one.exists().await.unwrap());
    let (first, second) = (writer(&one).await, writer(&two).await);
    assert!(two.exists().await.unwrap());
    let placed = first
        .append(entries((0..300).map(|n| format!("a{n}"))))
        .await
        .unwrap();
    assert_eq!(placed[299].index, 299);
    // Pending entries are there for everybody, without a signed head.
    let view = two.view().await.unwrap();
    assert_eq!((view.size(), view.checkpoint().unverified().size), (300, 0));
    second
        .append(entries((0..300).map(|n| format!("b{n}"))))
        .await
        .unwrap();
    let pending = names(&one).await;
    first.integrate().await.unwrap();
    assert_eq!(names(&two).await, pending);
    assert_eq!(pending[300], "b0");
    // A head by the other continues it.
    let held = one.view().await.unwrap().checkpoint();
    assert_eq!(held.unverified().size, 600);
    second
        .append(entries((0..50).map(|n| format!("c{n}"))))
        .await
        .unwrap();
    second.integrate().await.unwrap();
    with_view(&one, move |view| {
        let head = view.checkpoint();
        assert_eq!(head.unverified().size, 650);
        for index in [0, 255, 256, 599, 649] {
            let proof = view.receipt(index).unwrap();
            let entry = view.read(index).unwrap();
            proof.verify(entry.as_bytes(), ORIGIN, &keys()).unwrap();
        }
        assert_eq!(view.root_at(650).unwrap(), head.unverified().root);
        assert_eq!(view.root_at(600).unwrap(), held.unverified().root);
    })
    .await;
    // Nothing is pending any more, and the files are those of one log.
    first.append(vec![entry("d")]).await.unwrap();
    let report = verify(&one, Vec::new()).await.unwrap();
    assert_eq!((report.checkpoint.size, report.size), (650, 651));
    with_view(&one, |view| {
        let root = view.root_at(651).unwrap();
        assert_ne!(root, view.checkpoint().unverified().root);
        assert!(matches!(
            view.receipt(650),
            Err(LedgerError::OutOfRange { .. })
        ));
        assert!(matches!(
            view.read(651),
            Err(LedgerError::OutOfRange { .. })
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_shows_its_moment_also_when_its_entries_have_moved() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let writer = writer(&log).await;
    let append = |from: u32, to: u32| entries((from..to).map(|n| n.to_string()));
    writer.append(append(0, 700)).await.unwrap();
    let view = log.view().await.unwrap();
    writer.integrate().await.unwrap();
    writer.append(append(700, 900)).await.unwrap();
    writer.integrate().await.unwrap();
    tokio::task::spawn_blocking(move || {
        assert_eq!(view.size(), 700);
        let mut seen = 0;
        view.scan(0, &mut |index, entry| {
            assert_eq!(super::name_in(entry.envelope), index.to_string());
            seen += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, 700);
        assert_eq!(super::name_in(view.read(699).unwrap().envelope()), "699");
        assert!(view.read(700).is_err());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_race_with_the_same_statements_make_one_entry_of_each() {
    let Some(place) = Place::new() else { return };
    let mut tasks = Vec::new();
    for process in 0..4_usize {
        let log = place.log();
        tasks.push(tokio::spawn(async move {
            let writer = writer(&log).await;
            let mut placed: Vec<(String, Placed)> = Vec::new();
            for round in 0..20 {
                // Each in its own order, some twice in one call.
                let mut wanted: Vec<String> = (0..10)
                    .map(|n| format!("{}", (n * (process + 3) + round * 5) % 120))
                    .collect();
                wanted.push(wanted[0].clone());
                let answers = writer.append(entries(wanted.clone())).await.unwrap();
                assert!(answers[10].already_there);
                assert_eq!(answers[10].index, answers[0].index);
                placed.extend(wanted.into_iter().zip(answers));
            }
            placed
        }));
    }
    let mut places: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut fresh = 0;
    for task in tasks {
        for (name, placed) in task.await.unwrap() {
            fresh += usize::from(!placed.already_there);
            places.entry(name).or_default().insert(placed.index);
        }
    }
    let log = Arc::new(place.log());
    let names = names(&log).await;
    // One was the first with each, all were told the same place, and it is there.
    assert_eq!(fresh, places.len());
    assert_eq!(names.len(), places.len());
    for (name, indices) in &places {
        assert_eq!(indices.len(), 1, "{name} is at {indices:?}");
        assert_eq!(&names[*indices.first().unwrap() as usize], name);
    }
    writer(&log).await.integrate().await.unwrap();
    verify(&log, Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_one_process_share_commits() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let writer = writer(&log).await;
    let mut calls = Vec::new();
    for call in 0..200 {
        let writer = Arc::clone(&writer);
        calls.push(tokio::spawn(async move {
            writer
                .append(entries((0..3).map(|n| format!("{call}-{n}"))))
                .await
                .unwrap()
        }));
    }
    let mut all = BTreeSet::new();
    for call in calls {
        let placed = call.await.unwrap();
        // A call's entries stand together.
        assert_eq!(placed[2].index, placed[0].index + 2);
        all.extend(placed.iter().map(|placed| placed.index));
    }
    assert_eq!(all, (0..600).collect());
    let pool = place.pool().await;
    let calls: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT count(DISTINCT call) FROM {}.keys",
        place.schema
    )))
    .fetch_one(&pool)
    .await
    .unwrap();
    assert!(calls < 100, "{calls} commits for 200 calls at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_at_never_goes_back_and_a_clock_far_ahead_is_refused() {
    let Some(place) = Place::new() else { return };
    let clock = Hands::at(1_700_000_000_000_000);
    let log = place.log();
    let writer = writer_at(&log, clock.clone()).await.unwrap();
    let one = writer.append(vec![entry("1")]).await.unwrap()[0];
    clock.set(1_600_000_000_000_000);
    let two = writer.append(vec![entry("2")]).await.unwrap()[0];
    assert_eq!(two.recorded_at, one.recorded_at);
    clock.set(4_000_000_000_000_000);
    let refused = writer.append(vec![entry("3")]).await;
    assert!(
        matches!(
            refused,
            Err(RegistryError::Shared(SharedError::ClockAhead { .. }))
        ),
        "{refused:?}"
    );
    clock.set(-1);
    let refused = writer.append(vec![entry("3")]).await;
    assert!(matches!(
        refused,
        Err(RegistryError::Ledger(LedgerError::Clock { .. }))
    ));
    clock.set(1_700_000_000_000_001);
    let three = writer.append(vec![entry("3")]).await.unwrap()[0];
    assert_eq!((three.index, three.recorded_at), (2, 1_700_000_000_000_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_envelope_refuses_its_call_and_no_other() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let writer = writer(&log).await;
    let mut bad = entries(["x".to_owned(), "y".to_owned()]);
    bad[1].envelope = b"{} ".to_vec();
    let (refused, accepted) = tokio::join!(writer.append(bad), writer.append(vec![entry("z")]));
    assert!(
        matches!(
            refused,
            Err(RegistryError::Ledger(LedgerError::Refused {
                position: 1,
                ..
            }))
        ),
        "{refused:?}"
    );
    assert_eq!(accepted.unwrap()[0].index, 0);
    assert_eq!(names(&log).await, ["z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_make_a_log_at_once_make_one() {
    let Some(place) = Place::new() else { return };
    let mut tasks = Vec::new();
    for process in 0..6 {
        let log = place.log();
        tasks.push(tokio::spawn(async move {
            let writer = writer(&log).await;
            writer
                .append(vec![entry(&process.to_string())])
                .await
                .unwrap()[0]
                .index
        }));
    }
    let mut indices = BTreeSet::new();
    for task in tasks {
        indices.insert(task.await.unwrap());
    }
    assert_eq!(indices, (0..6).collect());
    // Under another name it is refused, with the name that it has.
    let log = place.log();
    let signer = writ_ledger::NoteSigner::from_seed(
        "ledger.example/other",
        writ_ledger::KeyKind::Ed25519,
        &[1; 32],
    )
    .unwrap();
    let refused = log
        .writer(
            "ledger.example/other",
            signer.into(),
            Arc::new(SystemClock),
            std::time::Duration::ZERO,
        )
        .await;
    assert!(
        matches!(&refused, Err(RegistryError::Ledger(LedgerError::Origin { found, .. })) if found == ORIGIN)
    );
    // And under another key its checkpoint is not continued.
    let signer =
        writ_ledger::NoteSigner::from_seed(ORIGIN, writ_ledger::KeyKind::Ed25519, &[1; 32])
            .unwrap();
    let stranger = log
        .writer(
            ORIGIN,
            signer.into(),
            Arc::new(SystemClock),
            std::time::Duration::ZERO,
        )
        .await
        .unwrap();
    let refused = stranger.integrate().await;
    assert!(matches!(
        refused,
        Err(RegistryError::Ledger(LedgerError::Note { .. }))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_fsync_is_refused_unless_the_configuration_accepts_it() {
    let Some(place) = Place::new() else { return };
    let pool = place.pool().await;
    let fsync: String = sqlx::query_scalar("SHOW fsync")
        .fetch_one(&pool)
        .await
        .unwrap();
    let log = place.log_with(SharedOptions {
        unsafe_postgres: false,
        ..options()
    });
    let opened = writer_at(&log, Arc::new(SystemClock)).await;
    match fsync.as_str() {
        "off" => assert!(
            matches!(&opened, Err(RegistryError::Shared(SharedError::Unsafe { setting, .. })) if setting == "fsync = off")
        ),
        _ => assert!(opened.is_ok()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_wait_are_integrated_in_the_background_or_when_they_become_many() {
    let Some(place) = Place::new() else { return };
    let log = place.log_with(SharedOptions {
        max_pending: 100,
        ..options()
    });
    let writer = writer(&log).await;
    for round in 0..5 {
        writer
            .append(entries((0..60).map(|n| format!("{round}-{n}"))))
            .await
            .unwrap();
    }
    let signed = log.view().await.unwrap().checkpoint().unverified().size;
    assert!(signed >= 120, "{signed}");

    let log = place.log_with(SharedOptions {
        interval: std::time::Duration::from_millis(1),
        ..options()
    });
    let writer = super::writer(&log).await;
    writer.append(vec![entry("last")]).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while log.view().await.unwrap().checkpoint().unverified().size < 301 {
        assert!(std::time::Instant::now() < deadline, "nobody integrates");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_a_schema_are_refused() {
    let Some(place) = Place::new() else { return };
    for name in [
        "",
        "Ledger",
        "1x",
        "a b",
        "a;drop",
        "pg_x",
        "a\"b",
        &"x".repeat(64),
    ] {
        let log = writ_registry::log::shared::SharedLog::new(
            place.server.clone(),
            name,
            super::directory(&place.tiles()),
            options(),
        );
        assert!(
            matches!(log, Err(RegistryError::Shared(SharedError::Foreign { .. }))),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_needs_no_right_to_change_a_table() {
    let Some(place) = Place::new() else { return };
    let owner = place.log();
    writer(&owner).await.append(vec![entry("a")]).await.unwrap();
    let role = format!("writer_{}", place.schema);
    let reader = format!("reader_{}", place.schema);
    place
        .meddle(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'x'; CREATE ROLE {reader} LOGIN PASSWORD 'x';
             GRANT USAGE ON SCHEMA {{s}} TO {role}, {reader};
             GRANT SELECT ON ALL TABLES IN SCHEMA {{s}} TO {role}, {reader};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {{s}} TO {role};"
        ))
        .await;
    let as_role = |role: &str| {
        let server = place.server.clone().username(role).password("x");
        let tiles = super::directory(&place.tiles());
        writ_registry::log::shared::SharedLog::new(server, &place.schema, tiles, options()).unwrap()
    };
    let log = Arc::new(as_role(&role));
    let limited = writer(&log).await;
    limited.append(vec![entry("b")]).await.unwrap();
    limited.integrate().await.unwrap();
    verify(&log, Vec::new()).await.unwrap();
    // It cannot take back what is recorded.
    let pool = sqlx::PgPool::connect_with(place.server.clone().username(&role).password("x"))
        .await
        .unwrap();
    for statement in [
        "DELETE FROM {s}.keys",
        "UPDATE {s}.head SET size = 0",
        "UPDATE {s}.tree SET integrated_size = 0",
        "INSERT INTO {s}.pending VALUES (7, 7, '')",
        "TRUNCATE {s}.pending",
    ] {
        let statement = statement.replace("{s}", &place.schema);
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&pool)
            .await;
        assert!(refused.is_err(), "{statement}");
    }
    pool.close().await;

    let log = Arc::new(as_role(&reader));
    assert_eq!(names(&log).await, ["a", "b"]);
    verify(&log, Vec::new()).await.unwrap();
    let refused = writer(&log).await.append(vec![entry("c")]).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("docs/scale-out.md"), "{told}");
    drop((log, limited, owner));
    place
        .meddle(&format!(
            "DROP OWNED BY {role}, {reader}; DROP ROLE {role}, {reader};"
        ))
        .await;
}
