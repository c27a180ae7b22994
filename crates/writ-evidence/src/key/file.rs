//! Private keys on disk: PKCS#8 PEM or sealed under a passphrase, mode 0600, never through a
//! symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::passphrase::{Ask, PassphraseSource};
use super::public::MAX_KEY_DOCUMENT;
use super::sealed::SealedKey;
use super::{KeyError, LocalSigner};

/// Permission bits that let anybody but the owner at the file.
const OTHERS: u32 = 0o077;

/// A private key file as it was read.
#[derive(Debug)]
pub enum PrivateKeyFile {
    /// The key lies open in it.
    Open(LocalSigner),
    /// The key is sealed under a passphrase.
    Sealed(SealedKey),
}

/// Writes the key to a new file that only its owner may read, durably. Never overwrites.
///
/// # Errors
/// The file exists already, or cannot be written.
pub fn save_private_key(signer: &LocalSigner, path: &Path) -> Result<(), KeyError> {
    write(&signer.to_pkcs8_pem()?, path)
}

/// Writes the key, sealed under a passphrase of at least one byte, as [`save_private_key`] does.
///
/// # Errors
/// As [`save_private_key`], and `passphrases` has none.
pub fn save_sealed_key(
    signer: &LocalSigner,
    path: &Path,
    passphrases: &dyn PassphraseSource,
) -> Result<(), KeyError> {
    write(&sealed_pem(signer, path, passphrases)?, path)
}

/// What [`save_sealed_key`] would write into `path`: for callers that must do the slow part, which
/// may ask somebody for a passphrase, before they begin with anything else.
///
/// # Errors
/// `passphrases` has none, or an empty one.
pub fn sealed_pem(
    signer: &LocalSigner,
    path: &Path,
    passphrases: &dyn PassphraseSource,
) -> Result<Zeroizing<String>, KeyError> {
    let passphrase =
        passphrases
            .passphrase(Ask::Seal(path))?
            .ok_or_else(|| KeyError::NoPassphrase {
                path: path.to_owned(),
            })?;
    if passphrase.is_empty() {
        return Err(KeyError::Passphrase(
            "the passphrase is empty: the key would be as good as open".to_owned(),
        ));
    }
    SealedKey::seal(signer, &passphrase).map(Zeroizing::new)
}

/// Writes the PEM of a private key, open or sealed, as [`save_private_key`] does.
///
/// # Errors
/// As [`save_private_key`].
pub fn save_private_pem(pem: &str, path: &Path) -> Result<(), KeyError> {
    write(pem, path)
}

fn write(pem: &str, path: &Path) -> Result<(), KeyError> {
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

/// Reads an open private key; refuses what [`read_private_key`] refuses, and sealed keys.
///
/// # Errors
/// As [`read_private_key`], and [`KeyError::NoPassphrase`] for a sealed key.
pub fn load_private_key(path: &Path) -> Result<LocalSigner, KeyError> {
    match read_private_key(path)? {
        PrivateKeyFile::Open(signer) => Ok(signer),
        PrivateKeyFile::Sealed(_) => Err(KeyError::NoPassphrase {
            path: path.to_owned(),
        }),
    }
}

/// Reads a private key, and opens a sealed one with the passphrase that `passphrases` gives.
///
/// # Errors
/// As [`read_private_key`]; no passphrase, or a wrong one.
pub fn open_private_key(
    path: &Path,
    passphrases: &dyn PassphraseSource,
) -> Result<LocalSigner, KeyError> {
    let sealed = match read_private_key(path)? {
        PrivateKeyFile::Open(signer) => return Ok(signer),
        PrivateKeyFile::Sealed(sealed) => sealed,
    };
    let passphrase =
        passphrases
            .passphrase(Ask::Open(path))?
            .ok_or_else(|| KeyError::NoPassphrase {
                path: path.to_owned(),
            })?;
    sealed.open(&passphrase).map_err(|error| error.of(path))
}

/// Reads a private key file, refusing files that group or world may read, symbolic links, and
/// anything that is not a plain small file. The checks are made on the opened file, not on its name.
///
/// # Errors
/// As stated, or the file does not hold an Ed25519 or P-256 key.
pub fn read_private_key(path: &Path) -> Result<PrivateKeyFile, KeyError> {
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
    if SealedKey::is_sealed(&pem) {
        return SealedKey::parse(&pem)
            .map(PrivateKeyFile::Sealed)
            .map_err(|error| error.of(path));
    }
    LocalSigner::from_pkcs8_pem(&pem)
        .map(PrivateKeyFile::Open)
        .map_err(|error| error.of(path))
}
