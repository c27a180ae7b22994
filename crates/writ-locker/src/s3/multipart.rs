//! Large objects, in parts from a file: memory is bounded by the parts under way.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use writ_model::Digest;

use super::object::{Checksum, written};
use super::wire::Outcome;
use super::{Bucket, PutOptions, S3Error, S3ErrorKind, Written, xml};

/// Most parts of one object.
const MAX_PARTS: u64 = 10_000;
/// Largest object that S3 takes.
const MAX_BYTES: u64 = 5 << 40;
/// Parts under way at once.
const WORKERS: u64 = 4;

/// A part that the server has.
#[derive(Debug, Clone)]
struct Part {
    etag: String,
    sha256: [u8; 32],
}

impl Bucket {
    /// Stores the first `size` bytes of a file, whose SHA-256 is `digest`: in one request, or in
    /// parts when it is large. Conditions, locks and lost answers as for [`Bucket::put`].
    ///
    /// # Errors
    /// [`S3ErrorKind::Local`] when the file is not what was said, else as [`Bucket::put`]. A failed
    /// upload's parts are removed as far as the server can be reached.
    pub fn put_file(
        &self,
        key: &str,
        file: &File,
        size: u64,
        digest: Digest,
        options: &PutOptions,
    ) -> Result<Written, S3Error> {
        if size > MAX_BYTES {
            return Err(self.local(key, "it has more than the 5 TiB that S3 takes"));
        }
        if size <= self.single_bytes() {
            let bytes = self.read_part(key, file, 0, size)?;
            if Digest::of(&bytes) != digest {
                return Err(self.local(key, "the file changed while it was stored"));
            }
            return self.put(key, bytes, options);
        }
        let upload = self.begin_upload(key, options)?;
        let parts = match self.send_parts(key, &upload, file, size, digest) {
            Ok(parts) => parts,
            Err(error) => {
                let _ = self.abort_upload(key, &upload);
                return Err(error);
            }
        };
        let outcome = self.complete_upload(key, &upload, &parts, options);
        match outcome.result {
            Ok(done) => Ok(done),
            Err(error)
                if outcome.tried_before
                    && matches!(
                        error.kind,
                        S3ErrorKind::Precondition | S3ErrorKind::NoSuchUpload
                    ) =>
            {
                // The upload may have been completed by a try whose answer was lost.
                match self.is_there(key, &parts, size, digest)? {
                    Some(done) => Ok(done),
                    None => {
                        let _ = self.abort_upload(key, &upload);
                        Err(error)
                    }
                }
            }
            Err(error) => {
                // Whether it was completed is unknown after a broken connection; then the upload is
                // gone or harmless, and aborting it touches no object.
                let _ = self.abort_upload(key, &upload);
                Err(error)
            }
        }
    }

    /// Objects up to this size are sent in one request.
    pub(super) fn single_bytes(&self) -> u64 {
        self.shared.part_bytes * 2
    }

    fn begin_upload(&self, key: &str, options: &PutOptions) -> Result<String, S3Error> {
        let request = self
            .request("begin the upload of", Method::POST, key)
            .query("uploads", "")
            .header("x-amz-checksum-algorithm", "SHA256");
        let response = self.send(options.describe(request))?;
        let root = self.document("begin the upload of", key, &response.body)?;
        root.text_of("UploadId")
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| self.odd("begin the upload of", key, "the server names no upload"))
    }

    /// Sends all parts from a few threads, while another one hashes the whole.
    fn send_parts(
        &self,
        key: &str,
        upload: &str,
        file: &File,
        size: u64,
        digest: Digest,
    ) -> Result<Vec<Part>, S3Error> {
        let length = self.shared.part_bytes.max(size.div_ceil(MAX_PARTS));
        let count = size.div_ceil(length);
        let next = AtomicU64::new(0);
        let done: Mutex<Vec<Option<Part>>> =
            Mutex::new(vec![None; usize::try_from(count).unwrap_or(0)]);
        let failed: Mutex<Option<S3Error>> = Mutex::new(None);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || failed.lock().is_ok_and(|failed| failed.is_some()) {
                    return;
                }
                let from = number * length;
                let sent = self
                    .read_part(key, file, from, length.min(size - from))
                    .and_then(|bytes| self.send_part(key, upload, number + 1, bytes));
                match sent {
                    Ok(part) => {
                        if let Ok(mut done) = done.lock()
                            && let Some(place) =
                                usize::try_from(number).ok().and_then(|n| done.get_mut(n))
                        {
                            *place = Some(part);
                        }
                    }
                    Err(error) => {
                        if let Ok(mut failed) = failed.lock() {
                            failed.get_or_insert(error);
                        }
                        return;
                    }
                }
            }
        };
        let whole = thread::scope(|scope| {
            for _ in 0..WORKERS.min(count) {
                scope.spawn(work);
            }
            self.hash_file(key, file, size)
        })?;
        if let Ok(Some(error)) = failed.into_inner() {
            return Err(error);
        }
        if whole != digest {
            return Err(self.local(key, "the file changed while it was stored"));
        }
        let parts: Option<Vec<Part>> = done.into_inner().ok().and_then(|d| d.into_iter().collect());
        parts.ok_or_else(|| self.local(key, "a part was not sent"))
    }

    fn send_part(
        &self,
        key: &str,
        upload: &str,
        number: u64,
        bytes: Bytes,
    ) -> Result<Part, S3Error> {
        let sha256: [u8; 32] = Sha256::digest(&bytes).into();
        let mut request = self
            .request("send a part of", Method::PUT, key)
            .query("partNumber", number.to_string())
            .query("uploadId", upload)
            .header("x-amz-checksum-sha256", STANDARD.encode(sha256))
            .header("x-amz-sdk-checksum-algorithm", "SHA256")
            .body(bytes);
        request.digest = Some(sha256);
        let response = self.send(request)?;
        let etag = response
            .header("etag")
            .ok_or_else(|| self.odd("send a part of", key, "the server gives no entity tag"))?;
        Ok(Part {
            etag: etag.to_owned(),
            sha256,
        })
    }

    fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        parts: &[Part],
        options: &PutOptions,
    ) -> Outcome<Result<Written, S3Error>> {
        use std::fmt::Write as _;
        const ACTION: &str = "complete the upload of";
        let mut body = String::from(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
        );
        for (number, part) in parts.iter().enumerate() {
            let _ = write!(
                body,
                "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag><ChecksumSHA256>{}</ChecksumSHA256></Part>",
                number + 1,
                xml::escape(&part.etag),
                STANDARD.encode(part.sha256)
            );
        }
        body.push_str("</CompleteMultipartUpload>");
        let request = self
            .request(ACTION, Method::POST, key)
            .query("uploadId", upload)
            .header("content-type", "application/xml")
            .body(body.into_bytes().into());
        let outcome = self.call(options.conditions(request));
        let result = outcome.result.and_then(|response| {
            let root = self.document(ACTION, key, &response.body)?;
            let mut done = written(&response);
            done.etag = root.text_of("ETag").map(str::to_owned).or(done.etag);
            Ok(done)
        });
        Outcome {
            result,
            tried_before: outcome.tried_before,
        }
    }

    fn abort_upload(&self, key: &str, upload: &str) -> Result<(), S3Error> {
        let request = self
            .request("abort the upload of", Method::DELETE, key)
            .query("uploadId", upload);
        self.send(request).map(drop)
    }

    /// Whether the newest version is what the parts make.
    fn is_there(
        &self,
        key: &str,
        parts: &[Part],
        size: u64,
        digest: Digest,
    ) -> Result<Option<Written>, S3Error> {
        let mut reader = match self.reader(key, None) {
            Ok(reader) => reader,
            Err(error) if error.kind == S3ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let head = reader.head().clone();
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part.sha256);
        }
        let ours = Checksum {
            sha256: hasher.finalize().into(),
            parts: u32::try_from(parts.len()).ok(),
        };
        let same = head.size == size
            && match head.checksum {
                Some(checksum) => checksum == ours,
                // A server that keeps no checksums: look at the bytes.
                None => {
                    let (found, _) = crate::checking::hash(&mut reader)
                        .map_err(|error| self.local(key, error.to_string()))?;
                    found == digest
                }
            };
        Ok(same.then_some(Written {
            version: head.version,
            etag: head.etag,
            recovered: true,
        }))
    }

    fn read_part(&self, key: &str, file: &File, from: u64, length: u64) -> Result<Bytes, S3Error> {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from)
            .map_err(|error| self.local(key, format!("the file cannot be read: {error}")))?;
        Ok(bytes.into())
    }

    fn hash_file(&self, key: &str, file: &File, size: u64) -> Result<Digest, S3Error> {
        let reader = From { file, at: 0 };
        let (digest, read) = crate::checking::hash(reader.take(size))
            .map_err(|error| self.local(key, format!("the file cannot be read: {error}")))?;
        if read < size {
            return Err(self.local(key, "the file is shorter than it was said to be"));
        }
        Ok(digest)
    }

    fn local(&self, key: &str, cause: impl Into<String>) -> S3Error {
        S3Error::new(S3ErrorKind::Local, "put", self.place(key), cause)
    }
}

/// Reads a file from a place of its own, not from the one that all share.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
