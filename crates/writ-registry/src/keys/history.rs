//! What a ledger says of its keys, and where `trust.toml` says something else.
//!
//! `trust.toml` decides what counts: whoever can write into the ledger must not be able to make
//! a key count. But every change of keys is an entry too, so the two can be compared, and
//! a difference is named: a key that was taken out, brought back, swapped, or never announced.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;
use writ_evidence::dsse::is_signed_by;
use writ_evidence::key::{KeyId, PublicKey, Purpose, TrustedKey};
use writ_evidence::predicate::{KeyAction, KeyStatement};
use writ_evidence::statement::Predicate as _;
use writ_evidence::{Envelope, Statement};
use writ_model::{EvidenceId, Timestamp};

use crate::error::Result;
use crate::index::query::Query;
use crate::item::Checked;
use crate::store::Store;
use crate::trust::KeyEntry;

/// An entry of the ledger about a key.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyEvent {
    /// Its place in the ledger.
    pub index: u64,
    /// Its id.
    pub id: EvidenceId,
    /// When the ledger recorded it.
    pub recorded_at: Timestamp,
    /// What it says.
    pub statement: KeyStatement,
    /// Whether the key itself signed it.
    pub signed_by_key: bool,
    /// Whether the key that it takes over from signed it.
    pub signed_by_old: bool,
}

/// An entry that counted when it was recorded, and no longer does: its key was revoked later, from
/// an earlier time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retracted {
    /// Its place in the ledger.
    pub entry: u64,
    /// Name of the key.
    pub key: String,
    /// From when the key does not count.
    pub revoked_from: Timestamp,
    /// Why.
    pub reason: String,
}

/// Where `trust.toml` and the entries of the ledger differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disagreement {
    /// The ledger announces a key that is not in `trust.toml`.
    Removed {
        /// Name, as the ledger has it.
        name: String,
        /// Id.
        id: KeyId,
        /// The entry.
        entry: u64,
    },
    /// `trust.toml` says that this ledger has an entry about the key or its end; it has none.
    Unrecorded {
        /// Name.
        name: String,
        /// Whether it is the end that is missing.
        end: bool,
    },
    /// The ledger ends the key at another time.
    Ends {
        /// Name.
        name: String,
        /// As the ledger has it.
        ledger: Timestamp,
        /// As `trust.toml` has it.
        trust: Option<Timestamp>,
        /// The entry.
        entry: u64,
    },
    /// The ledger trusts the key for something else.
    Purposes {
        /// Name.
        name: String,
        /// The entry.
        entry: u64,
    },
    /// A key counts from an earlier time than the ledger says.
    Begins {
        /// Name.
        name: String,
        /// As the ledger has it.
        ledger: Timestamp,
        /// As `trust.toml` has it.
        trust: Option<Timestamp>,
        /// The entry.
        entry: u64,
    },
    /// A hand-over that one of the two keys did not sign.
    NotSigned {
        /// Name of the new key.
        name: String,
        /// Whether it is the old key whose signature is missing.
        old: bool,
        /// The entry.
        entry: u64,
    },
    /// The key signed an entry before the ledger says anything of it.
    UsedBefore {
        /// Name.
        name: String,
        /// The entry that it signed.
        entry: u64,
    },
}

impl Disagreement {
    /// The entry that it is about.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        match self {
            Self::Removed { entry, .. }
            | Self::Ends { entry, .. }
            | Self::Purposes { entry, .. }
            | Self::Begins { entry, .. }
            | Self::NotSigned { entry, .. }
            | Self::UsedBefore { entry, .. } => Some(*entry),
            Self::Unrecorded { .. } => None,
        }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Removed { .. } => {
                "restore trust.toml from a backup that has the key; to end a key use writ key revoke"
            }
            Self::Unrecorded { .. } => {
                "if the ledger was restored from a backup, find the newer one; trust.toml belongs to a longer ledger"
            }
            Self::Ends { .. } | Self::Begins { .. } | Self::Purposes { .. } => {
                "restore trust.toml from a backup; keys are changed with writ key only"
            }
            Self::NotSigned { .. } => {
                "find out who made this key: if nobody did, revoke it with writ key revoke and restore trust.toml"
            }
            Self::UsedBefore { .. } => {
                "find out who added the key to trust.toml; take it out if nobody did"
            }
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed { name, id, entry } => write!(
                f,
                "entry {entry} announces key '{name}' ({id}), and trust.toml does not list it: it was removed"
            ),
            Self::Unrecorded { name, end } => write!(
                f,
                "trust.toml says that this ledger records {} key '{name}', and no entry that counts does",
                if *end { "the end of" } else { "" }
            ),
            Self::Ends {
                name,
                ledger,
                trust: Some(trust),
                entry,
            } => write!(
                f,
                "entry {entry} ends key '{name}' at {ledger}, and trust.toml at {trust}"
            ),
            Self::Ends {
                name,
                ledger,
                trust: None,
                entry,
            } => write!(
                f,
                "entry {entry} ends key '{name}' at {ledger}, and trust.toml does not: it was brought back"
            ),
            Self::Purposes { name, entry } => write!(
                f,
                "entry {entry} trusts key '{name}' for other purposes than trust.toml does"
            ),
            Self::Begins {
                name,
                ledger,
                trust,
                entry,
            } => write!(
                f,
                "key '{name}' counts from {ledger} on by entry {entry}, and by trust.toml {}",
                match trust {
                    Some(trust) => format!("from {trust} on"),
                    None => "from ever on".to_owned(),
                }
            ),
            Self::NotSigned { name, old, entry } => write!(
                f,
                "entry {entry} hands over to key '{name}', and {} did not sign it",
                if *old {
                    "the key before it"
                } else {
                    "that key"
                }
            ),
            Self::UsedBefore { name, entry } => write!(
                f,
                "key '{name}' signed entry {entry} before the ledger announced it"
            ),
        }
    }
}

/// Gathers what a ledger says of its keys.
#[derive(Debug, Default)]
pub(crate) struct KeyLog {
    events: Vec<KeyEvent>,
    first_use: HashMap<KeyId, u64>,
}

impl KeyLog {
    /// Takes note of an entry that counts.
    pub(crate) fn note(&mut self, index: u64, at: Timestamp, checked: &Checked, envelope: &[u8]) {
        self.first_use.entry(checked.signer).or_insert(index);
        if checked.statement.predicate_type == KeyStatement::URI
            && let Some(event) = event(index, at, checked, envelope)
            // Keys of jobs are many, and no matter of `trust.toml`.
            && event.statement.action != KeyAction::Bind
        {
            self.events.push(event);
        }
    }

    /// Whether the ledger revokes this key after `entry`.
    pub(crate) fn revokes_after(&self, id: KeyId, entry: u64) -> bool {
        self.events.iter().any(|event| {
            event.index > entry
                && event.statement.action == KeyAction::Revoke
                && event.statement.key_id == id
        })
    }

    /// Where `trust.toml` says something else of this ledger.
    pub(crate) fn compare(&self, keys: &[KeyEntry], origin: &str) -> Vec<Disagreement> {
        let find = |id: KeyId| keys.iter().find(|key| key.id == id);
        let here = |ledgers: &[String]| ledgers.iter().any(|known| known == origin);
        let mut found = Vec::new();
        // The last word about the end of each key, and the first about its beginning.
        let mut ends: BTreeMap<KeyId, (u64, Timestamp)> = BTreeMap::new();
        let mut begins: BTreeMap<KeyId, &KeyEvent> = BTreeMap::new();
        let mut removed: Vec<KeyId> = Vec::new();
        for event in &self.events {
            let said = &event.statement;
            match said.action {
                KeyAction::Bind => continue,
                KeyAction::Trust => {
                    begins.entry(said.key_id).or_insert(event);
                    if let Some(old) = &said.replaces {
                        ends.insert(old.key_id, (event.index, old.valid_until));
                    }
                }
                KeyAction::Retire | KeyAction::Revoke => {
                    if let Some(until) = said.valid_until {
                        ends.insert(said.key_id, (event.index, until));
                    }
                }
            }
            let name = || said.name.clone().unwrap_or_default();
            let Some(key) = find(said.key_id) else {
                if !removed.contains(&said.key_id) {
                    removed.push(said.key_id);
                    found.push(Disagreement::Removed {
                        name: name(),
                        id: said.key_id,
                        entry: event.index,
                    });
                }
                continue;
            };
            if said.action != KeyAction::Trust {
                continue;
            }
            if said.purposes != key.purposes {
                found.push(Disagreement::Purposes {
                    name: key.name.clone(),
                    entry: event.index,
                });
            }
            if said.replaces.is_some() {
                let not_signed = |old| Disagreement::NotSigned {
                    name: key.name.clone(),
                    old,
                    entry: event.index,
                };
                if !event.signed_by_key {
                    found.push(not_signed(false));
                }
                if !event.signed_by_old {
                    found.push(not_signed(true));
                }
            }
        }
        for (id, (entry, ledger)) in ends {
            match find(id) {
                Some(key) if key.valid_until != Some(ledger) => found.push(Disagreement::Ends {
                    name: key.name.clone(),
                    ledger,
                    trust: key.valid_until,
                    entry,
                }),
                Some(_) => {}
                None if removed.contains(&id) => {}
                None => found.push(Disagreement::Removed {
                    name: "unnamed".to_owned(),
                    id,
                    entry,
                }),
            }
        }
        for key in keys {
            let begin = begins.get(&key.id);
            match begin {
                Some(event) => {
                    let ledger = event.statement.valid_from.unwrap_or(event.recorded_at);
                    if key.valid_from.is_none_or(|trust| trust < ledger) {
                        found.push(Disagreement::Begins {
                            name: key.name.clone(),
                            ledger,
                            trust: key.valid_from,
                            entry: event.index,
                        });
                    }
                }
                None if !key.is_root() && here(&key.recorded) => {
                    found.push(Disagreement::Unrecorded {
                        name: key.name.clone(),
                        end: false,
                    });
                }
                None => {}
            }
            let ended = self.events.iter().any(|event| {
                match (&event.statement.replaces, event.statement.action) {
                    (Some(old), _) if old.key_id == key.id => true,
                    (_, KeyAction::Retire | KeyAction::Revoke) => event.statement.key_id == key.id,
                    _ => false,
                }
            });
            if !ended && here(&key.end_recorded) {
                found.push(Disagreement::Unrecorded {
                    name: key.name.clone(),
                    end: true,
                });
            }
            // An announcement that says itself from when the key counts comes after its first use.
            let announced = begin.map(|event| match event.statement.valid_from {
                Some(_) => 0,
                None => event.index,
            });
            if let Some(entry) = self.first_use.get(&key.id)
                && !key.is_root()
                && announced.is_none_or(|announced| *entry < announced)
            {
                found.push(Disagreement::UsedBefore {
                    name: key.name.clone(),
                    entry: *entry,
                });
            }
        }
        found
    }
}

fn event(index: u64, at: Timestamp, checked: &Checked, envelope: &[u8]) -> Option<KeyEvent> {
    let statement: Statement<KeyStatement> = checked.statement.clone().into_typed().ok()?;
    let statement = statement.predicate;
    let envelope = Envelope::parse(envelope).ok()?;
    let signed = |pem: &str| {
        PublicKey::from_pem(pem)
            .is_ok_and(|key| is_signed_by(&envelope, &TrustedKey::new(key, Purpose::Producer)))
    };
    Some(KeyEvent {
        index,
        id: checked.id,
        recorded_at: at,
        signed_by_key: signed(&statement.public_key),
        signed_by_old: statement
            .replaces
            .as_ref()
            .is_some_and(|old| signed(&old.public_key)),
        statement,
    })
}

impl Store {
    /// What this ledger says of its keys, in its order.
    ///
    /// # Errors
    /// The index or the ledger cannot be read.
    pub async fn key_history(&self) -> Result<Vec<KeyEvent>> {
        Ok(self.key_log().await?.events)
    }

    /// Where `trust.toml` and this ledger differ about keys.
    ///
    /// # Errors
    /// The index or the ledger cannot be read.
    pub async fn key_disagreements(&self) -> Result<Vec<Disagreement>> {
        let log = self.key_log().await?;
        Ok(log.compare(&self.trust.entries(), &self.origin))
    }

    async fn key_log(&self) -> Result<KeyLog> {
        let mut log = KeyLog {
            events: Vec::new(),
            first_use: self.index().await?.first_use().await?,
        };
        let mut query = Query {
            predicate_type: Some(KeyStatement::URI.to_owned()),
            ..Query::default()
        };
        let mut places = Vec::new();
        loop {
            let page = self.evidence(&query).await?;
            places.extend(page.items.iter().map(|item| item.index));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        // Newest first, so far.
        places.reverse();
        let (view, reader) = (self.log.view().await?, self.reader());
        let events = tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            for index in places {
                let entry = view.read(index)?;
                let at = Timestamp::from_micros(entry.recorded_at());
                if let Ok(checked) = reader.check(entry.envelope(), at)
                    && let Some(event) = event(index, at, &checked, entry.envelope())
                {
                    events.push(event);
                }
            }
            Ok::<_, crate::error::RegistryError>(events)
        })
        .await??;
        log.events = events;
        Ok(log)
    }
}
