//! Making text from outside harmless, and laying it out.
//!
//! Reports are hostile: a file name may hold terminal sequences, a title may hold a
//! right-to-left override that makes `evil` read as something else (CVE-2021-42574). Nothing is
//! dropped in silence: each such character is replaced by an escape that a reader sees.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longest single text that a person is shown, in characters; the rest is cut with `…`.
pub const MAX_TEXT: usize = 4_000;

/// Longest run without a space that a person is shown, in characters.
pub const MAX_WORD: usize = 200;

/// True for characters that must not reach a terminal, a log or a page as they are: controls,
/// bidirectional formatting, invisible separators, tags and non-characters.
#[must_use]
pub const fn is_unsafe(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    ) || (c as u32) & 0xfffe == 0xfffe
}

/// One line: unsafe characters become visible escapes (`\n`, `\x1b`, `\u{202e}`), a tab becomes a
/// space.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) && text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_TEXT {
            out.push('…');
            break;
        }
        push_visible(&mut out, c);
    }
    Cow::Owned(out)
}

/// A whole document of lines: unsafe characters become visible escapes, line feeds and tabs stay.
#[must_use]
pub fn document_visible(document: String) -> String {
    let kept = |c: char| matches!(c, '\n' | '\t') || !is_unsafe(c);
    if document.chars().all(kept) {
        return document;
    }
    let mut out = String::with_capacity(document.len() + 64);
    for c in document.chars() {
        if kept(c) {
            out.push(c);
        } else {
            push_visible(&mut out, c);
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' => out.push(' '),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\0'..='\u{ff}' if is_unsafe(c) => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        c if is_unsafe(c) => {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        }
        c => out.push(c),
    }
}

/// Running text written by people in several lines (a control's `why`): white space folds to
/// single spaces, the rest as [`clean`].
#[must_use]
pub fn prose(text: &str) -> String {
    let folded: Vec<&str> = text.split_whitespace().collect();
    clean(&folded.join(" ")).into_owned()
}

/// JSON text with every unsafe character inside its strings as a `\u` escape: the value stays
/// exactly the same, the bytes can be shown.
#[must_use]
pub fn json_visible(json: String) -> String {
    if !json.chars().any(|c| c != '\n' && is_unsafe(c)) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            let mut units = [0_u16; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A path as a relative URI reference: every byte outside the unreserved set and `/` is
/// percent-encoded; leading slashes go.
#[must_use]
pub fn percent_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.trim_start_matches('/').bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// Columns that a text takes on a terminal.
#[must_use]
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` followed by spaces up to `width` columns.
#[must_use]
pub fn pad(text: &str, width: usize) -> String {
    let spaces = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(spaces))
}

/// `text` cut to `width` columns, ending in `…` when something was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    Cow::Owned(out)
}

/// Wraps one line at `room` columns. Inner spacing is kept while it fits; words longer than the
/// room (ids, paths, commands) stand whole on their own line, up to [`MAX_WORD`].
#[must_use]
pub fn wrap(line: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line.trim_end();
    while columns(rest) > room {
        let split = break_point(rest, room);
        let (head, tail) = rest.split_at(split);
        if head.trim().is_empty() || tail.is_empty() {
            break;
        }
        lines.push(shorten_word(head.trim_end(), room));
        rest = tail.trim_start();
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(shorten_word(rest, room));
    }
    lines
}

/// Byte index of the last space at which the head fits, else of the first space after a word.
fn break_point(text: &str, room: usize) -> usize {
    let mut used = 0;
    let mut last_fitting = None;
    let mut seen_word = false;
    for (index, c) in text.char_indices() {
        if c == ' ' {
            if seen_word {
                if used <= room {
                    last_fitting = Some(index);
                } else {
                    return last_fitting.unwrap_or(index);
                }
            }
        } else {
            seen_word = true;
        }
        used += c.width().unwrap_or(0);
        if used > room && last_fitting.is_some() {
            break;
        }
    }
    last_fitting.unwrap_or(text.len())
}

fn shorten_word(line: &str, room: usize) -> String {
    if columns(line) <= room || line.chars().count() <= MAX_WORD {
        line.to_owned()
    } else {
        cut(line, MAX_WORD).into_owned()
    }
}

/// A whole number with thousands separators: `184,231`.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 check`, `2 checks`.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        number(count),
        if count == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_become_visible() {
        assert_eq!(clean("a\x1b[31mb\nc\td"), "a\\x1b[31mb\\nc d");
        assert_eq!(clean("user\u{202e}gpj"), "user\\u{202e}gpj");
        assert_eq!(clean("\u{9b}2J\u{feff}"), "\\x9b2J\\u{feff}");
        assert!(matches!(clean("plain"), Cow::Borrowed(_)));
        assert_eq!(prose("two\n  lines\tof text\x07"), "two lines of text\\x07");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"a": "x\u{202e}\u{7f}\u{e0041}\n"});
        let text = json_visible(value.to_string());
        assert!(text.is_ascii());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn wraps_at_spaces_and_keeps_long_words_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  indented text", 40), ["  indented text"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcdefghij", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("日本語 テキスト", 8), ["日本語", "テキスト"]);
        assert_eq!(wrap(&"x".repeat(900), 10)[0].chars().count(), MAX_WORD);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(184_231), "184,231");
        assert_eq!(plural(1, "check"), "1 check");
    }
}
