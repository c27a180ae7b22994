//! Deliveries of GitHub, by the header `X-GitHub-Event`.
//!
//! Shapes: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use writ_connect::github::{Bypass, Ruleset};
use writ_evidence::predicate::ReviewVerdict;
use writ_model::Timestamp;

use super::config::HookConfig;
use super::event::{
    Account, Change, Event, Guard, Heard, Merge, Protection, Reviewed, fits, is_no_object,
    is_object_id, tickets,
};

/// The account that commits what is merged on GitHub's pages: nobody wrote anything under it.
pub const WEB: &str = "web-flow";

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    #[serde(default)]
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl User {
    fn is_bot(&self) -> bool {
        is_bot(&self.login, self.kind.as_deref())
    }

    fn account(&self) -> Account {
        Account::Login(self.login.clone())
    }
}

#[derive(Deserialize)]
struct Side {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    user: Option<User>,
    head: Side,
    base: Side,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    merged_at: Option<Timestamp>,
    #[serde(default)]
    merged_by: Option<User>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    commits: Option<u64>,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct PullRequestEvent {
    action: String,
    pull_request: PullRequest,
    repository: Repository,
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    user: Option<User>,
    commit_id: String,
    submitted_at: Timestamp,
    state: String,
}

#[derive(Deserialize)]
struct ReviewEvent {
    action: String,
    review: Review,
    pull_request: PullRequest,
    repository: Repository,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    username: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    #[serde(default)]
    tree_id: Option<String>,
    timestamp: Timestamp,
    author: Signature,
    #[serde(default)]
    committer: Option<Signature>,
}

#[derive(Deserialize)]
struct PushEvent {
    #[serde(rename = "ref")]
    name: String,
    before: String,
    after: String,
    #[serde(default)]
    commits: Vec<Commit>,
    #[serde(default)]
    head_commit: Option<Commit>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    #[serde(default)]
    updated_at: Option<Timestamp>,
    #[serde(default)]
    pull_request_reviews_enforcement_level: Option<String>,
    #[serde(default)]
    required_approving_review_count: u64,
    #[serde(default)]
    allow_force_pushes_enforcement_level: Option<String>,
}

#[derive(Deserialize)]
struct RuleEvent {
    action: String,
    rule: Rule,
    repository: Repository,
}

#[derive(Deserialize)]
struct RulesetEvent {
    action: String,
    repository_ruleset: Ruleset,
    repository: Repository,
}

/// Whether a ruleset binds this branch.
#[must_use]
pub fn binds(ruleset: &Ruleset, branch: &str, default: Option<&str>) -> bool {
    if ruleset
        .target
        .as_deref()
        .is_some_and(|target| target != "branch")
    {
        return false;
    }
    let Some(names) = ruleset
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ref_name.as_ref())
    else {
        return true;
    };
    let among = |patterns: &[String]| {
        patterns.iter().any(|pattern| match pattern.as_str() {
            "~ALL" => true,
            "~DEFAULT_BRANCH" => default == Some(branch),
            pattern => pattern
                .strip_prefix("refs/heads/")
                .is_some_and(|pattern| fits(pattern, branch)),
        })
    };
    among(&names.include) && !among(&names.exclude)
}

/// What a ruleset demands.
#[must_use]
pub fn guard(ruleset: &Ruleset, at: Timestamp) -> Guard {
    let rule = |kind: &str| ruleset.rules.iter().find(|rule| rule.kind == kind);
    let reviews = rule("pull_request")
        .and_then(|rule| rule.parameters.as_ref())
        .map_or(0, |parameters| parameters.required_approving_review_count);
    // Roles, teams and apps by number; a person only ever as such a number too.
    let bypass = ruleset.bypass_actors.as_ref().map(|actors| {
        let actor = |actor: &Bypass| {
            let kind = super::event::plain(&actor.actor_type, 40);
            match actor.actor_id {
                Some(id) => format!("{kind} {id}"),
                None => kind,
            }
        };
        actors.iter().take(500).map(actor).collect()
    });
    Guard {
        active: ruleset.enforcement == "active",
        reviews,
        force_push: rule("non_fast_forward").is_none(),
        bypass,
        at,
    }
}

/// Whether an account is a machine's.
#[must_use]
pub fn is_bot(login: &str, kind: Option<&str>) -> bool {
    kind == Some("Bot") || login.ends_with("[bot]")
}

/// Reads a delivery.
///
/// # Errors
/// It has not the shape that GitHub documents; says where.
pub fn read(
    hook: &HookConfig,
    event: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Heard, serde_json::Error> {
    match event {
        "pull_request" => Ok(pull_request(hook, &serde_json::from_slice(body)?)),
        "pull_request_review" => Ok(review(hook, &serde_json::from_slice(body)?)),
        "push" => Ok(push(hook, &serde_json::from_slice(body)?)),
        "branch_protection_rule" => Ok(rule(hook, &serde_json::from_slice(body)?, now)),
        "repository_ruleset" => Ok(ruleset(hook, &serde_json::from_slice(body)?, now)),
        "ping" => Ok(Heard::ignored("a ping: the webhook is set up rightly")),
        "workflow_run" | "workflow_job" | "check_run" | "check_suite" | "status" | "deployment"
        | "deployment_status" => Ok(Heard::ignored(format!(
            "'{event}' is no evidence: what a pipeline did is recorded by the run itself"
        ))),
        "branch_protection_configuration" => Ok(Heard::ignored(
            "it does not say which branches; the collector reads them",
        )),
        other => Ok(Heard::ignored(format!(
            "events of kind '{}' are no evidence",
            super::event::plain(other, 60)
        ))),
    }
}

/// The repository's services, or why there are none.
fn known<'a>(
    hook: &'a HookConfig,
    repository: &Repository,
) -> Result<(String, &'a [String]), Heard> {
    hook.repository(&repository.full_name).ok_or_else(|| {
        Heard::ignored("the settings of this webhook name no service for this repository")
    })
}

fn begun(
    hook: &HookConfig,
    request: &PullRequest,
    repository: &Repository,
) -> Result<Change, Heard> {
    let (url, services) = known(hook, repository)?;
    if !hook.counts(&request.base.name, repository.default_branch.as_deref()) {
        return Err(Heard::ignored(
            "it goes into a branch that the settings of this webhook do not name",
        ));
    }
    if !is_object_id(&request.head.sha) {
        return Err(Heard::ignored("it names no head commit"));
    }
    let title = request.title.as_deref().unwrap_or_default();
    Ok(Change {
        services: services.to_vec(),
        repository: url,
        at: request.updated_at,
        head: request.head.sha.clone(),
        base: Some(request.base.sha.clone()).filter(|base| is_object_id(base)),
        count: request.commits.unwrap_or(0),
        tree: None,
        name: Some(format!("#{}", request.number)),
        tickets: tickets(&[title, &request.head.name]),
        authors: request.user.iter().map(User::account).collect(),
        merge: None,
        reviews: Vec::new(),
    })
}

fn pull_request(hook: &HookConfig, event: &PullRequestEvent) -> Heard {
    let request = &event.pull_request;
    let merged = event.action == "closed" && request.merged == Some(true);
    if !merged && !matches!(event.action.as_str(), "opened" | "reopened" | "synchronize") {
        return Heard::ignored(match event.action.as_str() {
            "closed" => "it was closed without being merged".to_owned(),
            other => format!(
                "'{}' changes neither commits nor reviews",
                super::event::plain(other, 40)
            ),
        });
    }
    let mut change = match begun(hook, request, &event.repository) {
        Ok(change) => change,
        Err(heard) => return heard,
    };
    if merged {
        change.at = request.merged_at.unwrap_or(request.updated_at);
        let commit = request.merge_commit_sha.clone();
        change.merge = commit.filter(|id| is_object_id(id)).map(|commit| Merge {
            commit,
            tree: None,
            by: request.merged_by.as_ref().map(User::account),
        });
    }
    Heard::one(Event::Change(Box::new(change)))
}

fn review(hook: &HookConfig, event: &ReviewEvent) -> Heard {
    let review = &event.review;
    let verdict = match (
        event.action.as_str(),
        review.state.to_ascii_lowercase().as_str(),
    ) {
        ("dismissed", _) | ("submitted", "dismissed") => ReviewVerdict::Dismissed,
        ("submitted", "approved") => ReviewVerdict::Approved,
        ("submitted", "changes_requested") => ReviewVerdict::ChangesRequested,
        ("submitted", "commented") => {
            return Heard::ignored("a comment is neither a yes nor a no");
        }
        _ => return Heard::ignored("the text of a review was edited, not its answer"),
    };
    let Some(user) = &review.user else {
        return Heard::ignored("the account of the reviewer is gone");
    };
    if user.is_bot() {
        return Heard::ignored("a machine does not review");
    }
    let mut change = match begun(hook, &event.pull_request, &event.repository) {
        Ok(change) => change,
        Err(heard) => return heard,
    };
    if !is_object_id(&review.commit_id) {
        return Heard::ignored("the review names no commit");
    }
    // The commit that was looked at, which need not be the head any more.
    if change.head != review.commit_id {
        change.head.clone_from(&review.commit_id);
        change.count = 0;
    }
    change.at = review.submitted_at;
    change.reviews.push(Reviewed {
        reviewer: user.account(),
        verdict,
        // A dismissal carries the time of what it takes back: so it wins, whichever comes first.
        at: review.submitted_at,
    });
    Heard::one(Event::Change(Box::new(change)))
}

fn push(hook: &HookConfig, event: &PushEvent) -> Heard {
    let (url, services) = match known(hook, &event.repository) {
        Ok(known) => known,
        Err(heard) => return heard,
    };
    let Some(branch) = event.name.strip_prefix("refs/heads/") else {
        return Heard::ignored("a tag is no change");
    };
    if !hook.counts(branch, event.repository.default_branch.as_deref()) {
        return Heard::ignored("it went to a branch that the settings of this webhook do not name");
    }
    if is_no_object(&event.after) {
        return Heard::ignored("the branch was deleted");
    }
    let (Some(head), true) = (&event.head_commit, is_object_id(&event.after)) else {
        return Heard::ignored("it names no head commit");
    };
    let mut authors = BTreeSet::new();
    for commit in event.commits.iter().chain([head]) {
        for by in [Some(&commit.author), commit.committer.as_ref()]
            .into_iter()
            .flatten()
        {
            if by.username.as_deref() == Some(WEB) {
                continue;
            }
            let login = by.username.clone().filter(|name| !name.is_empty());
            let mail = by.email.clone().filter(|mail| !mail.is_empty());
            authors.extend(login.map(Account::Login).or(mail.map(Account::Mail)));
        }
    }
    Heard::one(Event::Change(Box::new(Change {
        services: services.to_vec(),
        repository: url,
        at: head.timestamp,
        head: event.after.clone(),
        base: Some(event.before.clone()).filter(|base| is_object_id(base)),
        count: event.commits.len() as u64,
        tree: (head.id == event.after)
            .then(|| head.tree_id.clone())
            .flatten()
            .filter(|tree| is_object_id(tree)),
        name: None,
        tickets: Vec::new(),
        authors: authors.into_iter().collect(),
        merge: None,
        reviews: Vec::new(),
    })))
}

/// The branches of the settings, or the default one.
fn branches<'a>(hook: &'a HookConfig, repository: &'a Repository) -> Vec<&'a str> {
    if hook.branches.is_empty() {
        repository.default_branch.as_deref().into_iter().collect()
    } else {
        hook.branches.iter().map(String::as_str).collect()
    }
}

fn rule(hook: &HookConfig, event: &RuleEvent, now: Timestamp) -> Heard {
    let (url, services) = match known(hook, &event.repository) {
        Ok(known) => known,
        Err(heard) => return heard,
    };
    let rule = &event.rule;
    let off = |level: &Option<String>| level.as_deref().is_none_or(|level| level == "off");
    let at = rule
        .updated_at
        .filter(|_| event.action != "deleted")
        .unwrap_or(now);
    let guard = Guard {
        active: event.action != "deleted",
        reviews: if off(&rule.pull_request_reviews_enforcement_level) {
            0
        } else {
            rule.required_approving_review_count
        },
        force_push: !off(&rule.allow_force_pushes_enforcement_level),
        // The delivery does not carry who may bypass it.
        bypass: None,
        at,
    };
    protections(
        branches(hook, &event.repository)
            .into_iter()
            .map(|branch| (branch, fits(&rule.name, branch))),
        &url,
        services,
        at,
        &format!("rule:{}", rule.name),
        &guard,
    )
}

fn ruleset(hook: &HookConfig, event: &RulesetEvent, now: Timestamp) -> Heard {
    let (url, services) = match known(hook, &event.repository) {
        Ok(known) => known,
        Err(heard) => return heard,
    };
    let ruleset = &event.repository_ruleset;
    let deleted = event.action == "deleted";
    let at = ruleset.updated_at.filter(|_| !deleted).unwrap_or(now);
    let guard = Guard {
        active: !deleted && ruleset.enforcement == "active",
        ..guard(ruleset, at)
    };
    let default = event.repository.default_branch.as_deref();
    protections(
        branches(hook, &event.repository)
            .into_iter()
            .map(|branch| (branch, binds(ruleset, branch, default))),
        &url,
        services,
        at,
        &format!("ruleset:{}", ruleset.id),
        &guard,
    )
}

/// A rule that does not bind a branch is one that is not in force there: it may have been so before.
fn protections<'a>(
    branches: impl Iterator<Item = (&'a str, bool)>,
    url: &str,
    services: &[String],
    at: Timestamp,
    key: &str,
    guard: &Guard,
) -> Heard {
    let events: Vec<Event> = branches
        .map(|(branch, binds)| {
            let guard = Guard {
                active: guard.active && binds,
                ..guard.clone()
            };
            Event::Protection(Protection {
                services: services.to_vec(),
                repository: url.to_owned(),
                branch: branch.to_owned(),
                at,
                rules: BTreeMap::from([(super::event::plain(key, 120), guard)]),
                whole: false,
            })
        })
        .collect();
    if events.is_empty() {
        return Heard::ignored(
            "the settings of this webhook name no branch, and it names no default one",
        );
    }
    Heard::Events(events)
}
