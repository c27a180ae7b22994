//! Which version of a key is the object.

use writ_model::Digest;

use super::super::{Head, LockMode, Retention, S3ErrorKind, Version};
use super::{S3Locker, key_of};
use crate::LockerError;
use crate::checking::hash;

/// A version whose bytes are the object's.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) version: Version,
    pub(super) head: Head,
}

/// All that lies under an object's key.
#[derive(Debug)]
pub(super) struct Survey {
    /// Every version and delete marker, as listed: newest first.
    pub(super) all: Vec<Version>,
    /// Those whose bytes are the object's.
    pub(super) good: Vec<Good>,
    /// Those with other bytes, with what they are.
    pub(super) wrong: Vec<(Version, Digest)>,
}

impl Survey {
    /// The good version with the longest lock.
    pub(super) fn best(&self) -> Option<&Good> {
        self.good.iter().max_by_key(|good| {
            (
                compliance(good.head.retention.as_ref()).map(|lock| lock.until.micros()),
                good.version.latest,
            )
        })
    }

    /// Whether a plain `get` finds the object.
    pub(super) fn is_found(&self) -> bool {
        self.good.iter().any(|good| good.version.latest)
    }
}

/// The lock, if it is one that nobody can take away.
pub(super) fn compliance(retention: Option<&Retention>) -> Option<Retention> {
    retention
        .copied()
        .filter(|retention| retention.mode == LockMode::Compliance)
}

/// How thoroughly versions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The server's own checksum counts, and a version that is alone is taken for the object: it is
    /// checked when it is read.
    Trusting,
    /// The server's own checksum counts; without one the bytes are read.
    Choosing,
    /// All bytes are read.
    Reading,
}

impl S3Locker {
    /// Looks at everything under an object's key.
    pub(super) fn survey(&self, digest: Digest, look: Look) -> Result<Survey, LockerError> {
        let key = key_of(digest);
        let mut all = Vec::new();
        for version in self.bucket.list_versions(&key) {
            let version = version?;
            // No key of ours is the beginning of another, but anybody's may be.
            if version.key == key {
                all.push(version);
            }
        }
        self.examine(digest, all, look)
    }

    /// Sorts the versions of an object's key into good and wrong ones.
    pub(super) fn examine(
        &self,
        digest: Digest,
        all: Vec<Version>,
        look: Look,
    ) -> Result<Survey, LockerError> {
        let alone = all.iter().filter(|version| !version.delete_marker).count() == 1;
        let mut survey = Survey {
            all,
            good: Vec::new(),
            wrong: Vec::new(),
        };
        for version in &survey.all {
            if version.delete_marker {
                continue;
            }
            let key = &version.key;
            let mut head = match self.bucket.head(key, Some(&version.version)) {
                Ok(head) => head,
                // It was deleted meanwhile.
                Err(error)
                    if matches!(
                        error.kind,
                        S3ErrorKind::NotFound | S3ErrorKind::NoSuchVersion
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if head.retention.is_none() {
                // Without the right to see locks the answer says nothing of them: then this fails.
                head.retention = self.bucket.get_retention(key, Some(&version.version))?;
            }
            let whole = head.checksum.filter(|sum| sum.parts.is_none());
            let actual = match (look, whole) {
                (Look::Trusting | Look::Choosing, Some(sum)) => Digest::from_bytes(sum.sha256),
                (Look::Trusting, None) if alone => digest,
                _ => {
                    let reader = self.bucket.reader(key, Some(&version.version))?;
                    let (actual, _) = hash(reader).map_err(|error| self.reading(digest, error))?;
                    actual
                }
            };
            if actual == digest {
                survey.good.push(Good {
                    version: version.clone(),
                    head,
                });
            } else {
                survey.wrong.push((version.clone(), actual));
            }
        }
        Ok(survey)
    }

    /// The object's best version.
    pub(super) fn find(&self, digest: Digest) -> Result<Survey, LockerError> {
        let survey = self.survey(digest, Look::Trusting)?;
        if survey.good.is_empty() {
            return Err(self.lost(digest, &survey));
        }
        Ok(survey)
    }

    /// Why there is no good version.
    pub(super) fn lost(&self, digest: Digest, survey: &Survey) -> LockerError {
        match survey.wrong.first() {
            Some((_, actual)) => LockerError::Corrupt {
                path: self.object_place(digest),
                expected: digest,
                actual: *actual,
            },
            None => LockerError::NotFound(digest),
        }
    }

    /// An error of reading, with the bucket's own error taken out again.
    pub(super) fn reading(&self, digest: Digest, error: std::io::Error) -> LockerError {
        match error.downcast::<super::super::S3Error>() {
            Ok(error) => error.into(),
            Err(source) => LockerError::Io {
                action: "read",
                path: self.object_place(digest),
                source,
            },
        }
    }
}
