//! Files that are there whole or not at all, and stay.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use writ_model::Digest;

use crate::fault;

/// What failed, where, and how.
#[derive(Debug)]
pub(crate) struct Failed {
    pub what: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl Failed {
    fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self {
            what,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<Failed> for crate::spool::SpoolError {
    fn from(failed: Failed) -> Self {
        Self::io(failed.what, failed.path, failed.source)
    }
}

impl From<Failed> for crate::error::RegistryError {
    fn from(failed: Failed) -> Self {
        Self::io(failed.what, failed.path, failed.source)
    }
}

/// The fault points that one durable file passes.
#[derive(Clone, Copy)]
pub(crate) struct Points {
    pub temp: &'static str,
    pub sync: &'static str,
    pub rename: &'static str,
    pub dir: &'static str,
}

/// A file that is being written under a temporary name; dropping it removes it.
pub(crate) struct Temporary {
    path: PathBuf,
    file: File,
    hash: sha2::Sha256,
    size: u64,
    named: bool,
}

impl Temporary {
    /// Begins a file of mode 0600 in `directory`, which must lie on the file system of its target.
    pub(crate) fn create(directory: &Path) -> Result<Self, Failed> {
        let mut random = [0_u8; 12];
        getrandom::fill(&mut random).map_err(|e| Failed {
            what: "draw a random name in",
            path: directory.to_owned(),
            source: io::Error::other(e.to_string()),
        })?;
        let path = directory.join(format!("{}.tmp", hex::encode(random)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Failed::at("create", &path))?;
        Ok(Self {
            path,
            file,
            hash: sha2::Sha256::new(),
            size: 0,
            named: false,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.file
            .write_all(bytes)
            .map_err(Failed::at("write", &self.path))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Takes everything that `body` yields, but at most `limit` bytes; `None` when there is more.
    pub(crate) fn copy(
        &mut self,
        body: &mut dyn Read,
        from: &Path,
        limit: u64,
    ) -> Result<Option<u64>, Failed> {
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(Some(self.size)),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Failed::at("read", from)(e)),
            };
            if self.size + count as u64 > limit {
                return Ok(None);
            }
            self.write(&buffer[..count])?;
        }
    }

    /// Digest and size of what was written so far.
    pub(crate) fn written(&self) -> (Digest, u64) {
        let digest = Digest::from_bytes(self.hash.clone().finalize().into());
        (digest, self.size)
    }

    /// Makes the bytes durable and gives the file its name, which is durable when this returns.
    pub(crate) fn name(mut self, target: &Path, points: Points) -> Result<(), Failed> {
        fault::step(points.sync)
            .and_then(|()| self.file.sync_all())
            .map_err(Failed::at("sync", &self.path))?;
        fault::step(points.rename)
            .and_then(|()| fs::rename(&self.path, target))
            .map_err(Failed::at("rename to", target))?;
        self.named = true;
        let directory = target.parent().unwrap_or(Path::new("."));
        fault::step(points.dir).map_err(Failed::at("sync", directory))?;
        sync_dir(directory)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a whole file: durable under its name when this returns.
pub(crate) fn write(
    temporary: &Path,
    target: &Path,
    bytes: &[u8],
    points: Points,
) -> Result<(), Failed> {
    let mut file = Temporary::create(temporary)?;
    fault::step(points.temp).map_err(Failed::at("write", target))?;
    file.write(bytes)?;
    file.name(target, points)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Failed> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Failed::at("sync", path))
}

/// A directory of mode 0700 with all that lead to it.
pub(crate) fn make_dir(path: &Path) -> Result<(), Failed> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Failed::at("create", path))
}

/// A file of at most `limit` bytes; `None` when there is none. A longer one is an error.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Failed> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failed::at("open", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Failed::at("read", path))?;
    if bytes.len() as u64 > limit {
        let problem = format!("it is longer than {limit} bytes");
        return Err(Failed::at("read", path)(io::Error::other(problem)));
    }
    Ok(Some(bytes))
}

/// Opens a file for reading; a symbolic link, a pipe or a device is an error.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Digest and size of what a reader yields.
pub(crate) fn digest_of(mut body: impl Read) -> io::Result<(Digest, u64)> {
    let mut hash = sha2::Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok((Digest::from_bytes(hash.finalize().into()), size)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                size += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// A line of JSON with a line that holds its SHA-256: one changed byte is noticed.
pub(crate) fn seal(line: &[u8]) -> Vec<u8> {
    let mut sealed = line.to_vec();
    sealed.push(b'\n');
    sealed.extend_from_slice(Digest::of(line).to_hex().as_bytes());
    sealed.push(b'\n');
    sealed
}

/// The line inside a sealed file.
pub(crate) fn unseal(bytes: &[u8]) -> Result<&[u8], String> {
    // The digest's line has 64 digits and a line feed.
    let Some(split) = bytes.len().checked_sub(66).filter(|at| bytes[*at] == b'\n') else {
        return Err("it ends before its checksum".to_owned());
    };
    let (line, rest) = bytes.split_at(split);
    if rest[1..65] != *Digest::of(line).to_hex().as_bytes() || rest[65] != b'\n' {
        return Err("its checksum does not match: it was changed, or cut off".to_owned());
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_of_a_sealed_line_is_noticed() {
        let sealed = seal(b"{\"a\":1}");
        assert_eq!(unseal(&sealed), Ok(b"{\"a\":1}".as_slice()));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(unseal(&changed).is_err(), "byte {at}");
            assert!(unseal(&sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
