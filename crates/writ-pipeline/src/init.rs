//! `writ init`: a first `writ.toml`, a CI job and a hook for what is there. Existing files are kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::git::{FileEntry, Inventory};

/// A CI system that a job is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CiKind {
    /// `.github/workflows/writ.yml`.
    Github,
    /// `.gitlab-ci.yml`.
    Gitlab,
    /// `Jenkinsfile`.
    Jenkins,
}

/// What was found, and what would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Languages by number of files, the largest first.
    pub languages: Vec<String>,
    /// The CI system, when one is used.
    pub ci: Option<CiKind>,
    /// Files to write, relative paths and text.
    pub files: BTreeMap<PathBuf, String>,
    /// Text that belongs into a file that is there already: file and snippet.
    pub snippets: Vec<(PathBuf, String)>,
    /// What a person should look at.
    pub notes: Vec<String>,
}

/// Makes a proposal from what the repository holds. `service` is a name for it.
#[must_use]
pub fn propose(
    inventory: &Inventory,
    files: &[FileEntry],
    service: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Proposal {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    let mut languages: Vec<(&String, &u64)> = inventory
        .languages
        .iter()
        .filter(|(name, _)| *name != "shell")
        .collect();
    languages.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut proposal = Proposal {
        languages: languages
            .into_iter()
            .map(|(name, _)| name.clone())
            .collect(),
        ci: None,
        files: BTreeMap::new(),
        snippets: Vec::new(),
        notes: Vec::new(),
    };
    let toml = writ_toml(
        inventory,
        &proposal.languages,
        service,
        &has,
        &mut proposal.notes,
    );
    keep_or_write(&mut proposal, Path::new("writ.toml"), toml, exists);
    proposal.ci = if has(".gitlab-ci.yml") {
        Some(CiKind::Gitlab)
    } else if inventory
        .ci
        .iter()
        .any(|path| path.starts_with(".github/workflows/"))
    {
        Some(CiKind::Github)
    } else if has("Jenkinsfile") {
        Some(CiKind::Jenkins)
    } else {
        None
    };
    match proposal.ci {
        Some(CiKind::Gitlab) => proposal
            .snippets
            .push((".gitlab-ci.yml".into(), GITLAB.into())),
        Some(CiKind::Jenkins) => proposal
            .snippets
            .push(("Jenkinsfile".into(), JENKINS.into())),
        Some(CiKind::Github) => keep_or_write(
            &mut proposal,
            Path::new(".github/workflows/writ.yml"),
            GITHUB.into(),
            exists,
        ),
        None => proposal
            .notes
            .push("no CI definition found: the job is `writ run`, then `writ gate`".into()),
    }
    proposal
}

fn keep_or_write(
    proposal: &mut Proposal,
    path: &Path,
    text: String,
    exists: &dyn Fn(&Path) -> bool,
) {
    if exists(path) {
        proposal
            .notes
            .push(format!("{} is there and stays as it is", path.display()));
    } else {
        proposal.files.insert(path.to_owned(), text);
    }
}

/// Writes the files of a proposal; one that appeared meanwhile stops it before anything is overwritten.
///
/// # Errors
/// When a file is there already or cannot be written.
pub fn write(folder: &Path, proposal: &Proposal) -> std::io::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in &proposal.files {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .open(&target)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        written.push(path.clone());
    }
    Ok(written)
}

/// A service name from the folder's name.
#[must_use]
pub fn service_name(folder: &Path) -> String {
    let name: String = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() {
        "service".into()
    } else {
        name
    }
}

fn writ_toml(
    inventory: &Inventory,
    languages: &[String],
    service: &str,
    has: &dyn Fn(&str) -> bool,
    notes: &mut Vec<String>,
) -> String {
    let mut out = String::new();
    let mut add = |text: &str| out.push_str(text);
    add("# What runs for this service. What is good enough is decided by the profile, not here.\n");
    add("version = 1\n");
    add(&format!("service = \"{service}\"\n"));
    add("profile = \"startup\"                # requested; the store decides which one binds\n");
    add(
        "\n# Secrets in the commits of the change, and in what is staged before a commit.\n[stage.secrets]\nuses = \"gitleaks\"\non   = [\"commit\", \"change\"]\n",
    );
    match test_stage(languages, has) {
        Some(text) => {
            add("\n# Tests with coverage.\n[stage.test]\n");
            add(&text);
        }
        None => {
            notes.push("no way to run the tests was recognised: fill in [stage.test]".into());
            add(
                "\n# Tests with coverage: fill in how they run here.\n# [stage.test]\n# run      = [\"make\", \"test\"]\n# produces = { junit = \"build/junit.xml\", coverage = \"build/lcov.info\" }\n",
            );
        }
    }
    if !inventory.lockfiles.is_empty() {
        add(
            "\n# Known vulnerabilities in what the lock files name.\n[stage.dependencies]\nuses = \"trivy-fs\"\n",
        );
    } else if !inventory.manifests.is_empty() {
        notes.push("there is a package manifest and no lock file: commit one, then add [stage.dependencies] with uses = \"trivy-fs\"".into());
    }
    if languages.iter().any(|language| {
        ["python", "javascript", "typescript", "go", "java", "rust"].contains(&language.as_str())
    }) {
        add("\n# Weaknesses in our own code.\n[stage.sast]\nuses = \"semgrep\"\n");
    }
    if inventory.terraform > 0
        || !inventory.kubernetes.is_empty()
        || !inventory.dockerfiles.is_empty()
    {
        add(
            "\n# Infrastructure code: Terraform, Kubernetes, Dockerfile.\n[stage.iac]\nuses = \"checkov\"\n",
        );
    }
    if !inventory.dockerfiles.is_empty() {
        notes.push("there is a Dockerfile: say in [stage.image] how the image is built, then its scan runs too".into());
        add(
            "\n# The image: `produces.image` is a file with [NAME@]sha256:…, an OCI layout or an archive.\n# [stage.image]\n# run      = [\"make\", \"image\"]\n# produces = { image = \"build/image.tar\" }\n#\n# [stage.sbom]\n# uses  = \"syft\"\n#\n# [stage.container]\n# uses  = \"trivy-image\"\n",
        );
    }
    add(
        "\n[environment.staging]\ngate = \"block\"\n\n[environment.production]\nafter = \"staging\"\ngate  = \"block\"\n",
    );
    out
}

fn test_stage(languages: &[String], has: &dyn Fn(&str) -> bool) -> Option<String> {
    let stage = |run: &[&str], produces: &str| {
        let argv: Vec<String> = run
            .iter()
            .map(|argument| format!("\"{argument}\""))
            .collect();
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "run      = [{}]\nproduces = {{ {produces} }}\n",
            argv.join(", ")
        );
        out
    };
    for language in languages {
        match language.as_str() {
            "python"
                if has("pyproject.toml")
                    || has("pytest.ini")
                    || has("setup.cfg")
                    || has("requirements.txt") =>
            {
                return Some(stage(
                    &[
                        "python3",
                        "-m",
                        "pytest",
                        "--junit-xml=build/junit.xml",
                        "--cov",
                        "--cov-report=lcov:build/lcov.info",
                    ],
                    "junit = \"build/junit.xml\", coverage = \"build/lcov.info\"",
                ));
            }
            "rust" if has("Cargo.toml") => {
                return Some(stage(
                    &[
                        "cargo",
                        "llvm-cov",
                        "--lcov",
                        "--output-path",
                        "target/lcov.info",
                    ],
                    "coverage = \"target/lcov.info\"",
                ));
            }
            "javascript" | "typescript" if has("package.json") => {
                return Some(stage(&["npm", "test"], "coverage = \"coverage/lcov.info\""));
            }
            "java" | "kotlin" if has("pom.xml") => {
                return Some(stage(
                    &["mvn", "--batch-mode", "verify"],
                    "coverage = \"target/site/jacoco/jacoco.xml\"",
                ));
            }
            _ => {}
        }
    }
    None
}

const GITHUB: &str = "# Written by `writ init`.
name: writ
on: [pull_request, push]
permissions:
  contents: read
jobs:
  writ:
    runs-on: ubuntu-latest
    steps:
      # Pin this to the commit of the release that you reviewed.
      - uses: actions/checkout@v4
        with:
          fetch-depth: 0
      - run: writ run
      - run: writ gate
";

const GITLAB: &str = "writ:
  variables:
    GIT_DEPTH: \"0\"
  script:
    - writ run
    - writ gate
";

const JENKINS: &str = "stage('writ') {
    steps {
        sh 'writ run'
        sh 'writ gate'
    }
}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn entries(paths: &[&str]) -> Vec<FileEntry> {
        paths
            .iter()
            .map(|path| FileEntry {
                path: (*path).into(),
                id: String::new(),
            })
            .collect()
    }

    fn proposal(paths: &[&str], there: &[&str]) -> Proposal {
        let files = entries(paths);
        let inventory = Inventory::take(&files, Path::new("/nowhere"));
        propose(&inventory, &files, "shop", &|path| {
            there.iter().any(|t| Path::new(t) == path)
        })
    }

    #[test]
    fn every_proposal_is_a_valid_file() {
        for paths in [
            &[][..],
            &["a.py", "requirements.txt", "Dockerfile", ".gitlab-ci.yml"],
            &[
                "src/main.rs",
                "Cargo.toml",
                "Cargo.lock",
                ".github/workflows/ci.yml",
            ],
            &["index.ts", "package.json", "main.tf"],
            &["A.java", "pom.xml", "Jenkinsfile"],
            &["x.rb", "Gemfile"],
        ] {
            let proposal = proposal(paths, &[]);
            let text = &proposal.files[Path::new("writ.toml")];
            let config = Config::parse(text, Path::new("writ.toml"))
                .unwrap_or_else(|error| panic!("{paths:?}: {error}\n{text}"));
            assert!(config.stage("secrets").is_some());
        }
    }

    #[test]
    fn what_is_there_decides_and_stays() {
        let made = proposal(
            &["a.py", "requirements.txt", ".gitlab-ci.yml"],
            &["writ.toml"],
        );
        assert!(made.files.is_empty());
        assert_eq!(made.ci, Some(CiKind::Gitlab));
        assert!(made.snippets[0].1.contains("writ gate"));
        assert!(
            made.notes
                .iter()
                .any(|note| note.contains("stays as it is"))
        );
        let folder = tempfile::tempdir().unwrap();
        let made = proposal(&["a.py"], &[]);
        assert_eq!(
            write(folder.path(), &made).unwrap(),
            [PathBuf::from("writ.toml")]
        );
        assert!(write(folder.path(), &made).is_err(), "never overwrites");
        assert_eq!(service_name(Path::new("/x/My Shop!")), "My-Shop");
    }
}
