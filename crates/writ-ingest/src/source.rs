//! Source lines from the scanned work tree, for reports that hold none.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fingerprint::{self, ContentHash};

/// Larger source files are not read; their findings are told apart by rule, path and order.
const MAX_FILE: u64 = 8 << 20;
/// At most this many lines of one finding enter its content hash.
const MAX_LINES: usize = 40;

/// Reads lines below a root. Never follows a link out of it.
pub struct SourceLines {
    root: Option<PathBuf>,
    /// The last file: its report path, content and the offset of each line.
    path: String,
    content: Vec<u8>,
    lines: Vec<u32>,
}

impl SourceLines {
    pub fn new(root: Option<&Path>) -> Self {
        Self {
            root: root.and_then(|root| root.canonicalize().ok()),
            path: String::new(),
            content: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The root as text, to make absolute paths of reports relative.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Hash of lines `first..=last` (1-based) of a file below the root.
    pub fn content(&mut self, path: &str, first: u32, last: Option<u32>) -> Option<ContentHash> {
        self.root.as_ref()?;
        if self.path != path {
            self.load(path);
        }
        let first = usize::try_from(first).ok()?.checked_sub(1)?;
        let last = last
            .and_then(|last| usize::try_from(last).ok())
            .map_or(first, |last| last.saturating_sub(1))
            .clamp(first, first + MAX_LINES);
        let start = usize::try_from(*self.lines.get(first)?).ok()?;
        let end = self
            .lines
            .get(last + 1)
            .and_then(|end| usize::try_from(*end).ok())
            .unwrap_or(self.content.len());
        let text = String::from_utf8_lossy(self.content.get(start..end)?);
        fingerprint::content(&text)
    }

    fn load(&mut self, path: &str) {
        path.clone_into(&mut self.path);
        self.content.clear();
        self.lines.clear();
        let Some(file) = self.open(path) else {
            return;
        };
        if file
            .take(MAX_FILE + 1)
            .read_to_end(&mut self.content)
            .is_err()
            || self.content.len() as u64 > MAX_FILE
        {
            self.content.clear();
            return;
        }
        self.lines.push(0);
        self.lines.extend(
            memchr::memchr_iter(b'\n', &self.content).filter_map(|at| u32::try_from(at + 1).ok()),
        );
    }

    fn open(&self, path: &str) -> Option<File> {
        let root = self.root.as_ref()?;
        let full = root.join(path).canonicalize().ok()?;
        // The path comes from the report: `..`, absolute paths and links must stay inside.
        if !full.starts_with(root) || !full.metadata().ok()?.is_file() {
            return None;
        }
        File::open(full).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside_the_root() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x\n").unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.py"), "one\n two\nthree").unwrap();
        let mut lines = SourceLines::new(Some(root.path()));
        assert_eq!(lines.content("a.py", 2, None), fingerprint::content("two"));
        assert_eq!(
            lines.content("a.py", 3, Some(9)),
            fingerprint::content("three")
        );
        assert_eq!(lines.content("a.py", 9, None), None);
        let secret = outside.path().join("secret");
        assert_eq!(lines.content(secret.to_str().unwrap(), 1, None), None);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&secret, root.path().join("link")).unwrap();
            assert_eq!(lines.content("link", 1, None), None);
        }
    }
}
