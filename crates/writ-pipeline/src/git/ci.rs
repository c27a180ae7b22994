//! What the CI system says about the change, so that nothing is typed twice.

use serde::Serialize;

/// A CI system that Writ knows by its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CiSystem {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// Jenkins.
    Jenkins,
    /// Buildkite.
    Buildkite,
    /// Azure Pipelines.
    Azure,
    /// Something that sets `CI`.
    Other,
}

/// Facts from CI variables. They are the runner's word, not proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CiFacts {
    /// Which system; `None` on a person's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<CiSystem>,
    /// Commit at which the change starts, when told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Branch that the change goes into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Branch or tag that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Number of the merge or pull request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Address of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_url: Option<String>,
    /// The ref is protected, as GitLab and GitHub say.
    pub protected: bool,
    /// Repository as the CI system names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

impl CiFacts {
    /// Reads variables through `get`.
    #[must_use]
    pub fn read(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            get(name)
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
        };
        let yes = |name: &str| get(name).is_some_and(|value| value == "true" || value == "1");
        if yes("GITHUB_ACTIONS") {
            let number = get("GITHUB_REF").and_then(|text| {
                text.strip_prefix("refs/pull/")?
                    .split('/')
                    .next()
                    .map(str::to_owned)
            });
            return Self {
                system: Some(CiSystem::Github),
                base: get("WRIT_BASE"),
                target_branch: get("GITHUB_BASE_REF"),
                branch: get("GITHUB_HEAD_REF").or_else(|| get("GITHUB_REF_NAME")),
                change: number,
                job_url: get("GITHUB_SERVER_URL")
                    .zip(get("GITHUB_REPOSITORY"))
                    .zip(get("GITHUB_RUN_ID"))
                    .map(|((server, repository), run)| {
                        format!("{server}/{repository}/actions/runs/{run}")
                    }),
                protected: yes("GITHUB_REF_PROTECTED"),
                repository: get("GITHUB_REPOSITORY"),
            };
        }
        if yes("GITLAB_CI") {
            let zero = |commit: &String| !commit.bytes().all(|b| b == b'0');
            return Self {
                system: Some(CiSystem::Gitlab),
                base: get("WRIT_BASE")
                    .or_else(|| get("CI_MERGE_REQUEST_DIFF_BASE_SHA"))
                    .or_else(|| get("CI_COMMIT_BEFORE_SHA").filter(zero)),
                target_branch: get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
                branch: get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
                    .or_else(|| get("CI_COMMIT_REF_NAME")),
                change: get("CI_MERGE_REQUEST_IID"),
                job_url: get("CI_JOB_URL"),
                protected: yes("CI_COMMIT_REF_PROTECTED"),
                repository: get("CI_PROJECT_PATH"),
            };
        }
        let (system, target, branch, change, url) = if get("JENKINS_URL").is_some() {
            (
                CiSystem::Jenkins,
                get("CHANGE_TARGET"),
                get("CHANGE_BRANCH").or_else(|| get("BRANCH_NAME")),
                get("CHANGE_ID"),
                get("BUILD_URL"),
            )
        } else if yes("BUILDKITE") {
            (
                CiSystem::Buildkite,
                get("BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
                get("BUILDKITE_BRANCH"),
                get("BUILDKITE_PULL_REQUEST").filter(|v| v != "false"),
                get("BUILDKITE_BUILD_URL"),
            )
        } else if get("TF_BUILD").is_some() {
            (
                CiSystem::Azure,
                get("SYSTEM_PULLREQUEST_TARGETBRANCH"),
                get("BUILD_SOURCEBRANCHNAME"),
                get("SYSTEM_PULLREQUEST_PULLREQUESTID"),
                None,
            )
        } else if get("CI").is_some_and(|value| value != "false" && value != "0") {
            (CiSystem::Other, None, None, None, None)
        } else {
            return Self {
                base: get("WRIT_BASE"),
                ..Self::default()
            };
        };
        Self {
            system: Some(system),
            base: get("WRIT_BASE").or_else(|| get("GIT_PREVIOUS_SUCCESSFUL_COMMIT")),
            target_branch: target,
            branch,
            change,
            job_url: url,
            protected: false,
            repository: None,
        }
    }

    /// From the process's own variables.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> CiFacts {
        CiFacts::read(&|name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn gitlab_and_github_tell_the_range() {
        let facts = read(&[
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_BEFORE_SHA", "0000000"),
            ("CI_MERGE_REQUEST_IID", "487"),
        ]);
        assert_eq!((facts.base, facts.change), (None, Some("487".into())));
        let facts = read(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REF", "refs/pull/12/merge"),
            ("GITHUB_BASE_REF", "main"),
        ]);
        assert_eq!(
            (facts.change, facts.target_branch),
            (Some("12".into()), Some("main".into()))
        );
        assert_eq!(read(&[]).system, None);
        assert_eq!(read(&[("CI", "1")]).system, Some(CiSystem::Other));
    }
}
