//! Signatures that were found good before.
//!
//! That a key made a signature over some bytes is a fact that no time changes; whether the key is
//! believed is not, and is asked anew every time. So only the first is remembered.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::key::TrustedKey;

/// Signatures per generation; two generations are kept, of 32 bytes each.
const GENERATION: usize = 4_096;

/// A bounded memory of good signatures, shared by threads. Bad ones are never remembered.
#[derive(Default)]
pub struct Memo(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Memo {
    /// An empty memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the key made the signature over the message with this SHA-256, by memory or by
    /// verification of the whole `message`.
    pub(super) fn verifies(
        &self,
        key: &TrustedKey,
        digest: &[u8; 32],
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let name = name(key, digest, signature);
        if self.knows(&name) {
            return true;
        }
        let good = key.key.verifies(message, signature, key.encoding);
        if good {
            self.remember(name);
        }
        good
    }

    fn knows(&self, name: &[u8; 32]) -> bool {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.contains(name) || generations.old.contains(name)
    }

    fn remember(&self, name: [u8; 32]) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(name);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(
            formatter,
            "Memo({} signatures)",
            generations.young.len() + generations.old.len()
        )
    }
}

/// Names the fact "this key, in this encoding, signed this": every part has a fixed length but the
/// last one.
fn name(key: &TrustedKey, digest: &[u8; 32], signature: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(key.key.id().as_bytes())
        .chain_update([key.encoding as u8])
        .chain_update(digest)
        .chain_update(signature)
        .finalize()
        .into()
}
