//! Where the files of a bundle come from, and the digest that names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use writ_model::Digest;

use crate::error::{BundleError, Problem};

/// Most files a bundle may hold.
pub const MAX_FILES: usize = 4_096;
/// Largest file of a bundle, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Largest bundle, in bytes.
pub const MAX_TOTAL_BYTES: u64 = 32 << 20;
/// Deepest folder inside a bundle.
const MAX_DEPTH: usize = 6;

#[derive(rust_embed::RustEmbed)]
#[folder = "../../bundle"]
struct Shipped;

/// Where to read a bundle from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    /// The bundle that ships inside the binary.
    Embedded,
    /// A directory.
    Directory(PathBuf),
    /// Files in memory, path to bytes: a bundle fetched from the locker.
    Files(BTreeMap<String, Vec<u8>>),
}

impl BundleSource {
    /// A name for messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => "that ships with writ".to_owned(),
            Self::Directory(path) => format!("in {}", path.display()),
            Self::Files(_) => "from the locker".to_owned(),
        }
    }
}

/// The files of a bundle, path to bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleFiles(pub BTreeMap<String, Vec<u8>>);

impl BundleFiles {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// A directory that cannot be read, symbolic links, names that are not UTF-8, and bundles
    /// beyond [`MAX_FILES`], [`MAX_FILE_BYTES`] or [`MAX_TOTAL_BYTES`].
    pub fn read(source: &BundleSource) -> Result<Self, BundleError> {
        let fail = |problem: Problem| BundleError {
            source_name: source.name(),
            problems: vec![problem],
        };
        let mut files = BTreeMap::new();
        match source {
            BundleSource::Embedded => {
                for path in Shipped::iter() {
                    if let Some(file) = Shipped::get(&path) {
                        files.insert(path.into_owned(), file.data.into_owned());
                    }
                }
            }
            BundleSource::Directory(root) => {
                let mut total = 0;
                read_folder(root, "", 0, &mut total, &mut files).map_err(fail)?;
            }
            BundleSource::Files(given) => files.clone_from(given),
        }
        let total: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
        if files.len() > MAX_FILES || total > MAX_TOTAL_BYTES {
            return Err(fail(Problem::of_file(
                ".",
                format!("{} files with {total} bytes", files.len()),
                format!("a bundle holds at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes"),
            )));
        }
        Ok(Self(files))
    }

    /// The canonical file list: one line `<hex digest> <size> <path>` per file, sorted by path.
    #[must_use]
    pub fn canonical_list(&self) -> String {
        let mut list = String::new();
        for (path, bytes) in &self.0 {
            list.push_str(&format!(
                "{} {} {path}\n",
                Digest::of(bytes).to_hex(),
                bytes.len()
            ));
        }
        list
    }

    /// The digest that names the bundle: SHA-256 of [`Self::canonical_list`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.canonical_list().as_bytes())
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Result<&str, Problem> {
        let Some(bytes) = self.0.get(path) else {
            return Err(Problem::of_file(
                path,
                "file not found",
                "add it to the bundle",
            ));
        };
        std::str::from_utf8(bytes).map_err(|error| {
            Problem::of_file(
                path,
                format!("not UTF-8 after byte {}", error.valid_up_to()),
                "save it as UTF-8",
            )
        })
    }

    /// Paths below `folder/` that end in `suffix`, sorted.
    pub(crate) fn below<'a>(
        &'a self,
        folder: &'a str,
        suffix: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(move |path| path.starts_with(folder) && path.ends_with(suffix))
    }
}

fn read_folder(
    root: &Path,
    below: &str,
    depth: usize,
    total: &mut u64,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), Problem> {
    let folder = root.join(below);
    let broken = |path: &str, error: &std::io::Error| {
        let shown = if path.is_empty() { "." } else { path };
        Problem::of_file(shown, format!("cannot be read: {error}"), "check the path")
    };
    if depth > MAX_DEPTH {
        return Err(Problem::of_file(
            below,
            format!("folders are nested deeper than {MAX_DEPTH}"),
            "flatten the bundle",
        ));
    }
    let entries = std::fs::read_dir(&folder).map_err(|error| broken(below, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| broken(below, &error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Problem::of_file(
                &name.to_string_lossy(),
                "file name is not UTF-8",
                "rename it",
            ));
        };
        if name.starts_with('.') {
            continue; // editors and version control keep their own files there
        }
        let path = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        let kind = entry.file_type().map_err(|error| broken(&path, &error))?;
        if kind.is_symlink() {
            return Err(Problem::of_file(
                &path,
                "is a symbolic link",
                "a bundle holds plain files only, so that its digest names its content",
            ));
        }
        if kind.is_dir() {
            read_folder(root, &path, depth + 1, total, files)?;
            continue;
        }
        let size = entry
            .metadata()
            .map_err(|error| broken(&path, &error))?
            .len();
        *total = total.saturating_add(size);
        if size > MAX_FILE_BYTES || *total > MAX_TOTAL_BYTES || files.len() >= MAX_FILES {
            return Err(Problem::of_file(
                &path,
                format!("{size} bytes, {total} bytes so far"),
                format!(
                    "a bundle holds at most {MAX_FILES} files of {MAX_FILE_BYTES} bytes, {MAX_TOTAL_BYTES} bytes together"
                ),
            ));
        }
        let bytes = std::fs::read(root.join(&path)).map_err(|error| broken(&path, &error))?;
        files.insert(path, bytes);
    }
    Ok(())
}
