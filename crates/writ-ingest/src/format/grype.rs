//! grype JSON. Fields: <https://github.com/anchore/grype/blob/main/grype/presenter/models/document.go>.
//! The report does not say how many packages were looked at.

use serde::Deserialize;
use writ_model::{DatabaseInfo, Suppression};

use super::common::Vulnerable;
use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Items, Json, Text};
use crate::out::Out;
use crate::report::Binding;
use crate::{cvss, text};

/// The format.
pub struct Grype;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match<'a> {
    #[serde(borrow)]
    vulnerability: Vulnerability<'a>,
    #[serde(borrow, default)]
    related_vulnerabilities: Items<Related<'a>>,
    #[serde(borrow)]
    artifact: Artifact<'a>,
    #[serde(borrow, default)]
    applied_ignore_rules: Items<IgnoreRule<'a>>,
}

#[derive(Deserialize)]
struct Vulnerability<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    cvss: Items<Cvss<'a>>,
    #[serde(borrow, default)]
    cwes: Items<Cwe<'a>>,
    #[serde(borrow, default)]
    fix: Option<FixedIn<'a>>,
}

#[derive(Deserialize)]
struct Related<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    cvss: Items<Cvss<'a>>,
}

#[derive(Deserialize)]
struct Cvss<'a> {
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    metrics: Option<Metrics<'a>>,
}

#[derive(Deserialize)]
struct Metrics<'a> {
    #[serde(borrow, default, rename = "baseScore")]
    base_score: Text<'a>,
}

#[derive(Deserialize)]
struct Cwe<'a> {
    #[serde(borrow, default)]
    cwe: Text<'a>,
}

#[derive(Deserialize)]
struct FixedIn<'a> {
    #[serde(borrow, default)]
    versions: Items<Text<'a>>,
}

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    purl: Text<'a>,
    #[serde(borrow, default)]
    locations: Items<Place<'a>>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, default)]
    path: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct IgnoreRule<'a> {
    #[serde(borrow, default)]
    reason: Text<'a>,
    #[serde(borrow, default)]
    vex_status: Text<'a>,
    #[serde(borrow, default)]
    vex_justification: Text<'a>,
}

impl Format for Grype {
    fn id(&self) -> &'static str {
        "grype"
    }

    fn title(&self) -> &'static str {
        "grype JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.grype.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let filled = head.has_all(&["matches", "matches/[]/vulnerability"]);
        let empty = head.has("matches") && (head.has("descriptor") || head.has("source"));
        super::certain_if(filled || empty)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("grype", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "matches" | "ignoredMatches" => {
                let ignored = key == "ignoredMatches";
                seen |= !ignored;
                json.array(|json| match json.element::<Match<'_>>()? {
                    Some(found) => found.emit(ignored, out),
                    None => Ok(()),
                })
            }
            "source" => source(json, out),
            "descriptor" => descriptor(json, out),
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'matches'"));
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

fn source(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.object(|json, key| {
        if key != "target" {
            return json.skip();
        }
        if json.peek()? == b'"' {
            let target = json.text()?;
            out.report.bind(Binding::Target(target));
            return Ok(());
        }
        json.object(|json, key| {
            match key {
                "userInput" => out.report.bind(Binding::Target(json.text()?)),
                "imageID" => out.report.bind(Binding::ImageId(json.text()?)),
                "repoDigests" => {
                    for digest in json.value::<Items<Text<'_>>>()?.iter() {
                        out.report.bind(Binding::RepoDigest(digest.to_string()));
                    }
                }
                _ => json.skip()?,
            }
            Ok(())
        })
    })
}

/// Tool version and database; the database's date moved into `status` with schema 6.
fn descriptor(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.object(|json, key| match key {
        "version" => {
            let version = json.text()?;
            out.tool("grype", &version);
            Ok(())
        }
        "timestamp" => {
            out.report.observed_at = json.text()?.parse().ok();
            Ok(())
        }
        "db" => {
            let mut info = DatabaseInfo {
                name: "grype-db".to_owned(),
                updated_at: None,
                version: None,
                label: None,
            };
            read_database(json, &mut info, 1)?;
            out.report.database = Some(info);
            Ok(())
        }
        _ => json.skip(),
    })
}

fn read_database(
    json: &mut Json<'_>,
    database: &mut DatabaseInfo,
    levels: u8,
) -> Result<(), IngestError> {
    json.object(|json, key| match key {
        "built" => {
            database.updated_at = json.text()?.parse().ok();
            Ok(())
        }
        "schemaVersion" => {
            database.version = Some(json.text()?).filter(|version| !version.is_empty());
            Ok(())
        }
        "status" if levels > 0 && json.peek()? == b'{' => read_database(json, database, levels - 1),
        _ => json.skip(),
    })
}

impl Match<'_> {
    fn emit(&self, ignored: bool, out: &mut Out<'_>) -> Result<(), IngestError> {
        let vulnerability = &self.vulnerability;
        let mut ids = Identifiers::default();
        ids.add(&vulnerability.id);
        for related in self.related_vulnerabilities.iter() {
            ids.add(&related.id);
        }
        let description = [&*vulnerability.description]
            .into_iter()
            .chain(
                self.related_vulnerabilities
                    .iter()
                    .map(|related| &*related.description),
            )
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        let related = self
            .related_vulnerabilities
            .iter()
            .flat_map(|r| r.cvss.iter());
        let cvss_tenths = vulnerability
            .cvss
            .iter()
            .chain(related)
            .filter(|cvss| cvss.version.starts_with('3') || cvss.version.starts_with('4'))
            .filter_map(|cvss| cvss::tenths(&cvss.metrics.as_ref()?.base_score))
            .max();
        let fixed = vulnerability.fix.iter().flat_map(|fix| fix.versions.iter());
        let cwes: Vec<&str> = vulnerability.cwes.iter().map(|cwe| &*cwe.cwe).collect();
        let finding = Vulnerable {
            id: &vulnerability.id,
            ids,
            title: description.lines().next().unwrap_or_default(),
            description,
            raw_severity: &vulnerability.severity,
            severity: out.severity(&vulnerability.severity),
            cvss_tenths,
            purl: &self.artifact.purl,
            ecosystem: &self.artifact.kind,
            name: &self.artifact.name,
            version: &self.artifact.version,
            path: self
                .artifact
                .locations
                .first()
                .map_or("", |place| &place.path),
            fixed: fixed.take(20).map(|version| version.to_string()).collect(),
            suppression: ignored.then(|| self.suppression()),
            ..Vulnerable::default()
        };
        finding.emit(&cwes, out)
    }

    fn suppression(&self) -> Suppression {
        let rule = self.applied_ignore_rules.first();
        let vex = rule.is_some_and(|rule| !rule.vex_status.is_empty());
        let reason = rule.map_or("", |rule| {
            if rule.vex_justification.is_empty() {
                &rule.reason
            } else {
                &rule.vex_justification
            }
        });
        Suppression {
            kind: if vex { "vex" } else { "ignore-file" }.to_owned(),
            status: rule.and_then(|rule| rule.vex_status.some()),
            justification: text::block(reason, 500),
        }
    }
}
