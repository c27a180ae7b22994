//! SARIF 2.1.0. Specification: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
//!
//! In scope: results, rules (driver and extensions), suppressions with their status, invocations,
//! version control provenance. Out of scope: code flows, graphs, external property files, fixes.
//! A tool may write its results before its rules; such results are held until the rules are known.

mod result;
mod rules;

use serde::Deserialize;

use super::{Format, Yield};
use crate::error::IngestError;
use crate::head::{Head, Likeness};
use crate::input::Input;
use crate::json::{Held, Items, Json, Text};
use crate::out::Out;
use crate::redact::{Action, JsonRule, Redaction};
use crate::report::{Binding, ProblemKind};
use crate::text;
use rules::Rules;

/// The format.
pub struct Sarif;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation<'a> {
    #[serde(default)]
    execution_successful: Option<bool>,
    #[serde(borrow, default)]
    exit_code: Text<'a>,
    #[serde(borrow, default)]
    start_time_utc: Text<'a>,
    #[serde(borrow, default)]
    end_time_utc: Text<'a>,
    #[serde(borrow, default)]
    tool_execution_notifications: Items<Notification<'a>>,
    #[serde(borrow, default)]
    tool_configuration_notifications: Items<Notification<'a>>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow, default)]
    level: Text<'a>,
    #[serde(borrow, default)]
    message: Message<'a>,
    #[serde(borrow, default)]
    locations: Items<result::Place<'a>>,
}

/// A message: text, or the id of one among the rule's.
#[derive(Deserialize, Default)]
struct Message<'a> {
    #[serde(borrow, default)]
    text: Text<'a>,
    #[serde(borrow, default)]
    markdown: Text<'a>,
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    arguments: Items<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provenance<'a> {
    #[serde(borrow, default)]
    repository_uri: Text<'a>,
    #[serde(borrow, default)]
    revision_id: Text<'a>,
    #[serde(borrow, default)]
    branch: Text<'a>,
}

#[derive(Deserialize)]
struct Artifact<'a> {
    #[serde(borrow, default)]
    roles: Items<Text<'a>>,
}

impl Format for Sarif {
    fn id(&self) -> &'static str {
        "sarif"
    }

    fn title(&self) -> &'static str {
        "SARIF 2.1.0"
    }

    fn media_types(&self) -> &'static [&'static str] {
        &["application/sarif+json"]
    }

    fn yields(&self) -> &'static [Yield] {
        &[Yield::Findings]
    }

    fn likeness(&self, head: &Head<'_>) -> Likeness {
        let schema = head
            .value("$schema")
            .is_some_and(|schema| schema.contains("sarif"));
        let shape = head.has("runs") && (head.has("version") || head.has("runs/[]/tool"));
        super::certain_if(schema || shape)
    }

    fn read(&self, input: Input<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        let mut json = Json::new(input);
        let mut version = None;
        let mut runs = 0_u64;
        json.object(|json, key| match key {
            "version" => {
                version = Some(json.text()?);
                Ok(())
            }
            "runs" => json.array(|json| {
                runs += 1;
                Run::default().read(json, out)
            }),
            _ => json.skip(),
        })?;
        json.finish()?;
        match version.as_deref() {
            Some(version) if version.starts_with("2.1") => {}
            Some(_) => return Err(json.not_this("only SARIF version 2.1.0 is known")),
            None => return Err(json.not_this("there is no 'version'")),
        }
        if runs == 0 {
            out.report
                .problem(ProblemKind::ToolFailed, "the report holds no run", None);
        }
        out.bad_entries(&json.take_bad());
        Ok(())
    }

    fn redaction(&self) -> Redaction {
        Redaction::Json(&[
            JsonRule("runs/*/results/**/snippet", Action::Mask),
            JsonRule("runs/*/results/**/contextRegion", Action::Mask),
            JsonRule("runs/*/results/**/fixes", Action::Mask),
            JsonRule("runs/*/results/**/webRequest", Action::Mask),
            JsonRule("runs/*/results/**/webResponse", Action::Mask),
            JsonRule("runs/*/results/*/partialFingerprints/author", Action::Mask),
            JsonRule("runs/*/results/*/partialFingerprints/email", Action::Mask),
            JsonRule(
                "runs/*/results/*/partialFingerprints/commitMessage",
                Action::Mask,
            ),
            JsonRule("runs/*/artifacts/*/contents", Action::Mask),
            JsonRule("runs/*/webRequests", Action::Mask),
            JsonRule("runs/*/webResponses", Action::Mask),
            JsonRule("runs/*/invocations/*/account", Action::Mask),
            JsonRule("runs/*/invocations/*/machine", Action::Mask),
            JsonRule("runs/*/invocations/*/environmentVariables", Action::Mask),
            JsonRule("runs/*/invocations/*/commandLine", Action::Mask),
            JsonRule("runs/*/invocations/*/arguments", Action::Mask),
        ])
    }
}

/// One run, until its results can be understood.
#[derive(Default)]
struct Run {
    rules: Option<Rules>,
    results_seen: bool,
    waiting: Option<Held>,
}

impl Run {
    fn read(mut self, json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
        json.object(|json, key| match key {
            "tool" => {
                self.rules = Some(Rules::read(json, out)?);
                Ok(())
            }
            "results" => {
                if json.peek()? == b'n' {
                    return json.skip();
                }
                self.results_seen = true;
                match &self.rules {
                    Some(rules) => result::read_all(json, rules, out),
                    None => {
                        self.waiting = Some(json.hold()?);
                        Ok(())
                    }
                }
            }
            "invocations" => json.array(|json| {
                if let Some(invocation) = json.element::<Invocation<'_>>()? {
                    invocation.note(out);
                }
                Ok(())
            }),
            "artifacts" => artifacts(json, out),
            "versionControlProvenance" => json.array(|json| {
                if let Some(origin) = json.element::<Provenance<'_>>()? {
                    let report = &mut out.report;
                    report.bind(Binding::Repository(text::url(&origin.repository_uri)));
                    report.bind(Binding::Commit(origin.revision_id.to_string()));
                    report.bind(Binding::Branch(origin.branch.to_string()));
                }
                Ok(())
            }),
            _ => json.skip(),
        })?;
        let rules = self.rules.unwrap_or_default();
        if let Some(waiting) = self.waiting {
            let bad = waiting.replay(|json| {
                result::read_all(json, &rules, out)?;
                Ok(json.take_bad())
            })?;
            json.add_bad(bad);
        }
        if !self.results_seen {
            // Absent or null: the tool did not scan, or failed before it could.
            out.report
                .problem(ProblemKind::ToolFailed, "a run without results", None);
        }
        Ok(())
    }
}

/// Counts the files that were analysed; other artifacts only say where results are.
fn artifacts(json: &mut Json<'_>, out: &mut Out<'_>) -> Result<(), IngestError> {
    let (mut analysed, mut listed) = (0, 0_u64);
    json.array(|json| {
        listed += 1;
        if let Some(artifact) = json.element::<Artifact<'_>>()?
            && artifact
                .roles
                .iter()
                .any(|role| &**role == "analysisTarget")
        {
            analysed += 1;
        }
        Ok(())
    })?;
    if analysed > 0 {
        out.report.add_looked_at("files", analysed);
    }
    Ok(())
}

impl Invocation<'_> {
    fn note(&self, out: &mut Out<'_>) {
        let report = &mut out.report;
        if self.execution_successful == Some(false) {
            let text = match &*self.exit_code {
                "" => "the tool says that its execution was not successful".to_owned(),
                code => {
                    format!("the tool says that its execution was not successful, exit code {code}")
                }
            };
            report.problem(ProblemKind::ToolFailed, &text, None);
        }
        let notifications = self.tool_execution_notifications.iter();
        for notification in notifications.chain(self.tool_configuration_notifications.iter()) {
            if &*notification.level == "error" {
                let place = notification.locations.first().map(result::Place::uri);
                report.problem(
                    ProblemKind::ParsingError,
                    &notification.message.text,
                    place.as_deref(),
                );
            }
        }
        report.started_at = report.started_at.or(self.start_time_utc.parse().ok());
        report.finished_at = self.end_time_utc.parse().ok().or(report.finished_at);
    }
}
