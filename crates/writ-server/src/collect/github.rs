//! A GitHub repository.

use std::collections::{BTreeMap, BTreeSet};

use writ_connect::githost::GitHostError;
use writ_connect::github::{
    Commit, GitHub, MAX_COMMITS, Protection as Classic, PullRequest, Review, User,
};
use writ_evidence::predicate::ReviewVerdict;
use writ_model::Timestamp;

use super::{CollectError, Collected, MOST, Repository, co_authors};
use crate::hooks::event::{
    Account, Change, Guard, Merge, Protection, Reviewed, is_object_id, tickets,
};
use crate::hooks::github::{WEB, binds, guard, is_bot};

/// Reads the protection of its branches and its merged changes.
pub(super) async fn read(
    about: &Repository<'_>,
    client: &GitHub,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    let repository = client.repository(about.path).await?;
    let default = Some(repository.default_branch.as_str());
    for branch in about.branches(default) {
        protection(about, client, branch, default, sum).await?;
        let (merged, more) = client
            .merged(about.path, branch, about.since(), MOST)
            .await?;
        if more {
            tracing::warn!(
                repository = about.url,
                branch,
                "more changes than are read at once"
            );
        }
        for request in merged {
            change(about, client, &request, sum).await?;
        }
    }
    Ok(())
}

async fn protection(
    about: &Repository<'_>,
    client: &GitHub,
    branch: &str,
    default: Option<&str>,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    // The time before the questions: what is told meanwhile is newer.
    let at = about.now();
    let mut rules = BTreeMap::new();
    for ruleset in client.rulesets(about.path).await? {
        if binds(&ruleset, branch, default) {
            let changed = ruleset.updated_at.unwrap_or(at);
            rules.insert(format!("ruleset:{}", ruleset.id), guard(&ruleset, changed));
        }
    }
    let key = format!("rule:{branch}");
    match client.protection(about.path, branch).await {
        Ok(None) => {}
        Ok(Some(classic)) => {
            rules.insert(key, of_classic(about, &classic, at)?);
        }
        // A token without the right to read it: where rulesets bind the branch, they are what is known.
        Err(GitHostError::Refused {
            status: 403 | 404, ..
        }) if !rules.is_empty() => {
            tracing::warn!(
                repository = about.url,
                branch,
                "the token may not read classic branch protection"
            );
        }
        Err(error) => return Err(error.into()),
    }
    let event = Protection {
        services: about.services.to_vec(),
        repository: about.url.clone(),
        branch: branch.to_owned(),
        at,
        rules,
        whole: true,
    };
    about.protection(&event, sum).await
}

fn of_classic(
    about: &Repository<'_>,
    classic: &Classic,
    at: Timestamp,
) -> Result<Guard, CollectError> {
    let reviews = classic.required_pull_request_reviews.as_ref();
    let mut bypass = BTreeSet::new();
    if classic.enforce_admins.as_ref().is_none_or(|on| !on.enabled) {
        bypass.insert("administrators".to_owned());
    }
    if let Some(allowed) =
        reviews.and_then(|reviews| reviews.bypass_pull_request_allowances.as_ref())
    {
        for user in &allowed.users {
            bypass.insert(about.person(&user.login)?);
        }
        let slug =
            |kind: &str, slug: &str| format!("{kind} {}", crate::hooks::event::plain(slug, 80));
        bypass.extend(allowed.teams.iter().map(|team| slug("Team", &team.slug)));
        bypass.extend(
            allowed
                .apps
                .iter()
                .map(|app| slug("Integration", &app.slug)),
        );
    }
    Ok(Guard {
        active: true,
        reviews: reviews.map_or(0, |reviews| reviews.required_approving_review_count),
        force_push: classic
            .allow_force_pushes
            .as_ref()
            .is_some_and(|on| on.enabled),
        bypass: Some(bypass),
        at,
    })
}

async fn change(
    about: &Repository<'_>,
    client: &GitHub,
    row: &PullRequest,
    sum: &mut Collected,
) -> Result<(), CollectError> {
    let key = format!("{}#{}", about.url, row.number);
    let state = format!("{} {}", row.updated_at, row.head.sha);
    if about.app.collectors.knows(&key, &state) || !is_object_id(&row.head.sha) {
        return Ok(());
    }
    let request = client.pull_request(about.path, row.number).await?;
    let commits = client.commits(about.path, row.number).await?;
    let reviews = client.reviews(about.path, row.number).await?;
    let merge = request
        .merge_commit_sha
        .clone()
        .filter(|id| is_object_id(id));
    let tree = match &merge {
        Some(commit) => Some(client.tree(about.path, commit).await?),
        None => None,
    };
    let count = request.commits.unwrap_or(commits.len() as u64);
    if commits.len() >= MAX_COMMITS && count > commits.len() as u64 {
        tracing::warn!(
            change = key,
            count,
            "GitHub lists {MAX_COMMITS} commits of a change; the authors of the others are not known"
        );
    }
    let account = |user: &User| Account::Login(user.login.clone());
    let mut authors: BTreeSet<Account> = request.user.iter().map(account).collect();
    for commit in &commits {
        authors.extend(people(commit));
    }
    let head = &request.head.sha;
    let base = &request.base.sha;
    let new = Change {
        services: about.services.to_vec(),
        repository: about.url.clone(),
        at: request.merged_at.unwrap_or(request.updated_at),
        head: head.clone(),
        base: Some(base.clone()).filter(|base| is_object_id(base)),
        count,
        tree: commits
            .iter()
            .find(|commit| commit.sha == *head)
            .map(|commit| commit.commit.tree.sha.clone())
            .filter(|tree| is_object_id(tree)),
        name: Some(format!("#{}", request.number)),
        tickets: tickets(&[
            request.title.as_deref().unwrap_or_default(),
            &request.head.name,
        ]),
        authors: authors.into_iter().collect(),
        merge: merge.map(|commit| Merge {
            commit,
            tree: tree.filter(|tree| is_object_id(tree)),
            by: request.merged_by.as_ref().map(account),
        }),
        reviews: reviews
            .iter()
            .filter_map(|one| of_head(one, head))
            .collect(),
    };
    about.change(&new, key, state, sum).await
}

/// Who had a part in a commit.
fn people(commit: &Commit) -> Vec<Account> {
    let mut found = Vec::new();
    let git = &commit.commit;
    for (account, signature) in [
        (&commit.author, &git.author),
        (&commit.committer, &git.committer),
    ] {
        match (account, signature.as_ref().and_then(|by| by.email.clone())) {
            (Some(user), _) if user.login == WEB => {}
            (Some(user), _) => found.push(Account::Login(user.login.clone())),
            (None, Some(mail)) if mail.contains('@') && mail != "noreply@github.com" => {
                found.push(Account::Mail(mail));
            }
            _ => {}
        }
    }
    found.extend(co_authors(&git.message));
    found
}

/// A review of this head by a person.
fn of_head(review: &Review, head: &str) -> Option<Reviewed> {
    let verdict = match review.state.to_ascii_uppercase().as_str() {
        "APPROVED" => ReviewVerdict::Approved,
        "CHANGES_REQUESTED" => ReviewVerdict::ChangesRequested,
        "DISMISSED" => ReviewVerdict::Dismissed,
        _ => return None,
    };
    let user = review.user.as_ref()?;
    let seen = review.commit_id.as_deref() == Some(head);
    (seen && !is_bot(&user.login, user.kind.as_deref())).then_some(Reviewed {
        reviewer: Account::Login(user.login.clone()),
        verdict,
        at: review.submitted_at?,
    })
}
