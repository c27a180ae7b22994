//! Programs that ask a person for a token, in the shape of
//! [RFC 8628](https://www.rfc-editor.org/rfc/rfc8628): the program shows a short code, the person says
//! yes to it in a browser where they are signed in, and the program, which asks again and again, is
//! given a token of that person.
//!
//! The token is made when it is fetched, so the store never keeps one; of the program's own long code
//! it keeps the digest.

use writ_model::{PrincipalId, Span, Timestamp};
use zeroize::Zeroizing;

use super::{Account, SessionToken, accounts, refused};
use crate::db::{Row, sql};
use crate::error::Result;
use crate::ops::Ops;
use crate::store::Store;
use crate::tokens::{ApiToken, NewToken};

/// How long a code can be answered.
pub const CODE_LIFE: Span = Span::from_secs(10 * 60);

/// How long a token counts that was given so.
pub const PERSONAL_LIFE: Span = Span::from_secs(12 * 3_600);

/// Least time between two questions of a program; each one that comes too early makes it longer.
pub const INTERVAL: Span = Span::from_secs(5);

/// Letters of a short code: none that is a vowel, so that no word comes about (RFC 8628, 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Letters of a short code: 20⁸ are 2.56 · 10¹⁰.
const SHORT: usize = 8;

/// Most codes that wait for an answer; one more, and the oldest is forgotten.
const MAX_WAITING: i64 = 1_000;

/// Longest text about a program, in characters.
const MAX_TEXT: usize = 80;

/// What a program that asks is told.
#[derive(Debug)]
pub struct DeviceCodes {
    /// Its own code, which it shows when it asks again.
    pub device: SessionToken,
    /// The code that the person compares: `BCDF-GHJK`.
    pub user: String,
}

/// A program that asks, as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAsk {
    /// The short code.
    pub user: String,
    /// What the program says it is and where it runs.
    pub label: String,
    /// The address that it asks from.
    pub address: String,
    /// When it asked.
    pub asked_at: Timestamp,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
}

/// The answer to a program that asks again.
#[derive(Debug)]
pub enum DeviceAnswer {
    /// Nobody answered yet.
    Waiting,
    /// It asks too often: from now on with this pause.
    SlowDown(Span),
    /// The person said no.
    Denied,
    /// It is not known, or no longer.
    Expired,
    /// A token of this person.
    Given(Box<ApiToken>, Box<Account>, Zeroizing<String>),
}

impl Store {
    /// Notes a program that asks for a token.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn ask_for_token(&self, label: &str, address: &str) -> Result<DeviceCodes> {
        self.writable()?;
        let device = SessionToken::new()?;
        let id = SessionToken::digest(device.reveal()).unwrap_or_default();
        let now = self.now();
        let plain = |text: &str| -> String {
            let signs = text.chars().filter(|sign| !sign.is_control());
            signs.take(MAX_TEXT).collect()
        };
        let ops = self.directory()?;
        // Two codes that are the same at once are hardly ever.
        for _ in 0..5 {
            let user = short_code()?;
            let ask = DeviceAsk {
                user: user.clone(),
                label: plain(label),
                address: plain(address),
                asked_at: now,
                expires_at: now.plus(CODE_LIFE),
            };
            if ops.put_device(&id, &ask).await? {
                return Ok(DeviceCodes { device, user });
            }
        }
        Err(refused("no free code was found; ask again"))
    }

    /// The program behind a short code that waits for an answer; however the code is written.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn device(&self, code: &str) -> Result<Option<DeviceAsk>> {
        let Some(user) = read_code(code) else {
            return Ok(None);
        };
        let found = self.directory()?.device(&user).await?;
        let now = self.now();
        Ok(found.filter(|ask| (ask.asked_at..ask.expires_at).contains(&now)))
    }

    /// A person's answer to a program; `false` when it does not wait for one any more.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn answer_device(&self, code: &str, by: &PrincipalId, allowed: bool) -> Result<bool> {
        self.writable()?;
        let Some(ask) = self.device(code).await? else {
            return Ok(false);
        };
        let state = if allowed { "allowed" } else { "denied" };
        self.directory()?.answer_device(&ask.user, state, by).await
    }

    /// Answers a program that asks again; with `actions` the token is limited to them. A code is
    /// answered with a token, a no or its end once.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn poll_device(&self, device: &str, actions: &[String]) -> Result<DeviceAnswer> {
        self.writable()?;
        let Some(id) = SessionToken::digest(device) else {
            return Ok(DeviceAnswer::Expired);
        };
        let ops = self.directory()?;
        let now = self.now();
        let Some(polled) = ops.polled(&id).await? else {
            return Ok(DeviceAnswer::Expired);
        };
        if now >= polled.expires_at || now < polled.asked_at {
            return Ok(DeviceAnswer::Expired);
        }
        let pause = Span::from_secs(polled.pause);
        // A second for clocks and for the way here.
        let least = Span::from_secs(polled.pause - 1);
        if polled.at.is_some_and(|at| now.since(at) < least) {
            let longer = pause.secs() + INTERVAL.secs();
            ops.note_poll(&id, now, longer).await?;
            return Ok(DeviceAnswer::SlowDown(Span::from_secs(longer)));
        }
        if polled.state == "waiting" {
            ops.note_poll(&id, now, polled.pause).await?;
            return Ok(DeviceAnswer::Waiting);
        }
        // Of two that ask at once, one is answered.
        if !ops.take_device(&id).await? {
            return Ok(DeviceAnswer::Expired);
        }
        let account = self.account_of(&polled.by).await?;
        let account = account.filter(|account| account.disabled_at.is_none());
        let (Some(account), "allowed") = (account, polled.state.as_str()) else {
            return Ok(DeviceAnswer::Denied);
        };
        let new = NewToken {
            name: format!("{} {} ({})", account.login, polled.label, polled.user),
            services: Vec::new(),
            actions: actions.to_vec(),
            life: PERSONAL_LIFE,
            owner: Some(account.id.clone()),
        };
        let (token, text) = self.new_token(new).await?;
        Ok(DeviceAnswer::Given(
            Box::new(token),
            Box::new(account),
            text,
        ))
    }

    /// The account with this pseudonym.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn account_of(&self, id: &PrincipalId) -> Result<Option<Account>> {
        self.directory()?.account_of(id).await
    }
}

/// A new short code: eight letters, each as likely as any other.
fn short_code() -> Result<String> {
    let mut code = String::new();
    while code.len() < SHORT + 1 {
        let mut byte = [0_u8];
        getrandom::fill(&mut byte).map_err(|e| refused(format!("no random numbers: {e}")))?;
        // 240 is a multiple of 20: what is above would make some letters likelier.
        if byte[0] < 240 {
            if code.len() == SHORT / 2 {
                code.push('-');
            }
            code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(code)
}

/// A short code as people type it: in small letters, with a space or nothing in the middle.
fn read_code(text: &str) -> Option<String> {
    if text.len() > 40 {
        return None;
    }
    let mut letters = text
        .bytes()
        .filter(|byte| !b"- \t".contains(byte))
        .map(|byte| byte.to_ascii_uppercase())
        .collect::<Vec<u8>>();
    let good = letters.len() == SHORT && letters.iter().all(|letter| LETTERS.contains(letter));
    letters.insert(letters.len().min(SHORT / 2), b'-');
    let code = String::from_utf8(letters).ok()?;
    good.then_some(code)
}

struct Polled {
    user: String,
    label: String,
    asked_at: Timestamp,
    expires_at: Timestamp,
    at: Option<Timestamp>,
    pause: i64,
    state: String,
    by: PrincipalId,
}

impl Ops {
    async fn put_device(&self, id: &str, ask: &DeviceAsk) -> Result<bool> {
        let now = ask.asked_at.micros();
        let ended = sql("DELETE FROM device_codes WHERE expires_at <= $1").bind(now);
        self.db.execute(ended).await.map_err(|e| self.failed(e))?;
        let oldest = sql("DELETE FROM device_codes WHERE id IN
             (SELECT id FROM device_codes ORDER BY expires_at DESC, id LIMIT $1 OFFSET $2)");
        let oldest = oldest.bind(MAX_WAITING).bind(MAX_WAITING - 1);
        self.db.execute(oldest).await.map_err(|e| self.failed(e))?;
        let put = sql(
            "INSERT INTO device_codes (id, user_code, label, address, asked_at, expires_at, polled_at, pause, state, pseudonym)
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 'waiting', '')
             ON CONFLICT DO NOTHING",
        );
        let put = put
            .bind(id)
            .bind(&ask.user)
            .bind(&ask.label)
            .bind(&ask.address)
            .bind(now)
            .bind(ask.expires_at.micros())
            .bind(INTERVAL.secs());
        let put = self.db.execute_once(put).await;
        Ok(put.map_err(|e| self.failed(e))? == 1)
    }

    async fn device(&self, user: &str) -> Result<Option<DeviceAsk>> {
        let find = sql(
            "SELECT user_code, label, address, asked_at, expires_at FROM device_codes
             WHERE user_code = $1 AND state = 'waiting'",
        )
        .bind(user);
        let row = self.db.fetch_optional(find).await;
        let ask = |row: Row| {
            Ok(DeviceAsk {
                user: row.try_get(0)?,
                label: row.try_get(1)?,
                address: row.try_get(2)?,
                asked_at: Timestamp::from_micros(row.try_get(3)?),
                expires_at: Timestamp::from_micros(row.try_get(4)?),
            })
        };
        row.and_then(|row| row.map(ask).transpose())
            .map_err(|e| self.failed(e))
    }

    async fn answer_device(&self, user: &str, state: &str, by: &PrincipalId) -> Result<bool> {
        let set = sql("UPDATE device_codes SET state = $1, pseudonym = $2
             WHERE user_code = $3 AND state = 'waiting'");
        let set = set.bind(state).bind(&by.0).bind(user);
        let set = self.db.execute_once(set).await;
        Ok(set.map_err(|e| self.failed(e))? == 1)
    }

    async fn polled(&self, id: &str) -> Result<Option<Polled>> {
        let find = sql(
            "SELECT user_code, label, asked_at, expires_at, polled_at, pause, state, pseudonym
             FROM device_codes WHERE id = $1",
        )
        .bind(id);
        let row = self.db.fetch_optional(find).await;
        let polled = |row: Row| {
            let at: i64 = row.try_get(4)?;
            Ok(Polled {
                user: row.try_get(0)?,
                label: row.try_get(1)?,
                asked_at: Timestamp::from_micros(row.try_get(2)?),
                expires_at: Timestamp::from_micros(row.try_get(3)?),
                at: (at != 0).then(|| Timestamp::from_micros(at)),
                pause: row.try_get(5)?,
                state: row.try_get(6)?,
                by: PrincipalId(row.try_get(7)?),
            })
        };
        row.and_then(|row| row.map(polled).transpose())
            .map_err(|e| self.failed(e))
    }

    async fn note_poll(&self, id: &str, now: Timestamp, pause: i64) -> Result<()> {
        let note = sql("UPDATE device_codes SET polled_at = $1, pause = $2 WHERE id = $3");
        let note = note.bind(now.micros()).bind(pause).bind(id);
        self.db.execute(note).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn take_device(&self, id: &str) -> Result<bool> {
        let take = sql("DELETE FROM device_codes WHERE id = $1").bind(id);
        let taken = self.db.execute_once(take).await;
        Ok(taken.map_err(|e| self.failed(e))? == 1)
    }

    async fn account_of(&self, id: &PrincipalId) -> Result<Option<Account>> {
        let text = format!(
            "SELECT {} FROM accounts a WHERE a.pseudonym = $1",
            accounts::COLUMNS
        );
        let row = self.db.fetch_optional(sql(text).keep().bind(&id.0)).await;
        row.and_then(|row| row.map(|row| accounts::account(&row, 0)).transpose())
            .map_err(|e| self.failed(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_code_is_read_as_people_type_it() {
        let code = short_code().unwrap();
        assert_eq!((code.len(), code.as_bytes()[4]), (9, b'-'));
        assert_eq!(read_code(&code).as_deref(), Some(code.as_str()));
        for text in ["bcdfghjk", "BCDF GHJK", " bcdf-ghjk ", "B-C-D-F-G-H-J-K"] {
            assert_eq!(read_code(text).as_deref(), Some("BCDF-GHJK"), "{text}");
        }
        for text in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "ABCD-EFGH",
            "BCDF-GHJ1",
            "ÄÖÜß",
        ] {
            assert_eq!(read_code(text), None, "{text}");
        }
        assert_eq!(read_code(&"B".repeat(1 << 20)), None);
    }
}
