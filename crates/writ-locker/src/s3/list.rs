//! What is in a bucket, page by page: memory does not grow with the bucket.

use std::collections::VecDeque;

use reqwest::Method;
use writ_model::Timestamp;

use super::wire::{Request, decode};
use super::xml::Element;
use super::{Bucket, S3Error, time};

/// Most bytes of one page: 1,000 keys of 1 KiB, encoded threefold, with what stands around them.
const MAX_PAGE_BYTES: u64 = 8 << 20;

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key, relative to the prefix of the bucket's configuration.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: Option<String>,
    /// When it was stored, by the server's clock.
    pub modified: Option<Timestamp>,
}

/// A version or a delete marker in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its key, relative to the prefix of the bucket's configuration.
    pub key: String,
    /// The version.
    pub version: String,
    /// Whether it is what a plain `get` finds.
    pub latest: bool,
    /// Whether it is a delete marker, which has no bytes.
    pub delete_marker: bool,
    /// Size in bytes; 0 for a delete marker.
    pub size: u64,
    /// Entity tag.
    pub etag: Option<String>,
    /// When it was stored, by the server's clock.
    pub modified: Option<Timestamp>,
}

/// All objects under a prefix, by key. An error ends the listing.
#[derive(Debug)]
pub struct Entries {
    bucket: Bucket,
    prefix: String,
    start_after: Option<String>,
    next: Next<String>,
    page: VecDeque<Entry>,
}

/// All versions under a prefix, by key; of one key the newest first on a server true to S3.
#[derive(Debug)]
pub struct Versions {
    bucket: Bucket,
    prefix: String,
    next: Next<(String, String)>,
    page: VecDeque<Version>,
}

#[derive(Debug)]
enum Next<T> {
    First,
    Page(T),
    End,
}

impl Bucket {
    /// The objects whose keys begin with `prefix` (not only with whole names), ascending, from
    /// after `start_after` on. What a delete marker hides is left out.
    #[must_use]
    pub fn list(&self, prefix: &str, start_after: Option<&str>) -> Entries {
        Entries {
            bucket: self.clone(),
            prefix: prefix.to_owned(),
            start_after: start_after.map(str::to_owned),
            next: Next::First,
            page: VecDeque::new(),
        }
    }

    /// All versions and delete markers of keys that begin with `prefix`.
    #[must_use]
    pub fn list_versions(&self, prefix: &str) -> Versions {
        Versions {
            bucket: self.clone(),
            prefix: prefix.to_owned(),
            next: Next::First,
            page: VecDeque::new(),
        }
    }

    fn page(&self, mut request: Request) -> Result<Element, S3Error> {
        request.limit = MAX_PAGE_BYTES;
        let action = request.action;
        let response = self.send(request)?;
        self.document(action, "", &response.body)
    }

    /// A key of a listing, without the configured prefix.
    fn listed_key(&self, element: &Element, under: &str) -> Result<String, S3Error> {
        let key = element.child("Key").and_then(|key| decode(&key.text));
        key.as_deref()
            .and_then(|key| key.strip_prefix(self.prefix()))
            .filter(|key| key.starts_with(under))
            .map(str::to_owned)
            .ok_or_else(|| self.odd("list", under, "it names a key that was not asked for"))
    }
}

fn size_of(element: &Element) -> u64 {
    element
        .text_of("Size")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn etag_of(element: &Element) -> Option<String> {
    element.text_of("ETag").map(str::to_owned)
}

fn modified_of(element: &Element) -> Option<Timestamp> {
    element.text_of("LastModified").and_then(time::parse)
}

impl Entries {
    fn fetch(&mut self, token: Option<String>) -> Result<(), S3Error> {
        let mut request = Request::new("list", Method::GET, None)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", self.bucket.shared.page.to_string())
            .query("prefix", self.bucket.full_key(&self.prefix));
        if let Some(token) = &token {
            request = request.query("continuation-token", token);
        } else if let Some(after) = &self.start_after {
            request = request.query("start-after", self.bucket.full_key(after));
        }
        let root = self.bucket.page(request)?;
        for element in root.children.iter().filter(|e| e.name == "Contents") {
            let key = self.bucket.listed_key(element, &self.prefix)?;
            // Some servers compare the encoded key and give the one that was named.
            if self.start_after.as_ref().is_some_and(|after| key <= *after) {
                continue;
            }
            self.page.push_back(Entry {
                key,
                size: size_of(element),
                etag: etag_of(element),
                modified: modified_of(element),
            });
        }
        self.next = match (
            root.text_of("IsTruncated"),
            root.text_of("NextContinuationToken"),
        ) {
            (Some("true"), Some(next)) if token.as_deref() != Some(next) => {
                Next::Page(next.to_owned())
            }
            (Some("true"), _) => {
                return Err(self.bucket.odd(
                    "list",
                    &self.prefix,
                    "the listing does not say how it goes on",
                ));
            }
            _ => Next::End,
        };
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, S3Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.pop_front() {
                return Some(Ok(entry));
            }
            let token = match std::mem::replace(&mut self.next, Next::End) {
                Next::End => return None,
                Next::First => None,
                Next::Page(token) => Some(token),
            };
            if let Err(error) = self.fetch(token) {
                self.page.clear();
                self.next = Next::End;
                return Some(Err(error));
            }
        }
    }
}

impl Versions {
    fn fetch(&mut self, from: Option<(String, String)>) -> Result<(), S3Error> {
        let mut request = Request::new("list the versions of", Method::GET, None)
            .query("versions", "")
            .query("encoding-type", "url")
            .query("max-keys", self.bucket.shared.page.to_string())
            .query("prefix", self.bucket.full_key(&self.prefix));
        if let Some((key, version)) = &from {
            request = request.query("key-marker", key);
            if !version.is_empty() {
                request = request.query("version-id-marker", version);
            }
        }
        let root = self.bucket.page(request)?;
        for element in &root.children {
            let delete_marker = match element.name.as_str() {
                "Version" => false,
                "DeleteMarker" => true,
                _ => continue,
            };
            self.page.push_back(Version {
                key: self.bucket.listed_key(element, &self.prefix)?,
                version: element.text_of("VersionId").unwrap_or("null").to_owned(),
                latest: element.text_of("IsLatest") == Some("true"),
                delete_marker,
                size: size_of(element),
                etag: etag_of(element),
                modified: modified_of(element),
            });
        }
        let marker = root.text_of("NextKeyMarker").and_then(decode).map(|key| {
            let version = root.text_of("NextVersionIdMarker").unwrap_or("");
            (key, version.to_owned())
        });
        self.next = match (root.text_of("IsTruncated"), marker) {
            (Some("true"), Some(next)) if Some(&next) != from.as_ref() => Next::Page(next),
            (Some("true"), _) => {
                return Err(self.bucket.odd(
                    "list",
                    &self.prefix,
                    "the listing does not say how it goes on",
                ));
            }
            _ => Next::End,
        };
        Ok(())
    }
}

impl Iterator for Versions {
    type Item = Result<Version, S3Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(version) = self.page.pop_front() {
                return Some(Ok(version));
            }
            let from = match std::mem::replace(&mut self.next, Next::End) {
                Next::End => return None,
                Next::First => None,
                Next::Page(from) => Some(from),
            };
            if let Err(error) = self.fetch(from) {
                self.page.clear();
                self.next = Next::End;
                return Some(Err(error));
            }
        }
    }
}
