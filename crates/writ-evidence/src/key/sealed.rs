//! Private keys under a passphrase, in the file format of cosign.
//!
//! A PEM document whose body is JSON: scrypt turns the passphrase into a key, NaCl `secretbox`
//! (XSalsa20-Poly1305) seals the PKCS#8 DER with it. It is what `cosign generate-key-pair` writes
//! and what the Go package `go-securesystemslib/encrypted` reads, so keys go both ways.
//!
//! The cost of the passphrase is chosen by the file, which is hostile input until it is open:
//! only the three costs that are in use anywhere are accepted (at most 128 MiB of memory).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::public::MAX_KEY_DOCUMENT;
use super::{KeyError, LocalSigner, Passphrase};

/// What a sealed key file begins with since cosign 2.
const LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";

/// What older ones begin with.
const OLD_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";

/// Columns of the base64 in the PEM, as Go writes them.
const PEM_COLUMNS: usize = 64;

const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The costs that are accepted, as log2 of scrypt's N: cosign's oldest, its present one, and the one that OWASP
/// asks for. 32, 64 and 128 MiB of memory; r is 8 and p is 1 in all of them.
const LOG_N: [u8; 3] = [15, 16, 17];

/// The cost of new files: cosign's present one, so that every cosign reads them.
const NEW_LOG_N: u8 = 16;

const R: u32 = 8;
const P: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Wire {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// A private key that a passphrase opens. What it says of itself is not authenticated before that.
pub struct SealedKey {
    log_n: u8,
    salt: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

impl SealedKey {
    /// Whether the document says that it is a sealed key.
    pub fn is_sealed(pem: &str) -> bool {
        label(pem).is_some_and(|label| label == LABEL || label == OLD_LABEL)
    }

    /// Reads a sealed key. Nothing is computed yet: whatever the document asks for, this costs no
    /// more than its length, of which at most 16 KiB are accepted.
    ///
    /// # Errors
    /// The document is not of this format, or asks for a cost that is not in use anywhere.
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > MAX_KEY_DOCUMENT {
            return Err(malformed(format!(
                "{} bytes are more than any key has",
                pem.len()
            )));
        }
        let wire: Wire = serde_json::from_slice(&body(pem)?).map_err(|error| {
            malformed(format!("its body is not the JSON of a sealed key: {error}"))
        })?;
        if wire.kdf.name != "scrypt" {
            return Err(malformed(format!(
                "its passphrase is stretched by {:?}; expected \"scrypt\"",
                shown(&wire.kdf.name)
            )));
        }
        if wire.cipher.name != "nacl/secretbox" {
            return Err(malformed(format!(
                "its cipher is {:?}; expected \"nacl/secretbox\"",
                shown(&wire.cipher.name)
            )));
        }
        let Params { n, r, p } = wire.kdf.params;
        let log_n = LOG_N
            .into_iter()
            .find(|log_n| n == 1 << log_n && r == u64::from(R) && p == u64::from(P))
            .ok_or_else(|| {
                malformed(format!(
                    "it asks for scrypt with N={n}, r={r}, p={p}; accepted are N=32768, 65536 and 131072 with r=8, p=1"
                ))
            })?;
        let salt = bytes("salt", &wire.kdf.salt)?;
        if !(8..=64).contains(&salt.len()) {
            return Err(malformed(format!("its salt has {} bytes", salt.len())));
        }
        let nonce = bytes("nonce", &wire.cipher.nonce)?
            .try_into()
            .map_err(|nonce: Vec<u8>| {
                malformed(format!("its nonce has {} bytes; expected 24", nonce.len()))
            })?;
        Ok(Self {
            log_n,
            salt,
            nonce,
            ciphertext: bytes("ciphertext", &wire.ciphertext)?,
        })
    }

    /// Opens it. Costs up to half a second and 128 MiB of memory: that is what slows a thief.
    ///
    /// # Errors
    /// [`KeyError::WrongPassphrase`]; or what was sealed is not a key of a known kind.
    pub fn open(&self, passphrase: &Passphrase) -> Result<LocalSigner, KeyError> {
        let opened = cipher(passphrase, &self.salt, self.log_n)?
            .decrypt(&Nonce::from(self.nonce), self.ciphertext.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| KeyError::WrongPassphrase)?;
        LocalSigner::from_pkcs8_der(&opened)
    }

    /// The sealed form of a key, with a new salt and nonce.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn seal(signer: &LocalSigner, passphrase: &Passphrase) -> Result<String, KeyError> {
        let mut salt = [0; SALT_BYTES];
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut salt).map_err(KeyError::Randomness)?;
        getrandom::fill(&mut nonce).map_err(KeyError::Randomness)?;
        let der = signer.to_pkcs8_der()?;
        let ciphertext = cipher(passphrase, &salt, NEW_LOG_N)?
            .encrypt(&Nonce::from(nonce), der.as_slice())
            .map_err(|_| malformed("it could not be sealed".to_owned()))?;
        let wire = Wire {
            kdf: Kdf {
                name: "scrypt".to_owned(),
                params: Params {
                    n: 1 << NEW_LOG_N,
                    r: u64::from(R),
                    p: u64::from(P),
                },
                salt: STANDARD.encode(salt),
            },
            cipher: Cipher {
                name: "nacl/secretbox".to_owned(),
                nonce: STANDARD.encode(nonce),
            },
            ciphertext: STANDARD.encode(ciphertext),
        };
        let json = serde_json::to_vec(&wire).map_err(|error| malformed(error.to_string()))?;
        let mut pem = format!("-----BEGIN {LABEL}-----\n");
        let encoded = STANDARD.encode(json);
        for line in encoded.as_bytes().chunks(PEM_COLUMNS) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str(&format!("-----END {LABEL}-----\n"));
        Ok(pem)
    }
}

/// Shows the cost, which is no secret, and nothing else.
impl fmt::Debug for SealedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedKey(scrypt N=2^{})", self.log_n)
    }
}

fn cipher(passphrase: &Passphrase, salt: &[u8], log_n: u8) -> Result<XSalsa20Poly1305, KeyError> {
    let cost = scrypt::Params::new(log_n, R, P).map_err(|error| malformed(error.to_string()))?;
    let mut key = Zeroizing::new([0_u8; 32]);
    scrypt::scrypt(passphrase.as_bytes(), salt, &cost, key.as_mut_slice())
        .map_err(|error| malformed(error.to_string()))?;
    XSalsa20Poly1305::new_from_slice(key.as_slice()).map_err(|error| malformed(error.to_string()))
}

/// The label of a PEM document's first line.
fn label(pem: &str) -> Option<&str> {
    pem.trim_start()
        .lines()
        .next()?
        .trim_end()
        .strip_prefix("-----BEGIN ")?
        .strip_suffix("-----")
}

/// The bytes inside the PEM: one document, and nothing after it.
fn body(pem: &str) -> Result<Vec<u8>, KeyError> {
    let label = label(pem)
        .filter(|label| *label == LABEL || *label == OLD_LABEL)
        .ok_or_else(|| malformed(format!("it does not begin with -----BEGIN {LABEL}-----")))?;
    let end = format!("-----END {label}-----");
    let mut encoded = String::with_capacity(pem.len());
    let mut lines = pem.trim().lines().skip(1);
    let ended = lines.by_ref().any(|line| {
        let line = line.trim();
        encoded.push_str(if line == end { "" } else { line });
        line == end
    });
    if !ended {
        return Err(malformed(format!("it does not end with {end}")));
    }
    if lines.next().is_some() {
        return Err(malformed(format!("there is something after {end}")));
    }
    STANDARD
        .decode(&encoded)
        .map_err(|error| malformed(format!("its body is not base64: {error}")))
}

fn bytes(field: &str, text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD
        .decode(text)
        .map_err(|error| malformed(format!("its {field} is not base64: {error}")))
}

/// Names from the file, for a message: bounded.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn malformed(reason: String) -> KeyError {
    KeyError::Malformed {
        what: "sealed private key",
        reason,
        expected: "a key file as `cosign generate-key-pair` writes it",
    }
}
