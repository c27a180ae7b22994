//! pip-audit JSON: an object with `dependencies`, or the bare list of old versions.
//! Fields: <https://github.com/pypa/pip-audit>. A skipped package is a problem, never a clean one.

use serde::Deserialize;
use writ_model::Severity;

use super::common::Vulnerable;
use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Items, Json, Text};
use crate::out::Out;
use crate::report::ProblemKind;

/// The format.
pub struct PipAudit;

#[derive(Deserialize)]
struct Dependency<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    vulns: Items<Vulnerability<'a>>,
    #[serde(borrow, default)]
    skip_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Vulnerability<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    fix_versions: Items<Text<'a>>,
    #[serde(borrow, default)]
    aliases: Items<Text<'a>>,
    #[serde(borrow, default)]
    description: Text<'a>,
}

impl Format for PipAudit {
    fn id(&self) -> &'static str {
        "pip-audit"
    }

    fn title(&self) -> &'static str {
        "pip-audit JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.pip-audit.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let named = |prefix: &str| {
            head.has(&format!("{prefix}[]/name"))
                && (head.has(&format!("{prefix}[]/vulns"))
                    || head.has(&format!("{prefix}[]/skip_reason")))
        };
        let empty = head.has_all(&["dependencies", "fixes"]);
        if named("dependencies/") || named("") || empty {
            Likeness::Certain
        } else if head.is_empty_list() {
            Likeness::Possible
        } else {
            Likeness::No
        }
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("pip-audit", "");
        out.report.add_looked_at("packages", 0);
        let mut json = Json::new(input);
        if json.peek()? == b'[' {
            json.array(|json| dependency(json, out))?;
        } else {
            let mut seen = false;
            json.object(|json, key| match key {
                "dependencies" => {
                    seen = true;
                    json.array(|json| dependency(json, out))
                }
                _ => json.skip(),
            })?;
            if !seen {
                return Err(json.not_this("there are no 'dependencies'"));
            }
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

fn dependency(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let Some(dependency) = json.element::<Dependency<'_>>()? else {
        return Ok(());
    };
    if let Some(reason) = &dependency.skip_reason {
        let place = Some(&*dependency.name);
        out.report.problem(ProblemKind::Skipped, reason, place);
        return Ok(());
    }
    out.report.add_looked_at("packages", 1);
    for vulnerability in dependency.vulns.iter() {
        let mut ids = Identifiers::default();
        ids.add(&vulnerability.id);
        for alias in vulnerability.aliases.iter() {
            ids.add(alias);
        }
        let finding = Vulnerable {
            id: &vulnerability.id,
            ids,
            title: vulnerability.description.lines().next().unwrap_or_default(),
            description: &vulnerability.description,
            // The advisories that pip-audit reads have no severity.
            severity: Severity::Unknown,
            ecosystem: "pypi",
            name: &dependency.name,
            version: &dependency.version,
            fixed: vulnerability
                .fix_versions
                .iter()
                .take(20)
                .map(|v| v.to_string())
                .collect(),
            ..Vulnerable::default()
        };
        finding.emit(&[], out)?;
    }
    Ok(())
}
