//! One entry of the ledger as rows of the index.

use std::borrow::Cow;

use sqlx::{Row as _, SqliteConnection};
use writ_model::{Digest, EvidenceItem, Origin, PrincipalId, Timestamp};

use super::changes::apply_change;
use super::streams::{FindingsSource, apply_scan, signed};

/// What the projector makes of one entry.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Ledger index.
    pub index: u64,
    /// What it says, or why nobody can tell.
    pub content: Result<Box<Projected>, String>,
}

/// A verified statement, taken apart for the index.
#[derive(Debug, Clone)]
pub(crate) struct Projected {
    /// As the gate reads it.
    pub item: EvidenceItem,
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

/// Writes one entry.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    entry: &Recorded,
    source: &(dyn FindingsSource + Sync),
) -> sqlx::Result<()> {
    let projected = match &entry.content {
        Ok(projected) => &*complete(connection, projected).await?,
        Err(reason) => return problem(connection, entry.index, reason).await,
    };
    if !insert_evidence(connection, projected).await? {
        let reason = "the same statement by the same signer was recorded before";
        return problem(connection, entry.index, reason).await;
    }
    let index = signed(entry.index);
    for (position, (algorithm, value, name)) in projected.subjects.iter().enumerate() {
        sqlx::query("INSERT INTO subjects (idx, position, algorithm, value, name) VALUES ($1, $2, $3, $4, $5)")
            .bind(index)
            .bind(i64::try_from(position).unwrap_or(i64::MAX))
            .bind(algorithm)
            .bind(value)
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    for (digest, role) in &projected.blobs {
        sqlx::query("INSERT INTO blobs (digest, idx, role) VALUES ($1, $2, $3) ON CONFLICT (digest, idx, role) DO NOTHING")
            .bind(digest.to_hex())
            .bind(index)
            .bind(role)
            .execute(&mut *connection)
            .await?;
    }
    if let Some(key) = &projected.cache_key {
        sqlx::query("INSERT INTO cache (key, idx) VALUES ($1, $2)")
            .bind(key)
            .bind(index)
            .execute(&mut *connection)
            .await?;
    }
    if projected.scan
        && let Some(reason) = apply_scan(connection, &projected.item, source).await?
    {
        problem(connection, entry.index, &reason).await?;
    }
    apply_change(connection, projected).await?;
    apply_event(connection, projected).await
}

/// Exemptions get their number from the order of the ledger; an answer takes number and service
/// from the request that it answers.
async fn complete<'a>(
    connection: &mut SqliteConnection,
    projected: &'a Projected,
) -> sqlx::Result<Cow<'a, Projected>> {
    let row = match &projected.event {
        Event::ExemptionRequest { .. } => {
            sqlx::query("SELECT COALESCE(MAX(number), 0) + 1, $1 FROM exemptions")
                .bind(&projected.item.service)
                .fetch_optional(connection)
                .await?
        }
        Event::ExemptionAnswer { request, .. } => {
            sqlx::query("SELECT number, service FROM exemptions WHERE id = $1")
                .bind(request.to_hex())
                .fetch_optional(connection)
                .await?
        }
        _ => None,
    };
    let mut projected = Cow::Borrowed(projected);
    if let Some(row) = row {
        let projected = projected.to_mut();
        let number: i64 = row.try_get(0)?;
        projected.item.service = row.try_get(1)?;
        projected
            .item
            .facts
            .insert("number".to_owned(), format!("EX-{number}").into());
    }
    Ok(projected)
}

async fn problem(connection: &mut SqliteConnection, index: u64, reason: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO problems (idx, problem) VALUES ($1, $2)")
        .bind(signed(index))
        .bind(reason)
        .execute(connection)
        .await?;
    Ok(())
}

/// `false` when this payload by this signer is there already.
async fn insert_evidence(
    connection: &mut SqliteConnection,
    projected: &Projected,
) -> sqlx::Result<bool> {
    let item = &projected.item;
    let json = serde_json::to_string(item).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    let done = sqlx::query(
        "INSERT INTO evidence (idx, id, signer, predicate_type, evidence_type, service, commit_id, tree, artifact,
            environment, scope, tool, observed_at, recorded_at, origin, producer_class, outcome, dirty, findings, statement, item)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
         ON CONFLICT (id, signer) DO NOTHING",
    )
    .bind(signed(item.index))
    .bind(item.id.digest().to_hex())
    .bind(&item.signer)
    .bind(&item.predicate_type)
    .bind(item.evidence_type.word())
    .bind(&item.service)
    .bind(&item.subject.commit)
    .bind(&item.subject.tree)
    .bind(item.subject.artifact.map(|digest| digest.to_hex()))
    .bind(&item.subject.environment)
    .bind(&item.scope)
    .bind(item.tool.as_ref().map_or("", |tool| tool.name.as_str()))
    .bind(item.observed_at.micros())
    .bind(item.recorded_at.micros())
    .bind(match item.origin {
        Origin::Observed => "observed",
        Origin::HandedIn => "handed-in",
    })
    .bind(word(&item.producer_class)?)
    .bind(word(&item.outcome)?)
    .bind(i64::from(item.dirty))
    .bind(item.findings.map(|digest| digest.to_hex()))
    .bind(projected.statement.map(|digest| digest.to_hex()))
    .bind(json)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The word that an enum without fields is serialised as.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> sqlx::Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(_) => Ok(String::new()),
        Err(error) => Err(sqlx::Error::Encode(Box::new(error))),
    }
}

async fn apply_event(connection: &mut SqliteConnection, projected: &Projected) -> sqlx::Result<()> {
    let item = &projected.item;
    let (index, id) = (signed(item.index), item.id.digest().to_hex());
    let artifact = item.subject.artifact.map(|digest| digest.to_hex());
    let query = match &projected.event {
        Event::None => return Ok(()),
        Event::Run { outcome } => sqlx::query(
            "INSERT INTO runs (idx, id, service, commit_id, outcome, observed_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(index)
        .bind(id)
        .bind(&item.service)
        .bind(&item.subject.commit)
        .bind(outcome)
        .bind(item.observed_at.micros()),
        Event::Decision {
            profile,
            answer,
            as_of,
            counts,
            states,
        } => sqlx::query(
            "INSERT INTO decisions (idx, id, service, environment, artifact, commit_id, profile, answer, as_of, counts, states)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(index)
        .bind(id)
        .bind(&item.service)
        .bind(item.subject.environment.as_deref().unwrap_or_default())
        .bind(artifact)
        .bind(&item.subject.commit)
        .bind(profile)
        .bind(answer)
        .bind(as_of.micros())
        .bind(counts)
        .bind(states),
        Event::Writ { expires_at } => sqlx::query(
            "INSERT INTO writs (idx, id, service, environment, artifact, commit_id, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(index)
        .bind(id)
        .bind(&item.service)
        .bind(&item.subject.environment)
        .bind(artifact)
        .bind(&item.subject.commit)
        .bind(expires_at.map(Timestamp::micros)),
        Event::Approval { person, answer } => sqlx::query(
            "INSERT INTO approvals (idx, id, service, environment, artifact, commit_id, person, answer)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(index)
        .bind(id)
        .bind(&item.service)
        .bind(&item.subject.environment)
        .bind(artifact)
        .bind(&item.subject.commit)
        .bind(&person.0)
        .bind(*answer),
        Event::ExemptionRequest {
            requester,
            reason,
            expires_at,
        } => sqlx::query(
            // Numbers follow the order of the ledger.
            "INSERT INTO exemptions (number, id, idx, service, environment, state, requester, expires_at, reason, request)
             SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, 'requested', $5, $6, $7, $8 FROM exemptions",
        )
        .bind(id)
        .bind(index)
        .bind(&item.service)
        .bind(&item.subject.environment)
        .bind(&requester.0)
        .bind(expires_at.map(Timestamp::micros))
        .bind(reason)
        .bind(serde_json::to_string(item).map_err(|e| sqlx::Error::Encode(Box::new(e)))?),
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
            };
            return answer_exemption(connection, item, &answer).await;
        }
    };
    query.execute(connection).await?;
    Ok(())
}

struct Answer<'a> {
    state: &'static str,
    request: &'a Digest,
    person: &'a PrincipalId,
    expires_at: Option<Timestamp>,
}

/// The rules of the door hold here again: an entry that breaks them changes nothing, whoever
/// signed it.
async fn answer_exemption(
    connection: &mut SqliteConnection,
    item: &EvidenceItem,
    answer: &Answer<'_>,
) -> sqlx::Result<()> {
    let row = sqlx::query("SELECT state, requester, number FROM exemptions WHERE id = $1")
        .bind(answer.request.to_hex())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return problem(
            connection,
            item.index,
            &format!(
                "answers the exemption request {}, which is not recorded",
                answer.request
            ),
        )
        .await;
    };
    let (state, requester, number): (String, String, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if let Err(reason) = may_answer(&state, &requester, answer.state, &answer.person.0) {
        return problem(connection, item.index, &format!("EX-{number}: {reason}")).await;
    }
    let json = serde_json::to_string(item).map_err(|e| sqlx::Error::Encode(Box::new(e)))?;
    let query = if answer.state == "revoked" {
        sqlx::query("UPDATE exemptions SET state = 'revoked', revoked_index = $2 WHERE id = $1")
            .bind(answer.request.to_hex())
            .bind(signed(item.index))
    } else {
        sqlx::query(
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
        .bind((answer.state == "granted").then_some(json))
    };
    query.execute(connection).await?;
    Ok(())
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
