//! The normalised findings of one scan as bytes in the locker: JSON lines in zstd.
//!
//! One finding per line, ordered by fingerprint, so that a scan that repeats the last one gives
//! the same bytes and the same digest, whatever order the tool reported in. Compression is one
//! zstd frame at a fixed level.

use std::io::{BufRead, BufReader, Read, Write};

use writ_model::{Digest, Finding};

use crate::error::{RegistryError, Result};

/// Media type of the blob.
pub const MEDIA_TYPE: &str = "application/vnd.writ.findings.v1+jsonl+zstd";

/// Most findings in one blob.
pub const MAX_FINDINGS: usize = 2_000_000;

/// Longest line, in bytes: one finding.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Largest blob after decompression, in bytes.
pub const MAX_BYTES: u64 = 2 << 30;

/// Speed matters more than the last per cent: reports compress 20:1 at any level.
const LEVEL: i32 = 1;

/// The blob for these findings. Findings that are equal in everything are kept once.
///
/// # Errors
/// More than [`MAX_FINDINGS`], a finding longer than [`MAX_LINE_BYTES`], or no memory.
pub fn encode(findings: &[Finding]) -> Result<Vec<u8>> {
    let failed = |problem: String| RegistryError::Findings {
        digest: Digest::of(b""),
        problem,
    };
    if findings.len() > MAX_FINDINGS {
        return Err(failed(format!(
            "{} findings are more than the {MAX_FINDINGS} that one scan may have; scan in parts",
            findings.len()
        )));
    }
    let mut lines = Vec::with_capacity(findings.len());
    for finding in findings {
        let line = serde_json::to_vec(finding).map_err(|e| failed(e.to_string()))?;
        if line.len() > MAX_LINE_BYTES {
            return Err(failed(format!(
                "finding {} takes {} bytes, more than {MAX_LINE_BYTES}",
                finding.fingerprint,
                line.len()
            )));
        }
        lines.push((finding.fingerprint, line));
    }
    lines.sort_unstable();
    lines.dedup();
    let zstd = |e: std::io::Error| failed(format!("cannot be compressed: {e}"));
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(zstd)?;
    for (_, line) in &lines {
        encoder.write_all(line).map_err(zstd)?;
        encoder.write_all(b"\n").map_err(zstd)?;
    }
    encoder.finish().map_err(zstd)
}

/// Reads a blob line by line, handing each finding and its line to `each`. Bounded in lines, line
/// length and bytes, whatever the blob claims.
///
/// # Errors
/// The blob is not such a blob, or `each` failed.
pub fn read(
    digest: Digest,
    blob: &[u8],
    mut each: impl FnMut(Finding, &[u8]) -> Result<()>,
) -> Result<()> {
    let failed = |problem: String| RegistryError::Findings { digest, problem };
    let decoder = zstd::Decoder::with_buffer(blob)
        .map_err(|e| failed(format!("is not a zstd frame: {e}")))?;
    let mut reader = BufReader::with_capacity(1 << 17, decoder.take(MAX_BYTES));
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        line.clear();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| failed(format!("ends early after line {number}: {e}")))?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        if line.pop() != Some(b'\n') {
            return Err(failed(format!(
                "line {number} is cut off or longer than {MAX_LINE_BYTES} bytes"
            )));
        }
        if number > MAX_FINDINGS {
            return Err(failed(format!("holds more than {MAX_FINDINGS} findings")));
        }
        let finding = serde_json::from_slice(&line)
            .map_err(|e| failed(format!("line {number} is not a finding: {e}")))?;
        each(finding, &line)?;
    }
}

/// All findings of a blob.
///
/// # Errors
/// See [`read`].
pub fn decode(digest: Digest, blob: &[u8]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    read(digest, blob, |finding, _| {
        findings.push(finding);
        Ok(())
    })?;
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_model::{Category, Location, Severity};

    fn finding(seed: &str) -> Finding {
        Finding {
            fingerprint: Digest::of(seed.as_bytes()),
            category: Category::Code,
            rule: seed.to_owned(),
            title: "title".to_owned(),
            severity: Severity::High,
            raw_severity: String::new(),
            cvss_tenths: None,
            identifiers: Vec::new(),
            location: Location::None,
            fix: None,
            message: None,
            suppression: None,
            aliases: Vec::new(),
            secret_hash: None,
        }
    }

    #[test]
    fn order_and_repetition_do_not_change_the_blob() {
        let (a, b) = (finding("a"), finding("b"));
        let blob = encode(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(blob, encode(&[b.clone(), a.clone(), b.clone()]).unwrap());
        let mut back = decode(Digest::of(&blob), &blob).unwrap();
        back.sort_by(|x, y| x.rule.cmp(&y.rule));
        assert_eq!(back, [a, b]);
    }

    #[test]
    fn hostile_blobs_are_refused_in_bounds() {
        let digest = Digest::of(b"x");
        let blob = encode(&[finding("a")]).unwrap();
        assert!(decode(digest, &blob[..blob.len() - 3]).is_err());
        assert!(decode(digest, b"not zstd").is_err());
        let endless = zstd::encode_all(std::io::repeat(b'a').take(64 << 20), 1).unwrap();
        let error = decode(digest, &endless).unwrap_err().to_string();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
        let wrong = zstd::encode_all(&b"{}\n"[..], 1).unwrap();
        let error = decode(digest, &wrong).unwrap_err().to_string();
        assert!(error.contains("line 1 is not a finding"), "{error}");
    }
}
