//! Deliveries of webhooks, remembered in *ops*: an id brings one body, and what came before is answered as
//! it was answered then.

use writ_model::{Digest, PrincipalId, Timestamp};

use crate::db::{Row, sql};
use crate::directory::{Alias, AliasKind};
use crate::error::{RegistryError, Result};
use crate::ops::{Ops, pseudonym};
use crate::store::Store;

/// Longest id of a delivery, in bytes.
pub const MAX_DELIVERY: usize = 255;

/// Longest answer that is kept, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A delivery that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, as the other system gave it.
    pub id: String,
    /// Digest of its body.
    pub body: Digest,
    /// What was answered.
    pub answer: String,
    /// When it came first.
    pub at: Timestamp,
}

impl Store {
    /// The delivery of this webhook that came under this id; with `by_body` also one with this body under
    /// another id, for systems that do not sign the id.
    ///
    /// # Errors
    /// *ops* cannot be read.
    pub async fn hook_delivery(
        &self,
        hook: &str,
        id: &str,
        body: Digest,
        by_body: bool,
    ) -> Result<Option<Delivery>> {
        self.hooks_ops()?
            .hook_delivery(hook, id, body, by_body)
            .await
    }

    /// Remembers a delivery with its answer; the first one under an id stays.
    ///
    /// # Errors
    /// The id or the answer is too long, or *ops* cannot be written.
    pub async fn keep_hook_delivery(
        &self,
        hook: &str,
        id: &str,
        body: Digest,
        answer: &str,
    ) -> Result<()> {
        self.writable()?;
        if id.is_empty() || id.len() > MAX_DELIVERY || answer.len() > MAX_ANSWER {
            return Err(RegistryError::refused(
                0,
                "the id of a delivery or its answer is too long",
            ));
        }
        self.hooks_ops()?
            .keep_hook_delivery(hook, id, body, answer, self.now())
            .await
    }

    /// When each webhook delivered last, as far as deliveries are remembered.
    ///
    /// # Errors
    /// *ops* cannot be read.
    pub async fn hooks_heard(&self) -> Result<Vec<(String, Timestamp)>> {
        self.hooks_ops()?.hooks_heard().await
    }

    /// Forgets deliveries that came before `before`; how many.
    ///
    /// # Errors
    /// *ops* cannot be written.
    pub async fn forget_hook_deliveries(&self, before: Timestamp) -> Result<u64> {
        self.writable()?;
        self.hooks_ops()?.forget_hook_deliveries(before).await
    }

    /// The pseudonym of an account that another system names, such as `github` and `octocat`: the one that
    /// bindings of identities name, where it is an account of a known kind. Of a system that is none, a name
    /// may say its kind itself (`mail:ada@example.org`); any other name is a keyed hash of its own that
    /// belongs to nobody. Names are not kept anywhere.
    ///
    /// # Errors
    /// The store's secret cannot be read.
    pub fn outside_principal(&self, system: &str, account: &str) -> Result<PrincipalId> {
        let alias = match AliasKind::of_word(system) {
            Some(kind) => Alias::new(kind, account).ok(),
            // Nobody outside speaks for an account of this store.
            None => Alias::parse(account)
                .ok()
                .filter(|alias| alias.kind() != AliasKind::Local),
        };
        match alias {
            Some(alias) => self.alias_id(&alias),
            None => {
                let account = account.trim().to_lowercase();
                Ok(pseudonym(&self.trust.accounts_key()?, system, &account))
            }
        }
    }

    fn hooks_ops(&self) -> Result<&Ops> {
        self.ops
            .as_ref()
            .ok_or_else(|| RegistryError::refused(0, "this store was opened without its ops part"))
    }
}

impl Ops {
    async fn hook_delivery(
        &self,
        hook: &str,
        id: &str,
        body: Digest,
        by_body: bool,
    ) -> Result<Option<Delivery>> {
        let read = |row: &Row| {
            let body: &str = row.try_get(1)?;
            Ok(Delivery {
                id: row.try_get(0)?,
                body: body.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
                answer: row.try_get(2)?,
                at: Timestamp::from_micros(row.try_get(3)?),
            })
        };
        let by_id = sql("SELECT id, body, answer, at FROM hook_deliveries
             WHERE hook = $1 AND id = $2")
        .bind(hook)
        .bind(id);
        let row = self.db().fetch_optional(by_id).await;
        let found = row
            .and_then(|row| row.as_ref().map(read).transpose())
            .map_err(|e| self.failed(e))?;
        if found.is_some() || !by_body {
            return Ok(found);
        }
        let same = sql("SELECT id, body, answer, at FROM hook_deliveries
             WHERE hook = $1 AND body = $2 ORDER BY at, id LIMIT 1")
        .bind(hook)
        .bind(body.to_hex());
        let row = self.db().fetch_optional(same).await;
        row.and_then(|row| row.as_ref().map(read).transpose())
            .map_err(|e| self.failed(e))
    }

    async fn keep_hook_delivery(
        &self,
        hook: &str,
        id: &str,
        body: Digest,
        answer: &str,
        now: Timestamp,
    ) -> Result<()> {
        let keep = sql(
            "INSERT INTO hook_deliveries (hook, id, body, answer, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (hook, id) DO NOTHING",
        );
        let keep = keep
            .bind(hook)
            .bind(id)
            .bind(body.to_hex())
            .bind(answer)
            .bind(now.micros());
        self.db().execute(keep).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn hooks_heard(&self) -> Result<Vec<(String, Timestamp)>> {
        let ask = sql("SELECT hook, MAX(at) FROM hook_deliveries GROUP BY hook ORDER BY hook");
        let rows = self.db().fetch_all(ask).await.map_err(|e| self.failed(e))?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, Timestamp::from_micros(row.try_get(1)?))))
            .collect::<sqlx::Result<_>>()
            .map_err(|e| self.failed(e))
    }

    async fn forget_hook_deliveries(&self, before: Timestamp) -> Result<u64> {
        let forget = sql("DELETE FROM hook_deliveries WHERE at < $1").bind(before.micros());
        self.db().execute(forget).await.map_err(|e| self.failed(e))
    }
}
