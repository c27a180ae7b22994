//! A registration: an authenticator made a passkey and hands over its public key.

use super::authenticator::{self, Presence, malformed};
use super::cbor::{Key, Reader};
use super::client::{self, RelyingParty};
use super::{MAX_ATTESTATION, MAX_CREDENTIAL_ID, PasskeyError, limit};
use crate::key::PublicKey;

/// COSE numbers of the algorithms that are taken, the wished one first.
pub const ALGORITHMS: [i64; 2] = [ES256, EDDSA];

const ES256: i64 = -7;
const EDDSA: i64 = -8;

/// A passkey that an authenticator made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPasskey {
    /// Its id.
    pub credential_id: Vec<u8>,
    /// Its public key.
    pub key: PublicKey,
    /// What the authenticator saw.
    pub presence: Presence,
}

/// Reads what an authenticator answers when a passkey is made. An attestation is passed over.
///
/// # Errors
/// [`PasskeyError`]: what was found, and what is required.
pub fn register(
    client_data: &[u8],
    attestation: &[u8],
    site: RelyingParty<'_>,
    challenge: &[u8; 32],
) -> Result<NewPasskey, PasskeyError> {
    limit("the attestation", attestation, MAX_ATTESTATION)?;
    client::check(client_data, "webauthn.create", site, challenge)?;
    let data = authenticator_data(attestation).map_err(|problem| PasskeyError::Malformed {
        part: "the attestation",
        problem,
    })?;
    let read = authenticator::read(data, site.id)?;
    if !read.attested {
        return Err(malformed("it brings no passkey".to_owned()));
    }
    // AAGUID, then the length of the id.
    let Some(([.., high, low], rest)) = read.rest.split_first_chunk::<18>() else {
        return Err(malformed("it ends before the passkey's id".to_owned()));
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 || length > MAX_CREDENTIAL_ID {
        return Err(malformed(format!(
            "the passkey's id has {length} bytes; 1 to {MAX_CREDENTIAL_ID} are allowed"
        )));
    }
    let Some((id, rest)) = rest.split_at_checked(length) else {
        return Err(malformed("it ends inside of the passkey's id".to_owned()));
    };
    let mut reader = Reader::new(rest);
    let key = cose_key(&mut reader)?;
    if read.extensions {
        reader.skip().map_err(malformed)?;
    }
    if reader.position() != rest.len() {
        return Err(malformed("something follows its end".to_owned()));
    }
    Ok(NewPasskey {
        credential_id: id.to_vec(),
        key,
        presence: read.presence,
    })
}

fn authenticator_data(attestation: &[u8]) -> Result<&[u8], String> {
    let mut reader = Reader::new(attestation);
    let mut data = None;
    let mut seen = Vec::new();
    for _ in 0..reader.map()? {
        let key = reader.key()?;
        if seen.contains(&key) {
            return Err(format!("{key:?} is there twice"));
        }
        match key {
            Key::Text("authData") => data = Some(reader.blob()?),
            Key::Text("fmt") => {
                reader.text()?;
            }
            _ => reader.skip()?,
        }
        seen.push(key);
    }
    if reader.position() != attestation.len() {
        return Err("something follows its end".to_owned());
    }
    data.ok_or_else(|| "it has no authData".to_owned())
}

/// A public key as [RFC 9053](https://www.rfc-editor.org/rfc/rfc9053) writes it. Kind, algorithm and
/// curve must belong together, so that no key is used as one of another kind.
fn cose_key(reader: &mut Reader<'_>) -> Result<PublicKey, PasskeyError> {
    let (mut kind, mut algorithm, mut curve) = (None, None, None);
    let (mut x, mut y) = (None, None);
    let mut seen = Vec::new();
    let mut read = || -> Result<(), String> {
        for _ in 0..reader.map()? {
            let key = reader.key()?;
            if seen.contains(&key) {
                return Err(format!("{key:?} is there twice"));
            }
            match key {
                Key::Number(1) => kind = Some(reader.number()?),
                Key::Number(3) => algorithm = Some(reader.number()?),
                Key::Number(-1) => curve = Some(reader.number()?),
                Key::Number(-2) => x = Some(coordinate(reader.blob()?)?),
                Key::Number(-3) => y = Some(coordinate(reader.blob()?)?),
                other => return Err(format!("{other:?} does not belong there")),
            }
            seen.push(key);
        }
        Ok(())
    };
    let wrong = |problem: String| PasskeyError::Malformed {
        part: "the passkey's key",
        problem,
    };
    read().map_err(wrong)?;
    let algorithm = algorithm.ok_or_else(|| wrong("it names no algorithm".to_owned()))?;
    let key = match (algorithm, kind, curve, x, y) {
        (ES256, Some(2), Some(1), Some(x), Some(y)) => PublicKey::from_p256_coordinates(&x, &y),
        (EDDSA, Some(1), Some(6), Some(x), None) => PublicKey::from_ed25519_raw(&x),
        (ES256 | EDDSA, ..) => {
            return Err(wrong(format!(
                "kind {kind:?} and curve {curve:?} do not belong to the algorithm {algorithm}"
            )));
        }
        (found, ..) => return Err(PasskeyError::Algorithm { found }),
    };
    key.map_err(|error| wrong(error.to_string()))
}

fn coordinate(bytes: &[u8]) -> Result<[u8; 32], String> {
    bytes
        .try_into()
        .map_err(|_| format!("a coordinate has {} bytes, not 32", bytes.len()))
}
