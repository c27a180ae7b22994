//! Passphrases: where they come from, and that they do not stay.
//!
//! Never a flag: command lines are seen by everybody on the machine.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use super::KeyError;

/// Longest passphrase, in bytes.
const MAX_BYTES: usize = 1024;

/// Names a file that holds the passphrase.
pub const PASSPHRASE_FILE: &str = "WRIT_KEY_PASSPHRASE_FILE";

/// Holds the passphrase.
pub const PASSPHRASE: &str = "WRIT_KEY_PASSPHRASE";

/// Holds the passphrase, as cosign reads it.
pub const COSIGN_PASSWORD: &str = "COSIGN_PASSWORD";

/// Secret bytes that open a sealed key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// These bytes.
    ///
    /// # Errors
    /// They are more than 1,024.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() > MAX_BYTES {
            return Err(KeyError::Passphrase(format!(
                "the passphrase has {} bytes; at most {MAX_BYTES} are accepted",
                bytes.len()
            )));
        }
        Ok(Self(bytes))
    }

    /// The whole of a stream, without one line break at its end.
    ///
    /// # Errors
    /// It cannot be read, or is too long. `from` names it in the message.
    pub fn read(stream: impl Read, from: &str) -> Result<Self, KeyError> {
        // One allocation, so that no copy is left behind by its growth.
        let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 3]);
        let mut length = 0;
        let mut stream = stream.take(bytes.len() as u64);
        while let Some(free) = bytes.get_mut(length..).filter(|free| !free.is_empty()) {
            match stream.read(free) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(KeyError::Passphrase(format!(
                        "the passphrase cannot be read from {from}: {error}"
                    )));
                }
            }
        }
        bytes.truncate(length);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MAX_BYTES {
            return Err(KeyError::Passphrase(format!(
                "what {from} holds is longer than any passphrase ({MAX_BYTES} bytes)"
            )));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none: cosign allows that for keys of tests.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Passphrase(redacted)")
    }
}

/// What a passphrase is wanted for.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// To open the key in this file.
    Open(&'a Path),
    /// To seal the new key that goes into this file: whoever types it types it twice.
    Seal(&'a Path),
}

impl<'a> Ask<'a> {
    /// The key file.
    pub fn path(&self) -> &'a Path {
        match self {
            Self::Open(path) | Self::Seal(path) => path,
        }
    }
}

/// Where passphrases come from.
pub trait PassphraseSource: Send + Sync {
    /// The passphrase, or nothing when this source has none.
    ///
    /// # Errors
    /// The source is there and does not work.
    fn passphrase(&self, ask: Ask<'_>) -> Result<Option<Passphrase>, KeyError>;
}

/// `WRIT_KEY_PASSPHRASE_FILE`, else `WRIT_KEY_PASSPHRASE`, else `COSIGN_PASSWORD`.
///
/// The file may be a symbolic link and readable for others: mounted secrets are both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl PassphraseSource for Environment {
    fn passphrase(&self, _: Ask<'_>) -> Result<Option<Passphrase>, KeyError> {
        if let Some(path) = std::env::var_os(PASSPHRASE_FILE) {
            if path.is_empty() {
                return Err(KeyError::Passphrase(format!(
                    "{PASSPHRASE_FILE} is empty: unset it, or let it name a file"
                )));
            }
            let path = PathBuf::from(path);
            let from = format!("{} ({PASSPHRASE_FILE})", path.display());
            let file = File::open(&path).map_err(|error| {
                KeyError::Passphrase(format!(
                    "the passphrase cannot be read from {from}: {error}"
                ))
            })?;
            return Passphrase::read(file, &from).map(Some);
        }
        for name in [PASSPHRASE, COSIGN_PASSWORD] {
            if let Some(value) = std::env::var_os(name) {
                let mut bytes = value.into_encoded_bytes();
                // cosign takes an empty password for what it says; of ours it is a mistake.
                if bytes.is_empty() && name == PASSPHRASE {
                    return Err(KeyError::Passphrase(format!(
                        "{PASSPHRASE} is empty: unset it, or let it hold the passphrase"
                    )));
                }
                let passphrase = Passphrase::new(bytes.clone());
                bytes.zeroize();
                return passphrase.map(Some);
            }
        }
        Ok(None)
    }
}

/// One passphrase that is known already.
#[derive(Debug, Clone)]
pub struct Fixed(pub Passphrase);

impl PassphraseSource for Fixed {
    fn passphrase(&self, _: Ask<'_>) -> Result<Option<Passphrase>, KeyError> {
        Ok(Some(self.0.clone()))
    }
}
