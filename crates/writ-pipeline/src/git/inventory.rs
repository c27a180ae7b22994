//! What the repository holds, so that "no Dockerfile" is a stated fact and not a missing scan.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::FileEntry;

/// Longest list of names kept per kind.
const MAX_LISTED: usize = 50;
/// YAML files that are opened to see whether they are Kubernetes manifests.
const MAX_YAML_READ: usize = 300;
/// How much of a YAML file is looked at.
const YAML_BYTES: u64 = 16 * 1024;

/// What the repository holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// All files.
    pub files: u64,
    /// Source files per language.
    pub languages: BTreeMap<String, u64>,
    /// Container build files.
    pub dockerfiles: Vec<String>,
    /// Number of Terraform files.
    pub terraform: u64,
    /// Kubernetes manifests.
    pub kubernetes: Vec<String>,
    /// Lock files of package managers.
    pub lockfiles: Vec<String>,
    /// Manifests of package managers.
    pub manifests: Vec<String>,
    /// Definitions of CI pipelines.
    pub ci: Vec<String>,
}

impl Inventory {
    /// Takes stock of the files below `folder`.
    #[must_use]
    pub fn take(files: &[FileEntry], folder: &Path) -> Self {
        let mut inventory = Self {
            files: files.len() as u64,
            ..Self::default()
        };
        let mut opened = 0;
        for file in files {
            let path = file.path.as_str();
            let name = path.rsplit('/').next().unwrap_or(path);
            let lower = name.to_ascii_lowercase();
            let extension = lower
                .rsplit_once('.')
                .map_or("", |(_, extension)| extension);
            if let Some(language) = language(extension) {
                *inventory.languages.entry(language.to_owned()).or_default() += 1;
            }
            if is_dockerfile(&lower) {
                push(&mut inventory.dockerfiles, path);
            } else if extension == "tf" || lower.ends_with(".tf.json") {
                inventory.terraform += 1;
            } else if LOCKFILES.contains(&lower.as_str()) {
                push(&mut inventory.lockfiles, path);
            } else if MANIFESTS.contains(&lower.as_str()) {
                push(&mut inventory.manifests, path);
            } else if is_ci(path) {
                push(&mut inventory.ci, path);
            } else if matches!(extension, "yaml" | "yml")
                && opened < MAX_YAML_READ
                && inventory.kubernetes.len() < MAX_LISTED
            {
                opened += 1;
                if is_kubernetes(&folder.join(path)) {
                    push(&mut inventory.kubernetes, path);
                }
            }
        }
        inventory
    }
}

fn push(list: &mut Vec<String>, path: &str) {
    if list.len() < MAX_LISTED {
        list.push(path.to_owned());
    }
}

const LOCKFILES: &[&str] = &[
    "cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pipfile.lock",
    "uv.lock",
    "pdm.lock",
    "requirements.txt",
    "go.sum",
    "gemfile.lock",
    "composer.lock",
    "gradle.lockfile",
    "packages.lock.json",
    "mix.lock",
    "pubspec.lock",
    "podfile.lock",
];

const MANIFESTS: &[&str] = &[
    "cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "pipfile",
    "requirements.in",
    "go.mod",
    "gemfile",
    "composer.json",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "mix.exs",
    "pubspec.yaml",
    "podfile",
];

fn language(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "rs" => "rust",
        "py" => "python",
        "js" | "mjs" | "cjs" | "jsx" => "javascript",
        "ts" | "tsx" | "mts" | "cts" => "typescript",
        "go" => "go",
        "java" => "java",
        "kt" | "kts" => "kotlin",
        "rb" => "ruby",
        "php" => "php",
        "cs" => "csharp",
        "c" | "h" => "c",
        "cc" | "cpp" | "cxx" | "hpp" => "cpp",
        "swift" => "swift",
        "scala" => "scala",
        "sh" | "bash" => "shell",
        _ => return None,
    })
}

/// `Dockerfile`, `Dockerfile.dev`, `dev.Dockerfile`, `Containerfile`.
fn is_dockerfile(lower: &str) -> bool {
    ["dockerfile", "containerfile"].iter().any(|base| {
        lower == *base
            || lower
                .strip_prefix(base)
                .is_some_and(|rest| rest.starts_with('.'))
            || lower.ends_with(&format!(".{base}"))
    }) && !lower.ends_with(".dockerignore")
}

/// Files that define a CI pipeline.
pub(crate) fn is_ci(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path == ".gitlab-ci.yml"
        || name == "Jenkinsfile"
        || (path.starts_with(".github/workflows/")
            && (path.ends_with(".yml") || path.ends_with(".yaml")))
        || path == "azure-pipelines.yml"
        || path == ".buildkite/pipeline.yml"
}

fn is_kubernetes(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else {
        return false;
    };
    let mut text = Vec::new();
    if std::io::Read::read_to_end(&mut std::io::Read::take(file, YAML_BYTES), &mut text).is_err() {
        return false;
    }
    let text = String::from_utf8_lossy(&text);
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has("apiVersion:") && has("kind:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("deploy.yaml"),
            "apiVersion: v1\nkind: Pod\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("other.yaml"), "a: 1\n").unwrap();
        let files: Vec<FileEntry> = [
            "Dockerfile",
            "dev.Dockerfile",
            ".dockerignore",
            "src/main.rs",
            "Cargo.lock",
            "infra/main.tf",
            "deploy.yaml",
            "other.yaml",
            ".github/workflows/ci.yml",
        ]
        .iter()
        .map(|path| FileEntry {
            path: (*path).into(),
            id: String::new(),
        })
        .collect();
        let inventory = Inventory::take(&files, folder.path());
        assert_eq!(inventory.dockerfiles, ["Dockerfile", "dev.Dockerfile"]);
        assert_eq!(inventory.kubernetes, ["deploy.yaml"]);
        assert_eq!((inventory.terraform, inventory.files), (1, 9));
        assert_eq!(inventory.lockfiles, ["Cargo.lock"]);
        assert_eq!(inventory.ci, [".github/workflows/ci.yml"]);
        assert_eq!(inventory.languages["rust"], 1);
    }
}
