//! The part of `/admin/people` about who is whom: bindings that wait, people with their accounts,
//! accounts that evidence names and nobody is known for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{Approval, CodeReview, Exemption, Rejection, Run};
use writ_model::{PrincipalId, State as Word, Timestamp};
use writ_registry::directory::AccountRef;
use writ_registry::directory::identity::{Answer, BindingChange, Bindings, Proposal, Standing};
use writ_registry::directory::roster::Person;
use writ_registry::{Query, RegistryError};

use super::profiles;
use crate::access::{Action, Principal, Via, actor, may};
use crate::http::problem::shown;
use crate::http::{Ask, Code, Problem};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, form, time};
use crate::state::Shared;

/// Most people, accounts or changes that one list of the page shows.
pub(super) const SHOWN: usize = 200;

/// Statements of each kind that are looked through for accounts.
const LOOKED: usize = 200;

/// Accounts to bind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindForm {
    id: String,
    #[serde(default)]
    name: String,
    accounts: String,
    #[serde(default)]
    machine: bool,
}

/// Accounts that shall belong to nobody.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnbindForm {
    account: String,
}

/// A yes or no to a proposal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerForm {
    proposal: String,
    answer: String,
    #[serde(default)]
    reason: String,
}

/// What this part of the page is made of.
struct Known {
    people: Vec<Person>,
    aliases: BTreeMap<PrincipalId, String>,
    bindings: Arc<Bindings>,
    proposals: Vec<Proposal>,
    objections: BTreeMap<writ_model::Digest, Option<String>>,
    strangers: Vec<Stranger>,
}

/// An account that evidence names and no binding.
struct Stranger {
    id: PrincipalId,
    name: Option<String>,
    service: String,
    what: &'static str,
    seen: Timestamp,
}

/// The sections.
///
/// # Errors
/// The store cannot be read.
pub async fn sections(ask: &Ask) -> Result<Markup, Problem> {
    let known = read(ask).await?;
    let manages = may(&ask.principal, Action::ManagePeople).is_ok();
    Ok(html! {
        (waiting(ask, &known))
        (people(&known).html())
        @if manages { (binding(ask)) }
        (profiles::section(ask, &known.bindings))
        @for person in known.people.iter().take(SHOWN) { (card(ask, &known, person, manages)) }
        (strangers(ask, &known, manages))
    })
}

async fn read(ask: &Ask) -> Result<Known, Problem> {
    let store = &ask.app.store;
    let bindings = store.bindings(None).await?;
    let aliases = store.named_aliases().await?;
    let proposals = store.binding_proposals().await?;
    let mut objections = BTreeMap::new();
    for proposal in proposals
        .iter()
        .filter(|one| one.standing == Standing::Waiting)
    {
        let objection = match answers(&ask.principal) {
            Err(problem) => Some(problem.detail.clone()),
            Ok(()) => {
                store
                    .may_answer_bindings(proposal, &ask.principal.id)
                    .await?
            }
        };
        objections.insert(proposal.digest, objection);
    }
    let strangers = seen(ask, &bindings).await?;
    let mut names: BTreeSet<PrincipalId> = proposals.iter().map(|one| one.by.clone()).collect();
    for proposal in &proposals {
        for change in proposal.changes.iter().take(SHOWN) {
            match change {
                BindingChange::Account { account, owner } => {
                    names.insert(account.clone());
                    names.extend(owner.iter().map(|owner| owner.id.clone()));
                }
                BindingChange::Team { person, .. } => {
                    names.insert(person.clone());
                }
                BindingChange::Profile { .. } => {}
            }
        }
        if let Standing::Approved { by, .. } | Standing::Rejected { by, .. } = &proposal.standing {
            names.insert(by.clone());
        }
    }
    let people = store.persons().await?;
    for person in people.iter().take(SHOWN) {
        names.extend(bindings.accounts(&person.id).cloned());
    }
    let names: Vec<PrincipalId> = names.into_iter().collect();
    ask.app.load_names(&names).await;
    Ok(Known {
        people,
        aliases: aliases
            .into_iter()
            .map(|alias| (alias.id, alias.alias))
            .collect(),
        bindings,
        proposals,
        objections,
        strangers,
    })
}

/// Whether somebody may answer at all: a person who signed in, never a token.
fn answers(principal: &Principal) -> Result<(), Problem> {
    may(principal, Action::AnswerBindings)?;
    match principal.via {
        Via::Session | Via::Local => Ok(()),
        _ => Err(Problem::new(
            Code::NotAllowed,
            "only a person who signed in answers for bindings",
        )
        .fix("Sign in at /sign-in")),
    }
}

/// Accounts in the newest evidence that nobody is known for, newest first.
async fn seen(ask: &Ask, bindings: &Bindings) -> Result<Vec<Stranger>, Problem> {
    let store = &ask.app.store;
    let mut found: BTreeMap<PrincipalId, Stranger> = BTreeMap::new();
    for (what, uri) in [
        ("author", Run::URI),
        ("author or reviewer", CodeReview::URI),
        ("approver", Approval::URI),
        ("approver", Rejection::URI),
        ("requester or granter", Exemption::URI),
    ] {
        let query = Query {
            predicate_type: Some(uri.to_owned()),
            as_of: Some(ask.size),
            limit: LOOKED,
            ..Query::default()
        };
        for item in store.evidence(&query).await?.items {
            let mut named = BTreeSet::new();
            for value in item.facts.values() {
                principals(value, &mut named, 0);
            }
            for id in named {
                let stranger = found.entry(id.clone()).or_insert_with(|| Stranger {
                    id,
                    name: None,
                    service: item.service.clone(),
                    what,
                    seen: item.recorded_at,
                });
                if item.recorded_at > stranger.seen {
                    stranger.seen = item.recorded_at;
                    stranger.what = what;
                    item.service.clone_into(&mut stranger.service);
                }
            }
        }
    }
    found.retain(|id, _| bindings.owner(id).is_none() && bindings.accounts(id).next().is_none());
    let ids: Vec<PrincipalId> = found.keys().cloned().collect();
    ask.app.load_names(&ids).await;
    let mut strangers: Vec<Stranger> = found.into_values().collect();
    for stranger in &mut strangers {
        stranger.name = Some(ask.app.name(&stranger.id)).filter(|name| *name != stranger.id.0);
    }
    strangers.sort_by(|a, b| b.seen.cmp(&a.seen).then_with(|| a.id.cmp(&b.id)));
    strangers.truncate(SHOWN);
    Ok(strangers)
}

fn principals(value: &Value, named: &mut BTreeSet<PrincipalId>, depth: usize) {
    match value {
        Value::String(text)
            if text.len() > 10
                && text.len() <= 80
                && text.strip_prefix("p_").is_some_and(|digits| {
                    digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
                }) =>
        {
            named.insert(PrincipalId(text.clone()));
        }
        Value::Array(values) if depth < 8 => {
            for value in values {
                principals(value, named, depth + 1);
            }
        }
        Value::Object(fields) if depth < 8 => {
            for value in fields.values() {
                principals(value, named, depth + 1);
            }
        }
        _ => {}
    }
}

fn waiting(ask: &Ask, known: &Known) -> Markup {
    let open: Vec<&Proposal> = known
        .proposals
        .iter()
        .filter(|proposal| proposal.standing == Standing::Waiting)
        .collect();
    html! {
        h2 id="bindings" { "Bindings that wait" }
        @if open.is_empty() {
            (Empty::NothingFound("0 proposals wait for a second person.".to_owned()).html())
        }
        @for proposal in open { (asked(ask, known, proposal)) }
        (answered(ask, known).html())
    }
}

/// A proposal with its answers; a button that cannot be used says why.
fn asked(ask: &Ask, known: &Known, proposal: &Proposal) -> Markup {
    let digest = proposal.digest.to_hex();
    let short = &digest[..12];
    let why = known.objections.get(&proposal.digest).cloned().flatten();
    let note = format!("why-{short}");
    let described = why.is_some().then_some(note.as_str());
    html! {
        section.card id={ "proposal-" (short) } {
            h3 { "Proposal " code.id { (short) } }
            p.sub { "by " (ask.app.name(&proposal.by)) ", " (time::ago(ask, proposal.at)) }
            (changes(ask, known, proposal).placed(short).html())
            form.line action="/admin/people/answer" method="post" {
                (form::token(&ask.principal))
                input type="hidden" name="proposal" value=(digest);
                button.btn.small type="submit" name="answer" value="approve" disabled[why.is_some()] aria-describedby=[described] {
                    "Approve" span.vh { " proposal " (short) }
                }
            }
            form.filters action="/admin/people/answer" method="post" {
                (form::token(&ask.principal))
                input type="hidden" name="proposal" value=(digest);
                span.field {
                    label for={ "reason-" (short) } { "Why not" }
                    input id={ "reason-" (short) } name="reason" type="text" maxlength="500" required disabled[why.is_some()];
                }
                button.btn.small type="submit" name="answer" value="reject" disabled[why.is_some()] aria-describedby=[described] {
                    "Reject" span.vh { " proposal " (short) }
                }
            }
            @if let Some(why) = &why { p.sub id=(note) { "Not by you: " (why) "." } }
        }
    }
}

fn changes(ask: &Ask, known: &Known, proposal: &Proposal) -> Table {
    let count = proposal.changes.len();
    let mut table = Table::new(
        "changes",
        match count > SHOWN {
            true => format!("The first {SHOWN} of {count} changes"),
            false => "What it changes".to_owned(),
        },
        vec![
            Column::head("Account or person"),
            Column::text("Now"),
            Column::text("Then"),
        ],
    );
    for change in proposal.changes.iter().take(SHOWN) {
        let cells = match change {
            BindingChange::Account { account, owner } => {
                let now = known.bindings.owner(account);
                vec![
                    Cell::text(account_name(ask, known, account)),
                    Cell::text(now.map_or("nobody's".to_owned(), |owner| ask.app.name(&owner.id))),
                    Cell::text(match owner {
                        None => "nobody's".to_owned(),
                        Some(owner) if owner.machine => {
                            format!("{}, a machine", ask.app.name(&owner.id))
                        }
                        Some(owner) => ask.app.name(&owner.id),
                    }),
                ]
            }
            BindingChange::Profile {
                service,
                environment,
                profile,
                effective_at,
            } => {
                let place = environment.as_deref().unwrap_or("every environment");
                let now = known.bindings.profiles().iter().rev();
                let mut now =
                    now.filter(|one| one.service == *service && one.environment == *environment);
                let then = match effective_at {
                    Some(from) => format!("{profile} from {}", time::minutes(*from)),
                    None => profile.clone(),
                };
                vec![
                    Cell::text(format!("Profile of {service} in {place}")),
                    Cell::text(
                        now.next()
                            .map_or("none approved", |one| one.profile.as_str()),
                    ),
                    Cell::text(then),
                ]
            }
            BindingChange::Team {
                person,
                team,
                member,
            } => {
                let (now, then) = match member {
                    true => ("not in", "in"),
                    false => ("in", "not in"),
                };
                vec![
                    Cell::text(ask.app.name(person)),
                    Cell::text(format!("{now} {team}")),
                    Cell::text(format!("{then} {team}")),
                ]
            }
        };
        table.rows.push(Row::new(cells));
    }
    table
}

fn account_name(ask: &Ask, known: &Known, account: &PrincipalId) -> String {
    match known.aliases.get(account) {
        Some(alias) => alias.clone(),
        None => ask.app.name(account),
    }
}

fn answered(ask: &Ask, known: &Known) -> Table {
    let mut table = Table::new(
        "answered",
        "Bindings that were answered",
        vec![
            Column::head("Proposal"),
            Column::text("By"),
            Column::number("Changes"),
            Column::text("Answer"),
            Column::text("Answered by"),
            Column::text("When"),
        ],
    );
    for proposal in known.proposals.iter().take(SHOWN) {
        let (state, word, by, at) = match &proposal.standing {
            Standing::Waiting => continue,
            Standing::Approved { by, at } => (Word::Pass, "approved", Some(by), *at),
            Standing::Rejected { by, at, .. } => (Word::Fail, "rejected", Some(by), *at),
            Standing::Bootstrap => (Word::Warned, "bootstrap", None, proposal.at),
        };
        let by = by.map_or("nobody else could".to_owned(), |by| ask.app.name(by));
        table.rows.push(Row::new(vec![
            Cell::text(&proposal.digest.to_hex()[..12]),
            Cell::text(ask.app.name(&proposal.by)),
            Cell::number(proposal.changes.len() as u64),
            Cell::html(word, chip::tag(state, word)),
            Cell::text(by),
            Cell::ago(ask, at),
        ]));
    }
    table.empty = Some(Empty::NothingFound("0 proposals so far.".to_owned()));
    table
}

fn people(known: &Known) -> Table {
    let count = known.people.len();
    let mut table = Table::new(
        "persons",
        match count > SHOWN {
            true => format!("People and machines, the first {SHOWN} of {count}"),
            false => "People and machines".to_owned(),
        },
        vec![
            Column::head("Name"),
            Column::text("Id"),
            Column::text("Kind"),
            Column::text("State"),
            Column::number("Accounts"),
            Column::text("Teams"),
        ],
    );
    for person in known.people.iter().take(SHOWN) {
        let (state, word) = match person.disabled_at {
            Some(_) => (Word::NotApplicable, "disabled"),
            None => (Word::Pass, "active"),
        };
        let teams: Vec<&str> = known.bindings.teams(&person.id).collect();
        let name = html! { a href={ "#person-" (person.id) } { (person.name) } };
        table.rows.push(Row::new(vec![
            Cell::html(&person.name, name),
            Cell::text(&person.key),
            Cell::text(if person.machine { "machine" } else { "person" }),
            Cell::html(word, chip::tag(state, word)),
            Cell::number(known.bindings.accounts(&person.id).count() as u64),
            Cell::text(teams.join(", ")),
        ]));
    }
    table.empty = Some(Empty::NotConnected {
        what: "0 people are known: accounts in evidence are nobody's.".to_owned(),
        command: Some("writ server people import FILE"),
    });
    table
}

/// One person with their accounts.
fn card(ask: &Ask, known: &Known, person: &Person, manages: bool) -> Markup {
    let accounts: Vec<&PrincipalId> = known.bindings.accounts(&person.id).collect();
    html! {
        section.card id={ "person-" (person.id) } {
            h3 { (person.name) }
            p.sub { code.id { (person.id) } " · known since " (time::ago(ask, person.added_at)) }
            @if accounts.is_empty() { p.sub { "0 accounts are in force." } }
            @for account in accounts {
                @let name = account_name(ask, known, account);
                @if manages {
                    form.line action="/admin/people/unbind" method="post" {
                        (form::token(&ask.principal))
                        input type="hidden" name="account" value=(account);
                        span title=(account) { (name) }
                        button.btn.small type="submit" { "Propose to unbind" span.vh { " " (name) " of " (person.name) } }
                    }
                } @else { p { span title=(account) { (name) } } }
            }
        }
    }
}

/// The form that proposes a binding.
fn binding(ask: &Ask) -> Markup {
    let field = |name: &str, label: &str, longest: &str, required: bool| {
        html! {
            span.field {
                label for={ "bind-" (name) } { (label) }
                input id={ "bind-" (name) } name=(name) type="text" maxlength=(longest) required[required];
            }
        }
    };
    html! {
        section.card {
            h3 { "Propose a binding" }
            p.sub { "Accounts as kind:name (mail, local, gitlab, github, oidc), several with spaces. A whole list: " code { "writ server people import FILE" } }
            form.filters action="/admin/people/bind" method="post" {
                (form::token(&ask.principal))
                (field("id", "Id of the person or machine", "200", true))
                (field("name", "Name, for a new one", "200", false))
                (field("accounts", "Accounts", "2000", true))
                span.field {
                    label for="bind-kind" { "It is" }
                    select id="bind-kind" name="machine" {
                        option value="false" { "a person" }
                        option value="true" { "a machine" }
                    }
                }
                button.btn.small type="submit" { "Propose" }
            }
        }
    }
}

fn strangers(ask: &Ask, known: &Known, manages: bool) -> Markup {
    html! {
        h2 id="strangers" { "Accounts that nobody is known for" }
        p.sub { "In the newest evidence. Until they are bound, they never count as somebody else." }
        @if known.strangers.is_empty() {
            (Empty::NothingFound("0 accounts in the newest evidence are bound to nobody.".to_owned()).html())
        }
        @for (at, stranger) in known.strangers.iter().enumerate() {
            section.card {
                h3 { @if let Some(name) = &stranger.name { (name) } @else { code.id { (stranger.id) } } }
                p.sub {
                    (stranger.what) @if !stranger.service.is_empty() { " in " (stranger.service) }
                    ", last " (time::ago(ask, stranger.seen))
                }
                @if manages {
                    form.filters action="/admin/people/bind" method="post" {
                        (form::token(&ask.principal))
                        input type="hidden" name="accounts" value=(stranger.id);
                        span.field {
                            label for={ "owner-" (at) } { "Id of the person or machine" }
                            input id={ "owner-" (at) } name="id" type="text" maxlength="200" required;
                        }
                        span.field {
                            label for={ "kind-" (at) } { "It is" }
                            select id={ "kind-" (at) } name="machine" {
                                option value="false" { "a person" }
                                option value="true" { "a machine" }
                            }
                        }
                        button.btn.small type="submit" { "Propose" span.vh { " an owner of " (stranger.id) } }
                    }
                }
            }
        }
    }
}

pub(super) fn told(error: RegistryError) -> Problem {
    match error {
        RegistryError::People { reason } => Problem::new(Code::People, reason),
        other => other.into(),
    }
}

/// Proposes owners for accounts.
///
/// # Errors
/// An account or name cannot be used, or nothing would change.
pub async fn bind(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<BindForm>,
) -> Result<Response, Problem> {
    let accounts = asked
        .accounts
        .split_whitespace()
        .take(SHOWN)
        .map(|text| AccountRef::parse(text).map_err(|why| Problem::new(Code::People, why)))
        .collect::<Result<Vec<_>, _>>()?;
    let name = Some(asked.name.trim()).filter(|name| !name.is_empty());
    let by = actor(&principal);
    let bound = state
        .store
        .bind_accounts(asked.id.trim(), name, asked.machine, &accounts, &by)
        .await
        .map_err(told)?;
    if let Some(proposed) = &bound.proposed {
        tracing::info!(by = %principal.id, entry = proposed.recorded.index, "bindings were proposed");
    }
    Ok(done(&state))
}

/// Proposes that an account belongs to nobody.
///
/// # Errors
/// It cannot be used, or belongs to nobody.
pub async fn unbind(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<UnbindForm>,
) -> Result<Response, Problem> {
    let account =
        AccountRef::parse(&asked.account).map_err(|why| Problem::new(Code::People, why))?;
    let account = state.store.account_id(&account)?;
    let proposed = state
        .store
        .unbind_accounts(&[account], &actor(&principal))
        .await
        .map_err(told)?;
    tracing::info!(by = %principal.id, entry = proposed.recorded.index, "bindings were proposed");
    Ok(done(&state))
}

/// Answers a proposal.
///
/// # Errors
/// It is one's own, answered already, or the answer is none.
pub async fn answer(
    State(state): State<Shared>,
    principal: Principal,
    Form(asked): Form<AnswerForm>,
) -> Result<Response, Problem> {
    answers(&principal)?;
    let reply = match asked.answer.as_str() {
        "approve" => Answer::Approve,
        "reject" => Answer::Reject {
            reason: asked.reason.trim().to_owned(),
        },
        other => {
            return Err(
                Problem::new(Code::Body, format!("'{}' is no answer", shown(other)))
                    .required("approve or reject"),
            );
        }
    };
    if matches!(&reply, Answer::Reject { reason } if reason.is_empty()) {
        return Err(Problem::new(Code::People, "a no says why"));
    }
    let proposal = state
        .store
        .binding_proposal(&asked.proposal)
        .await
        .map_err(told)?;
    let recorded = state
        .store
        .answer_bindings(&proposal.digest, &reply, &actor(&principal))
        .await
        .map_err(told)?;
    tracing::info!(by = %principal.id, entry = recorded.index, answer = asked.answer, "bindings were answered");
    Ok(done(&state))
}

pub(super) fn done(state: &Shared) -> Response {
    state.forget_names();
    state.recorded.notify_one();
    Redirect::to("/admin/people#bindings").into_response()
}
