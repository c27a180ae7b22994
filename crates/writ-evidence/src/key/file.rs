//! Private keys on disk: PKCS#8 PEM, mode 0600, never through a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::public::MAX_KEY_DOCUMENT;
use super::{KeyError, LocalSigner};

/// Permission bits that let anybody but the owner at the file.
const OTHERS: u32 = 0o077;

/// Writes the key to a new file that only its owner may read, durably. Never overwrites.
///
/// # Errors
/// The file exists already, or cannot be written.
pub fn save_private_key(signer: &LocalSigner, path: &Path) -> Result<(), KeyError> {
    let pem = signer.to_pkcs8_pem()?;
    let failed = |reason| {
        move |source| KeyError::File {
            path: path.to_owned(),
            reason,
            source,
        }
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(
            "cannot be created (an existing key is never overwritten)",
        ))?;
    let written = file
        .write_all(pem.as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(source) = written {
        // Half a key would be refused later with a puzzling message; leave nothing behind.
        let _ = std::fs::remove_file(path);
        return Err(failed("cannot be written")(source));
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("its directory cannot be synced"))?;
    }
    Ok(())
}

/// Reads a private key, refusing files that group or world may read, symbolic links, and anything
/// that is not a plain small file. The checks are made on the opened file, not on its name.
///
/// # Errors
/// As stated, or the file does not hold an Ed25519 or P-256 PKCS#8 key.
pub fn load_private_key(path: &Path) -> Result<LocalSigner, KeyError> {
    let failed = |reason| {
        move |source| KeyError::File {
            path: path.to_owned(),
            reason,
            source,
        }
    };
    // NONBLOCK: opening a FIFO must not hang before its type can be seen.
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed("cannot be opened (symbolic links are not followed)"))?;
    let metadata = file.metadata().map_err(failed("cannot be examined"))?;
    if !metadata.is_file() {
        return Err(KeyError::NotAKeyFile {
            path: path.to_owned(),
            reason: "it is not a regular file",
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let limit = MAX_KEY_DOCUMENT as u64;
    if metadata.len() > limit {
        return Err(KeyError::NotAKeyFile {
            path: path.to_owned(),
            reason: "it is larger than any key",
        });
    }
    let mut pem = Zeroizing::new(String::with_capacity(MAX_KEY_DOCUMENT));
    file.take(limit)
        .read_to_string(&mut pem)
        .map_err(failed("cannot be read"))?;
    LocalSigner::from_pkcs8_pem(&pem)
}
