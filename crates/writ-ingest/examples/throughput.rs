//! Ingest on large reports, beside typed serde_json on the same bytes and the raw limit of reading them.
//!
//! ```text
//! cargo run --release -p writ-ingest --example throughput [MEGABYTES]
//! ```
//!
//! The reports are made from the sample files: their real entries, repeated under new names until the size is
//! reached. Each figure is the best of three runs in a process of its own, so that peak memory is its own too.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement may stop at the first surprise"
)]

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use writ_ingest::{Discard, Options, ingest};

/// Sample, format, path of the list that is repeated, and the key that makes an entry a new one.
const CASES: &[(&str, &str, &[&str], &str)] = &[
    (
        "trivy/image.json",
        "trivy",
        &["Results", "0", "Vulnerabilities"],
        "PkgName",
    ),
    (
        "sarif/trivy-fs.sarif",
        "sarif",
        &["runs", "0", "results"],
        "uri",
    ),
    (
        "sarif/semgrep.sarif",
        "sarif",
        &["runs", "0", "results"],
        "uri",
    ),
    ("semgrep/findings.json", "semgrep", &["results"], "path"),
    ("gitleaks/history-redacted.json", "gitleaks", &[], "File"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [way, format, path] = &arguments[..] {
        return measure(way, format, Path::new(path));
    }
    let megabytes: usize = arguments.first().map_or(256, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    println!("{megabytes} MB each; best of three; CPU = user + system of the process");
    println!(
        "{:<32} {:<12} {:>8} {:>8} {:>12} {:>9}",
        "report", "way", "MB/s", "CPU s", "findings/s", "peak MiB"
    );
    for (sample, format, list, vary) in CASES {
        let path = folder.path().join("report");
        grow(sample, list, vary, megabytes << 20, &path);
        let size = path.metadata().unwrap().len();
        for way in ["ingest", "serde_json", "scan", "read"] {
            let best = (0..3)
                .filter_map(|_| child(way, format, &path))
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((seconds, cpu, peak, findings)) = best else {
                continue;
            };
            let rate = |count: u64| count as f64 / seconds;
            println!(
                "{:<32} {way:<12} {:>8.0} {cpu:>8.2} {:>12} {peak:>9}",
                if way == "ingest" { sample } else { "" },
                rate(size) / 1e6,
                if findings > 0 {
                    format!("{:.0}", rate(findings))
                } else {
                    String::new()
                },
            );
        }
    }
}

fn child(way: &str, format: &str, path: &Path) -> Option<(f64, f64, u64, u64)> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([way, format])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace();
    let mut next = || words.next();
    Some((
        next()?.parse().ok()?,
        next()?.parse().ok()?,
        next()?.parse().ok()?,
        next()?.parse().ok()?,
    ))
}

/// Writes the sample with its list repeated.
fn grow(sample: &str, list: &[&str], vary: &str, bytes: usize, path: &PathBuf) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/reports");
    let mut report: Value =
        serde_json::from_slice(&std::fs::read(folder.join(sample)).unwrap()).unwrap();
    let mut place = &mut report;
    for part in list {
        place = match part.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[*part],
        };
    }
    let entries: Vec<String> = place
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            entry
                .to_string()
                .replacen(&format!("\"{vary}\":\""), &format!("\"{vary}\":\"\u{1}"), 1)
        })
        .collect();
    *place = Value::from("\u{2}");
    let shell = report.to_string();
    let (before, after) = shell.split_once("\"\\u0002\"").unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    let (mut written, mut number) = (0, 0_u64);
    file.write_all(before.as_bytes()).unwrap();
    file.write_all(b"[").unwrap();
    while written < bytes {
        for entry in &entries {
            let comma = if number == 0 { "" } else { "," };
            number += 1;
            let entry = entry.replace('\u{1}', &format!("n{number}-"));
            written += entry.len() + 1;
            write!(file, "{comma}{entry}").unwrap();
        }
    }
    file.write_all(b"]").unwrap();
    file.write_all(after.as_bytes()).unwrap();
    file.flush().unwrap();
}

/// Does one thing once and prints seconds, CPU seconds, peak MiB and findings.
fn measure(way: &str, format: &str, path: &Path) {
    let start = Instant::now();
    let findings = match way {
        "ingest" => {
            let key = [7; 32];
            let options = Options {
                format: Some(format),
                ..Options::new(&key)
            };
            let report = ingest(&mut File::open(path).unwrap(), &options, &mut Discard).unwrap();
            report.findings
        }
        "serde_json" => typed(format, &std::fs::read(path).unwrap()),
        "scan" => {
            let mut quotes = 0;
            pieces(path, |bytes| {
                quotes += memchr::memchr_iter(b'"', bytes).count()
            });
            assert!(quotes > 0);
            0
        }
        _ => {
            let mut read = 0;
            pieces(path, |bytes| read += bytes.len());
            assert!(read > 0);
            0
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let on_cpu = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanoseconds: f64 = on_cpu.split_whitespace().next().unwrap().parse().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{seconds} {} {} {findings}", nanoseconds / 1e9, kib / 1024);
}

fn pieces(path: &Path, mut each: impl FnMut(&[u8])) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return,
            read => each(&buffer[..read]),
        }
    }
}

/// serde_json into borrowed structs with the fields that ingest uses, from memory.
fn typed(format: &str, bytes: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Trivy<'a> {
        #[serde(borrow, rename = "Results")]
        results: Vec<TrivyResult<'a>>,
    }
    #[derive(Deserialize)]
    struct TrivyResult<'a> {
        #[serde(borrow, default, rename = "Vulnerabilities")]
        vulnerabilities: Vec<Vulnerability<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    #[expect(dead_code, reason = "parsed, not used")]
    struct Vulnerability<'a> {
        #[serde(rename = "VulnerabilityID")]
        id: Cow<'a, str>,
        pkg_name: Cow<'a, str>,
        #[serde(default)]
        installed_version: Cow<'a, str>,
        #[serde(default)]
        fixed_version: Cow<'a, str>,
        severity: Cow<'a, str>,
        #[serde(default)]
        title: Cow<'a, str>,
        #[serde(default)]
        description: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Sarif<'a> {
        #[serde(borrow)]
        runs: Vec<Run<'a>>,
    }
    #[derive(Deserialize)]
    struct Run<'a> {
        #[serde(borrow)]
        results: Vec<SarifResult<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "parsed, not used")]
    struct SarifResult<'a> {
        rule_id: Cow<'a, str>,
        #[serde(borrow)]
        message: Message<'a>,
        #[serde(borrow)]
        locations: Vec<Place<'a>>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "parsed, not used")]
    struct Message<'a> {
        text: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "parsed, not used")]
    struct Place<'a> {
        #[serde(borrow)]
        physical_location: Physical<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "parsed, not used")]
    struct Physical<'a> {
        #[serde(borrow)]
        artifact_location: Artifact<'a>,
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "parsed, not used")]
    struct Artifact<'a> {
        uri: Cow<'a, str>,
    }
    match format {
        "trivy" => serde_json::from_slice::<Trivy<'_>>(bytes)
            .unwrap()
            .results
            .iter()
            .map(|result| result.vulnerabilities.len() as u64)
            .sum(),
        "sarif" => serde_json::from_slice::<Sarif<'_>>(bytes)
            .unwrap()
            .runs
            .iter()
            .map(|run| run.results.len() as u64)
            .sum(),
        _ => std::process::exit(0),
    }
}
