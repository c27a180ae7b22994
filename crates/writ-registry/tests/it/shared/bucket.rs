//! Tiles in a bucket of a real S3 server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use writ_ledger::merkle::Hash;
use writ_ledger::tile::{TilePath, encode_tile};
use writ_ledger::{LedgerError, LogStore as _, SystemClock};
use writ_locker::s3::{Bucket, Credentials, LockMode, S3Config};
use writ_model::Span;
use writ_registry::log::shared::{BucketTiles, Tiles};

use super::{Place, entries, names, options, verify, writer};

/// The S3 server that the environment names.
pub fn server() -> Option<String> {
    super::service("WRIT_TEST_S3")
}

/// A bucket of its own, with Object Lock or without versions.
///
/// The server of the tests tries a condition and writes under one lock per object in a bucket
/// without versions, but under one per version with them: there two that write at once may both
/// succeed, which Amazon's never lets happen. Tests in which several write at once go without.
pub fn make(locked: bool) -> Option<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = server()?;
    let host = server.strip_prefix("http://").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let name = format!(
        "tiles-{}-{}-{}",
        std::process::id(),
        now.unwrap().as_millis(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let request = format!(
        "PUT /{name} HTTP/1.1\r\nHost: {host}\r\nx-amz-bucket-object-lock-enabled: {locked}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    Some(name)
}

fn open(bucket: &str, prefix: &str) -> Bucket {
    let config = S3Config {
        prefix: prefix.to_owned(),
        endpoint: server(),
        credentials: Credentials::Static {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        },
        pause: Duration::from_millis(10),
        ..S3Config::new(bucket)
    };
    Bucket::open(&config).unwrap()
}

pub fn tiles(bucket: &str, prefix: &str, retention: Option<Span>) -> Arc<dyn Tiles> {
    let bucket = open(bucket, prefix);
    Arc::new(BucketTiles::new(bucket, retention, Arc::new(SystemClock)))
}

/// Waiting for S3 blocks a thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_tiles_in_a_bucket_verifies_and_its_full_tiles_are_locked() {
    let Some(place) = Place::new() else { return };
    let Some(bucket) = make(true) else { return };
    let year = Some(Span::from_secs(365 * 86_400));
    let log = Arc::new(place.log_on(tiles(&bucket, "log", year), options()));
    let writer = writer(&log).await;
    for round in 0..3 {
        let more = entries((0..200).map(|n| format!("{round}-{n}")));
        writer.append(more).await.unwrap();
        writer.integrate().await.unwrap();
    }
    assert_eq!(names(&log).await.len(), 600);
    let report = verify(&log, Vec::new()).await.unwrap();
    assert_eq!(report.checkpoint.size, 600);
    blocking(move || {
        let bucket = open(&bucket, "log");
        let head = |key: &str| bucket.head(key, None).unwrap();
        for key in [
            "tile/0/000",
            "tile/0/001",
            "tile/entries/000",
            "tile/entries/001",
        ] {
            let lock = head(key).retention.unwrap();
            assert_eq!(lock.mode, LockMode::Compliance);
            assert!(
                bucket
                    .delete(key, Some(&head(key).version.unwrap()))
                    .is_err()
            );
        }
        // What is replaced by and by is not; and the partial versions of full tiles are gone.
        for key in ["tile/0/002.p/88", "tile/entries/002.p/88", "checkpoint"] {
            assert_eq!(head(key).retention, None, "{key}");
        }
        let keys: Vec<String> = bucket.list("", None).map(|e| e.unwrap().key).collect();
        assert!(
            !keys.iter().any(|key| key.starts_with("tile/0/000.p/")),
            "{keys:?}"
        );
        // Somebody deletes a full tile: a marker lies over it, and it is found beneath.
        bucket.delete("tile/entries/000", None).unwrap();
        let tile = TilePath::entries(0, 256);
        let again = BucketTiles::new(bucket.clone(), None, Arc::new(SystemClock));
        assert!(again.get(&tile).unwrap().is_some());
        // Something that is none of the log's is named.
        bucket
            .put("tile/0/other", "x", &Default::default())
            .unwrap();
        let listed = again.list();
        assert!(
            matches!(&listed, Err(LedgerError::Damaged(d)) if d.file.ends_with("tile/0/other")),
            "{listed:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_bucket_is_replaced() {
    let Some(bucket) = make(false) else { return };
    blocking(move || {
        let store = tiles(&bucket, "", None);
        store.check().unwrap();
        let name = TilePath::hashes(0, 7, 256);
        let (one, two) = (
            encode_tile(&[Hash([1; 32]); 256]),
            encode_tile(&[Hash([2; 32]); 256]),
        );
        store.put(&[(name, one.clone())]).unwrap();
        store.put(&[(name, one.clone())]).unwrap();
        let refused = store.put(&[(name, two)]);
        assert!(
            matches!(refused, Err(LedgerError::Damaged(_))),
            "{refused:?}"
        );
        assert_eq!(store.get(&name).unwrap(), Some(one));

        store.put_checkpoint(None, b"1").unwrap();
        for wrong in [None, Some(&b"0"[..])] {
            let refused = store.put_checkpoint(wrong, b"2");
            assert!(matches!(
                refused,
                Err(LedgerError::CheckpointConflict { .. })
            ));
        }
        store.put_checkpoint(Some(b"1"), b"2").unwrap();
        assert_eq!(store.checkpoint().unwrap().unwrap(), b"2");
        // At once: nobody's replacement is lost. Each writes something of its own.
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    let mut done = 0;
                    while done < 5 {
                        let old = store.checkpoint().unwrap().unwrap();
                        let text = std::str::from_utf8(&old).unwrap();
                        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
                        let new = format!("{} {writer}", number + 1);
                        match store.put_checkpoint(Some(&old), new.as_bytes()) {
                            Ok(()) => done += 1,
                            Err(LedgerError::CheckpointConflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        let last = store.checkpoint().unwrap().unwrap();
        assert!(
            last.starts_with(b"22 "),
            "{}",
            String::from_utf8_lossy(&last)
        );
        assert_eq!(store.list().unwrap().len(), 1);
    })
    .await;
}
