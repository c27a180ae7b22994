//! Deliveries of GitLab, by their `object_kind`.
//!
//! Shapes: <https://docs.gitlab.com/user/project/integrations/webhook_events/>. GitLab tells neither how a
//! branch is protected nor more than 20 commits of a push, and `updated_at` of an approval may lie before it:
//! what is missing here is read by the collector.

use std::collections::BTreeSet;

use serde::Deserialize;
use writ_evidence::predicate::ReviewVerdict;
use writ_model::Timestamp;

use super::config::HookConfig;
use super::event::{
    Account, Change, Event, Heard, Merge, Reviewed, is_no_object, is_object_id, plain, tickets,
};

#[derive(Deserialize)]
struct Kind {
    object_kind: String,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
    #[serde(default)]
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    state: Option<String>,
}

#[derive(Deserialize)]
struct LastCommit {
    id: String,
    #[serde(default)]
    author: Option<Person>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    email: Option<String>,
}

#[derive(Deserialize)]
struct Attributes {
    iid: u64,
    #[serde(default)]
    title: Option<String>,
    target_branch: String,
    source_branch: String,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    oldrev: Option<String>,
    #[serde(default)]
    last_commit: Option<LastCommit>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    squash_commit_sha: Option<String>,
    #[serde(default)]
    actioned_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
    #[serde(default)]
    system: Option<bool>,
}

#[derive(Deserialize)]
struct MergeRequestEvent {
    user: User,
    project: Project,
    object_attributes: Attributes,
    #[serde(default)]
    reviewers: Vec<User>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    timestamp: String,
    author: Person,
}

#[derive(Deserialize)]
struct PushEvent {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    project: Project,
    #[serde(default)]
    commits: Vec<Commit>,
    #[serde(default)]
    total_commits_count: u64,
}

/// Reads a delivery; `sent_at`: when it was sent, where its signature covers that.
///
/// # Errors
/// It has not the shape that GitLab documents; says where.
pub fn read(
    hook: &HookConfig,
    body: &[u8],
    sent_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Heard, serde_json::Error> {
    let kind: Kind = serde_json::from_slice(body)?;
    match kind.object_kind.as_str() {
        "merge_request" => Ok(merge_request(
            hook,
            &serde_json::from_slice(body)?,
            sent_at.unwrap_or(now),
        )),
        "push" => Ok(push(hook, &serde_json::from_slice(body)?, now)),
        "pipeline" | "build" | "deployment" => Ok(Heard::ignored(format!(
            "'{}' is no evidence: what a pipeline did is recorded by the run itself",
            kind.object_kind
        ))),
        other => Ok(Heard::ignored(format!(
            "events of kind '{}' are no evidence",
            plain(other, 60)
        ))),
    }
}

/// GitLab's instants: RFC 3339, or `2026-11-22 10:00:00 UTC`.
#[must_use]
pub fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let day = text.strip_suffix(" UTC")?;
    format!("{}Z", day.replacen(' ', "T", 1)).parse().ok()
}

/// Accounts that GitLab makes for access tokens of projects and groups.
#[must_use]
pub fn is_bot(username: &str) -> bool {
    let Some(rest) = username
        .strip_prefix("project_")
        .or_else(|| username.strip_prefix("group_"))
    else {
        return false;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && rest[digits..].starts_with("_bot")
}

fn merge_request(hook: &HookConfig, event: &MergeRequestEvent, sent_at: Timestamp) -> Heard {
    let request = &event.object_attributes;
    let Some((url, services)) = hook.repository(&event.project.path_with_namespace) else {
        return Heard::ignored("the settings of this webhook name no service for this repository");
    };
    if !hook.counts(
        &request.target_branch,
        event.project.default_branch.as_deref(),
    ) {
        return Heard::ignored(
            "it goes into a branch that the settings of this webhook do not name",
        );
    }
    let Some(head) = request
        .last_commit
        .as_ref()
        .filter(|commit| is_object_id(&commit.id))
    else {
        return Heard::ignored("it names no head commit");
    };
    let action = request.action.as_deref().unwrap_or_default();
    // Where GitLab does not say when something was done, it was done when this was sent: `updated_at` of an
    // approval may be older than the approval.
    let told = request.actioned_at.as_deref().and_then(instant);
    let at = told.unwrap_or(sent_at);
    let mut change = Change {
        services: services.to_vec(),
        repository: url,
        at,
        head: head.id.clone(),
        base: None,
        count: 0,
        tree: None,
        name: Some(format!("!{}", request.iid)),
        tickets: tickets(&[
            request.title.as_deref().unwrap_or_default(),
            &request.source_branch,
        ]),
        authors: head
            .author
            .iter()
            .filter_map(|author| author.email.clone())
            .filter(|mail| mail.contains('@'))
            .map(Account::Mail)
            .collect(),
        merge: None,
        reviews: Vec::new(),
    };
    let by = Account::Login(event.user.username.clone());
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    wanted.extend(
        event
            .reviewers
            .iter()
            .filter(|user| user.state.as_deref() == Some("requested_changes"))
            .map(|user| user.username.as_str())
            .filter(|name| !is_bot(name)),
    );
    match action {
        "approved" | "approval" | "unapproved" | "unapproval" => {
            if request.system == Some(true) {
                return Heard::ignored(
                    "GitLab itself took approvals back because of a new head; they never counted for that",
                );
            }
            if is_bot(&event.user.username) {
                return Heard::ignored("a machine does not review");
            }
            change.reviews.push(Reviewed {
                reviewer: by,
                verdict: if action.starts_with("un") {
                    ReviewVerdict::Dismissed
                } else {
                    ReviewVerdict::Approved
                },
                at,
            });
        }
        "merge" => {
            let commit = [&request.merge_commit_sha, &request.squash_commit_sha];
            let commit = commit.into_iter().flatten().find(|id| is_object_id(id));
            change.merge = Some(Merge {
                // Fast-forward: the head itself is on the branch.
                commit: commit.unwrap_or(&head.id).clone(),
                tree: None,
                by: Some(by),
            });
            if let Some(updated) = request.updated_at.as_deref().and_then(instant) {
                change.at = told.unwrap_or(updated);
            }
        }
        "open" => change.authors.push(by),
        "reopen" => {}
        "update" if request.oldrev.is_some() => change.authors.push(by),
        "update" if !wanted.is_empty() => {}
        "update" => return Heard::ignored("it changes neither commits nor reviews"),
        "close" => return Heard::ignored("it was closed without being merged"),
        other => {
            return Heard::ignored(format!(
                "'{}' changes neither commits nor reviews",
                plain(other, 40)
            ));
        }
    }
    change
        .reviews
        .extend(wanted.into_iter().map(|name| Reviewed {
            reviewer: Account::Login(name.to_owned()),
            verdict: ReviewVerdict::ChangesRequested,
            at,
        }));
    Heard::one(Event::Change(Box::new(change)))
}

fn push(hook: &HookConfig, event: &PushEvent, now: Timestamp) -> Heard {
    let Some((url, services)) = hook.repository(&event.project.path_with_namespace) else {
        return Heard::ignored("the settings of this webhook name no service for this repository");
    };
    let Some(branch) = event.name.strip_prefix("refs/heads/") else {
        return Heard::ignored("a tag is no change");
    };
    if !hook.counts(branch, event.project.default_branch.as_deref()) {
        return Heard::ignored("it went to a branch that the settings of this webhook do not name");
    }
    if is_no_object(&event.after) {
        return Heard::ignored("the branch was deleted");
    }
    if !is_object_id(&event.after) {
        return Heard::ignored("it names no head commit");
    }
    let mails: BTreeSet<String> = event
        .commits
        .iter()
        .filter_map(|commit| commit.author.email.clone())
        .filter(|mail| mail.contains('@'))
        .collect();
    let head = event.commits.iter().find(|commit| commit.id == event.after);
    Heard::one(Event::Change(Box::new(Change {
        services: services.to_vec(),
        repository: url,
        at: head
            .and_then(|head| instant(&head.timestamp))
            .unwrap_or(now),
        head: event.after.clone(),
        base: Some(event.before.clone()).filter(|base| is_object_id(base)),
        count: event.total_commits_count,
        tree: None,
        name: None,
        tickets: Vec::new(),
        authors: mails.into_iter().map(Account::Mail).collect(),
        merge: None,
        reviews: Vec::new(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_in_both_forms() {
        let plain = instant("2026-11-22 10:00:00 UTC").unwrap();
        assert_eq!(instant("2026-11-22T10:00:00Z"), Some(plain));
        assert_eq!(instant("2026-11-22T11:00:00+01:00"), Some(plain));
        for bad in ["", "yesterday", "2026-11-22 UTC", "2026-11-22 10:00:00"] {
            assert_eq!(instant(bad), None, "{bad}");
        }
    }

    #[test]
    fn machines_by_their_names() {
        for name in ["project_12_bot_0a1b", "group_7_bot", "project_1_bot1"] {
            assert!(is_bot(name), "{name}");
        }
        for name in ["alice", "project_bot", "project_x_bot", "group_7"] {
            assert!(!is_bot(name), "{name}");
        }
    }
}
