//! Tokens for programs that no CI system vouches for: 256 random bits, limited to services and actions,
//! ending by themselves. The store keeps the SHA-256 of each, so whoever reads the database or a backup
//! has no token; a token that is lost is replaced.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use writ_model::{PrincipalId, Span, Timestamp};
use zeroize::Zeroizing;

use crate::error::{RegistryError, Result};
use crate::store::Store;

/// How every token begins, so that it is recognised where it should not be.
pub const PREFIX: &str = "writ_";

/// The longest life of a token.
pub const MAX_LIFE: Span = Span::from_secs(366 * 86_400);

/// Most services, and most actions, that one token is limited to.
pub const MAX_SCOPES: usize = 100;

/// Time for which the note about the last use of a token is not renewed.
const COARSE: Span = Span::from_secs(3_600);

/// Digits of the random part, and of the check behind it.
const RANDOM: usize = 64;
const CHECK: usize = 8;

/// What is known of a token; not the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    /// Id, to name it by: the first digits of its hash.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Services that it is limited to; none: all.
    pub services: Vec<String>,
    /// Actions that it is limited to; none: what the role `service` may do.
    pub actions: Vec<String>,
    /// The person who gave it to a program; `None`: a machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<PrincipalId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it no longer counts.
    pub expires_at: Timestamp,
    /// About when it was used last, to the hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl ApiToken {
    /// The pseudonym behind it is made of this.
    fn account(&self) -> String {
        format!("{} {}", self.id, self.name)
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// Services that it is limited to; none: all.
    pub services: Vec<String>,
    /// Actions that it is limited to; none: what the role `service` may do.
    pub actions: Vec<String>,
    /// How long it counts.
    pub life: Span,
    /// The person who gives it to a program; `None`: a machine's.
    pub owner: Option<PrincipalId>,
}

/// What a text that should be a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenCheck {
    /// A token that counts, and the pseudonym of who has it.
    Good(ApiToken, PrincipalId),
    /// It is cut or mistyped: the check at its end does not fit.
    Damaged,
    /// No such token was made here.
    Unknown,
    /// It ended.
    Expired(ApiToken),
    /// It was revoked.
    Revoked(ApiToken),
}

impl Store {
    /// Makes a token. It is shown this once.
    ///
    /// # Errors
    /// The name or a limit cannot be used, or another token that counts has the name; then there is no
    /// token.
    pub async fn new_token(&self, new: NewToken) -> Result<(ApiToken, Zeroizing<String>)> {
        self.writable()?;
        let plain =
            |text: &String| (1..=200).contains(&text.len()) && !text.chars().any(char::is_control);
        let refused = |problem: String, remedy| Err(RegistryError::Token { problem, remedy });
        if !plain(&new.name) {
            return refused(
                "a token's name must have 1 to 200 bytes and no control characters".to_owned(),
                "choose another name",
            );
        }
        let scopes = [&new.services, &new.actions];
        if scopes
            .iter()
            .any(|all| all.len() > MAX_SCOPES || !all.iter().all(plain))
        {
            return refused(
                format!(
                    "a token has at most {MAX_SCOPES} services and {MAX_SCOPES} actions, each a name of 1 to 200 bytes"
                ),
                "name fewer",
            );
        }
        if new.life < Span::from_secs(60) || new.life > MAX_LIFE {
            return refused(
                format!("a token cannot count for {}", new.life.human()),
                "choose one minute to 366 days",
            );
        }
        let mut random = Zeroizing::new([0_u8; RANDOM / 2]);
        getrandom::fill(random.as_mut_slice())
            .map_err(|error| RegistryError::Task(format!("no randomness: {error}")))?;
        let random = Zeroizing::new(hex::encode(random.as_slice()));
        let text = Zeroizing::new(format!("{PREFIX}{}{}", random.as_str(), check(&random)));
        let hash = hash(&text);
        let now = self.now();
        let token = ApiToken {
            id: format!("tok_{}", &hash[..12]),
            name: new.name,
            services: new.services,
            actions: new.actions,
            owner: new.owner,
            created_at: now,
            expires_at: now.plus(new.life),
            used_at: None,
            revoked_at: None,
        };
        if !self.ops_or_refuse()?.put_token(&token, &hash).await? {
            return refused(
                format!("another token has the name '{}'", token.name.escape_debug()),
                "choose another name, or revoke that one: writ server token revoke NAME",
            );
        }
        Ok((token, text))
    }

    /// All tokens that were made here, newest first.
    ///
    /// # Errors
    /// The ops database cannot be read.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>> {
        match &self.ops {
            Some(ops) => ops.tokens().await,
            None => Ok(Vec::new()),
        }
    }

    /// The tokens of a person that count, newest first.
    ///
    /// # Errors
    /// The ops database cannot be read.
    pub async fn tokens_of(&self, owner: &PrincipalId) -> Result<Vec<ApiToken>> {
        let now = self.now();
        let mut all = self.tokens().await?;
        all.retain(|token| {
            token.owner.as_ref() == Some(owner)
                && token.revoked_at.is_none()
                && token.expires_at > now
        });
        Ok(all)
    }

    /// Ends a token, by its id or its name; from now on it counts nowhere.
    ///
    /// # Errors
    /// There is none that counts, or several have the name.
    pub async fn revoke_token(&self, which: &str) -> Result<ApiToken> {
        self.writable()?;
        let ops = self.ops_or_refuse()?;
        let all = ops.tokens().await?;
        let now = self.now();
        let mut found = all
            .into_iter()
            .filter(|token| token.id == which || token.name == which)
            .filter(|token| token.revoked_at.is_none());
        let refused = |problem: String, remedy| Err(RegistryError::Token { problem, remedy });
        match (found.next(), found.next()) {
            (Some(mut token), None) => {
                ops.revoke_token(&token.id, now).await?;
                token.revoked_at = Some(now);
                Ok(token)
            }
            (Some(_), Some(_)) => refused(
                format!("several tokens have the name '{}'", which.escape_debug()),
                "give the id: writ server token list",
            ),
            (None, _) => refused(
                format!(
                    "there is no token '{}' that could be revoked",
                    which.escape_debug()
                ),
                "writ server token list shows them",
            ),
        }
    }

    /// What a text is that was shown as a token. The look-up goes by the hash of the whole text, so the
    /// time that it takes says nothing about how much of a token was guessed.
    ///
    /// # Errors
    /// The ops database cannot be used.
    pub async fn check_token(&self, text: &str) -> Result<TokenCheck> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        let well = digits.len() == RANDOM + CHECK
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !well || check(&digits[..RANDOM]) != digits[RANDOM..] {
            return Ok(TokenCheck::Damaged);
        }
        let Some(ops) = &self.ops else {
            return Ok(TokenCheck::Unknown);
        };
        let Some(token) = ops.token_by_hash(&hash(text)).await? else {
            return Ok(TokenCheck::Unknown);
        };
        let now = self.now();
        if token.revoked_at.is_some() {
            return Ok(TokenCheck::Revoked(token));
        }
        if token.expires_at <= now {
            return Ok(TokenCheck::Expired(token));
        }
        let noted = token.used_at.is_some_and(|used| now.since(used) < COARSE);
        if !noted && !self.options.read_only {
            ops.token_used(&token.id, now).await?;
        }
        let principal = self.machine_principal("token", &token.account())?;
        Ok(TokenCheck::Good(token, principal))
    }

    fn ops_or_refuse(&self) -> Result<&crate::ops::Ops> {
        self.ops.as_ref().ok_or_else(|| RegistryError::Token {
            problem: "this store has no ops database".to_owned(),
            remedy: "open it for writing",
        })
    }
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// What stands behind the random part: it shows that a token is whole, and nothing else.
fn check(random: &str) -> String {
    let digest = Sha256::digest(format!("writ token check\n{random}").as_bytes());
    hex::encode(&digest[..CHECK / 2])
}
