//! A GitLab project.

use std::collections::{BTreeMap, BTreeSet};

use writ_connect::gitlab::{AccessLevel, GitLab, MergeRequest, ProtectedBranch};
use writ_evidence::predicate::ReviewVerdict;

use super::{CollectError, Collected, MOST, Repository, co_authors};
use crate::hooks::event::{
    Account, Change, Guard, Merge, Protection, Reviewed, fits, is_object_id, tickets,
};
use crate::hooks::gitlab::is_bot;

/// Reads the protection of its branches and its merged changes.
pub(super) async fn read(
    about: &Repository<'_>,
    client: &GitLab,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    let project = client.project(about.path).await?;
    let resets = client
        .approval_settings(project.id)
        .await?
        .reset_approvals_on_push;
    for branch in about.branches(project.default_branch.as_deref()) {
        protection(about, client, project.id, branch, sum).await?;
        let (merged, more) = client
            .merged(project.id, branch, about.since(), MOST)
            .await?;
        if more {
            tracing::warn!(
                repository = about.url,
                branch,
                "more changes than are read at once"
            );
        }
        for request in merged {
            change(about, client, project.id, &request, resets, sum).await?;
        }
    }
    Ok(())
}

async fn protection(
    about: &Repository<'_>,
    client: &GitLab,
    project: u64,
    branch: &str,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    let at = about.now();
    let protected = client.protected_branches(project).await?;
    let rules = client.approval_rules(project).await?;
    let reviews = rules
        .iter()
        .filter(|rule| {
            let names = &rule.protected_branches;
            names.is_empty() || names.iter().any(|name| fits(&name.name, branch))
        })
        .map(|rule| rule.approvals_required)
        .max()
        .unwrap_or(0);
    let binding: Vec<&ProtectedBranch> = protected
        .iter()
        .filter(|rule| rule.name == branch || fits(&rule.name, branch))
        .collect();
    let mut found = BTreeMap::new();
    if !binding.is_empty() {
        // Of several patterns GitLab lets through what one of them lets through.
        let lists = binding.iter().map(|rule| rule.push_access_levels.as_ref());
        let bypass = lists.collect::<Option<Vec<_>>>().map(|lists| {
            let levels = lists.into_iter().flatten();
            levels.filter_map(may_push).collect::<BTreeSet<_>>()
        });
        found.insert(
            "protected-branch".to_owned(),
            Guard {
                active: true,
                reviews,
                force_push: binding.iter().any(|rule| rule.allow_force_push),
                bypass,
                at,
            },
        );
    }
    let event = Protection {
        services: about.services.to_vec(),
        repository: about.url.clone(),
        branch: branch.to_owned(),
        at,
        rules: found,
        whole: true,
    };
    about.protection(&event, sum).await
}

/// Who may push without a merge request; accounts and groups by number.
fn may_push(level: &AccessLevel) -> Option<String> {
    match (level.user_id, level.group_id, level.deploy_key_id) {
        (Some(id), _, _) => Some(format!("User {id}")),
        (_, Some(id), _) => Some(format!("Group {id}")),
        (_, _, Some(id)) => Some(format!("DeployKey {id}")),
        _ => match level.access_level? {
            0 => None,
            level => Some(format!("Role {level}")),
        },
    }
}

async fn change(
    about: &Repository<'_>,
    client: &GitLab,
    project: u64,
    row: &MergeRequest,
    resets: bool,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    let key = format!("{}!{}", about.url, row.iid);
    let state = format!(
        "{} {}",
        row.updated_at,
        row.sha.as_deref().unwrap_or_default()
    );
    if about.app.collectors.knows(&key, &state) {
        return Ok(());
    }
    let request = client.merge_request(project, row.iid).await?;
    let ends = request.diff_refs.as_ref();
    let head = request
        .sha
        .clone()
        .or_else(|| ends.and_then(|ends| ends.head_sha.clone()))
        .filter(|id| is_object_id(id));
    let Some(head) = head else {
        tracing::warn!(change = key, "it names no head commit");
        return Ok(());
    };
    let commits = client.commits(project, row.iid).await?;
    let versions = client.versions(project, row.iid).await?;
    let approvals = client.approvals(project, row.iid).await?;
    let mut authors: BTreeSet<Account> = BTreeSet::new();
    if let Some(author) = &request.author {
        authors.insert(Account::Login(author.username.clone()));
    }
    for commit in &commits {
        let mails = [&commit.author_email, &commit.committer_email];
        let mails = mails
            .into_iter()
            .flatten()
            .filter(|mail| mail.contains('@'));
        authors.extend(mails.cloned().map(Account::Mail));
        authors.extend(co_authors(&commit.message));
    }
    // An approval does not name the head that was looked at: it is this one's when it came after the head, or
    // when a new head takes approvals back.
    let head_came = versions
        .iter()
        .filter(|version| version.head_commit_sha == head)
        .map(|version| version.created_at)
        .min();
    let mut reviews = Vec::new();
    for approval in &approvals.approved_by {
        if is_bot(&approval.user.username) {
            continue;
        }
        let at = match (approval.approved_at, request.merged_at) {
            (Some(at), _) => at,
            // Given at the latest when it was merged.
            (None, Some(merged)) if resets => merged,
            _ => {
                tracing::warn!(change = key, "an approval without its time is not counted");
                continue;
            }
        };
        if !resets && head_came.is_none_or(|came| at < came) {
            tracing::warn!(
                change = key,
                "an approval of an earlier head is not counted"
            );
            continue;
        }
        reviews.push(Reviewed {
            reviewer: Account::Login(approval.user.username.clone()),
            verdict: ReviewVerdict::Approved,
            at,
        });
    }
    let on_branch = [&request.merge_commit_sha, &request.squash_commit_sha];
    let on_branch = on_branch.into_iter().flatten().find(|id| is_object_id(id));
    let new = Change {
        services: about.services.to_vec(),
        repository: about.url.clone(),
        at: request.merged_at.unwrap_or(request.updated_at),
        head: head.clone(),
        base: ends
            .and_then(|ends| ends.base_sha.clone())
            .filter(|base| is_object_id(base)),
        count: commits.len() as u64,
        tree: None,
        name: Some(format!("!{}", request.iid)),
        tickets: tickets(&[
            request.title.as_deref().unwrap_or_default(),
            &request.source_branch,
        ]),
        authors: authors.into_iter().collect(),
        merge: Some(Merge {
            commit: on_branch.unwrap_or(&head).clone(),
            tree: None,
            by: request
                .merge_user
                .as_ref()
                .map(|user| Account::Login(user.username.clone())),
        }),
        reviews,
    };
    about.change(&new, key, state, sum).await
}
