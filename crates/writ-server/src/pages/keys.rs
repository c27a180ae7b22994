//! `/admin/keys`: which keys this store believes, which of them sign, and what the ledger says of them.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::key::SignerRef;
use writ_evidence::predicate::KeyAction;
use writ_model::{State, Timestamp};
use writ_registry::KeyEntry;
use writ_registry::keys::KeyEvent;

use crate::figures::people;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident};

crate::page_query! {
    /// Nothing of its own.
    KeysQuery {}
}

struct Page {
    keys: Vec<KeyEntry>,
    /// Purpose and name of each key that signs now.
    signing: Vec<(String, String)>,
    /// What the ledger says, the newest first.
    history: Vec<KeyEvent>,
    /// Where `trust.toml` and the ledger differ, and what to do.
    differences: Vec<(String, &'static str)>,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<KeysQuery>) -> Result<Response, Problem> {
    let store = &ask.app.store;
    let mut history: Vec<KeyEvent> = store
        .key_history()
        .await?
        .into_iter()
        .filter(|event| event.index < ask.size)
        .collect();
    history.reverse();
    let by: Vec<_> = history
        .iter()
        .filter_map(|event| event.statement.by.clone())
        .collect();
    ask.app.load_names(&by).await;
    let page = Page {
        keys: store.trust().entries(),
        signing: store
            .trust()
            .signing_keys()
            .into_iter()
            .map(|(purpose, name)| (purpose.to_string(), name))
            .collect(),
        history,
        differences: store
            .key_disagreements()
            .await?
            .iter()
            .map(|one| (one.to_string(), one.remedy()))
            .collect(),
    };
    respond(&ask, &page).await
}

const fn action(action: KeyAction) -> (State, &'static str) {
    match action {
        KeyAction::Trust => (State::Pass, "trusted"),
        KeyAction::Bind => (State::Pass, "bound to a job"),
        KeyAction::Retire => (State::Expired, "retired"),
        KeyAction::Revoke => (State::Fail, "revoked"),
    }
}

impl Page {
    /// How a key stands at an instant.
    fn standing(&self, key: &KeyEntry, now: Timestamp) -> (State, &'static str) {
        let ended = key.valid_until.is_some_and(|until| until <= now);
        let early = key.valid_from.is_some_and(|from| from > now);
        if key.revoked.is_some() {
            (State::Fail, "revoked")
        } else if ended {
            (State::Expired, "retired")
        } else if early {
            (State::Waiting, "not yet")
        } else if self.signing.iter().any(|(_, name)| *name == key.name) {
            (State::Pass, "signs")
        } else {
            (State::NotApplicable, "believed")
        }
    }

    fn keys(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "keys",
            "Keys of trust.toml",
            vec![
                Column::head("Key"),
                Column::text("Standing"),
                Column::text("May sign"),
                Column::text("Private half"),
                Column::narrow("Counts from"),
                Column::narrow("Until"),
                Column::text("Id"),
            ],
        );
        for key in &self.keys {
            let (state, word) = self.standing(key, ask.now);
            let purposes: Vec<String> = key.purposes.iter().map(ToString::to_string).collect();
            let id = key.id.to_string();
            // Where a file lies on the server is nobody's business.
            let place = match &key.signer {
                None => "elsewhere".to_owned(),
                Some(SignerRef::File(_)) => "a file of this server".to_owned(),
                Some(service) => service.to_string(),
            };
            let day = |at: Option<Timestamp>, none: &str| {
                at.map_or_else(|| Cell::muted(none), |at| Cell::ago(ask, at))
            };
            table.rows.push(Row::new(vec![
                Cell::text(&key.name),
                Cell::html(word, chip::tag(state, word)),
                Cell::text(purposes.join(", ")),
                Cell::text(place),
                day(key.valid_from, "the beginning"),
                day(key.valid_until, "open"),
                Cell::html(&id, ident::plain(id.get(..12).unwrap_or(&id), &id)),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "This store believes no key.".to_owned(),
            command: Some("writ key new"),
        });
        table
    }

    fn history(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "history",
            "What the ledger says of keys, the newest first",
            vec![
                Column::head("Entry"),
                Column::text("What"),
                Column::text("Key"),
                Column::text("By"),
                Column::text("Why"),
                Column::narrow("Recorded"),
            ],
        );
        for event in &self.history {
            let said = &event.statement;
            let (state, word) = action(said.action);
            let id = said.key_id.to_string();
            let name = said
                .name
                .clone()
                .unwrap_or_else(|| id.get(..12).unwrap_or(&id).to_owned());
            table.rows.push(Row::new(vec![
                Cell::html(event.id.to_string(), ident::evidence(ask, &event.id)),
                Cell::html(word, chip::tag(state, word)),
                Cell::text(name),
                said.by
                    .as_ref()
                    .map_or_else(Cell::none, |by| Cell::html(&by.0, people::person(ask, by))),
                Cell::text(said.reason.as_deref().unwrap_or_default()),
                Cell::ago(ask, event.recorded_at),
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "No key was ever replaced: those above are from the beginning.".to_owned(),
        ));
        table
    }

    fn differences(&self) -> Table {
        let mut table = Table::new(
            "differences",
            "Where trust.toml and the ledger differ",
            vec![Column::head("Difference"), Column::text("Fix")],
        );
        for (what, fix) in &self.differences {
            table
                .rows
                .push(Row::new(vec![Cell::text(what), Cell::text(*fix)]));
        }
        table.empty = Some(Empty::NothingFound(format!(
            "trust.toml and the ledger agree about {} keys.",
            self.keys.len()
        )));
        table
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.keys/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Keys,
            "Keys",
            "Whose signatures count, from when until when. A key that is replaced keeps what it signed.",
        )
        .cited("KEYS")
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! {
            (self.keys(ask).html())
            h2 { "History" }
            (self.history(ask).html())
            h2 { "Agreement" }
            (self.differences().html())
            p.sub { "Replace a key with " code.cmd data-copy="writ key rotate KEY" { "writ key rotate KEY" } ", end a lost one with " code.cmd data-copy="writ key revoke KEY" { "writ key revoke KEY" } "." }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.keys(ask), self.history(ask), self.differences()]
    }

    fn data(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| {
                json!({
                    "name": key.name, "id": key.id, "purposes": key.purposes,
                    "validFrom": key.valid_from, "validUntil": key.valid_until, "revoked": key.revoked,
                    "signs": self.signing.iter().filter(|(_, name)| *name == key.name).map(|(purpose, _)| purpose).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "keys": keys,
            "history": self.history,
            "differences": self.differences.iter().map(|(what, fix)| json!({"what": what, "fix": fix})).collect::<Vec<_>>(),
        })
    }
}
