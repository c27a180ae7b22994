//! S3 with Object Lock.
//!
//! [`Bucket`] is a small client of one bucket: blocking, safe to share between threads, with
//! time-outs, retries and typed errors. It speaks the parts of S3 that a write-once store needs and
//! that general clients lack: COMPLIANCE locks, legal holds, versions, conditional writes.
//!
//! Every call blocks its thread until the answer is there; on an async runtime it belongs on a
//! blocking thread. It works on any thread, because requests run on a thread of the bucket's own.

mod config;
mod credentials;
mod driver;
mod error;
mod list;
mod lock;
mod locker;
mod multipart;
mod object;
mod probe;
mod time;
mod wire;
mod xml;

use std::fmt;
use std::sync::Arc;

pub use config::S3Config;
pub use credentials::Credentials;
use error::said;
pub use error::{Failure, S3Error, S3ErrorKind};
pub use list::{Entries, Entry, Version, Versions};
pub use lock::{LockConfiguration, LockMode, LockPeriod, Retention, Versioning};
pub use locker::S3Locker;
pub use object::{Body, Checksum, Head, ObjectReader, PutOptions, Written};
pub use probe::{PROBE_LOCK, ProbeCheck, ProbeReport, ProbeState, probe};

/// One bucket, or the part of it under a prefix. Cheap to clone.
///
/// Keys are relative to the configured prefix; they are paths of plain names (no empty part, `.`
/// or `..`).
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
}

struct Shared {
    wire: Arc<wire::Wire>,
    driver: driver::Driver,
    name: String,
    prefix: String,
    page: u16,
    part_bytes: u64,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.place("")).finish()
    }
}

impl Bucket {
    /// A client of the bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// The configuration cannot be right, there are no credentials where it says, or no thread can
    /// be started.
    pub fn open(config: &S3Config) -> Result<Self, S3Error> {
        config.check()?;
        let driver = driver::Driver::start()
            .map_err(|cause| S3Error::new(S3ErrorKind::Local, "open", "the bucket", cause))?;
        Ok(Self {
            shared: Arc::new(Shared {
                wire: Arc::new(wire::Wire::open(config)?),
                driver,
                name: config.bucket.clone(),
                prefix: config.checked_prefix()?,
                page: config.page,
                part_bytes: config.part_bytes,
            }),
        })
    }

    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What all keys begin with: nothing, or a path that ends in `/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// `s3://bucket/prefix/key`, for messages.
    #[must_use]
    pub fn place(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.shared.name, self.shared.prefix)
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.prefix)
    }

    fn request(&self, action: &'static str, method: reqwest::Method, key: &str) -> wire::Request {
        wire::Request::new(action, method, Some(self.full_key(key)))
    }

    fn call(&self, request: wire::Request) -> wire::Outcome<Result<wire::Response, S3Error>> {
        let (action, place) = (
            request.action,
            self.shared.wire.place(request.key.as_deref()),
        );
        let wire = Arc::clone(&self.shared.wire);
        self.shared
            .driver
            .run(wire.send(request))
            .unwrap_or_else(|| wire::Outcome {
                result: Err(S3Error::new(
                    S3ErrorKind::Local,
                    action,
                    place,
                    "the request ended without an answer",
                )),
                tried_before: true,
            })
    }

    fn send(&self, request: wire::Request) -> Result<wire::Response, S3Error> {
        self.call(request).result
    }

    /// An answer that is none of S3.
    fn odd(&self, action: &'static str, key: &str, cause: impl Into<String>) -> S3Error {
        S3Error::new(S3ErrorKind::Answer, action, self.place(key), cause)
    }
}
