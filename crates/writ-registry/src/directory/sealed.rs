//! Secrets of people at rest: encrypted under a key of the trust directory, so that a copy of the
//! database alone gives nobody's codes away.

use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};

use super::refused;
use crate::error::Result;

const NONCE: usize = 24;

/// Encrypts (XSalsa20-Poly1305): hexadecimal nonce and text.
pub(super) fn seal(key: &[u8; 32], secret: &[u8]) -> Result<String> {
    let mut nonce = [0_u8; NONCE];
    getrandom::fill(&mut nonce).map_err(|e| refused(format!("no random numbers: {e}")))?;
    let sealed = XSalsa20Poly1305::new(key.into())
        .encrypt(&Nonce::from(nonce), secret)
        .map_err(|_| refused("the secret cannot be encrypted"))?;
    Ok(format!("{}{}", hex::encode(nonce), hex::encode(sealed)))
}

/// Decrypts; `None` when it was made under another key or changed.
pub(super) fn open(key: &[u8; 32], sealed: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
    let nonce: [u8; NONCE] = nonce.try_into().ok()?;
    XSalsa20Poly1305::new(key.into())
        .decrypt(&Nonce::from(nonce), sealed)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_its_key_only() {
        let sealed = seal(&[7; 32], b"secret").unwrap();
        assert_eq!(open(&[7; 32], &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(open(&[8; 32], &sealed), None);
        assert_eq!(open(&[7; 32], &sealed[2..]), None);
        assert_eq!(open(&[7; 32], "zz"), None);
    }
}
