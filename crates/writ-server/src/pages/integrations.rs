//! `/admin/integrations`: which other systems this server listens to, reads and believes, and when it last heard of them.

use std::collections::BTreeMap;

use axum::response::Response;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};
use writ_model::{State, Timestamp};
use writ_registry::notices::{NoticeState, Queued};

use crate::collect::config::CollectorConfig;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::time::minutes;
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::schedule::Job;

crate::page_query! {
    /// Nothing of its own.
    IntegrationsQuery {}
}

/// One integration.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Integration {
    /// What it does.
    kind: &'static str,
    /// Its name in the settings.
    name: String,
    /// Which system, and where it is.
    system: String,
    /// What it may speak for, or who comes in by it.
    scope: String,
    /// How it stands.
    #[serde(skip)]
    state: State,
    /// The same in a word.
    standing: &'static str,
    /// When the server last heard of it.
    heard_at: Option<Timestamp>,
}

/// Something that was said outside, or is still to be said.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    /// On which channel.
    channel: String,
    /// Which kind of event.
    event: String,
    /// In a line.
    title: String,
    /// What became of it.
    state: NoticeState,
    /// How often it was tried.
    tries: u64,
    /// When it was queued.
    made_at: Timestamp,
    /// What the channel said last.
    note: String,
}

struct Page {
    integrations: Vec<Integration>,
    /// Newest first; nothing where nobody is told.
    said: Option<Vec<Said>>,
}

/// Notices that are shown.
const SHOWN: usize = 100;

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<IntegrationsQuery>) -> Result<Response, Problem> {
    let config = &ask.app.config;
    let store = &ask.app.store;
    let heard: BTreeMap<String, Timestamp> = store.hooks_heard().await?.into_iter().collect();
    let mut integrations = Vec::new();
    for hook in &config.webhook {
        let url = hook.url.as_deref().unwrap_or(hook.system.usual_url());
        let heard_at = heard.get(hook.name.as_str()).copied();
        let (state, standing) = match heard_at {
            Some(_) => (State::Pass, "delivers"),
            None => (State::Waiting, "nothing came yet"),
        };
        integrations.push(Integration {
            kind: "Webhook",
            name: hook.name.as_str().to_owned(),
            system: joined(hook.system.word(), url),
            scope: services(hook.services.iter().map(|(from, to)| (from, to.names()))),
            state,
            standing,
            heard_at,
        });
    }
    let collecting = store
        .jobs()
        .await?
        .into_iter()
        .find(|job| job.name == Job::Collect.name());
    for collector in &config.collector {
        let CollectorConfig {
            system, url, api, ..
        } = collector;
        let system = system.system();
        let url = api.as_deref().or(url.as_deref());
        let ended = collecting.as_ref().and_then(|job| job.ended_at);
        let heard_at = collecting.as_ref().and_then(|job| job.succeeded_at);
        let (state, standing) = match (ended, heard_at) {
            (None, _) => (State::Waiting, "not read yet"),
            (ended, good) if ended == good => (State::Pass, "reads"),
            _ => (State::Fail, "failed"),
        };
        integrations.push(Integration {
            kind: "Collector",
            name: system.word().to_owned(),
            system: joined(system.word(), url.unwrap_or(system.usual_url())),
            scope: services(
                collector
                    .services
                    .iter()
                    .map(|(from, to)| (from, to.names())),
            ),
            state,
            standing,
            heard_at,
        });
    }
    let set_up = |kind, name: &str, system: String, scope: String| Integration {
        kind,
        name: name.to_owned(),
        system,
        scope,
        state: State::NotApplicable,
        standing: "set up",
        heard_at: None,
    };
    for provider in &config.oidc {
        integrations.push(set_up(
            "Identity provider",
            &provider.key,
            joined(&provider.name, &provider.issuer),
            "people who sign in".to_owned(),
        ));
    }
    for rule in &config.workload {
        integrations.push(set_up(
            "CI jobs",
            &rule.name,
            rule.issuer.clone(),
            rule.services.join(", "),
        ));
    }
    for channel in &config.notify {
        let newest = store.notices(Some(channel.name.as_str()), 1).await?;
        let newest = newest.first();
        let (state, standing) = match newest.map(|one| one.state) {
            None => (State::Waiting, "nothing was said yet"),
            Some(NoticeState::Sent) => (State::Pass, "delivers"),
            Some(NoticeState::Waiting) => (State::Waiting, "tries"),
            Some(NoticeState::GivenUp) => (State::Fail, "does not take it"),
        };
        integrations.push(Integration {
            kind: "Notices",
            name: channel.name.as_str().to_owned(),
            system: joined(channel.kind(), &channel.place()),
            scope: match channel.events.is_empty() {
                true => "every event".to_owned(),
                false => {
                    let words: Vec<&str> = channel.events.iter().map(|one| one.word()).collect();
                    words.join(", ")
                }
            },
            state,
            standing,
            heard_at: newest.and_then(|one| one.ended_at),
        });
    }
    let said = match config.notify.is_empty() {
        true => None,
        false => {
            let said = store.notices(None, SHOWN).await?;
            Some(said.into_iter().map(Said::of).collect())
        }
    };
    respond(&ask, &Page { integrations, said }).await
}

impl Said {
    fn of(queued: Queued) -> Self {
        Self {
            channel: queued.channel,
            event: queued.notice.event,
            title: queued.notice.title,
            state: queued.state,
            tries: queued.tries,
            made_at: queued.made_at,
            note: queued.note,
        }
    }
}

fn joined(name: &str, address: &str) -> String {
    match address.is_empty() {
        true => name.to_owned(),
        false => format!("{name}, {address}"),
    }
}

/// Which repository is which service.
fn services<'a>(pairs: impl Iterator<Item = (&'a String, &'a [String])>) -> String {
    pairs
        .map(|(from, to)| format!("{from}: {}", to.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}

impl Page {
    fn table(&self) -> Table {
        let mut table = Table::new(
            "integrations",
            "Other systems",
            vec![
                Column::head("Name"),
                Column::text("What"),
                Column::text("System"),
                Column::text("Standing"),
                Column::text("For"),
                Column::narrow("Last heard of"),
            ],
        );
        for one in &self.integrations {
            table.rows.push(Row::new(vec![
                Cell::text(&one.name),
                Cell::text(one.kind),
                Cell::text(&one.system),
                Cell::html(one.standing, chip::tag(one.state, one.standing)),
                Cell::text(&one.scope),
                one.heard_at
                    .map_or_else(Cell::none, |at| Cell::text(minutes(at))),
            ]));
        }
        table.empty = Some(Empty::NotConnected {
            what: "Webhooks, collectors, identity providers and CI jobs are named in the settings of the server."
                .to_owned(),
            command: None,
        });
        table
    }
}

impl Page {
    fn notices(&self) -> Option<Table> {
        let mut table = Table::new(
            "notices",
            "Said outside, newest first",
            vec![
                Column::head("About"),
                Column::text("Event"),
                Column::text("Channel"),
                Column::text("Standing"),
                Column::number("Tries"),
                Column::text("What it answered"),
                Column::narrow("Since"),
            ],
        );
        for one in self.said.as_ref()? {
            let (state, word) = match one.state {
                NoticeState::Sent => (State::Pass, "sent"),
                NoticeState::Waiting => (State::Waiting, "waiting"),
                NoticeState::GivenUp => (State::Fail, "given up"),
            };
            table.rows.push(Row::new(vec![
                Cell::text(&one.title),
                Cell::text(&one.event),
                Cell::text(&one.channel),
                Cell::html(word, chip::tag(state, word)),
                Cell::text(one.tries.to_string()),
                Cell::text(&one.note),
                Cell::text(minutes(one.made_at)),
            ]));
        }
        table.empty = Some(Empty::NothingFound("0 notices were queued.".to_owned()));
        Some(table)
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.integrations/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Integrations,
            "Integrations",
            "Systems that the settings of this server name.",
        )
        .cited("INTEGRATIONS")
    }

    fn body(&self, _: &Ask) -> Markup {
        html! {
            (self.table().html())
            @if let Some(notices) = self.notices() {
                h2 { "Notices" }
                (notices.html())
            }
        }
    }

    fn tables(&self, _: &Ask) -> Vec<Table> {
        let notices = self.notices();
        std::iter::once(self.table()).chain(notices).collect()
    }

    fn data(&self) -> Value {
        json!({ "integrations": self.integrations, "notices": self.said })
    }
}
