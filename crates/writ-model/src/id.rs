//! Ids of evidence, decisions and writs: a prefix and the digest of the payload bytes.
//!
//! Full in data, shortened on screen. Two statements with the same payload have the same id.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {kind}: expected '{prefix}' followed by 64 lower-case hex digits")]
pub struct IdError {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The kind of id in words.
    pub kind: &'static str,
    /// The expected prefix.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Digest);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// The id of a statement with these payload bytes.
            #[must_use]
            pub fn of_payload(payload: &[u8]) -> Self {
                Self(Digest::of(payload))
            }

            /// The id for a payload digest computed elsewhere.
            #[must_use]
            pub const fn from_digest(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest of the payload.
            #[must_use]
            pub const fn digest(&self) -> Digest {
                self.0
            }

            /// Prefix and the first ten hex digits: for screens only.
            #[must_use]
            pub fn short(&self) -> String {
                format!("{}{}", $prefix, &self.0.to_hex()[..10])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .filter(|digits| !digits.starts_with("sha256:"))
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| IdError {
                        text: text.chars().take(80).collect(),
                        kind: $kind,
                        prefix: $prefix,
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "[0-9a-f]{64}$"),
                })
            }
        }
    };
}

id!(
    /// Id of any recorded statement.
    EvidenceId, "ev_", "an evidence id"
);
id!(
    /// Id of a decision statement.
    DecisionId, "dec_", "a decision id"
);
id!(
    /// Id of a writ (a verification summary that authorises one digest in one environment).
    WritId, "wr_", "a writ id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_kinds_do_not_mix() {
        let id = EvidenceId::of_payload(b"{}");
        assert_eq!(id.to_string().parse::<EvidenceId>().unwrap(), id);
        assert!(id.to_string().parse::<DecisionId>().is_err());
        assert!("ev_sha256:00".parse::<EvidenceId>().is_err());
        assert_eq!(id.short().len(), 13);
    }
}
