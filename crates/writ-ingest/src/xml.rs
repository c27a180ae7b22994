//! XML read as a stream of owned nodes. DOCTYPE is skipped, entities other than the five of XML and
//! character references are never expanded: they stay as they are written.

use std::io::Write;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::{CHECK_FORMAT, IngestError};
use crate::input::Input;

/// An opening tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Name without namespace prefix.
    pub name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// Value of an attribute, or empty.
    pub fn get(&self, name: &str) -> &str {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// Attribute as a number; fractions and signs make it `None`.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).trim().parse().ok()
    }
}

/// A piece of XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `<name …>`; an empty element gives start and end.
    Start(Element),
    /// Character data, at most 64 KiB of it.
    Text(String),
    /// `</name>`, name without prefix.
    End(String),
    /// The end of the file, all elements closed.
    Eof,
}

/// The reader.
pub struct Xml<'r> {
    reader: Reader<Input<'r>>,
    buffer: Vec<u8>,
    depth: u32,
    any: bool,
}

const MAX_TEXT: usize = 64 << 10;

impl<'r> Xml<'r> {
    pub fn new(input: Input<'r>) -> Self {
        let mut reader = Reader::from_reader(input);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            depth: 0,
            any: false,
        }
    }

    /// Number of open elements.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The next piece.
    pub fn next(&mut self) -> Result<Node, IngestError> {
        loop {
            self.buffer.clear();
            self.buffer.shrink_to(1 << 20);
            let limits = self.reader.get_ref().limits;
            self.reader.get_mut().allow(limits.max_string);
            let event = match self.reader.read_event_into(&mut self.buffer) {
                Ok(event) => event,
                Err(error) => {
                    let input = self.reader.get_mut();
                    if let Some(error) = input.take_failure() {
                        return Err(error);
                    }
                    if input.allowance_spent() {
                        return Err(input.limit("bytes in one element", limits.max_string as u64));
                    }
                    let cause: String = match error {
                        quick_xml::Error::IllFormed(_) | quick_xml::Error::Syntax(_) => {
                            error.to_string().chars().take(200).collect()
                        }
                        quick_xml::Error::Encoding(_) => {
                            "the text is not UTF-8: convert the file first".to_owned()
                        }
                        _ => "the XML is broken".to_owned(),
                    };
                    return Err(input.syntax(cause));
                }
            };
            match event {
                Event::Start(start) => {
                    let element = element(&start);
                    self.any = true;
                    self.depth += 1;
                    if self.depth > limits.max_depth {
                        let input = self.reader.get_ref();
                        return Err(input.limit("levels of nesting", u64::from(limits.max_depth)));
                    }
                    return Ok(Node::Start(element));
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Node::End(end.local_name().as_ref().to_owned()));
                }
                Event::Text(text) => return Ok(Node::Text(cut(&text))),
                Event::CData(text) => return Ok(Node::Text(cut(&text))),
                Event::GeneralRef(reference) => {
                    let resolved = reference.resolve_char_ref().ok().flatten();
                    return Ok(Node::Text(match (resolved, &*reference) {
                        (Some(character), _) => character.to_string(),
                        (None, "lt") => "<".to_owned(),
                        (None, "gt") => ">".to_owned(),
                        (None, "amp") => "&".to_owned(),
                        (None, "quot") => "\"".to_owned(),
                        (None, "apos") => "'".to_owned(),
                        (None, name) => format!("&{};", name),
                    }));
                }
                Event::Eof => {
                    let input = self.reader.get_ref();
                    if self.depth > 0 {
                        return Err(input.syntax("the file ends before its last element is closed"));
                    }
                    if !self.any {
                        return Err(input.syntax("there is no XML element in the file"));
                    }
                    return Ok(Node::Eof);
                }
                Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    /// Text of the element that was just opened, up to its end; at most `limit` characters are kept.
    pub fn text(&mut self, limit: usize) -> Result<String, IngestError> {
        let mut kept = String::new();
        let inside = self.depth;
        loop {
            match self.next()? {
                Node::Text(text) if kept.len() < limit * 4 => kept.push_str(&text),
                Node::End(_) if self.depth < inside => return Ok(kept),
                Node::Eof => return Ok(kept),
                Node::Text(_) | Node::Start(_) | Node::End(_) => {}
            }
        }
    }

    /// Skips the element that was just opened.
    pub fn skip(&mut self) -> Result<(), IngestError> {
        self.text(0).map(drop)
    }

    /// The error for more of something than allowed.
    pub fn limit(&self, what: &'static str, limit: u64) -> IngestError {
        self.reader.get_ref().limit(what, limit)
    }

    /// The error for a file with another root element.
    pub fn wrong_root(&self, expected: &str) -> IngestError {
        let input = self.reader.get_ref();
        IngestError::Shape {
            format: input.format,
            position: input.position(),
            cause: format!("the root element is not {expected}"),
            remedy: CHECK_FORMAT,
        }
    }
}

/// Copies XML, with the content of the named elements replaced; returns how many were.
pub fn redact(
    input: Input<'_>,
    writer: &mut dyn Write,
    masked: &[&str],
) -> Result<u64, IngestError> {
    let mut xml = Xml::new(input);
    let mut replaced = 0;
    let mut put = |text: &str| {
        writer
            .write_all(text.as_bytes())
            .map_err(IngestError::Write)
    };
    put("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")?;
    loop {
        match xml.next()? {
            Node::Start(element) => {
                put("<")?;
                put(&element.name)?;
                for (key, value) in &element.attributes {
                    put(&format!(" {key}=\"{}\"", escape(value.as_str())))?;
                }
                put(">")?;
                if masked.contains(&&*element.name) {
                    let text = xml.text(16)?;
                    if !text.trim().is_empty() {
                        replaced += 1;
                        put(crate::redact::MASK)?;
                    }
                    put(&format!("</{}>", element.name))?;
                }
            }
            // White space around the root is not content.
            Node::Text(_) if xml.depth() == 0 => {}
            Node::Text(text) => put(&escape(text.as_str()))?,
            Node::End(name) => put(&format!("</{name}>"))?,
            Node::Eof => {
                put("\n")?;
                return Ok(replaced);
            }
        }
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    let attributes = start
        .attributes()
        .with_checks(false)
        .flatten()
        .take(64)
        .map(|attribute| {
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_or_else(|_| cut(&attribute.value), std::borrow::Cow::into_owned);
            (attribute.key.local_name().as_ref().to_owned(), value)
        })
        .collect();
    Element {
        name: start.local_name().as_ref().to_owned(),
        attributes,
    }
}

/// At most [`MAX_TEXT`] bytes, cut between characters.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}
