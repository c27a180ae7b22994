//! Proof that a bucket locks: it tries to break the lock of a small object of its own.
//!
//! What a server says of itself proves nothing; some accept every header of Object Lock and let
//! locked objects be shortened and deleted all the same. So a tiny object is locked for a short time
//! and everything that would break the lock is tried *on that object only*. The bucket's own
//! settings are read, never changed: suspending its versions would do harm where it succeeded.

use reqwest::Method;
use writ_model::{Span, Timestamp};

use super::lock::with_checksum;
use super::{
    Bucket, LockMode, PutOptions, Retention, S3Config, S3Error, S3ErrorKind, Versioning, time, xml,
};

/// How long the object of a probe is locked.
pub const PROBE_LOCK: Span = Span::from_secs(120);

/// What all objects of probes begin with.
const PROBES: &str = "probe/";
const BODY: &[u8] = b"writ tries whether this object can be deleted before its time\n";
const OTHER: &[u8] = b"writ tries whether this hides the object\n";
/// Tries of one request: a probe is quick to say that it cannot tell.
const ATTEMPTS: u32 = 3;
/// Old objects of probes that one probe clears away.
const MAX_CLEARED: usize = 100;

/// What became of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeState {
    /// Tried, and it is as it must be.
    Proved,
    /// Tried, and it is not.
    Failed,
    /// It could not be tried, or the answer proves nothing.
    Unknown,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeCheck {
    /// Its name, the same for ever: `version-delete`, `shorten`, ….
    pub name: &'static str,
    /// What became of it.
    pub state: ProbeState,
    /// What was seen, in words.
    pub found: String,
    /// What to do about it, where something is to be done.
    pub remedy: Option<&'static str>,
}

/// All that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// `s3://bucket/prefix`.
    pub place: String,
    /// The checks, in the order in which they were made.
    pub checks: Vec<ProbeCheck>,
    /// The object that is left behind, and until when it is locked. The next probe clears it away.
    pub remains: Option<(String, Timestamp)>,
}

impl ProbeReport {
    /// Whether everything was tried and is as it must be.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.checks.is_empty()
            && self
                .checks
                .iter()
                .all(|check| check.state == ProbeState::Proved)
    }

    /// The names of the checks of one state.
    #[must_use]
    pub fn names(&self, state: ProbeState) -> Vec<&'static str> {
        self.checks
            .iter()
            .filter(|check| check.state == state)
            .map(|check| check.name)
            .collect()
    }
}

const NO_STORE: &str = "create a bucket with Object Lock; it cannot keep evidence as it is";
const PRETENDS: &str =
    "this server only pretends to lock: use one that refuses, and move the evidence there";
const RIGHTS: &str = "give these credentials the right to try it, and probe again";

/// Tries whether the bucket is a write-once store. What cannot be reached is in the report too.
#[must_use]
pub fn probe(config: &S3Config) -> ProbeReport {
    let config = S3Config {
        attempts: config.attempts.min(ATTEMPTS),
        ..config.clone()
    };
    match Bucket::open(&config) {
        Ok(bucket) => probe_bucket(&bucket),
        Err(error) => {
            let mut run = Run::new(format!("s3://{}", config.bucket));
            run.error("reachable", &error);
            run.report
        }
    }
}

fn probe_bucket(bucket: &Bucket) -> ProbeReport {
    let mut run = Run::new(bucket.place(""));
    if !run.settings(bucket) {
        return run.report;
    }
    clear(bucket);
    let mut random = [0_u8; 8];
    if let Err(error) = getrandom::fill(&mut random) {
        run.note("put", ProbeState::Unknown, error.to_string(), None);
        return run.report;
    }
    let key = format!("{PROBES}{}", hex::encode(random));
    run.object(bucket, &key);
    run.report
}

/// Clears away objects of earlier probes whose lock has ended; what is still locked stays.
fn clear(bucket: &Bucket) {
    for version in bucket.list_versions(PROBES).take(MAX_CLEARED) {
        let Ok(version) = version else { return };
        let ended = version.delete_marker
            || bucket
                .head(&version.key, Some(&version.version))
                .is_ok_and(|head| {
                    !head.hold && head.retention.is_none_or(|lock| lock.until < time::now())
                });
        if ended {
            let _ = bucket.delete(&version.key, Some(&version.version));
        }
    }
}

struct Run {
    report: ProbeReport,
}

impl Run {
    fn new(place: String) -> Self {
        Self {
            report: ProbeReport {
                place,
                checks: Vec::new(),
                remains: None,
            },
        }
    }

    fn note(
        &mut self,
        name: &'static str,
        state: ProbeState,
        found: impl Into<String>,
        remedy: Option<&'static str>,
    ) {
        self.report.checks.push(ProbeCheck {
            name,
            state,
            found: found.into(),
            remedy,
        });
    }

    fn error(&mut self, name: &'static str, error: &S3Error) {
        self.note(name, ProbeState::Unknown, error.to_string(), None);
    }

    /// A thing that must be so.
    fn must(
        &mut self,
        name: &'static str,
        seen: Result<bool, S3Error>,
        yes: &str,
        no: &str,
        remedy: &'static str,
    ) -> bool {
        match seen {
            Ok(true) => self.note(name, ProbeState::Proved, yes, None),
            Ok(false) => self.note(name, ProbeState::Failed, no, Some(remedy)),
            Err(error) => self.error(name, &error),
        }
        self.report
            .checks
            .last()
            .is_some_and(|check| check.state == ProbeState::Proved)
    }

    /// A thing that the server must refuse because of the lock.
    fn refused(&mut self, name: &'static str, what: &str, done: Result<(), S3Error>) {
        match done {
            Ok(()) => self.note(
                name,
                ProbeState::Failed,
                format!("the server let us {what}"),
                Some(PRETENDS),
            ),
            Err(error) => match error.kind {
                S3ErrorKind::Locked => {
                    self.note(name, ProbeState::Proved, "refused by the server", None);
                }
                // It may be the credentials that are too weak, not the lock that is strong.
                S3ErrorKind::Denied if error.cause.contains("not authorized") => self.note(
                    name,
                    ProbeState::Unknown,
                    "refused for want of rights, so the lock itself was not tried",
                    Some(RIGHTS),
                ),
                S3ErrorKind::Denied | S3ErrorKind::Invalid => {
                    self.note(name, ProbeState::Proved, "refused by the server", None);
                }
                _ => self.error(name, &error),
            },
        }
    }

    /// What the bucket says of itself. False: there is nothing to try.
    fn settings(&mut self, bucket: &Bucket) -> bool {
        let versioning = match bucket.get_bucket_versioning() {
            Ok(versioning) => versioning,
            Err(error) => {
                self.error("reachable", &error);
                return false;
            }
        };
        self.note("reachable", ProbeState::Proved, "it answers", None);
        let versions = self.must(
            "versioning",
            Ok(versioning == Versioning::Enabled),
            "old versions are kept",
            "old versions are not kept",
            NO_STORE,
        );
        let lock = self.must(
            "lock-configuration",
            bucket
                .get_object_lock_configuration()
                .map(|lock| lock.enabled),
            "Object Lock is on",
            "Object Lock is off",
            NO_STORE,
        );
        versions && lock
    }

    fn object(&mut self, bucket: &Bucket, key: &str) {
        let until = time::whole_seconds(time::now().plus(PROBE_LOCK));
        let options = PutOptions {
            if_none_match: true,
            content_type: Some("text/plain".to_owned()),
            retain_until: Some(until),
            ..PutOptions::default()
        };
        let version = match bucket.put(key, BODY, &options) {
            Ok(written) => written.version,
            Err(error) => {
                self.error("put", &error);
                return;
            }
        };
        self.report.remains = Some((bucket.place(key), until));
        let Some(version) = version else {
            self.note(
                "put",
                ProbeState::Failed,
                "a new object has no version",
                Some(NO_STORE),
            );
            return;
        };
        let version = Some(version.as_str());
        self.note("put", ProbeState::Proved, "an object was stored", None);
        self.must(
            "put-if-absent",
            match bucket.put(key, OTHER, &options) {
                Ok(_) => Ok(false),
                Err(error) if error.kind == S3ErrorKind::Precondition => Ok(true),
                Err(error) => Err(error),
            },
            "an object that is there is not written again",
            "an object that is there was written again",
            "use an S3 service with conditional writes (If-None-Match)",
        );
        let asked = Retention {
            mode: LockMode::Compliance,
            until,
        };
        self.must(
            "lock-is-set",
            bucket
                .get_retention(key, version)
                .map(|lock| lock == Some(asked)),
            "the object's lock is what was asked for",
            "the object's lock is not what was asked for",
            PRETENDS,
        );
        self.breaking(bucket, key, version, until);
        self.hiding(bucket, key, version);
        self.keeping(bucket, key, version, until);
    }

    /// Everything that would break the lock.
    fn breaking(&mut self, bucket: &Bucket, key: &str, version: Option<&str>, until: Timestamp) {
        let retention = |mode, seconds| Retention {
            mode,
            until: until.plus(Span::from_secs(seconds)),
        };
        let delete = || bucket.delete(key, version).map(drop);
        self.refused("version-delete", "delete a locked version", delete());
        self.refused(
            "bypass-delete",
            "delete a locked version by claiming a right to bypass",
            bucket.delete_with_bypass(key, version),
        );
        self.refused(
            "batch-delete",
            "delete a locked version in a batch",
            bucket.delete_in_batch(key, version),
        );
        let half = PROBE_LOCK.secs() / 2;
        self.refused(
            "shorten",
            "shorten a COMPLIANCE lock",
            bucket.put_retention(key, version, retention(LockMode::Compliance, -half)),
        );
        self.refused(
            "downgrade",
            "weaken a COMPLIANCE lock to GOVERNANCE",
            bucket.put_retention(key, version, retention(LockMode::Governance, 1)),
        );
        // After these a server that pretends may let go of it.
        self.refused(
            "delete-after",
            "delete the version after weakening its lock",
            bucket.delete_with_bypass(key, version),
        );
        let longer = retention(LockMode::Compliance, 1);
        let lengthened = bucket
            .put_retention(key, version, longer)
            .and_then(|()| bucket.get_retention(key, version));
        if lengthened.is_ok() {
            self.report.remains = Some((bucket.place(key), longer.until));
        }
        self.must(
            "lengthen",
            lengthened.map(|lock| lock == Some(longer)),
            "a lock can be lengthened",
            "a lock cannot be lengthened",
            "give these credentials the right to PutObjectRetention",
        );
    }

    /// What anybody may do who may write: it must hide the object only.
    fn hiding(&mut self, bucket: &Bucket, key: &str, version: Option<&str>) {
        let there = || match bucket.get(key, version, BODY.len() as u64) {
            Ok(body) => Ok(body.bytes == BODY),
            Err(error)
                if matches!(
                    error.kind,
                    S3ErrorKind::NotFound | S3ErrorKind::NoSuchVersion
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        };
        let marker = bucket.delete(key, None);
        self.must(
            "delete-hides-only",
            marker.clone().and_then(|_| there()),
            "a delete without a version only hides the object",
            "a delete without a version destroyed the object",
            PRETENDS,
        );
        if let Ok(Some(marker)) = marker {
            let _ = bucket.delete(key, Some(&marker));
        }
        let other = bucket.put(key, OTHER, &PutOptions::default());
        self.must(
            "overwrite-hides-only",
            other.clone().and_then(|_| there()),
            "an overwrite only hides the object",
            "an overwrite destroyed the object",
            PRETENDS,
        );
        if let Ok(written) = other
            && written.version.is_some()
        {
            // It has no lock of its own, unless the bucket's default gave it one.
            let _ = bucket.delete(key, written.version.as_deref());
        }
    }

    fn keeping(&mut self, bucket: &Bucket, key: &str, version: Option<&str>, until: Timestamp) {
        let held = bucket
            .put_legal_hold(key, version, true)
            .and_then(|()| bucket.get_legal_hold(key, version));
        let lifted = bucket
            .put_legal_hold(key, version, false)
            .and_then(|()| bucket.get_legal_hold(key, version));
        self.must(
            "legal-hold",
            held.and_then(|held| Ok(held && !lifted?)),
            "a legal hold can be set and lifted",
            "a legal hold cannot be set and lifted",
            "use an S3 service with legal holds, and give the right to PutObjectLegalHold",
        );
        let lock = bucket.get_retention(key, version);
        self.must(
            "still-locked",
            lock.map(|lock| {
                lock.is_some_and(|lock| lock.mode == LockMode::Compliance && lock.until >= until)
            }),
            "after all this the object is locked as before",
            "after all this the object is not locked as before",
            PRETENDS,
        );
    }
}

impl Bucket {
    fn delete_with_bypass(&self, key: &str, version: Option<&str>) -> Result<(), S3Error> {
        let request = self
            .request("delete", Method::DELETE, key)
            .version(version)
            .header("x-amz-bypass-governance-retention", "true");
        self.send(request).map(drop)
    }

    fn delete_in_batch(&self, key: &str, version: Option<&str>) -> Result<(), S3Error> {
        const ACTION: &str = "delete in a batch";
        let version = version.map_or_else(String::new, |version| {
            format!("<VersionId>{}</VersionId>", xml::escape(version))
        });
        let body = format!(
            "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>{}</Key>{version}</Object></Delete>",
            xml::escape(&self.full_key(key))
        );
        let request = super::wire::Request::new(ACTION, Method::POST, None).query("delete", "");
        let response = self.send(with_checksum(request, body))?;
        let root = self.document(ACTION, key, &response.body)?;
        match root.child("Error") {
            None => Ok(()),
            Some(error) => {
                let said = error.text_of("Message").unwrap_or("refused");
                let kind = match error.text_of("Code") {
                    Some("AccessDenied" | "ObjectLocked" | "InvalidRequest") => S3ErrorKind::Denied,
                    _ => S3ErrorKind::Answer,
                };
                Err(S3Error::new(
                    kind,
                    ACTION,
                    self.place(key),
                    super::said(said),
                ))
            }
        }
    }
}
