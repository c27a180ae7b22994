//! Takes secrets, people and source text out of a report before it is hashed and stored.
//!
//! Source text goes from every format, not only from secret scanners: any scanner may quote a line
//! that holds a credential. What remains still says rule, place, severity and counts.

use std::io::{self, Write};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use writ_model::Digest;

use crate::error::IngestError;
use crate::input::Input;
use crate::json::{Json, Text};
use crate::out::{KEYED_PREFIX, secret_hash};

/// What stands in place of removed text.
pub const MASK: &str = "[redacted]";

/// What a redaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// Format id.
    pub format: &'static str,
    /// Values that were replaced.
    pub replaced: u64,
    /// Bytes of the original.
    pub bytes_read: u64,
    /// Bytes of the copy.
    pub bytes_written: u64,
    /// SHA-256 of the copy.
    pub digest: Digest,
}

/// What replaces a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Text becomes [`MASK`]; lists, objects and numbers become `null`.
    Mask,
    /// Text becomes its keyed hash.
    KeyedHash,
    /// As [`Action::Mask`], for texts that begin with this word only.
    MaskIf(&'static str),
}

/// A place in a JSON report: keys joined with `/`, `*` for any key or element, `**` for any depth.
#[derive(Debug, Clone, Copy)]
pub struct JsonRule(pub &'static str, pub Action);

/// Copies a report without some of its content; returns the number of replaced values.
pub type CustomRedaction = fn(Input<'_>, &mut dyn Write, &[u8; 32]) -> Result<u64, IngestError>;

/// How a format is redacted.
#[derive(Debug, Clone, Copy)]
pub enum Redaction {
    /// Nothing to remove: copied byte for byte.
    None,
    /// By places in JSON.
    Json(&'static [JsonRule]),
    /// By the format's own code.
    Custom(CustomRedaction),
}

/// Runs a redaction.
pub fn run(
    redaction: Redaction,
    mut input: Input<'_>,
    writer: &mut dyn Write,
    secret_key: &[u8; 32],
) -> Result<u64, IngestError> {
    match redaction {
        Redaction::None => loop {
            let window = input.window();
            writer.write_all(window).map_err(IngestError::Write)?;
            let length = window.len();
            input.advance(length);
            if !input.fill()? {
                return Ok(0);
            }
        },
        Redaction::Json(rules) => {
            let mut json = Json::new(input);
            let mut copier = Copier::new(rules, writer, secret_key);
            // Several documents in a row: JSON lines.
            let mut first = true;
            while json.peek_or_end()?.is_some() {
                if !first {
                    copier.write(b"\n")?;
                }
                first = false;
                let start = copier.start();
                copier.value(&mut json, &start)?;
            }
            copier.write(b"\n")?;
            Ok(copier.replaced)
        }
        Redaction::Custom(run) => run(input, writer, secret_key),
    }
}

struct Copier<'w> {
    rules: Vec<(Vec<&'static str>, Action)>,
    writer: &'w mut dyn Write,
    secret_key: &'w [u8; 32],
    replaced: u64,
}

/// A rule and how many of its parts are matched.
type State = (usize, usize);

impl<'w> Copier<'w> {
    fn new(rules: &[JsonRule], writer: &'w mut dyn Write, secret_key: &'w [u8; 32]) -> Self {
        let rules = rules
            .iter()
            .map(|rule| (rule.0.split('/').collect(), rule.1))
            .collect();
        Self {
            rules,
            writer,
            secret_key,
            replaced: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), IngestError> {
        self.writer.write_all(bytes).map_err(IngestError::Write)
    }

    fn start(&self) -> Vec<State> {
        (0..self.rules.len()).map(|rule| (rule, 0)).collect()
    }

    /// The states below a key (`None`: a list element).
    fn step(&self, states: &[State], key: Option<&str>) -> Vec<State> {
        let mut next = Vec::new();
        for &(rule, at) in states {
            let parts = &self.rules[rule].0;
            let mut at = at;
            if parts.get(at) == Some(&"**") {
                next.push((rule, at));
                at += 1;
            }
            match parts.get(at) {
                Some(&"*") => next.push((rule, at + 1)),
                Some(part) if key == Some(part) => next.push((rule, at + 1)),
                _ => {}
            }
        }
        next
    }

    fn action(&self, states: &[State]) -> Option<Action> {
        states
            .iter()
            .find(|(rule, at)| *at == self.rules[*rule].0.len())
            .map(|(rule, _)| self.rules[*rule].1)
    }

    fn value(&mut self, json: &mut Json<'_>, states: &[State]) -> Result<(), IngestError> {
        if let Some(action) = self.action(states) {
            return self.replace(json, action);
        }
        if states.is_empty() {
            return json.copy(self.writer);
        }
        let mut first = true;
        match json.peek()? {
            b'{' => {
                self.write(b"{")?;
                json.object(|json, key| {
                    let quoted = serde_json::to_string(key).unwrap_or_else(|_| "\"\"".to_owned());
                    let comma: &[u8] = if first { b"" } else { b"," };
                    first = false;
                    self.write(comma)?;
                    self.write(quoted.as_bytes())?;
                    self.write(b":")?;
                    let below = self.step(states, Some(key));
                    self.value(json, &below)
                })?;
                self.write(b"}")
            }
            b'[' => {
                self.write(b"[")?;
                let below = self.step(states, None);
                json.array(|json| {
                    let comma: &[u8] = if first { b"" } else { b",\n" };
                    first = false;
                    self.write(comma)?;
                    self.value(json, &below)
                })?;
                self.write(b"]")
            }
            _ => json.copy(self.writer),
        }
    }

    fn replace(&mut self, json: &mut Json<'_>, action: Action) -> Result<(), IngestError> {
        if json.peek()? != b'"' {
            let emptied: &[u8] = if json.peek()? == b'n' { b"" } else { b"null" };
            if emptied.is_empty() {
                return json.copy(self.writer);
            }
            json.skip()?;
            self.replaced += 1;
            return self.write(emptied);
        }
        let text = json.value::<Text<'_>>()?.into_string();
        let instead = match action {
            _ if text.is_empty() => text,
            Action::MaskIf(word) if !text.starts_with(word) => text,
            Action::Mask | Action::MaskIf(_) => {
                self.replaced += 1;
                MASK.to_owned()
            }
            Action::KeyedHash => {
                self.replaced += 1;
                hashed(self.secret_key, &text)
            }
        };
        let quoted = serde_json::to_string(&instead).unwrap_or_else(|_| "\"\"".to_owned());
        self.write(quoted.as_bytes())
    }
}

/// The replacement of a secret: its keyed hash, recognised by [`secret_hash`].
pub fn hashed(secret_key: &[u8; 32], secret: &str) -> String {
    match secret_hash(secret_key, secret) {
        Some(hash) => format!("{KEYED_PREFIX}{hash}"),
        None => MASK.to_owned(),
    }
}

/// Members of one JSON object in their order, for formats that rewrite whole elements.
pub struct Members<'a>(pub Vec<(Text<'a>, &'a serde_json::value::RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Hashes what it writes.
pub struct Hashing<'w> {
    writer: &'w mut dyn Write,
    hasher: Sha256,
    bytes: u64,
    pending: Vec<u8>,
}

impl<'w> Hashing<'w> {
    pub fn new(writer: &'w mut dyn Write) -> Self {
        Self {
            writer,
            hasher: Sha256::new(),
            bytes: 0,
            pending: Vec::with_capacity(64 << 10),
        }
    }

    pub fn finish(mut self) -> Result<(Digest, u64), IngestError> {
        self.drain().map_err(IngestError::Write)?;
        self.writer.flush().map_err(IngestError::Write)?;
        Ok((
            Digest::from_bytes(self.hasher.finalize().into()),
            self.bytes,
        ))
    }

    fn drain(&mut self) -> io::Result<()> {
        self.hasher.update(&self.pending);
        self.writer.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.pending.len() + bytes.len() > 64 << 10 {
            self.drain()?;
        }
        if bytes.len() > 64 << 10 {
            self.hasher.update(bytes);
            self.writer.write_all(bytes)?;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.writer.flush()
    }
}
