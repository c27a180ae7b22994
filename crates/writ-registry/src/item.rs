//! From a signed envelope to evidence as the gate reads it: verification and a pure mapping.
//!
//! The mapping knows no clock and no database: the same statement always gives the same item, so
//! a decision can be replayed from envelopes alone. What a predicate says beyond the common fields
//! becomes facts under its own field names, so that a new field or predicate needs no change here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use writ_evidence::Envelope;
use writ_evidence::dsse::{self, Verified, VerifyError};
use writ_evidence::key::{KeyId, Purpose, TrustedKeys};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_locker::{FsLocker, Locker as _};
use writ_model::{
    Digest, EvidenceId, EvidenceItem, EvidenceType, Origin, Outcome, PrincipalId, ProducerClass,
    Subject, Timestamp,
};

use crate::index::{Event, Projected};

/// Prefix of Writ's own predicate types.
pub(crate) const OWN: &str = "urn:writ:predicate:";

/// Predicate type of the entry that stands for a statement too large for the ledger.
pub const REFERENCE: &str = "urn:writ:predicate:reference:v1";

/// SLSA Verification Summary: a writ.
pub(crate) const VSA: &str = "https://slsa.dev/verification_summary/v1";

/// Largest statement that is read from the locker, in bytes.
const MAX_STATEMENT: u64 = dsse::MAX_ENVELOPE_BYTES as u64;

/// Largest fact that is kept with an item, in bytes of JSON. Larger ones stay in the statement.
const MAX_FACT: usize = 256 * 1024;

/// What a reference entry says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reference {
    /// Payload digest of the whole statement: its id.
    pub payload: Digest,
    /// The whole envelope in the locker.
    pub envelope: Digest,
}

/// A verified statement with what the mapping needs to know about its envelope.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub id: EvidenceId,
    pub signer: KeyId,
    pub statement: Statement<Value>,
    /// Where the whole envelope lies when the ledger holds a reference.
    pub whole: Option<Digest>,
}

/// Verifies envelopes and takes them apart.
pub(crate) struct Reader {
    keys: TrustedKeys,
    locker: Arc<FsLocker>,
}

impl Reader {
    pub(crate) fn new(keys: TrustedKeys, locker: Arc<FsLocker>) -> Self {
        Self { keys, locker }
    }

    /// The payload of an envelope that a key trusted at `at` signed for what it says.
    pub(crate) fn open(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Result<Verified<Vec<u8>>, String> {
        match dsse::verify(envelope, &self.keys.select(&Purpose::Producer, at), 1) {
            Ok(verified) => Ok(verified),
            Err(VerifyError::NotEnough { .. }) => self
                .open_writ(envelope, at)
                .ok_or_else(|| self.why_refused(envelope, at)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keys for writs sign writs and nothing else.
    fn open_writ(&self, envelope: &Envelope, at: Timestamp) -> Option<Verified<Vec<u8>>> {
        let purposes: std::collections::BTreeSet<&Purpose> = self
            .keys
            .iter()
            .flat_map(|key| &key.purposes)
            .filter(|purpose| matches!(purpose, Purpose::Writ(_)))
            .collect();
        purposes.into_iter().find_map(|purpose| {
            let verified = dsse::verify(envelope, &self.keys.select(purpose, at), 1).ok()?;
            let statement = Statement::parse_any(verified.content()).ok()?;
            (statement.predicate_type == VSA).then_some(verified)
        })
    }

    fn why_refused(&self, envelope: &Envelope, at: Timestamp) -> String {
        let named: Vec<String> = envelope
            .signatures()
            .iter()
            .map(|signature| match &signature.keyid {
                Some(id) => id
                    .chars()
                    .take(64)
                    .collect::<String>()
                    .escape_debug()
                    .to_string(),
                None => "an unnamed key".to_owned(),
            })
            .collect();
        let known = self
            .keys
            .iter()
            .any(|key| named.contains(&key.key.id().to_string()));
        let hint = if known {
            "the key is trusted, but not for this purpose at that time, or the signed bytes were changed"
        } else {
            "that key is not in trust.toml"
        };
        format!(
            "no trusted key signed it (signed by {}, judged at {at}): {hint}",
            named.join(", ")
        )
    }

    /// Verifies an entry's envelope and follows a reference into the locker.
    pub(crate) fn check(&self, envelope: &[u8], at: Timestamp) -> Result<Checked, String> {
        let checked = self.check_one(envelope, at)?;
        if checked.statement.predicate_type != REFERENCE {
            return Ok(checked);
        }
        let reference: Reference = serde_json::from_value(checked.statement.predicate)
            .map_err(|e| format!("the reference to the whole statement cannot be read: {e}"))?;
        let bytes = self
            .locker
            .get_bytes(reference.envelope, MAX_STATEMENT)
            .map_err(|e| format!("the whole statement cannot be read: {e}"))?;
        let whole = self.check_one(&bytes, at)?;
        if whole.id.digest() != reference.payload {
            return Err(format!(
                "the reference names the statement {}, but {} holds {}",
                reference.payload, reference.envelope, whole.id
            ));
        }
        if whole.statement.predicate_type == REFERENCE {
            return Err("the reference leads to another reference".to_owned());
        }
        Ok(Checked {
            whole: Some(reference.envelope),
            ..whole
        })
    }

    fn check_one(&self, envelope: &[u8], at: Timestamp) -> Result<Checked, String> {
        let envelope = Envelope::parse(envelope).map_err(|e| e.to_string())?;
        let verified = self.open(&envelope, at)?;
        let id = verified.evidence_id();
        let signer = verified
            .signers()
            .first()
            .copied()
            .ok_or("nobody signed it")?;
        let statement = verified
            .any_statement()
            .map_err(|e| e.to_string())?
            .into_content();
        Ok(Checked {
            id,
            signer,
            statement,
            whole: None,
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
    item(statement.content(), id, *signer, index, recorded_at)
}

/// Fields of a predicate that have their own place in an item.
const COMMON: &[&str] = &[
    "service",
    "evidenceType",
    "scope",
    "observedAt",
    "origin",
    "producerClass",
    "dirty",
    "outcome",
    "reason",
    "tool",
    "database",
    "lookedAt",
    "counts",
    "suppressed",
];

fn item(
    statement: &Statement<Value>,
    id: EvidenceId,
    signer: KeyId,
    index: u64,
    recorded_at: Timestamp,
) -> Result<EvidenceItem, String> {
    let kind = statement.predicate_type.as_str();
    let empty = Map::new();
    let fields = statement.predicate.as_object().unwrap_or(&empty);
    let get = Fields(fields);
    let is_scan = is_scan(kind);
    let findings: Option<Digest> = match fields.get("findings") {
        Some(Value::Object(reference)) if is_scan => Fields(reference).optional("digest")?,
        Some(Value::String(_)) if is_scan => get.optional("findings")?,
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
        service: service(fields, &statement.subject)?,
        subject: subject(&statement.subject, &get)?,
        scope: match fields.get("scope") {
            Some(Value::String(scope)) => scope.clone(),
            _ => String::new(),
        },
        observed_at: get
            .optional("observedAt")?
            .or(get.optional("timeVerified")?)
            .or(get.optional("asOf")?)
            .unwrap_or(recorded_at),
        recorded_at,
        origin: get.optional("origin")?.unwrap_or(Origin::HandedIn),
        producer_class: get
            .optional("producerClass")?
            .unwrap_or(ProducerClass::Laptop),
        signer: signer.to_string(),
        dirty: get.optional("dirty")?.unwrap_or(false),
        outcome: if is_scan {
            get.required("outcome")?
        } else {
            // Other predicates say what happened, not how a tool ended; a word that is not an
            // outcome stays among the facts.
            get.optional("outcome")
                .ok()
                .flatten()
                .unwrap_or(Outcome::Completed)
        },
        reason: if is_scan {
            get.optional("reason")?
        } else {
            None
        },
        tool: match fields.get("tool") {
            Some(Value::Object(_)) => get.optional("tool")?,
            _ => None,
        },
        database: get.optional("database")?,
        looked_at: get.optional("lookedAt")?.unwrap_or_default(),
        counts: if is_scan {
            get.optional("counts")?.unwrap_or_default()
        } else {
            writ_model::SeverityCounts::default()
        },
        suppressed: get.optional("suppressed")?.unwrap_or(0),
        findings,
        facts: facts(kind, fields, is_scan),
    })
}

/// Whether findings live by statements of this predicate.
fn is_scan(kind: &str) -> bool {
    kind == "urn:writ:predicate:scan:v1"
}

/// What is said beyond the common fields. Of foreign documents (an SBOM, a provenance) only the
/// statement keeps the text.
fn facts(kind: &str, fields: &Map<String, Value>, is_scan: bool) -> BTreeMap<String, Value> {
    if !kind.starts_with(OWN) && kind != VSA {
        return BTreeMap::new();
    }
    let mut omitted = Vec::new();
    let mut facts: BTreeMap<String, Value> = fields
        .iter()
        .filter(|(name, value)| {
            let placed = if is_scan {
                COMMON.contains(&name.as_str()) || *name == "findings"
            } else {
                // `scope`, `reason` and `outcome` of a person's statement are its own.
                matches!(
                    name.as_str(),
                    "service"
                        | "evidenceType"
                        | "observedAt"
                        | "origin"
                        | "producerClass"
                        | "dirty"
                ) || (COMMON.contains(&name.as_str()) && name.as_str() == "lookedAt")
            };
            // The checks of a decision are read from the decision.
            !placed
                && !(kind.ends_with(":decision:v1") && matches!(name.as_str(), "checks" | "later"))
                && !value.is_null()
        })
        .filter(|(name, value)| {
            let fits = value.to_string().len() <= MAX_FACT;
            if !fits {
                omitted.push(Value::String((*name).clone()));
            }
            fits
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !omitted.is_empty() {
        facts.insert("omitted".to_owned(), Value::Array(omitted));
    }
    facts
}

/// What a predicate is for when it does not say so itself.
fn default_type(kind: &str) -> EvidenceType {
    let name = kind
        .strip_prefix(OWN)
        .and_then(|rest| rest.split(':').next())
        .unwrap_or_default();
    match name {
        "coverage" => EvidenceType::Coverage,
        "code-review" => EvidenceType::CodeReview,
        "approval" | "rejection" => EvidenceType::Approval,
        "exemption" => EvidenceType::Exemption,
        "break-glass" => EvidenceType::BreakGlass,
        "deployment" => EvidenceType::Deployment,
        "snapshot" => EvidenceType::DriftCheck,
        "alert" | "probe" => EvidenceType::RuntimeAlert,
        "run" | "definition" => EvidenceType::PipelineDefinition,
        "access-review" => EvidenceType::AccessReview,
        "disposal" => EvidenceType::Retention,
        "" if kind.contains("slsa.dev/provenance") => EvidenceType::Provenance,
        "" if kind.contains("cyclonedx") || kind.contains("spdx") => EvidenceType::Sbom,
        "" if kind.contains("test-result") => EvidenceType::UnitTest,
        "" if kind.contains("/vulns/") => EvidenceType::DependencyScan,
        "" if kind.contains("openvex") => EvidenceType::Exemption,
        // Decisions, writs, keys, reports: the record itself.
        _ => EvidenceType::AuditLog,
    }
}

fn service(fields: &Map<String, Value>, subjects: &[ResourceDescriptor]) -> Result<String, String> {
    if let Some(service) = fields.get("service") {
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

fn subject(subjects: &[ResourceDescriptor], get: &Fields<'_>) -> Result<Subject, String> {
    let digest = |algorithm: &str| {
        subjects
            .iter()
            .find_map(|subject| subject.digest.get(algorithm).cloned())
    };
    let mut joined = Subject {
        commit: digest("gitCommit"),
        tree: digest("gitTree"),
        // A digest with an annotation is a service or an environment by name, not an artefact.
        artifact: subjects
            .iter()
            .filter(|subject| {
                subject
                    .annotations
                    .get("kind")
                    .is_none_or(|kind| kind == "artifact")
            })
            .find_map(ResourceDescriptor::sha256_digest),
        environment: None,
    };
    joined.environment = match get.0.get("environment") {
        Some(Value::String(name)) => Some(name.clone()),
        _ => None,
    };
    if let Some(Value::Object(scope)) = get.0.get("scope")
        && joined.environment.is_none()
    {
        joined.environment = Fields(scope).optional("environment")?;
    }
    // Predicates that carry the join keys themselves are more exact than digests of any kind.
    if let Some(Value::Object(_)) = get.0.get("subject") {
        let named: Subject = get.required("subject")?;
        joined = Subject {
            commit: named.commit.or(joined.commit),
            tree: named.tree.or(joined.tree),
            artifact: named.artifact,
            environment: named.environment.or(joined.environment),
        };
    }
    Ok(joined)
}

/// Typed access to the fields of a predicate.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
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
    } = checked;
    let item = item(&statement, id, signer, index, recorded_at)?;
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
    let mut blobs = Vec::new();
    if let Some(whole) = whole {
        blobs.push((whole, "statement".to_owned()));
    }
    if statement.predicate_type.starts_with(OWN) {
        collect_blobs(&statement.predicate, "", &mut blobs, 0);
    }
    let event = event(&statement.predicate_type, &Fields(fields), &item)?;
    let cache_key = match fields.get("cacheKey") {
        Some(Value::String(key)) => Some(key.clone()),
        _ => None,
    };
    Ok(Projected {
        scan: is_scan(&statement.predicate_type),
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
    let person = |name| get.required::<PrincipalId>(name);
    Ok(match kind {
        "urn:writ:predicate:run:v1" => Event::Run {
            outcome: match get.0.get("outcome") {
                Some(Value::String(word)) => word.clone(),
                _ => "completed".to_owned(),
            },
        },
        "urn:writ:predicate:decision:v1" => Event::Decision {
            profile: get.required("profile")?,
            answer: get.required("answer")?,
            as_of: get.required("asOf")?,
            counts: get.required::<Value>("counts")?.to_string(),
        },
        VSA => Event::Writ {
            expires_at: item
                .facts
                .get("writ")
                .and_then(|writ| writ.get("expiresAt"))
                .or_else(|| item.facts.get("expiresAt"))
                .and_then(|time| Timestamp::deserialize(time).ok()),
        },
        "urn:writ:predicate:approval:v1" => Event::Approval {
            person: person("approver").or_else(|_| person("person"))?,
            answer: "approved",
        },
        "urn:writ:predicate:rejection:v1" => Event::Approval {
            person: person("rejecter").or_else(|_| person("person"))?,
            answer: "rejected",
        },
        "urn:writ:predicate:exemption:v1" => exemption(get)?,
        _ => Event::None,
    })
}

fn exemption(get: &Fields<'_>) -> Result<Event, String> {
    let action: String = get.required("action")?;
    if action == "requested" {
        return Ok(Event::ExemptionRequest {
            requester: get.required("requester")?,
            reason: get.optional("reason")?.unwrap_or_default(),
            expires_at: get.optional("expiresAt")?,
        });
    }
    let request: EvidenceId = get.required("request")?;
    Ok(Event::ExemptionAnswer {
        state: match action.as_str() {
            "granted" => "granted",
            "rejected" => "denied",
            "revoked" => "revoked",
            _ => {
                return Err(format!(
                    "predicate.action is '{action}'; expected requested, granted, rejected or revoked"
                ));
            }
        },
        request: request.digest(),
        person: get.required("decidedBy")?,
        expires_at: get.optional("expiresAt")?,
    })
}
