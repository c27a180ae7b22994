//! Opening envelopes: whose key signed, and for what it is trusted.

use writ_evidence::Envelope;
use writ_evidence::dsse::{self, Verified, VerifyError};
use writ_evidence::key::{Purpose, TrustedKeys};
use writ_evidence::statement::Statement;
use writ_model::Timestamp;

use super::VSA;

/// Opens envelopes with the keys that are trusted.
pub(crate) struct Opener {
    keys: TrustedKeys,
}

impl Opener {
    pub(crate) fn new(keys: TrustedKeys) -> Self {
        Self { keys }
    }

    /// The payload of an envelope that a key trusted at `at` signed for what it says.
    pub(crate) fn open(
        &self,
        envelope: &Envelope,
        at: Timestamp,
    ) -> Result<Verified<Vec<u8>>, String> {
        match dsse::verify(envelope, &self.keys.select(&Purpose::Producer, at), 1) {
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
            let verified = dsse::verify(envelope, &self.keys.select(purpose, at), 1).ok()?;
            let statement = Statement::parse_any(verified.content()).ok()?;
            (statement.predicate_type == VSA).then_some(verified)
        })
    }

    fn why_refused(&self, envelope: &Envelope, at: Timestamp) -> String {
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
            "the key is trusted, but not for this purpose at that time, or the signed bytes were changed"
        } else {
            "that key is not in trust.toml"
        };
        format!(
            "no trusted key signed it (signed by {}, judged at {at}): {hint}",
            named.join(", ")
        )
    }
}
