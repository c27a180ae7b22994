//! Work that a server repeats: which job is due, and who of several processes does it.
//!
//! A row of *ops* for each job. Whoever moves `lease_until` on by compare-and-swap does the job; a
//! process that died is succeeded when its lease is over. No job may rely on being alone for ever:
//! one whose lease ran out can finish beside its successor.

use serde::Serialize;
use writ_model::{Span, Timestamp};

use crate::db::{Row, sql};
use crate::error::{RegistryError, Result};
use crate::ops::Ops;
use crate::store::Store;

/// Longest note of an outcome that is kept, in characters.
const NOTE: usize = 500;

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub name: String,
    /// When it is to be done next.
    pub due_at: Timestamp,
    /// Who does it now; empty when nobody does.
    pub holder: String,
    /// When it was begun last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
    /// When it ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When it ended well last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded_at: Option<Timestamp>,
    /// What it said when it ended last.
    pub note: String,
}

/// A job that this process does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    name: String,
    holder: String,
    begun_at: Timestamp,
}

impl Claim {
    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Store {
    /// Takes a job if it is due and nobody does it. `every`: how often it is done; the first time is
    /// at once. `holder`: a name of this process that no other has.
    ///
    /// # Errors
    /// The store is read-only or has no *ops*, or it cannot be written.
    pub async fn claim_job(
        &self,
        name: &str,
        every: Span,
        lease: Span,
        holder: &str,
    ) -> Result<Option<Claim>> {
        self.writable()?;
        let begun_at = self.now();
        let taken = self
            .jobs_ops()?
            .claim_job(name, every, lease, holder, begun_at)
            .await?;
        Ok(taken.then(|| Claim {
            name: name.to_owned(),
            holder: holder.to_owned(),
            begun_at,
        }))
    }

    /// Keeps a claimed job for longer; `false` when somebody else has taken it meanwhile.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn renew_job(&self, claim: &Claim, lease: Span) -> Result<bool> {
        let until = self.now().plus(lease);
        self.jobs_ops()?.renew_job(claim, until).await
    }

    /// Gives a job back until it is due again, with what came of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn finish_job(
        &self,
        claim: &Claim,
        next: Span,
        outcome: std::result::Result<&str, &str>,
    ) -> Result<()> {
        let now = self.now();
        self.jobs_ops()?
            .finish_job(claim, now.plus(next), outcome, now)
            .await
    }

    /// All jobs that were ever claimed, by name.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn jobs(&self) -> Result<Vec<Job>> {
        match &self.ops {
            Some(ops) => ops.jobs().await,
            None => Ok(Vec::new()),
        }
    }

    fn jobs_ops(&self) -> Result<&Ops> {
        self.ops
            .as_ref()
            .ok_or_else(|| RegistryError::refused(0, "this store was opened without its ops part"))
    }
}

impl Ops {
    async fn claim_job(
        &self,
        name: &str,
        every: Span,
        lease: Span,
        holder: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let make = sql("INSERT INTO jobs (name, due_at, lease_until, holder, begun_at, ended_at, succeeded_at, note)
             VALUES ($1, $2, 0, '', 0, 0, 0, '') ON CONFLICT (name) DO NOTHING");
        let make = make.bind(name).bind(now.micros());
        self.db().execute(make).await.map_err(|e| self.failed(e))?;
        // A due time or a lease that a clock far ahead wrote must not put the job off for ever.
        let take = sql(
            "UPDATE jobs SET holder = $1, begun_at = $2, lease_until = $3
             WHERE name = $4 AND (due_at <= $2 OR due_at > $5)
               AND (lease_until <= $2 OR lease_until > $6)",
        );
        let take = take
            .bind(holder)
            .bind(now.micros())
            .bind(now.plus(lease).micros())
            .bind(name)
            .bind(now.plus(every).micros())
            .bind(now.plus(lease).plus(lease).micros());
        let taken = self.db().execute_once(take).await;
        Ok(taken.map_err(|e| self.failed(e))? == 1)
    }

    async fn renew_job(&self, claim: &Claim, until: Timestamp) -> Result<bool> {
        let renew = sql("UPDATE jobs SET lease_until = $1
             WHERE name = $2 AND holder = $3 AND begun_at = $4");
        let renew = renew
            .bind(until.micros())
            .bind(&claim.name)
            .bind(&claim.holder)
            .bind(claim.begun_at.micros());
        let renewed = self.db().execute(renew).await;
        Ok(renewed.map_err(|e| self.failed(e))? == 1)
    }

    async fn finish_job(
        &self,
        claim: &Claim,
        due_at: Timestamp,
        outcome: std::result::Result<&str, &str>,
        now: Timestamp,
    ) -> Result<()> {
        let note: String = match outcome {
            Ok(note) | Err(note) => note.chars().take(NOTE).collect(),
        };
        // Nothing happens when somebody else holds it by now: theirs is the newer word.
        let finish = sql(
            "UPDATE jobs SET due_at = $1, lease_until = 0, holder = '', ended_at = $2, note = $3,
               succeeded_at = CASE WHEN $4 = 1 THEN $2 ELSE succeeded_at END
             WHERE name = $5 AND holder = $6 AND begun_at = $7",
        );
        let finish = finish
            .bind(due_at.micros())
            .bind(now.micros())
            .bind(&note)
            .bind(i64::from(outcome.is_ok()))
            .bind(&claim.name)
            .bind(&claim.holder)
            .bind(claim.begun_at.micros());
        self.db()
            .execute(finish)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn jobs(&self) -> Result<Vec<Job>> {
        let find = sql(
            "SELECT name, due_at, holder, begun_at, ended_at, succeeded_at, note
             FROM jobs ORDER BY name",
        );
        let rows = self.db().fetch_all(find).await;
        let job = |row: &Row| {
            let time = |at: usize| -> sqlx::Result<Option<Timestamp>> {
                let micros: i64 = row.try_get(at)?;
                Ok((micros != 0).then(|| Timestamp::from_micros(micros)))
            };
            Ok(Job {
                name: row.try_get(0)?,
                due_at: Timestamp::from_micros(row.try_get(1)?),
                holder: row.try_get(2)?,
                begun_at: time(3)?,
                ended_at: time(4)?,
                succeeded_at: time(5)?,
                note: row.try_get(6)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(job).collect())
            .map_err(|e| self.failed(e))
    }
}
