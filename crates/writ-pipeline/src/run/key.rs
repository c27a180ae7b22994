//! The key of the result cache: a digest of everything that can change a result.

use serde::Serialize;
use writ_model::{DatabaseInfo, Digest, ProducerClass, ToolInfo};

use crate::git::FileEntry;
use crate::plan::glob_set;

/// What a result depends on. New fields change every key, which only costs a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyParts<'a> {
    pub version: u32,
    pub adapter: Option<Digest>,
    pub mode: &'a str,
    pub tool: &'a ToolInfo,
    pub database: Option<&'a DatabaseInfo>,
    pub argv: &'a [String],
    pub env: Vec<(String, String)>,
    pub inputs: Vec<(String, String)>,
    pub range: Option<String>,
    pub producer_class: ProducerClass,
    pub dirty: bool,
}

impl KeyParts<'_> {
    /// The key.
    pub fn digest(&self) -> Option<Digest> {
        serde_json::to_vec(self)
            .ok()
            .map(|bytes| Digest::of(&bytes))
    }
}

/// One digest over the files that match, by path and content id.
pub(super) fn files_digest(files: &[FileEntry], globs: &[&str]) -> String {
    let set = glob_set(globs);
    let all = globs.contains(&"**/*");
    let mut text = String::new();
    for file in files {
        if all || set.is_match(&file.path) {
            text.push_str(&file.id);
            text.push(' ');
            text.push_str(&file.path);
            // Paths may hold line ends; a zero byte they cannot.
            text.push('\0');
        }
    }
    Digest::of(text.as_bytes()).to_string()
}

/// One digest over files on disk, such as rules: names below the folder and content.
pub(super) fn disk_digest(path: &std::path::Path) -> std::io::Result<String> {
    let mut text = String::new();
    let mut waiting = vec![path.to_owned()];
    let mut count = 0_u32;
    while let Some(at) = waiting.pop() {
        count += 1;
        if count > 20_000 {
            return Err(std::io::Error::other(format!(
                "{}: more than 20,000 files",
                path.display()
            )));
        }
        let meta = std::fs::symlink_metadata(&at)?;
        if meta.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(&at)?
                .collect::<Result<Vec<_>, _>>()?
                .into_iter()
                .map(|e| e.path())
                .collect();
            entries.sort();
            waiting.extend(entries);
        } else {
            let name = at.strip_prefix(path).unwrap_or(&at);
            text.push_str(&format!(
                "{} {}\0",
                crate::adapter::digest_of_file(&at)?,
                name.display()
            ));
        }
    }
    Ok(Digest::of(text.as_bytes()).to_string())
}
