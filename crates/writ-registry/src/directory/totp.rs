//! One-time codes after [RFC 6238](https://www.rfc-editor.org/rfc/rfc6238): six digits, SHA-1,
//! 30 seconds, as every authenticator application makes them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use writ_model::{PrincipalId, Timestamp};

use super::{refused, sealed};
use crate::db::sql;
use crate::error::Result;
use crate::ops::Ops;
use crate::store::Store;

/// Seconds that a code lasts.
pub const PERIOD: u64 = 30;

/// Bytes of a secret, as RFC 4226 advises.
const SECRET: usize = 20;

/// A secret that waits for its first code.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The secret in base 32, for typing.
    pub secret: String,
    /// The address that an authenticator application reads.
    pub uri: String,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolment(..)")
    }
}

/// The step that a code belongs to: this one, the last or the next, and newer than `after`.
pub(super) fn matches(secret: &[u8], code: &str, now: Timestamp, after: u64) -> Option<u64> {
    let code = code.trim();
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let step = u64::try_from(now.micros()).unwrap_or_default() / 1_000_000 / PERIOD;
    let mut found = None;
    // All three are computed whatever fits.
    for step in [step.saturating_sub(1), step, step + 1] {
        let expected = format!("{:06}", code_of(secret, step));
        if bool::from(expected.as_bytes().ct_eq(code.as_bytes())) && step > after {
            found = Some(step);
        }
    }
    found
}

fn code_of(secret: &[u8], step: u64) -> u32 {
    // HMAC takes keys of any length: the fallback is never taken.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else {
        return u32::MAX;
    };
    mac.update(&step.to_be_bytes());
    let digest: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(digest[19] & 0x0f);
    let part = [
        digest[at] & 0x7f,
        digest[at + 1],
        digest[at + 2],
        digest[at + 3],
    ];
    u32::from_be_bytes(part) % 1_000_000
}

/// RFC 4648 base 32 without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(LETTERS[(bits >> held) as usize & 31]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(LETTERS[(bits << (5 - held)) as usize & 31]));
    }
    text
}

impl Store {
    /// Makes a secret for one-time codes; it is asked for after [`Store::confirm_totp`] only.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn begin_totp(&self, id: &PrincipalId) -> Result<()> {
        self.writable()?;
        let mut secret = [0_u8; SECRET];
        getrandom::fill(&mut secret).map_err(|e| refused(format!("no random numbers: {e}")))?;
        let sealed = sealed::seal(&self.totp_key()?, &secret)?;
        self.directory()?.set_totp_new(id, &sealed).await
    }

    /// The secret that waits for its first code.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn totp_enrolment(&self, id: &PrincipalId, login: &str) -> Result<Option<Enrolment>> {
        let (_, waiting, _) = self.directory()?.totp(id).await?;
        let secret = sealed::open(&self.totp_key()?, &waiting);
        Ok(secret.filter(|secret| !secret.is_empty()).map(|secret| {
            let secret = base32(&secret);
            // Login names need no escapes beyond this one.
            let login = login.replace('@', "%40");
            let uri = format!(
                "otpauth://totp/Writ:{login}?secret={secret}&issuer=Writ&algorithm=SHA1&digits=6&period={PERIOD}"
            );
            Enrolment { secret, uri }
        }))
    }

    /// Takes the waiting secret into use when the code fits it; `false` when it does not.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn confirm_totp(&self, id: &PrincipalId, code: &str) -> Result<bool> {
        self.writable()?;
        let ops = self.directory()?;
        let (_, waiting, _) = ops.totp(id).await?;
        let Some(secret) = sealed::open(&self.totp_key()?, &waiting) else {
            return Ok(false);
        };
        match matches(&secret, code, self.now(), 0) {
            Some(step) => ops.take_totp(id, &waiting, step).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes one-time codes away from an account.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub async fn remove_totp(&self, id: &PrincipalId) -> Result<()> {
        self.writable()?;
        self.directory()?.take_totp(id, "", 0).await
    }

    pub(super) fn totp_key(&self) -> Result<[u8; 32]> {
        self.trust.derived_key("totp-secrets")
    }
}

impl Ops {
    /// Secret, waiting secret and the step of the last code.
    async fn totp(&self, id: &PrincipalId) -> Result<(String, String, u64)> {
        let find = sql("SELECT totp, totp_new, totp_step FROM accounts WHERE pseudonym = $1");
        let row = self.db.fetch_optional(find.bind(&id.0)).await;
        let read = row.and_then(|row| match row {
            Some(row) => Ok((row.try_get(0)?, row.try_get(1)?, row.unsigned(2)?)),
            None => Ok((String::new(), String::new(), 0)),
        });
        read.map_err(|e| self.failed(e))
    }

    async fn set_totp_new(&self, id: &PrincipalId, sealed: &str) -> Result<()> {
        let set = sql("UPDATE accounts SET totp_new = $1 WHERE pseudonym = $2");
        let set = set.bind(sealed).bind(&id.0);
        self.db.execute(set).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    async fn take_totp(&self, id: &PrincipalId, sealed: &str, step: u64) -> Result<()> {
        let set = sql(
            "UPDATE accounts SET totp = $1, totp_new = '', totp_step = $2 WHERE pseudonym = $3",
        );
        let set = set
            .bind(sealed)
            .bind(crate::index::signed(step))
            .bind(&id.0);
        self.db.execute(set).await.map_err(|e| self.failed(e))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 6238, appendix B, SHA-1, the last six of eight digits.
    #[test]
    fn the_vectors_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [
            (59_i64, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_micros(seconds * 1_000_000);
            assert!(matches(secret, code, now, 0).is_some(), "{seconds}");
            assert!(matches(secret, "000000", now, 0).is_none());
        }
    }

    #[test]
    fn a_code_is_taken_once_and_near_its_time() {
        let secret = b"12345678901234567890";
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let step = matches(secret, "287082", at(59), 0).unwrap();
        assert_eq!(step, 1);
        assert_eq!(matches(secret, "287082", at(59), step), None);
        assert_eq!(matches(secret, "287082", at(89), 0), Some(1));
        assert_eq!(matches(secret, "287082", at(91), 0), None);
        for bad in ["", "28708", "2870822", "28708x", "２８７０８２"] {
            assert_eq!(matches(secret, bad, at(59), 0), None, "{bad}");
        }
    }

    #[test]
    fn base_32_as_the_rfc_writes_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
