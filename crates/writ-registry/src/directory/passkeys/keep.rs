//! What is kept of passkeys beside the ledger, and the challenges that were used.

use std::collections::HashMap;

use writ_model::{PrincipalId, Timestamp};

use super::CHALLENGE_LIFE;
use crate::db::sql;
use crate::error::Result;
use crate::index::signed;
use crate::ops::Ops;

/// What is kept of a passkey.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub name: String,
    pub used_at: Option<Timestamp>,
    pub sign_count: u32,
}

impl Ops {
    pub(super) async fn passkeys(&self, account: &PrincipalId) -> Result<HashMap<String, Kept>> {
        let find = sql(
            "SELECT id, name, used_at, sign_count FROM passkeys WHERE pseudonym = $1 ORDER BY id",
        );
        let rows = self.db.fetch_all(find.bind(&account.0)).await;
        let read = rows.and_then(|rows| {
            rows.iter()
                .map(|row| {
                    let used: i64 = row.try_get(2)?;
                    let kept = Kept {
                        name: row.try_get(1)?,
                        used_at: (used != 0).then(|| Timestamp::from_micros(used)),
                        sign_count: u32::try_from(row.unsigned(3)?).unwrap_or(u32::MAX),
                    };
                    Ok((row.try_get(0)?, kept))
                })
                .collect()
        });
        read.map_err(|e| self.failed(e))
    }

    pub(super) async fn put_passkey(
        &self,
        id: &str,
        account: &PrincipalId,
        name: &str,
        count: u32,
        now: Timestamp,
    ) -> Result<()> {
        let put = sql(
            "INSERT INTO passkeys (id, pseudonym, name, added_at, used_at, sign_count) VALUES ($1, $2, $3, $4, 0, $5)
             ON CONFLICT (id) DO UPDATE SET pseudonym = excluded.pseudonym, name = excluded.name,
                 added_at = excluded.added_at, used_at = 0, sign_count = excluded.sign_count",
        );
        let put = put
            .bind(id)
            .bind(&account.0)
            .bind(name)
            .bind(now.micros())
            .bind(signed(u64::from(count)));
        self.db.execute(put).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    pub(super) async fn drop_passkey(&self, id: &str) -> Result<()> {
        let gone = sql("DELETE FROM passkeys WHERE id = $1").bind(id);
        self.db.execute(gone).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Notes a use; `false` when the passkey counts, and not forwards. One that a restored directory
    /// does not know begins with what it says.
    pub(super) async fn count_passkey(
        &self,
        id: &str,
        account: &PrincipalId,
        count: u32,
        now: Timestamp,
    ) -> Result<bool> {
        let note = sql(
            "INSERT INTO passkeys (id, pseudonym, name, added_at, used_at, sign_count) VALUES ($1, $2, '', $3, $3, $4)
             ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at, sign_count = excluded.sign_count
                 WHERE passkeys.sign_count < excluded.sign_count
                     OR (passkeys.sign_count = 0 AND excluded.sign_count = 0)",
        );
        let note = note
            .bind(id)
            .bind(&account.0)
            .bind(now.micros())
            .bind(signed(u64::from(count)));
        let noted = self.db.execute_once(note).await;
        Ok(noted.map_err(|e| self.failed(e))? == 1)
    }

    /// Uses a challenge up; `false` when it was used before. It is remembered for longer than anybody
    /// accepts an answer to it.
    pub(super) async fn use_challenge(&self, challenge: &str, now: Timestamp) -> Result<bool> {
        let old = sql("DELETE FROM passkey_challenges WHERE used_at < $1");
        let old = old.bind(now.micros() - 4 * CHALLENGE_LIFE.micros());
        self.db.execute(old).await.map_err(|e| self.failed(e))?;
        let note = sql(
            "INSERT INTO passkey_challenges (challenge, used_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        );
        let note = note.bind(challenge).bind(now.micros());
        let noted = self.db.execute_once(note).await;
        Ok(noted.map_err(|e| self.failed(e))? == 1)
    }
}
