//! Damaged reports: any error will do, a panic or a clean result of half a report will not.

use writ_ingest::{FORMATS, Limits, redact};

use crate::samples::{KEY, all, parse, read};

/// A small generator, so that a failure can be repeated from the numbers in its message.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

const PIECES: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\0",
    b"\xff",
    b"<",
    b">",
    b"&",
    b"</",
    b"null",
    b"-1",
    b"1e999",
    b"\n",
    b"\xef\xbb\xbf",
    b"<!DOCTYPE x [",
    b"]]>",
    b"\"\":",
    b"\\u0000",
    b"99999999999999999999999",
    b"\xf0\x9f\x92\xa9",
    b"%",
    b"::",
    b"\"\\ud800\"",
];

fn mutate(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..=numbers.next(4) {
        let at = numbers.next(changed.len().max(1));
        let piece = PIECES[numbers.next(PIECES.len())];
        match numbers.next(5) {
            0 => changed.splice(at..at, piece.iter().copied()).for_each(drop),
            1 => {
                let end = (at + piece.len()).min(changed.len());
                changed
                    .splice(at..end, piece.iter().copied())
                    .for_each(drop);
            }
            2 => {
                let end = (at + numbers.next(64)).min(changed.len());
                changed.drain(at..end).for_each(drop);
            }
            3 => {
                let end = (at + numbers.next(400)).min(changed.len());
                let copy = changed[at..end].to_vec();
                changed.splice(at..at, copy).for_each(drop);
            }
            _ => {
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1 << numbers.next(8);
                }
            }
        }
    }
    changed
}

#[test]
fn mutations_never_panic() {
    let mut numbers = Numbers(0x5eed);
    for (file, format) in all() {
        let bytes = read(&file);
        for _ in 0..12 {
            let changed = mutate(&bytes, &mut numbers);
            let _ = parse(&changed, Some(&format));
            let _ = parse(&changed, None);
            let _ = redact(
                Some(&format),
                &mut &changed[..],
                &mut Vec::new(),
                &KEY,
                Limits::default(),
            );
        }
    }
}

/// A report cut short is an error, never a shorter report.
#[test]
fn truncation_is_an_error() {
    let mut numbers = Numbers(0xc0ffee);
    for (file, format) in all() {
        // Lines stand for themselves in these; a cut between two of them cannot be seen.
        if matches!(&*format, "git-secrets" | "nuclei" | "lcov") {
            continue;
        }
        let bytes = read(&file);
        let whole = bytes.trim_ascii_end().len();
        for _ in 0..25 {
            let cut = numbers.next(whole);
            let result = parse(&bytes[..cut], Some(&format));
            assert!(result.is_err(), "{file} cut at {cut}");
        }
        assert!(parse(&bytes[..whole - 1], Some(&format)).is_err(), "{file}");
    }
    let lcov = read("lcov/payments.info");
    let end = lcov.len() - "end_of_record\n".len();
    assert!(parse(&lcov[..end], Some("lcov")).is_err());
}

/// A report under another format's name is an error or at least empty, for every pair.
#[test]
fn wrong_names_give_no_findings() {
    for (file, format) in all() {
        let bytes = read(&file);
        for other in FORMATS.iter().filter(|other| other.id() != format) {
            if let Ok((report, sink)) = parse(&bytes, Some(other.id())) {
                let text = format!("{file} as {}", other.id());
                let empty_list = bytes.trim_ascii() == b"[]";
                assert!(empty_list || report.problem_count > 0, "{text}: {report:?}");
                assert!(
                    sink.findings.is_empty() && sink.test_cases.is_empty(),
                    "{text}"
                );
            }
        }
    }
}
