//! What is checked out, what of it is changed, and which commits make the change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use writ_model::{Digest, PrincipalId};

use super::people::mail_of;
use super::{Author, CiFacts, Git, GitError, GitProgram, PrincipalKey};

/// Commits of a change that are looked at one by one. A longer one says so.
const MAX_COMMITS: usize = 10_000;
/// Changed files that are listed by name.
const MAX_DIRTY_LISTED: usize = 100;

/// The commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Commit id, hex.
    pub commit: String,
    /// Tree id, hex.
    pub tree: String,
    /// Branch; `None` when detached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// A file of the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Path relative to the folder of the service, with forward slashes.
    pub path: String,
    /// Git's blob id for what is committed or staged, `sha256:…` of the content for what is changed.
    pub id: String,
}

/// The commits under judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Commit before the change; `None`: the whole history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How the base was found, in words.
    pub base_from: String,
    /// Number of commits.
    pub commits: u64,
    /// Who made them.
    pub people: Vec<Author>,
    /// There are more commits than were looked at one by one.
    pub truncated: bool,
    /// Why not all commits are there, when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

/// Everything Writ asks git at the start of a run.
#[derive(Debug, Clone)]
pub struct GitFacts {
    /// Root of the repository.
    pub root: PathBuf,
    /// Folder of the service: where `writ.toml` is.
    pub folder: PathBuf,
    /// Git's own folder.
    pub git_dir: PathBuf,
    /// What is checked out; `None` before the first commit.
    pub head: Option<Head>,
    /// Changed files, at most a hundred named.
    pub dirty: Vec<String>,
    /// Number of changed files.
    pub dirty_count: u64,
    /// History is cut.
    pub shallow: bool,
    /// The change; `None` before the first commit.
    pub change: Option<Change>,
    /// Files of the work tree below the folder, sorted by path.
    pub files: Vec<FileEntry>,
    /// What CI says.
    pub ci: CiFacts,
}

impl GitFacts {
    /// Asks git about a folder.
    ///
    /// # Errors
    /// When there is no repository, it belongs to somebody else, or git fails.
    pub fn gather(folder: &Path, ci: CiFacts, key: &PrincipalKey) -> Result<Self, GitError> {
        Self::gather_with(&GitProgram::new(folder), folder, ci, key)
    }

    /// Asks through another git.
    ///
    /// # Errors
    /// As [`GitFacts::gather`].
    pub fn gather_with(
        git: &dyn Git,
        folder: &Path,
        ci: CiFacts,
        key: &PrincipalKey,
    ) -> Result<Self, GitError> {
        let places = text(git.run(&[
            "rev-parse",
            "--is-inside-work-tree",
            "--show-toplevel",
            "--absolute-git-dir",
            "--is-shallow-repository",
            "--show-prefix",
        ])?);
        let mut lines = places.lines();
        let mut next = || lines.next().unwrap_or("").to_owned();
        if next() != "true" {
            return Err(GitError::NoRepository(folder.to_owned()));
        }
        let (root, git_dir, shallow, prefix) = (next(), next(), next() == "true", next());
        let mut facts = Self {
            root: root.into(),
            folder: folder.to_owned(),
            git_dir: git_dir.into(),
            head: None,
            dirty: Vec::new(),
            dirty_count: 0,
            shallow,
            change: None,
            files: Vec::new(),
            ci,
        };
        // The two that read the whole tree run beside the ones that read history.
        let (status, listing, history) = std::thread::scope(|scope| {
            let listing = scope.spawn(|| git.run(&["ls-files", "--stage", "-z"]));
            let history = scope.spawn(|| facts.history(git, key));
            let status = git.run(&[
                "status",
                "--porcelain=v2",
                "-z",
                "--branch",
                "--untracked-files=all",
                "--",
                ".",
            ]);
            (status, join(listing), join(history))
        });
        let (tree, change) = history?;
        let status = Status::parse(&status?, &prefix);
        facts.dirty_count = status.changed.len() as u64;
        facts.dirty = status
            .changed
            .iter()
            .take(MAX_DIRTY_LISTED)
            .cloned()
            .collect();
        facts.files = overlay(&listing?, &status, folder);
        if let (Some(commit), Some(tree)) = (status.commit, tree) {
            facts.head = Some(Head {
                commit,
                tree,
                branch: status.branch,
            });
            facts.change = change;
        }
        Ok(facts)
    }

    /// Whether anything differs from the commit.
    #[must_use]
    pub const fn is_dirty(&self) -> bool {
        self.dirty_count > 0
    }

    fn history(
        &self,
        git: &dyn Git,
        key: &PrincipalKey,
    ) -> Result<(Option<String>, Option<Change>), GitError> {
        // Before the first commit there is no tree, and that is no error.
        let Ok(both) = git.run(&["rev-parse", "HEAD", "HEAD^{tree}"]) else {
            return Ok((None, None));
        };
        let both = text(both);
        let (head, tree) = both.trim().split_once('\n').unwrap_or((both.trim(), ""));
        let (head, tree) = (head.to_owned(), tree.to_owned());
        let mut change = Change::default();
        (change.base, change.base_from) = self.base(git, &head)?;
        let range = change
            .base
            .as_ref()
            .map_or_else(|| "HEAD".to_owned(), |base| format!("{base}..HEAD"));
        let limit = format!("--max-count={}", MAX_COMMITS + 1);
        let log = git.run(&[
            "log",
            "-z",
            "--no-show-signature",
            "--no-mailmap",
            &limit,
            "--format=%H%x01%ae%x01%ce%x01%(trailers:key=Co-authored-by,valueonly,separator=%x02)",
            "--end-of-options",
            &range,
            "--",
        ])?;
        let mut people: BTreeMap<PrincipalId, Author> = BTreeMap::new();
        let mut known: BTreeMap<String, PrincipalId> = BTreeMap::new();
        let mut note = |mail: &str, part_of: &mut BTreeSet<PrincipalId>, mark: fn(&mut Author)| {
            let principal = known
                .entry(mail.to_owned())
                .or_insert_with(|| key.principal(mail))
                .clone();
            part_of.insert(principal.clone());
            mark(
                people
                    .entry(principal.clone())
                    .or_insert_with(|| Author::new(principal)),
            );
        };
        let mut parts: Vec<(String, BTreeSet<PrincipalId>)> = Vec::new();
        let boundary = self
            .shallow
            .then(|| std::fs::read_to_string(self.git_dir.join("shallow")).unwrap_or_default());
        let mut cut = false;
        for (index, record) in log
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
            .enumerate()
        {
            if index == MAX_COMMITS {
                change.truncated = true;
                break;
            }
            let record = String::from_utf8_lossy(record);
            let mut fields = record.split('\u{1}');
            let mut field = || fields.next().unwrap_or("");
            let commit = field();
            cut |= boundary
                .as_ref()
                .is_some_and(|list| list.lines().any(|line| line == commit));
            let mut part_of = BTreeSet::new();
            note(field(), &mut part_of, |person| person.author = true);
            note(field(), &mut part_of, |person| person.committer = true);
            for mail in field().split('\u{2}').filter_map(mail_of) {
                note(mail, &mut part_of, |person| person.co_author = true);
            }
            parts.push((commit.to_owned(), part_of));
            change.commits += 1;
        }
        for (commit, part_of) in &parts {
            for principal in part_of {
                if let Some(person) = people.get_mut(principal) {
                    person.took_part_in(commit);
                }
            }
        }
        change.people = people.into_values().collect();
        if cut {
            change.incomplete = Some(
                "the history is shallow and ends inside the change; fetch it whole (git fetch --unshallow, fetch-depth: 0, GIT_DEPTH: 0)".into(),
            );
        } else if change.truncated {
            change.incomplete = Some(format!("the change has more than {MAX_COMMITS} commits"));
        }
        Ok((Some(tree), Some(change)))
    }

    /// The commit before the change: what CI says, else where the default branch was left.
    fn base(&self, git: &dyn Git, head: &str) -> Result<(Option<String>, String), GitError> {
        let merge_base = |other: &str| -> Option<String> {
            git.run(&["merge-base", "--end-of-options", "HEAD", other])
                .ok()
                .map(|out| text(out).trim().to_owned())
                .filter(|t| !t.is_empty())
        };
        if let Some(base) = &self.ci.base
            && let Some(found) = merge_base(base)
        {
            return Ok((Some(found), "the base that CI names".into()));
        }
        let refs = text(git.run(&[
            "for-each-ref",
            "--format=%(refname)%00%(objectname)",
            "refs/remotes/*/HEAD",
            "refs/remotes/*/main",
            "refs/remotes/*/master",
            "refs/heads/main",
            "refs/heads/master",
        ])?);
        let mut candidates: Vec<String> = Vec::new();
        if let Some(target) = &self.ci.target_branch {
            candidates.push(format!("refs/remotes/origin/{target}"));
            candidates.push(format!("refs/heads/{target}"));
        }
        let order = |name: &str| {
            (
                !name.starts_with("refs/remotes/origin/"),
                !name.starts_with("refs/remotes/"),
                !name.ends_with("/HEAD"),
            )
        };
        // A branch that is where we are says nothing about where the change began.
        let mut listed: Vec<&str> = refs
            .lines()
            .filter_map(|line| line.split_once('\0'))
            .filter(|(_, commit)| *commit != head)
            .map(|(name, _)| name)
            .collect();
        listed.sort_by_key(|name| order(name));
        candidates.extend(listed.into_iter().map(str::to_owned));
        for candidate in candidates {
            if let Some(found) = merge_base(&candidate)
                && found != head
            {
                let name = candidate
                    .trim_start_matches("refs/remotes/")
                    .trim_start_matches("refs/heads/");
                return Ok((Some(found), format!("where {name} was left")));
            }
        }
        Ok((None, "no branch to compare with: the whole history".into()))
    }

    /// The range in git's words, for tools: `BASE..HEAD` or `HEAD` with full commit ids.
    #[must_use]
    pub fn range(&self) -> Option<String> {
        let head = self.head.as_ref()?;
        let change = self.change.as_ref()?;
        Some(match &change.base {
            Some(base) => format!("{base}..{}", head.commit),
            None => head.commit.clone(),
        })
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, GitError>>) -> Result<T, GitError> {
    thread.join().unwrap_or_else(|_| {
        Err(GitError::Failed {
            command: "git".into(),
            cause: "the thread that asked ended early".into(),
        })
    })
}

/// What `git status --porcelain=v2 -z --branch` says.
#[derive(Debug, Default)]
struct Status {
    commit: Option<String>,
    branch: Option<String>,
    /// Changed, added and untracked paths below the folder, relative to it.
    changed: Vec<String>,
}

impl Status {
    fn parse(bytes: &[u8], prefix: &str) -> Self {
        let mut status = Self::default();
        let mut records = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        while let Some(record) = records.next() {
            let mut add = |path: &str| {
                if let Some(path) = path.strip_prefix(prefix) {
                    status.changed.push(path.to_owned());
                }
            };
            if let Some(oid) = record.strip_prefix("# branch.oid ") {
                status.commit = (oid != "(initial)").then(|| oid.to_owned());
            } else if let Some(branch) = record.strip_prefix("# branch.head ") {
                status.branch = (branch != "(detached)").then(|| branch.to_owned());
            } else if record.starts_with("1 ") {
                add(record.splitn(9, ' ').nth(8).unwrap_or(""));
            } else if record.starts_with("2 ") {
                add(record.splitn(10, ' ').nth(9).unwrap_or(""));
                if let Some(old) = records.next() {
                    add(&old);
                }
            } else if record.starts_with("u ") {
                add(record.splitn(11, ' ').nth(10).unwrap_or(""));
            } else if let Some(path) = record.strip_prefix("? ") {
                add(path);
            }
        }
        status
            .changed
            .retain(|path| !path.is_empty() && !path.starts_with(".writ/"));
        status.changed.sort();
        status.changed.dedup();
        status
    }
}

/// The index, with changed files replaced by what lies in the work tree.
fn overlay(listing: &[u8], status: &Status, folder: &Path) -> Vec<FileEntry> {
    let changed: BTreeSet<&str> = status.changed.iter().map(String::as_str).collect();
    let mut files: Vec<FileEntry> = Vec::new();
    for record in listing
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
    {
        let record = String::from_utf8_lossy(record);
        // MODE ID STAGE\tPATH
        let Some((meta, path)) = record.split_once('\t') else {
            continue;
        };
        let mut meta = meta.split(' ');
        let (mode, id) = (meta.next().unwrap_or(""), meta.next().unwrap_or(""));
        if !changed.contains(path) {
            // The mode tells links and submodules from files of the same content.
            let id = if mode == "100644" {
                id.to_owned()
            } else {
                format!("{mode}:{id}")
            };
            files.push(FileEntry {
                path: path.to_owned(),
                id,
            });
        }
    }
    for path in changed {
        if let Some(id) = content_id(&folder.join(path)) {
            files.push(FileEntry {
                path: path.to_owned(),
                id,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// `None` when the file is gone.
fn content_id(path: &Path) -> Option<String> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if meta.is_symlink() {
        let target = std::fs::read_link(path).ok()?;
        return Some(format!(
            "link:{}",
            Digest::of(target.as_os_str().as_encoded_bytes())
        ));
    }
    if meta.is_dir() {
        return Some("folder".into());
    }
    // What cannot be read has no id that could ever match again.
    crate::adapter::digest_of_file(path)
        .ok()
        .map(|digest| digest.to_string())
        .or_else(|| Some("unreadable".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lists_renames_untracked_and_conflicts_below_the_prefix() {
        let bytes = b"# branch.oid 1234\0# branch.head (detached)\0\
            1 .M N... 100644 100644 100644 a a svc/changed file\0\
            2 R. N... 100644 100644 100644 a b R100 svc/new\0svc/old\0\
            u UU N... 1 2 3 4 a b c svc/both\0? svc/un tracked\0? other/x\0? svc/.writ/lock\0";
        let status = Status::parse(bytes, "svc/");
        assert_eq!(status.commit.as_deref(), Some("1234"));
        assert_eq!(status.branch, None);
        assert_eq!(
            status.changed,
            ["both", "changed file", "new", "old", "un tracked"]
        );
    }
}
