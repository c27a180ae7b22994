//! Reading: the questions that the gate, the CLI and people ask a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use writ_evidence::key::KeyId;
use writ_evidence::statement::Statement;
use writ_ledger::TlogProof;
use writ_model::{Digest, EvidenceItem, Finding, LedgerHead, PrincipalId, Subject, Timestamp};

use crate::error::{RegistryError, Result};
use crate::findings;
use crate::index::lists::{
    Counts, DecisionRow, ExemptionRow, FindingsQuery, RunRow, TrackedFinding, WritRow,
};
use crate::index::query::{Page, Query};
use crate::ops::{HeldCheckpoint, pseudonym};
use crate::store::Store;

/// Fewest hexadecimal digits of an id prefix.
pub const MIN_PREFIX: usize = 8;

/// What the gate reads for one release.
#[derive(Debug, Clone)]
pub struct EvidenceSet {
    /// Evidence below [`EvidenceSet::ledger`], by rising index.
    pub items: Vec<EvidenceItem>,
    /// The signed head below which everything was read.
    pub ledger: LedgerHead,
    /// When each finding of the service was first seen, as known at that head.
    pub first_seen: BTreeMap<Digest, Timestamp>,
}

/// A recorded statement, read back and verified.
#[derive(Debug, Clone)]
pub struct Record {
    /// As the gate reads it.
    pub item: EvidenceItem,
    /// The statement.
    pub statement: Statement<serde_json::Value>,
    /// The signed envelope in the ledger: of the statement, or of a reference to it.
    pub envelope: Vec<u8>,
    /// Where the whole statement lies in the locker when the ledger holds a reference to it.
    pub whole: Option<Digest>,
    /// The key of a job that signed the whole statement, where the store signed a reference to it.
    pub signed_by: Option<KeyId>,
}

/// How far a store goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// The ledger's name.
    pub origin: String,
    /// Signed head.
    pub head: LedgerHead,
    /// Durable entries, also those that the head does not cover yet.
    pub entries: u64,
    /// Entries in the index.
    pub indexed: u64,
}

/// What `writ status` shows of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// How far it goes.
    #[serde(flatten)]
    pub extent: Extent,
    /// What is in the index.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Store {
    /// A page of evidence, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn evidence(&self, query: &Query) -> Result<Page> {
        self.index().await?.evidence(query).await
    }

    /// Everything a decision about `subject` of `service` in `environment` may read, below the
    /// ledger size `as_of`, or below the newest signed head.
    ///
    /// # Errors
    /// The index or the ledger cannot be read, or `as_of` lies beyond the ledger.
    pub async fn evidence_set(
        &self,
        service: &str,
        subject: &Subject,
        environment: &str,
        as_of: Option<u64>,
    ) -> Result<EvidenceSet> {
        let ledger = self.head(as_of).await?;
        let subject = Subject {
            environment: Some(environment.to_owned()),
            ..subject.clone()
        };
        let index = self.index().await?;
        Ok(EvidenceSet {
            items: index.evidence_for(service, &subject, ledger.size).await?,
            first_seen: index.first_seen(service, ledger.size).await?,
            ledger,
        })
    }

    /// The newest head that covers everything recorded, or the head at an earlier size.
    ///
    /// # Errors
    /// The ledger cannot be read, or is smaller than `at`.
    pub async fn head(&self, at: Option<u64>) -> Result<LedgerHead> {
        let mut view = self.log.view().await?;
        let signed = view.checkpoint().unverified().size;
        if at.unwrap_or(u64::MAX).min(view.size()) > signed && !self.options.read_only {
            // What is durable but not yet under a signed head gets one.
            let mut door = self.door.lock().await;
            self.enter(&mut door).await?.integrate().await?;
            view = self.log.view().await?;
        }
        let signed = view.checkpoint();
        let head = signed.unverified();
        let (size, root) = match at {
            Some(size) if size != head.size => (
                size,
                tokio::task::spawn_blocking(move || view.root_at(size)).await??,
            ),
            _ => (head.size, head.root),
        };
        Ok(LedgerHead {
            size,
            root: Digest::from_bytes(root.0),
        })
    }

    /// The record with this id or beginning of an id (`ev_`, `dec_`, `wr_` or bare hexadecimal).
    ///
    /// # Errors
    /// Nothing or more than one record has it, or it does not verify.
    pub async fn get(&self, id: &str) -> Result<Record> {
        let digits = prefix_digits(id)?;
        let located = self.index().await?.locate(id, digits).await?;
        let view = self.log.view().await?;
        let checker = self.reader();
        tokio::task::spawn_blocking(move || {
            let damaged = |problem: String| RegistryError::Entry {
                index: located.index,
                id: Some(located.id),
                problem,
            };
            let entry = view.read(located.index)?;
            let checked = checker
                .check(
                    entry.envelope(),
                    Timestamp::from_micros(entry.recorded_at()),
                )
                .map_err(damaged)?;
            if checked.id != located.id {
                return Err(damaged(format!(
                    "the ledger holds {} there, the index names {}",
                    checked.id, located.id
                )));
            }
            Ok(Record {
                item: located.item,
                statement: checked.statement,
                envelope: entry.envelope().to_vec(),
                whole: located.statement,
                signed_by: checked.signed_by,
            })
        })
        .await?
    }

    /// The offline proof that a record is in the ledger, as `.tlog-proof`.
    ///
    /// # Errors
    /// There is no such record, or the ledger cannot sign a head over it.
    pub async fn receipt(&self, id: &str) -> Result<TlogProof> {
        let digits = prefix_digits(id)?;
        let index = self.index().await?.locate(id, digits).await?.index;
        self.head(None).await?;
        let view = self.log.view().await?;
        Ok(tokio::task::spawn_blocking(move || view.receipt(index)).await??)
    }

    /// The same with the entry in it, for whoever has nothing but the log's keys.
    ///
    /// # Errors
    /// As [`Store::receipt`].
    pub async fn whole_receipt(&self, id: &str) -> Result<TlogProof> {
        let receipt = self.receipt(id).await?;
        let view = self.log.view().await?;
        tokio::task::spawn_blocking(move || {
            let entry = view.read(receipt.index)?;
            Ok(receipt.enclosing(entry.as_bytes()))
        })
        .await?
    }

    /// The normalised findings of a scan, from the locker.
    ///
    /// # Errors
    /// The blob is not there, or not what it should be.
    pub async fn findings(&self, digest: Digest) -> Result<Vec<Finding>> {
        let locker = Arc::clone(&self.locker);
        tokio::task::spawn_blocking(move || {
            let blob = locker.get_bytes(digest, findings::MAX_BYTES)?;
            findings::decode(digest, &blob)
        })
        .await?
    }

    /// Findings with their life, the most severe and oldest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn open_findings(&self, query: &FindingsQuery) -> Result<Vec<TrackedFinding>> {
        self.index().await?.findings(query).await
    }

    /// The completed results that were recorded under this cache key, newest first, at most 32.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn cached(&self, key: &str) -> Result<Vec<EvidenceItem>> {
        self.index().await?.cached(key).await
    }

    /// Recorded runs, newest first; `limit` 0 means the largest page.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn runs(&self, service: Option<&str>, limit: usize) -> Result<Vec<RunRow>> {
        self.index().await?.runs(service, limit).await
    }

    /// Recorded decisions, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn decisions(
        &self,
        service: Option<&str>,
        environment: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        self.index()
            .await?
            .decisions(service, environment, limit)
            .await
    }

    /// Recorded writs, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn writs(
        &self,
        service: Option<&str>,
        environment: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WritRow>> {
        self.index().await?.writs(service, environment, limit).await
    }

    /// Exemptions by rising number.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn exemptions(&self, service: Option<&str>) -> Result<Vec<ExemptionRow>> {
        self.index().await?.exemptions(service).await
    }

    /// Entries that could not be used, with the reason.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn problems(&self, limit: usize) -> Result<Vec<(u64, String)>> {
        self.index().await?.problems(limit).await
    }

    /// How far the store goes.
    ///
    /// # Errors
    /// The ledger or the index cannot be read.
    pub async fn extent(&self) -> Result<Extent> {
        let view = self.log.view().await?;
        let signed = view.checkpoint();
        let checkpoint = signed.unverified();
        Ok(Extent {
            origin: self.origin.clone(),
            head: LedgerHead {
                size: checkpoint.size,
                root: Digest::from_bytes(checkpoint.root.0),
            },
            entries: view.size(),
            indexed: self.index().await?.position().await?.size,
        })
    }

    /// How much is in the index. This reads whole tables.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn counts(&self) -> Result<Counts> {
        self.index().await?.counts().await
    }

    /// Both.
    ///
    /// # Errors
    /// The ledger or the index cannot be read.
    pub async fn stats(&self) -> Result<Stats> {
        Ok(Stats {
            extent: self.extent().await?,
            counts: self.counts().await?,
        })
    }

    /// The whole index as text, in a fixed order: equal for equal ledgers and lockers.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn index_dump(&self) -> Result<String> {
        self.index().await?.dump().await
    }

    /// The pseudonym of a local account. Its name is kept in the directory of people, never in
    /// the ledger. The same name always has the same pseudonym.
    ///
    /// # Errors
    /// The name is empty or longer than 200 bytes, or the key or the directory cannot be used.
    pub async fn local_principal(&self, name: &str) -> Result<PrincipalId> {
        let name = name.trim();
        if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            return Err(RegistryError::refused(
                0,
                "a person's name must have 1 to 200 bytes and no control characters",
            ));
        }
        let id = pseudonym(&self.trust.accounts_key()?, "local", name);
        if let (Some(ops), false) = (&self.ops, self.options.read_only) {
            ops.put_person(&id, name, "local", self.now()).await?;
        }
        Ok(id)
    }

    /// The pseudonym of a machine, by its name; nothing is written.
    ///
    /// # Errors
    /// The key of the pseudonyms cannot be read.
    pub fn machine_principal(&self, kind: &str, name: &str) -> Result<PrincipalId> {
        Ok(pseudonym(&self.trust.accounts_key()?, kind, name))
    }

    /// The name behind a pseudonym, where the directory of people has it.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn person_name(&self, id: &PrincipalId) -> Result<Option<String>> {
        match &self.ops {
            Some(ops) => ops.person(id).await,
            None => Ok(None),
        }
    }

    /// The checkpoints that were verified here, largest first.
    ///
    /// # Errors
    /// The ops database cannot be read.
    pub async fn held_checkpoints(&self) -> Result<Vec<HeldCheckpoint>> {
        match &self.ops {
            Some(ops) => ops.held(&self.origin, 1_000).await,
            None => Ok(Vec::new()),
        }
    }
}

/// The hexadecimal digits of an id or of its beginning.
pub(crate) fn prefix_digits(id: &str) -> Result<&str> {
    let digits = ["ev_", "dec_", "wr_", "sha256:"]
        .iter()
        .find_map(|prefix| id.strip_prefix(prefix))
        .unwrap_or(id);
    let hexadecimal = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if digits.len() < MIN_PREFIX || digits.len() > 64 || !hexadecimal {
        return Err(RegistryError::NotAnId(id.chars().take(80).collect()));
    }
    Ok(digits)
}
