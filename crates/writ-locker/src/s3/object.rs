//! One object: put, get, head, delete.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use writ_model::Timestamp;

use super::lock::{LockMode, Retention};
use super::wire::{Request, Response};
use super::{Bucket, S3Error, S3ErrorKind, time};

/// How much a reader fetches at once, in bytes.
const READ_BYTES: u64 = 4 << 20;

/// How an object is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Only when there is no object of this key (or a delete marker hides it).
    pub if_none_match: bool,
    /// Only when the newest version has this entity tag.
    pub if_match: Option<String>,
    /// Media type. Default: `application/octet-stream`.
    pub content_type: Option<String>,
    /// COMPLIANCE lock until this time, rounded up to a whole second.
    pub retain_until: Option<Timestamp>,
    /// Legal hold.
    pub hold: bool,
}

impl PutOptions {
    /// The headers of the conditions.
    pub(super) fn conditions(&self, mut request: Request) -> Request {
        if self.if_none_match {
            request = request.header("if-none-match", "*");
        }
        if let Some(tag) = &self.if_match {
            request = request.header("if-match", tag);
        }
        request
    }

    /// The headers that describe the object and lock it.
    pub(super) fn describe(&self, mut request: Request) -> Request {
        let media_type = self
            .content_type
            .as_deref()
            .unwrap_or("application/octet-stream");
        request = request.header("content-type", media_type);
        if let Some(until) = self.retain_until {
            request = request
                .header("x-amz-object-lock-mode", LockMode::Compliance.as_str())
                .header(
                    "x-amz-object-lock-retain-until-date",
                    time::format(time::whole_seconds(until)),
                );
        }
        if self.hold {
            request = request.header("x-amz-object-lock-legal-hold", "ON");
        }
        request
    }
}

/// What a put made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version, where the bucket keeps versions.
    pub version: Option<String>,
    /// The entity tag, for `if_match`.
    pub etag: Option<String>,
    /// Whether the answer to a first try was lost and a second try found our own bytes there.
    pub recovered: bool,
}

/// A checksum that the server computed when the object was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// SHA-256: of the bytes, or of the parts' checksums one after the other.
    pub sha256: [u8; 32],
    /// The number of parts, for an object that was stored in parts.
    pub parts: Option<u32>,
}

/// What is known of an object besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Size in bytes.
    pub size: u64,
    /// Entity tag, as the server writes it.
    pub etag: Option<String>,
    /// The version, where the bucket keeps versions.
    pub version: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// When this version was stored, by the server's clock.
    pub modified: Option<Timestamp>,
    /// The server's checksum, where it keeps one.
    pub checksum: Option<Checksum>,
    /// The lock; `None` without one, or without the right to see it.
    pub retention: Option<Retention>,
    /// Whether there is a legal hold, as far as the credentials may see it.
    pub hold: bool,
}

/// An object in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its bytes. They match the server's checksum, where it keeps one.
    pub bytes: Bytes,
    /// What else is known.
    pub head: Head,
}

impl Bucket {
    /// Stores bytes.
    ///
    /// A condition that fails only after a try whose answer was lost is resolved by reading back:
    /// when the newest version has these very bytes, the put succeeded. (Somebody else who put the
    /// same bytes in between cannot be told apart; put something of your own into them where that
    /// matters.) Without a condition a lost answer may leave two equal versions.
    ///
    /// # Errors
    /// [`S3ErrorKind::Precondition`] when the condition does not hold; else as the kinds say. After
    /// a time-out or a broken connection it is unknown whether the object was stored.
    pub fn put(
        &self,
        key: &str,
        bytes: impl Into<Bytes>,
        options: &PutOptions,
    ) -> Result<Written, S3Error> {
        let bytes = bytes.into();
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let mut request = self.request("put", Method::PUT, key).body(bytes.clone());
        request.digest = Some(digest);
        request = options.conditions(options.describe(request));
        // Servers that lock want a checksum; some want the algorithm's name beside it.
        request = request
            .header("x-amz-checksum-sha256", STANDARD.encode(digest))
            .header("x-amz-sdk-checksum-algorithm", "SHA256");
        let outcome = self.call(request);
        match outcome.result {
            Ok(response) => Ok(written(&response)),
            Err(error) if error.kind == S3ErrorKind::Precondition && outcome.tried_before => {
                match self.get(key, None, bytes.len() as u64) {
                    Ok(there) if there.bytes == bytes => Ok(Written {
                        version: there.head.version,
                        etag: there.head.etag,
                        recovered: true,
                    }),
                    Ok(_) => Err(error),
                    Err(other) if other.kind == S3ErrorKind::TooLarge => Err(error),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// An object of at most `limit` bytes; the newest version, or the named one.
    ///
    /// # Errors
    /// [`S3ErrorKind::NotFound`], [`S3ErrorKind::TooLarge`], else as the kinds say.
    pub fn get(&self, key: &str, version: Option<&str>, limit: u64) -> Result<Body, S3Error> {
        let mut request = self
            .request("get", Method::GET, key)
            .version(version)
            .header("x-amz-checksum-mode", "ENABLED");
        request.limit = limit;
        let mut last = None;
        // Bytes that do not match the server's own checksum changed on the way: ask again.
        for _ in 0..3 {
            let response = self.send(request.clone())?;
            let head = self.read_head("get", key, &response, response.body.len() as u64)?;
            let whole = head.checksum.filter(|sum| sum.parts.is_none());
            if whole
                .is_none_or(|sum| sum.sha256 == <[u8; 32]>::from(Sha256::digest(&response.body)))
            {
                return Ok(Body {
                    bytes: response.body,
                    head,
                });
            }
            last = Some(
                S3Error::new(
                    S3ErrorKind::Corrupt,
                    "get",
                    self.place(key),
                    "the bytes do not match the server's checksum",
                )
                .with_request_id(response.header("x-amz-request-id").map(str::to_owned)),
            );
        }
        Err(last.unwrap_or_else(|| self.odd("get", key, "no answer")))
    }

    /// Bytes `from..from + count` of an object, fewer at its end. `etag` makes sure that they are of
    /// the same object as other pieces.
    ///
    /// # Errors
    /// [`S3ErrorKind::Precondition`] when the entity tag is another, else as the kinds say.
    pub fn get_range(
        &self,
        key: &str,
        version: Option<&str>,
        etag: Option<&str>,
        from: u64,
        count: u64,
    ) -> Result<Bytes, S3Error> {
        if count == 0 {
            return Ok(Bytes::new());
        }
        let mut request = self
            .request("get", Method::GET, key)
            .version(version)
            .header(
                "range",
                format!("bytes={from}-{}", from.saturating_add(count - 1)),
            );
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        request.limit = count;
        let response = self.send(request)?;
        let begins = response
            .header("content-range")
            .and_then(|text| text.strip_prefix("bytes "))
            .and_then(|text| text.split('-').next())
            .and_then(|text| text.parse::<u64>().ok());
        match (response.status, begins) {
            (206, Some(begins)) if begins == from => Ok(response.body),
            // A server without ranges answers with the whole, which fits the limit by chance.
            (200, _) if from == 0 => Ok(response.body),
            _ => Err(self.odd(
                "get",
                key,
                "the server does not give the range it was asked for",
            )),
        }
    }

    /// A reader of an object, which fetches it piece by piece and survives broken connections.
    ///
    /// # Errors
    /// As [`Bucket::head`]; reading gives `io::Error`s that wrap [`S3Error`].
    pub fn reader(&self, key: &str, version: Option<&str>) -> Result<ObjectReader, S3Error> {
        let head = self.head(key, version)?;
        Ok(ObjectReader {
            bucket: self.clone(),
            key: key.to_owned(),
            version: head.version.clone().or(version.map(str::to_owned)),
            piece: Bytes::new(),
            at: 0,
            head,
        })
    }

    /// What is known of an object without its bytes.
    ///
    /// # Errors
    /// [`S3ErrorKind::NotFound`], else as the kinds say.
    pub fn head(&self, key: &str, version: Option<&str>) -> Result<Head, S3Error> {
        let request = self
            .request("examine", Method::HEAD, key)
            .version(version)
            .header("x-amz-checksum-mode", "ENABLED");
        let response = self.send(request)?;
        let size = response
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.odd("examine", key, "the server gives no size"))?;
        self.read_head("examine", key, &response, size)
    }

    /// Deletes a version for good, or (without one) hides the object under a delete marker. Gives
    /// the delete marker's version.
    ///
    /// # Errors
    /// [`S3ErrorKind::Locked`] or [`S3ErrorKind::Denied`] when a lock or hold forbids it.
    pub fn delete(&self, key: &str, version: Option<&str>) -> Result<Option<String>, S3Error> {
        let request = self.request("delete", Method::DELETE, key).version(version);
        let response = self.send(request)?;
        Ok(response.header("x-amz-version-id").map(str::to_owned))
    }

    fn read_head(
        &self,
        action: &'static str,
        key: &str,
        response: &Response,
        size: u64,
    ) -> Result<Head, S3Error> {
        let text = |name| response.header(name).map(str::to_owned);
        let retention = match (
            response.header("x-amz-object-lock-mode"),
            response.header("x-amz-object-lock-retain-until-date"),
        ) {
            (Some(mode), Some(until)) => Some(
                Retention::parse(mode, until)
                    .ok_or_else(|| self.odd(action, key, "the lock's headers make no sense"))?,
            ),
            _ => None,
        };
        Ok(Head {
            size,
            etag: text("etag"),
            version: text("x-amz-version-id").filter(|version| version != "null"),
            content_type: text("content-type"),
            modified: response.header("last-modified").and_then(time::parse_http),
            checksum: response
                .header("x-amz-checksum-sha256")
                .and_then(parse_checksum),
            retention,
            hold: response.header("x-amz-object-lock-legal-hold") == Some("ON"),
        })
    }
}

pub(super) fn written(response: &Response) -> Written {
    let text = |name| response.header(name).map(str::to_owned);
    Written {
        version: text("x-amz-version-id").filter(|version| version != "null"),
        etag: text("etag"),
        recovered: false,
    }
}

/// `base64`, or `base64-3` of three parts.
pub(super) fn parse_checksum(text: &str) -> Option<Checksum> {
    let (sum, parts) = match text.split_once('-') {
        Some((sum, parts)) => (sum, Some(parts.parse().ok()?)),
        None => (text, None),
    };
    Some(Checksum {
        sha256: STANDARD.decode(sum).ok()?.try_into().ok()?,
        parts,
    })
}

/// Reads an object piece by piece.
#[derive(Debug)]
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    version: Option<String>,
    head: Head,
    piece: Bytes,
    at: u64,
}

impl ObjectReader {
    /// What was known of the object when the reader was made.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.piece.is_empty() {
            let left = self.head.size - self.at;
            if left == 0 {
                return Ok(0);
            }
            // A version never changes; without one the entity tag must stay.
            let etag = match self.version {
                Some(_) => None,
                None => self.head.etag.as_deref(),
            };
            let asked = left.min(READ_BYTES);
            self.piece = self
                .bucket
                .get_range(&self.key, self.version.as_deref(), etag, self.at, asked)
                .map_err(io::Error::other)?;
            if self.piece.len() as u64 != asked {
                let got = self.piece.len();
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    self.bucket.odd(
                        "get",
                        &self.key,
                        format!("{got} bytes came instead of {asked}"),
                    ),
                ));
            }
            self.at += asked;
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
