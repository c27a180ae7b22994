//! `/inbox`: what must I decide?

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_evidence::Predicate as _;
use writ_evidence::predicate::Run;
use writ_model::{Assurance, PrincipalId, Subject, Timestamp};
use writ_registry::Query as Evidence;
use writ_registry::directory::identity::Standing as Proposed;
use writ_release::breakglass::{Standing as Emergency, may_review};

use crate::access::{Action, acting, facts, may};
use crate::figures::exemption::{self, Standing};
use crate::figures::{emergency, newest, people, release, typed};
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::pages::ask_exemption;
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table};
use crate::paths::{self, Path};

crate::page_query! {
    /// Nothing of its own.
    InboxQuery {}
}

/// One thing that waits.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "InboxItem")]
pub struct Waiting {
    /// `approval`, `exemption`, `break-glass review`, `binding`.
    pub kind: &'static str,
    /// Its name: `R-2026-0931`.
    pub name: String,
    /// What it is about.
    pub subject: String,
    /// Who asks.
    pub by: Vec<PrincipalId>,
    /// Since when it waits.
    pub since: Timestamp,
    /// Until when it should be answered.
    pub due: Option<Timestamp>,
    /// Why not by the person who looks; absent: they can answer.
    pub not_me: Option<String>,
    /// Where it is answered.
    pub address: String,
}

struct Page {
    mine: Vec<Waiting>,
    others: Vec<Waiting>,
}

/// Shows the page.
///
/// # Errors
/// The store cannot be read.
pub async fn show(ask: Ask, _: Query<InboxQuery>) -> Result<Response, Problem> {
    let all = waiting(&ask).await?;
    let named: Vec<PrincipalId> = all.iter().flat_map(|one| one.by.clone()).collect();
    ask.app.load_names(&named).await;
    let (mine, others) = all.into_iter().partition(|one| one.not_me.is_none());
    respond(&ask, &Page { mine, others }).await
}

/// Everything that waits for a person, the oldest first.
///
/// # Errors
/// The store cannot be read.
pub async fn waiting(ask: &Ask) -> Result<Vec<Waiting>, Problem> {
    let mut all = approvals(ask).await?;
    let me = &ask.principal;
    // Where they work is asked on the page of the answer.
    let passkeys = match me.browser {
        Some(_) => !ask.app.store.passkeys(&me.id).await?.is_empty(),
        None => false,
    };
    let assurance = match passkeys {
        true => Assurance::Webauthn,
        false => me.assurance,
    };
    for (row, standing) in exemption::all(ask, None).await? {
        if standing != Standing::Requested {
            continue;
        }
        all.push(Waiting {
            kind: "exemption",
            name: row.human(),
            subject: format!(
                "{} of {}: {}",
                exemption::texts(&row, "controls").join(", "),
                row.service,
                row.reason
            ),
            by: vec![row.requester.clone()],
            since: row.request.recorded_at,
            due: None,
            not_me: ask_exemption::objection(ask, &row, assurance).await?,
            address: address(&paths::exemption(&row.human())),
        });
    }
    let found = emergency::read(ask).await?;
    for emergency in &found.all {
        if matches!(
            emergency.standing(ask.now),
            Emergency::Reviewed | Emergency::Open
        ) {
            continue;
        }
        let about = &emergency.opening.release;
        let refused = acting(&ask.principal, Action::ReviewEmergencies, &about.service).err();
        all.push(Waiting {
            kind: "break-glass review",
            name: emergency.human(),
            subject: format!(
                "{} into {}: {}",
                about.service, about.environment, emergency.opening.reason
            ),
            by: vec![emergency.opening.by.principal.clone()],
            since: emergency.opened_at,
            due: Some(emergency.opening.review_due_at),
            not_me: refused
                .map(|problem| problem.detail.clone())
                .or_else(|| may_review(emergency, &ask.principal.id, &found.people, ask.now)),
            address: address(&paths::emergency(&emergency.human())),
        });
    }
    if may(&ask.principal, Action::ReadPeople).is_ok() {
        for proposal in ask.app.store.binding_proposals().await? {
            if proposal.standing != Proposed::Waiting {
                continue;
            }
            let store = &ask.app.store;
            let refused = may(&ask.principal, Action::AnswerBindings).err();
            let not_me = match refused {
                Some(problem) => Some(problem.detail.clone()),
                None => {
                    store
                        .may_answer_bindings(&proposal, &ask.principal.id)
                        .await?
                }
            };
            let short = proposal.digest.to_hex()[..12].to_owned();
            all.push(Waiting {
                kind: "binding",
                subject: super::controls::plural(proposal.changes.len(), "change")
                    + " of who is whom",
                by: vec![proposal.by.clone()],
                since: proposal.at,
                due: None,
                not_me,
                address: address(&paths::people().at_place(&format!("proposal-{short}"))),
                name: short,
            });
        }
    }
    all.sort_by_key(|one| one.since);
    Ok(all)
}

/// Releases that wait. Who wrote the change is read from its run; the page of the release asks the
/// whole rule.
async fn approvals(ask: &Ask) -> Result<Vec<Waiting>, Problem> {
    let mut all = Vec::new();
    for (row, states) in release::waiting(ask).await? {
        let commit = states.decision.commit.clone();
        let run = match &commit {
            Some(commit) => {
                let query = Evidence {
                    service: Some(row.service.clone()),
                    predicate_type: Some(Run::URI.to_owned()),
                    subject: Subject {
                        commit: Some(commit.clone()),
                        ..Subject::default()
                    },
                    as_of: Some(ask.size),
                    ..Evidence::default()
                };
                newest(&ask.app.store, query).await?
            }
            None => None,
        };
        let authors: Vec<PrincipalId> = run
            .as_ref()
            .and_then(|run| typed(run, "authors"))
            .unwrap_or_default();
        let me = &ask.principal.id;
        let known = facts(&ask.app, &row.service, authors.iter().chain([me])).await?;
        let person = |account: &PrincipalId| {
            known
                .get(account)
                .and_then(|facts| facts.person.clone())
                .unwrap_or_else(|| account.clone())
        };
        let refused = acting(&ask.principal, Action::AnswerReleases, &row.service).err();
        let profile = ask.app.bundle.profiles.get(&states.decision.profile);
        let role = profile
            .and_then(|profile| profile.floor.approvals.as_ref())
            .map_or("reviewer", |wanted| wanted.role.as_str());
        let holds = known.get(me).is_some_and(|facts| {
            facts.roles.iter().any(|held| held.word() == role)
                || facts.teams.iter().any(|team| team == role)
        });
        let not_me = match refused {
            Some(problem) => Some(problem.detail.clone()),
            None if authors.iter().any(|author| person(author) == person(me)) => {
                Some("you wrote part of the change".to_owned())
            }
            None if !holds => Some(format!("you do not hold role {role}")),
            None => None,
        };
        all.push(Waiting {
            kind: "approval",
            name: row.human(),
            subject: format!("{} {} into {}", row.service, row.short(), row.environment),
            by: authors,
            since: states.decision.as_of,
            due: None,
            not_me,
            address: address(&paths::release(&row.human())),
        });
    }
    Ok(all)
}

fn address(path: &Path) -> String {
    path.to_string()
}

fn table(ask: &Ask, name: &'static str, caption: &str, rows: &[Waiting], empty: &str) -> Table {
    let mut table = Table::new(
        name,
        caption,
        vec![
            Column::head("What"),
            Column::narrow("Kind"),
            Column::text("Subject"),
            Column::text("By"),
            Column::narrow("Waits since"),
            Column::narrow("Due"),
            Column::text("You"),
        ],
    );
    for one in rows {
        let link = html! { a href=(one.address) { (one.name) } };
        table.rows.push(Row::new(vec![
            Cell::html(&one.name, link),
            Cell::text(one.kind),
            Cell::text(&one.subject),
            Cell::html(people::names(ask, &one.by), people::people(ask, &one.by)),
            Cell::ago(ask, one.since),
            one.due.map_or_else(Cell::none, |due| Cell::ago(ask, due)),
            Cell::text(match &one.not_me {
                None => "can answer".to_owned(),
                Some(why) => format!("not you: {}", people::in_words(ask, why)),
            }),
        ]));
    }
    table.empty = Some(Empty::NothingFound(empty.to_owned()));
    table
}

impl Page {
    fn mine(&self, ask: &Ask) -> Table {
        table(
            ask,
            "mine",
            "What waits for you, the oldest first",
            &self.mine,
            "Nothing waits for you.",
        )
    }

    fn others(&self, ask: &Ask) -> Table {
        table(
            ask,
            "others",
            "What waits for somebody else",
            &self.others,
            "Nothing waits for anybody else.",
        )
    }
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.inbox/1";

    fn head(&self, _: &Ask) -> Head {
        Head::new(
            Section::Inbox,
            "Inbox",
            "Approvals, exemptions, reviews and bindings that wait for a person.",
        )
    }

    fn body(&self, ask: &Ask) -> Markup {
        html! {
            h2 { "For you" }
            (self.mine(ask).html())
            h2 { "For others" }
            (self.others(ask).html())
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![self.mine(ask), self.others(ask)]
    }

    fn data(&self) -> Value {
        json!({"mine": self.mine, "others": self.others})
    }
}
