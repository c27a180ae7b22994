//! `[[collector]]` of the settings: which git host is read for which services.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::hooks::config::{Services, System};

/// Most collectors of a server.
pub const MAX_COLLECTORS: usize = 50;

/// One git host that is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorConfig {
    /// Which kind of host.
    pub system: Host,
    /// File with the token, alone on one line; only its owner may read it.
    pub token: PathBuf,
    /// Address of the host, as in its webhook; GitHub's and GitLab's own when absent.
    #[serde(default)]
    pub url: Option<String>,
    /// Address of its interface; follows from `url` when absent.
    #[serde(default)]
    pub api: Option<String>,
    /// Which repository is which service.
    pub services: BTreeMap<String, Services>,
    /// Branches that are read; the repository's default branch when empty.
    #[serde(default)]
    pub branches: Vec<String>,
    /// How many days back merged changes are read.
    #[serde(default = "fortnight")]
    pub days: u32,
}

fn fortnight() -> u32 {
    14
}

/// Hosts that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// GitHub and GitHub Enterprise Server.
    Github,
    /// GitLab.
    Gitlab,
}

impl Host {
    /// The same among the systems that deliver.
    #[must_use]
    pub const fn system(self) -> System {
        match self {
            Self::Github => System::Github,
            Self::Gitlab => System::Gitlab,
        }
    }
}

impl CollectorConfig {
    /// Checks what a single value cannot say; gives the key and the problem.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.services.is_empty() {
            return Err((
                "collector.services",
                "nothing is read: say which repository is which service".to_owned(),
            ));
        }
        if !(1..=400).contains(&self.days) {
            return Err((
                "collector.days",
                format!("{} is not between 1 and 400", self.days),
            ));
        }
        for path in self.services.keys() {
            if path.is_empty() || path.len() > 300 || path.contains("://") {
                return Err((
                    "collector.services",
                    format!(
                        "'{path}' is not a path such as group/project; the address of the host is the key `url`"
                    ),
                ));
            }
        }
        if let Some(url) = &self.url
            && crate::config::authority(url).is_none()
        {
            return Err((
                "collector.url",
                format!("'{url}' is not an address such as https://git.example, without a path"),
            ));
        }
        Ok(())
    }

    /// The address of the interface.
    #[must_use]
    pub fn api(&self) -> String {
        let (usual, below) = match self.system {
            Host::Github => ("https://api.github.com", "/api/v3"),
            Host::Gitlab => ("https://gitlab.com/api/v4", "/api/v4"),
        };
        match (&self.api, &self.url) {
            (Some(api), _) => api.clone(),
            (None, Some(url)) => format!("{}{below}", url.trim_end_matches('/')),
            (None, None) => usual.to_owned(),
        }
    }

    /// The address of a repository, as statements name it.
    #[must_use]
    pub fn repository(&self, path: &str) -> String {
        let url = self
            .url
            .as_deref()
            .unwrap_or(self.system.system().usual_url());
        format!("{}/{path}", url.trim_end_matches('/'))
    }
}
