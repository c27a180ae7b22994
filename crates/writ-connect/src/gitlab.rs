//! What a GitLab project says of its changes and of how its branches are protected.
//!
//! Only what evidence needs, after <https://docs.gitlab.com/api/rest/>. Every list is read to a bounded number
//! of pages; addresses of pages are made here and never taken from an answer.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use writ_model::Timestamp;

use crate::githost::{GitHostError, Reader};
use crate::http::encoded;
use crate::{ClientOptions, HttpError, Secret};

/// Rows of a page.
const PAGE: usize = 100;

/// A project.
#[derive(Debug, Clone, Deserialize)]
pub struct Project {
    /// Its number.
    pub id: u64,
    /// Its default branch.
    #[serde(default)]
    pub default_branch: Option<String>,
}

/// An account.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Its name.
    pub username: String,
}

/// A merge request.
#[derive(Debug, Clone, Deserialize)]
pub struct MergeRequest {
    /// Its number within the project.
    pub iid: u64,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// Where its commits come from.
    #[serde(default)]
    pub source_branch: String,
    /// Who opened it.
    #[serde(default)]
    pub author: Option<User>,
    /// Its head.
    #[serde(default)]
    pub sha: Option<String>,
    /// The merge commit.
    #[serde(default)]
    pub merge_commit_sha: Option<String>,
    /// The squashed commit.
    #[serde(default)]
    pub squash_commit_sha: Option<String>,
    /// When it was merged.
    #[serde(default)]
    pub merged_at: Option<Timestamp>,
    /// Who merged it.
    #[serde(default)]
    pub merge_user: Option<User>,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Its ends; only where one is asked for alone.
    #[serde(default)]
    pub diff_refs: Option<DiffRefs>,
}

/// The ends of a merge request.
#[derive(Debug, Clone, Deserialize)]
pub struct DiffRefs {
    /// The commit before the first.
    #[serde(default)]
    pub base_sha: Option<String>,
    /// The last commit.
    #[serde(default)]
    pub head_sha: Option<String>,
}

/// A commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Who wrote it.
    #[serde(default)]
    pub author_email: Option<String>,
    /// Who committed it.
    #[serde(default)]
    pub committer_email: Option<String>,
    /// Its message, for co-authors.
    #[serde(default)]
    pub message: String,
}

/// A state of a merge request's commits.
#[derive(Debug, Clone, Deserialize)]
pub struct Version {
    /// Its head.
    pub head_commit_sha: String,
    /// When it came.
    pub created_at: Timestamp,
}

/// Who approves a merge request now.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Approvals {
    /// Each approval.
    #[serde(default)]
    pub approved_by: Vec<ApprovedBy>,
}

/// One approval.
#[derive(Debug, Clone, Deserialize)]
pub struct ApprovedBy {
    /// Who.
    pub user: User,
    /// When; newer servers say it.
    #[serde(default)]
    pub approved_at: Option<Timestamp>,
}

/// How a project counts approvals.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ApprovalSettings {
    /// Whether a new head takes them all back.
    #[serde(default)]
    pub reset_approvals_on_push: bool,
}

/// A rule about approvals.
#[derive(Debug, Clone, Deserialize)]
pub struct ApprovalRule {
    /// How many it demands.
    #[serde(default)]
    pub approvals_required: u64,
    /// Which branches it binds; all when there is none.
    #[serde(default)]
    pub protected_branches: Vec<BranchName>,
}

/// A branch.
#[derive(Debug, Clone, Deserialize)]
pub struct BranchName {
    /// Its name, or a pattern.
    pub name: String,
}

/// A protected branch.
#[derive(Debug, Clone, Deserialize)]
pub struct ProtectedBranch {
    /// Its name, or a pattern.
    pub name: String,
    /// Who may push without a merge request.
    #[serde(default)]
    pub push_access_levels: Option<Vec<AccessLevel>>,
    /// Whether history may be overwritten.
    #[serde(default)]
    pub allow_force_push: bool,
}

/// Who may.
#[derive(Debug, Clone, Deserialize)]
pub struct AccessLevel {
    /// Role; 0: nobody.
    #[serde(default)]
    pub access_level: Option<u64>,
    /// One account.
    #[serde(default)]
    pub user_id: Option<u64>,
    /// One group.
    #[serde(default)]
    pub group_id: Option<u64>,
    /// One key.
    #[serde(default)]
    pub deploy_key_id: Option<u64>,
}

/// A client of one GitLab.
#[derive(Debug, Clone)]
pub struct GitLab(Reader);

impl GitLab {
    /// A client of the interface at `api`, such as `https://gitlab.com/api/v4`; nothing is sent yet.
    ///
    /// # Errors
    /// The address may not be spoken to.
    pub fn new(api: &str, token: &Secret, options: ClientOptions) -> Result<Self, HttpError> {
        Ok(Self(Reader::new(
            api,
            options,
            Vec::new(),
            ("private-token", token.clone()),
        )?))
    }

    /// The project at a path such as `acme/payments`.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn project(&self, path: &str) -> Result<Project, GitHostError> {
        self.0.get(&format!("projects/{}", encoded(path))).await
    }

    /// Merge requests into a branch that were merged and changed since, the newest first, at most `most`;
    /// whether there are more.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn merged(
        &self,
        project: u64,
        branch: &str,
        since: Timestamp,
        most: usize,
    ) -> Result<(Vec<MergeRequest>, bool), GitHostError> {
        let path = format!(
            "projects/{project}/merge_requests?state=merged&order_by=updated_at&sort=desc&target_branch={}&updated_after={}",
            encoded(branch),
            encoded(&since.to_seconds_text())
        );
        let pages = most.div_ceil(PAGE);
        let mut all: Vec<MergeRequest> = self.list(&path, pages).await?;
        let more = all.len() >= pages * PAGE;
        all.truncate(most);
        Ok((all, more))
    }

    /// One merge request with its ends.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn merge_request(
        &self,
        project: u64,
        iid: u64,
    ) -> Result<MergeRequest, GitHostError> {
        self.of(project, iid, "").await
    }

    /// Its commits.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn commits(&self, project: u64, iid: u64) -> Result<Vec<Commit>, GitHostError> {
        let path = format!("projects/{project}/merge_requests/{iid}/commits");
        self.list(&path, 20).await
    }

    /// The states that its commits had, newest first.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn versions(&self, project: u64, iid: u64) -> Result<Vec<Version>, GitHostError> {
        self.of(project, iid, "/versions").await
    }

    /// Who approves it now.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn approvals(&self, project: u64, iid: u64) -> Result<Approvals, GitHostError> {
        self.of(project, iid, "/approvals").await
    }

    /// How the project counts approvals; the usual where it does not say.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn approval_settings(&self, project: u64) -> Result<ApprovalSettings, GitHostError> {
        optional(self.0.get(&format!("projects/{project}/approvals")).await)
    }

    /// The project's rules about approvals; none where its edition has none.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn approval_rules(&self, project: u64) -> Result<Vec<ApprovalRule>, GitHostError> {
        optional(
            self.list(&format!("projects/{project}/approval_rules"), 2)
                .await,
        )
    }

    /// All protected branches and patterns.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn protected_branches(
        &self,
        project: u64,
    ) -> Result<Vec<ProtectedBranch>, GitHostError> {
        self.list(&format!("projects/{project}/protected_branches"), 5)
            .await
    }

    async fn of<T: DeserializeOwned>(
        &self,
        project: u64,
        iid: u64,
        rest: &str,
    ) -> Result<T, GitHostError> {
        self.0
            .get(&format!("projects/{project}/merge_requests/{iid}{rest}"))
            .await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        pages: usize,
    ) -> Result<Vec<T>, GitHostError> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1..=pages {
            let rows: Vec<T> = self
                .0
                .get(&format!("{path}{mark}per_page={PAGE}&page={page}"))
                .await?;
            let last = rows.len() < PAGE;
            all.extend(rows);
            if last {
                break;
            }
        }
        Ok(all)
    }
}

/// What an edition without the feature answers is nothing; every other refusal is one.
fn optional<T: Default>(answer: Result<T, GitHostError>) -> Result<T, GitHostError> {
    match answer {
        Err(GitHostError::Refused { status: 404, .. }) => Ok(T::default()),
        other => other,
    }
}
