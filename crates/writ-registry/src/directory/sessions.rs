//! Sessions: an opaque token in the browser, its digest in the ops schema. A session that is
//! revoked here is over with the next request.

use sha2::{Digest as _, Sha256};
use writ_model::{Assurance, PrincipalId, Span, Timestamp};

use super::{Account, accounts, refused};
use crate::db::{Row, sql};
use crate::error::Result;
use crate::ops::Ops;
use crate::store::Store;

/// A session that is not used ends after this time.
pub const IDLE: Span = Span::from_secs(2 * 3_600);

/// A session ends after this time, used or not.
pub const LIFETIME: Span = Span::from_secs(12 * 3_600);

/// How exactly the last use is noted.
const NOTED: Span = Span::from_secs(60);

/// How long ended sessions are remembered.
const REMEMBERED: Span = Span::from_secs(30 * 86_400);

/// Longest note of a browser, in characters.
const AGENT: usize = 120;

/// The secret of a session: 256 random bits as hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The digest by which a session is found; `None` for what is no token.
    #[must_use]
    pub fn digest(text: &str) -> Option<String> {
        let token = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        token.then(|| hex::encode(Sha256::digest(text.as_bytes())))
    }
}

impl SessionToken {
    /// A new one.
    pub(super) fn new() -> Result<Self> {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|e| refused(format!("no random numbers: {e}")))?;
        Ok(Self(hex::encode(random)))
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// Whose it is.
    pub account: &'a PrincipalId,
    /// How sure it is that it is them.
    pub assurance: Assurance,
    /// What the browser says it is.
    pub agent: &'a str,
    /// What an identity provider said; `None`: they signed in here.
    pub provenance: Option<Provenance>,
}

/// What an identity provider said about how somebody signed in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The provider.
    pub issuer: String,
    /// The claim `acr`, empty when there was none.
    pub acr: String,
    /// The claim `amr`, words separated by spaces.
    pub amr: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Digest of its token.
    pub id: String,
    /// Whose it is.
    pub account: PrincipalId,
    /// When it began.
    pub began: Timestamp,
    /// When it was used last, to a minute.
    pub seen: Timestamp,
    /// When it ends at the latest.
    pub expires: Timestamp,
    /// How sure it is that it is them.
    pub assurance: Assurance,
    /// What the browser says it is.
    pub agent: String,
    /// When it was ended.
    pub revoked: Option<Timestamp>,
    /// What an identity provider said; `None`: they signed in here.
    pub provenance: Option<Provenance>,
}

impl Session {
    /// Whether it can be used.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires && now < self.seen.plus(IDLE)
    }
}

const COLUMNS: &str = "s.id, s.pseudonym, s.began_at, s.seen_at, s.expires_at, s.assurance, s.agent, s.revoked_at, p.issuer, p.acr, p.amr";

/// Sessions with what a provider said about them.
const FROM: &str = "sessions s LEFT JOIN session_provenance p ON p.session = s.id";

fn session(row: &Row) -> sqlx::Result<Session> {
    let revoked: i64 = row.try_get(7)?;
    let assurance: String = row.try_get(5)?;
    let provenance = match row.try_get::<Option<String>>(8)? {
        Some(issuer) => Some(Provenance {
            issuer,
            acr: row.try_get(9)?,
            amr: row.try_get(10)?,
        }),
        None => None,
    };
    Ok(Session {
        id: row.try_get(0)?,
        account: PrincipalId(row.try_get(1)?),
        began: Timestamp::from_micros(row.try_get(2)?),
        seen: Timestamp::from_micros(row.try_get(3)?),
        expires: Timestamp::from_micros(row.try_get(4)?),
        // What is not known is the weakest.
        assurance: serde_json::from_value(assurance.into()).unwrap_or(Assurance::LocalUser),
        agent: row.try_get(6)?,
        revoked: (revoked != 0).then(|| Timestamp::from_micros(revoked)),
        provenance,
    })
}

impl Store {
    /// Begins a session; its token is told once.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn begin_session(&self, new: &NewSession<'_>) -> Result<SessionToken> {
        self.writable()?;
        let token = SessionToken::new()?;
        let now = self.now();
        let agent: String = new
            .agent
            .chars()
            .filter(|sign| !sign.is_control())
            .take(AGENT)
            .collect();
        let session = Session {
            id: SessionToken::digest(&token.0).unwrap_or_default(),
            account: new.account.clone(),
            began: now,
            seen: now,
            expires: now.plus(LIFETIME),
            assurance: new.assurance,
            agent,
            revoked: None,
            provenance: new.provenance.clone(),
        };
        self.directory()?.put_session(&session).await?;
        Ok(token)
    }

    /// The open session with this token, and its account; notes that it is used.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub async fn session(&self, token: &str) -> Result<Option<(Session, Account)>> {
        let Some(id) = SessionToken::digest(token) else {
            return Ok(None);
        };
        let ops = self.directory()?;
        let now = self.now();
        let Some((mut session, account)) = ops.session(&id).await? else {
            return Ok(None);
        };
        // A clock that was set back makes nothing younger.
        if !session.is_open(now) || account.disabled_at.is_some() || now < session.began {
            return Ok(None);
        }
        if now > session.seen.plus(NOTED) && !self.options.read_only {
            ops.see(&id, now).await?;
            session.seen = now;
        }
        Ok(Some((session, account)))
    }

    /// Sessions that can be used, of one account or of all, newest first.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn sessions(&self, account: Option<&PrincipalId>) -> Result<Vec<Session>> {
        let now = self.now();
        let mut sessions = self.directory()?.sessions(account).await?;
        sessions.retain(|session| session.is_open(now));
        Ok(sessions)
    }

    /// Ends the sessions whose digest begins so; those of one account when it is given. Answers how
    /// many ended.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn revoke_session(&self, id: &str, account: Option<&PrincipalId>) -> Result<u64> {
        self.writable()?;
        let known = (16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
        if !known {
            return Ok(0);
        }
        let now = self.now();
        let mut ended = 0;
        for session in self.sessions(account).await? {
            if session.id.starts_with(id) {
                ended += self.directory()?.revoke(&session.id, now).await?;
            }
        }
        Ok(ended)
    }

    /// Ends all sessions of an account but one.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn revoke_other_sessions(&self, account: &PrincipalId, but: &str) -> Result<()> {
        self.writable()?;
        let now = self.now();
        for session in self.sessions(Some(account)).await? {
            if session.id != but {
                self.directory()?.revoke(&session.id, now).await?;
            }
        }
        Ok(())
    }
}

impl Ops {
    async fn put_session(&self, new: &Session) -> Result<()> {
        let old = sql("DELETE FROM sessions WHERE expires_at < $1");
        let old = old.bind(new.began.micros() - REMEMBERED.micros());
        self.db.execute(old).await.map_err(|e| self.failed(e))?;
        let assurance = serde_json::to_value(new.assurance).unwrap_or_default();
        let put = sql(
            "INSERT INTO sessions (id, pseudonym, began_at, seen_at, expires_at, assurance, agent, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
        );
        let put = put
            .bind(&new.id)
            .bind(&new.account.0)
            .bind(new.began.micros())
            .bind(new.seen.micros())
            .bind(new.expires.micros())
            .bind(assurance.as_str().unwrap_or_default())
            .bind(&new.agent);
        let orphans =
            sql("DELETE FROM session_provenance WHERE session NOT IN (SELECT id FROM sessions)");
        self.db.execute(orphans).await.map_err(|e| self.failed(e))?;
        self.db
            .execute_once(put)
            .await
            .map_err(|e| self.failed(e))?;
        if let Some(said) = &new.provenance {
            let put = sql(
                "INSERT INTO session_provenance (session, issuer, acr, amr) VALUES ($1, $2, $3, $4)",
            );
            let put = put
                .bind(&new.id)
                .bind(&said.issuer)
                .bind(&said.acr)
                .bind(&said.amr);
            self.db
                .execute_once(put)
                .await
                .map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    async fn session(&self, id: &str) -> Result<Option<(Session, Account)>> {
        let text = format!(
            "SELECT {COLUMNS}, {} FROM {FROM} JOIN accounts a ON a.pseudonym = s.pseudonym WHERE s.id = $1",
            accounts::COLUMNS
        );
        let row = self.db.fetch_optional(sql(text).keep().bind(id)).await;
        let read = row.and_then(|row| {
            row.map(|row| Ok((session(&row)?, accounts::account(&row, 11)?)))
                .transpose()
        });
        read.map_err(|e| self.failed(e))
    }

    async fn sessions(&self, account: Option<&PrincipalId>) -> Result<Vec<Session>> {
        let limit = "s.revoked_at = 0 ORDER BY s.began_at DESC, s.id LIMIT 1000";
        let find = match account {
            Some(account) => sql(format!(
                "SELECT {COLUMNS} FROM {FROM} WHERE s.pseudonym = $1 AND {limit}"
            ))
            .keep()
            .bind(&account.0),
            None => sql(format!("SELECT {COLUMNS} FROM {FROM} WHERE {limit}")).keep(),
        };
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| rows.iter().map(session).collect())
            .map_err(|e| self.failed(e))
    }

    async fn see(&self, id: &str, now: Timestamp) -> Result<()> {
        let see = sql("UPDATE sessions SET seen_at = $1 WHERE id = $2 AND seen_at < $1");
        let see = see.bind(now.micros()).bind(id);
        self.db.execute(see).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn revoke(&self, id: &str, now: Timestamp) -> Result<u64> {
        let revoke = sql("UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0");
        let revoke = revoke.bind(now.micros()).bind(id);
        self.db.execute(revoke).await.map_err(|e| self.failed(e))
    }

    pub(super) async fn revoke_all(&self, id: &PrincipalId, now: Timestamp) -> Result<()> {
        let revoke =
            sql("UPDATE sessions SET revoked_at = $1 WHERE pseudonym = $2 AND revoked_at = 0");
        let revoke = revoke.bind(now.micros()).bind(&id.0);
        self.db.execute(revoke).await.map_err(|e| self.failed(e))?;
        // Tokens that the person gave to programs are sessions of another kind.
        let tokens = sql("UPDATE api_tokens SET revoked_at = $1
             WHERE revoked_at = 0 AND id IN (SELECT token FROM token_owners WHERE pseudonym = $2)");
        let tokens = tokens.bind(now.micros()).bind(&id.0);
        self.db.execute(tokens).await.map_err(|e| self.failed(e))?;
        Ok(())
    }
}
