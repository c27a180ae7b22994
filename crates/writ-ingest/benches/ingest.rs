//! Ingest of the sample reports, repeated to a size at which start-up costs do not count.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::path::Path;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use serde_json::Value;
use writ_ingest::{Discard, Limits, Options, ingest, redact};

fn main() {
    divan::main();
}

const KEY: [u8; 32] = [7; 32];

/// A sample with one of its lists repeated.
fn repeated(sample: &str, pointer: &str, times: usize) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/reports");
    let mut report: Value =
        serde_json::from_slice(&std::fs::read(folder.join(sample)).unwrap()).unwrap();
    let list = report.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
    let once = list.clone();
    for _ in 1..times {
        list.extend(once.iter().cloned());
    }
    serde_json::to_vec(&report).unwrap()
}

fn run(bencher: Bencher, format: &str, report: &[u8]) {
    let options = Options {
        format: Some(format),
        ..Options::new(&KEY)
    };
    let findings = ingest(&mut &report[..], &options, &mut Discard)
        .unwrap()
        .findings;
    bencher
        .counter(BytesCount::new(report.len()))
        .counter(ItemsCount::new(findings))
        .bench(|| ingest(&mut &report[..], &options, &mut Discard).unwrap());
}

#[divan::bench]
fn trivy(bencher: Bencher) {
    run(
        bencher,
        "trivy",
        &repeated("trivy/image.json", "/Results/0/Vulnerabilities", 300),
    );
}

#[divan::bench]
fn sarif(bencher: Bencher) {
    run(
        bencher,
        "sarif",
        &repeated("sarif/trivy-fs.sarif", "/runs/0/results", 100),
    );
}

#[divan::bench]
fn semgrep(bencher: Bencher) {
    run(
        bencher,
        "semgrep",
        &repeated("semgrep/findings.json", "/results", 500),
    );
}

#[divan::bench]
fn gitleaks(bencher: Bencher) {
    run(
        bencher,
        "gitleaks",
        &repeated("gitleaks/unredacted.json", "", 2_000),
    );
}

#[divan::bench]
fn redact_gitleaks(bencher: Bencher) {
    let report = repeated("gitleaks/unredacted.json", "", 2_000);
    bencher.counter(BytesCount::new(report.len())).bench(|| {
        let mut sink = std::io::sink();
        redact(
            Some("gitleaks"),
            &mut &report[..],
            &mut sink,
            &KEY,
            Limits::default(),
        )
        .unwrap()
    });
}
