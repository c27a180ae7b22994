//! Opening envelopes: whose key signed, and for what it is trusted.

use std::sync::Arc;

use writ_evidence::Envelope;
use writ_evidence::dsse::{self, Memo, Verified, VerifyError};
use writ_evidence::key::{KeyId, Purpose, Refusal, TrustedKey, TrustedKeys};
use writ_evidence::statement::Statement;
use writ_model::Timestamp;

use super::VSA;
use crate::keys::job;

/// Opens envelopes with the keys that are trusted.
pub(crate) struct Opener {
    keys: Arc<TrustedKeys>,
    memo: Arc<Memo>,
}

impl Opener {
    /// Verifies every signature itself.
    pub(crate) fn new(keys: Arc<TrustedKeys>) -> Self {
        Self {
            keys,
            memo: Arc::default(),
        }
    }

    /// With what was verified before: no signature is computed twice.
    pub(crate) fn remembering(self, memo: &Arc<Memo>) -> Self {
        Self {
            memo: Arc::clone(memo),
            ..self
        }
    }

    fn verify(
        &self,
        envelope: &Envelope,
        purpose: &Purpose,
        at: Timestamp,
    ) -> Result<Verified<Vec<u8>>, VerifyError> {
        dsse::verify_with(envelope, &self.keys.select(purpose, at), 1, &self.memo)
    }

    /// The payload of an envelope that a key trusted at `at` signed for what it says.
    pub(crate) fn open(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Result<Verified<Vec<u8>>, String> {
        match self.verify(envelope, &Purpose::Producer, at) {
            Ok(verified) => Ok(verified),
            Err(VerifyError::NotEnough { .. }) => self
                .open_writ(envelope, at)
                .ok_or_else(|| self.why_refused(envelope, at)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keys for writs sign writs and nothing else.
    fn open_writ(&self, envelope: &Envelope, at: Timestamp) -> Option<Verified<Vec<u8>>> {
        let purposes: std::collections::BTreeSet<&Purpose> = self
            .keys
            .iter()
            .flat_map(|key| &key.purposes)
            .filter(|purpose| matches!(purpose, Purpose::Writ(_)))
            .collect();
        purposes.into_iter().find_map(|purpose| {
            let verified = self.verify(envelope, purpose, at).ok()?;
            let statement = Statement::parse_any(verified.content()).ok()?;
            (statement.predicate_type == VSA).then_some(verified)
        })
    }

    /// The key that may be a job's: the first that it names, where it names none that is trusted.
    pub(crate) fn stranger(&self, envelope: &Envelope) -> Option<KeyId> {
        job::stranger(&job::named_keys(envelope), &self.keys)
    }

    /// The trusted keys that did sign, each with why its signature does not count at `at`.
    pub(crate) fn refused_keys(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Vec<(&TrustedKey, Refusal<'_>)> {
        self.keys
            .iter()
            .filter(|key| dsse::is_signed_by(envelope, key))
            .filter_map(|key| Some((key, key.refusal(judged_as(key), at)?)))
            .collect()
    }

    fn why_refused(&self, envelope: &Envelope, at: Timestamp) -> String {
        if let Some((key, why)) = self.refused_keys(envelope, at).first() {
            return format!(
                "key '{}' ({}) signed it, and does not count for it at {at}: {why}",
                key.name,
                key.key.id()
            );
        }
        let named: Vec<String> = envelope
            .signatures()
            .iter()
            .map(|signature| match &signature.keyid {
                Some(id) => id
                    .chars()
                    .take(64)
                    .collect::<String>()
                    .escape_debug()
                    .to_string(),
                None => "an unnamed key".to_owned(),
            })
            .collect();
        let known = self
            .keys
            .iter()
            .any(|key| named.contains(&key.key.id().to_string()));
        let hint = if known {
            "the key is trusted, but the signed bytes were changed, or it signs other kinds of statements only"
        } else {
            "that key is not in trust.toml"
        };
        format!(
            "no trusted key signed it (signed by {}, judged at {at}): {hint}",
            named.join(", ")
        )
    }
}

static PRODUCER: Purpose = Purpose::Producer;

/// The purpose by which a key's signature on an envelope is judged.
fn judged_as(key: &TrustedKey) -> &Purpose {
    key.purposes
        .iter()
        .find(|purpose| **purpose == Purpose::Producer)
        .or_else(|| {
            let writ = |purpose: &&Purpose| matches!(purpose, Purpose::Writ(_));
            key.purposes.iter().find(writ)
        })
        .unwrap_or(&PRODUCER)
}
