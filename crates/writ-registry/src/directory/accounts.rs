//! Accounts: who may try to sign in.

use writ_model::{PrincipalId, Timestamp};

use super::refused;
use crate::db::{Row, sql};
use crate::error::Result;
use crate::ops::{Ops, pseudonym};
use crate::store::Store;

/// Longest login name, in bytes.
pub const MAX_LOGIN: usize = 64;

/// An account, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Pseudonym, as statements name the person.
    pub id: PrincipalId,
    /// Name to sign in with.
    pub login: String,
    /// Whether a one-time code is asked for.
    pub totp: bool,
    /// Attempts since the last success.
    pub failed: u64,
    /// Until when no attempt counts.
    pub locked_until: Option<Timestamp>,
    /// Since when it is disabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was made.
    pub added_at: Timestamp,
    /// When its password was set.
    pub password_at: Timestamp,
}

impl Account {
    /// Whether it has a password. Accounts of people whom an identity provider knows have none.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password_at != Timestamp::from_micros(0)
    }
}

/// Columns of an account, as [`account`] reads them.
pub(super) const COLUMNS: &str = "a.pseudonym, a.login, a.totp, a.failed, a.locked_until, a.disabled_at, a.added_at, a.password_at";

/// The account in the columns from `at` on.
pub(super) fn account(row: &Row, at: usize) -> sqlx::Result<Account> {
    Ok(Account {
        id: PrincipalId(row.try_get(at)?),
        login: row.try_get(at + 1)?,
        totp: !row.try_get::<String>(at + 2)?.is_empty(),
        failed: row.unsigned(at + 3)?,
        locked_until: instant(row.try_get(at + 4)?),
        disabled_at: instant(row.try_get(at + 5)?),
        added_at: Timestamp::from_micros(row.try_get(at + 6)?),
        password_at: Timestamp::from_micros(row.try_get(at + 7)?),
    })
}

/// 0 stands for never.
fn instant(micros: i64) -> Option<Timestamp> {
    (micros != 0).then(|| Timestamp::from_micros(micros))
}

/// The login name as it is compared: small letters, digits, and `. _ - @`.
pub(super) fn login(text: &str) -> Option<String> {
    let login = text.trim().to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let fits = (1..=MAX_LOGIN).contains(&login.len())
        && login.bytes().all(plain)
        && login.as_bytes()[0].is_ascii_alphanumeric();
    fits.then_some(login)
}

impl Store {
    /// Whether anybody has an account: from then on, every request needs to say who asks.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn has_accounts(&self) -> Result<bool> {
        let Some(ops) = &self.ops else {
            return Ok(false);
        };
        ops.has_accounts().await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// The name is not usable or taken, the password is too weak, or the directory cannot be written.
    pub async fn add_account(&self, name: &str, password: &str) -> Result<PrincipalId> {
        self.writable()?;
        let login = login(name).ok_or_else(|| {
            refused(format!(
                "a login name has 1 to {MAX_LOGIN} letters, digits or . _ - @ and begins with a letter or digit"
            ))
        })?;
        super::password::check(&login, password)?;
        let id = pseudonym(&self.trust.accounts_key()?, "local", &login);
        let hash = super::password::hash(password.to_owned()).await?;
        let now = self.now();
        let ops = self.directory()?;
        ops.put_person(&id, &login, "local", now).await?;
        if ops.add_account(&id, &login, &hash, now).await? {
            return Ok(id);
        }
        Err(refused(format!("there is an account '{login}' already")))
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        self.directory()?.accounts().await
    }

    /// The account with this name.
    ///
    /// # Errors
    /// There is none, or the directory cannot be read.
    pub async fn account(&self, name: &str) -> Result<Account> {
        let accounts = self.accounts().await?;
        let wanted = login(name);
        let found = accounts
            .into_iter()
            .find(|account| Some(&account.login) == wanted.as_ref());
        found.ok_or_else(|| {
            let name: String = name
                .chars()
                .filter(|sign| !sign.is_control())
                .take(80)
                .collect();
            refused(format!(
                "there is no account '{name}'; writ server account list shows them"
            ))
        })
    }

    /// Sets a new password, takes the lock away and ends all sessions of the account.
    ///
    /// # Errors
    /// The password is too weak, or the directory cannot be written.
    pub async fn set_password(&self, account: &Account, password: &str) -> Result<()> {
        self.writable()?;
        if !account.has_password() {
            return Err(refused(format!(
                "'{}' signs in at an identity provider and has no password",
                account.login
            )));
        }
        super::password::check(&account.login, password)?;
        let hash = super::password::hash(password.to_owned()).await?;
        let now = self.now();
        let ops = self.directory()?;
        ops.set_password(&account.id, &hash, now).await?;
        ops.revoke_all(&account.id, now).await?;
        Ok(())
    }

    /// Disables or enables an account. Disabling ends all its sessions at once.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn disable_account(&self, account: &Account, disabled: bool) -> Result<()> {
        self.writable()?;
        let now = self.now();
        let ops = self.directory()?;
        ops.disable(&account.id, disabled.then_some(now)).await?;
        if disabled {
            ops.revoke_all(&account.id, now).await?;
        }
        Ok(())
    }
}

impl Ops {
    async fn has_accounts(&self) -> Result<bool> {
        let found = self
            .db
            .fetch_optional(sql("SELECT 1 FROM accounts LIMIT 1"));
        Ok(found.await.map_err(|e| self.failed(e))?.is_some())
    }

    /// Adds an account; without a password when the hash is empty. `false` when it is there, or its
    /// name is.
    pub(super) async fn add_account(
        &self,
        id: &PrincipalId,
        login: &str,
        hash: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let add = sql(
            "INSERT INTO accounts (pseudonym, login, password, totp, totp_new, totp_step, failed, locked_until, disabled_at, added_at, password_at)
             VALUES ($1, $2, $3, '', '', 0, 0, 0, 0, $4, $5)
             ON CONFLICT DO NOTHING",
        );
        let password_at = if hash.is_empty() { 0 } else { now.micros() };
        let add = add
            .bind(&id.0)
            .bind(login)
            .bind(hash)
            .bind(now.micros())
            .bind(password_at);
        let added = self.db.execute_once(add).await;
        Ok(added.map_err(|e| self.failed(e))? == 1)
    }

    async fn accounts(&self) -> Result<Vec<Account>> {
        let text = format!("SELECT {COLUMNS} FROM accounts a ORDER BY a.login");
        let rows = self.db.fetch_all(sql(text).keep()).await;
        rows.and_then(|rows| rows.iter().map(|row| account(row, 0)).collect())
            .map_err(|e| self.failed(e))
    }

    async fn set_password(&self, id: &PrincipalId, hash: &str, now: Timestamp) -> Result<()> {
        let set = sql(
            "UPDATE accounts SET password = $1, password_at = $2, failed = 0, locked_until = 0
             WHERE pseudonym = $3",
        );
        let set = set.bind(hash).bind(now.micros()).bind(&id.0);
        self.db.execute(set).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn disable(&self, id: &PrincipalId, at: Option<Timestamp>) -> Result<()> {
        let set = sql("UPDATE accounts SET disabled_at = $1 WHERE pseudonym = $2");
        let set = set.bind(at.map_or(0, Timestamp::micros)).bind(&id.0);
        self.db.execute(set).await.map_err(|e| self.failed(e))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_accounts_can_have() {
        assert_eq!(login(" Ada.Lovelace ").as_deref(), Some("ada.lovelace"));
        assert_eq!(login("a@b-c_1").as_deref(), Some("a@b-c_1"));
        let long = "x".repeat(MAX_LOGIN + 1);
        for bad in ["", " ", "a b", "<b>", "-a", "a\u{0}", "ä", long.as_str()] {
            assert_eq!(login(bad), None, "{bad}");
        }
    }
}
