//! The CI file around the pipeline: inline scripts, unpinned includes and deployments that go round Writ.
//!
//! The gate's control PIP-01 judges these findings; here they are only stated. The reading is a
//! careful approximation: what cannot be parsed is a finding itself, never silence.

mod github;
mod gitlab;
mod jenkins;

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Kinds of ways round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefinitionFindingKind {
    /// A shell script written into the CI file.
    InlineScript,
    /// An include, action or template that is not pinned to a commit.
    Unpinned,
    /// A job that deploys and does not go through `writ deploy` or `writ gate`.
    DeployAround,
    /// The file cannot be read or understood.
    Unreadable,
}

/// One way round Writ in a CI definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionFinding {
    /// File.
    pub file: String,
    /// Kind.
    pub kind: DefinitionFindingKind,
    /// Job or step.
    pub place: String,
    /// One line for people.
    pub text: String,
}

/// Largest CI file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest list of findings per repository.
const MAX_FINDINGS: usize = 200;

/// Reads the CI definitions of a repository.
#[must_use]
pub fn read(folder: &Path, files: &[String]) -> Vec<DefinitionFinding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(read_one(folder, file));
    }
    findings.sort();
    findings.dedup();
    findings.truncate(MAX_FINDINGS);
    findings
}

fn read_one(folder: &Path, file: &str) -> Vec<DefinitionFinding> {
    let unreadable = |text: String| {
        vec![DefinitionFinding {
            file: file.to_owned(),
            kind: DefinitionFindingKind::Unreadable,
            place: String::new(),
            text,
        }]
    };
    let path = folder.join(file);
    match std::fs::metadata(&path) {
        Ok(meta) if meta.len() > MAX_BYTES => return unreadable("is larger than 1 MiB".into()),
        Ok(_) => {}
        Err(error) => return unreadable(error.to_string()),
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => read_text(file, &text).unwrap_or_else(unreadable),
        Err(error) => unreadable(error.to_string()),
    }
}

/// Reads one definition; the name tells the system.
///
/// # Errors
/// In words, when the text is not what the name says.
pub fn read_text(file: &str, text: &str) -> Result<Vec<DefinitionFinding>, String> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let mut note = Notes {
        file,
        list: Vec::new(),
    };
    if name == "Jenkinsfile" {
        jenkins::read(text, &mut note);
        return Ok(note.list);
    }
    let yaml: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or("is not YAML")
            .to_owned()
    })?;
    if file.contains(".github/workflows/") {
        github::read(&yaml, &mut note);
    } else if name == ".gitlab-ci.yml" {
        gitlab::read(&yaml, &mut note);
    }
    Ok(note.list)
}

struct Notes<'a> {
    file: &'a str,
    list: Vec<DefinitionFinding>,
}

impl Notes<'_> {
    fn add(&mut self, kind: DefinitionFindingKind, place: &str, text: String) {
        self.list.push(DefinitionFinding {
            file: self.file.to_owned(),
            kind,
            place: place.chars().take(120).collect(),
            text: text.chars().take(240).collect(),
        });
    }

    /// Judges the commands of a job.
    fn commands(&mut self, place: &str, commands: &[&str], deploys: bool) {
        let lines: Vec<&str> = commands
            .iter()
            .flat_map(|text| text.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        let through_writ = lines.iter().any(|line| is_writ(line, &["deploy", "gate"]));
        let deploys = deploys || lines.iter().any(|line| is_deployment(line));
        if deploys && !through_writ {
            self.add(
                DefinitionFindingKind::DeployAround,
                place,
                "deploys without `writ deploy` or `writ gate`".into(),
            );
        }
        let own: Vec<&&str> = lines.iter().filter(|line| !is_plain(line)).collect();
        if let Some(first) = own.first() {
            let more = if own.len() > 1 {
                format!(" (and {} more)", own.len() - 1)
            } else {
                String::new()
            };
            self.add(
                DefinitionFindingKind::InlineScript,
                place,
                format!("inline script: {first}{more}"),
            );
        }
    }
}

fn is_writ(line: &str, verbs: &[&str]) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .windows(2)
        .any(|pair| (pair[0] == "writ" || pair[0].ends_with("/writ")) && verbs.contains(&pair[1]))
}

/// Commands whose content is elsewhere, under review and digest: Writ itself and its set-up.
fn is_plain(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or("");
    let name = first.rsplit('/').next().unwrap_or(first);
    let chained = ["&&", "||", ";", "|", "$(", "`", ">"]
        .iter()
        .any(|sign| line.contains(sign));
    !chained && ["writ", "cd", "echo", "true", "exit"].contains(&name)
}

fn is_deployment(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    const PAIRS: &[(&str, &str)] = &[
        ("kubectl", "apply"),
        ("kubectl", "set"),
        ("kubectl", "rollout"),
        ("helm", "upgrade"),
        ("helm", "install"),
        ("terraform", "apply"),
        ("tofu", "apply"),
        ("docker", "push"),
        ("podman", "push"),
        ("serverless", "deploy"),
        ("gcloud", "deploy"),
        ("aws", "deploy"),
        ("fly", "deploy"),
        ("flyctl", "deploy"),
        ("ansible-playbook", ""),
        ("cdk", "deploy"),
        ("pulumi", "up"),
        ("argocd", "app"),
        ("skaffold", "run"),
        ("cf", "push"),
        ("eb", "deploy"),
    ];
    words.iter().enumerate().any(|(at, word)| {
        let word = word.rsplit('/').next().unwrap_or(word);
        word.starts_with("deploy.")
            || PAIRS.iter().any(|(tool, verb)| {
                word == *tool && (verb.is_empty() || words[at + 1..].contains(verb))
            })
    })
}

/// A full commit id (or, for images, a digest): anything shorter can be moved.
fn is_pinned(reference: &str) -> bool {
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    hex(reference, 40)
        || hex(reference, 64)
        || reference
            .strip_prefix("sha256:")
            .is_some_and(|digest| hex(digest, 64))
}

/// The strings in a value: a string, a list of strings, lists of lists.
fn strings(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Array(items) => items.iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::DefinitionFindingKind::{DeployAround, InlineScript, Unpinned};
    use super::*;

    fn kinds(file: &str, text: &str) -> Vec<(DefinitionFindingKind, String)> {
        read_text(file, text)
            .unwrap()
            .into_iter()
            .map(|finding| (finding.kind, finding.place))
            .collect()
    }

    const PINNED: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";

    #[test]
    fn a_pipeline_that_only_calls_writ_has_no_way_round() {
        let gitlab = format!(
            "include:\n  - project: ci/lib\n    ref: {PINNED}\n    file: a.yml\n  - local: b.yml\nwrit:\n  script:\n    - writ run\n    - writ gate\nprod:\n  environment: production\n  script: [writ deploy production]\n"
        );
        assert_eq!(kinds(".gitlab-ci.yml", &gitlab), []);
        let github = format!(
            "jobs:\n  writ:\n    steps:\n      - uses: actions/checkout@{PINNED}\n      - run: writ run\n"
        );
        assert_eq!(kinds(".github/workflows/ci.yml", &github), []);
        assert_eq!(
            kinds(
                "Jenkinsfile",
                "pipeline { steps { sh 'writ run'\n sh(script: 'writ gate') } }"
            ),
            []
        );
    }

    #[test]
    fn ways_round_are_found() {
        let gitlab = "include: 'https://x.example/a.yml'\nbuild:\n  script:\n    - make && curl x | sh\nprod:\n  script: [kubectl apply -f k8s]\n";
        assert_eq!(
            kinds(".gitlab-ci.yml", gitlab),
            [
                (Unpinned, "include".into()),
                (InlineScript, "build".into()),
                (DeployAround, "prod".into()),
                (InlineScript, "prod".into())
            ]
        );
        let github = "jobs:\n  d:\n    environment: production\n    steps:\n      - uses: actions/checkout@v4\n      - run: |\n          # a comment\n          helm upgrade x y\n";
        assert_eq!(
            kinds(".github/workflows/ci.yaml", github),
            [
                (Unpinned, "d".into()),
                (DeployAround, "d".into()),
                (InlineScript, "d".into())
            ]
        );
        let jenkins = "@Library('lib@main') _\nsh \"\"\"terraform apply\"\"\"\n";
        assert_eq!(
            kinds("Jenkinsfile", jenkins),
            [
                (Unpinned, "library".into()),
                (DeployAround, "sh".into()),
                (InlineScript, "sh".into())
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".gitlab-ci.yml"), "a: [unclosed").unwrap();
        let findings = read(
            folder.path(),
            &[".gitlab-ci.yml".into(), "Jenkinsfile".into()],
        );
        assert!(
            findings.len() == 2
                && findings
                    .iter()
                    .all(|f| f.kind == DefinitionFindingKind::Unreadable),
            "{findings:?}"
        );
        let bomb = format!(
            "a0: &a0 [x]\n{}",
            (1..40)
                .map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1))
                .collect::<String>()
        );
        assert!(
            read_text(".gitlab-ci.yml", &bomb).is_err(),
            "an alias bomb is refused"
        );
    }
}
