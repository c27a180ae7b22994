//! Reading, never without checking.

use std::io::{Cursor, Read};

use writ_model::Digest;

use super::super::S3ErrorKind;
use super::find::{Look, Survey};
use super::{S3Locker, key_of};
use crate::LockerError;
use crate::checking::Checking;

/// Objects up to this size are fetched whole and checked before their first byte is handed out.
const SMALL_BYTES: u64 = 1 << 20;

impl S3Locker {
    pub(super) fn reader(&self, digest: Digest) -> Result<Box<dyn Read + Send>, LockerError> {
        match self.newest(digest, SMALL_BYTES)? {
            Newest::Good(bytes) => return Ok(Box::new(Cursor::new(bytes))),
            Newest::Large | Newest::Other => {}
        }
        let survey = self.choose(digest)?;
        let Some(good) = survey.best() else {
            return Err(self.lost(digest, &survey));
        };
        let reader = self
            .bucket
            .reader(&key_of(digest), Some(&good.version.version))?;
        if good.head.size > SMALL_BYTES {
            let place = self.object_place(digest);
            return Ok(Box::new(Checking::new(
                reader,
                good.head.size,
                place,
                digest,
            )));
        }
        self.small(digest, &survey)
            .map(|bytes| Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>)
    }

    pub(super) fn bytes(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, LockerError> {
        if let Newest::Good(bytes) = self.newest(digest, limit)? {
            return Ok(bytes);
        }
        let survey = self.choose(digest)?;
        match survey.best() {
            Some(good) if good.head.size > limit => Err(LockerError::TooLarge {
                digest,
                size: good.head.size,
                limit,
            }),
            Some(_) => self.small(digest, &survey),
            None => Err(self.lost(digest, &survey)),
        }
    }

    /// What a plain `get` finds.
    fn newest(&self, digest: Digest, limit: u64) -> Result<Newest, LockerError> {
        match self.bucket.get(&key_of(digest), None, limit) {
            Ok(body) if Digest::of(&body.bytes) == digest => Ok(Newest::Good(body.bytes.into())),
            Ok(_) => Ok(Newest::Other),
            Err(error) => match error.kind {
                S3ErrorKind::TooLarge => Ok(Newest::Large),
                S3ErrorKind::NotFound => Ok(Newest::Other),
                _ => Err(error.into()),
            },
        }
    }

    /// Where the good version lies. A version that is alone is not read for that: whoever reads it
    /// checks it.
    fn choose(&self, digest: Digest) -> Result<Survey, LockerError> {
        let survey = self.survey(digest, Look::Trusting)?;
        if survey.good.is_empty() && survey.wrong.is_empty() {
            return Err(LockerError::NotFound(digest));
        }
        Ok(survey)
    }

    /// The bytes of a good version that was found under others, checked.
    fn small(&self, digest: Digest, survey: &Survey) -> Result<Vec<u8>, LockerError> {
        let mut last = None;
        for good in &survey.good {
            let version = Some(good.version.version.as_str());
            let body = self.bucket.get(&key_of(digest), version, good.head.size)?;
            let actual = Digest::of(&body.bytes);
            if actual == digest {
                return Ok(body.bytes.into());
            }
            last = Some(actual);
        }
        Err(match last {
            Some(actual) => LockerError::Corrupt {
                path: self.object_place(digest),
                expected: digest,
                actual,
            },
            None => self.lost(digest, survey),
        })
    }
}

enum Newest {
    Good(Vec<u8>),
    Large,
    Other,
}
