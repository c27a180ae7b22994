//! The little XML that S3 speaks, as a tree. Input is hostile: bounded by the caller in bytes, here
//! in depth and elements; no entity is expanded but XML's own five.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Deepest nesting; S3 needs five.
const MAX_DEPTH: usize = 16;
/// Most elements of one document: a page of 1,000 versions has about 10,000.
const MAX_ELEMENTS: usize = 100_000;

/// An element without its attributes and namespace.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The root element. The reason of a refusal is a sentence.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Self> = Vec::new();
        let mut elements = 0;
        loop {
            let event = reader
                .read_event()
                .map_err(|error| format!("it is not XML: {error}"))?;
            let closed = match event {
                Event::Start(start) | Event::Empty(start) if elements >= MAX_ELEMENTS => {
                    drop(start);
                    return Err(format!("it has more than {MAX_ELEMENTS} elements"));
                }
                Event::Start(start) => {
                    if open.len() >= MAX_DEPTH {
                        return Err(format!("it is nested deeper than {MAX_DEPTH} elements"));
                    }
                    elements += 1;
                    open.push(Self::named(start.local_name().as_ref()));
                    continue;
                }
                Event::Empty(start) => {
                    elements += 1;
                    Self::named(start.local_name().as_ref())
                }
                Event::End(_) => match open.pop() {
                    Some(element) => element,
                    None => return Err("an element ends that never began".to_owned()),
                },
                Event::Text(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                    continue;
                }
                Event::CData(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().ok().flatten();
                    let resolved = match (character, &*reference) {
                        (Some(character), _) => character,
                        (None, "lt") => '<',
                        (None, "gt") => '>',
                        (None, "amp") => '&',
                        (None, "quot") => '"',
                        (None, "apos") => '\'',
                        (None, _) => return Err("it uses an unknown entity".to_owned()),
                    };
                    if let Some(element) = open.last_mut() {
                        element.text.push(resolved);
                    }
                    continue;
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
                Event::DocType(_) => return Err("it has a document type".to_owned()),
                Event::Eof => return Err("it ends too early".to_owned()),
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return Ok(closed),
            }
        }
    }

    fn named(name: impl AsRef<str>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            ..Self::default()
        }
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name, without space around it.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }
}

/// Text as the content of an element.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_a_tree() {
        let answer = br#"<?xml version="1.0"?>
<E xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code> NoSuchKey </Code><T a="1">&quot;a&amp;b&#x41;&quot;</T><Empty/></E>"#;
        let root = Element::parse(answer).unwrap();
        assert_eq!(root.name, "E");
        assert_eq!(root.text_of("Code"), Some("NoSuchKey"));
        assert_eq!(root.text_of("T"), Some("\"a&bA\""));
        assert_eq!(root.text_of("Empty"), Some(""));
        assert_eq!(root.text_of("Other"), None);
    }

    #[test]
    fn hostile_answers_are_refused() {
        let deep = "<a>".repeat(1000);
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS + 1));
        for bad in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a>&lol;</a>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
            &deep,
            &many,
        ] {
            assert!(Element::parse(bad.as_bytes()).is_err(), "{:.40}", bad);
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn what_is_escaped_comes_back() {
        let text = "a<b>&\"c'";
        let document = format!("<a>{}</a>", escape(text));
        assert_eq!(Element::parse(document.as_bytes()).unwrap().text, text);
    }
}
