//! One entry of the ledger as rows of the index.

use std::borrow::Cow;
use std::collections::HashSet;

use writ_model::{Digest, EvidenceItem, Origin, PrincipalId, Timestamp};

use super::batch::Batch;
use super::changes::apply_change;
use super::stock::Stock;
use super::streams::{FindingsSource, apply_scan, signed};
use super::words;
use crate::db::{Conn, Value, sql};

/// Columns of a row of `evidence`.
const EVIDENCE_COLUMNS: usize = 21;

/// What the projector makes of one entry.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Ledger index.
    pub index: u64,
    /// What it says, or why nobody can tell.
    pub content: Result<Box<Projected>, String>,
}

impl Recorded {
    fn is_exemption(&self) -> bool {
        matches!(
            self.content.as_ref().map(|content| &content.event),
            Ok(Event::ExemptionRequest { .. } | Event::ExemptionAnswer { .. })
        )
    }
}

/// A verified statement, taken apart for the index.
#[derive(Debug, Clone)]
pub(crate) struct Projected {
    /// As the gate reads it.
    pub item: EvidenceItem,
    /// The item as JSON.
    pub json: String,
    /// Digests of its subjects: algorithm, value, name.
    pub subjects: Vec<(String, String, String)>,
    /// Blobs in the locker that it rests on: digest and role.
    pub blobs: Vec<(Digest, String)>,
    /// Where the whole statement lies when the entry is a reference to it.
    pub statement: Option<Digest>,
    /// Key under which its result may be reused.
    pub cache_key: Option<String>,
    /// Whether findings live by it.
    pub scan: bool,
    /// What else it changes.
    pub event: Event,
}

/// What a statement changes beside the list of evidence.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Nothing.
    None,
    /// A pipeline ran.
    Run {
        /// Its outcome in one word.
        outcome: String,
    },
    /// The gate answered.
    Decision {
        /// Profile in force.
        profile: String,
        /// The answer's word.
        answer: String,
        /// As of when.
        as_of: Timestamp,
        /// Checks per state, JSON.
        counts: String,
        /// State of each check, as [`super::views::CheckStates`] writes them.
        states: String,
    },
    /// A release was authorised.
    Writ {
        /// Until when.
        expires_at: Option<Timestamp>,
    },
    /// A person's yes or no to a release.
    Approval {
        /// Who.
        person: PrincipalId,
        /// `approved` or `rejected`.
        answer: &'static str,
    },
    /// Somebody asks for an exemption.
    ExemptionRequest {
        /// Who.
        requester: PrincipalId,
        /// Why.
        reason: String,
        /// Until when.
        expires_at: Option<Timestamp>,
    },
    /// Somebody answers a request, or takes an exemption back.
    ExemptionAnswer {
        /// `granted`, `denied` or `revoked`.
        state: &'static str,
        /// Payload digest of the request.
        request: Digest,
        /// Who.
        person: PrincipalId,
        /// Until when, for a grant.
        expires_at: Option<Timestamp>,
    },
}

/// Writes consecutive entries.
pub(super) async fn apply_all(
    connection: &mut Conn<'_>,
    entries: &[Recorded],
    source: &(dyn FindingsSource + Sync),
    optimistic: bool,
) -> sqlx::Result<()> {
    let mut rest = entries;
    let mut stock = Stock::default();
    while !rest.is_empty() {
        // Exemptions read what the entries before them wrote: they begin a part of their own.
        let end = rest
            .iter()
            .skip(1)
            .position(Recorded::is_exemption)
            .map_or(rest.len(), |at| at + 1);
        let (part, after) = rest.split_at(end);
        apply_part(connection, &mut stock, part, source, optimistic).await?;
        rest = after;
    }
    stock.write(connection).await
}

async fn apply_part(
    connection: &mut Conn<'_>,
    stock: &mut Stock,
    entries: &[Recorded],
    source: &(dyn FindingsSource + Sync),
    optimistic: bool,
) -> sqlx::Result<()> {
    let mut batch = Batch::new();
    let mut projected = Vec::with_capacity(entries.len());
    for entry in entries {
        match &entry.content {
            Ok(content) => projected.push(complete(connection, content).await?),
            Err(reason) => {
                batch.problem([signed(entry.index).into(), reason.into()]);
            }
        }
    }
    let fresh = insert_evidence(connection, &projected, optimistic).await?;
    for projected in &projected {
        let index = signed(projected.item.index);
        if !fresh.contains(&index) {
            let reason = "the same statement by the same signer was recorded before";
            batch.problem([index.into(), reason.into()]);
            continue;
        }
        apply_one(connection, stock, &mut batch, projected, source).await?;
    }
    batch.write(connection).await
}

async fn apply_one<'q>(
    connection: &mut Conn<'_>,
    stock: &mut Stock,
    batch: &mut Batch<'q>,
    projected: &'q Projected,
    source: &(dyn FindingsSource + Sync),
) -> sqlx::Result<()> {
    let index = signed(projected.item.index);
    for (position, (algorithm, value, name)) in projected.subjects.iter().enumerate() {
        batch.subject([
            index.into(),
            i64::try_from(position).unwrap_or(i64::MAX).into(),
            algorithm.into(),
            value.into(),
            name.into(),
        ]);
    }
    let mut blobs: Vec<_> = projected.blobs.iter().collect();
    blobs.sort_unstable();
    blobs.dedup();
    for (digest, role) in blobs {
        batch.blob([digest.to_hex().into(), index.into(), role.into()]);
    }
    batch.words([index.into(), words::list(projected).into()]);
    if let Some(key) = &projected.cache_key {
        batch.cache([key.into(), index.into()]);
    }
    if projected.scan
        && let Some(reason) = apply_scan(connection, stock, &projected.item, source).await?
    {
        batch.problem([index.into(), reason.into()]);
    }
    apply_change(connection, projected).await?;
    apply_event(connection, batch, projected).await
}

/// Exemptions get their number from the order of the ledger; an answer takes number and service
/// from the request that it answers.
async fn complete<'a>(
    connection: &mut Conn<'_>,
    projected: &'a Projected,
) -> sqlx::Result<Cow<'a, Projected>> {
    let found = match &projected.event {
        Event::ExemptionRequest { .. } => {
            let row = connection
                .fetch_optional(sql("SELECT COALESCE(MAX(number), 0) + 1 FROM exemptions"))
                .await?;
            row.map(|row| Ok::<_, sqlx::Error>((row.try_get(0)?, None)))
        }
        Event::ExemptionAnswer { request, .. } => {
            let row = connection
                .fetch_optional(
                    sql("SELECT number, service FROM exemptions WHERE id = $1")
                        .bind(request.to_hex()),
                )
                .await?;
            row.map(|row| Ok((row.try_get(0)?, Some(row.try_get::<String>(1)?))))
        }
        _ => None,
    };
    let mut projected = Cow::Borrowed(projected);
    if let Some((number, service)) = found.transpose()? {
        let number: i64 = number;
        let projected = projected.to_mut();
        if let Some(service) = service {
            projected.item.service = service;
        }
        projected
            .item
            .facts
            .insert("number".to_owned(), format!("EX-{number}").into());
        projected.json =
            serde_json::to_string(&projected.item).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    }
    Ok(projected)
}

/// The ledger indexes of those that are new: the same payload by the same signer counts once.
async fn insert_evidence(
    connection: &mut Conn<'_>,
    entries: &[Cow<'_, Projected>],
    optimistic: bool,
) -> sqlx::Result<HashSet<i64>> {
    let mut values = Vec::with_capacity(entries.len() * EVIDENCE_COLUMNS);
    for projected in entries {
        let item = &projected.item;
        let row: [Value<'_>; EVIDENCE_COLUMNS] = [
            signed(item.index).into(),
            item.id.digest().to_hex().into(),
            (&item.signer).into(),
            (&item.predicate_type).into(),
            item.evidence_type.word().into(),
            (&item.service).into(),
            (&item.subject.commit).into(),
            (&item.subject.tree).into(),
            item.subject.artifact.map(|digest| digest.to_hex()).into(),
            (&item.subject.environment).into(),
            (&item.scope).into(),
            item.tool
                .as_ref()
                .map_or("", |tool| tool.name.as_str())
                .into(),
            item.observed_at.micros().into(),
            item.recorded_at.micros().into(),
            match item.origin {
                Origin::Observed => "observed",
                Origin::HandedIn => "handed-in",
            }
            .into(),
            word(&item.producer_class)?.into(),
            word(&item.outcome)?.into(),
            item.dirty.into(),
            item.findings.map(|digest| digest.to_hex()).into(),
            projected.statement.map(|digest| digest.to_hex()).into(),
            projected.json.as_str().into(),
        ];
        values.extend(row);
    }
    let insert = sql(
        "INSERT INTO evidence (idx, id, signer, predicate_type, evidence_type, service, commit_id, tree, artifact,
            environment, scope, tool, observed_at, recorded_at, origin, producer_class, outcome, dirty, findings, statement, item)
         VALUES",
    );
    let fresh = connection
        .insert_rows(
            insert.bind_all(values),
            match optimistic {
                true => "RETURNING idx",
                false => "ON CONFLICT (id, signer) DO NOTHING RETURNING idx",
            },
            EVIDENCE_COLUMNS,
        )
        .await?;
    fresh.iter().map(|row| row.try_get(0)).collect()
}

/// The word that an enum without fields is serialised as.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> sqlx::Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(_) => Ok(String::new()),
        Err(error) => Err(sqlx::Error::Encode(Box::new(error))),
    }
}

async fn apply_event<'q>(
    connection: &mut Conn<'_>,
    batch: &mut Batch<'q>,
    projected: &'q Projected,
) -> sqlx::Result<()> {
    let item = &projected.item;
    let index = signed(item.index);
    let id = || Value::from(item.id.digest().to_hex());
    let artifact = || Value::from(item.subject.artifact.map(|digest| digest.to_hex()));
    match &projected.event {
        Event::None => {}
        Event::Run { outcome } => batch.run([
            index.into(),
            id(),
            (&item.service).into(),
            (&item.subject.commit).into(),
            outcome.into(),
            item.observed_at.micros().into(),
        ]),
        Event::Decision {
            profile,
            answer,
            as_of,
            counts,
            states,
        } => batch.decision([
            index.into(),
            id(),
            (&item.service).into(),
            item.subject
                .environment
                .as_deref()
                .unwrap_or_default()
                .into(),
            artifact(),
            (&item.subject.commit).into(),
            profile.into(),
            answer.into(),
            as_of.micros().into(),
            counts.into(),
            states.into(),
        ]),
        Event::Writ { expires_at } => batch.writ([
            index.into(),
            id(),
            (&item.service).into(),
            (&item.subject.environment).into(),
            artifact(),
            (&item.subject.commit).into(),
            expires_at.map(Timestamp::micros).into(),
        ]),
        Event::Approval { person, answer } => batch.approval([
            index.into(),
            id(),
            (&item.service).into(),
            (&item.subject.environment).into(),
            artifact(),
            (&item.subject.commit).into(),
            (&person.0).into(),
            (*answer).into(),
        ]),
        Event::ExemptionRequest {
            requester,
            reason,
            expires_at,
        } => {
            // Numbers follow the order of the ledger.
            let insert = sql(
                "INSERT INTO exemptions (number, id, idx, service, environment, state, requester, expires_at, reason, request)
                 SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, 'requested', $5, $6, $7, $8 FROM exemptions",
            );
            let insert = insert
                .bind(id())
                .bind(index)
                .bind(&item.service)
                .bind(&item.subject.environment)
                .bind(&requester.0)
                .bind(expires_at.map(Timestamp::micros))
                .bind(reason)
                .bind(&projected.json);
            connection.execute(insert).await?;
        }
        Event::ExemptionAnswer {
            state,
            request,
            person,
            expires_at,
        } => {
            let answer = Answer {
                state,
                request,
                person,
                expires_at: *expires_at,
                json: &projected.json,
            };
            if let Some(reason) = answer_exemption(connection, item, &answer).await? {
                batch.problem([index.into(), reason.into()]);
            }
        }
    }
    Ok(())
}

struct Answer<'a> {
    state: &'static str,
    request: &'a Digest,
    person: &'a PrincipalId,
    expires_at: Option<Timestamp>,
    json: &'a str,
}

/// The rules of the door hold here again: an entry that breaks them changes nothing, whoever
/// signed it. The answer is why it changed nothing.
async fn answer_exemption(
    connection: &mut Conn<'_>,
    item: &EvidenceItem,
    answer: &Answer<'_>,
) -> sqlx::Result<Option<String>> {
    let find = sql("SELECT state, requester, number FROM exemptions WHERE id = $1");
    let row = connection
        .fetch_optional(find.bind(answer.request.to_hex()))
        .await?;
    let Some(row) = row else {
        return Ok(Some(format!(
            "answers the exemption request {}, which is not recorded",
            answer.request
        )));
    };
    let (state, requester, number): (&str, &str, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if let Err(reason) = may_answer(state, requester, answer.state, &answer.person.0) {
        return Ok(Some(format!("EX-{number}: {reason}")));
    }
    let change = if answer.state == "revoked" {
        sql("UPDATE exemptions SET state = 'revoked', revoked_index = $2 WHERE id = $1")
            .bind(answer.request.to_hex())
            .bind(signed(item.index))
    } else {
        sql(
            "UPDATE exemptions SET state = $2, decided_by = $3, decided_id = $4, decided_index = $5, decided_at = $6,
               expires_at = COALESCE($7, expires_at), grant_item = $8 WHERE id = $1",
        )
        .bind(answer.request.to_hex())
        .bind(answer.state)
        .bind(&answer.person.0)
        .bind(item.id.digest().to_hex())
        .bind(signed(item.index))
        .bind(item.recorded_at.micros())
        .bind(answer.expires_at.map(Timestamp::micros))
        .bind((answer.state == "granted").then_some(answer.json))
    };
    connection.execute(change).await?;
    Ok(None)
}

/// Whether a person may give this answer to an exemption in this state.
pub(crate) fn may_answer(
    state: &str,
    requester: &str,
    answer: &str,
    person: &str,
) -> Result<(), String> {
    match (state, answer) {
        ("requested", "granted") if requester == person => {
            Err("who requests an exemption cannot grant it; somebody else has to decide".to_owned())
        }
        ("requested", "granted" | "denied") | ("granted", "revoked") => Ok(()),
        ("requested", "revoked") => {
            Err("it was not granted yet, so there is nothing to revoke; deny it instead".to_owned())
        }
        _ => Err(format!(
            "it is {state} already and cannot be {answer}; request a new one"
        )),
    }
}
