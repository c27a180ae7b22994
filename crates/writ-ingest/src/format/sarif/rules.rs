//! The rules of a SARIF run: what a result refers to by index or id.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::IngestError;
use crate::json::{Items, Json, Text};
use crate::out::Out;
use crate::text;

/// More rules than any tool has; bounds memory.
const MAX_RULES: usize = 50_000;

/// What is kept of a rule.
#[derive(Debug, Default)]
pub struct Rule {
    pub id: String,
    pub title: String,
    pub level: String,
    pub security_severity: String,
    pub tags: Vec<String>,
    pub help: String,
    messages: Vec<(String, String)>,
}

impl Rule {
    /// Text of one of the rule's messages.
    pub fn message(&self, id: &str) -> &str {
        self.messages
            .iter()
            .find(|(key, _)| key == id)
            .map_or("", |(_, text)| text)
    }
}

/// Rules of the driver and of each extension.
#[derive(Debug, Default)]
pub struct Rules {
    pub tool: String,
    driver: Vec<Rule>,
    extensions: Vec<Vec<Rule>>,
    by_id: HashMap<String, (Option<usize>, usize)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRule<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    short_description: Words<'a>,
    #[serde(borrow, default)]
    full_description: Words<'a>,
    #[serde(borrow, default)]
    help: Words<'a>,
    #[serde(borrow, default)]
    default_configuration: Configuration<'a>,
    #[serde(borrow, default)]
    properties: Properties<'a>,
    #[serde(borrow, default)]
    message_strings: HashMap<Text2<'a>, Words<'a>>,
}

/// A key of a map.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Text2<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[derive(Deserialize, Default)]
struct Words<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Configuration<'a> {
    #[serde(borrow, default)]
    level: Text<'a>,
}

#[derive(Deserialize, Default)]
pub(super) struct Properties<'a> {
    #[serde(borrow, default, rename = "security-severity")]
    pub security_severity: Text<'a>,
    #[serde(borrow, default)]
    pub tags: Items<Text<'a>>,
    #[serde(borrow, default)]
    pub cwe: Items<Text<'a>>,
}

impl Rules {
    /// Reads a run's `tool`.
    pub fn read(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<Self, IngestError> {
        let mut rules = Self::default();
        json.object(|json, key| match key {
            "driver" => {
                let (mut name, mut version, mut semantic) =
                    (String::new(), String::new(), String::new());
                let mut list = Vec::new();
                json.object(|json, key| match key {
                    "name" => json.text().map(|text| name = text),
                    "version" => json.text().map(|text| version = text),
                    "semanticVersion" => json.text().map(|text| semantic = text),
                    "rules" => read_rules(json).map(|rules| list = rules),
                    _ => json.skip(),
                })?;
                out.tool(
                    &name,
                    if version.is_empty() {
                        &semantic
                    } else {
                        &version
                    },
                );
                rules.tool = name;
                rules.driver = list;
                Ok(())
            }
            "extensions" => json.array(|json| {
                let mut list = Vec::new();
                json.object(|json, key| match key {
                    "rules" => read_rules(json).map(|rules| list = rules),
                    _ => json.skip(),
                })?;
                rules.extensions.push(list);
                if rules.extensions.len() > 1_000 {
                    return Err(json.input().limit("extensions of a tool", 1_000));
                }
                Ok(())
            }),
            _ => json.skip(),
        })?;
        rules.index();
        if rules.by_id.len() > MAX_RULES {
            return Err(json.input().limit("rules of a tool", MAX_RULES as u64));
        }
        if !rules.by_id.is_empty() {
            out.report.add_looked_at("rules", rules.by_id.len() as u64);
        }
        Ok(rules)
    }

    fn index(&mut self) {
        let driver = self
            .driver
            .iter()
            .enumerate()
            .map(|(at, rule)| (None, at, rule));
        let extensions = self
            .extensions
            .iter()
            .enumerate()
            .flat_map(|(number, list)| {
                list.iter()
                    .enumerate()
                    .map(move |(at, rule)| (Some(number), at, rule))
            });
        for (extension, at, rule) in driver.chain(extensions) {
            if !rule.id.is_empty() {
                self.by_id.entry(rule.id.clone()).or_insert((extension, at));
            }
        }
    }

    fn at(&self, extension: Option<usize>, index: usize) -> Option<&Rule> {
        match extension {
            None => self.driver.get(index),
            Some(extension) => self.extensions.get(extension)?.get(index),
        }
    }

    /// The rule of a result. An index must agree with the id; ids may be hierarchical (`CA1000/1`).
    pub fn find(&self, extension: Option<u64>, index: Option<u64>, id: &str) -> Option<&Rule> {
        let extension = extension.map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let by_index = index
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.at(extension, index))
            .filter(|rule| id.is_empty() || matches(id, &rule.id));
        by_index.or_else(|| {
            let mut id = id;
            loop {
                if let Some((extension, at)) = self.by_id.get(id) {
                    return self.at(*extension, *at);
                }
                id = &id[..id.rfind('/')?];
            }
        })
    }
}

fn matches(id: &str, rule: &str) -> bool {
    id == rule
        || id
            .strip_prefix(rule)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn read_rules(json: &mut Json<'_>) -> Result<Vec<Rule>, IngestError> {
    let mut rules = Vec::new();
    json.array(|json| {
        // A rule that cannot be read keeps its place, because results count by index.
        rules.push(
            json.element::<RawRule<'_>>()?
                .map(Rule::from)
                .unwrap_or_default(),
        );
        if rules.len() > MAX_RULES {
            return Err(json.input().limit("rules of a tool", MAX_RULES as u64));
        }
        Ok(())
    })?;
    Ok(rules)
}

impl From<RawRule<'_>> for Rule {
    fn from(raw: RawRule<'_>) -> Self {
        let title = [
            &raw.short_description.text,
            &raw.name,
            &raw.full_description.text,
        ]
        .into_iter()
        .find(|text| !text.is_empty())
        .map_or_else(String::new, |title| text::one_line(title, 200));
        let tags = raw.properties.tags.iter().chain(raw.properties.cwe.iter());
        Self {
            id: text::one_line(&raw.id, 200),
            title,
            level: raw.default_configuration.level.to_string(),
            security_severity: text::one_line(&raw.properties.security_severity, 10),
            tags: tags.take(30).map(|tag| text::one_line(tag, 120)).collect(),
            help: text::one_line(&raw.help.text, 500),
            messages: raw
                .message_strings
                .iter()
                .take(20)
                .map(|(key, words)| (key.0.to_string(), text::one_line(&words.text, 500)))
                .collect(),
        }
    }
}
