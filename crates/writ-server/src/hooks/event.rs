//! What deliveries say, in one shape for all systems. People are still accounts here; what is recorded names
//! them by pseudonyms only. No title, message or name of a person has a place in it.

use std::collections::{BTreeMap, BTreeSet};

use writ_evidence::predicate::{AlertState, ReviewVerdict};
use writ_model::{Severity, Timestamp};

/// Most tickets of one change.
const MAX_TICKETS: usize = 20;

/// What came of reading a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Something that becomes evidence.
    Events(Vec<Event>),
    /// Nothing that does, and why.
    Ignored(String),
}

impl Heard {
    /// One event.
    pub fn one(event: Event) -> Self {
        Self::Events(vec![event])
    }

    /// Nothing.
    pub fn ignored(reason: impl Into<String>) -> Self {
        Self::Ignored(reason.into())
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A change was made, reviewed or merged.
    Change(Box<Change>),
    /// How a branch is protected.
    Protection(Protection),
    /// Runtime monitoring noticed something, or somebody judged it.
    Alert(Alerted),
    /// Runtime monitoring is alive.
    Heartbeat(Heartbeat),
}

/// Somebody, as the other system names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// A user name.
    Login(String),
    /// A mail address, where there is no user name.
    Mail(String),
}

/// A change: what is known of one head commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Services that it is about.
    pub services: Vec<String>,
    /// Repository, as a URL.
    pub repository: String,
    /// When it happened.
    pub at: Timestamp,
    /// The last commit.
    pub head: String,
    /// The commit before the first.
    pub base: Option<String>,
    /// How many commits; 0 where it is not told.
    pub count: u64,
    /// Tree of the head.
    pub tree: Option<String>,
    /// The change request: `#12`, `!12`.
    pub name: Option<String>,
    /// Tickets that it names.
    pub tickets: Vec<String>,
    /// Who wrote it, as far as it is told.
    pub authors: Vec<Account>,
    /// How it was merged.
    pub merge: Option<Merge>,
    /// What reviewers said.
    pub reviews: Vec<Reviewed>,
}

/// A change came into its branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The commit on the branch.
    pub commit: String,
    /// Its tree.
    pub tree: Option<String>,
    /// Who merged.
    pub by: Option<Account>,
}

/// What a reviewer said about the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// Who.
    pub reviewer: Account,
    /// What.
    pub verdict: ReviewVerdict,
    /// When.
    pub at: Timestamp,
}

/// One rule of the protection of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// Services that it is about.
    pub services: Vec<String>,
    /// Repository, as a URL.
    pub repository: String,
    /// Branch.
    pub branch: String,
    /// When its rules were as said.
    pub at: Timestamp,
    /// The rules that are told, by key; others stay as they were known.
    pub rules: BTreeMap<String, Guard>,
    /// Whether these are all rules of the branch.
    pub whole: bool,
}

/// What one rule demands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// Whether it is in force.
    pub active: bool,
    /// Reviews that it demands.
    #[serde(default)]
    pub reviews: u64,
    /// Whether it lets history be overwritten.
    #[serde(default)]
    pub force_push: bool,
    /// Who need not keep it; absent where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass: Option<BTreeSet<String>>,
    /// When it was so.
    pub at: Timestamp,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerted {
    /// Environment.
    pub environment: String,
    /// Service, where it is known.
    pub service: Option<String>,
    /// Which monitor.
    pub source: String,
    /// Its stable id there.
    pub id: String,
    /// The rule that fired.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Where it stands.
    pub state: AlertState,
    /// One sentence without personal data.
    pub summary: String,
    /// When.
    pub at: Timestamp,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Environment.
    pub environment: String,
    /// Which monitor.
    pub source: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a text is a whole object id of git.
#[must_use]
pub fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && !is_no_object(text)
}

/// Whether it is the id that stands for no object.
#[must_use]
pub fn is_no_object(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

/// Ticket keys such as `PAY-118` in texts of a change. Nothing else of the texts is kept.
#[must_use]
pub fn tickets(texts: &[&str]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for text in texts {
        let words = text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '-'));
        for word in words {
            let mut parts = word.split('-');
            let (Some(project), Some(number)) = (parts.next(), parts.next()) else {
                continue;
            };
            let fits = (2..=10).contains(&project.len())
                && project.starts_with(|sign: char| sign.is_ascii_uppercase())
                && project
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
                && (1..=9).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit());
            if fits && found.len() < MAX_TICKETS {
                found.insert(format!("{project}-{number}"));
            }
        }
    }
    found.into_iter().collect()
}

/// A text of another system with nothing in it but letters, digits and plain signs, and not longer than `most`.
#[must_use]
pub fn plain(text: &str, most: usize) -> String {
    text.chars()
        .map(|sign| match sign {
            sign if sign.is_alphanumeric() => sign,
            ' ' | '.' | ',' | ':' | '/' | '_' | '-' | '(' | ')' | '@' | '+' => sign,
            _ => ' ',
        })
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(most)
        .collect()
}

/// Whether a branch is among those of a pattern with `*` (within a part) and `**` (over parts).
#[must_use]
pub fn fits(pattern: &str, branch: &str) -> bool {
    fn from(pattern: &[u8], text: &[u8], left: &mut u32) -> bool {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', b'/', rest @ ..] if from(rest, text, left) => true,
            [b'*', b'*', rest @ ..] => {
                (0..=text.len()).any(|taken| from(rest, &text[taken..], left))
            }
            [b'*', rest @ ..] => {
                let part = text
                    .iter()
                    .position(|byte| *byte == b'/')
                    .unwrap_or(text.len());
                (0..=part).any(|taken| from(rest, &text[taken..], left))
            }
            [b'?', rest @ ..] => {
                text.first().is_some_and(|byte| *byte != b'/') && from(rest, &text[1..], left)
            }
            [byte, rest @ ..] => text.first() == Some(byte) && from(rest, &text[1..], left),
        }
    }
    // A hostile pattern must not cost more than a plain one.
    from(pattern.as_bytes(), branch.as_bytes(), &mut 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_keys_and_nothing_else() {
        let texts = [
            "Fix PAY-118 <script>alert(1)</script>",
            "feature/OPS-7-retry",
            "pay-1 A-1 UTF-8x PAY-118",
        ];
        assert_eq!(tickets(&texts), ["OPS-7", "PAY-118"]);
        let many: String = (0..100).map(|n| format!("AB-{n} ")).collect();
        assert_eq!(tickets(&[&many]).len(), MAX_TICKETS);
    }

    #[test]
    fn texts_are_plain() {
        assert_eq!(
            plain("<img src=x onerror=alert(1)>\u{1b}[2J", 80),
            "img src x onerror alert(1) 2J"
        );
        assert_eq!(plain("Terminal shell in container", 8), "Terminal");
    }

    #[test]
    fn object_ids() {
        assert!(is_object_id(&"a1".repeat(20)) && is_object_id(&"f0".repeat(32)));
        for bad in [
            "",
            "HEAD",
            &"A".repeat(40),
            &"0".repeat(40),
            &"a".repeat(41),
        ] {
            assert!(!is_object_id(bad), "{bad}");
        }
    }

    #[test]
    fn patterns_of_branches() {
        for (pattern, branch, right) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("release/*", "release/1", true),
            ("release/*", "release/1/2", false),
            ("release/**/*", "release/1/2", true),
            ("release/**/*", "release/1", true),
            ("*", "main", true),
            ("*", "a/b", false),
            ("v?", "v1", true),
        ] {
            assert_eq!(fits(pattern, branch), right, "{pattern} {branch}");
        }
        assert!(!fits(&"*a".repeat(60), &"a".repeat(200).replace('a', "ab")));
    }
}
