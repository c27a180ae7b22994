//! Which log keys are believed of a server: those that `writ.toml` names, else those that it told
//! when it was first spoken to.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use writ_ledger::{LogKeys, NoteVerifier};
use writ_model::wire::About;
use writ_render::EdgeError;

use super::Remote;
use crate::edge::{self, Edge};

/// Largest file of pins, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Most keys of one server.
const MAX_KEYS: usize = 32;

/// An address as the name of a file: `https_writ.example_8443`.
pub fn name(address: &str) -> String {
    let mut name = String::new();
    for sign in address.chars() {
        match sign {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => name.push(sign),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    // No name that leads elsewhere, none that is too long.
    name.trim_matches(['.', '_']).chars().take(200).collect()
}

/// Where the keys of a server are pinned.
pub fn file(trust: &Path, address: &str) -> PathBuf {
    trust
        .join("servers")
        .join(format!("{}.vkeys", name(address)))
}

/// The keys that are believed of a server, pinned when there are none yet.
///
/// # Errors
/// A configured or pinned key cannot be read, or the server tells of none.
pub fn keys(remote: &Remote, about: &About) -> Result<LogKeys, EdgeError> {
    if !remote.configured.is_empty() {
        return parse(remote.configured.iter().map(String::as_str))
            .map_err(|problem| edge::usage(problem).at("[server] log_keys of writ.toml"));
    }
    let path = &remote.pins;
    if read(path)?.is_none() {
        let told = parse(about.log_keys.iter().take(MAX_KEYS).map(String::as_str));
        let told = told.map_err(|problem| {
            edge::cannot_tell("the server tells of no log key that could be pinned")
                .at(remote.address())
                .because(problem)
        })?;
        pin(path, remote.address(), &told)?;
        if !remote.quiet {
            eprintln!(
                "first use of {}: its log key is pinned in {}",
                remote.address(),
                path.display()
            );
        }
    }
    // What another command pinned at the same moment counts.
    let pinned = read(path)?.ok_or_else(|| {
        edge::cannot_tell("the pinned key of the server vanished").at(path.display())
    })?;
    let lines = pinned.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    parse(lines).map_err(|problem| edge::usage(problem).at(path.display()))
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<LogKeys, String> {
    let mut keys = Vec::new();
    for line in lines {
        let short: String = line.chars().take(80).collect();
        let key = NoteVerifier::parse(line)
            .map_err(|error| format!("'{short}' is not a verifier key: {error}"))?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("there is no key".to_owned());
    }
    Ok(LogKeys::new(keys))
}

fn read(path: &Path) -> Result<Option<String>, EdgeError> {
    let failed = |error: std::io::Error| {
        edge::cannot_tell("the pinned key of the server cannot be read")
            .at(path.display())
            .because(error)
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(edge::usage("the file of pinned keys is too large").at(path.display()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}

/// Writes the keys once; a file that is there stays.
fn pin(path: &Path, address: &str, keys: &LogKeys) -> Result<(), EdgeError> {
    let failed = |error: std::io::Error| {
        edge::cannot_tell("the log key of the server cannot be pinned")
            .at(path.display())
            .because(error)
    };
    if let Some(folder) = path.parent() {
        if let Some(trust) = folder.parent() {
            // The directory of keys is made as a whole, before anything is put into it.
            writ_registry::Trust::open(trust, true)
                .map_err(|error| crate::store::registry_error(&error))?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
    }
    let mut text = format!("# Log keys of {address}, pinned at first use.\n");
    for key in keys.current() {
        text.push_str(&key.to_vkey());
        text.push('\n');
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    // Made for its owner alone, as all of these files.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        // The first one pins.
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_of_files() {
        for (address, expected) in [
            ("https://writ.example", "https_writ.example"),
            ("http://127.0.0.1:8080", "http_127.0.0.1_8080"),
            ("http://[::1]:80/base", "http_1_80_base"),
            ("https://a/../../b", "https_a_.._.._b"),
            ("..", ""),
        ] {
            assert_eq!(name(address), expected);
        }
        assert_eq!(name(&"x".repeat(900)).len(), 200);
    }

    #[test]
    fn the_first_pin_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers/a.vkeys");
        let key = |seed: u8| {
            let signer =
                writ_ledger::NoteSigner::from_seed("l", writ_ledger::KeyKind::Ed25519, &[seed; 32])
                    .unwrap();
            LogKeys::new([signer.verifier().clone()])
        };
        pin(&path, "https://a", &key(1)).unwrap();
        pin(&path, "https://a", &key(2)).unwrap();
        let text = read(&path).unwrap().unwrap();
        assert!(text.contains(&key(1).current()[0].to_vkey()));
        assert!(!text.contains(&key(2).current()[0].to_vkey()));
    }
}
