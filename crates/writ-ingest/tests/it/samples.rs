//! The sample reports of the repository.

use std::path::{Path, PathBuf};

use writ_ingest::{Collected, IngestError, Options, Report, ingest};

/// A key for tests.
pub const KEY: [u8; 32] = [7; 32];

/// Folder of the samples.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/reports")
}

/// Bytes of a sample.
pub fn read(file: &str) -> Vec<u8> {
    let path = folder().join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Ingests bytes, format detected or given.
pub fn parse(bytes: &[u8], format: Option<&str>) -> Result<(Report, Collected), IngestError> {
    let mut sink = Collected::default();
    let options = Options {
        format,
        ..Options::new(&KEY)
    };
    let report = ingest(&mut &bytes[..], &options, &mut sink)?;
    Ok((report, sink))
}

/// Every sample with its format, in the order of the oracle.
pub fn all() -> Vec<(String, String)> {
    #[derive(serde::Deserialize)]
    struct Oracle {
        report: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        file: String,
        format: String,
    }
    let text = String::from_utf8(read("expected.toml")).unwrap();
    let oracle: Oracle = toml::from_str(&text).unwrap();
    oracle
        .report
        .into_iter()
        .map(|entry| (entry.file, entry.format))
        .collect()
}

/// Fingerprints of a report, sorted.
pub fn fingerprints(bytes: &[u8], format: &str) -> Vec<String> {
    let (_, sink) = parse(bytes, Some(format)).unwrap();
    let mut all: Vec<String> = sink
        .findings
        .iter()
        .map(|finding| finding.fingerprint.to_hex())
        .collect();
    all.sort();
    all
}
