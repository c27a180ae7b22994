//! Accounts by their names in other systems, and the pseudonyms that they get in the ledger.
//!
//! An account is written `kind:name`: `mail:ada@example.org`, `gitlab:ada`, `local:ada`. Names are
//! compared in Unicode normal form C without regard to case, so that one account cannot be two by
//! its spelling. What looks like another name (invisible signs, letters of two alphabets in one
//! word) is refused, because people decide about accounts by looking at them.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization as _;
use writ_model::PrincipalId;

use crate::error::Result;
use crate::ops::pseudonym;
use crate::store::Store;

/// Longest name of an account, in bytes.
pub const MAX_ALIAS: usize = 254;

/// Where an account lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AliasKind {
    /// A mail address, as git names authors.
    Mail,
    /// An account of this store, or a user of the operating system.
    Local,
    /// A user name of GitLab.
    Gitlab,
    /// A user name of GitHub.
    Github,
    /// Issuer and subject of a log-in provider, `ISSUER#SUBJECT`.
    Oidc,
}

impl AliasKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Mail,
        Self::Local,
        Self::Gitlab,
        Self::Github,
        Self::Oidc,
    ];

    /// The word before the colon.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Local => "local",
            Self::Gitlab => "gitlab",
            Self::Github => "github",
            Self::Oidc => "oidc",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An account's name, normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias {
    kind: AliasKind,
    name: String,
}

impl Alias {
    /// Reads `kind:name`; a bare mail address is of kind `mail`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        match text.split_once(':') {
            Some((kind, name)) => match AliasKind::of_word(kind) {
                Some(kind) => Self::new(kind, name),
                None => Err(format!(
                    "there is no kind of account '{}'; {}",
                    shown(kind),
                    kinds()
                )),
            },
            None if text.contains('@') => Self::new(AliasKind::Mail, text),
            None => Err(format!(
                "'{}' does not say where the account is; {}",
                shown(text),
                kinds()
            )),
        }
    }

    /// An account of a kind.
    ///
    /// # Errors
    /// As [`Alias::parse`].
    pub fn new(kind: AliasKind, name: &str) -> std::result::Result<Self, String> {
        let name = normal(kind, name);
        let wrong = |problem: &str| Err(format!("the account '{}' {problem}", shown(&name)));
        if name.is_empty() || name.len() > MAX_ALIAS {
            return wrong(&format!("must have 1 to {MAX_ALIAS} bytes"));
        }
        if name
            .chars()
            .any(|sign| sign.is_control() || invisible(sign))
        {
            return wrong("has signs that nobody sees; write it without them");
        }
        if name.chars().any(char::is_whitespace) && kind != AliasKind::Local {
            return wrong("has a space in it");
        }
        if let Some(word) = name
            .split(|sign: char| !sign.is_alphanumeric())
            .find(|word| mixed(word))
        {
            return wrong(&format!(
                "mixes letters of two alphabets in '{}', which look alike; use one",
                shown(word)
            ));
        }
        if kind == AliasKind::Mail {
            let parts = name.rsplit_once('@');
            if parts.is_none_or(|(user, host)| user.is_empty() || host.is_empty()) {
                return wrong("is not a mail address");
            }
        }
        Ok(Self { kind, name })
    }

    /// Where it lives.
    #[must_use]
    pub const fn kind(&self) -> AliasKind {
        self.kind
    }

    /// Its name there, normalised.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `mail:ada@example.org`.
impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.name)
    }
}

/// An account by its name elsewhere, or by the pseudonym that evidence names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountRef {
    /// By name.
    Alias(Alias),
    /// By pseudonym.
    Id(PrincipalId),
}

impl AccountRef {
    /// Reads `kind:name`, a mail address, or a pseudonym.
    ///
    /// # Errors
    /// As [`Alias::parse`].
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        match text.strip_prefix("p_") {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Ok(Self::Id(PrincipalId(text.to_owned())))
            }
            _ => Alias::parse(text).map(Self::Alias),
        }
    }
}

fn kinds() -> String {
    let words: Vec<&str> = AliasKind::ALL.into_iter().map(|kind| kind.word()).collect();
    format!("write KIND:NAME with one of {}", words.join(", "))
}

/// A part of hostile text that is safe to show.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|sign| !sign.is_control() && !invisible(*sign))
        .take(80)
        .collect()
}

/// Normal form C without regard to case.
fn fold(text: &str) -> String {
    // Upper case first: one letter may have several small forms.
    let upper = text.nfc().collect::<String>().to_uppercase();
    upper.to_lowercase().nfc().collect()
}

/// A name as it is compared.
fn normal(kind: AliasKind, name: &str) -> String {
    match kind {
        AliasKind::Mail => fold_mail(name),
        AliasKind::Gitlab | AliasKind::Github => fold(name.trim().trim_start_matches('@')),
        // Logins are small ASCII letters already; users of the operating system keep their case, as they
        // are recorded.
        AliasKind::Local | AliasKind::Oidc => name.trim().nfc().collect(),
    }
}

/// A mail address as it is compared.
fn fold_mail(mail: &str) -> String {
    fold(mail.trim().trim_start_matches('<').trim_end_matches('>'))
}

/// Format characters, joiners and selectors: they change nothing that a reader sees.
fn invisible(sign: char) -> bool {
    matches!(sign,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a word has letters of two alphabets that share shapes.
fn mixed(word: &str) -> bool {
    let alphabet = |sign: char| match sign {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Some('l'),
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some('g'),
        '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' | '\u{a640}'..='\u{a69f}' => Some('c'),
        '\u{530}'..='\u{58f}' => Some('a'),
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Some('k'),
        _ => None,
    };
    let mut seen = word.chars().filter_map(alphabet);
    let first = seen.next();
    first.is_some_and(|first| seen.any(|next| next != first))
}

/// The key with which accounts of other systems become principals. One per store: the same account
/// gets the same id everywhere in it, and nobody without the key can guess names.
#[derive(Clone)]
pub struct PrincipalKey([u8; 32]);

impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalKey(..)")
    }
}

impl PrincipalKey {
    /// What the key is derived for.
    pub const PURPOSE: &'static str = "principals";

    /// Wraps key bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The principal of a mail address; case, spelling in Unicode and outer white space do not
    /// matter.
    #[must_use]
    pub fn principal(&self, mail: &str) -> PrincipalId {
        self.hashed(AliasKind::Mail, &fold_mail(mail))
    }

    fn hashed(&self, kind: AliasKind, name: &str) -> PrincipalId {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length; this cannot happen, and must not name anybody if it does.
            return PrincipalId("p_unknown".into());
        };
        mac.update(b"writ:principal:");
        mac.update(kind.word().as_bytes());
        mac.update(b":");
        mac.update(name.as_bytes());
        PrincipalId(format!(
            "p_{}",
            &hex::encode(mac.finalize().into_bytes())[..32]
        ))
    }
}

impl Store {
    /// The pseudonym of an account, as statements name it.
    ///
    /// # Errors
    /// The store's secret cannot be read.
    pub fn alias_id(&self, alias: &Alias) -> Result<PrincipalId> {
        if alias.kind == AliasKind::Local {
            return Ok(pseudonym(&self.trust.accounts_key()?, "local", &alias.name));
        }
        let key = PrincipalKey::new(self.trust.derived_key(PrincipalKey::PURPOSE)?);
        Ok(key.hashed(alias.kind, &alias.name))
    }

    /// The pseudonym of an account, however it is named.
    ///
    /// # Errors
    /// The store's secret cannot be read.
    pub fn account_id(&self, account: &AccountRef) -> Result<PrincipalId> {
        match account {
            AccountRef::Alias(alias) => self.alias_id(alias),
            AccountRef::Id(id) => Ok(id.clone()),
        }
    }

    /// The pseudonym of a person whom the directory knows by this key (its id elsewhere), or of a
    /// machine.
    ///
    /// # Errors
    /// The store's secret cannot be read.
    pub fn owner_id(&self, key: &str, machine: bool) -> Result<PrincipalId> {
        let kind = if machine { "bot" } else { "person" };
        Ok(pseudonym(&self.trust.accounts_key()?, kind, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Alias::parse(text).unwrap().to_string()
    }

    #[test]
    fn one_account_has_one_spelling() {
        assert_eq!(parsed(" Ada@Example.ORG "), "mail:ada@example.org");
        assert_eq!(parsed("mail:<ADA@example.org>"), "mail:ada@example.org");
        assert_eq!(parsed("gitlab:@Ada"), "gitlab:ada");
        // The same letter, composed and decomposed, large and small.
        let composed = parsed("mail:ren\u{e9}@example.org");
        assert_eq!(composed, parsed("mail:REN\u{45}\u{301}@example.org"));
        assert_eq!(parsed("local:Ada L"), "local:Ada L");
        assert_eq!(parsed("github:kafka\u{212a}"), "github:kafkak");
    }

    #[test]
    fn what_looks_like_another_account_is_refused() {
        for (bad, says) in [
            ("", "does not say where"),
            ("ada", "does not say where"),
            ("jira:ada", "no kind of account 'jira'"),
            ("mail:ada", "is not a mail address"),
            ("mail:@example.org", "is not a mail address"),
            ("mail:ad\u{200b}a@example.org", "nobody sees"),
            ("gitlab:a\u{202e}da", "nobody sees"),
            ("mail:\u{430}da@example.org", "two alphabets"),
            ("github:ad\u{3b1}", "two alphabets"),
            ("github:a b", "space"),
        ] {
            let said = Alias::parse(bad).unwrap_err();
            assert!(said.contains(says), "{bad:?}: {said}");
        }
        let long = format!("gitlab:{}", "x".repeat(MAX_ALIAS + 1));
        assert!(Alias::parse(&long).unwrap_err().contains("1 to 254 bytes"));
        assert_eq!(parsed("mail:\u{434}\u{430}@example.org").len(), 21);
    }

    #[test]
    fn addresses_become_stable_pseudonyms() {
        let key = PrincipalKey::new([7; 32]);
        let ada = key.principal("Ada@Example.org ");
        assert_eq!(ada, key.principal("ada@example.org"));
        assert_ne!(ada, PrincipalKey::new([8; 32]).principal("ada@example.org"));
        assert!(!ada.0.contains("ada") && ada.0.len() == 34);
    }
}
