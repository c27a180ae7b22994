//! JSON documents and JSON lines. Stable: fields are only added, and `schema` names the version.
//!
//! Values are exactly those of the data; characters that could harm a terminal are written as
//! `\u` escapes, which any JSON reader turns back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use writ_model::{Check, Decision, DecisionId, Finding, Timestamp, WritId};

use crate::context::Context;
use crate::inspect::InspectView;
use crate::text::json_visible;
use crate::verdict;

/// Schema name of a decision document.
pub const GATE_SCHEMA: &str = "writ.gate/1";
/// Schema name of one check on a line.
pub const CHECK_SCHEMA: &str = "writ.check/1";

/// A decision with everything in it: what `writ gate --format json` prints, and what a server
/// answers when it is asked to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateDocument {
    /// [`GATE_SCHEMA`].
    pub schema: String,
    /// Id of the recorded decision; absent where nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// Its ledger index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The exit code that follows: 0 yes, 1 no, 3 cannot tell, 8 not yet.
    pub exit_code: u8,
    /// The answer as one sentence.
    pub sentence: String,
    /// What was judged, in the words of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The writ that a yes issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<WritDocument>,
    /// The decision itself.
    #[serde(flatten)]
    pub decision: Decision,
}

/// A writ, as a decision names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "IssuedWrit")]
pub struct WritDocument {
    /// Its id.
    pub id: WritId,
    /// Until when a deployment may begin.
    pub expires_at: Timestamp,
    /// Signed by a key that only the environment `local` believes.
    pub preview: bool,
}

/// The document of a decision.
#[must_use]
pub fn gate_document(decision: &Decision, context: &Context) -> GateDocument {
    GateDocument {
        schema: GATE_SCHEMA.to_owned(),
        decision_id: context.decision_id,
        log_index: context.log_index,
        url: context
            .decision_id
            .and_then(|id| context.link(&format!("d/{id}"))),
        exit_code: decision.answer.exit_code(),
        sentence: verdict::sentence(decision),
        change: context.change.clone(),
        writ: context.writ.as_ref().map(|writ| WritDocument {
            id: writ.id,
            expires_at: writ.expires_at,
            preview: writ.preview,
        }),
        decision: decision.clone(),
    }
}

/// The decision with everything in it: a [`GateDocument`]. Indented, ends with a newline.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    document(&gate_document(decision, context))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckLine<'a> {
    schema: &'static str,
    service: &'a str,
    environment: &'a str,
    as_of: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<DecisionId>,
    /// False for controls judged after deployment or continuously.
    blocking: bool,
    #[serde(flatten)]
    check: &'a Check,
}

/// One check per line, in the order of the profile, those judged later at the end
/// (`"blocking": false`). Schema [`CHECK_SCHEMA`].
#[must_use]
pub fn decision_lines(decision: &Decision, context: &Context) -> String {
    let blocking = decision.checks.iter().map(|check| (check, true));
    let later = decision.later.iter().map(|check| (check, false));
    blocking
        .chain(later)
        .map(|(check, blocking)| {
            line(&CheckLine {
                schema: CHECK_SCHEMA,
                service: &decision.service,
                environment: &decision.environment,
                as_of: decision.as_of,
                decision_id: context.decision_id,
                blocking,
                check,
            })
        })
        .collect()
}

/// Indented JSON with a final newline.
#[must_use]
pub fn document(value: &impl Serialize) -> String {
    finish(serde_json::to_string_pretty(value))
}

/// A document built as a tree, keys sorted: the order must not depend on how the JSON library was
/// built for other crates of the program.
pub(crate) fn tree(value: &Value) -> String {
    document(&Sorted(value))
}

struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => {
                let sorted: BTreeMap<&String, Sorted<'_>> = map
                    .iter()
                    .map(|(key, value)| (key, Sorted(value)))
                    .collect();
                serializer.collect_map(sorted)
            }
            Value::Array(list) => serializer.collect_seq(list.iter().map(Sorted)),
            other => other.serialize(serializer),
        }
    }
}

/// One line of JSON with its newline.
#[must_use]
pub fn line(value: &impl Serialize) -> String {
    finish(serde_json::to_string(value))
}

fn finish(json: serde_json::Result<String>) -> String {
    // Our types have string keys and no failing serialiser; should one appear, say so in JSON.
    let mut text = json.unwrap_or_else(|error| {
        serde_json::json!({"schema": "writ.error/1", "message": error.to_string()}).to_string()
    });
    text.push('\n');
    json_visible(text)
}

/// Schema name of an inspected report.
pub const INSPECT_SCHEMA: &str = "writ.inspect/1";
/// Schema name of one finding on a line.
pub const FINDING_SCHEMA: &str = "writ.finding/1";

#[derive(Serialize)]
struct InspectDocument<'a> {
    schema: &'static str,
    #[serde(flatten)]
    view: &'a InspectView,
}

/// What a report said: schema [`INSPECT_SCHEMA`] beside the fields of [`InspectView`].
#[must_use]
pub fn inspect(view: &InspectView) -> String {
    document(&InspectDocument {
        schema: INSPECT_SCHEMA,
        view,
    })
}

#[derive(Serialize)]
struct FindingLine<'a> {
    schema: &'static str,
    tool: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// One finding per line, in the order of the report. Schema [`FINDING_SCHEMA`].
#[must_use]
pub fn inspect_lines(view: &InspectView) -> String {
    view.findings
        .iter()
        .map(|finding| finding_line(finding, &view.tool.name))
        .collect()
}

/// One finding as a line, for callers that stream.
#[must_use]
pub fn finding_line(finding: &Finding, tool: &str) -> String {
    line(&FindingLine {
        schema: FINDING_SCHEMA,
        tool,
        finding,
    })
}
