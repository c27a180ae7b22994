//! What each operation of the interface takes and answers.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use writ_model::EvidenceItem;
use writ_model::wire::{About, DecisionRequest, Receipt, Receipts, Upload};
use writ_registry::{
    ApprovalRow, ChangeRow, DecisionStates, RunRow, ServiceRow, Stats, TrackedFinding, WritRow,
};
use writ_release::authorise::Authorisation;
use writ_release::observe::{Differences, Watched};
use writ_render::GateDocument;

use crate::api::admission::AdmissionQuery;
use crate::api::authorisation::AuthorisationQuery;
use crate::api::changes::ChangesQuery;
use crate::api::controls::ControlView;
use crate::api::decisions::DecisionView;
use crate::api::device::{
    DeviceCodesView, DevicePoll, DeviceRefusal, DeviceRequest, DeviceToken, Revoked,
};
use crate::api::environments::DiffQuery;
use crate::api::evidence::{ENVELOPE, EvidenceQuery, EvidenceView};
use crate::api::exemptions::{ExemptionView, ExemptionsQuery};
use crate::api::findings::FindingsQuery;
use crate::api::frameworks::FrameworkView;
use crate::api::intake::{Handed, IntakeQuery};
use crate::api::people::{AccountKey, ImportQuery, PeopleImport, SCIM};
use crate::api::posture::PostureQuery;
use crate::api::releases::{EmergencyView, ReleasesListQuery};
use crate::api::uploads::PartQuery;
use crate::api::workload::{BoundKey, NewKey};
use crate::api::{AtQuery, Part, ReleasesQuery};
use crate::figures::posture::Posture;
use crate::hooks::{Answer, STRUCTURED};
use crate::http::Code;
use crate::ledger::None as NoQuery;
use crate::pages::ask_exemption::Request;
use crate::pages::inbox::Waiting;
use crate::pages::releases::Release;

pub(super) type Make = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) query: Make,
    pub(super) body: Option<&'static [(&'static str, Make)]>,
    pub(super) answers: &'static [(u16, &'static str, Make)],
    pub(super) refusals: &'static [Code],
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
pub(super) const JSON: &str = "application/json";
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

/// All of them, in the order of the document.
pub(super) const OPERATIONS: &[Operation] = &[
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
