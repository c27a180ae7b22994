//! People whom an identity provider knows: which person at which provider has which account, and
//! sign-ins that were begun there.
//!
//! A person is known by issuer and subject together, as
//! [OpenID Connect Core 1.0, 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken) has it:
//! names and mail addresses change hands, these do not.
//!
//! A sign-in that was begun is an entry under the digest of a random token that only the browser has.
//! It is taken once and ends by itself, so an answer of a provider counts only in the browser that
//! asked, only once, and on any of several servers of a store. Nothing in the entry is secret.

use sha2::{Digest as _, Sha256};
use writ_model::{PrincipalId, Span, Timestamp};

use super::{Account, SessionToken, accounts, refused};
use crate::db::{Row, sql};
use crate::error::Result;
use crate::ops::{Ops, pseudonym};
use crate::store::Store;

/// How long a sign-in that was begun can be finished.
pub const ATTEMPT_LIFE: Span = Span::from_secs(10 * 60);

/// Most sign-ins that are begun and not finished; one more, and the oldest is forgotten.
const MAX_ATTEMPTS: i64 = 5_000;

/// Longest issuer, in bytes.
pub const MAX_ISSUER: usize = 500;

/// Longest subject, in bytes: what OpenID Connect allows.
pub const MAX_SUBJECT: usize = 255;

/// Most accounts whose wished name is the same.
const MAX_SAME: u32 = 1_000;

/// A sign-in at a provider that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Key of the provider in the settings.
    pub provider: String,
    /// Where to go afterwards.
    pub next: String,
    /// The account that the person at the provider is to be linked with; `None`: a sign-in.
    pub account: Option<PrincipalId>,
}

/// A person at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The provider, as its tokens say it.
    pub issuer: &'a str,
    /// The person there.
    pub subject: &'a str,
    /// What the provider calls them, for screens.
    pub name: &'a str,
}

/// A person at a provider who has an account here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The provider.
    pub issuer: String,
    /// The person there.
    pub subject: String,
    /// What the provider called them when they last signed in.
    pub name: String,
    /// The account.
    pub account: PrincipalId,
    /// Since when.
    pub linked_at: Timestamp,
    /// When they last signed in by it.
    pub used_at: Option<Timestamp>,
}

impl Store {
    /// Notes that a sign-in begins; answers the token that the browser keeps.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn begin_attempt(&self, attempt: &Attempt) -> Result<SessionToken> {
        self.writable()?;
        let token = SessionToken::new()?;
        let id = SessionToken::digest(token.reveal()).unwrap_or_default();
        let now = self.now();
        self.directory()?.put_attempt(&id, attempt, now).await?;
        Ok(token)
    }

    /// Takes the sign-in that a browser began: there is none with this token from now on.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn take_attempt(&self, token: &str) -> Result<Option<Attempt>> {
        self.writable()?;
        let Some(id) = SessionToken::digest(token) else {
            return Ok(None);
        };
        self.directory()?.take_attempt(&id, self.now()).await
    }

    /// The account of a person at a provider.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn linked(&self, issuer: &str, subject: &str) -> Result<Option<Account>> {
        self.directory()?.linked(issuer, subject).await
    }

    /// Notes that the person at a provider signed in.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn link_used(&self, of: &Subject<'_>) -> Result<()> {
        let now = self.now();
        self.directory()?.link_used(of, now).await
    }

    /// Makes an account without a password for a person at a provider; it has no role. Its login name
    /// is the wished one, at `place`; with a number where somebody has that name.
    ///
    /// # Errors
    /// Issuer or subject cannot be used, or the directory cannot be written.
    pub async fn add_linked_account(
        &self,
        of: &Subject<'_>,
        wished: &str,
        place: &str,
    ) -> Result<Account> {
        self.writable()?;
        check(of)?;
        let ops = self.directory()?;
        let id = pseudonym(
            &self.trust.accounts_key()?,
            "oidc",
            &format!("{}\n{}", of.issuer, of.subject),
        );
        let now = self.now();
        let name = wished_name(wished, of.subject);
        for number in 1..=MAX_SAME {
            let text = match number {
                1 => format!("{name}@{place}"),
                _ => format!("{name}-{number}@{place}"),
            };
            let Some(login) = accounts::login(&text) else {
                break;
            };
            // `false` too when another process made this very account in the meantime.
            if ops.add_account(&id, &login, "", now).await? {
                ops.put_person(&id, &login, "oidc", now).await?;
            }
            ops.link(of, &id, now).await?;
            if let Some(account) = ops.linked(of.issuer, of.subject).await? {
                return Ok(account);
            }
        }
        Err(refused("there are too many accounts of this name"))
    }

    /// Links a person at a provider with an account that is there.
    ///
    /// # Errors
    /// They have another account, the account belongs to somebody else at this provider, or the
    /// directory cannot be written.
    pub async fn link(&self, account: &Account, of: &Subject<'_>) -> Result<()> {
        self.writable()?;
        check(of)?;
        let ops = self.directory()?;
        let links = ops.links(Some(&account.id)).await?;
        if let Some(other) = links.iter().find(|link| link.issuer == of.issuer) {
            if other.subject == of.subject {
                return Ok(());
            }
            return Err(refused(format!(
                "'{}' is linked with somebody else at {} already; take that link away first",
                account.login, of.issuer
            )));
        }
        if let Some(other) = ops.linked(of.issuer, of.subject).await? {
            return Err(refused(format!(
                "this person at {} has the account '{}' already",
                of.issuer, other.login
            )));
        }
        ops.link(of, &account.id, self.now()).await
    }

    /// Takes the link of an account with a provider away; `false` when there was none. An account
    /// without a password keeps its link: nobody could sign in with it.
    ///
    /// # Errors
    /// The account has no password, or the directory cannot be written.
    pub async fn unlink(&self, account: &Account, issuer: &str) -> Result<bool> {
        self.writable()?;
        if !account.has_password() {
            return Err(refused(format!(
                "'{}' has no password: without the link nobody could sign in with it; disable it instead",
                account.login
            )));
        }
        self.directory()?.unlink(&account.id, issuer).await
    }

    /// Links of one account or of all, by issuer.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn links(&self, account: Option<&PrincipalId>) -> Result<Vec<Link>> {
        self.directory()?.links(account).await
    }

    /// The pseudonym of an identity provider: whoever gives roles by what it says.
    ///
    /// # Errors
    /// The store's secret or the directory cannot be used.
    pub async fn provider_principal(&self, issuer: &str) -> Result<PrincipalId> {
        self.writable()?;
        let id = pseudonym(&self.trust.accounts_key()?, "provider", issuer);
        let ops = self.directory()?;
        ops.put_person(&id, issuer, "provider", self.now()).await?;
        Ok(id)
    }
}

fn check(of: &Subject<'_>) -> Result<()> {
    let plain = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    match plain(of.issuer, MAX_ISSUER) && plain(of.subject, MAX_SUBJECT) {
        true => Ok(()),
        false => Err(refused(format!(
            "an issuer has 1 to {MAX_ISSUER} bytes and a subject 1 to {MAX_SUBJECT}"
        ))),
    }
}

/// The part of a wished name that a login name can have, before any `@`; of a name without any, some
/// digits that follow from the subject.
fn wished_name(wished: &str, subject: &str) -> String {
    let first = wished.split('@').next().unwrap_or_default();
    let plain: String = first
        .chars()
        .filter(|sign| sign.is_ascii_alphanumeric() || "._-".contains(*sign))
        .take(24)
        .collect();
    let plain = plain.trim_start_matches(['.', '_', '-']);
    match plain.is_empty() {
        true => format!(
            "person-{}",
            &hex::encode(Sha256::digest(subject.as_bytes()))[..8]
        ),
        false => plain.to_ascii_lowercase(),
    }
}

/// Columns of a link, as [`link`] reads them.
const COLUMNS: &str = "issuer, subject, name, pseudonym, linked_at, used_at";

fn link(row: &Row) -> sqlx::Result<Link> {
    let used: i64 = row.try_get(5)?;
    Ok(Link {
        issuer: row.try_get(0)?,
        subject: row.try_get(1)?,
        name: row.try_get(2)?,
        account: PrincipalId(row.try_get(3)?),
        linked_at: Timestamp::from_micros(row.try_get(4)?),
        used_at: (used != 0).then(|| Timestamp::from_micros(used)),
    })
}

/// A name for screens: short, without control characters.
fn shown(name: &str) -> String {
    let plain = name.chars().filter(|sign| !sign.is_control());
    plain.take(120).collect()
}

impl Ops {
    async fn put_attempt(&self, id: &str, attempt: &Attempt, now: Timestamp) -> Result<()> {
        let ended = sql("DELETE FROM sign_in_attempts WHERE expires_at <= $1").bind(now.micros());
        self.db.execute(ended).await.map_err(|e| self.failed(e))?;
        let oldest = sql("DELETE FROM sign_in_attempts WHERE id IN
             (SELECT id FROM sign_in_attempts ORDER BY expires_at DESC, id LIMIT $1 OFFSET $2)");
        let oldest = oldest.bind(MAX_ATTEMPTS).bind(MAX_ATTEMPTS - 1);
        self.db.execute(oldest).await.map_err(|e| self.failed(e))?;
        let put = sql(
            "INSERT INTO sign_in_attempts (id, provider, next, pseudonym, expires_at) VALUES ($1, $2, $3, $4, $5)",
        );
        let put = put
            .bind(id)
            .bind(&attempt.provider)
            .bind(&attempt.next)
            .bind(attempt.account.as_ref().map_or("", |id| id.0.as_str()))
            .bind(now.plus(ATTEMPT_LIFE).micros());
        self.db
            .execute_once(put)
            .await
            .map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn take_attempt(&self, id: &str, now: Timestamp) -> Result<Option<Attempt>> {
        let find =
            sql("SELECT provider, next, pseudonym, expires_at FROM sign_in_attempts WHERE id = $1")
                .bind(id);
        let row = self.db.fetch_optional(find).await;
        let read = row.and_then(|row| {
            row.map(|row| {
                let account: String = row.try_get(2)?;
                let expires: i64 = row.try_get(3)?;
                let attempt = Attempt {
                    provider: row.try_get(0)?,
                    next: row.try_get(1)?,
                    account: (!account.is_empty()).then_some(PrincipalId(account)),
                };
                Ok((attempt, expires))
            })
            .transpose()
        });
        let Some((attempt, expires)) = read.map_err(|e| self.failed(e))? else {
            return Ok(None);
        };
        // Of two that come at once, one deletes it.
        let take = sql("DELETE FROM sign_in_attempts WHERE id = $1").bind(id);
        let taken = self.db.execute_once(take).await;
        let taken = taken.map_err(|e| self.failed(e))? == 1;
        let begun = expires - ATTEMPT_LIFE.micros();
        let counts = (begun..expires).contains(&now.micros());
        Ok((taken && counts).then_some(attempt))
    }

    async fn linked(&self, issuer: &str, subject: &str) -> Result<Option<Account>> {
        let text = format!(
            "SELECT {} FROM account_links l JOIN accounts a ON a.pseudonym = l.pseudonym
             WHERE l.issuer = $1 AND l.subject = $2",
            accounts::COLUMNS
        );
        let find = sql(text).keep().bind(issuer).bind(subject);
        let row = self.db.fetch_optional(find).await;
        row.and_then(|row| row.map(|row| accounts::account(&row, 0)).transpose())
            .map_err(|e| self.failed(e))
    }

    /// Links only with an account that is there, and nobody who is linked.
    async fn link(&self, of: &Subject<'_>, id: &PrincipalId, now: Timestamp) -> Result<()> {
        let put = sql(
            "INSERT INTO account_links (issuer, subject, name, pseudonym, linked_at, used_at)
             SELECT $1, $2, $3, a.pseudonym, $4, 0 FROM accounts a WHERE a.pseudonym = $5
             ON CONFLICT (issuer, subject) DO NOTHING",
        );
        let name = shown(of.name);
        let put = put
            .bind(of.issuer)
            .bind(of.subject)
            .bind(&name)
            .bind(now.micros())
            .bind(&id.0);
        self.db.execute(put).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn link_used(&self, of: &Subject<'_>, now: Timestamp) -> Result<()> {
        let name = shown(of.name);
        let note = sql(
            "UPDATE account_links SET used_at = $1, name = $2 WHERE issuer = $3 AND subject = $4",
        );
        let note = note
            .bind(now.micros())
            .bind(&name)
            .bind(of.issuer)
            .bind(of.subject);
        self.db.execute(note).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn unlink(&self, id: &PrincipalId, issuer: &str) -> Result<bool> {
        let take = sql("DELETE FROM account_links WHERE pseudonym = $1 AND issuer = $2");
        let taken = self.db.execute(take.bind(&id.0).bind(issuer)).await;
        Ok(taken.map_err(|e| self.failed(e))? == 1)
    }

    async fn links(&self, account: Option<&PrincipalId>) -> Result<Vec<Link>> {
        let find = match account {
            Some(id) => sql(format!(
                "SELECT {COLUMNS} FROM account_links WHERE pseudonym = $1 ORDER BY issuer, subject"
            ))
            .keep()
            .bind(&id.0),
            None => sql(format!(
                "SELECT {COLUMNS} FROM account_links ORDER BY issuer, subject LIMIT 10000"
            ))
            .keep(),
        };
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| rows.iter().map(link).collect())
            .map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_of_a_provider_get() {
        for (wished, name) in [
            ("Ada.Lovelace@example.com", "ada.lovelace"),
            ("<script>alert(1)</script>", "scriptalert1script"),
            ("..--x", "x"),
            ("Ádám", "dm"),
        ] {
            assert_eq!(wished_name(wished, "s"), name, "{wished}");
        }
        assert!(wished_name("日本", "s").starts_with("person-"));
        assert_eq!(wished_name(&"x".repeat(500), "s").len(), 24);
        assert_ne!(wished_name("", "s"), wished_name("", "t"));
    }
}
