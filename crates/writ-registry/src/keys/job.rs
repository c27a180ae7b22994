//! Keys that belong to one CI job.
//!
//! A job makes a key, shows who it is (a token that its CI system signed), and the store records an
//! entry that binds the key to what the token said: a statement `key` with the action `bind`, signed
//! by the store's own producer. From then on, until the end that the entry names, an envelope by that
//! key is taken in as evidence of the services that the entry names. What is taken in is signed a
//! second time, by the store's producer: that signature says that the binding was in force when it
//! came. So whoever has the trusted keys can check the entry alone; and whoever has the ledger can
//! check that the store vouched for nothing that no binding covers (`writ verify` does).
//!
//! A job hands in what it saw. What people decide (approvals, exemptions, definitions), decisions,
//! writs and keys are not its to state.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::PoisonError;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use writ_evidence::Envelope;
use writ_evidence::dsse;
use writ_evidence::key::{
    Algorithm, EcdsaEncoding, KeyId, PublicKey, Purpose, Signer, TrustedKey, TrustedKeys,
};
use writ_evidence::predicate::{
    Coverage, Deployment, KeyAction, KeyStatement, Probe, ReportStatement, Run, Scan, Snapshot,
};
use writ_evidence::statement::{Predicate as _, Statement};
use writ_model::{Digest, EvidenceId, EvidenceItem, ProducerClass, Subject, Timestamp};

use crate::error::{RegistryError, Result};
use crate::index::query::Query;
use crate::item::{OWN, VSA};
use crate::record::{Input, NewRecord};
use crate::store::Store;

/// Most services that one job may record for.
pub const MAX_SERVICES: usize = 100;

/// Most claims that are recorded of a job.
pub const MAX_CLAIMS: usize = 64;

/// Longest claim, in bytes.
pub const MAX_CLAIM_BYTES: usize = 1_024;

/// The claim that names the job itself: a key never goes from one job to another.
pub const JOB_CLAIM: &str = "job";

/// The claim that says whether branch and definition of the job are protected.
pub const PROTECTED_CLAIM: &str = "ref_protected";

/// Bindings that are remembered.
const REMEMBERED: usize = 4_096;

/// Entries about one key that are looked at.
const LOOKED_AT: usize = 16;

/// What Writ's own predicates a job may state.
const STATED: &[&str] = &[
    Scan::URI,
    Coverage::URI,
    Probe::URI,
    Run::URI,
    Deployment::URI,
    Snapshot::URI,
];

/// A key to be bound to a job.
#[derive(Debug, Clone)]
pub struct NewJobKey {
    /// The key, Ed25519.
    pub key: PublicKey,
    /// The services that it may sign evidence of.
    pub services: Vec<String>,
    /// When it ends.
    pub until: Timestamp,
    /// What was verified about the job. [`JOB_CLAIM`] names it.
    pub claims: BTreeMap<String, String>,
}

/// A key that is bound to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobKey {
    /// Id of the key.
    pub key_id: KeyId,
    /// The services that it may sign evidence of.
    pub services: Vec<String>,
    /// When the ledger recorded the binding: it counts from here.
    pub from: Timestamp,
    /// From when it no longer counts.
    pub until: Timestamp,
    /// What was verified about the job.
    pub claims: BTreeMap<String, String>,
    /// The binding's place in the ledger.
    pub entry: u64,
    /// The binding's id.
    pub id: EvidenceId,
    #[serde(skip)]
    key: PublicKey,
}

impl JobKey {
    /// What an entry binds; `None` when it binds nothing.
    pub(crate) fn of(
        id: EvidenceId,
        entry: u64,
        at: Timestamp,
        statement: &Statement<Value>,
    ) -> Option<Self> {
        if statement.predicate_type != KeyStatement::URI || statement.predicate["action"] != "bind"
        {
            return None;
        }
        let statement: Statement<KeyStatement> = statement.clone().into_typed().ok()?;
        let said = statement.predicate;
        let key = PublicKey::from_pem(&said.public_key).ok()?;
        if said.action != KeyAction::Bind || key.id() != said.key_id || said.services.is_empty() {
            return None;
        }
        Some(Self {
            key_id: said.key_id,
            services: said.services,
            // Where it was bound before, the entry says since when.
            from: said.valid_from.unwrap_or(at),
            until: said.valid_until?,
            claims: said.claims,
            entry,
            id,
            key,
        })
    }

    /// The job in words: `job 812 of group/payments-api at refs/heads/main`.
    #[must_use]
    pub fn job(&self) -> String {
        self.claims
            .get(JOB_CLAIM)
            .map_or_else(|| "a job".to_owned(), Clone::clone)
    }

    /// The strongest producer that its evidence may say it comes from.
    #[must_use]
    pub fn class(&self) -> ProducerClass {
        match self.claims.get(PROTECTED_CLAIM).map(String::as_str) {
            Some("true") => ProducerClass::CiProtected,
            _ => ProducerClass::Ci,
        }
    }

    /// Whether it made a signature of this envelope.
    pub(crate) fn signed(&self, envelope: &Envelope) -> bool {
        let key = TrustedKey::new(self.key.clone(), Purpose::Producer);
        dsse::is_signed_by(envelope, &key)
    }

    /// Adds the store's signature to an envelope of the job.
    ///
    /// # Errors
    /// The key did not sign it, or no longer counts; a sentence.
    pub(crate) fn admit(
        &self,
        envelope: &mut Envelope,
        at: Timestamp,
        store: &dyn Signer,
    ) -> Result<(), String> {
        if envelope.signatures().len() != 1 {
            return Err(format!(
                "it has {} signatures; evidence of a job is signed by the key of the job alone",
                envelope.signatures().len()
            ));
        }
        if !self.signed(envelope) {
            return Err(format!(
                "it names key {} of {}, which did not sign it: the signed bytes were changed",
                self.key_id,
                self.job()
            ));
        }
        self.held(at)?;
        dsse::countersign(envelope, store).map_err(|error| error.to_string())
    }

    /// Whether the key counts at a time.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub(crate) fn held(&self, at: Timestamp) -> Result<(), String> {
        if at >= self.until {
            return Err(format!(
                "it is late: key {} of {} counted until {}, and it came at {at}; let a new job make the evidence again",
                self.key_id,
                self.job(),
                self.until
            ));
        }
        if at < self.from {
            return Err(format!(
                "key {} of {} counts from {} on, and it came at {at}",
                self.key_id,
                self.job(),
                self.from
            ));
        }
        Ok(())
    }

    /// Whether the job may state this.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub(crate) fn covers(
        &self,
        statement: &Statement<Value>,
        item: &EvidenceItem,
    ) -> Result<(), String> {
        let kind = statement.predicate_type.as_str();
        if is_delivery(statement, item) {
            return Ok(());
        }
        if kind == VSA || (kind.starts_with(OWN) && !STATED.contains(&kind)) {
            return Err(format!(
                "{} signed a statement {kind}, and a job hands in only what it saw: scans, tests, coverage, documents, probes, runs, deployments and snapshots",
                self.job()
            ));
        }
        only_about(&self.services, statement, item)
            .map_err(|problem| format!("{problem} (the key is of {})", self.job()))?;
        if item.producer_class > self.class() {
            return Err(format!(
                "it says that it comes from a protected CI job (ci-protected), and nothing shows that {} is one; say ci",
                self.job()
            ));
        }
        Ok(())
    }
}

/// How long evidence waited in a spool is about no service.
fn is_delivery(statement: &Statement<Value>, item: &EvidenceItem) -> bool {
    statement.predicate_type == ReportStatement::URI
        && statement.predicate["kind"] == crate::spool::DELIVERY
        && item.service.is_empty()
}

/// Whether evidence is about one of these services.
///
/// # Errors
/// Why not, as a sentence.
pub(crate) fn only_about(
    services: &[String],
    statement: &Statement<Value>,
    item: &EvidenceItem,
) -> Result<(), String> {
    if services.contains(&item.service) || is_delivery(statement, item) {
        return Ok(());
    }
    let about = match item.service.as_str() {
        "" => "no service".to_owned(),
        service => format!("service '{}'", service.escape_debug()),
    };
    Err(format!(
        "it is about {about}, and whoever hands it in may record for {}",
        services.join(", ")
    ))
}

/// Bindings that were looked up, with the state of the trust directory that they were judged by.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    generation: u64,
    keys: HashMap<KeyId, JobKey>,
}

impl Store {
    /// Records that a key belongs to a job. The same key may be bound to the same job again: then its
    /// end moves, and services are added to its own.
    ///
    /// # Errors
    /// The key is of another kind than Ed25519, belongs to the store or to another job, or what is said
    /// of the job is out of bounds; then nothing was recorded.
    pub async fn bind_key(&self, mut new: NewJobKey) -> Result<JobKey> {
        self.writable()?;
        let mut since = None;
        let now = self.now();
        let key_id = new.key.id();
        let refused = |reason: String| Err(RegistryError::refused(0, reason));
        if let Some(problem) = out_of_bounds(&new, now) {
            return refused(problem);
        }
        self.trust.refresh()?;
        if let Some(own) = self.trust.keys().iter().find(|key| key.key.id() == key_id) {
            return refused(format!(
                "key {key_id} is the key '{}' of this store: a job makes a key of its own",
                own.name
            ));
        }
        if let Some(bound) = self.job_key(key_id).await? {
            if bound.claims.get(JOB_CLAIM) != new.claims.get(JOB_CLAIM) {
                return refused(format!(
                    "key {key_id} belongs to {} already: every job makes a key of its own",
                    bound.job()
                ));
            }
            let more: Vec<String> = new
                .services
                .iter()
                .filter(|service| !bound.services.contains(service))
                .cloned()
                .collect();
            if bound.until >= new.until && more.is_empty() {
                return Ok(bound);
            }
            // What was taken in under the earlier entry stays covered by the newest one.
            new.services = bound.services.into_iter().chain(more).collect();
            new.until = new.until.max(bound.until);
            since = Some(bound.from);
        }
        let statement = KeyStatement {
            action: KeyAction::Bind,
            key_id,
            public_key: new.key.to_pem()?,
            name: None,
            purposes: vec![Purpose::Producer],
            encoding: EcdsaEncoding::Der,
            held: Some("elsewhere".to_owned()),
            replaces: None,
            valid_from: since,
            valid_until: Some(new.until),
            claims: new.claims,
            services: new.services,
            by: None,
            reason: None,
            observed_at: now,
        };
        let payload = super::payload(&format!("key {key_id}"), &statement)?;
        let record = NewRecord::payload(payload.into_bytes());
        // As in `record_batch`.
        let recorded = Box::pin(async {
            self.finish_change().await?;
            self.heed_keys().await?;
            self.settle_keys().await?;
            self.record_all(vec![record], true).await
        })
        .await?;
        let recorded = recorded
            .first()
            .ok_or_else(|| RegistryError::Task("nothing was recorded".to_owned()))?;
        let bound = JobKey {
            key_id,
            services: statement.services,
            from: since.unwrap_or(recorded.recorded_at),
            until: new.until,
            claims: statement.claims,
            entry: recorded.index,
            id: recorded.id,
            key: new.key,
        };
        self.remember(&bound);
        Ok(bound)
    }

    /// The job that a key is bound to, by the newest entry about it; `None` for any other key. A key
    /// whose time is over is found too.
    ///
    /// # Errors
    /// The index or the ledger cannot be read.
    pub async fn job_key(&self, key_id: KeyId) -> Result<Option<JobKey>> {
        let now = self.now();
        if let Some(known) = self.remembered(&key_id)
            && known.until > now
        {
            return Ok(Some(known));
        }
        let query = Query {
            predicate_type: Some(KeyStatement::URI.to_owned()),
            subject: Subject {
                artifact: Some(Digest::from_bytes(*key_id.as_bytes())),
                ..Subject::default()
            },
            limit: LOOKED_AT,
            ..Query::default()
        };
        let places: Vec<u64> = self
            .evidence(&query)
            .await?
            .items
            .iter()
            .map(|item| item.index)
            .collect();
        if places.is_empty() {
            return Ok(None);
        }
        let (view, reader) = (self.log.view().await?, self.reader());
        let found = tokio::task::spawn_blocking(move || {
            for index in places {
                let entry = view.read(index)?;
                let at = Timestamp::from_micros(entry.recorded_at());
                if let Ok(checked) = reader.check(entry.envelope(), at)
                    && let Some(job) = JobKey::of(checked.id, index, at, &checked.statement)
                    && job.key_id == key_id
                {
                    return Ok(Some(job));
                }
            }
            Ok::<_, RegistryError>(None)
        })
        .await??;
        if let Some(job) = &found {
            self.remember(job);
        }
        Ok(found)
    }

    /// Gives a CI job's token to a key, until `until`; answers with the key that has it. One token is for
    /// one key: another one is told whose the token is.
    ///
    /// # Errors
    /// The ops database cannot be used.
    pub async fn claim_token(&self, token: Digest, key: KeyId, until: Timestamp) -> Result<KeyId> {
        self.writable()?;
        let Some(ops) = &self.ops else { return Ok(key) };
        let has = ops
            .claim_token(&token, &key.to_string(), until, self.now())
            .await?;
        Ok(has.parse()?)
    }

    /// The job whose key signed a record, where it was one.
    ///
    /// # Errors
    /// The index or the ledger cannot be read.
    pub async fn job_of(&self, record: &crate::read::Record) -> Result<Option<JobKey>> {
        let Ok(envelope) = Envelope::parse(&record.envelope) else {
            return Ok(None);
        };
        let keys = self.trust.keys();
        for named in named_keys(&envelope) {
            // Most entries name keys of the store only: no question to the index.
            let is_trusted = keys.iter().any(|key| key.key.id() == named);
            if !is_trusted
                && let Some(job) = self.job_key(named).await?
                && job.signed(&envelope)
            {
                return Ok(Some(job));
            }
        }
        match record.signed_by {
            Some(key) => self.job_key(key).await,
            None => Ok(None),
        }
    }

    /// The jobs whose keys signed any of these.
    pub(crate) async fn jobs_of(&self, records: &[NewRecord]) -> Result<HashMap<KeyId, JobKey>> {
        let keys = self.trust.keys();
        let mut jobs = HashMap::new();
        let mut asked = HashSet::new();
        for record in records {
            let Input::Envelope(bytes) = &record.input else {
                continue;
            };
            // What cannot be read is refused where it is read whole.
            let Ok(Shape { signatures }) = serde_json::from_slice::<Shape>(bytes) else {
                continue;
            };
            if let Some(id) = stranger(&signatures.0, &keys)
                && asked.insert(id)
                && let Some(job) = self.job_key(id).await?
            {
                jobs.insert(id, job);
            }
        }
        Ok(jobs)
    }

    /// Bindings that are known without a look into the index.
    pub(crate) fn remembered(&self, key_id: &KeyId) -> Option<JobKey> {
        let known = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        (known.generation == self.trust.generation())
            .then(|| known.keys.get(key_id).cloned())
            .flatten()
    }

    fn remember(&self, job: &JobKey) {
        let mut known = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.trust.generation();
        if known.generation != generation {
            known.keys.clear();
            known.generation = generation;
        }
        if known.keys.len() >= REMEMBERED {
            let now = self.now();
            known.keys.retain(|_, job| job.until > now);
            if known.keys.len() >= REMEMBERED {
                known.keys.clear();
            }
        }
        known.keys.insert(job.key_id, job.clone());
    }
}

fn out_of_bounds(new: &NewJobKey, now: Timestamp) -> Option<String> {
    if new.key.algorithm() != Algorithm::Ed25519 {
        return Some("the key of a job must be an Ed25519 key".to_owned());
    }
    if new.services.is_empty() || new.services.len() > MAX_SERVICES {
        return Some(format!("a job records for 1 to {MAX_SERVICES} services"));
    }
    if new
        .services
        .iter()
        .any(|name| name.is_empty() || name.len() > 200)
    {
        return Some("a service has a name of 1 to 200 bytes".to_owned());
    }
    let long =
        |(name, value): (&String, &String)| name.len() > 100 || value.len() > MAX_CLAIM_BYTES;
    if new.claims.len() > MAX_CLAIMS || new.claims.iter().any(long) {
        return Some(format!(
            "a job has at most {MAX_CLAIMS} claims of at most {MAX_CLAIM_BYTES} bytes each"
        ));
    }
    if !new.claims.contains_key(JOB_CLAIM) {
        return Some("the claims do not name the job".to_owned());
    }
    (new.until <= now).then(|| format!("the key would end at {}, and it is {now}", new.until))
}

/// The keys that an envelope says it is signed by.
pub(crate) fn named_keys(envelope: &Envelope) -> Vec<KeyId> {
    envelope
        .signatures()
        .iter()
        .filter_map(|signature| signature.keyid.as_deref()?.parse().ok())
        .collect()
}

/// The key that may be a job's: the first of those that an envelope names, where none is trusted.
pub(crate) fn stranger(named: &[KeyId], keys: &TrustedKeys) -> Option<KeyId> {
    let is_trusted = |id: &KeyId| keys.iter().any(|key| key.key.id() == *id);
    if named.iter().any(is_trusted) {
        return None;
    }
    named.first().copied()
}

/// Of an envelope only which keys it names: its payload is skipped.
#[derive(Deserialize)]
struct Shape {
    signatures: Named,
}

struct Named(Vec<KeyId>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("signatures")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut all: A,
            ) -> std::result::Result<Named, A::Error> {
                #[derive(Deserialize)]
                struct One<'a> {
                    #[serde(default, borrow)]
                    keyid: Option<Cow<'a, str>>,
                }
                let mut named = Vec::new();
                while let Some(one) = all.next_element::<One<'_>>()? {
                    let id: Option<KeyId> = one.keyid.as_deref().and_then(|id| id.parse().ok());
                    if named.len() < dsse::MAX_SIGNATURES {
                        named.extend(id);
                    }
                }
                Ok(Named(named))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}
