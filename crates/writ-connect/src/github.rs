//! What a GitHub repository says of its changes and of how its branches are protected.
//!
//! Only what evidence needs, after <https://docs.github.com/en/rest>. Every list is read to a bounded number
//! of pages; addresses of pages are made here and never taken from an answer, so that no answer can lead
//! elsewhere.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use writ_model::Timestamp;

use crate::githost::{GitHostError, Reader};
use crate::http::encoded;
use crate::{ClientOptions, HttpError, Secret};

/// Rows of a page.
const PAGE: usize = 100;
/// Commits that GitHub lists of one pull request.
pub const MAX_COMMITS: usize = 250;

/// A ruleset, in webhook deliveries and in answers.
#[derive(Debug, Clone, Deserialize)]
pub struct Ruleset {
    /// Its number.
    pub id: u64,
    /// `branch`, `tag` or `push`.
    #[serde(default)]
    pub target: Option<String>,
    /// `active`, `evaluate` or `disabled`.
    pub enforcement: String,
    /// Who need not keep it; absent where the token may not know.
    #[serde(default)]
    pub bypass_actors: Option<Vec<Bypass>>,
    /// Which branches it binds.
    #[serde(default)]
    pub conditions: Option<Conditions>,
    /// What it demands.
    #[serde(default)]
    pub rules: Vec<RulesetRule>,
    /// When it was changed last.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

/// Who need not keep a ruleset.
#[derive(Debug, Clone, Deserialize)]
pub struct Bypass {
    /// Number of the team, role or app.
    #[serde(default)]
    pub actor_id: Option<u64>,
    /// What it is.
    pub actor_type: String,
}

/// Which branches a ruleset binds.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Conditions {
    /// By name.
    #[serde(default)]
    pub ref_name: Option<RefName>,
}

/// Patterns of branches.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RefName {
    /// Bound.
    #[serde(default)]
    pub include: Vec<String>,
    /// Not bound.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// One demand of a ruleset.
#[derive(Debug, Clone, Deserialize)]
pub struct RulesetRule {
    /// `pull_request`, `non_fast_forward`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its parameters.
    #[serde(default)]
    pub parameters: Option<Parameters>,
}

/// Parameters of a demand.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Parameters {
    /// Reviews that are demanded.
    #[serde(default)]
    pub required_approving_review_count: u64,
}

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    /// Its default branch.
    pub default_branch: String,
}

/// An account.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Its name.
    pub login: String,
    /// `User`, `Bot`, …
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// One end of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct Side {
    /// Branch.
    #[serde(rename = "ref")]
    pub name: String,
    /// Commit.
    pub sha: String,
}

/// A pull request.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its title.
    #[serde(default)]
    pub title: Option<String>,
    /// Who opened it.
    #[serde(default)]
    pub user: Option<User>,
    /// What is merged.
    pub head: Side,
    /// Into what.
    pub base: Side,
    /// When it was merged.
    #[serde(default)]
    pub merged_at: Option<Timestamp>,
    /// Who merged it; only where one is asked for alone.
    #[serde(default)]
    pub merged_by: Option<User>,
    /// The commit on the branch.
    #[serde(default)]
    pub merge_commit_sha: Option<String>,
    /// How many commits; only where one is asked for alone.
    #[serde(default)]
    pub commits: Option<u64>,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A commit.
#[derive(Debug, Clone, Deserialize)]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// What git says of it.
    pub commit: GitCommit,
    /// The author's account, where GitHub knows one.
    #[serde(default)]
    pub author: Option<User>,
    /// The committer's.
    #[serde(default)]
    pub committer: Option<User>,
}

/// What git says of a commit.
#[derive(Debug, Clone, Deserialize)]
pub struct GitCommit {
    /// Who wrote it.
    #[serde(default)]
    pub author: Option<Signature>,
    /// Who committed it.
    #[serde(default)]
    pub committer: Option<Signature>,
    /// Its message, for co-authors.
    #[serde(default)]
    pub message: String,
    /// Its tree.
    pub tree: Tree,
}

/// A name that git wrote.
#[derive(Debug, Clone, Deserialize)]
pub struct Signature {
    /// Its address.
    #[serde(default)]
    pub email: Option<String>,
}

/// A tree.
#[derive(Debug, Clone, Deserialize)]
pub struct Tree {
    /// Its id.
    pub sha: String,
}

/// A review.
#[derive(Debug, Clone, Deserialize)]
pub struct Review {
    /// Who.
    #[serde(default)]
    pub user: Option<User>,
    /// The head that was looked at.
    #[serde(default)]
    pub commit_id: Option<String>,
    /// When.
    #[serde(default)]
    pub submitted_at: Option<Timestamp>,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED` or `PENDING`.
    pub state: String,
}

/// Classic protection of a branch.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Protection {
    /// Reviews that it demands.
    #[serde(default)]
    pub required_pull_request_reviews: Option<RequiredReviews>,
    /// Whether administrators must keep it.
    #[serde(default)]
    pub enforce_admins: Option<Switch>,
    /// Whether history may be overwritten.
    #[serde(default)]
    pub allow_force_pushes: Option<Switch>,
}

/// Reviews that a branch demands.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RequiredReviews {
    /// How many.
    #[serde(default)]
    pub required_approving_review_count: u64,
    /// Who needs none.
    #[serde(default)]
    pub bypass_pull_request_allowances: Option<Allowances>,
}

/// Who may pass.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Allowances {
    /// People.
    #[serde(default)]
    pub users: Vec<User>,
    /// Teams.
    #[serde(default)]
    pub teams: Vec<Slug>,
    /// Apps.
    #[serde(default)]
    pub apps: Vec<Slug>,
}

/// A name for addresses.
#[derive(Debug, Clone, Deserialize)]
pub struct Slug {
    /// Its text.
    pub slug: String,
}

/// Something that is on or off.
#[derive(Debug, Clone, Deserialize)]
pub struct Switch {
    /// Whether it is on.
    pub enabled: bool,
}

/// A client of one GitHub.
#[derive(Debug, Clone)]
pub struct GitHub(Reader);

impl GitHub {
    /// A client of the interface at `api`, such as `https://api.github.com`; nothing is sent yet.
    ///
    /// # Errors
    /// The address may not be spoken to, or the token cannot be sent.
    pub fn new(api: &str, token: &Secret, options: ClientOptions) -> Result<Self, HttpError> {
        let bearer = Secret::new(format!("Bearer {}", token.expose()))
            .ok_or_else(|| HttpError::Setup("the token cannot be sent".to_owned()))?;
        Ok(Self(Reader::new(
            api,
            options,
            vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            ("authorization", bearer),
        )?))
    }

    /// The repository at a path such as `acme/payments`.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn repository(&self, path: &str) -> Result<Repository, GitHostError> {
        self.0.get(&at(path, "")).await
    }

    /// Pull requests into a branch that were merged and changed since, the newest first, at most `most`;
    /// whether there are more.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn merged(
        &self,
        path: &str,
        branch: &str,
        since: Timestamp,
        most: usize,
    ) -> Result<(Vec<PullRequest>, bool), GitHostError> {
        let rest = format!(
            "/pulls?state=closed&base={}&sort=updated&direction=desc",
            encoded(branch)
        );
        let mut found = Vec::new();
        for page in 1.. {
            let rows: Vec<PullRequest> = self.page(&at(path, &rest), page).await?;
            let last = rows.len() < PAGE;
            for row in rows {
                if row.updated_at < since {
                    return Ok((found, false));
                }
                if row.merged_at.is_some() {
                    if found.len() == most {
                        return Ok((found, true));
                    }
                    found.push(row);
                }
            }
            if last || page >= 50 {
                return Ok((found, !last));
            }
        }
        Ok((found, true))
    }

    /// One pull request, with who merged it and how many commits it has.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn pull_request(&self, path: &str, number: u64) -> Result<PullRequest, GitHostError> {
        self.0.get(&at(path, &format!("/pulls/{number}"))).await
    }

    /// The commits of a pull request, at most [`MAX_COMMITS`].
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn commits(&self, path: &str, number: u64) -> Result<Vec<Commit>, GitHostError> {
        self.list(&at(path, &format!("/pulls/{number}/commits")), 3)
            .await
    }

    /// The reviews of a pull request, oldest first.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn reviews(&self, path: &str, number: u64) -> Result<Vec<Review>, GitHostError> {
        self.list(&at(path, &format!("/pulls/{number}/reviews")), 5)
            .await
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn tree(&self, path: &str, commit: &str) -> Result<String, GitHostError> {
        #[derive(Deserialize)]
        struct Answer {
            tree: Tree,
        }
        let answer: Answer = self
            .0
            .get(&at(path, &format!("/git/commits/{}", encoded(commit))))
            .await?;
        Ok(answer.tree.sha)
    }

    /// All rulesets that bind a repository, the organisation's among them, each in full.
    ///
    /// # Errors
    /// See [`GitHostError`].
    pub async fn rulesets(&self, path: &str) -> Result<Vec<Ruleset>, GitHostError> {
        #[derive(Deserialize)]
        struct Row {
            id: u64,
        }
        let rows: Vec<Row> = self
            .list(&at(path, "/rulesets?includes_parents=true"), 2)
            .await?;
        let mut rulesets = Vec::new();
        for row in rows {
            rulesets.push(
                self.0
                    .get(&at(path, &format!("/rulesets/{}", row.id)))
                    .await?,
            );
        }
        Ok(rulesets)
    }

    /// The classic protection of a branch; `None` when it has none.
    ///
    /// # Errors
    /// See [`GitHostError`]; also when the token may not know.
    pub async fn protection(
        &self,
        path: &str,
        branch: &str,
    ) -> Result<Option<Protection>, GitHostError> {
        let rest = format!("/branches/{}/protection", encoded(branch));
        match self.0.get(&at(path, &rest)).await {
            Ok(protection) => Ok(Some(protection)),
            // A token without the right to read it gets 404 too, with another message.
            Err(GitHostError::Refused {
                status: 404,
                message,
                ..
            }) if message.eq_ignore_ascii_case("branch not protected") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        pages: usize,
    ) -> Result<Vec<T>, GitHostError> {
        let mut all = Vec::new();
        for page in 1..=pages {
            let rows: Vec<T> = self.page(path, page).await?;
            let last = rows.len() < PAGE;
            all.extend(rows);
            if last {
                break;
            }
        }
        Ok(all)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        page: usize,
    ) -> Result<Vec<T>, GitHostError> {
        let mark = if path.contains('?') { '&' } else { '?' };
        self.0
            .get(&format!("{path}{mark}per_page={PAGE}&page={page}"))
            .await
    }
}

/// An address below a repository: its parts are kept, whatever else a path holds is encoded.
fn at(path: &str, rest: &str) -> String {
    let parts: Vec<String> = path.split('/').map(encoded).collect();
    format!("repos/{}{rest}", parts.join("/"))
}
