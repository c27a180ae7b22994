//! The token that `writ login` got, kept for one server: `TRUST/servers/ADDRESS.token`, readable by its
//! owner only.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_connect::Secret;
use writ_connect::server::PersonalToken;
use writ_model::Timestamp;
use writ_render::EdgeError;
use zeroize::Zeroizing;

use super::pins;
use crate::edge::{self, Edge};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    server: String,
    account: String,
    id: String,
    expires_at: Timestamp,
    token: String,
}

/// Where the token of a server is kept.
pub fn file(trust: &Path, address: &str) -> PathBuf {
    trust
        .join("servers")
        .join(format!("{}.token", pins::name(address)))
}

/// The token that is kept for a server; `None` when there is none, or it ended.
///
/// # Errors
/// The file cannot be read, is no such file, or others can read it.
pub fn read(
    trust: &Path,
    address: &str,
    now: Timestamp,
) -> Result<Option<PersonalToken>, EdgeError> {
    let path = file(trust, address);
    let wrong = |problem: String| {
        edge::usage(problem)
            .at(path.display())
            .try_this(format!("writ login --server {address}"))
    };
    let found = match std::fs::metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("the token cannot be read: {error}"))),
    };
    if found.permissions().mode() & 0o077 != 0 {
        return Err(wrong("others can read the token".to_owned())
            .because("whoever read it can act with it; a new one is needed"));
    }
    if found.len() > MAX_BYTES {
        return Err(wrong(format!("it has more than {MAX_BYTES} bytes")));
    }
    let bytes = std::fs::read(&path).map(Zeroizing::new);
    let bytes = bytes.map_err(|error| wrong(format!("the token cannot be read: {error}")))?;
    let kept: Kept = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("it is not what writ login writes: {error}")))?;
    // The name of the file is not the address: two addresses may have one.
    if kept.server != address || kept.expires_at <= now {
        return Ok(None);
    }
    let secret = Secret::new(kept.token);
    Ok(secret.map(|secret| PersonalToken {
        secret,
        id: kept.id,
        account: kept.account,
        expires_at: kept.expires_at,
    }))
}

/// Keeps a token for a server, instead of the one before.
///
/// # Errors
/// It cannot be written.
pub fn keep(trust: &Path, address: &str, token: &PersonalToken) -> Result<PathBuf, EdgeError> {
    let path = file(trust, address);
    let kept = Kept {
        server: address.to_owned(),
        account: token.account.clone(),
        id: token.id.clone(),
        expires_at: token.expires_at,
        token: token.secret.expose().to_owned(),
    };
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(trust);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let text = Zeroizing::new(serde_json::to_vec_pretty(&kept)?);
        // Complete or not at all, and never with other rights, not even for a moment.
        let new = path.with_extension("token.new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, &path)
    };
    write().map_err(|error| {
        edge::cannot_tell(format!("the token cannot be kept: {error}")).at(path.display())
    })?;
    Ok(path)
}

/// Forgets the token of a server; `false` when there was none.
///
/// # Errors
/// It cannot be removed.
pub fn forget(trust: &Path, address: &str) -> Result<bool, EdgeError> {
    let path = file(trust, address);
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(
            edge::cannot_tell(format!("the token cannot be removed: {error}")).at(path.display()),
        ),
    }
}
