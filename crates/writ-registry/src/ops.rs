//! The ops schema: what is not evidence and cannot be rebuilt from the ledger.
//!
//! The directory of people (pseudonym and display name), the checkpoints that this store has
//! verified (so that a rolled-back ledger is noticed), and the log of deliveries, keyed by ledger
//! position, so that a rebuilt index repeats none. Back this file up.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sqlx::Row as _;
use writ_model::{Digest, LedgerHead, PrincipalId, Timestamp};

use crate::error::{RegistryError, Result};
use crate::index::db::{Access, Db, Durability, on_db};

const CREATE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS people (
        pseudonym TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        added_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS held_checkpoints (
        origin TEXT NOT NULL,
        size BIGINT NOT NULL,
        root TEXT NOT NULL,
        note TEXT NOT NULL,
        held_at BIGINT NOT NULL,
        PRIMARY KEY (origin, size, root))",
    "CREATE TABLE IF NOT EXISTS delivery_log (
        position BIGINT NOT NULL,
        channel TEXT NOT NULL,
        target TEXT NOT NULL,
        outcome TEXT NOT NULL,
        delivered_at BIGINT NOT NULL,
        PRIMARY KEY (position, channel, target))",
    "INSERT INTO meta (key, value) VALUES ('schema_version', '1') ON CONFLICT (key) DO NOTHING",
];

/// A checkpoint that was verified here once: the ledger must contain it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCheckpoint {
    /// Ledger size and root.
    pub head: LedgerHead,
    /// The signed note as it was.
    pub note: String,
    /// When it was verified.
    pub held_at: Timestamp,
}

/// The ops database of a store.
#[derive(Debug, Clone)]
pub(crate) struct Ops {
    db: Db,
    path: PathBuf,
}

impl Ops {
    /// Opens it, creating what is missing when writable.
    pub(crate) async fn open(path: &Path, access: Access) -> Result<Self> {
        let failed = |source| RegistryError::Ops {
            path: path.to_owned(),
            source,
        };
        let db = Db::open(path, access, Durability::Full)
            .await
            .map_err(failed)?;
        if access == Access::Write {
            for statement in CREATE {
                on_db!(&db, pool => sqlx::query(*statement).execute(pool).await).map_err(failed)?;
            }
        }
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    fn failed(&self, source: sqlx::Error) -> RegistryError {
        RegistryError::Ops {
            path: self.path.clone(),
            source,
        }
    }

    /// A fact about the store that is no evidence.
    pub(crate) async fn fact(&self, key: &str) -> Result<Option<String>> {
        let row = on_db!(&self.db, pool => sqlx::query("SELECT value FROM meta WHERE key = $1")
            .bind(key)
            .fetch_optional(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        row.map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .transpose()
    }

    /// Notes such a fact.
    pub(crate) async fn put_fact(&self, key: &str, value: &str) -> Result<()> {
        on_db!(&self.db, pool => sqlx::query(
            "INSERT INTO meta (key, value) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key)
            .bind(value)
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Notes a person's name beside the pseudonym.
    pub(crate) async fn put_person(
        &self,
        id: &PrincipalId,
        name: &str,
        kind: &str,
        now: Timestamp,
    ) -> Result<()> {
        on_db!(&self.db, pool => sqlx::query(
            "INSERT INTO people (pseudonym, name, kind, added_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pseudonym) DO UPDATE SET name = excluded.name")
            .bind(&id.0)
            .bind(name)
            .bind(kind)
            .bind(now.micros())
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// The name behind a pseudonym, where the directory has it.
    pub(crate) async fn person(&self, id: &PrincipalId) -> Result<Option<String>> {
        let row =
            on_db!(&self.db, pool => sqlx::query("SELECT name FROM people WHERE pseudonym = $1")
            .bind(&id.0)
            .fetch_optional(pool)
            .await)
            .map_err(|e| self.failed(e))?;
        row.map(|row| row.try_get(0).map_err(|e| self.failed(e)))
            .transpose()
    }

    /// Keeps a verified checkpoint.
    pub(crate) async fn hold(
        &self,
        origin: &str,
        head: &LedgerHead,
        note: &str,
        now: Timestamp,
    ) -> Result<()> {
        on_db!(&self.db, pool => sqlx::query(
            "INSERT INTO held_checkpoints (origin, size, root, note, held_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (origin, size, root) DO NOTHING")
            .bind(origin)
            .bind(crate::index::signed(head.size))
            .bind(head.root.to_hex())
            .bind(note)
            .bind(now.micros())
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// The newest held checkpoints of a ledger, largest first.
    pub(crate) async fn held(&self, origin: &str, limit: i64) -> Result<Vec<HeldCheckpoint>> {
        let rows = on_db!(&self.db, pool => sqlx::query(
            "SELECT size, root, note, held_at FROM held_checkpoints WHERE origin = $1
             ORDER BY size DESC, root LIMIT $2")
            .bind(origin)
            .bind(limit)
            .fetch_all(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        rows.iter()
            .map(|row| {
                let size: i64 = row.try_get(0)?;
                let root: &str = row.try_get(1)?;
                let root: Digest = root.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
                Ok(HeldCheckpoint {
                    head: LedgerHead {
                        size: u64::try_from(size).unwrap_or_default(),
                        root,
                    },
                    note: row.try_get(2)?,
                    held_at: Timestamp::from_micros(row.try_get(3)?),
                })
            })
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }

    /// Notes that the side effect of a ledger position was delivered; `false` when it had been.
    pub(crate) async fn deliver_once(
        &self,
        position: u64,
        channel: &str,
        target: &str,
        outcome: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let done = on_db!(&self.db, pool => sqlx::query(
            "INSERT INTO delivery_log (position, channel, target, outcome, delivered_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (position, channel, target) DO NOTHING")
            .bind(crate::index::signed(position))
            .bind(channel)
            .bind(target)
            .bind(outcome)
            .bind(now.micros())
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(done.rows_affected() == 1)
    }

    /// Marks a held checkpoint as one that nobody holds the ledger to any more.
    pub(crate) async fn abandon(&self, origin: &str, head: &LedgerHead) -> Result<()> {
        let abandoned = format!("abandoned:{origin}");
        on_db!(&self.db, pool => sqlx::query(
            "UPDATE held_checkpoints SET origin = $1 WHERE origin = $2 AND size = $3 AND root = $4")
            .bind(&abandoned)
            .bind(origin)
            .bind(crate::index::signed(head.size))
            .bind(head.root.to_hex())
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Forgets deliveries about entries from `position` on: other entries will come there.
    pub(crate) async fn forget_deliveries_from(&self, position: u64) -> Result<()> {
        on_db!(&self.db, pool => sqlx::query("DELETE FROM delivery_log WHERE position >= $1")
            .bind(crate::index::signed(position))
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Writes the database as it is at one moment into a new file, while others write.
    pub(crate) async fn snapshot(&self, to: &Path) -> Result<()> {
        let name = to.to_str().ok_or_else(|| {
            RegistryError::io(
                "name",
                to,
                std::io::Error::other("SQLite takes only names in UTF-8"),
            )
        })?;
        on_db!(&self.db, pool => sqlx::query("VACUUM INTO $1")
            .bind(name)
            .execute(pool)
            .await)
        .map_err(|e| self.failed(e))?;
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }
}

/// HMAC-SHA256 of a purpose under the store's secret.
pub(crate) fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    // HMAC takes keys of any length: the fallback is never taken, and is no usable key of anybody.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return [0; 32];
    };
    mac.update(b"writ:derive:");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The pseudonym of an account: a keyed hash, so that the ledger alone does not tell who it is,
/// and the same account always has the same one.
pub(crate) fn pseudonym(accounts_key: &[u8], kind: &str, account: &str) -> PrincipalId {
    // HMAC takes keys of any length: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(accounts_key) else {
        return PrincipalId(String::new());
    };
    mac.update(kind.as_bytes());
    mac.update(b":");
    mac.update(account.as_bytes());
    PrincipalId(format!(
        "p_{}",
        &hex::encode(mac.finalize().into_bytes())[..20]
    ))
}
