//! From a signed envelope to evidence as the gate reads it: verification and a pure mapping.
//!
//! The mapping knows no clock and no database: the same statement always gives the same item, so
//! a decision can be replayed from envelopes alone. What a predicate says beyond the common fields
//! becomes facts under its own field names, so that a new field or predicate needs no change here.

mod facts;
mod open;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use writ_evidence::Envelope;
use writ_evidence::dsse::{self, Memo, Verified};
use writ_evidence::key::{KeyId, Refusal, TrustedKey, TrustedKeys};
use writ_evidence::predicate::{PredicateType, VerificationSummary};
use writ_evidence::reference::{self, Holds, Reference};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_locker::Locker;
use writ_model::{
    Digest, EvidenceId, EvidenceItem, EvidenceType, Origin, Outcome, PrincipalId, ProducerClass,
    SeverityCounts, Subject, Timestamp,
};

use crate::index::views::CheckStates;
use crate::index::{Event, Projected};

pub(crate) use open::Opener;

/// Prefix of Writ's own predicate types.
pub(crate) const OWN: &str = "urn:writ:predicate:";

/// SLSA Verification Summary: a writ.
pub(crate) const VSA: &str = VerificationSummary::URI;

const SCAN: &str = writ_evidence::predicate::Scan::URI;

/// Largest statement that is read from the locker, in bytes.
const MAX_STATEMENT: u64 = dsse::MAX_ENVELOPE_BYTES as u64;

/// A verified statement with what the mapping needs to know about its envelope.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub id: EvidenceId,
    pub signer: KeyId,
    pub statement: Statement<Value>,
    /// Where the whole statement or document lies when the ledger holds a reference.
    pub whole: Option<Digest>,
    /// What the reference says about the tool's work, for documents that cannot say it.
    pub production: Option<Value>,
    /// The key of a job that signed the whole statement, as the reference says.
    pub signed_by: Option<KeyId>,
}

/// Verifies envelopes and takes them apart.
pub(crate) struct Reader {
    opener: Opener,
    locker: Arc<dyn Locker>,
}

impl Reader {
    pub(crate) fn new(keys: Arc<TrustedKeys>, locker: Arc<dyn Locker>) -> Self {
        let opener = Opener::new(keys);
        Self { opener, locker }
    }

    /// With what was verified before: no signature is computed twice.
    pub(crate) fn remembering(self, memo: &Arc<Memo>) -> Self {
        Self {
            opener: self.opener.remembering(memo),
            ..self
        }
    }

    /// The trusted keys that did sign, each with why its signature does not count at `at`.
    pub(crate) fn refused_keys(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Vec<(&TrustedKey, Refusal<'_>)> {
        self.opener.refused_keys(envelope, at)
    }

    /// The key that may be a job's: the first that it names, where it names none that is trusted.
    pub(crate) fn may_be_of_a_job(&self, envelope: &Envelope) -> Option<KeyId> {
        self.opener.stranger(envelope)
    }

    /// The payload of an envelope that a key trusted at `at` signed for what it says.
    pub(crate) fn open(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Result<Verified<Vec<u8>>, String> {
        self.opener.open(envelope, at)
    }

    /// Verifies an entry's envelope and follows a reference into the locker.
    pub(crate) fn check(&self, envelope: &[u8], at: Timestamp) -> Result<Checked, String> {
        let envelope = Envelope::parse(envelope).map_err(|e| e.to_string())?;
        let verified = self.open(&envelope, at)?;
        let id = verified.evidence_id();
        let signer = *verified.signers().first().ok_or("nobody signed it")?;
        let statement = verified
            .any_statement()
            .map_err(|e| e.to_string())?
            .into_content();
        let checked = Checked {
            id,
            signer,
            statement,
            whole: None,
            production: None,
            signed_by: None,
        };
        if checked.statement.predicate_type == Reference::URI {
            self.follow(checked)
        } else {
            Ok(checked)
        }
    }

    fn follow(&self, checked: Checked) -> Result<Checked, String> {
        let reference: Statement<Reference> = checked
            .statement
            .into_typed()
            .map_err(|e| format!("the reference to the whole statement cannot be read: {e}"))?;
        let said = &reference.predicate;
        let bytes = self
            .locker
            .get_bytes(said.digest, MAX_STATEMENT)
            .map_err(|e| format!("what the entry refers to cannot be read: {e}"))?;
        let mut production = said
            .production
            .as_ref()
            .map(serde_json::to_value)
            .transpose()
            .map_err(|e| e.to_string())?;
        if let Some(Value::Object(fields)) = &mut production
            && !said.facts.is_empty()
        {
            fields.insert("facts".to_owned(), Value::Object(said.facts.clone()));
        }
        let whole = Some(said.digest);
        let (id, statement) = match said.holds {
            Holds::Statement => {
                let statement = reference::resolve(&reference, &bytes)
                    .map_err(|e| format!("the whole statement {}: {e}", said.digest))?;
                (EvidenceId::from_digest(said.digest), statement)
            }
            // A document such as an SBOM: the reference itself is the statement about it.
            Holds::Predicate => {
                let predicate = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let statement = Statement {
                    statement_type: reference.statement_type.clone(),
                    subject: reference.subject.clone(),
                    predicate_type: said.predicate_type.clone(),
                    predicate,
                };
                (checked.id, statement)
            }
        };
        Ok(Checked {
            id,
            signer: checked.signer,
            statement,
            whole,
            production,
            signed_by: said.signed_by,
        })
    }

    /// What the projector makes of an entry; the error is a sentence.
    pub(crate) fn project(
        &self,
        envelope: &[u8],
        index: u64,
        recorded_at: i64,
    ) -> Result<Projected, String> {
        let recorded_at = Timestamp::from_micros(recorded_at);
        projected(self.check(envelope, recorded_at)?, index, recorded_at)
    }
}

/// The item of a verified statement: pure.
///
/// # Errors
/// A sentence that names the field that is missing or wrong.
pub fn item_from_statement(
    statement: &Verified<Statement<Value>>,
    id: EvidenceId,
    index: u64,
    recorded_at: Timestamp,
) -> Result<EvidenceItem, String> {
    let signer = statement
        .signers()
        .first()
        .ok_or("the statement has no signer")?;
    item(statement.content(), None, id, *signer, index, recorded_at)
}

fn item(
    statement: &Statement<Value>,
    production: Option<&Value>,
    id: EvidenceId,
    signer: KeyId,
    index: u64,
    recorded_at: Timestamp,
) -> Result<EvidenceItem, String> {
    let kind = statement.predicate_type.as_str();
    let empty = Map::new();
    let predicate = statement.predicate.as_object().unwrap_or(&empty);
    // What is said about a tool's work stands in the predicate, in its field `writ` where the
    // predicate is somebody else's, or in the reference to a document.
    let base = production
        .and_then(Value::as_object)
        .or_else(|| {
            predicate
                .get("writ")
                .and_then(Value::as_object)
                .filter(|_| !kind.starts_with(OWN))
        })
        .unwrap_or(predicate);
    let get = Fields(base);
    let by_tool = base.contains_key("tool") && base.contains_key("outcome");
    let release = Fields(base).object("release");
    let findings: Option<Digest> = match base.get("findings") {
        Some(Value::Object(reference)) if kind == SCAN => Fields(reference).optional("digest")?,
        _ => None,
    };
    Ok(EvidenceItem {
        id,
        index,
        predicate_type: kind.to_owned(),
        evidence_type: match get.optional("evidenceType")? {
            Some(evidence_type) => evidence_type,
            None => default_type(kind),
        },
        service: service(base, release, &statement.subject)?,
        subject: subject(&statement.subject, base, release)?,
        scope: scope(base, by_tool),
        observed_at: observed(&get)?.unwrap_or(recorded_at),
        recorded_at,
        origin: get.optional("origin")?.unwrap_or(Origin::HandedIn),
        producer_class: get
            .optional("producerClass")?
            .unwrap_or(ProducerClass::Laptop),
        signer: signer.to_string(),
        dirty: get.optional("dirty")?.unwrap_or(false),
        outcome: if by_tool {
            get.required("outcome")?
        } else {
            Outcome::Completed
        },
        reason: if by_tool {
            get.optional("reason")?
        } else {
            None
        },
        tool: if by_tool { get.optional("tool")? } else { None },
        database: if by_tool {
            get.optional("database")?
        } else {
            None
        },
        looked_at: get.optional("lookedAt")?.unwrap_or_default(),
        counts: if kind == SCAN {
            get.required("counts")?
        } else {
            SeverityCounts::default()
        },
        suppressed: get.optional("suppressed")?.unwrap_or(0),
        findings,
        facts: facts::facts(
            PredicateType::find(kind).map_or("", |known| known.name),
            predicate,
            base,
            by_tool,
        ),
    })
}

fn observed(get: &Fields<'_>) -> Result<Option<Timestamp>, String> {
    for name in ["observedAt", "asOf", "timeVerified", "issuedAt"] {
        if let Some(at) = get.optional(name)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Stage and part of a tool's work, or the person who acted: with type, tool and subject this
/// tells which statement replaces which.
fn scope(base: &Map<String, Value>, by_tool: bool) -> String {
    let text = |name: &str| base.get(name).and_then(Value::as_str);
    if by_tool {
        return match (text("stage"), text("scope")) {
            (Some(stage), Some(scope)) => format!("{stage}/{scope}"),
            (Some(only), None) | (None, Some(only)) => only.to_owned(),
            (None, None) => String::new(),
        };
    }
    base.get("by")
        .and_then(|by| by["principal"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// What a predicate is for when it does not say so itself.
fn default_type(kind: &str) -> EvidenceType {
    PredicateType::find(kind)
        .and_then(|known| known.serves.first().copied())
        // Decisions, writs, keys, reports: the record itself.
        .unwrap_or(EvidenceType::AuditLog)
}

fn service(
    base: &Map<String, Value>,
    release: Option<&Map<String, Value>>,
    subjects: &[ResourceDescriptor],
) -> Result<String, String> {
    let named = base
        .get("service")
        .or_else(|| release.and_then(|release| release.get("service")))
        .filter(|service| !service.is_null());
    if let Some(service) = named {
        return match service.as_str() {
            Some(name) if !name.is_empty() && name.len() <= 200 => Ok(name.to_owned()),
            _ => Err("predicate.service must be a name of 1 to 200 bytes".to_owned()),
        };
    }
    // Foreign predicates have no service of their own; the subject may carry one.
    Ok(subjects
        .iter()
        .find_map(|subject| subject.annotations.get("service")?.as_str())
        .unwrap_or_default()
        .to_owned())
}

fn subject(
    subjects: &[ResourceDescriptor],
    base: &Map<String, Value>,
    release: Option<&Map<String, Value>>,
) -> Result<Subject, String> {
    let digest = |algorithm: &str| {
        subjects
            .iter()
            .find_map(|subject| subject.digest.get(algorithm).cloned())
    };
    // The predicate knows best which release it is about; a subject's digest may also name a
    // definition or a request.
    if let Some(release) = release {
        let get = Fields(release);
        return Ok(Subject {
            commit: get.optional("commit")?.or_else(|| digest("gitCommit")),
            tree: digest("gitTree"),
            artifact: get.optional("artifact")?,
            environment: get.optional("environment")?,
        });
    }
    let is_artifact = |subject: &&ResourceDescriptor| {
        subject
            .annotations
            .get("kind")
            .is_none_or(|kind| kind == "artifact")
    };
    let about_people = base.contains_key("by") || base.contains_key("requestedBy");
    Ok(Subject {
        commit: digest("gitCommit"),
        tree: digest("gitTree"),
        artifact: subjects
            .iter()
            .filter(|_| !about_people)
            .filter(is_artifact)
            .find_map(ResourceDescriptor::sha256_digest),
        environment: Fields(base).optional("environment")?,
    })
}

/// Typed access to the fields of a predicate.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn object(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|e| format!("predicate.{name}: {e}")),
        }
    }

    fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        self.optional(name)?
            .ok_or_else(|| format!("predicate.{name} is missing"))
    }
}

/// Everything the index wants to know of a verified statement.
pub(crate) fn projected(
    checked: Checked,
    index: u64,
    recorded_at: Timestamp,
) -> Result<Projected, String> {
    let Checked {
        id,
        signer,
        statement,
        whole,
        production,
        ..
    } = checked;
    let item = item(
        &statement,
        production.as_ref(),
        id,
        signer,
        index,
        recorded_at,
    )?;
    let empty = Map::new();
    let fields = statement.predicate.as_object().unwrap_or(&empty);
    let subjects = statement
        .subject
        .iter()
        .flat_map(|subject| {
            let name = subject.name.clone().unwrap_or_default();
            subject
                .digest
                .iter()
                .map(move |(algorithm, value)| (algorithm.clone(), value.clone(), name.clone()))
        })
        .collect();
    let event = event(&statement.predicate_type, &Fields(fields), &item)?;
    let mut blobs = Vec::new();
    if let Some(whole) = whole {
        blobs.push((whole, "statement".to_owned()));
    }
    if let Some(findings) = item.findings {
        blobs.push((findings, "findings".to_owned()));
    }
    if matches!(event, Event::Decision { .. })
        && let Some(inputs) = Fields(fields).optional("inputs").ok().flatten()
    {
        blobs.push((inputs, "inputs".to_owned()));
    }
    let known = PredicateType::find(&statement.predicate_type);
    if known.is_some_and(PredicateType::is_own) {
        collect_blobs(&statement.predicate, "", &mut blobs, 0);
    }
    for outside in [fields.get("writ"), production.as_ref()]
        .into_iter()
        .flatten()
    {
        collect_blobs(outside, "", &mut blobs, 0);
    }
    // The digest over everything that can change a tool's result.
    let cache_key = match item.facts.get("inputs") {
        Some(Value::String(key)) if item.tool.is_some() => Some(key.clone()),
        // A provenance is somebody else's predicate; the runner's key stands among the builder's
        // own parameters.
        _ => item
            .facts
            .get("buildDefinition")
            .and_then(|definition| definition["internalParameters"]["inputs"].as_str())
            .map(str::to_owned),
    };
    Ok(Projected {
        scan: statement.predicate_type == SCAN,
        json: serde_json::to_string(&item).map_err(|e| e.to_string())?,
        item,
        subjects,
        blobs,
        statement: whole,
        cache_key,
        event,
    })
}

/// Objects with a digest and a media type name bytes in the locker, wherever they stand.
fn collect_blobs(value: &Value, role: &str, blobs: &mut Vec<(Digest, String)>, depth: usize) {
    if depth > 8 {
        return;
    }
    match value {
        Value::Object(fields) => {
            let digest = fields.get("digest").and_then(Value::as_str);
            if let (Some(digest), true) = (digest, fields.contains_key("mediaType"))
                && let Ok(digest) = digest.parse()
            {
                blobs.push((digest, role.to_owned()));
                return;
            }
            for (name, value) in fields {
                let role = if role.is_empty() { name } else { role };
                collect_blobs(value, role, blobs, depth + 1);
            }
        }
        Value::Array(values) => {
            for value in values {
                collect_blobs(value, role, blobs, depth + 1);
            }
        }
        _ => {}
    }
}

fn event(kind: &str, get: &Fields<'_>, item: &EvidenceItem) -> Result<Event, String> {
    let Some(name) = kind.strip_prefix(OWN) else {
        let writ = get.object("writ").filter(|_| kind == VSA);
        return Ok(match writ {
            Some(writ) => Event::Writ {
                expires_at: Fields(writ).optional("expiresAt")?,
            },
            None => Event::None,
        });
    };
    Ok(match name {
        "run:v1" => Event::Run {
            outcome: if item.facts.get("interrupted") == Some(&Value::Bool(true)) {
                "interrupted".to_owned()
            } else {
                "completed".to_owned()
            },
        },
        "decision:v1" => Event::Decision {
            profile: get.required("profile")?,
            answer: get.required("answer")?,
            as_of: get.required("asOf")?,
            counts: get.required::<Value>("counts")?.to_string(),
            states: CheckStates::of_decision(get.0)?.to_text(),
        },
        "approval:v1" => Event::Approval {
            person: by(get)?,
            answer: "approved",
        },
        "rejection:v1" => Event::Approval {
            person: by(get)?,
            answer: "rejected",
        },
        "exemption:v1" => exemption(get)?,
        _ => Event::None,
    })
}

fn by(get: &Fields<'_>) -> Result<PrincipalId, String> {
    let actor = get.object("by").ok_or("predicate.by is missing")?;
    Fields(actor).required("principal")
}

fn exemption(get: &Fields<'_>) -> Result<Event, String> {
    let form: String = get.required("form")?;
    let state = match form.as_str() {
        "request" => {
            let actor = get
                .object("requestedBy")
                .ok_or("predicate.requestedBy is missing")?;
            return Ok(Event::ExemptionRequest {
                requester: Fields(actor).required("principal")?,
                reason: get.required("reason")?,
                expires_at: get.optional("expiresAt")?,
            });
        }
        "grant" => "granted",
        "deny" => "denied",
        "revoke" => "revoked",
        // The end of an exemption follows from its own time; the note changes nothing.
        _ => return Ok(Event::None),
    };
    let request: EvidenceId = get.required("request")?;
    Ok(Event::ExemptionAnswer {
        state,
        request: request.digest(),
        person: by(get)?,
        expires_at: get.optional("expiresAt")?,
    })
}
