//! The first bytes of a report, looked at by every format to recognise its own.

use crate::error::IngestError;

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A JSON object.
    Object,
    /// A JSON list.
    Array,
    /// XML.
    Xml,
    /// Lines of text.
    Text,
}

/// How sure a format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Not this format.
    No,
    /// Fits, but an empty report of another format looks the same.
    Possible,
    /// This format.
    Certain,
}

/// Keys and values near the top of a report.
#[derive(Debug)]
pub struct Head<'a> {
    /// Kind of content.
    pub kind: Kind,
    /// The bytes, as far as they are text.
    pub text: &'a str,
    /// Key paths down to four levels, list elements as `[]`: `runs`, `runs/[]/tool`. First element of each list only.
    keys: Vec<String>,
    /// Short string values by key path.
    values: Vec<(String, String)>,
    /// Root element of XML, without prefix.
    pub root: String,
}

impl<'a> Head<'a> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// [`IngestError::Empty`] and [`IngestError::Encoding`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, IngestError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.is_empty() || bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(IngestError::Empty);
        }
        if let Some(encoding) = foreign_encoding(bytes) {
            return Err(IngestError::Encoding { encoding });
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The cut may fall inside a character; anything else is judged by the format itself.
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut head = Self {
            kind: Kind::Text,
            text,
            keys: Vec::new(),
            values: Vec::new(),
            root: String::new(),
        };
        match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'{') => head.kind = Kind::Object,
            // A line of a log may begin with a bracket: only a bracket that JSON can follow counts.
            Some(b'[') if list_follows(bytes) => head.kind = Kind::Array,
            Some(b'<') => head.kind = Kind::Xml,
            _ => {}
        }
        match head.kind {
            Kind::Object | Kind::Array => Keys::collect(bytes, &mut head),
            Kind::Xml => head.root = root_element(bytes),
            Kind::Text => {}
        }
        Ok(head)
    }

    /// True when the key path was seen.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.keys.iter().any(|key| key == path)
    }

    /// True when all key paths were seen.
    #[must_use]
    pub fn has_all(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| self.has(path))
    }

    /// Number of key paths seen.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// A short string value.
    #[must_use]
    pub fn value(&self, path: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(key, _)| key == path)
            .map(|(_, value)| &**value)
    }

    /// An empty JSON list: what several tools write when they found nothing.
    #[must_use]
    pub fn is_empty_list(&self) -> bool {
        self.kind == Kind::Array && self.text.split_whitespace().collect::<String>() == "[]"
    }

    /// What the bytes are, in words and key names.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Xml => format!("XML with root element '{}'", cut(&self.root)),
            Kind::Text => "plain text".to_owned(),
            Kind::Object | Kind::Array => {
                let keys: Vec<String> = self
                    .keys
                    .iter()
                    .filter(|key| !key.contains('/') || key.starts_with("[]/"))
                    .take(6)
                    .map(|key| cut(key))
                    .collect();
                let what = if self.kind == Kind::Object {
                    "a JSON object"
                } else {
                    "a JSON list"
                };
                if keys.is_empty() {
                    format!("{what} without keys")
                } else {
                    format!("{what} with {}", keys.join(", "))
                }
            }
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn list_follows(bytes: &[u8]) -> bool {
    let mut rest = bytes
        .iter()
        .skip_while(|b| b.is_ascii_whitespace())
        .skip(1)
        .skip_while(|b| b.is_ascii_whitespace());
    matches!(
        rest.next(),
        None | Some(b'{' | b'[' | b']' | b'"' | b'-' | b'0'..=b'9' | b'n')
    )
}

fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32BE"),
        [0xff, 0xfe, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] => Some("UTF-16BE"),
        // Without a mark: an ASCII character beside a zero byte.
        [first, 0, second, 0, ..] if *first > 0 && *second > 0 => Some("UTF-16LE"),
        [0, first, 0, second, ..] if *first > 0 && *second > 0 => Some("UTF-16BE"),
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [b'P', b'K', 3, 4, ..] => Some("zip"),
        _ => None,
    }
}

/// Name of the first element, without its namespace prefix.
fn root_element(bytes: &[u8]) -> String {
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', &bytes[at..]).map(|open| at + open) {
        let rest = &bytes[open + 1..];
        if rest.starts_with(b"!--") {
            match memchr::memmem::find(rest, b"-->") {
                Some(end) => at = open + 1 + end + 3,
                None => return String::new(),
            }
            continue;
        }
        match rest.first() {
            Some(b'?') => at = open + 1,
            Some(b'!') => {
                // A DOCTYPE may hold declarations in brackets.
                let end = memchr::memchr2(b'[', b'>', rest);
                match end {
                    Some(end) if rest[end] == b'[' => {
                        match memchr::memmem::find(rest, b"]>")
                            .or_else(|| memchr::memchr(b']', rest))
                        {
                            Some(end) => at = open + 1 + end,
                            None => return String::new(),
                        }
                    }
                    Some(end) => at = open + 1 + end,
                    None => return String::new(),
                }
            }
            _ => {
                let name: Vec<u8> = rest
                    .iter()
                    .copied()
                    .take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'>' | b'/'))
                    .take(80)
                    .collect();
                let name = String::from_utf8_lossy(&name).into_owned();
                return name.rsplit(':').next().unwrap_or_default().to_owned();
            }
        }
    }
    String::new()
}

/// A forgiving walk over the beginning of a JSON text.
struct Keys<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Deepest level whose keys are kept, and most keys.
const LEVELS: usize = 4;
const MAX_KEYS: usize = 400;

impl Keys<'_> {
    fn collect(bytes: &[u8], head: &mut Head<'_>) {
        let mut path: Vec<(String, bool)> = Vec::new();
        let mut walk = Keys { bytes, at: 0 };
        // Whether the next string is a key; how many elements each open list has had.
        let mut key_next = false;
        let mut seen_in_list: Vec<u32> = Vec::new();
        while let Some(&byte) = walk.bytes.get(walk.at) {
            walk.at += 1;
            match byte {
                b'{' | b'[' => {
                    if path.len() >= 128 {
                        return;
                    }
                    let is_list = byte == b'[';
                    path.push((if is_list { "[]" } else { "" }.to_owned(), is_list));
                    seen_in_list.push(0);
                    key_next = !is_list;
                }
                b'}' | b']' => {
                    path.pop();
                    seen_in_list.pop();
                    key_next = false;
                }
                b',' => {
                    key_next = path.last().is_some_and(|(_, is_list)| !is_list);
                    if let Some(count) = seen_in_list.last_mut() {
                        *count += 1;
                    }
                }
                b'"' => {
                    let Some(text) = walk.string() else {
                        return;
                    };
                    let first = path
                        .iter()
                        .zip(&seen_in_list)
                        .all(|((_, is_list), count)| !is_list || *count == 0);
                    let wanted = first && path.len() <= LEVELS;
                    if key_next {
                        if let Some(last) = path.last_mut() {
                            last.0 = if wanted && text.len() <= 80 {
                                text
                            } else {
                                String::new()
                            };
                        }
                        key_next = false;
                        if wanted && head.keys.len() < MAX_KEYS {
                            head.keys.push(joined(&path));
                        }
                    } else if wanted && text.len() <= 300 && head.values.len() < MAX_KEYS {
                        head.values.push((joined(&path), text));
                    }
                }
                _ => {}
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'"' => {
                    let text = &self.bytes[start..self.at - 1];
                    return Some(
                        String::from_utf8_lossy(&text[..text.len().min(301)]).into_owned(),
                    );
                }
                _ => {}
            }
        }
        None
    }
}

fn joined(path: &[(String, bool)]) -> String {
    let parts: Vec<&str> = path.iter().map(|(part, _)| &**part).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_seen_through_lists() {
        let head = Head::new(
            br#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}}},{"no":1}],"t"#,
        )
        .unwrap();
        assert!(head.has_all(&["version", "runs", "runs/[]/tool", "runs/[]/tool/driver"]));
        assert!(!head.has("runs/[]/no"));
        assert_eq!(head.value("version"), Some("2.1.0"));
    }

    #[test]
    fn other_encodings_are_named() {
        let utf16: Vec<u8> = "[{}]".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(matches!(
            Head::new(&utf16),
            Err(IngestError::Encoding {
                encoding: "UTF-16LE"
            })
        ));
        assert!(matches!(Head::new(b" \n"), Err(IngestError::Empty)));
    }

    #[test]
    fn the_root_element_is_found_behind_declarations() {
        let xml = b"<?xml version='1.0'?><!-- <x> --><!DOCTYPE a [<!ENTITY e \"v\">]>\n<ns:coverage line-rate='1'>";
        assert_eq!(Head::new(xml).unwrap().root, "coverage");
    }

    #[test]
    fn log_lines_are_text() {
        assert_eq!(Head::new(b"[ERROR] Matched\n").unwrap().kind, Kind::Text);
    }
}
