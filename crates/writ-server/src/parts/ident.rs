//! Ids: shortened on screen, whole in the title and when copied, always selectable.

use maud::{Markup, html};
use writ_model::{Digest, EvidenceId};

use crate::http::Ask;
use crate::paths::{self, Path};

/// An id that leads somewhere.
#[must_use]
pub fn link(ask: &Ask, path: &Path, short: &str, whole: &str) -> Markup {
    html! { a.id href=(ask.href(path)) title=(whole) data-copy=(whole) { (short) } }
}

/// An id that leads nowhere.
#[must_use]
pub fn plain(short: &str, whole: &str) -> Markup {
    html! { code.id title=(whole) data-copy=(whole) { (short) } }
}

/// A piece of evidence.
#[must_use]
pub fn evidence(ask: &Ask, id: &EvidenceId) -> Markup {
    link(ask, &paths::evidence(id), &id.short(), &id.to_string())
}

/// A decision, by the evidence that holds it.
#[must_use]
pub fn decision(ask: &Ask, id: &EvidenceId) -> Markup {
    link(
        ask,
        &paths::decision(id),
        &decision_short(id),
        &decision_whole(id),
    )
}

/// `dec_5f0c1a2b3d`
#[must_use]
pub fn decision_short(id: &EvidenceId) -> String {
    format!("dec_{}", &id.digest().to_hex()[..10])
}

/// The whole id of a decision.
#[must_use]
pub fn decision_whole(id: &EvidenceId) -> String {
    format!("dec_{}", id.digest().to_hex())
}

/// A commit: its first seven digits.
#[must_use]
pub fn commit(commit: &str) -> Markup {
    plain(commit_short(commit), commit)
}

/// The first seven digits of a commit.
#[must_use]
pub fn commit_short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// An artefact: its first eight digits.
#[must_use]
pub fn artifact(digest: &Digest) -> Markup {
    plain(&digest.short(), &digest.to_string())
}
