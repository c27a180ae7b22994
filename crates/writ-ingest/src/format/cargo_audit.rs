//! cargo-audit JSON. Fields: <https://docs.rs/rustsec/latest/rustsec/report/struct.Report.html>.
//! `settings.ignore` is a list of undocumented exemptions: each becomes a suppressed finding.

use serde::Deserialize;
use writ_model::{DatabaseInfo, Severity, Suppression};

use super::common::Vulnerable;
use super::{Format, Yield};
use crate::cvss;
use crate::error::IngestError;
use crate::fingerprint::Basis;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Int, Items, Json, Text};
use crate::out::{Out, blank};

/// The format.
pub struct CargoAudit;

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    advisory: Option<Advisory<'a>>,
    #[serde(borrow, default)]
    versions: Option<Versions<'a>>,
    #[serde(borrow)]
    package: Package<'a>,
}

#[derive(Deserialize)]
struct Advisory<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    title: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default)]
    aliases: Items<Text<'a>>,
    #[serde(borrow, default)]
    cvss: Text<'a>,
}

#[derive(Deserialize)]
struct Versions<'a> {
    #[serde(borrow, default)]
    patched: Items<Text<'a>>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Database<'a> {
    #[serde(borrow, default)]
    last_commit: Text<'a>,
    #[serde(borrow, default)]
    last_updated: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Lockfile {
    #[serde(default, rename = "dependency-count")]
    dependency_count: Int,
}

#[derive(Deserialize, Default)]
struct Settings<'a> {
    #[serde(borrow, default)]
    ignore: Items<Text<'a>>,
}

impl Format for CargoAudit {
    fn id(&self) -> &'static str {
        "cargo-audit"
    }

    fn title(&self) -> &'static str {
        "cargo-audit JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.cargo-audit.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        super::certain_if(head.has_all(&["database", "lockfile"]))
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("cargo-audit", "");
        let mut json = Json::new(input);
        let mut seen = false;
        json.object(|json, key| match key {
            "database" => {
                let database: Database<'_> = json.value::<Option<_>>()?.unwrap_or_default();
                out.report.database = Some(DatabaseInfo {
                    name: "advisory-db".to_owned(),
                    updated_at: database.last_updated.parse().ok(),
                    version: database.last_commit.some(),
                    label: None,
                });
                Ok(())
            }
            "lockfile" => {
                let lockfile: Lockfile = json.value::<Option<_>>()?.unwrap_or_default();
                if let Some(count) = lockfile.dependency_count.0 {
                    out.report.add_looked_at("packages", count);
                }
                Ok(())
            }
            "settings" => {
                let settings: Settings<'_> = json.value::<Option<_>>()?.unwrap_or_default();
                settings.ignore.iter().try_for_each(|id| ignored(id, out))
            }
            "vulnerabilities" => {
                seen = true;
                json.object(|json, key| match key {
                    "list" => json.array(|json| match json.element::<Entry<'_>>()? {
                        Some(entry) => entry.emit(None, out),
                        None => Ok(()),
                    }),
                    _ => json.skip(),
                })
            }
            "warnings" => json.object(|json, kind| {
                json.array(|json| match json.element::<Entry<'_>>()? {
                    Some(entry) => entry.emit(Some(kind), out),
                    None => Ok(()),
                })
            }),
            _ => json.skip(),
        })?;
        if !seen {
            return Err(json.not_this("there are no 'vulnerabilities'"));
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

/// The report does not say whether an ignored advisory would have matched.
fn ignored(id: &str, out: &mut Out<'_>) -> Result<(), IngestError> {
    let category = writ_model::Category::Vulnerability;
    let mut finding = blank(
        category,
        id,
        "Ignored in the tool's settings",
        Severity::Unknown,
    );
    let mut ids = Identifiers::default();
    ids.add(id);
    finding.identifiers = ids.finish();
    finding.suppression = Some(Suppression {
        kind: "ignore-file".to_owned(),
        status: None,
        justification: None,
    });
    let basis = Basis::Bare {
        rule: id,
        detail: "settings.ignore",
    };
    out.finding(finding, &basis)
}

impl Entry<'_> {
    /// `warning`: kind of an informational entry.
    fn emit(&self, warning: Option<&str>, out: &mut Out<'_>) -> Result<(), IngestError> {
        let advisory = self.advisory.as_ref();
        let vector = advisory.map_or("", |advisory| &*advisory.cvss);
        let cvss_tenths = cvss::from_vector(vector);
        let severity = match (cvss_tenths, warning) {
            (Some(tenths), _) => Severity::from_cvss_tenths(tenths),
            (None, Some("unsound")) => Severity::Low,
            // Unmaintained, yanked, notice: no known weakness.
            (None, Some(_)) => Severity::Info,
            (None, None) => {
                if !vector.is_empty() {
                    out.report
                        .note("a CVSS vector of a version that is not computed");
                }
                Severity::Unknown
            }
        };
        // A yanked release has no advisory.
        let id = advisory.map_or(warning.unwrap_or("unnamed"), |advisory| &*advisory.id);
        let mut ids = Identifiers::default();
        ids.add(id);
        for alias in advisory.iter().flat_map(|advisory| advisory.aliases.iter()) {
            ids.add(alias);
        }
        let patched = self
            .versions
            .iter()
            .flat_map(|versions| versions.patched.iter());
        let finding = Vulnerable {
            id,
            ids,
            title: advisory.map_or("This release was withdrawn by its author", |a| &*a.title),
            description: advisory.map_or("", |advisory| &*advisory.description),
            raw_severity: warning.unwrap_or(vector),
            severity,
            cvss_tenths,
            ecosystem: "cargo",
            name: &self.package.name,
            version: &self.package.version,
            path: "Cargo.lock",
            fixed: patched
                .take(20)
                .map(|version| version.to_string())
                .collect(),
            ..Vulnerable::default()
        };
        finding.emit(&[], out)
    }
}
