//! A small vulnerability database in the layout that trivy reads, from a description in JSON.
//!
//! Where trivy's own database cannot be downloaded, a demonstration needs one about its own example:
//! facts only, and labelled as such. Trivy keeps its data in one file of the format of
//! [bbolt](https://github.com/etcd-io/bbolt) (`page.go`, `meta.go`, `bucket.go` and `node.go` describe it):
//!
//! - The file is a row of pages of 4096 bytes. A page begins with its number (u64), flags (u16: 1 branch,
//!   2 leaf, 4 meta, 16 free list), count of elements (u16) and number of further pages that belong to it (u32).
//! - Pages 0 and 1 are metas: magic `ED0CDAED`, version 2, page size, flags, root bucket (page and
//!   sequence), free list page, high-water mark, transaction, FNV-1a checksum of what stands before.
//! - A leaf element is flags (1: the value is a bucket), position relative to itself, sizes of key and
//!   value; a branch element is position, size of the key, page. Keys are sorted as bytes.
//! - A bucket's value is its root page and a sequence. All numbers are little-endian.
//!
//! The tree is written once, bottom up, and never changed: the same description gives the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use writ_model::{Span, Timestamp};

const PAGE: usize = 4096;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const FREE_LIST: u16 = 16;
const MAGIC: u32 = 0xED0C_DAED;
/// How long trivy thinks that it need not look for newer data.
const NEXT_UPDATE: Span = Span::from_secs(240 * 3600);

/// Why a database cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TrivyDbError {
    /// The description has another shape.
    #[error("the description of advisories: {0}")]
    Shape(String),
    /// A file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// File.
        path: String,
        /// Cause.
        source: std::io::Error,
    },
}

/// A bucket: keys to values or to buckets.
#[derive(Debug, Default)]
struct Bucket(BTreeMap<Vec<u8>, Node>);

#[derive(Debug)]
enum Node {
    Value(Vec<u8>),
    Bucket(Bucket),
}

/// Writes `trivy.db`, `metadata.json` and, when the description has a `label`, `label.txt` into a folder.
///
/// `advisories` is `{"buckets": {SOURCE: {PACKAGE: {CVE: {…}}}}, "data-source": {SOURCE: {…}},
/// "vulnerability": {CVE: {…}}, "label": TEXT}`; `updated_at` is the age that trivy reports.
///
/// # Errors
/// When the description has another shape or the folder cannot be written.
pub fn write(folder: &Path, advisories: &Value, updated_at: Timestamp) -> Result<(), TrivyDbError> {
    let bytes = to_bytes(advisories)?;
    let time = updated_at.to_string();
    let metadata = serde_json::json!({
        "Version": 2,
        "NextUpdate": updated_at.plus(NEXT_UPDATE).to_string(),
        "UpdatedAt": time,
        "DownloadedAt": time,
    });
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|source| TrivyDbError::Io {
            path: path.display().to_string(),
            source,
        })
    };
    std::fs::create_dir_all(folder).map_err(|source| TrivyDbError::Io {
        path: folder.display().to_string(),
        source,
    })?;
    if let Some(label) = advisories.get("label").and_then(Value::as_str) {
        put("label.txt", label.as_bytes())?;
    }
    put("trivy.db", &bytes)?;
    put("metadata.json", metadata.to_string().as_bytes())
}

/// The bytes of `trivy.db`.
///
/// # Errors
/// When the description has another shape.
pub fn to_bytes(advisories: &Value) -> Result<Vec<u8>, TrivyDbError> {
    let mut root = Bucket::default();
    for (source, packages) in object(advisories, "buckets")? {
        let mut bucket = Bucket::default();
        for (package, advisories) in entries(packages, source)? {
            bucket.0.insert(
                package.clone().into_bytes(),
                Node::Bucket(flat(advisories, package)?),
            );
        }
        root.0
            .insert(source.clone().into_bytes(), Node::Bucket(bucket));
    }
    for name in ["data-source", "vulnerability"] {
        let map = advisories
            .get(name)
            .ok_or_else(|| TrivyDbError::Shape(format!("`{name}` is absent")))?;
        root.0
            .insert(name.as_bytes().to_vec(), Node::Bucket(flat(map, name)?));
    }
    Ok(File::of(&root))
}

fn object<'v>(
    value: &'v Value,
    name: &str,
) -> Result<impl Iterator<Item = (&'v String, &'v Value)>, TrivyDbError> {
    let value = value
        .get(name)
        .ok_or_else(|| TrivyDbError::Shape(format!("`{name}` is absent")))?;
    entries(value, name)
}

fn entries<'v>(
    value: &'v Value,
    name: &str,
) -> Result<impl Iterator<Item = (&'v String, &'v Value)>, TrivyDbError> {
    match value {
        Value::Object(map) if map.keys().all(|key| !key.is_empty() && key.len() < 32_768) => {
            Ok(map.iter())
        }
        Value::Object(_) => Err(TrivyDbError::Shape(format!(
            "`{name}` has an empty or too long key"
        ))),
        _ => Err(TrivyDbError::Shape(format!("`{name}` is no map"))),
    }
}

/// A bucket of JSON values.
fn flat(value: &Value, name: &str) -> Result<Bucket, TrivyDbError> {
    Ok(Bucket(
        entries(value, name)?
            .map(|(key, value)| {
                (
                    key.clone().into_bytes(),
                    Node::Value(value.to_string().into_bytes()),
                )
            })
            .collect(),
    ))
}

/// Pages in the order of their numbers; each may be longer than one page.
struct File {
    bytes: Vec<u8>,
}

/// An element before it is put into a page: flags for leaves, child page for branches.
struct Element {
    key: Vec<u8>,
    value: Vec<u8>,
    flags: u32,
}

impl File {
    fn of(root: &Bucket) -> Vec<u8> {
        // Two metas and the free list come first; their content is known last.
        let mut file = Self {
            bytes: vec![0; 3 * PAGE],
        };
        let root_page = file.bucket(root);
        let high_water = file.next_page();
        for (number, transaction) in [(0_u64, 0_u64), (1, 1)] {
            let meta = meta(root_page, high_water, transaction);
            let at = usize::try_from(number).unwrap_or(0) * PAGE;
            file.bytes[at..at + HEADER].copy_from_slice(&header(number, META, 0, 0));
            file.bytes[at + HEADER..at + HEADER + meta.len()].copy_from_slice(&meta);
        }
        file.bytes[2 * PAGE..2 * PAGE + HEADER].copy_from_slice(&header(2, FREE_LIST, 0, 0));
        file.bytes
    }

    fn next_page(&self) -> u64 {
        (self.bytes.len() / PAGE) as u64
    }

    /// Writes a bucket and what is in it; returns its root page.
    fn bucket(&mut self, bucket: &Bucket) -> u64 {
        let elements = bucket
            .0
            .iter()
            .map(|(key, node)| match node {
                Node::Value(value) => Element {
                    key: key.clone(),
                    value: value.clone(),
                    flags: 0,
                },
                Node::Bucket(inner) => {
                    let mut value = self.bucket(inner).to_le_bytes().to_vec();
                    value.extend_from_slice(&0_u64.to_le_bytes());
                    Element {
                        key: key.clone(),
                        value,
                        flags: 1,
                    }
                }
            })
            .collect();
        let mut level = self.pages(elements, LEAF);
        while level.len() > 1 {
            let elements = level
                .into_iter()
                .map(|(key, page)| Element {
                    key,
                    value: page.to_le_bytes().to_vec(),
                    flags: 0,
                })
                .collect();
            level = self.pages(elements, BRANCH);
        }
        level.first().map_or(0, |(_, page)| *page)
    }

    /// Spreads elements over pages; returns the first key and number of each. An empty list makes an empty leaf.
    fn pages(&mut self, elements: Vec<Element>, kind: u16) -> Vec<(Vec<u8>, u64)> {
        let mut out = Vec::new();
        let mut group: Vec<Element> = Vec::new();
        let mut size = HEADER;
        for element in elements {
            let value = if kind == LEAF { element.value.len() } else { 0 };
            let needed = ELEMENT + element.key.len() + value;
            // A branch needs two children to narrow anything, so that levels always shrink.
            let least = if kind == LEAF { 1 } else { 2 };
            if group.len() >= least
                && (size + needed > PAGE || group.len() >= usize::from(u16::MAX) - 1)
            {
                out.push(self.page(&std::mem::take(&mut group), kind));
                size = HEADER;
            }
            size += needed;
            group.push(element);
        }
        if !group.is_empty() || out.is_empty() {
            out.push(self.page(&group, kind));
        }
        out
    }

    fn page(&mut self, elements: &[Element], kind: u16) -> (Vec<u8>, u64) {
        let number = self.next_page();
        let mut table = Vec::new();
        let mut data: Vec<u8> = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let position = (elements.len() - index) * ELEMENT + data.len();
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            let key_size = u32::try_from(element.key.len()).unwrap_or(u32::MAX);
            if kind == LEAF {
                let value_size = u32::try_from(element.value.len()).unwrap_or(u32::MAX);
                for field in [element.flags, position, key_size, value_size] {
                    table.extend_from_slice(&field.to_le_bytes());
                }
                data.extend_from_slice(&element.key);
                data.extend_from_slice(&element.value);
            } else {
                table.extend_from_slice(&position.to_le_bytes());
                table.extend_from_slice(&key_size.to_le_bytes());
                table.extend_from_slice(&element.value);
                data.extend_from_slice(&element.key);
            }
        }
        let length = (HEADER + table.len() + data.len()).div_ceil(PAGE);
        let count = u16::try_from(elements.len()).unwrap_or(u16::MAX);
        let overflow = u32::try_from(length - 1).unwrap_or(u32::MAX);
        self.bytes
            .extend_from_slice(&header(number, kind, count, overflow));
        self.bytes.extend_from_slice(&table);
        self.bytes.extend_from_slice(&data);
        self.bytes.resize(self.bytes.len().div_ceil(PAGE) * PAGE, 0);
        (
            elements.first().map(|e| e.key.clone()).unwrap_or_default(),
            number,
        )
    }
}

fn header(number: u64, flags: u16, count: u16, overflow: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&number.to_le_bytes());
    out[8..10].copy_from_slice(&flags.to_le_bytes());
    out[10..12].copy_from_slice(&count.to_le_bytes());
    out[12..].copy_from_slice(&overflow.to_le_bytes());
    out
}

fn meta(root: u64, high_water: u64, transaction: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for field in [MAGIC, 2, 4096, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    // Root bucket and its sequence, free list, high-water mark, transaction.
    for field in [root, 0, 2, high_water, transaction] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    let checksum = out.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
        bytes[at..at + size]
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// Reads a bucket the way bbolt's cursor does, and checks order and page numbers on the way.
    fn read(file: &[u8], page: u64, path: &str, out: &mut Vec<(String, String)>) {
        let start = page as usize * PAGE;
        assert_eq!(number(file, start, 8), page);
        let (flags, count) = (
            number(file, start + 8, 2) as u16,
            number(file, start + 10, 2) as usize,
        );
        let mut last: Option<Vec<u8>> = None;
        for index in 0..count {
            let at = start + HEADER + index * ELEMENT;
            let (position, key_size) = if flags == LEAF {
                (number(file, at + 4, 4), number(file, at + 8, 4))
            } else {
                (number(file, at, 4), number(file, at + 4, 4))
            };
            let from = at + position as usize;
            let key = file[from..from + key_size as usize].to_vec();
            assert!(
                last.as_ref().is_none_or(|last| *last < key),
                "keys are sorted"
            );
            if flags == BRANCH {
                read(file, number(file, at + 8, 8), path, out);
            } else {
                let value =
                    &file[from + key.len()..from + key.len() + number(file, at + 12, 4) as usize];
                let name = format!("{path}/{}", String::from_utf8_lossy(&key));
                if number(file, at, 4) == 1 {
                    read(file, number(value, 0, 8), &name, out);
                } else {
                    out.push((name, String::from_utf8_lossy(value).into_owned()));
                }
            }
            last = Some(key);
        }
    }

    fn read_all(file: &[u8]) -> Vec<(String, String)> {
        assert_eq!(number(file, HEADER, 4), u64::from(MAGIC));
        assert_eq!(
            number(file, HEADER + 40, 8) as usize,
            file.len() / PAGE,
            "high-water mark"
        );
        let mut out = Vec::new();
        read(file, number(file, HEADER + 16, 8), "", &mut out);
        out
    }

    #[test]
    fn everything_that_goes_in_comes_out_also_over_many_pages() {
        let mut vulnerabilities = serde_json::Map::new();
        for index in 0..3000 {
            vulnerabilities.insert(
                format!("CVE-2026-{index:05}"),
                serde_json::json!({"Title": "x".repeat(index % 97), "Severity": "HIGH"}),
            );
        }
        vulnerabilities.insert(
            "CVE-2026-99999".into(),
            serde_json::json!({"Description": "y".repeat(20_000)}),
        );
        let json = serde_json::json!({
            "buckets": {"pip::test": {"a": {"CVE-1": {"PatchedVersions": ["2"]}}, "b": {}}},
            "data-source": {"pip::test": {"ID": "test"}},
            "vulnerability": vulnerabilities,
        });
        let bytes = to_bytes(&json).unwrap();
        assert_eq!(
            bytes,
            to_bytes(&json).unwrap(),
            "the same description, the same bytes"
        );
        let read: BTreeMap<String, String> = read_all(&bytes).into_iter().collect();
        assert_eq!(read.len(), 3001 + 1 + 1);
        assert_eq!(read["/pip::test/a/CVE-1"], r#"{"PatchedVersions":["2"]}"#);
        for (key, value) in json["vulnerability"].as_object().unwrap() {
            assert_eq!(read[&format!("/vulnerability/{key}")], value.to_string());
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        for bad in [
            "{}",
            r#"{"buckets":[],"data-source":{},"vulnerability":{}}"#,
            r#"{"buckets":{"a":{"":{}}},"data-source":{},"vulnerability":{}}"#,
        ] {
            assert!(
                to_bytes(&serde_json::from_str(bad).unwrap()).is_err(),
                "{bad}"
            );
        }
    }
}
