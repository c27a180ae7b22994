//! One result of a SARIF run.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use writ_model::{Category, Finding, Location, Severity, Suppression};

use super::Message;
use super::rules::{Properties, Rule, Rules};
use crate::error::IngestError;
use crate::fingerprint::{self, Basis};
use crate::identify::{self, Identifiers};
use crate::json::{Int, Items, Json, Text};
use crate::out::{Out, blank, secret_hash};
use crate::{cvss, text};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    #[serde(borrow, default)]
    rule_id: Text<'a>,
    #[serde(default)]
    rule_index: Int,
    #[serde(borrow, default)]
    rule: Option<RuleReference<'a>>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    message: Message<'a>,
    #[serde(borrow, default)]
    locations: Items<Place<'a>>,
    #[serde(borrow, default)]
    partial_fingerprints: BTreeMap<Cow<'a, str>, Text<'a>>,
    #[serde(borrow, default)]
    fingerprints: BTreeMap<Cow<'a, str>, Text<'a>>,
    #[serde(borrow, default)]
    suppressions: Items<RawSuppression<'a>>,
    #[serde(borrow, default)]
    baseline_state: Text<'a>,
    #[serde(borrow, default)]
    properties: Option<Properties<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleReference<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(default)]
    index: Int,
    #[serde(default)]
    tool_component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(default)]
    index: Int,
}

#[derive(Deserialize)]
struct RawSuppression<'a> {
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow, default)]
    justification: Text<'a>,
}

/// A location.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place<'a> {
    #[serde(borrow, default)]
    physical_location: Option<Physical<'a>>,
    #[serde(borrow, default)]
    logical_locations: Items<Logical<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical<'a> {
    #[serde(borrow, default)]
    artifact_location: Option<ArtifactLocation<'a>>,
    #[serde(borrow, default)]
    region: Option<Region<'a>>,
}

#[derive(Deserialize)]
struct ArtifactLocation<'a> {
    #[serde(borrow, default)]
    uri: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region<'a> {
    #[serde(default)]
    start_line: Int,
    #[serde(default)]
    end_line: Int,
    #[serde(default)]
    start_column: Int,
    #[serde(borrow, default)]
    snippet: Option<Snippet<'a>>,
}

#[derive(Deserialize)]
struct Snippet<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logical<'a> {
    #[serde(borrow, default)]
    fully_qualified_name: Text<'a>,
}

impl Place<'_> {
    /// Path or URL, percent-decoded.
    pub(super) fn uri(&self) -> String {
        let uri = self
            .physical_location
            .as_ref()
            .and_then(|physical| physical.artifact_location.as_ref())
            .map_or("", |artifact| &artifact.uri);
        crate::package::percent_decode(uri)
    }

    fn region(&self) -> Option<&Region<'_>> {
        self.physical_location.as_ref()?.region.as_ref()
    }
}

/// Reads a run's `results`.
pub(super) fn read_all(
    json: &mut Json<'_>,
    rules: &Rules,
    out: &mut Out<'_>,
) -> Result<(), IngestError> {
    json.array(|json| match json.element::<SarifResult<'_>>()? {
        Some(result) => result.emit(rules, out),
        None => Ok(()),
    })
}

impl SarifResult<'_> {
    fn emit(&self, rules: &Rules, out: &mut Out<'_>) -> Result<(), IngestError> {
        if matches!(&*self.kind, "pass" | "notApplicable" | "informational") {
            out.report
                .note("results of kind pass, notApplicable or informational are no findings");
            return Ok(());
        }
        if &*self.baseline_state == "absent" {
            out.report
                .note("results with baselineState absent are gone and no findings");
            return Ok(());
        }
        let reference = self.rule.as_ref();
        let id = match reference {
            Some(reference) if self.rule_id.is_empty() => &*reference.id,
            _ => &*self.rule_id,
        };
        let index = self.rule_index.0.or(reference.and_then(|r| r.index.0));
        let extension = reference
            .and_then(|r| r.tool_component.as_ref())
            .and_then(|component| component.index.0);
        let none = Rule::default();
        let rule = rules.find(extension, index, id).unwrap_or(&none);
        let id = if id.is_empty() { &*rule.id } else { id };
        let id = if id.is_empty() { "unnamed" } else { id };
        let message = self.message(rule);
        let title = if rule.title.is_empty() || rule.title == id {
            &*message
        } else {
            &rule.title
        };
        let mut finding = blank(Category::Code, id, title, Severity::Unknown);
        self.severity(rule, out, &mut finding);
        finding.category = out
            .options
            .category
            .unwrap_or_else(|| category(out.family(), id, &rule.tags));
        finding.message = text::block(&message, 2_000);
        finding.identifiers = self.identifiers(id, rule);
        finding.suppression = self.suppression(out);
        finding.aliases = self.aliases();
        if !rule.help.is_empty() && finding.category != Category::Secret {
            finding.fix = Some(writ_model::Fix {
                versions: Vec::new(),
                text: Some(rule.help.clone()),
            });
        }
        self.place(finding, id, &message, out)
    }

    /// Sets the location and hands the finding on.
    fn place(
        &self,
        mut finding: Finding,
        id: &str,
        message: &str,
        out: &mut Out<'_>,
    ) -> Result<(), IngestError> {
        let place = self.locations.first();
        let uri = place.map(Place::uri).unwrap_or_default();
        if uri.starts_with("http://") || uri.starts_with("https://") {
            let url = text::url(&uri);
            let basis = Basis::Url {
                rule: id,
                url: &url,
                parameter: "",
            };
            finding.location = Location::Url {
                url: url.clone(),
                method: None,
                parameter: None,
            };
            return out.finding(finding, &basis);
        }
        let path = out.path(&uri);
        let region = place.and_then(Place::region);
        let line = region.and_then(|region| region.start_line.line());
        let end_line = region.and_then(|region| region.end_line.line());
        let snippet = region
            .and_then(|region| region.snippet.as_ref())
            .map_or("", |snippet| &snippet.text);
        let resource = place
            .and_then(|place| place.logical_locations.first())
            .and_then(|logical| logical.fully_qualified_name.some());
        let commit = self
            .partial_fingerprints
            .get("commitSha")
            .and_then(Text::some);
        let none = path.is_empty() && line.is_none() && resource.is_none();
        finding.location = if none {
            Location::None
        } else {
            Location::File {
                path: path.clone(),
                line,
                end_line,
                column: region.and_then(|region| region.start_column.line()),
                commit,
                resource: resource.clone(),
            }
        };
        match finding.category {
            Category::Secret => {
                // The snippet of a secret scanner is the secret.
                let secret = secret_hash(out.options.secret_key, snippet);
                finding.secret_hash.clone_from(&secret);
                finding.message = None;
                let basis = Basis::Secret {
                    rule: id,
                    path: &path,
                    context: None,
                    secret: secret.as_deref(),
                };
                out.finding(finding, &basis)
            }
            Category::Vulnerability => {
                // SARIF has no field for a package: trivy names it in the message's first line.
                let package = message
                    .lines()
                    .find_map(|line| line.strip_prefix("Package: "))
                    .unwrap_or_default()
                    .to_owned();
                let basis = Basis::Resource {
                    rule: id,
                    path: &path,
                    resource: &package,
                    content: fingerprint::content(message),
                };
                out.finding(finding, &basis)
            }
            Category::Misconfiguration => {
                let content = out.content(&path, line, end_line, snippet);
                let basis = Basis::Resource {
                    rule: id,
                    path: &path,
                    resource: resource.as_deref().unwrap_or_default(),
                    content,
                };
                out.finding(finding, &basis)
            }
            _ if none => {
                let basis = Basis::Bare {
                    rule: id,
                    detail: message,
                };
                out.finding(finding, &basis)
            }
            _ => {
                let content = out.content(&path, line, end_line, snippet);
                let basis = Basis::Code {
                    rule: id,
                    path: &path,
                    content,
                };
                out.finding(finding, &basis)
            }
        }
    }

    fn message<'m>(&'m self, rule: &'m Rule) -> Cow<'m, str> {
        let message = &self.message;
        let text = [&*message.text, rule.message(&message.id), &message.markdown]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        if message.arguments.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut filled = text.to_owned();
        for (number, argument) in message.arguments.iter().take(10).enumerate() {
            // Both parts come from the report: do not let them multiply without bound.
            if filled.len() < 10_000 {
                filled = filled.replace(&format!("{{{number}}}"), &text::one_line(argument, 500));
            }
        }
        Cow::Owned(filled)
    }

    fn severity(&self, rule: &Rule, out: &mut Out<'_>, finding: &mut Finding) {
        let own = self.properties.as_ref().map(|own| &*own.security_severity);
        let score = own
            .filter(|score| !score.is_empty())
            .unwrap_or(&rule.security_severity);
        if let Some(tenths) = cvss::tenths(score) {
            finding.cvss_tenths = Some(tenths);
            finding.severity = Severity::from_cvss_tenths(tenths);
            score.clone_into(&mut finding.raw_severity);
            return;
        }
        let level = [&*self.level, &*rule.level]
            .into_iter()
            .find(|level| !level.is_empty())
            .unwrap_or("warning");
        finding.severity = out.severity(level);
        level.clone_into(&mut finding.raw_severity);
    }

    fn identifiers(&self, id: &str, rule: &Rule) -> Vec<writ_model::Identifier> {
        let mut ids = Identifiers::default();
        ids.add(id);
        let own = self
            .properties
            .iter()
            .flat_map(|own| own.tags.iter().chain(own.cwe.iter()));
        for tag in rule
            .tags
            .iter()
            .map(|tag| &**tag)
            .chain(own.map(|tag| &**tag))
        {
            // `CWE-89: …`, `external/cwe/cwe-089`.
            if tag.to_ascii_lowercase().contains("cwe") {
                ids.add_cwe(tag);
            } else {
                ids.add(tag);
            }
        }
        ids.finish()
    }

    /// A result is suppressed when all its suppressions are accepted; the standard reads a missing
    /// status as accepted. One that is rejected or under review silences nothing.
    fn suppression(&self, out: &mut Out<'_>) -> Option<Suppression> {
        let first = self.suppressions.first()?;
        let open = self
            .suppressions
            .iter()
            .find(|one| matches!(&*one.status, "rejected" | "underReview"));
        if let Some(open) = open {
            out.report.note(if &*open.status == "rejected" {
                "a rejected suppression silences nothing"
            } else {
                "a suppression under review silences nothing yet"
            });
            return None;
        }
        Some(Suppression {
            kind: match &*first.kind {
                "inSource" => "in-source",
                _ => "external",
            }
            .to_owned(),
            status: first.status.some(),
            justification: text::block(&first.justification, 500),
        })
    }

    fn aliases(&self) -> Vec<String> {
        let people = ["author", "email", "commitMessage", "date", "commitSha"];
        self.fingerprints
            .iter()
            .chain(&self.partial_fingerprints)
            .filter(|(key, value)| {
                !people.contains(&&***key)
                    && !value.is_empty()
                    && &***value != "requires login"
                    && value.len() <= 300
            })
            .take(8)
            .map(|(key, value)| format!("{key}:{}", &**value))
            .collect()
    }
}

/// Category by tool and tags, when the caller does not say.
fn category(family: &str, id: &str, tags: &[String]) -> Category {
    let tagged = |word: &str| tags.iter().any(|tag| tag.eq_ignore_ascii_case(word));
    match family {
        "gitleaks" | "trufflehog" | "detect-secrets" | "git-secrets" => return Category::Secret,
        "checkov" | "tfsec" | "hadolint" | "kics" | "terrascan" | "zizmor" | "actionlint" => {
            return Category::Misconfiguration;
        }
        "grype" | "osv-scanner" | "cargo-audit" | "pip-audit" => return Category::Vulnerability,
        "zap" | "wapiti" | "nuclei" => return Category::Dynamic,
        _ => {}
    }
    if tagged("secret") {
        Category::Secret
    } else if tagged("misconfiguration") {
        Category::Misconfiguration
    } else if tagged("license") {
        Category::License
    } else if tagged("vulnerability")
        || matches!(
            identify::kind_of(id),
            Some("CVE" | "GHSA" | "RUSTSEC" | "PYSEC" | "GO" | "DSA" | "DLA" | "TEMP")
        )
    {
        Category::Vulnerability
    } else {
        Category::Code
    }
}
