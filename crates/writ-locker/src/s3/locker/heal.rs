//! Bringing an object back into sight.

use std::io::{Read as _, Write as _};

use writ_model::Digest;

use super::super::{PutOptions, S3ErrorKind};
use super::find::{Look, Survey, compliance};
use super::{S3Locker, key_of};
use crate::{Healed, LockerError};

/// Most delete markers that are taken away in one go.
const MAX_MARKERS: u32 = 1000;

impl S3Locker {
    /// Delete markers over the object are removed (they have no bytes); over other bytes the object
    /// is stored again, so that they stay for whoever looks into it.
    pub(super) fn heal(&self, digest: Digest) -> Result<Healed, LockerError> {
        self.writable()?;
        let mut survey = self.survey(digest, Look::Reading)?;
        if survey.good.is_empty() {
            return Err(self.lost(digest, &survey));
        }
        if survey.is_found() {
            return Ok(Healed::Nothing);
        }
        for _ in 0..MAX_MARKERS {
            let Some(marker) = survey.all.iter().find(|v| v.latest && v.delete_marker) else {
                break;
            };
            self.bucket.delete(&key_of(digest), Some(&marker.version))?;
            survey = self.survey(digest, Look::Choosing)?;
        }
        if survey.is_found() {
            return Ok(Healed::Uncovered);
        }
        match self.store_again(digest, &survey) {
            Ok(()) => Ok(Healed::StoredAgain),
            // Somebody else healed it, or hid it again.
            Err(LockerError::S3(error)) if error.kind == S3ErrorKind::Precondition => {
                if self.survey(digest, Look::Choosing)?.is_found() {
                    Ok(Healed::StoredAgain)
                } else {
                    Err(error.into())
                }
            }
            Err(error) => Err(error),
        }
    }

    fn store_again(&self, digest: Digest, survey: &Survey) -> Result<(), LockerError> {
        let Some(best) = survey.best() else {
            return Err(self.lost(digest, survey));
        };
        let hiding = survey.wrong.iter().find(|(version, _)| version.latest);
        let first = self.first_lock((self.now)());
        let lock = compliance(best.head.retention.as_ref()).map_or(first, |lock| lock.until);
        let options = PutOptions {
            if_match: hiding.and_then(|(version, _)| version.etag.clone()),
            if_none_match: hiding.is_none(),
            content_type: best.head.content_type.clone(),
            retain_until: Some(lock.max(first)),
            hold: survey.good.iter().any(|good| good.head.hold),
        };
        let failed = |source| LockerError::Io {
            action: "write a temporary file in",
            path: self.spool.clone(),
            source,
        };
        let mut file = tempfile::tempfile_in(&self.spool).map_err(failed)?;
        let mut reader = self
            .bucket
            .reader(&key_of(digest), Some(&best.version.version))?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = reader
                .read(&mut buffer)
                .map_err(|error| self.reading(digest, error))?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(failed)?;
        }
        // Sending checks the digest once more.
        self.send_file(digest, best.head.size, &file, &options)?;
        Ok(())
    }
}
