//! A database or tiles that were exchanged, lost or restored from an older copy: everything stops
//! before anything is signed that contradicts what was.

use std::path::Path;
use std::sync::Arc;

use writ_ledger::{LedgerError, SystemClock};
use writ_registry::RegistryError;
use writ_registry::log::Log as _;
use writ_registry::log::shared::SharedError;

use super::{Place, entries, entry, names, verify, writer, writer_at};

const BACKUP: &str = "DROP SCHEMA IF EXISTS {s}_backup CASCADE; CREATE SCHEMA {s}_backup;
    CREATE TABLE {s}_backup.head AS TABLE {s}.head; CREATE TABLE {s}_backup.tree AS TABLE {s}.tree;
    CREATE TABLE {s}_backup.pending AS TABLE {s}.pending; CREATE TABLE {s}_backup.keys AS TABLE {s}.keys;";

const RESTORE: &str = "TRUNCATE {s}.head, {s}.tree, {s}.pending, {s}.keys;
    INSERT INTO {s}.head TABLE {s}_backup.head; INSERT INTO {s}.tree TABLE {s}_backup.tree;
    INSERT INTO {s}.pending TABLE {s}_backup.pending; INSERT INTO {s}.keys TABLE {s}_backup.keys;";

fn is_parted<T>(result: &writ_registry::Result<T>, words: &str) -> bool {
    matches!(result, Err(RegistryError::Shared(SharedError::Parted { problem, .. })) if problem.contains(words))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        match file.path().is_dir() {
            true => copy(&file.path(), &target),
            false => {
                std::fs::copy(file.path(), target).unwrap();
            }
        }
    }
}

fn batch(name: &str, count: u32) -> Vec<writ_registry::log::NewEntry> {
    entries((0..count).map(|n| format!("{name}{n}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_from_an_older_backup_stops_everybody() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let running = writer(&log).await;
    running.append(batch("a", 100)).await.unwrap();
    running.integrate().await.unwrap();
    place.meddle(BACKUP).await;
    running.append(batch("b", 100)).await.unwrap();
    running.integrate().await.unwrap();
    place.meddle(RESTORE).await;

    // Who has seen more refuses without looking at anything else.
    let refused = running.append(vec![entry("x")]).await;
    assert!(is_parted(&refused, "older backup"), "{refused:?}");
    let refused = running.integrate().await;
    assert!(is_parted(&refused, "older backup"), "{refused:?}");
    // Who comes new sees it by the published checkpoint, before it writes a row.
    let fresh = Arc::new(place.log());
    let opened = writer_at(&fresh, Arc::new(SystemClock)).await.map(|_| ());
    assert!(is_parted(&opened, "covers 200 entries"), "{opened:?}");
    let viewed = fresh.view().await.map(|_| ());
    assert!(is_parted(&viewed, "covers 200 entries"), "{viewed:?}");
    let verified = verify(&fresh, Vec::new()).await;
    assert!(
        matches!(&verified, Err(LedgerError::Damaged(d)) if d.problem.contains("older backup")),
        "{verified:?}"
    );
    // Nothing was changed by all that: restored to the newer moment, all is well.
    let pool = place.pool().await;
    let statement = format!("SELECT count(*) FROM {}.keys", place.schema);
    let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_saw_little_looks_again_when_it_was_cut_off() {
    let Some(place) = Place::new() else { return };
    let (log, other) = (place.log(), place.log());
    let running = writer(&log).await;
    running.append(batch("a", 10)).await.unwrap();
    let ahead = writer(&other).await;
    ahead.append(batch("b", 10)).await.unwrap();
    place.meddle(BACKUP).await;
    ahead.append(batch("c", 10)).await.unwrap();
    ahead.integrate().await.unwrap();
    // A restore cuts all connections. This process saw 10 entries, and 20 are there.
    place
        .meddle(&format!(
            "{RESTORE} SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'writ ledger'
             AND query LIKE '%{}%' AND pid <> pg_backend_pid()",
            place.schema
        ))
        .await;
    let refused = running.append(vec![entry("x")]).await;
    assert!(is_parted(&refused, "covers 30 entries"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_restored_from_an_older_copy_stop_everybody() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let running = writer(&log).await;
    running.append(batch("a", 300)).await.unwrap();
    running.integrate().await.unwrap();
    let older = place.dir.path().join("older");
    copy(&place.tiles(), &older);
    running.append(batch("b", 300)).await.unwrap();
    running.integrate().await.unwrap();
    let newer = place.dir.path().join("newer");
    std::fs::rename(place.tiles(), &newer).unwrap();
    std::fs::rename(&older, place.tiles()).unwrap();

    let fresh = Arc::new(place.log());
    let opened = writer_at(&fresh, Arc::new(SystemClock)).await.map(|_| ());
    assert!(is_parted(&opened, "tiles were restored"), "{opened:?}");
    let verified = verify(&fresh, Vec::new()).await;
    assert!(verified.is_err());
    // A process that runs may record, as without any tiles, but finds it before it writes a tile.
    let recorded = running.append(vec![entry("x")]).await;
    let refused = running.integrate().await;
    assert!(
        is_parted(&refused, "tiles were restored"),
        "{refused:?} after {recorded:?}"
    );
    // With the tiles back, it goes on as if nothing had been.
    std::fs::remove_dir_all(place.tiles()).unwrap();
    std::fs::rename(&newer, place.tiles()).unwrap();
    running.append(vec![entry("x")]).await.unwrap();
    running.integrate().await.unwrap();
    let report = verify(&fresh, Vec::new()).await.unwrap();
    assert_eq!(report.checkpoint.size, 601);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_checkpoint_and_a_lost_database_are_not_taken_for_a_new_log() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let running = writer(&log).await;
    running.append(batch("a", 20)).await.unwrap();
    running.integrate().await.unwrap();
    let checkpoint = place.tiles().join("checkpoint");
    let note = std::fs::read(&checkpoint).unwrap();
    std::fs::remove_file(&checkpoint).unwrap();
    let fresh = place.log();
    let opened = writer_at(&fresh, Arc::new(SystemClock)).await.map(|_| ());
    assert!(is_parted(&opened, "is gone"), "{opened:?}");
    std::fs::write(&checkpoint, note).unwrap();
    writer(&place.log()).await;

    place.meddle("DROP SCHEMA {s} CASCADE").await;
    let fresh = place.log();
    let opened = writer_at(&fresh, Arc::new(SystemClock)).await.map(|_| ());
    assert!(is_parted(&opened, "has no log"), "{opened:?}");
    let refused = running.append(vec![entry("x")]).await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_is_completed_by_the_next() {
    let Some(place) = Place::new() else { return };
    // The checkpoint is there, the rows are not.
    let log = place.log();
    writer(&log).await;
    place.meddle("DROP SCHEMA {s} CASCADE").await;
    let log = Arc::new(place.log());
    assert!(!log.exists().await.unwrap());
    writer(&log).await.append(batch("a", 5)).await.unwrap();
    verify(&log, Vec::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_with_other_bytes_is_never_built_upon() {
    let Some(place) = Place::new() else { return };
    let log = place.log();
    let running = writer(&log).await;
    running.append(batch("a", 300)).await.unwrap();
    let bundle = place.tiles().join("tile/entries");
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::write(bundle.join("000"), b"something else").unwrap();
    let refused = running.integrate().await;
    assert!(
        matches!(&refused, Err(RegistryError::Ledger(LedgerError::Damaged(d))) if d.file.ends_with("tile/entries/000")),
        "{refused:?}"
    );
    assert_eq!(log.view().await.unwrap().checkpoint().unverified().size, 0);
    std::fs::remove_file(bundle.join("000")).unwrap();
    running.integrate().await.unwrap();
    assert_eq!(names(&log).await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_changed_are_found() {
    let Some(place) = Place::new() else { return };
    let log = Arc::new(place.log());
    let running = writer(&log).await;
    running.append(batch("a", 300)).await.unwrap();
    running.integrate().await.unwrap();
    running.append(batch("b", 10)).await.unwrap();
    place
        .meddle("DELETE FROM {s}.pending WHERE idx = 304")
        .await;
    assert!(verify(&log, Vec::new()).await.is_err());
    let refused = running.integrate().await;
    assert!(is_parted(&refused, "entry 304"), "{refused:?}");
    place
        .meddle("UPDATE {s}.tree SET integrated_root = decode(repeat('00', 32), 'hex')")
        .await;
    let fresh = Arc::new(place.log());
    let opened = writer_at(&fresh, Arc::new(SystemClock)).await.map(|_| ());
    assert!(is_parted(&opened, "exchanged"), "{opened:?}");
    assert!(verify(&fresh, Vec::new()).await.is_err());
}
