//! Reading what a process prints without letting it fill the memory, the disk or the screen.

use std::collections::VecDeque;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::{Events, StageEvent, Stream};

/// Bytes kept from the beginning and from the end of a stream.
const KEEP_HEAD: usize = 256 * 1024;
const KEEP_TAIL: usize = 256 * 1024;
/// Bytes of one stream that are passed on line by line.
const SHOW_BYTES: usize = 1 << 20;
/// Longest line passed on, in bytes.
const SHOW_LINE: usize = 2_000;

/// What was kept of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The beginning.
    head: Vec<u8>,
    /// The end, where there is more than fits the beginning.
    tail: VecDeque<u8>,
    /// All bytes that came.
    pub total: u64,
    /// Why the copy in a file is not whole, when it is not.
    pub file_error: Option<String>,
}

impl Captured {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = KEEP_HEAD - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEEP_TAIL);
        self.tail.drain(..over);
    }

    /// Whether something in the middle was dropped.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.total > (self.head.len() + self.tail.len()) as u64
    }

    /// The text that was kept, without terminal escapes.
    #[must_use]
    pub fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.truncated() {
            bytes.extend_from_slice(b"\n[... output cut ...]\n");
        }
        bytes.extend(&self.tail);
        plain(&String::from_utf8_lossy(&bytes))
    }
}

/// Removes terminal escapes and control characters except line ends and tabs.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    // A control sequence ends with a byte from @ to ~.
                    for c in chars.by_ref() {
                        if ('@'..='~').contains(&c) {
                            break;
                        }
                    }
                }
                Some(']') => {
                    for c in chars.by_ref() {
                        if c == '\u{7}' || c == '\\' {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Where a stream goes beside memory.
pub(super) struct Sinks<'a> {
    pub events: &'a Events,
    pub stage: &'a str,
    pub stream: Stream,
    /// Keep all of it in this file, at most so many bytes.
    pub file: Option<(PathBuf, u64)>,
    /// Pass lines on. Reports on standard output are not shown.
    pub show: bool,
}

/// Reads a stream to its end.
pub(super) async fn capture(
    stream: Option<impl AsyncRead + Unpin>,
    sinks: Sinks<'_>,
    kept: &mut Captured,
) {
    let Some(mut stream) = stream else { return };
    let mut file = match &sinks.file {
        Some((path, _)) => match tokio::fs::File::create(path).await {
            Ok(file) => Some(file),
            Err(error) => {
                kept.file_error = Some(format!("{}: {error}", path.display()));
                None
            }
        },
        None => None,
    };
    let limit = sinks.file.as_ref().map_or(0, |(_, limit)| *limit);
    let mut shown = 0;
    let mut line: Vec<u8> = Vec::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    // A read error is the end of the stream: the process is gone.
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let bytes = &buffer[..read];
        kept.push(bytes);
        if let Some(open) = &mut file {
            let failed = if kept.total > limit {
                Some(format!("is larger than {limit} bytes"))
            } else {
                open.write_all(bytes)
                    .await
                    .err()
                    .map(|error| error.to_string())
            };
            if let Some(cause) = failed {
                kept.file_error = Some(cause);
                file = None;
            }
        }
        if sinks.show && shown <= SHOW_BYTES {
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                let whole = piece.ends_with(b"\n");
                let room = SHOW_LINE.saturating_sub(line.len());
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                if whole {
                    shown += line.len();
                    show(&sinks, &mut line);
                    if shown > SHOW_BYTES {
                        line.extend_from_slice(b"[output continues; not shown]");
                        show(&sinks, &mut line);
                        break;
                    }
                }
            }
        }
    }
    if !line.is_empty() {
        show(&sinks, &mut line);
    }
    if let Some(mut open) = file
        && let Err(error) = open.flush().await
    {
        kept.file_error = Some(error.to_string());
    }
}

fn show(sinks: &Sinks<'_>, line: &mut Vec<u8>) {
    sinks.events.send(StageEvent::Output {
        stage: sinks.stage.to_owned(),
        stream: sinks.stream,
        line: plain(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r'])),
    });
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_both_ends_of_a_flood() {
        let mut kept = Captured::default();
        kept.push(b"first ");
        for _ in 0..200 {
            kept.push(&[b'x'; 10_000]);
        }
        kept.push(b" last");
        assert_eq!(kept.total, 2_000_011);
        assert!(kept.truncated());
        let text = kept.text();
        assert!(text.starts_with("first ") && text.ends_with(" last") && text.len() < 600_000);
    }

    #[test]
    fn terminal_escapes_vanish() {
        assert_eq!(
            plain("\u{1b}[31m5 commits\u{1b}[0m\r\n\u{1b}]8;;x\u{7}y"),
            "5 commits\ny"
        );
    }
}
