//! The JSON form.

use std::collections::HashMap;

use serde::Deserialize;
use writ_model::finding::Component;
use writ_model::{Severity, Suppression};

use super::super::common::Vulnerable;
use crate::error::IngestError;
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Held, Items, Json, Text};
use crate::out::Out;
use crate::redact::{Action, JsonRule};
use crate::report::Binding;
use crate::{cvss, text};

/// People.
pub const MASKED: &[JsonRule] = &[
    JsonRule("metadata/authors", Action::Mask),
    JsonRule("metadata/supplier/contact", Action::Mask),
    JsonRule("metadata/manufacture/contact", Action::Mask),
    JsonRule("metadata/manufacturer/contact", Action::Mask),
    JsonRule("declarations", Action::Mask),
];

/// References of components kept to name the packages of vulnerabilities.
const MAX_REFERENCES: usize = 100_000;

#[derive(Deserialize)]
struct RawComponent<'a> {
    #[serde(borrow, default, rename = "bom-ref")]
    reference: Text<'a>,
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    purl: Text<'a>,
    #[serde(borrow, default)]
    licenses: Items<Choice<'a>>,
    #[serde(borrow, default)]
    components: Items<RawComponent<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    expression: Text<'a>,
    #[serde(borrow, default)]
    license: Option<License<'a>>,
}

#[derive(Deserialize)]
struct License<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct Vulnerability<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    references: Items<Reference<'a>>,
    #[serde(borrow, default)]
    ratings: Items<Rating<'a>>,
    #[serde(borrow, default)]
    cwes: Items<Text<'a>>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    recommendation: Text<'a>,
    #[serde(borrow, default)]
    analysis: Option<Analysis<'a>>,
    #[serde(borrow, default)]
    affects: Items<Affects<'a>>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
}

#[derive(Deserialize)]
struct Rating<'a> {
    #[serde(borrow, default)]
    score: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    method: Text<'a>,
}

#[derive(Deserialize)]
struct Analysis<'a> {
    #[serde(borrow, default)]
    state: Text<'a>,
    #[serde(borrow, default)]
    justification: Text<'a>,
    #[serde(borrow, default)]
    detail: Text<'a>,
}

#[derive(Deserialize)]
struct Affects<'a> {
    #[serde(borrow, default, rename = "ref")]
    reference: Text<'a>,
}

/// Name, version and package URL of a component.
type Known = HashMap<String, [String; 3]>;

pub fn read(input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut json = Json::new(input);
    let mut version = String::new();
    let mut known = Known::new();
    let mut components_seen = false;
    let mut held: Option<Held> = None;
    json.object(|json, key| match key {
        "specVersion" => json.text().map(|text| version = text),
        "metadata" => metadata(json, out),
        "components" => {
            components_seen = true;
            json.array(|json| match json.element::<RawComponent<'_>>()? {
                Some(component) => component.emit(&mut known, out),
                None => Ok(()),
            })
        }
        "vulnerabilities" if components_seen => vulnerabilities(json, &known, out),
        "vulnerabilities" => json.hold().map(|value| held = Some(value)),
        _ => json.skip(),
    })?;
    if !super::version_known(&version) {
        return Err(json.not_this("only CycloneDX 1.2 to 1.7 are known"));
    }
    json.finish()?;
    if let Some(held) = held {
        let bad = held.replay(|json| {
            vulnerabilities(json, &known, out)?;
            Ok(json.take_bad())
        })?;
        json.add_bad(bad);
    }
    out.bad_entries(&json.take_bad());
    Ok(())
}

fn metadata(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.object(|json, key| match key {
        "timestamp" => {
            out.report.observed_at = json.text()?.parse().ok();
            Ok(())
        }
        // A list until 1.4, an object with `components` since 1.5.
        "tools" if json.peek()? == b'[' => json.array(|json| tool(json, out)),
        "tools" => json.object(|json, key| match key {
            "components" => json.array(|json| tool(json, out)),
            _ => json.skip(),
        }),
        "component" => {
            if let Some(component) = json.element::<RawComponent<'_>>()? {
                let report = &mut out.report;
                report.bind(Binding::Target(component.name.to_string()));
                if component.version.starts_with("sha256:") {
                    let digest = component.version.to_string();
                    report.bind(Binding::ImageId(digest));
                }
            }
            Ok(())
        }
        _ => json.skip(),
    })
}

fn tool(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    if let Some(tool) = json.element::<RawComponent<'_>>()?
        && out.report.tool.version.is_empty()
    {
        out.tool(&tool.name, &tool.version);
    }
    Ok(())
}

fn vulnerabilities(
    json: &mut Json<'_>,
    known: &Known,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    json.array(|json| match json.element::<Vulnerability<'_>>()? {
        Some(vulnerability) => vulnerability.emit(known, out),
        None => Ok(()),
    })
}

impl RawComponent<'_> {
    fn emit(&self, known: &mut Known, out: &mut Out<'_>) -> Result<(), IngestError> {
        let name = if self.group.is_empty() {
            text::one_line(&self.name, 300)
        } else {
            text::one_line(&format!("{}/{}", &*self.group, &*self.name), 300)
        };
        if !self.reference.is_empty() && known.len() < MAX_REFERENCES {
            let facts = [
                name.clone(),
                self.version.to_string(),
                self.purl.to_string(),
            ];
            known.insert(self.reference.to_string(), facts);
        }
        let licenses = self.licenses.iter().take(50).filter_map(|choice| {
            let license = choice.license.as_ref();
            [
                &*choice.expression,
                license.map_or("", |license| &*license.id),
                license.map_or("", |license| &*license.name),
            ]
            .into_iter()
            .find(|word| !word.is_empty())
            .map(|word| text::one_line(word, 300))
        });
        out.component(Component {
            name,
            version: self.version.some(),
            purl: self.purl.some(),
            licenses: licenses.collect(),
        })?;
        self.components
            .iter()
            .try_for_each(|component| component.emit(known, out))
    }
}

impl Vulnerability<'_> {
    fn emit(&self, known: &Known, out: &mut Out<'_>) -> Result<(), IngestError> {
        if self.affects.is_empty() {
            return self.finding(["", "", ""], out);
        }
        for affected in self.affects.iter() {
            let reference = &*affected.reference;
            match known.get(reference) {
                Some([name, version, purl]) => self.finding([name, version, purl], out)?,
                // A link into another document: `urn:cdx:…#pkg:npm/x@1`.
                None => {
                    let purl = reference.find("pkg:").map_or("", |at| &reference[at..]);
                    self.finding([reference, "", purl], out)?;
                }
            }
        }
        Ok(())
    }

    fn finding(&self, package: [&str; 3], out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut ids = Identifiers::default();
        ids.add(&self.id);
        for reference in self.references.iter() {
            ids.add(&reference.id);
        }
        let cvss = self
            .ratings
            .iter()
            .filter(|rating| rating.method.starts_with("CVSSv"));
        let cvss_tenths = cvss.filter_map(|rating| cvss::tenths(&rating.score)).max();
        let word = self
            .ratings
            .iter()
            .map(|rating| &*rating.severity)
            .max_by_key(|word| Severity::from_word(word))
            .unwrap_or_default();
        let severity = match (word, cvss_tenths) {
            ("", Some(tenths)) => Severity::from_cvss_tenths(tenths),
            _ => out.severity(word),
        };
        let cwes: Vec<&str> = self.cwes.iter().map(|cwe| &**cwe).collect();
        let [name, version, purl] = package;
        let finding = Vulnerable {
            id: if self.id.is_empty() {
                "unnamed"
            } else {
                &self.id
            },
            ids,
            title: self.description.lines().next().unwrap_or_default(),
            description: &self.description,
            raw_severity: word,
            severity,
            cvss_tenths,
            purl,
            name,
            version,
            advice: text::block(&self.recommendation, 500),
            suppression: self.suppression(),
            ..Vulnerable::default()
        };
        finding.emit(&cwes, out)
    }

    fn suppression(&self) -> Option<Suppression> {
        let analysis = self.analysis.as_ref()?;
        let silenced = [
            "not_affected",
            "false_positive",
            "resolved",
            "resolved_with_pedigree",
        ];
        silenced.contains(&&*analysis.state).then(|| Suppression {
            kind: "vex".to_owned(),
            status: analysis.state.some(),
            justification: text::block(
                &format!("{} {}", &*analysis.justification, &*analysis.detail),
                500,
            ),
        })
    }
}
