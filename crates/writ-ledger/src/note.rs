//! Signed notes as in [C2SP signed-note](https://c2sp.org/signed-note@v1.0.0).
//!
//! In scope: the note format, Ed25519 signatures (type `0x01`) and timestamped
//! Ed25519 cosignatures ([C2SP tlog-cosignature](https://c2sp.org/tlog-cosignature@v1.0.1),
//! type `0x04`), and the text form of their keys. Out of scope: ECDSA, RFC 6962
//! and ML-DSA signature types, whose lines are ignored as lines of unknown keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// Most signature lines that are read; the format asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

const ED25519: u8 = 0x01;
const COSIGNATURE_V1: u8 = 0x04;
const LINE_START: &str = "\u{2014} ";

/// Why a note, key or signature was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The bytes do not have the form of a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A signature line, counted from 1, cannot be read.
    #[error("signature line {line} is malformed")]
    SignatureLine {
        /// Line number among the signatures, from 1.
        line: usize,
    },
    /// A key's text form cannot be read.
    #[error("not a note key: {0}")]
    Key(&'static str),
    /// A known key's signature does not fit the text.
    #[error(
        "the signature of `{name}` does not fit the text: the note was changed or signed by another key"
    )]
    WrongSignature {
        /// The key's name.
        name: String,
    },
    /// No signature is by a known key.
    #[error("no signature by `{expected}` (key id {key_id}); the note carries {found}")]
    NotSigned {
        /// The name of the key that should have signed.
        expected: String,
        /// Its key id in hex.
        key_id: String,
        /// The names that did sign, joined.
        found: String,
    },
    /// Only a key that is no longer acceptable signed.
    #[error(
        "it is signed only by the retired key `{name}` (key id {key_id}); let the log sign a new checkpoint with its current key"
    )]
    Retired {
        /// The key's name.
        name: String,
        /// Its key id in hex.
        key_id: String,
    },
    /// A key that should sign did not, or not with itself.
    #[error("the key `{name}` (key id {key_id}) did not sign: {reason}")]
    Signer {
        /// The key's name.
        name: String,
        /// Its key id in hex.
        key_id: String,
        /// What happened, and what to do where that is known.
        reason: String,
    },
    /// The body is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The system gave no random bytes for a new key.
    #[error("the system gave no random bytes for a new key: {0}")]
    Random(String),
}

/// What a key's signatures state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 over the note text (the log itself).
    Ed25519,
    /// Timestamped cosignature over a checkpoint (a witness).
    Cosignature,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => ED25519,
            Self::Cosignature => COSIGNATURE_V1,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            ED25519 => Some(Self::Ed25519),
            COSIGNATURE_V1 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// Whether `name` can name a key: not empty, no spaces, no `+`, no control characters.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c == '+' || c.is_control())
}

/// First four bytes of `SHA-256(name ‖ 0x0A ‖ type ‖ public key)`.
fn key_id(name: &str, kind: KeyKind, public: &[u8; 32]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind.byte()])
        .chain_update(public)
        .finalize()
        .into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// A public key that checks one kind of signature under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteVerifier {
    name: String,
    id: [u8; 4],
    kind: KeyKind,
    key: VerifyingKey,
}

impl NoteVerifier {
    /// Names a public key. Refused when the name or the key cannot be used.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, NoteError> {
        if !is_key_name(name) {
            return Err(NoteError::Key("the name is empty or has spaces or `+`"));
        }
        let key = VerifyingKey::from_bytes(public)
            .map_err(|_| NoteError::Key("the bytes are no Ed25519 key"))?;
        if key.is_weak() {
            return Err(NoteError::Key("the Ed25519 key is of low order"));
        }
        Ok(Self {
            name: name.to_owned(),
            id: key_id(name, kind, public),
            kind,
            key,
        })
    }

    /// Reads `name+hex8+base64(type‖public key)`.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("expected `name+id+key`"));
        };
        let (kind, public) = decode_key(key)?;
        let verifier = Self::new(name, kind, &public)?;
        if hex::encode(verifier.id) == id {
            Ok(verifier)
        } else {
            Err(NoteError::Key("the id does not fit the key"))
        }
    }

    /// `name+hex8+base64(type‖public key)`, the form to publish.
    pub fn to_vkey(&self) -> String {
        format!(
            "{}+{}+{}",
            self.name,
            hex::encode(self.id),
            encode_key(self.kind, self.key.as_bytes())
        )
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes that a signature line starts with.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What a signature by this key states.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The raw Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether both are the same key under the same name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.id == other.id
    }

    /// Whether `signature` is this key's over `text`.
    pub(crate) fn fits(&self, text: &str, signature: &[u8]) -> bool {
        self.check(text, signature).is_some()
    }

    /// Checks one signature over the note text; a cosignature gives its time in
    /// seconds since 1970.
    fn check(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        match self.kind {
            KeyKind::Ed25519 => {
                let signature = Signature::from_slice(signature).ok()?;
                self.key
                    .verify_strict(text.as_bytes(), &signature)
                    .ok()
                    .map(|()| None)
            }
            KeyKind::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                let signature = Signature::from_slice(signature).ok()?;
                let message = cosignature_message(text, time);
                (time <= i64::MAX as u64
                    && self
                        .key
                        .verify_strict(message.as_bytes(), &signature)
                        .is_ok())
                .then_some(Some(time))
            }
        }
    }
}

/// A private Ed25519 key with its name. `Debug` shows the name only.
#[derive(Clone)]
pub struct NoteSigner {
    verifier: NoteVerifier,
    key: SigningKey,
}

impl NoteSigner {
    /// Names a private key, given as its 32-byte seed.
    pub fn from_seed(name: &str, kind: KeyKind, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self {
            verifier: NoteVerifier::new(name, kind, key.verifying_key().as_bytes())?,
            key,
        })
    }

    /// Makes a new key from the system's random bytes.
    pub fn generate(name: &str, kind: KeyKind) -> Result<Self, NoteError> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|e| NoteError::Random(e.to_string()))?;
        Self::from_seed(name, kind, &seed)
    }

    /// Reads `PRIVATE+KEY+name+hex8+base64(type‖seed)`.
    pub fn parse(skey: &str) -> Result<Self, NoteError> {
        let rest = skey
            .strip_prefix("PRIVATE+KEY+")
            .ok_or(NoteError::Key("expected `PRIVATE+KEY+…`"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("expected `PRIVATE+KEY+name+id+key`"));
        };
        let (kind, seed) = decode_key(key)?;
        let signer = Self::from_seed(name, kind, &seed)?;
        if hex::encode(signer.verifier.id) == id {
            Ok(signer)
        } else {
            Err(NoteError::Key("the id does not fit the key"))
        }
    }

    /// `PRIVATE+KEY+name+hex8+base64(type‖seed)`. This is the secret itself.
    pub fn to_skey(&self) -> String {
        let NoteVerifier { name, id, kind, .. } = &self.verifier;
        format!(
            "PRIVATE+KEY+{name}+{}+{}",
            hex::encode(id),
            encode_key(*kind, &self.key.to_bytes())
        )
    }

    /// The public half.
    pub fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The signature line over `text`, newline included. A cosignature states
    /// `time`, in seconds since 1970; a plain signature ignores it.
    pub fn sign_line(&self, text: &str, time: u64) -> String {
        let mut bytes = Vec::with_capacity(8 + 64);
        match self.verifier.kind {
            KeyKind::Ed25519 => bytes.extend(self.key.sign(text.as_bytes()).to_bytes()),
            KeyKind::Cosignature => {
                bytes.extend(time.to_be_bytes());
                bytes.extend(
                    self.key
                        .sign(cosignature_message(text, time).as_bytes())
                        .to_bytes(),
                );
            }
        }
        signature_line(&self.verifier, &bytes)
    }

    /// The plain signature over `text`. A witness's key has none to give.
    pub(crate) fn sign_text(&self, text: &str) -> Result<Vec<u8>, NoteError> {
        match self.verifier.kind {
            KeyKind::Ed25519 => Ok(self.key.sign(text.as_bytes()).to_bytes().to_vec()),
            KeyKind::Cosignature => Err(NoteError::Key("a witness's key cannot sign a log")),
        }
    }
}

/// The line of a signature, newline included.
pub(crate) fn signature_line(key: &NoteVerifier, signature: &[u8]) -> String {
    let mut bytes = key.id.to_vec();
    bytes.extend(signature);
    format!("{LINE_START}{} {}\n", key.name, STANDARD.encode(bytes))
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoteSigner")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// What a witness signs: a checkpoint's `body` at `time`, in seconds since 1970.
pub fn cosignature_message(body: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{body}")
}

fn encode_key(kind: KeyKind, key: &[u8; 32]) -> String {
    let mut bytes = vec![kind.byte()];
    bytes.extend(key);
    STANDARD.encode(bytes)
}

fn decode_key(text: &str) -> Result<(KeyKind, [u8; 32]), NoteError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| NoteError::Key("the key is not base64"))?;
    let (kind, key) = bytes
        .split_first()
        .ok_or(NoteError::Key("the key is empty"))?;
    let kind = KeyKind::from_byte(*kind).ok_or(NoteError::Key(
        "only Ed25519 keys (types 1 and 4) are supported",
    ))?;
    Ok((
        kind,
        key.try_into()
            .map_err(|_| NoteError::Key("an Ed25519 key has 32 bytes"))?,
    ))
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: [u8; 4],
    /// What follows the id.
    pub signature: Vec<u8>,
}

/// A note that has been read, not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature that was checked and fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub id: [u8; 4],
    /// Seconds since 1970 at which a witness cosigned.
    pub time: Option<u64>,
}

impl Note {
    /// Reads a signed note. Nothing is trusted before [`Note::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Malformed("it is longer than 1 MiB"));
        }
        let note =
            std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("it has control characters"));
        }
        // The text ends at the last empty line; text may have empty lines itself.
        let end = note
            .rfind("\n\n")
            .ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed(
            "no signature lines, or no newline at the end",
        ))?;
        let mut signatures = Vec::new();
        for (number, line) in lines.split('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(NoteError::Malformed("it has more than 100 signatures"));
            }
            signatures
                .push(parse_signature(line).ok_or(NoteError::SignatureLine { line: number + 1 })?);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The signed text, final newline included, before any signature is checked.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The signature lines in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The signature lines in order, for keeping.
    pub(crate) fn into_signatures(self) -> Vec<NoteSignature> {
        self.signatures
    }

    /// Checks the signatures of `known` keys. Lines of other keys are ignored;
    /// a known key's wrong signature refuses the whole note. Returns which
    /// known keys signed, possibly none.
    pub fn check(&self, known: &[&NoteVerifier]) -> Result<Vec<CheckedSignature>, NoteError> {
        let mut checked: Vec<CheckedSignature> = Vec::new();
        for line in &self.signatures {
            let Some(key) = known
                .iter()
                .find(|k| k.name == line.name && k.id == line.id)
            else {
                continue;
            };
            let time = key.check(&self.text, &line.signature).ok_or_else(|| {
                NoteError::WrongSignature {
                    name: line.name.clone(),
                }
            })?;
            checked.push(CheckedSignature {
                name: line.name.clone(),
                id: line.id,
                time,
            });
        }
        Ok(checked)
    }

    /// The text, if `key` signed it.
    pub fn verify(&self, key: &NoteVerifier) -> Result<&str, NoteError> {
        if self.check(&[key])?.is_empty() {
            let mut found: Vec<&str> = self.signatures.iter().map(|s| s.name.as_str()).collect();
            found.truncate(5);
            return Err(NoteError::NotSigned {
                expected: key.name.clone(),
                key_id: hex::encode(key.id),
                found: found.join(", "),
            });
        }
        Ok(&self.text)
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (is_key_name(name) && !signature.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        id: *id,
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(seed: u8, kind: KeyKind) -> NoteSigner {
        NoteSigner::from_seed("example.com/log", kind, &[seed; 32]).unwrap()
    }

    #[test]
    fn keys_survive_their_text_form() {
        for kind in [KeyKind::Ed25519, KeyKind::Cosignature] {
            let key = signer(7, kind);
            let again = NoteSigner::parse(&key.to_skey()).unwrap();
            assert_eq!(again.verifier(), key.verifier());
            assert_eq!(
                &NoteVerifier::parse(&key.verifier().to_vkey()).unwrap(),
                key.verifier()
            );
            assert!(!format!("{key:?}").contains(&hex::encode([7u8; 32])));
        }
    }

    #[test]
    fn a_vkey_with_any_changed_character_is_refused() {
        let vkey = signer(3, KeyKind::Ed25519).verifier().to_vkey();
        for at in 0..vkey.len() {
            let mut bytes = vkey.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(
                NoteVerifier::parse(&String::from_utf8(bytes).unwrap()).is_err(),
                "position {at}"
            );
        }
    }

    #[test]
    fn unknown_keys_are_ignored_and_known_ones_must_fit() {
        let (log, stranger) = (signer(1, KeyKind::Ed25519), signer(2, KeyKind::Ed25519));
        let text = "one\n\ntwo\n";
        let note = format!(
            "{text}\n{}{}",
            stranger.sign_line(text, 0),
            log.sign_line(text, 0)
        );
        let note = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(note.verify(log.verifier()).unwrap(), text);

        let forged = format!("{text}\n{}", stranger.sign_line(text, 0));
        assert!(matches!(
            Note::parse(forged.as_bytes())
                .unwrap()
                .verify(log.verifier()),
            Err(NoteError::NotSigned { .. })
        ));
        let other = format!("three\n\n{}", log.sign_line(text, 0));
        assert!(matches!(
            Note::parse(other.as_bytes())
                .unwrap()
                .verify(log.verifier()),
            Err(NoteError::WrongSignature { .. })
        ));
    }

    #[test]
    fn sixteen_signatures_are_accepted() {
        let text = "t\n";
        let lines: String = (0..16)
            .map(|seed| signer(seed + 1, KeyKind::Cosignature).sign_line(text, 9))
            .collect();
        let note = Note::parse(format!("{text}\n{lines}").as_bytes()).unwrap();
        let last = signer(16, KeyKind::Cosignature);
        assert_eq!(note.check(&[last.verifier()]).unwrap()[0].time, Some(9));
    }

    #[test]
    fn malformed_notes_are_refused() {
        for note in [
            "",
            "\n",
            "\n\n",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} a AAAA\n",
            "text\n\n\u{2014} a b\n",
            "text\n\n- a AAAAAAA=\n",
            "te\rxt\n\n\u{2014} a AAAAAAA=\n",
            "text\n\n\u{2014} a AAAAAAA=",
        ] {
            assert!(Note::parse(note.as_bytes()).is_err(), "{note:?}");
        }
    }
}
