//! npm audit JSON: report version 2 (npm 7 and later), the older `advisories` form, and the error that npm
//! prints instead of a report. Fields: <https://docs.npmjs.com/cli/commands/npm-audit>.
//!
//! A finding is one advisory of one package; `via` entries that are names are edges of the tree.

use serde::Deserialize;

use super::common::Vulnerable;
use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Int, Items, Json, Text};
use crate::out::Out;
use crate::{cvss, text};

/// The format.
pub struct NpmAudit;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    via: Vec<Via<'a>>,
    #[serde(borrow, default)]
    nodes: Items<Text<'a>>,
    #[serde(borrow, default)]
    fix_available: Option<FixAvailable<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Via<'a> {
    Advisory(#[serde(borrow)] Box<Advisory<'a>>),
    /// Name of another package.
    Edge(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Advisory<'a> {
    #[serde(borrow, default)]
    source: Text<'a>,
    #[serde(borrow)]
    title: Text<'a>,
    #[serde(borrow, default)]
    url: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    cwe: Items<Text<'a>>,
    #[serde(borrow, default)]
    cvss: Option<Score<'a>>,
    #[serde(borrow, default)]
    range: Text<'a>,
}

#[derive(Deserialize)]
struct Score<'a> {
    #[serde(borrow, default)]
    score: Text<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FixAvailable<'a> {
    Update(#[serde(borrow)] Update<'a>),
    Word(bool),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(default)]
    is_sem_ver_major: bool,
}

/// An advisory of the older form.
#[derive(Deserialize)]
struct OldAdvisory<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow)]
    module_name: Text<'a>,
    #[serde(borrow, default)]
    title: Text<'a>,
    #[serde(borrow, default)]
    overview: Text<'a>,
    #[serde(borrow, default)]
    recommendation: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    url: Text<'a>,
    #[serde(borrow, default)]
    github_advisory_id: Text<'a>,
    #[serde(borrow, default)]
    cves: Items<Text<'a>>,
    #[serde(borrow, default)]
    cwe: Items<Text<'a>>,
    #[serde(borrow, default)]
    patched_versions: Text<'a>,
    #[serde(borrow, default)]
    findings: Items<OldFinding<'a>>,
}

#[derive(Deserialize)]
struct OldFinding<'a> {
    #[serde(borrow, default)]
    version: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    dependencies: Option<Dependencies>,
    #[serde(default, rename = "totalDependencies")]
    total: Int,
}

/// An object since npm 7, a number before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Dependencies {
    Counts { total: Int },
    Number(serde::de::IgnoredAny),
}

impl Format for NpmAudit {
    fn id(&self) -> &'static str {
        "npm-audit"
    }

    fn title(&self) -> &'static str {
        "npm audit JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.npm.audit+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let old =
            head.has_all(&["advisories", "metadata"]) || head.has_all(&["actions", "advisories"]);
        let error = head.has_all(&["statusCode", "uri"])
            || (head.has("error/summary") && (head.has("error/code") || head.has("error/detail")));
        super::certain_if(head.has("auditReportVersion") || old || error)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("npm-audit", "");
        let mut json = Json::new(input);
        let mut seen = false;
        let mut error: Vec<String> = Vec::new();
        json.object(|json, key| match key {
            "auditReportVersion" => {
                if json.text()? != "2" {
                    return Err(json.not_this("only version 2 of npm's audit report is known"));
                }
                Ok(())
            }
            "vulnerabilities" => {
                seen = true;
                json.object(|json, _| match json.element::<Package<'_>>()? {
                    Some(package) => package.emit(out),
                    None => Ok(()),
                })
            }
            "advisories" => {
                seen = true;
                json.object(|json, _| match json.element::<OldAdvisory<'_>>()? {
                    Some(advisory) => advisory.emit(out),
                    None => Ok(()),
                })
            }
            "metadata" => {
                let metadata: Metadata = json.value::<Option<_>>()?.unwrap_or_default();
                let total = match metadata.dependencies {
                    Some(Dependencies::Counts { total }) => total,
                    Some(Dependencies::Number(_)) | None => metadata.total,
                };
                if let Some(total) = total.0 {
                    out.report.add_looked_at("packages", total);
                }
                Ok(())
            }
            "message" | "statusCode" => {
                let words = json.text()?;
                error.push(words);
                Ok(())
            }
            "error" if json.peek()? == b'{' => json.object(|json, key| match key {
                "code" | "summary" | "detail" => json.text().map(|words| error.push(words)),
                _ => json.skip(),
            }),
            _ => json.skip(),
        })?;
        json.finish()?;
        if !seen {
            error.retain(|words| !words.is_empty());
            if error.is_empty() {
                return Err(json.not_this("there are neither 'vulnerabilities' nor 'advisories'"));
            }
            return Err(IngestError::ToolFailed {
                format: json.input().format,
                cause: text::one_line(&error.join(", "), 300),
            });
        }
        out.bad_entries(&json.take_bad());
        Ok(())
    }
}

/// `https://github.com/advisories/GHSA-…`: the last part.
fn from_url(url: &str) -> &str {
    url.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
}

impl Package<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let fix = match &self.fix_available {
            Some(FixAvailable::Update(update)) => Some(text::one_line(
                &format!(
                    "update {} to {}{}",
                    &*update.name,
                    &*update.version,
                    if update.is_sem_ver_major {
                        " (breaking change)"
                    } else {
                        ""
                    }
                ),
                300,
            )),
            Some(FixAvailable::Word(true)) => Some("run 'npm audit fix'".to_owned()),
            Some(FixAvailable::Word(false)) | None => None,
        };
        for via in &self.via {
            let Via::Advisory(advisory) = via else {
                continue;
            };
            let mut ids = Identifiers::default();
            let ghsa = from_url(&advisory.url);
            ids.add(ghsa);
            let id = if ghsa.starts_with("GHSA-") {
                ghsa
            } else {
                &advisory.source
            };
            let cwes: Vec<&str> = advisory.cwe.iter().map(|cwe| &**cwe).collect();
            let range = format!("Vulnerable versions: {}", &*advisory.range);
            let finding = Vulnerable {
                id,
                ids,
                title: &advisory.title,
                description: &range,
                raw_severity: &advisory.severity,
                severity: out.severity(&advisory.severity),
                cvss_tenths: advisory
                    .cvss
                    .as_ref()
                    .and_then(|score| cvss::tenths(&score.score))
                    // npm writes 0 where there is no score.
                    .filter(|tenths| *tenths > 0),
                ecosystem: "npm",
                name: &self.name,
                path: self.nodes.first().map_or("", |node| node),
                advice: fix.clone(),
                ..Vulnerable::default()
            };
            finding.emit(&cwes, out)?;
        }
        Ok(())
    }
}

impl OldAdvisory<'_> {
    fn emit(&self, out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut ids = Identifiers::default();
        ids.add(&self.github_advisory_id);
        ids.add(from_url(&self.url));
        for cve in self.cves.iter() {
            ids.add(cve);
        }
        let number = format!("npm-{}", &*self.id);
        let cwes: Vec<&str> = self.cwe.iter().map(|cwe| &**cwe).collect();
        let patched = self.patched_versions.trim();
        let finding = Vulnerable {
            id: if self.github_advisory_id.is_empty() {
                &number
            } else {
                &self.github_advisory_id
            },
            ids,
            title: &self.title,
            description: &self.overview,
            raw_severity: &self.severity,
            severity: out.severity(&self.severity),
            ecosystem: "npm",
            name: &self.module_name,
            version: self.findings.first().map_or("", |finding| &finding.version),
            // `<0.0.0` is npm's way to say that nothing is patched.
            fixed: if patched.is_empty() || patched == "<0.0.0" {
                Vec::new()
            } else {
                vec![text::one_line(patched, 200)]
            },
            advice: text::block(&self.recommendation, 300),
            ..Vulnerable::default()
        };
        finding.emit(&cwes, out)
    }
}
