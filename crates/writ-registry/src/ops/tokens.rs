//! Tokens of programs: random, limited and ending. Only their hashes are kept.

use writ_model::{PrincipalId, Timestamp};

use super::Ops;
use crate::db::{Row, sql};
use crate::error::Result;
use crate::tokens::ApiToken;

const COLUMNS: &str = "t.id, t.name, t.services, t.actions, t.created_at, t.expires_at, t.used_at, t.revoked_at, o.pseudonym";

/// Tokens with whoever owns them.
const FROM: &str = "api_tokens t LEFT JOIN token_owners o ON o.token = t.id";

impl Ops {
    /// Keeps a new token by its hash; `false` when its name is in use.
    pub(crate) async fn put_token(&self, token: &ApiToken, hash: &str) -> Result<bool> {
        // First: a token of a person is never, not even for a moment, one of a machine.
        if let Some(owner) = &token.owner {
            let own = sql("INSERT INTO token_owners (token, pseudonym) VALUES ($1, $2)");
            let own = own.bind(&token.id).bind(&owner.0);
            self.db
                .execute_once(own)
                .await
                .map_err(|e| self.failed(e))?;
        }
        let put = sql(
            "INSERT INTO api_tokens (id, hash, name, services, actions, created_at, expires_at, used_at, revoked_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, 0, 0
             WHERE NOT EXISTS (SELECT 1 FROM api_tokens WHERE name = $8 AND revoked_at = 0 AND expires_at > $9)",
        );
        let services = token.services.join("\n");
        let actions = token.actions.join("\n");
        let put = put
            .bind(&token.id)
            .bind(hash)
            .bind(&token.name)
            .bind(&services)
            .bind(&actions)
            .bind(token.created_at.micros())
            .bind(token.expires_at.micros())
            .bind(&token.name)
            .bind(token.created_at.micros());
        let put = self.db.execute_once(put).await;
        Ok(put.map_err(|e| self.failed(e))? == 1)
    }

    /// The token with this hash.
    pub(crate) async fn token_by_hash(&self, hash: &str) -> Result<Option<ApiToken>> {
        let find = format!("SELECT {COLUMNS} FROM {FROM} WHERE t.hash = $1");
        let row = self.db.fetch_optional(sql(find).bind(hash)).await;
        row.and_then(|row| row.as_ref().map(token).transpose())
            .map_err(|e| self.failed(e))
    }

    /// All tokens, newest first.
    pub(crate) async fn tokens(&self) -> Result<Vec<ApiToken>> {
        let find = format!("SELECT {COLUMNS} FROM {FROM} ORDER BY t.created_at DESC, t.id");
        let rows = self.db.fetch_all(sql(find)).await;
        rows.and_then(|rows| rows.iter().map(token).collect())
            .map_err(|e| self.failed(e))
    }

    /// Ends a token; `false` when it had ended.
    pub(crate) async fn revoke_token(&self, id: &str, now: Timestamp) -> Result<bool> {
        let end = sql("UPDATE api_tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0");
        let ended = self.db.execute_once(end.bind(now.micros()).bind(id)).await;
        Ok(ended.map_err(|e| self.failed(e))? == 1)
    }

    /// Notes that a token was used.
    pub(crate) async fn token_used(&self, id: &str, now: Timestamp) -> Result<()> {
        let note = sql("UPDATE api_tokens SET used_at = $1 WHERE id = $2 AND used_at < $3");
        let note = note.bind(now.micros()).bind(id).bind(now.micros());
        self.db.execute(note).await.map_err(|e| self.failed(e))?;
        Ok(())
    }
}

fn token(row: &Row) -> sqlx::Result<ApiToken> {
    let list = |text: String| text.lines().map(str::to_owned).collect();
    let some = |micros: i64| (micros != 0).then(|| Timestamp::from_micros(micros));
    Ok(ApiToken {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        services: list(row.try_get(2)?),
        actions: list(row.try_get(3)?),
        owner: row.try_get::<Option<String>>(8)?.map(PrincipalId),
        created_at: Timestamp::from_micros(row.try_get(4)?),
        expires_at: Timestamp::from_micros(row.try_get(5)?),
        used_at: some(row.try_get(6)?),
        revoked_at: some(row.try_get(7)?),
    })
}
