//! What the fuzz targets share: the properties that must hold for any bytes.

use writ_ingest::{Collected, Limits, Options, detect, ingest, redact};

const KEY: [u8; 32] = [7; 32];

/// Limits small enough for the fuzzer to reach.
fn limits() -> Limits {
    Limits {
        max_bytes: 1 << 20,
        max_findings: 10_000,
        max_string: 64 << 10,
        max_item: 256 << 10,
        ..Limits::default()
    }
}

/// Ingests and redacts bytes as one format. A report that is read must be redactable, and its
/// redacted copy must be read with the same counts.
pub fn report(format: &str, data: &[u8]) {
    let mut sink = Collected::default();
    let options = Options {
        format: Some(format),
        limits: limits(),
        ..Options::new(&KEY)
    };
    let Ok(report) = ingest(&mut &data[..], &options, &mut sink) else {
        return;
    };
    assert_eq!(report.findings + report.suppressed, sink.findings.len() as u64);
    let mut copy = Vec::new();
    if redact(Some(format), &mut &data[..], &mut copy, &KEY, limits()).is_ok() {
        let mut again = Collected::default();
        if let Ok(second) = ingest(&mut &copy[..], &options, &mut again) {
            assert_eq!(second.counts, report.counts);
        }
    }
}

/// Detects, and goes on with what was found.
pub fn detected(data: &[u8]) {
    if let Ok(format) = detect(&data[..data.len().min(writ_ingest::HEAD_BYTES)]) {
        report(format.id(), data);
    }
}
