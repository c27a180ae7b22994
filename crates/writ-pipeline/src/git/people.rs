//! People of a change as pseudonyms: a keyed hash of the mail address, never the address.

use serde::{Deserialize, Serialize};
use writ_model::PrincipalId;
pub use writ_registry::directory::PrincipalKey;

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
    fn mails_of_trailers() {
        assert_eq!(mail_of("Bo Ops <bo@example.org>"), Some("bo@example.org"));
        assert_eq!(mail_of("Bo Ops"), None);
    }
}
