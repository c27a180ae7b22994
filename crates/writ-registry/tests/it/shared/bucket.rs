//! Tiles in a bucket of a real S3 server.

use std::sync::Arc;

use writ_ledger::SystemClock;
use writ_locker::s3::{Bucket, Credentials, S3Config};
use writ_model::Span;
use writ_registry::log::shared::{BucketTiles, Tiles};

/// The configuration of a bucket on the server of the tests.
fn config(bucket: &str, prefix: &str) -> S3Config {
    S3Config {
        prefix: prefix.to_owned(),
        endpoint: Some(std::env::var("WRIT_TEST_S3").unwrap()),
        credentials: Credentials::Static {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        },
        ..S3Config::new(bucket)
    }
}

pub fn tiles(bucket: &str, prefix: &str, retention: Option<Span>) -> Arc<dyn Tiles> {
    let bucket = Bucket::open(&config(bucket, prefix)).unwrap();
    Arc::new(BucketTiles::new(bucket, retention, Arc::new(SystemClock)))
}
