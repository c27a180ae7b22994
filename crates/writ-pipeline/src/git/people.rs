//! People of a change as pseudonyms: a keyed hash of the mail address, never the address.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use writ_model::PrincipalId;

/// The key with which mail addresses become principals. One per store: the same person gets the same
/// id everywhere in it, and nobody without the key can guess addresses.
#[derive(Clone)]
pub struct PrincipalKey([u8; 32]);

impl std::fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrincipalKey(..)")
    }
}

impl PrincipalKey {
    /// Wraps key bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The principal of a mail address; case and outer white space do not matter.
    #[must_use]
    pub fn principal(&self, mail: &str) -> PrincipalId {
        let mail = mail
            .trim()
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_lowercase();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length; this cannot happen, and must not name anybody if it does.
            return PrincipalId("p_unknown".into());
        };
        mac.update(b"writ:principal:mail:");
        mac.update(mail.as_bytes());
        PrincipalId(format!(
            "p_{}",
            &hex::encode(mac.finalize().into_bytes())[..32]
        ))
    }
}

/// Somebody who made part of a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Who.
    pub principal: PrincipalId,
    /// Wrote commits.
    pub author: bool,
    /// Committed them.
    pub committer: bool,
    /// Is named as co-author.
    pub co_author: bool,
}

/// The mail address in `Name <mail>`.
pub(super) fn mail_of(trailer: &str) -> Option<&str> {
    let (_, rest) = trailer.rsplit_once('<')?;
    let (mail, _) = rest.split_once('>')?;
    mail.contains('@').then_some(mail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_stable_pseudonyms() {
        let key = PrincipalKey::new([7; 32]);
        let ada = key.principal("Ada@Example.org ");
        assert_eq!(ada, key.principal("ada@example.org"));
        assert_ne!(ada, PrincipalKey::new([8; 32]).principal("ada@example.org"));
        assert!(!ada.0.contains("ada") && ada.0.len() == 34);
        assert_eq!(mail_of("Bo Ops <bo@example.org>"), Some("bo@example.org"));
        assert_eq!(mail_of("Bo Ops"), None);
    }
}
