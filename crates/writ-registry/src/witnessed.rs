//! Witnesses of a store's ledger: the policy that is believed, and how the ledger stands to it.
//!
//! The policy ([C2SP tlog-policy](https://c2sp.org/tlog-policy)) is a file of the trust directory,
//! `witness.policy`: a store cannot say whose word about it counts.

use std::sync::Arc;

use serde::Serialize;
use writ_ledger::policy::{MAX_POLICY_BYTES, Policy, Quorum};
use writ_ledger::{EntryBytes, LogKeys, LogStore, SignedCheckpoint, TlogProof, TreeView};

use crate::durable;
use crate::error::{RegistryError, Result};
use crate::read::prefix_digits;
use crate::store::Store;
use crate::trust::Trust;

/// Name of the policy file in the trust directory.
pub const WITNESS_POLICY: &str = "witness.policy";

/// How a checkpoint stands to the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Witnessed {
    /// Entries under the newest cosigned checkpoint; `None` when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Required cosignatures that are there.
    pub counted: usize,
    /// Required cosignatures.
    pub required: usize,
    /// Whether the policy's quorum cosigned.
    pub reached: bool,
    /// Who cosigned, and when (seconds since 1970).
    pub witnesses: Vec<(String, u64)>,
    /// Those of them whom the policy lists in the group `independent`: outside the operator's
    /// administration.
    pub independent: Vec<String>,
}

impl Witnessed {
    /// The same facts, ready to be shown and stored.
    #[must_use]
    pub fn new(size: Option<u64>, quorum: &Quorum) -> Self {
        let cosigned = quorum.cosigned.iter();
        let independent = cosigned.clone().filter(|c| c.independent);
        Self {
            independent: independent.map(|c| c.witness.clone()).collect(),
            size,
            counted: quorum.counted(),
            required: quorum.required,
            reached: quorum.is_reached(),
            witnesses: cosigned.map(|c| (c.witness.clone(), c.time)).collect(),
        }
    }
}

impl Trust {
    /// The witness policy, `None` when the trust directory has none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn witness_policy(&self) -> Result<Option<Policy>> {
        let path = self.path().join(WITNESS_POLICY);
        let Some(bytes) = durable::read(&path, MAX_POLICY_BYTES as u64)? else {
            return Ok(None);
        };
        let policy = Policy::parse(&bytes).map_err(|error| RegistryError::Trust {
            path,
            problem: error.to_string(),
            remedy: "correct that line; docs/ledger.md has the format",
        })?;
        Ok(Some(policy))
    }
}

/// How the newest cosigned checkpoint of a verified log stands to the policy of the trust directory.
pub(crate) fn of(
    trust: &Trust,
    cosigned: Option<&SignedCheckpoint>,
    head: &SignedCheckpoint,
) -> Result<Option<Witnessed>> {
    let Some(policy) = trust.witness_policy()? else {
        return Ok(None);
    };
    let counted = policy.count(cosigned.unwrap_or(head)).map_err(|source| {
        writ_ledger::LedgerError::Note {
            path: "cosigned".into(),
            source,
        }
    })?;
    let size = cosigned.map(|c| c.unverified().size);
    Ok(Some(Witnessed::new(size, &counted)))
}

/// A receipt with the entry that it proves.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The receipt, without the entry in it.
    pub receipt: TlogProof,
    /// The entry.
    pub entry: EntryBytes,
    /// How its checkpoint stands to the policy, where there is one.
    pub witnessed: Option<Witnessed>,
}

impl Store {
    /// Where the ledger's tiles and checkpoints are.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn tiles(&self) -> Result<Arc<dyn LogStore>> {
        self.log.tiles().await
    }

    /// The keys against which this ledger's checkpoints of any time are checked: every log key that
    /// is or was trusted. The newest head is judged by its time too, when the store is opened.
    ///
    /// # Errors
    /// A trusted key cannot be used.
    pub fn log_keys(&self) -> Result<LogKeys> {
        self.trust.log_keys(&self.origin, None)
    }

    /// The newest signed head, checked; over everything recorded unless the store is read-only.
    ///
    /// # Errors
    /// The ledger cannot be read, or no trusted log key signed its head.
    pub async fn signed_head(&self) -> Result<SignedCheckpoint> {
        self.head(None).await?;
        let view = self.log.view().await?;
        crate::open::trusted_head(self.log.as_ref(), view.as_ref(), &self.trust)?;
        Ok(view.checkpoint())
    }

    /// The newest cosigned checkpoint that a trusted log key signed.
    ///
    /// # Errors
    /// It cannot be read, or no trusted log key signed it.
    pub async fn cosigned_head(&self) -> Result<Option<SignedCheckpoint>> {
        let Some(bytes) = self.tiles().await?.cosigned()? else {
            return Ok(None);
        };
        let path = self.log.place(writ_ledger::store::COSIGNED);
        let refused = |source| writ_ledger::LedgerError::Note {
            path: path.clone(),
            source,
        };
        let signed = SignedCheckpoint::parse(&bytes).map_err(refused)?;
        let keys = self.log_keys()?;
        signed.verify_any(&keys).map_err(refused)?;
        Ok(Some(signed))
    }

    /// The ledger index that a person means by an index or an id.
    ///
    /// # Errors
    /// Nothing or more than one record has it.
    pub async fn ledger_index(&self, what: &str) -> Result<u64> {
        // Ids need eight hexadecimal digits, so a number of fewer digits is an index.
        if what.len() < 8
            && what.bytes().all(|b| b.is_ascii_digit())
            && let Ok(index) = what.parse()
        {
            return Ok(index);
        }
        let digits = prefix_digits(what)?;
        Ok(self.index().await?.locate(what, digits).await?.index)
    }

    /// The receipt of an entry: under the newest cosigned checkpoint where that covers it, else
    /// under the head.
    ///
    /// # Errors
    /// There is no such entry, or the ledger cannot sign a head over it.
    pub async fn prove(&self, index: u64, policy: Option<&Policy>) -> Result<Proved> {
        let head = self.signed_head().await?;
        let size = head.unverified().size;
        if index >= size {
            return Err(RegistryError::NoEntry { index, size });
        }
        let cosigned = self.cosigned_head().await?;
        let under = cosigned
            .filter(|c| {
                c.unverified().size > index && c.unverified().size <= head.unverified().size
            })
            .unwrap_or_else(|| head.clone());
        let counted = policy
            .map(|policy| policy.count(&under))
            .transpose()
            .map_err(|source| writ_ledger::LedgerError::Note {
                path: self.log.place(writ_ledger::store::COSIGNED),
                source,
            })?;
        let size = under.unverified().size;
        let witnessed = counted.map(|quorum| Witnessed::new(Some(size), &quorum));
        let (tiles, view) = (self.tiles().await?, self.log.view().await?);
        tokio::task::spawn_blocking(move || {
            let receipt =
                TreeView::new(tiles.as_ref(), head.unverified().size).receipt(&under, index)?;
            let entry = view.read(index)?;
            Ok(Proved {
                receipt,
                entry,
                witnessed,
            })
        })
        .await?
    }
}
