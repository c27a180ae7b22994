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
    /// Ids of commits that they took part in, the newest first; of many the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// All commits that they took part in.
    #[serde(default)]
    pub commit_count: u64,
}

/// Commits that are named of one person.
pub const MAX_NAMED: usize = 20;

impl Author {
    /// Somebody who made nothing yet.
    pub(super) const fn new(principal: PrincipalId) -> Self {
        Self {
            principal,
            author: false,
            committer: false,
            co_author: false,
            commits: Vec::new(),
            commit_count: 0,
        }
    }

    /// Notes a commit that they took part in.
    pub(super) fn took_part_in(&mut self, commit: &str) {
        self.commit_count += 1;
        if self.commits.len() < MAX_NAMED {
            self.commits.push(commit.to_owned());
        }
    }
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
