//! Signing in: name, password and code are judged together, and whatever is wrong looks and costs
//! the same.

use writ_model::{Assurance, PrincipalId, Span, Timestamp};

use super::{Account, accounts, password, sealed, totp};
use crate::db::sql;
use crate::error::Result;
use crate::ops::{Ops, pseudonym};
use crate::store::Store;

/// Attempts after which an account waits.
pub const ATTEMPTS: u64 = 10;

/// How long it waits.
pub const LOCK: Span = Span::from_secs(15 * 60);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// It is this person.
    Known(Box<Account>, Assurance),
    /// Unknown, disabled or locked, or the password or the code is wrong: nobody is told which.
    Refused,
}

impl Store {
    /// Judges an attempt to sign in. Every attempt counts before it is judged, so that many at once
    /// guess no more than many in a row; success takes the count back.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub async fn sign_in(&self, name: &str, password: &str, code: &str) -> Result<SignIn> {
        self.writable()?;
        let ops = self.directory()?;
        let now = self.now();
        let login = accounts::login(name).unwrap_or_default();
        let id = pseudonym(&self.trust.accounts_key()?, "local", &login);
        let found = ops.credentials(&id).await?;
        let counted = ops.count_attempt(&id, found.is_none(), now).await?;
        let stored = found
            .as_ref()
            .map_or(password::NOBODY.as_str(), |found| &found.password);
        let fits = password.len() <= password::MAX_PASSWORD;
        let password = if fits { password } else { "" };
        let right = password::verify(stored, password.to_owned()).await?;
        let Some(found) = found else {
            return Ok(SignIn::Refused);
        };
        if !right || !fits || !counted || found.account.disabled_at.is_some() {
            return Ok(SignIn::Refused);
        }
        let (assurance, step) = if found.account.totp {
            let Some(secret) = sealed::open(&self.totp_key()?, &found.totp) else {
                return Ok(SignIn::Refused);
            };
            match totp::matches(&secret, code, now, found.step) {
                Some(step) => (Assurance::Totp, step),
                None => return Ok(SignIn::Refused),
            }
        } else {
            (Assurance::Password, found.step)
        };
        if !ops.succeeded(&id, found.step, step).await? {
            // The same code came twice at once.
            return Ok(SignIn::Refused);
        }
        Ok(SignIn::Known(Box::new(found.account), assurance))
    }

    /// Whether a password is that of an account: for changing it, with the same limit of attempts.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub async fn password_is(&self, id: &PrincipalId, password: &str) -> Result<bool> {
        self.writable()?;
        let ops = self.directory()?;
        let Some(found) = ops.credentials(id).await? else {
            return Ok(false);
        };
        let counted = ops.count_attempt(id, false, self.now()).await?;
        let right = password.len() <= password::MAX_PASSWORD
            && password::verify(&found.password, password.to_owned()).await?;
        if right && counted {
            ops.succeeded(id, found.step, found.step).await?;
        }
        Ok(right && counted)
    }
}

struct Credentials {
    account: Account,
    password: String,
    totp: String,
    step: u64,
}

impl Ops {
    async fn credentials(&self, id: &PrincipalId) -> Result<Option<Credentials>> {
        let text = format!(
            "SELECT {}, a.password, a.totp, a.totp_step FROM accounts a WHERE a.pseudonym = $1",
            accounts::COLUMNS
        );
        let row = self.db.fetch_optional(sql(text).keep().bind(&id.0)).await;
        let read = row.and_then(|row| {
            row.map(|row| {
                Ok(Credentials {
                    account: accounts::account(&row, 0)?,
                    password: row.try_get(8)?,
                    totp: row.try_get(9)?,
                    step: row.unsigned(10)?,
                })
            })
            .transpose()
        });
        read.map_err(|e| self.failed(e))
    }

    /// Counts an attempt; `false` when the account waits.
    async fn count_attempt(&self, id: &PrincipalId, nobody: bool, now: Timestamp) -> Result<bool> {
        let count = if nobody {
            // A write as for an account that exists.
            let put = sql(
                "INSERT INTO meta (key, value) VALUES ('unknown_sign_in_at', $1)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            );
            put.bind(now.micros().to_string())
        } else {
            let update = sql("UPDATE accounts SET
                     locked_until = CASE WHEN failed + 1 >= $1 THEN $2 ELSE 0 END,
                     failed = CASE WHEN failed + 1 >= $1 THEN 0 ELSE failed + 1 END
                 WHERE pseudonym = $3 AND locked_until <= $4");
            update
                .bind(crate::index::signed(ATTEMPTS))
                .bind(now.plus(LOCK).micros())
                .bind(&id.0)
                .bind(now.micros())
        };
        let counted = self.db.execute_once(count).await;
        Ok(counted.map_err(|e| self.failed(e))? == 1)
    }

    /// Takes the count back and notes the step of the code; `false` when another attempt used it.
    async fn succeeded(&self, id: &PrincipalId, before: u64, step: u64) -> Result<bool> {
        let update = sql(
            "UPDATE accounts SET failed = 0, locked_until = 0, totp_step = $1
             WHERE pseudonym = $2 AND totp_step = $3",
        );
        let update = update
            .bind(crate::index::signed(step))
            .bind(&id.0)
            .bind(crate::index::signed(before));
        let done = self.db.execute_once(update).await;
        Ok(done.map_err(|e| self.failed(e))? == 1)
    }
}
