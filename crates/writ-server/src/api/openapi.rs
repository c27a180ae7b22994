//! `/api/openapi.json`: the interface as an OpenAPI 3.1 document, made from the types that handlers
//! read and write. A test compares its operations with the table of routes.
//!
//! OpenAPI 3.1 schemas are JSON Schema 2020-12, which is what the types derive, so there is no second
//! description that could differ from the first.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use writ_model::EvidenceItem;
use writ_model::wire::{About, DecisionRequest, Receipt, Receipts, Upload};
use writ_registry::{
    ApprovalRow, ChangeRow, DecisionStates, RunRow, ServiceRow, Stats, TrackedFinding, WritRow,
};
use writ_release::authorise::Authorisation;
use writ_release::observe::{Differences, Watched};
use writ_render::GateDocument;

use super::admission::AdmissionQuery;
use super::authorisation::AuthorisationQuery;
use super::changes::ChangesQuery;
use super::controls::ControlView;
use super::decisions::DecisionView;
use super::device::{
    DeviceCodesView, DevicePoll, DeviceRefusal, DeviceRequest, DeviceToken, Revoked,
};
use super::environments::DiffQuery;
use super::evidence::{ENVELOPE, EvidenceQuery, EvidenceView};
use super::exemptions::{ExemptionView, ExemptionsQuery};
use super::findings::FindingsQuery;
use super::frameworks::FrameworkView;
use super::intake::{Handed, IntakeQuery};
use super::people::{AccountKey, ImportQuery, PeopleImport, SCIM};
use super::posture::PostureQuery;
use super::releases::{EmergencyView, ReleasesListQuery};
use super::uploads::PartQuery;
use super::workload::{BoundKey, NewKey};
use super::{AtQuery, Part, ReleasesQuery};
use crate::figures::posture::Posture;
use crate::hooks::{Answer, STRUCTURED};
use crate::http::{Code, Problem, etag};
use crate::ledger::None as NoQuery;
use crate::pages::ask_exemption::Request;
use crate::pages::inbox::Waiting;
use crate::pages::releases::Release;

type Make = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    about: &'static str,
    query: Make,
    body: Option<&'static [(&'static str, Make)]>,
    answers: &'static [(u16, &'static str, Make)],
    refusals: &'static [Code],
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Not as a component: parameters are listed one by one.
fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string"})
}

fn bytes(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string", "format": "binary"})
}

fn lines(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "string", "description": "One envelope, or one NewEvidence object, per line."})
}

fn envelope(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "A DSSE envelope; further members are ignored.",
        "required": ["payloadType", "payload", "signatures"],
        "properties": {
            "payloadType": {"type": "string"},
            "payload": {"type": "string"},
            "signatures": {"type": "array", "items": {"type": "object"}}
        }
    })
}

const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const READ: &[Code] = &[Code::Query, Code::NotAllowed, Code::Store];
const READ_ONE: &[Code] = &[
    Code::Query,
    Code::NotAllowed,
    Code::NotFound,
    Code::Ambiguous,
    Code::Store,
];

macro_rules! read {
    ($path:literal, $id:literal, $about:literal, $query:ty, $answer:ty) => {
        read!($path, $id, $about, $query, $answer, READ)
    };
    ($path:literal, $id:literal, $about:literal, $query:ty, $answer:ty, $refusals:expr) => {
        Operation {
            method: "get",
            path: $path,
            id: $id,
            about: $about,
            query: whole::<$query>,
            body: None,
            answers: &[(200, JSON, of::<$answer>)],
            refusals: $refusals,
        }
    };
}

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/api/openapi.json",
        id: "openapi",
        about: "This document",
        query: whole::<NoQuery>,
        body: None,
        answers: &[(200, JSON, whole::<Map<String, Value>>)],
        refusals: &[Code::Query],
    },
    read!(
        "/api/v1/evidence",
        "listEvidence",
        "Signed statements as the gate reads them, newest first",
        EvidenceQuery,
        Part<EvidenceItem>
    ),
    Operation {
        method: "post",
        path: "/api/v1/evidence",
        id: "recordEvidence",
        about: "Record signed envelopes: all of them, or none",
        query: whole::<IntakeQuery>,
        body: Some(&[
            (ENVELOPE, envelope),
            (JSON, of::<Handed<'static>>),
            ("application/x-ndjson", lines),
        ]),
        answers: &[(200, JSON, one_or_many), (201, JSON, one_or_many)],
        refusals: &[
            Code::Query,
            Code::Body,
            Code::MediaType,
            Code::TooLarge,
            Code::TooMany,
            Code::Refused,
            Code::Conflict,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Busy,
            Code::Store,
        ],
    },
    Operation {
        method: "post",
        path: "/api/v1/hooks/{name}",
        id: "deliver",
        about: "Deliver what happened in another system, proven by the webhook's secret",
        query: whole::<NoQuery>,
        body: Some(&[(JSON, anything), (STRUCTURED, anything)]),
        answers: &[
            (200, JSON, of::<Answer>),
            (201, JSON, of::<Answer>),
            (202, JSON, of::<Answer>),
        ],
        refusals: &[
            Code::Query,
            Code::Body,
            Code::MediaType,
            Code::TooLarge,
            Code::Signature,
            Code::NotFound,
            Code::Conflict,
            Code::Refused,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Busy,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/uploads/{digest}",
        "getUpload",
        "How much of a file is here",
        NoQuery,
        Upload,
        READ_ONE
    ),
    Operation {
        method: "post",
        path: "/api/v1/uploads/{digest}",
        id: "uploadPart",
        about: "Bring the next part of a large file, ahead of the statement that names it",
        query: whole::<PartQuery>,
        body: Some(&[(BYTES, bytes)]),
        answers: &[(200, JSON, of::<Upload>), (201, JSON, of::<Upload>)],
        refusals: &[
            Code::Query,
            Code::NotFound,
            Code::Offset,
            Code::TooLarge,
            Code::Refused,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Slow,
            Code::Busy,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/evidence/{id}",
        "getEvidence",
        "One statement, verified",
        AtQuery,
        EvidenceView,
        READ_ONE
    ),
    Operation {
        method: "get",
        path: "/api/v1/evidence/{id}/envelope",
        id: "getEnvelope",
        about: "The signed envelope, byte for byte as the ledger holds it",
        query: whole::<AtQuery>,
        body: None,
        answers: &[(200, ENVELOPE, envelope)],
        refusals: READ_ONE,
    },
    Operation {
        method: "get",
        path: "/api/v1/evidence/{id}/receipt",
        id: "getReceipt",
        about: "The offline proof that it is in the ledger (.tlog-proof)",
        query: whole::<AtQuery>,
        body: None,
        answers: &[(200, "text/plain", text)],
        refusals: READ_ONE,
    },
    Operation {
        method: "post",
        path: "/api/v1/workload/keys",
        id: "bindKey",
        about: "Bind a key that a CI job made to the job whose token comes with it",
        query: whole::<NoQuery>,
        body: Some(&[(JSON, of::<NewKey>)]),
        answers: &[(201, JSON, of::<BoundKey>)],
        refusals: &[
            Code::Body,
            Code::TooLarge,
            Code::Refused,
            Code::SignIn,
            Code::NotAllowed,
            Code::CrossSite,
            Code::Busy,
            Code::Store,
        ],
    },
    Operation {
        method: "post",
        path: "/api/v1/device",
        id: "askForToken",
        about: "Begin to ask a person for a token (RFC 8628)",
        query: whole::<NoQuery>,
        body: Some(&[(FORM, of::<DeviceRequest>)]),
        answers: &[(200, JSON, of::<DeviceCodesView>)],
        refusals: &[
            Code::TooLarge,
            Code::People,
            Code::TooOften,
            Code::CrossSite,
            Code::Store,
        ],
    },
    Operation {
        method: "post",
        path: "/api/v1/device/token",
        id: "fetchToken",
        about: "Fetch the token that a person was asked for",
        query: whole::<NoQuery>,
        body: Some(&[(FORM, of::<DevicePoll>)]),
        answers: &[
            (200, JSON, of::<DeviceToken>),
            (400, JSON, of::<DeviceRefusal>),
        ],
        refusals: &[Code::TooLarge, Code::CrossSite, Code::Store],
    },
    Operation {
        method: "post",
        path: "/api/v1/device/revoke",
        id: "endToken",
        about: "End the token of a person that comes with the request",
        query: whole::<NoQuery>,
        body: None,
        answers: &[(200, JSON, of::<Revoked>)],
        refusals: &[Code::SignIn, Code::People, Code::CrossSite, Code::Store],
    },
    read!(
        "/api/v1/findings",
        "listFindings",
        "Findings, the most severe and oldest first",
        FindingsQuery,
        Part<TrackedFinding>
    ),
    read!(
        "/api/v1/runs",
        "listRuns",
        "Runs, newest first",
        ReleasesQuery,
        Part<RunRow>
    ),
    read!(
        "/api/v1/changes",
        "listChanges",
        "Changes, newest first",
        ChangesQuery,
        Part<ChangeRow>
    ),
    read!(
        "/api/v1/decisions",
        "listDecisions",
        "Decisions with the state of each check, newest first",
        ReleasesQuery,
        Part<DecisionStates>
    ),
    Operation {
        method: "post",
        path: "/api/v1/decisions",
        id: "decide",
        about: "Judge a release over everything recorded, record the decision, and issue the writ of a yes",
        query: whole::<NoQuery>,
        body: Some(&[(JSON, of::<DecisionRequest>)]),
        answers: &[
            (200, JSON, of::<GateDocument>),
            (201, JSON, of::<GateDocument>),
        ],
        refusals: &[
            Code::Body,
            Code::MediaType,
            Code::TooLarge,
            Code::OtherProfile,
            Code::Undecidable,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Busy,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/people/key",
        "getAccountKey",
        "The key with which accounts become pseudonyms, for whoever hands in evidence",
        NoQuery,
        AccountKey
    ),
    Operation {
        method: "post",
        path: "/api/v1/people/import",
        id: "importPeople",
        about: "Take a list of people over: SCIM 2.0 (Users and Groups), JSON or CSV; all of it, or nothing",
        query: whole::<ImportQuery>,
        body: Some(&[
            (SCIM, whole::<Map<String, Value>>),
            (JSON, whole::<Map<String, Value>>),
            ("text/csv", text),
        ]),
        answers: &[(200, JSON, of::<PeopleImport>)],
        refusals: &[
            Code::Query,
            Code::Body,
            Code::MediaType,
            Code::TooLarge,
            Code::People,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/decisions/{id}",
        "getDecision",
        "One decision with all its checks",
        AtQuery,
        DecisionView,
        READ_ONE
    ),
    read!(
        "/api/v1/writs",
        "listWrits",
        "Writs, newest first",
        ReleasesQuery,
        Part<WritRow>
    ),
    Operation {
        method: "post",
        path: "/api/v1/admission",
        id: "admit",
        about: "Answer a validating admission webhook of Kubernetes (AdmissionReview v1): every image needs a writ for the environment",
        query: whole::<AdmissionQuery>,
        body: Some(&[(JSON, whole::<Map<String, Value>>)]),
        answers: &[(200, JSON, whole::<Map<String, Value>>)],
        refusals: &[
            Code::Query,
            Code::Body,
            Code::TooLarge,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/authorisation",
        "getAuthorisation",
        "May an artefact be deployed to an environment? The writ, or why there is none that counts",
        AuthorisationQuery,
        Authorisation
    ),
    read!(
        "/api/v1/environments",
        "listEnvironments",
        "What runs in each environment, compared with what was authorised",
        AtQuery,
        Part<Watched>
    ),
    read!(
        "/api/v1/environments/{address}",
        "getEnvironment",
        "What runs in an environment at a moment (`production`, `production@{-1}`, `production@{2026-11-01}`), compared with what was authorised",
        AtQuery,
        Watched,
        READ_ONE
    ),
    read!(
        "/api/v1/environments/{address}/diff",
        "diffEnvironment",
        "What changed between two moments of environments",
        DiffQuery,
        Differences,
        READ_ONE
    ),
    read!(
        "/api/v1/approvals",
        "listApprovals",
        "What people said to releases, newest first",
        ReleasesQuery,
        Part<ApprovalRow>
    ),
    read!(
        "/api/v1/exemptions",
        "listExemptions",
        "Exemptions, newest first",
        ExemptionsQuery,
        Part<ExemptionView>
    ),
    Operation {
        method: "post",
        path: "/api/v1/exemptions",
        id: "askForExemption",
        about: "Ask for an exemption, which somebody else answers",
        query: whole::<NoQuery>,
        body: Some(&[(JSON, of::<Request>)]),
        answers: &[(201, JSON, of::<ExemptionView>)],
        refusals: &[
            Code::Body,
            Code::MediaType,
            Code::TooLarge,
            Code::Release,
            Code::CrossSite,
            Code::NotAllowed,
            Code::Store,
        ],
    },
    read!(
        "/api/v1/releases",
        "listReleases",
        "Releases with what the gate and people said, newest first",
        ReleasesListQuery,
        Part<Release>
    ),
    read!(
        "/api/v1/inbox",
        "getInbox",
        "What waits for a person, and whether whoever asks can answer it",
        AtQuery,
        Part<Waiting>
    ),
    read!(
        "/api/v1/break-glass",
        "listEmergencies",
        "Emergencies with their reviews, newest first",
        AtQuery,
        Part<EmergencyView>
    ),
    read!(
        "/api/v1/exemptions/{number}",
        "getExemption",
        "One exemption",
        AtQuery,
        ExemptionView,
        READ_ONE
    ),
    read!(
        "/api/v1/services",
        "listServices",
        "Services by name",
        AtQuery,
        Part<ServiceRow>
    ),
    read!(
        "/api/v1/controls",
        "listControls",
        "Controls of the bundle",
        NoQuery,
        Part<ControlView>
    ),
    read!(
        "/api/v1/controls/{id}",
        "getControl",
        "One control",
        NoQuery,
        ControlView,
        READ_ONE
    ),
    read!(
        "/api/v1/frameworks",
        "listFrameworks",
        "Frameworks of the bundle",
        NoQuery,
        Part<FrameworkView>
    ),
    read!(
        "/api/v1/frameworks/{key}",
        "getFramework",
        "One framework with the controls that serve it",
        NoQuery,
        FrameworkView,
        READ_ONE
    ),
    read!(
        "/api/v1/posture",
        "getPosture",
        "State of every control for every service in one environment",
        PostureQuery,
        Posture
    ),
    read!(
        "/api/v1/server",
        "getServer",
        "What a client needs to know: the ledger's keys, the controls, limits",
        NoQuery,
        About
    ),
    read!(
        "/api/v1/stats",
        "getStats",
        "The size of everything",
        NoQuery,
        Stats
    ),
];

fn anything(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({"type": "object", "description": "What the system documents for its webhooks."})
}

fn one_or_many(generator: &mut SchemaGenerator) -> Schema {
    let one = generator.subschema_for::<Receipt>();
    let many = generator.subschema_for::<Receipts>();
    schemars::json_schema!({"anyOf": [one, many]})
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = describe(operation, &mut generator);
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(operation.method.to_owned(), described);
        }
    }
    generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Writ",
            "version": "1",
            "description": "Evidence in, verdict out. Reads are pure functions of the address and the ledger size; lists come in parts; refusals are problem documents with the parts found, required, why, fix and or.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"}
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": Value::Object(generator.take_definitions(true))}
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = Vec::new();
    for part in operation.path.split('/') {
        if let Some(name) = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'))
        {
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}
            }));
        }
    }
    let query = (operation.query)(generator);
    if let Some(properties) = query.get("properties").and_then(Value::as_object) {
        for (name, schema) in properties {
            let mut schema = schema.clone();
            let about = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .unwrap_or_default();
            parameters.push(json!({
                "name": name, "in": "query", "required": false, "description": about, "schema": optional(schema)
            }));
        }
    }
    let mut responses: Map<String, Value> = Map::new();
    for (status, media_type, make) in operation.answers {
        let schema = make(generator);
        responses.insert(
            status.to_string(),
            json!({"description": operation.about, "content": {*media_type: {"schema": schema}}}),
        );
    }
    if operation.method == "get" {
        responses.insert(
            "304".to_owned(),
            json!({"description": "Unchanged since the tag in If-None-Match"}),
        );
    }
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    for code in operation.refusals {
        let status = code.status().as_u16().to_string();
        responses.entry(status).or_insert_with(|| {
            json!({"description": code.title(), "content": {"application/problem+json": {"schema": problem}}})
        });
    }
    responses.insert(
        "default".to_owned(),
        json!({"description": "Any other refusal", "content": {"application/problem+json": {"schema": problem}}}),
    );
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(bodies) = operation.body {
        let mut content = Map::new();
        for (media_type, make) in bodies {
            content.insert((*media_type).to_owned(), json!({"schema": make(generator)}));
        }
        described["requestBody"] = json!({"required": true, "content": content});
        if let Some(parameters) = described["parameters"].as_array_mut() {
            parameters.push(json!({
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "A key that may bring one body only",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255}
            }));
        }
    }
    described
}

/// The schema of a parameter that may be left out: a query string has no null.
fn optional(mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    fields.remove("default");
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(any)) = fields.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [only] = any.as_slice() {
            return only.clone();
        }
    }
    schema
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// Serves the document.
pub async fn get(headers: HeaderMap, _: crate::http::Query<NoQuery>) -> Response {
    let tag = etag::tag(&[DOCUMENT.as_str()]);
    etag::answer(&headers, &tag, || {
        let mut response = DOCUMENT.as_str().into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        response
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::{Class, ROUTES};

    #[test]
    fn every_route_of_the_interface_is_described_and_nothing_else() {
        let described: BTreeSet<(String, &str)> = OPERATIONS
            .iter()
            .map(|operation| (operation.method.to_uppercase(), operation.path))
            .collect();
        let routed: BTreeSet<(String, &str)> = ROUTES
            .iter()
            .filter(|route| route.class == Class::Api)
            .map(|route| (route.method.to_owned(), route.path))
            .collect();
        assert_eq!(described, routed);
        let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(target)) = fields.get("$ref") {
                        found.push(target.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
        }
    }

    #[test]
    fn the_document() {
        let text = serde_json::to_string_pretty(&document()).unwrap();
        insta::assert_snapshot!(text);
    }
}
