//! trivy JSON (schema 2, and the older bare list of results): vulnerabilities, misconfigurations,
//! secrets and licences. Fields: <https://github.com/aquasecurity/trivy/blob/main/pkg/types/report.go>.
//!
//! The age of the vulnerability database is in no report: it comes from the adapter's database probe.

use serde::Deserialize;
use serde_json::value::RawValue;
use writ_model::finding::Component;
use writ_model::{Category, Finding, Fix, Location, Severity, Suppression};

use super::{Format, Yield};
use crate::error::IngestError;
use crate::fingerprint::{self, Basis};
use crate::head::{Head, Likeness};
use crate::identify::Identifiers;
use crate::input::Input;
use crate::json::{Held, Int, Items, Json, Text};
use crate::out::{Out, blank, secret_hash};
use crate::package::PackageKey;
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::Binding;
use crate::{cvss, text};

/// The format.
pub struct Trivy;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vulnerability<'a> {
    #[serde(borrow, rename = "VulnerabilityID")]
    id: Text<'a>,
    #[serde(borrow, default, rename = "VendorIDs")]
    vendor_ids: Items<Text<'a>>,
    #[serde(borrow)]
    pkg_name: Text<'a>,
    #[serde(borrow, default)]
    pkg_path: Text<'a>,
    #[serde(borrow, default)]
    pkg_identifier: Option<PackageIdentifier<'a>>,
    #[serde(borrow, default)]
    installed_version: Text<'a>,
    #[serde(borrow, default)]
    fixed_version: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    title: Text<'a>,
    #[serde(borrow, default)]
    description: Text<'a>,
    #[serde(borrow, default, rename = "CweIDs")]
    cwe_ids: Items<Text<'a>>,
    #[serde(borrow, default, rename = "CVSS")]
    cvss: Scores<'a>,
}

#[derive(Deserialize)]
struct PackageIdentifier<'a> {
    #[serde(borrow, default, rename = "PURL")]
    purl: Text<'a>,
}

/// Scores by source: `{"nvd": {"V3Score": 9.8}, …}`.
#[derive(Default)]
struct Scores<'a>(Vec<(Text<'a>, Score<'a>)>);

#[derive(Deserialize)]
struct Score<'a> {
    #[serde(borrow, default, rename = "V3Score")]
    v3: Text<'a>,
    #[serde(borrow, default, rename = "V40Score")]
    v4: Text<'a>,
}

impl Scores<'_> {
    /// NVD's score, else the highest of the others.
    fn tenths(&self) -> Option<u16> {
        let of = |score: &Score<'_>| cvss::tenths(&score.v3).or_else(|| cvss::tenths(&score.v4));
        let nvd = self.0.iter().find(|(source, _)| &**source == "nvd");
        nvd.and_then(|(_, score)| of(score))
            .or_else(|| self.0.iter().filter_map(|(_, score)| of(score)).max())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scores<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Scores<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of scores")
            }

            fn visit_unit<E>(self) -> Result<Scores<'de>, E> {
                Ok(Scores::default())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Scores<'de>, A::Error> {
                let mut scores = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    scores.push(entry);
                }
                Ok(Scores(scores))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Misconfiguration<'a> {
    #[serde(borrow, rename = "ID")]
    id: Text<'a>,
    #[serde(borrow, default, rename = "AVDID")]
    avd_id: Text<'a>,
    #[serde(borrow, default)]
    title: Text<'a>,
    #[serde(borrow, default)]
    message: Text<'a>,
    #[serde(borrow, default)]
    resolution: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    cause_metadata: Option<Cause<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Cause<'a> {
    #[serde(borrow, default)]
    resource: Text<'a>,
    #[serde(default)]
    start_line: Int,
    #[serde(default)]
    end_line: Int,
    #[serde(borrow, default)]
    code: Option<Code<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Code<'a> {
    #[serde(borrow, default)]
    lines: Items<CodeLine<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeLine<'a> {
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(default)]
    is_cause: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret<'a> {
    #[serde(borrow, rename = "RuleID")]
    rule_id: Text<'a>,
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    title: Text<'a>,
    #[serde(default)]
    start_line: Int,
    #[serde(default)]
    end_line: Int,
    #[serde(borrow, default, rename = "Match")]
    matched: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct License<'a> {
    #[serde(borrow, default)]
    severity: Text<'a>,
    #[serde(borrow, default)]
    category: Text<'a>,
    #[serde(borrow, default)]
    pkg_name: Text<'a>,
    #[serde(borrow, default)]
    file_path: Text<'a>,
    #[serde(borrow, default)]
    name: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Modified<'a> {
    #[serde(borrow, default, rename = "Type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    statement: Text<'a>,
    #[serde(borrow, default)]
    source: Text<'a>,
    #[serde(borrow)]
    finding: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    identifier: Option<PackageIdentifier<'a>>,
    #[serde(borrow, default)]
    licenses: Items<Text<'a>>,
}

impl From<Package<'_>> for Component {
    fn from(package: Package<'_>) -> Self {
        Self {
            name: text::one_line(&package.name, 300),
            version: package.version.some(),
            purl: package.identifier.and_then(|id| id.purl.some()),
            licenses: package
                .licenses
                .iter()
                .take(50)
                .map(|license| text::one_line(license, 200))
                .collect(),
        }
    }
}

#[derive(Deserialize, Default)]
struct Summary {
    #[serde(default, rename = "Successes")]
    successes: Int,
    #[serde(default, rename = "Failures")]
    failures: Int,
    #[serde(default, rename = "Exceptions")]
    exceptions: Int,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    #[serde(borrow, default, rename = "ImageID")]
    image_id: Text<'a>,
    #[serde(borrow, default)]
    repo_digests: Items<Text<'a>>,
    #[serde(borrow, default, rename = "RepoURL")]
    repo_url: Text<'a>,
    #[serde(borrow, default)]
    commit: Text<'a>,
    #[serde(borrow, default)]
    branch: Text<'a>,
}

impl Format for Trivy {
    fn id(&self) -> &'static str {
        "trivy"
    }

    fn title(&self) -> &'static str {
        "trivy JSON"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/vnd.aquasec.trivy.report+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings, Yield::Components]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let current = head.has("SchemaVersion")
            && (head.has("ArtifactName") || head.has("Results") || head.has("Trivy"));
        let old = head.has("[]/Target") && (head.has("[]/Vulnerabilities") || head.has("[]/Type"));
        super::certain_if(current || old)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        out.tool("trivy", "");
        out.report.add_looked_at("targets", 0);
        let mut json = Json::new(input);
        if json.peek()? == b'[' {
            json.array(|json| result(json, out))?;
        } else {
            let mut seen = false;
            json.object(|json, key| {
                seen |= key == "SchemaVersion";
                top(json, key, out)
            })?;
            if !seen {
                return Err(json.not_this("there is no 'SchemaVersion'"));
            }
        }
        json.finish()?;
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("Results/*/Secrets/*/Match", Action::Mask),
            JsonRule("Results/*/Secrets/*/Code", Action::Mask),
            JsonRule(
                "Results/*/Misconfigurations/*/CauseMetadata/Code",
                Action::Mask,
            ),
            JsonRule(
                "Results/*/Misconfigurations/*/CauseMetadata/RenderedCause",
                Action::Mask,
            ),
            JsonRule(
                "Results/*/ExperimentalModifiedFindings/*/Finding/Match",
                Action::Mask,
            ),
            JsonRule(
                "Results/*/ExperimentalModifiedFindings/*/Finding/Code",
                Action::Mask,
            ),
            JsonRule(
                "Results/*/ExperimentalModifiedFindings/*/Finding/CauseMetadata/Code",
                Action::Mask,
            ),
            JsonRule("Metadata/Author", Action::Mask),
            JsonRule("Metadata/Committer", Action::Mask),
            JsonRule("Metadata/CommitMsg", Action::Mask),
            // Build steps and environment of an image hold what was passed to its build.
            JsonRule("Metadata/ImageConfig/author", Action::Mask),
            JsonRule("Metadata/ImageConfig/history/*/created_by", Action::Mask),
            JsonRule("Metadata/ImageConfig/history/*/author", Action::Mask),
            JsonRule("Metadata/ImageConfig/config/Env", Action::Mask),
            JsonRule("Metadata/ImageConfig/config/Cmd", Action::Mask),
            JsonRule("Metadata/ImageConfig/config/Entrypoint", Action::Mask),
            JsonRule("Metadata/ImageConfig/config/Labels", Action::Mask),
        ])
    }
}

fn top(json: &mut Json<'_>, key: &str, out: &mut Out<'_>) -> Result<(), IngestError> {
    match key {
        "SchemaVersion" => {
            let version = json.text()?;
            if version != "2" {
                return Err(json.not_this("only schema version 2 is known"));
            }
            Ok(())
        }
        "CreatedAt" => {
            let text = json.text()?;
            out.report.observed_at = text.parse().ok();
            Ok(())
        }
        "Trivy" => json.object(|json, key| {
            if key == "Version" {
                let version = json.text()?;
                out.tool("trivy", &version);
                Ok(())
            } else {
                json.skip()
            }
        }),
        "ArtifactName" => {
            let name = json.text()?;
            out.report.bind(Binding::Target(name));
            Ok(())
        }
        "Metadata" => {
            let metadata: Metadata<'_> = json.value::<Option<_>>()?.unwrap_or_default();
            let report = &mut out.report;
            report.bind(Binding::ImageId(metadata.image_id.to_string()));
            for digest in metadata.repo_digests.iter() {
                report.bind(Binding::RepoDigest(digest.to_string()));
            }
            report.bind(Binding::Repository(text::url(&metadata.repo_url)));
            report.bind(Binding::Commit(metadata.commit.to_string()));
            report.bind(Binding::Branch(metadata.branch.to_string()));
            Ok(())
        }
        "Results" => json.array(|json| result(json, out)),
        _ => json.skip(),
    }
}

/// What the findings of one result need to know.
#[derive(Default)]
struct Target {
    name: Option<String>,
    kind: Option<String>,
}

fn result(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    out.report.add_looked_at("targets", 1);
    let mut target = Target::default();
    let mut held: Vec<(String, Held)> = Vec::new();
    json.object(|json, key| match key {
        "Target" => {
            target.name = Some(json.text()?);
            Ok(())
        }
        "Type" => {
            target.kind = Some(json.text()?);
            Ok(())
        }
        "Packages" => {
            out.report.add_looked_at("packages", 0);
            json.array(|json| match json.element::<Package<'_>>()? {
                Some(package) => {
                    out.report.add_looked_at("packages", 1);
                    out.component(package.into())
                }
                None => Ok(()),
            })
        }
        "MisconfSummary" => {
            let summary: Summary = json.value::<Option<_>>()?.unwrap_or_default();
            let tests = summary.successes.or_zero()
                + summary.failures.or_zero()
                + summary.exceptions.or_zero();
            out.report.add_looked_at("tests", tests);
            Ok(())
        }
        "Vulnerabilities"
        | "Misconfigurations"
        | "Secrets"
        | "Licenses"
        | "ExperimentalModifiedFindings" => {
            // Secrets and licences have no type.
            let ready = target.name.is_some()
                && (target.kind.is_some() || matches!(key, "Secrets" | "Licenses"));
            if ready {
                list(json, key, &target, out)
            } else {
                held.push((key.to_owned(), json.hold()?));
                Ok(())
            }
        }
        _ => json.skip(),
    })?;
    for (key, value) in held {
        let bad = value.replay(|json| {
            list(json, &key, &target, out)?;
            Ok(json.take_bad())
        })?;
        json.add_bad(bad);
    }
    Ok(())
}

fn list(
    json: &mut Json<'_>,
    key: &str,
    target: &Target,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    json.array(|json| match key {
        "Vulnerabilities" => match json.element::<Vulnerability<'_>>()? {
            Some(item) => item.emit(target, None, out),
            None => Ok(()),
        },
        "Misconfigurations" => match json.element::<Misconfiguration<'_>>()? {
            Some(item) => item.emit(target, None, out),
            None => Ok(()),
        },
        "Secrets" => match json.element::<Secret<'_>>()? {
            Some(item) => item.emit(target, None, out),
            None => Ok(()),
        },
        "Licenses" => match json.element::<License<'_>>()? {
            Some(item) => item.emit(target, None, out),
            None => Ok(()),
        },
        _ => match json.element::<Modified<'_>>()? {
            Some(item) => item.emit(target, out),
            None => Ok(()),
        },
    })
}

impl Modified<'_> {
    fn emit(&self, target: &Target, out: &mut Out<'_>) -> Result<(), IngestError> {
        let vex = self.source.to_ascii_lowercase().contains("vex");
        let suppression = Suppression {
            kind: if vex { "vex" } else { "ignore-file" }.to_owned(),
            status: self.status.some(),
            justification: text::block(&self.statement, 500),
        };
        let raw = self.finding.get();
        let some = Some(suppression);
        let done = match &*self.kind {
            "vulnerability" => serde_json::from_str::<Vulnerability<'_>>(raw)
                .map(|item| item.emit(target, some, out)),
            "misconfiguration" => serde_json::from_str::<Misconfiguration<'_>>(raw)
                .map(|item| item.emit(target, some, out)),
            "secret" => {
                serde_json::from_str::<Secret<'_>>(raw).map(|item| item.emit(target, some, out))
            }
            "license" => {
                serde_json::from_str::<License<'_>>(raw).map(|item| item.emit(target, some, out))
            }
            _ => {
                out.report.note("suppressed finding of an unknown type");
                out.report.suppressed_unlisted += 1;
                return Ok(());
            }
        };
        done.unwrap_or_else(|_| {
            out.report.note("suppressed finding of an unknown shape");
            out.report.suppressed_unlisted += 1;
            Ok(())
        })
    }
}

impl Target {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }
}

fn severity(word: &str, out: &mut Out<'_>, finding: &mut Finding) {
    finding.severity = out.severity(word);
    word.clone_into(&mut finding.raw_severity);
}

impl Vulnerability<'_> {
    fn emit(
        &self,
        target: &Target,
        suppression: Option<Suppression>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let purl = self.pkg_identifier.as_ref().map_or("", |id| &id.purl);
        let key = PackageKey::new(purl, target.kind(), &self.pkg_name);
        let mut ids = Identifiers::default();
        ids.add(&self.id);
        for id in self.vendor_ids.iter() {
            ids.add(id);
        }
        let preferred = ids.preferred(&self.id).to_owned();
        for cwe in self.cwe_ids.iter() {
            ids.add_cwe(cwe);
        }
        let mut finding = blank(
            Category::Vulnerability,
            &self.id,
            &self.title,
            Severity::Unknown,
        );
        severity(&self.severity, out, &mut finding);
        finding.suppression = suppression;
        finding.cvss_tenths = self.cvss.tenths();
        finding.identifiers = ids.finish();
        finding.message = text::block(&self.description, 2_000);
        finding.fix = fix(&self.fixed_version);
        let path = if self.pkg_path.is_empty() {
            target.name()
        } else {
            &self.pkg_path
        };
        finding.location = Location::Package {
            purl: if purl.is_empty() {
                key.to_purl(&self.installed_version)
            } else {
                Some(purl.to_owned())
            },
            name: self.pkg_name.to_string(),
            version: self.installed_version.some(),
            path: (!path.is_empty()).then(|| text::path(path)),
        };
        let basis = Basis::Package {
            ecosystem: &key.ecosystem,
            name: &key.name,
            id: &preferred,
        };
        out.finding(finding, &basis)
    }
}

/// `1.2.3, 2.0.1` as versions.
fn fix(versions: &str) -> Option<Fix> {
    let versions: Vec<String> = versions
        .split(',')
        .map(str::trim)
        .filter(|version| !version.is_empty())
        .take(20)
        .map(str::to_owned)
        .collect();
    (!versions.is_empty()).then_some(Fix {
        versions,
        text: None,
    })
}

impl Misconfiguration<'_> {
    fn emit(
        &self,
        target: &Target,
        suppression: Option<Suppression>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let suppression = match &*self.status {
            // Shown only with --include-non-failures.
            "PASS" => return Ok(()),
            "EXCEPTION" => suppression.or(Some(Suppression {
                kind: "ignore-file".to_owned(),
                status: Some("EXCEPTION".to_owned()),
                justification: None,
            })),
            _ => suppression,
        };
        let none = Cause::default();
        let cause = self.cause_metadata.as_ref().unwrap_or(&none);
        let path = out.path(target.name());
        let (first, last) = (cause.start_line.line(), cause.end_line.line());
        // A long range is the block around the fault (a whole container): it changes for other reasons.
        let short = match (first, last) {
            (Some(first), Some(last)) => last.saturating_sub(first) < 3,
            _ => true,
        };
        let snippet: Vec<&str> = cause
            .code
            .iter()
            .flat_map(|code| code.lines.iter())
            .filter(|line| line.is_cause)
            .map(|line| &*line.content)
            .collect();
        let content = if short {
            out.content(&path, first, last, &snippet.join("\n"))
        } else {
            None
        };
        let mut finding = blank(
            Category::Misconfiguration,
            &self.id,
            &self.title,
            Severity::Unknown,
        );
        severity(&self.severity, out, &mut finding);
        finding.suppression = suppression;
        finding.message = text::block(&self.message, 2_000);
        finding.fix = text::block(&self.resolution, 500).map(|text| Fix {
            versions: Vec::new(),
            text: Some(text),
        });
        let mut ids = Identifiers::default();
        ids.add(&self.avd_id);
        finding.identifiers = ids.finish();
        let basis = Basis::Resource {
            rule: &self.id,
            path: &path,
            resource: &cause.resource,
            content,
        };
        finding.location = Location::File {
            path: path.clone(),
            line: first,
            end_line: last,
            column: None,
            commit: None,
            resource: cause.resource.some(),
        };
        out.finding(finding, &basis)
    }
}

impl Secret<'_> {
    fn emit(
        &self,
        target: &Target,
        suppression: Option<Suppression>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let path = out.path(target.name());
        // trivy hides the secret itself with stars; only an unhidden match gets a hash.
        let secret = if self.matched.contains("***") {
            None
        } else {
            secret_hash(out.options.secret_key, &self.matched)
        };
        let mut finding = blank(
            Category::Secret,
            &self.rule_id,
            &self.title,
            Severity::Unknown,
        );
        severity(&self.severity, out, &mut finding);
        finding.suppression = suppression;
        finding.secret_hash.clone_from(&secret);
        let basis = Basis::Secret {
            rule: &self.rule_id,
            path: &path,
            context: None,
            secret: secret.as_deref(),
        };
        finding.location = Location::File {
            path: path.clone(),
            line: self.start_line.line(),
            end_line: self.end_line.line(),
            column: None,
            commit: None,
            resource: None,
        };
        out.finding(finding, &basis)
    }
}

impl License<'_> {
    fn emit(
        &self,
        target: &Target,
        suppression: Option<Suppression>,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let path = if self.file_path.is_empty() {
            out.path(target.name())
        } else {
            out.path(&self.file_path)
        };
        let title = format!("{} ({})", &*self.name, &*self.category);
        let mut finding = blank(Category::License, &self.name, &title, Severity::Unknown);
        severity(&self.severity, out, &mut finding);
        finding.suppression = suppression;
        if self.pkg_name.is_empty() {
            let basis = Basis::Code {
                rule: &self.name,
                path: &path,
                content: fingerprint::content(&self.category),
            };
            finding.location = Location::File {
                path: path.clone(),
                line: None,
                end_line: None,
                column: None,
                commit: None,
                resource: None,
            };
            out.finding(finding, &basis)
        } else {
            let basis = Basis::Package {
                ecosystem: "license",
                name: &self.pkg_name,
                id: &self.name,
            };
            finding.location = Location::Package {
                purl: None,
                name: self.pkg_name.to_string(),
                version: None,
                path: (!path.is_empty()).then(|| path.clone()),
            };
            out.finding(finding, &basis)
        }
    }
}
