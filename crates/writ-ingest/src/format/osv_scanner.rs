//! osv-scanner JSON. Fields: <https://google.github.io/osv-scanner/output/> and <https://ossf.github.io/osv-schema/>.
//!
//! One finding per group: the tool itself groups records that are aliases of each other. Sources without
//! a vulnerability are not listed, so the report does not say what was looked at.

use serde::Deserialize;
use writ_model::Severity;

use super::common::Vulnerable;
use super::{Format, Yield};
use crate::cvss;
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Held, Items, Json, Text};
use crate::out::Out;

/// The format.
pub struct OsvScanner;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    package: Package<'a>,
    #[serde(borrow, default)]
    vulnerabilities: Items<Record<'a>>,
    #[serde(borrow, default)]
    groups: Items<Group<'a>>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    ecosystem: Text<'a>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    aliases: Items<Text<'a>>,
    #[serde(borrow, default)]
    summary: Text<'a>,
    #[serde(borrow, default)]
    details: Text<'a>,
    #[serde(borrow, default)]
    severity: Items<Score<'a>>,
    #[serde(borrow, default)]
    affected: Items<Affected<'a>>,
    #[serde(borrow, default)]
    database_specific: Option<Specific<'a>>,
}

#[derive(Deserialize)]
struct Score<'a> {
    #[serde(borrow, default)]
    score: Text<'a>,
}

#[derive(Deserialize)]
struct Specific<'a> {
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    cwe_ids: Items<Text<'a>>,
}

#[derive(Deserialize)]
struct Affected<'a> {
    #[serde(borrow, default)]
    package: Option<AffectedPackage<'a>>,
    #[serde(borrow, default)]
    ranges: Items<Range<'a>>,
}

#[derive(Deserialize)]
struct AffectedPackage<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Deserialize)]
struct Range<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    events: Items<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    fixed: Text<'a>,
}

#[derive(Deserialize)]
struct Group<'a> {
    #[serde(borrow, default)]
    ids: Items<Text<'a>>,
    #[serde(borrow, default)]
    aliases: Items<Text<'a>>,
    #[serde(borrow, default)]
    max_severity: Text<'a>,
}

impl Format for OsvScanner {
    fn id(&self) -> &'static str {
        "osv-scanner"
    }

    fn title(&self) -> &'static str {
        "osv-scanner JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.osv-scanner.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let filled = head.has_all(&["results/[]/source", "results/[]/packages"]);
        if filled || head.has_all(&["results", "experimental_config"]) {
            Likeness::Certain
        } else {
            super::only_empty_results(head)
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("osv-scanner", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "results" => {
                seen = true;
                json.array(|json| result(json, out))
            }
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'results'"));
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

fn result(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let mut path = None;
    let mut held: Option<Held> = None;
    json.object(|json, key| match key {
        "source" => {
            let mut found = String::new();
            json.object(|json, key| match key {
                "path" => json.text().map(|text| found = text),
                _ => json.skip(),
            })?;
            path = Some(found);
            Ok(())
        }
        "packages" => match &path {
            Some(path) => packages(json, path, out),
            None => json.hold().map(|value| held = Some(value)),
        },
        _ => json.skip(),
    })?;
    if path.is_none() && held.is_none() {
        return Err(json.not_this("a result without 'source' and 'packages'"));
    }
    if let Some(held) = held {
        let path = path.unwrap_or_default();
        let bad = held.replay(|json| {
            packages(json, &path, out)?;
            Ok(json.take_bad())
        })?;
        json.add_bad(bad);
    }
    Ok(())
}

fn packages(json: &mut Json<'_>, path: &str, out: &mut Out<'_>) -> Result<(), IngestError> {
    json.array(|json| match json.element::<Entry<'_>>()? {
        Some(entry) => entry.emit(path, out),
        None => Ok(()),
    })
}

impl Entry<'_> {
    fn emit(&self, path: &str, out: &mut Out<'_>) -> Result<(), IngestError> {
        for group in self.groups.iter() {
            let members: Vec<&Record<'_>> = self
                .vulnerabilities
                .iter()
                .filter(|record| group.ids.iter().any(|id| **id == *record.id))
                .collect();
            let id = group.ids.first().map_or("unnamed", |id| &**id);
            self.finding(id, &members, Some(group), path, out)?;
        }
        for record in self.vulnerabilities.iter() {
            let grouped = |group: &Group<'_>| group.ids.iter().any(|id| **id == *record.id);
            if !self.groups.iter().any(grouped) {
                self.finding(&record.id, &[record], None, path, out)?;
            }
        }
        Ok(())
    }

    fn finding(
        &self,
        id: &str,
        members: &[&Record<'_>],
        group: Option<&Group<'_>>,
        path: &str,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let mut ids = Identifiers::default();
        ids.add(id);
        if let Some(group) = group {
            group
                .ids
                .iter()
                .chain(group.aliases.iter())
                .for_each(|id| ids.add(id));
        }
        for record in members {
            ids.add(&record.id);
            record.aliases.iter().for_each(|id| ids.add(id));
        }
        let stated = group.map_or("", |group| &*group.max_severity);
        let vectors = members.iter().flat_map(|record| record.severity.iter());
        let cvss_tenths = cvss::tenths(stated).or_else(|| {
            vectors
                .filter_map(|score| cvss::from_vector(&score.score))
                .max()
        });
        let word = members
            .iter()
            .filter_map(|record| record.database_specific.as_ref())
            .map(|specific| &*specific.severity)
            .find(|word| !word.is_empty())
            .unwrap_or_default();
        // The database's own word counts before the score, as in its other readers.
        let severity = match (word, cvss_tenths) {
            ("", Some(tenths)) => Severity::from_cvss_tenths(tenths),
            _ => out.severity(word),
        };
        let filled = |text: &&str| !text.is_empty();
        let summary = members.iter().map(|record| &*record.summary).find(filled);
        let details = members.iter().map(|record| &*record.details).find(filled);
        let details = details.unwrap_or_default();
        let cwes: Vec<&str> = members
            .iter()
            .filter_map(|record| record.database_specific.as_ref())
            .flat_map(|specific| specific.cwe_ids.iter().map(|cwe| &**cwe))
            .collect();
        let finding = Vulnerable {
            id,
            ids,
            title: summary
                .or_else(|| details.lines().next())
                .unwrap_or_default(),
            description: details,
            raw_severity: if word.is_empty() { stated } else { word },
            severity,
            cvss_tenths,
            ecosystem: &self.package.ecosystem,
            name: &self.package.name,
            version: &self.package.version,
            path,
            fixed: self.fixed(members),
            ..Vulnerable::default()
        };
        finding.emit(&cwes, out)
    }

    fn fixed(&self, members: &[&Record<'_>]) -> Vec<String> {
        let mut versions: Vec<String> = members
            .iter()
            .flat_map(|record| record.affected.iter())
            .filter(|affected| {
                let name = affected
                    .package
                    .as_ref()
                    .map_or("", |package| &*package.name);
                name.eq_ignore_ascii_case(&self.package.name)
            })
            .flat_map(|affected| affected.ranges.iter())
            .filter(|range| &*range.kind != "GIT")
            .flat_map(|range| range.events.iter())
            .filter_map(|event| event.fixed.some())
            .take(20)
            .collect();
        versions.dedup();
        versions
    }
}
