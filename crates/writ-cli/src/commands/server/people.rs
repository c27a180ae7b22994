//! `writ server people …`: who is whom.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use writ_evidence::predicate::Actor;
use writ_model::{Assurance, PrincipalId};
use writ_registry::directory::identity::{Answer, Bindings, Proposal, Proposed, Standing};
use writ_registry::directory::roster::{self, Imported, NamedAlias, Person, Plan};
use writ_registry::directory::{AccountRef, RoleBook};
use writ_registry::{RegistryError, Store};
use writ_render::{EdgeError, text};

use super::answer;
use crate::args::{BindArgs, PeopleCommand};
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::{store, ui};

/// Runs the command.
///
/// # Errors
///
/// What is asked for is not possible, or the store cannot be used; then nothing was changed.
pub(super) async fn run(context: &Context, command: &PeopleCommand) -> Result<(), EdgeError> {
    let store = store::open(context).await?;
    match command {
        PeopleCommand::Import { file, dry_run } => import(context, &store, file, *dry_run).await?,
        PeopleCommand::List => list(context, &store).await?,
        PeopleCommand::Show { who } => show(context, &store, who).await?,
        PeopleCommand::Bind(args) => bind(context, &store, args, false).await?,
        PeopleCommand::Bot(args) => bind(context, &store, args, true).await?,
        PeopleCommand::Unbind { accounts } => unbind(context, &store, accounts).await?,
        PeopleCommand::Approve { proposal } => {
            decide(context, &store, proposal, Answer::Approve).await?;
        }
        PeopleCommand::Reject { proposal, reason } => {
            let reason = reason.clone();
            decide(context, &store, proposal, Answer::Reject { reason }).await?;
        }
    }
    store::settle(&store).await;
    Ok(())
}

/// Who read what.
///
/// # Errors
///
/// The store cannot be used.
pub(super) async fn reads(context: &Context, limit: u32) -> Result<(), EdgeError> {
    let store = store::open(context).await?;
    let reads = store.reads(None, limit).await.map_err(failed)?;
    let mut rows = Vec::new();
    for read in &reads {
        let name = store.person_name(&read.principal).await.map_err(failed)?;
        rows.push((read, name));
    }
    let shown: Vec<Value> = rows
        .iter()
        .map(|(read, name)| {
            let mut value = json!(read);
            value["name"] = json!(name);
            value
        })
        .collect();
    let value = json!({"schema": "writ.reads/1", "reads": shown});
    answer(context, &value, || {
        if rows.is_empty() {
            return "no read is noted\n".to_owned();
        }
        rows.iter()
            .map(|(read, name)| {
                let who = name.as_deref().unwrap_or(&read.principal.0);
                format!(
                    "{}  {}  {}  {}\n",
                    read.at,
                    text::clean(who),
                    text::clean(&read.path),
                    text::clean(&read.request)
                )
            })
            .collect()
    })
}

fn failed(error: RegistryError) -> EdgeError {
    match error {
        RegistryError::People { reason } => edge::not_allowed(reason),
        other => store::registry_error(&other),
    }
}

/// Who types. Somebody at a shell of the store's machine is what they say: the weakest assurance.
async fn actor(context: &Context, store: &Store) -> Result<Actor, EdgeError> {
    let principal = store
        .local_principal(&context.identity)
        .await
        .map_err(failed)?;
    Ok(Actor {
        principal,
        role: None,
        assurance: Assurance::LocalUser,
        assertion: None,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, EdgeError> {
    let limit = roster::MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        _ => std::fs::File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| {
        edge::usage("the list cannot be read")
            .at(file.display())
            .because(error)
    })?;
    Ok(bytes)
}

async fn import(
    context: &Context,
    store: &Store,
    file: &Path,
    dry_run: bool,
) -> Result<(), EdgeError> {
    let roster = roster::parse(&read(file)?).map_err(|error| {
        edge::usage(error.problem)
            .at(format!("{}: {}", file.display(), error.place))
            .because("a list is taken over whole or not at all; nothing was changed")
    })?;
    if dry_run {
        let plan = store.plan_roster(&roster).await.map_err(failed)?;
        return answer(context, &plan_value(&plan, None, true), || {
            let mut out = plan_text(&plan);
            out.push_str("nothing was changed\n");
            out
        });
    }
    let by = actor(context, store).await?;
    let imported = store.import_roster(&roster, &by).await.map_err(failed)?;
    imported_answer(context, &imported)
}

fn imported_answer(context: &Context, imported: &Imported) -> Result<(), EdgeError> {
    let value = plan_value(&imported.plan, imported.proposed.as_ref(), false);
    answer(context, &value, || {
        let mut out = plan_text(&imported.plan);
        if let Some(proposed) = &imported.proposed {
            out.push_str(&proposed_text(proposed));
        }
        out
    })
}

fn plan_value(plan: &Plan, proposed: Option<&Proposed>, dry_run: bool) -> Value {
    json!({
        "schema": "writ.people-import/1", "dryRun": dry_run, "counts": plan.counts,
        "differences": plan.differences, "proposed": proposed.map(proposed_value),
    })
}

fn proposed_value(proposed: &Proposed) -> Value {
    json!({
        "digest": proposed.digest, "changes": proposed.changes,
        "bootstrap": proposed.bootstrap, "recorded": proposed.recorded.id,
    })
}

fn plan_text(plan: &Plan) -> String {
    if plan.differences.is_empty() {
        return format!(
            "nothing differs: {} in the list\n",
            text::number(plan.counts.listed as u64)
        );
    }
    let lines = plan.differences.iter().map(|difference| {
        let about = match difference.about.is_empty() {
            true => String::new(),
            false => format!("  {}", text::clean(&difference.about)),
        };
        format!(
            "{:<15} {} ({}){about}\n",
            difference.change,
            text::clean(&difference.name),
            text::clean(&difference.key)
        )
    });
    lines.collect()
}

fn proposed_text(proposed: &Proposed) -> String {
    let what = ui::counted(proposed.changes as u64, "bindings");
    let recorded = proposed.recorded.id.short();
    match proposed.bootstrap {
        true => format!(
            "{what} in force as bootstrap, recorded as {recorded}: there is nobody else who could approve\n"
        ),
        false => format!(
            "{what} proposed, recorded as {recorded}\n  in force when somebody else approves: writ server people approve {}\n",
            &proposed.digest.to_hex()[..12]
        ),
    }
}

async fn bind(
    context: &Context,
    store: &Store,
    args: &BindArgs,
    machine: bool,
) -> Result<(), EdgeError> {
    let accounts = args
        .accounts
        .iter()
        .map(|text| AccountRef::parse(text).map_err(edge::usage))
        .collect::<Result<Vec<_>, _>>()?;
    let by = actor(context, store).await?;
    let name = args.name.as_deref();
    let bound = store.bind_accounts(&args.id, name, machine, &accounts, &by);
    imported_bind(context, &bound.await.map_err(failed)?)
}

fn imported_bind(context: &Context, imported: &Imported) -> Result<(), EdgeError> {
    let value = plan_value(&imported.plan, imported.proposed.as_ref(), false);
    answer(context, &value, || {
        let proposed = imported.proposed.as_ref();
        proposed.map(proposed_text).unwrap_or_default()
    })
}

fn account(store: &Store, which: &str) -> Result<PrincipalId, EdgeError> {
    let account = AccountRef::parse(which).map_err(edge::usage)?;
    store.account_id(&account).map_err(failed)
}

async fn unbind(context: &Context, store: &Store, accounts: &[String]) -> Result<(), EdgeError> {
    let accounts = accounts
        .iter()
        .map(|which| account(store, which))
        .collect::<Result<Vec<_>, _>>()?;
    let by = actor(context, store).await?;
    let proposed = store
        .unbind_accounts(&accounts, &by)
        .await
        .map_err(failed)?;
    let value = json!({"schema": "writ.people-import/1", "proposed": proposed_value(&proposed)});
    answer(context, &value, || proposed_text(&proposed))
}

async fn decide(
    context: &Context,
    store: &Store,
    which: &str,
    reply: Answer,
) -> Result<(), EdgeError> {
    let proposal = store.binding_proposal(which).await.map_err(failed)?;
    let by = actor(context, store).await?;
    let recorded = store
        .answer_bindings(&proposal.digest, &reply, &by)
        .await
        .map_err(failed)?;
    let word = match reply {
        Answer::Approve => "approved",
        Answer::Reject { .. } => "rejected",
    };
    let value = json!({
        "schema": "writ.people-answer/1", "proposal": proposal.digest, "answer": word,
        "changes": proposal.changes.len(), "recorded": recorded.id,
    });
    answer(context, &value, || {
        format!(
            "{} {word}, recorded as {}\n",
            ui::counted(proposal.changes.len() as u64, "bindings"),
            recorded.id.short()
        )
    })
}

/// Everything that the list shows of people.
struct Known {
    people: Vec<Person>,
    names: BTreeMap<PrincipalId, String>,
    bindings: std::sync::Arc<Bindings>,
    proposals: Vec<Proposal>,
}

impl Known {
    async fn read(store: &Store) -> Result<Self, EdgeError> {
        let aliases = store.named_aliases().await.map_err(failed)?;
        let named = |alias: NamedAlias| (alias.id, alias.alias);
        Ok(Self {
            people: store.persons().await.map_err(failed)?,
            names: aliases.into_iter().map(named).collect(),
            bindings: store.bindings(None).await.map_err(failed)?,
            proposals: store.binding_proposals().await.map_err(failed)?,
        })
    }

    /// The name of an account, where the directory has it.
    fn name(&self, account: &PrincipalId) -> String {
        let name = self.names.get(account);
        name.map_or_else(|| account.0.clone(), |name| text::clean(name).into_owned())
    }

    fn value(&self, person: &Person) -> Value {
        let accounts = self.bindings.accounts(&person.id);
        let mut value = json!(person);
        value["accounts"] = accounts
            .map(|id| json!({"id": id, "alias": self.names.get(id)}))
            .collect();
        value["teams"] = self.bindings.teams(&person.id).collect();
        value
    }

    fn line(&self, person: &Person) -> String {
        let mut out = format!(
            "{}  {}{}{}\n",
            text::clean(&person.key),
            text::clean(&person.name),
            if person.machine { "  machine" } else { "" },
            match person.disabled_at {
                Some(at) => format!("  disabled since {at}"),
                None => String::new(),
            }
        );
        let accounts: Vec<String> = self
            .bindings
            .accounts(&person.id)
            .map(|account| self.name(account))
            .collect();
        let teams: Vec<_> = self.bindings.teams(&person.id).map(text::clean).collect();
        for (what, list) in [
            ("accounts", accounts.join(", ")),
            ("teams", teams.join(", ")),
        ] {
            if !list.is_empty() {
                out.push_str(&format!("  {what:<8}  {list}\n"));
            }
        }
        out
    }

    fn waiting(&self) -> impl Iterator<Item = &Proposal> {
        let proposals = self.proposals.iter();
        proposals.filter(|proposal| proposal.standing == Standing::Waiting)
    }
}

async fn list(context: &Context, store: &Store) -> Result<(), EdgeError> {
    let known = Known::read(store).await?;
    let waiting: Vec<Value> = known
        .waiting()
        .map(|proposal| {
            json!({
                "digest": proposal.digest, "at": proposal.at, "by": proposal.by,
                "changes": proposal.changes.len(),
            })
        })
        .collect();
    let people: Vec<Value> = known.people.iter().map(|one| known.value(one)).collect();
    let value = json!({"schema": "writ.people/1", "people": people, "waiting": waiting});
    answer(context, &value, || {
        let mut out: String = known.people.iter().map(|one| known.line(one)).collect();
        if out.is_empty() {
            out.push_str("nobody is known: writ server people import FILE, or bind\n");
        }
        for proposal in known.waiting() {
            out.push_str(&format!(
                "waits  {}  {}, proposed {}\n",
                &proposal.digest.to_hex()[..12],
                ui::counted(proposal.changes.len() as u64, "bindings"),
                proposal.at
            ));
        }
        out
    })
}

async fn show(context: &Context, store: &Store, who: &str) -> Result<(), EdgeError> {
    let known = Known::read(store).await?;
    let mut account_id = None;
    let mut person = store.person(who).await.map_err(failed)?;
    if person.is_none() && (who.contains(':') || who.contains('@') || who.starts_with("p_")) {
        let id = account(store, who)?;
        let owner = known.bindings.owner(&id).map(|owner| owner.id.0.clone());
        if let Some(owner) = owner {
            person = store.person(&owner).await.map_err(failed)?;
        }
        account_id = Some(id);
    }
    let mut book = RoleBook::default();
    store.read_roles(&mut book).await.map_err(failed)?;
    let value = json!({
        "schema": "writ.person/1",
        "account": account_id,
        "person": person.as_ref().map(|person| known.value(person)),
        "roles": account_id.as_ref().map(|id| book.of(id)),
    });
    if person.is_none() && account_id.is_none() {
        return Err(edge::usage("nobody is known by that")
            .because("people are known by their id, their pseudonym, or an account as KIND:NAME")
            .try_this("writ server people list"));
    }
    answer(context, &value, || match (&person, &account_id) {
        (Some(person), id) => {
            let mut out = known.line(person);
            if let Some(id) = id {
                out.push_str(&format!("  {}\n", id));
            }
            out
        }
        (None, Some(id)) => format!(
            "{id} belongs to nobody: writ server people bind ID {}\n",
            text::clean(who)
        ),
        (None, None) => String::new(),
    })
}
