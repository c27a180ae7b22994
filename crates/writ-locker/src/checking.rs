//! Handing out a large object while hashing it.

use std::io::{self, Read};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use writ_model::Digest;

use crate::LockerError;

/// Reads an object of known size. The last part stays back until the whole is checked.
pub(crate) struct Checking<R> {
    inner: R,
    left: u64,
    hasher: Sha256,
    place: PathBuf,
    digest: Digest,
    /// Found out already: a reader that asks again must not take it for the end.
    corrupt: bool,
}

impl<R: Read> Checking<R> {
    pub(crate) fn new(inner: R, size: u64, place: PathBuf, digest: Digest) -> Self {
        Self {
            inner,
            left: size,
            hasher: Sha256::new(),
            place,
            digest,
            corrupt: false,
        }
    }
}

impl<R: Read> Read for Checking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.corrupt {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is corrupt", self.place.display()),
            ));
        }
        if buffer.is_empty() || self.left == 0 {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        let grown = count as u64 > self.left;
        self.left = self.left.saturating_sub(count as u64);
        if count == 0 || self.left == 0 {
            let actual = Digest::from_bytes(self.hasher.clone().finalize().into());
            let more = !grown && count > 0 && self.inner.read(&mut [0])? > 0;
            if actual != self.digest || grown || more {
                buffer[..count].fill(0);
                self.corrupt = true;
                let error = LockerError::Corrupt {
                    path: self.place.clone(),
                    expected: self.digest,
                    actual,
                };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(count)
    }
}

/// Digest and number of bytes of what is left to read.
pub(crate) fn hash(mut from: impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((Digest::from_bytes(hasher.finalize().into()), size)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
