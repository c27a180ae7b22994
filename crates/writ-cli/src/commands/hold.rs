//! `writ hold …`: evidence that nobody deletes until two people agree.

use serde_json::{Map, Value, json};
use writ_registry::hold::{HoldChange, HoldScope, HoldStep, LegalHold};
use writ_registry::{RegistryError, Store};
use writ_render::{EdgeError, Format, json as render, text};

use crate::args::{HoldCommand, PlaceArgs};
use crate::commands::listing::{self, Column, Listing, Row};
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::{emit, store, ui};

/// Not yet: somebody else has to act.
const WAITING: u8 = 8;

/// Runs the command.
///
/// # Errors
///
/// There is nothing to hold or no such hold, the person may not release it, or it cannot be recorded.
pub async fn run(context: &Context, command: &HoldCommand) -> Result<u8, EdgeError> {
    match command {
        HoldCommand::Place(args) => place(context, args).await,
        HoldCommand::List { all } => list(context, *all).await,
        HoldCommand::Release { hold, reason } => release(context, hold, reason).await,
    }
}

async fn place(context: &Context, args: &PlaceArgs) -> Result<u8, EdgeError> {
    if args.evidence.is_empty() && context.service.is_none() {
        return Err(edge::usage("a hold needs evidence, or a service")
            .try_this("writ hold place ev_… --reason TEXT")
            .try_this("writ hold place --service NAME --reason TEXT"));
    }
    let store = store::open(context).await?;
    let scope = match &context.service {
        Some(service) if args.evidence.is_empty() => HoldScope::Service {
            service: service.clone(),
            from: args.from,
            until: args.until,
        },
        _ => {
            let mut evidence = Vec::new();
            for id in &args.evidence {
                let found = store
                    .get(id)
                    .await
                    .map_err(|error| store::registry_error(&error))?;
                evidence.push(found.item.id);
            }
            HoldScope::Evidence { evidence }
        }
    };
    let me = store.local_principal(&context.identity).await.edge()?;
    let change = store
        .place_hold(scope, args.reason.clone(), &me)
        .await
        .map_err(|error| hold_error(&error))?;
    changed(context, &store, &change).await?;
    Ok(0)
}

async fn release(context: &Context, which: &str, reason: &str) -> Result<u8, EdgeError> {
    if let Some(ci) = context.ci {
        return Err(edge::not_allowed("a CI job cannot release a hold")
            .because(format!(
                "this process runs in {ci}; only named people decide"
            ))
            .try_this("ask two people to run the command"));
    }
    let store = store::open(context).await?;
    let me = store.local_principal(&context.identity).await.edge()?;
    let change = store
        .release_hold(which, reason.to_owned(), &me)
        .await
        .map_err(|error| hold_error(&error))?;
    changed(context, &store, &change).await?;
    if change.hold.released.is_some() {
        return Ok(0);
    }
    if context.talks() {
        eprintln!(
            "Waits for somebody else: writ hold release {} --identity NAME --reason TEXT",
            change.hold.human()
        );
    }
    Ok(WAITING)
}

fn hold_error(error: &RegistryError) -> EdgeError {
    match error {
        RegistryError::NotFound(which) => {
            edge::usage(format!("there is no hold '{}'", text::clean(which)))
                .try_this("writ hold list --all")
        }
        other => store::registry_error(other),
    }
}

async fn changed(context: &Context, store: &Store, change: &HoldChange) -> Result<(), EdgeError> {
    store::settle(store).await;
    let mut value = Map::new();
    value.insert("schema".to_owned(), "writ.hold-change/1".into());
    value.insert("hold".to_owned(), object(&change.hold));
    value.insert("objects".to_owned(), change.objects.into());
    value.insert(
        "recorded".to_owned(),
        json!({"id": change.recorded.id, "index": change.recorded.index}),
    );
    let value = Value::Object(value);
    emit::emit(context, |sink| match sink.format {
        Format::Json => render::document(&value),
        Format::Jsonl => render::line(&value),
        _ => format!(
            "{}  {}  {}, {}\nrecorded as {}, entry {}\n",
            change.hold.human(),
            change.hold.state(),
            scope(&change.hold),
            ui::counted(change.objects, "objects"),
            change.recorded.id.short(),
            change.recorded.index,
        ),
    })
}

async fn list(context: &Context, all: bool) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ hold list", &listing::FORMATS)?;
    let store = store::open_read_only(context).await?;
    let holds = store.holds().await.edge()?;
    let shown = holds
        .iter()
        .filter(|hold| all || hold.released.is_none())
        .filter(|hold| match (&context.service, &hold.scope) {
            (Some(wanted), HoldScope::Service { service, .. }) => wanted == service,
            _ => true,
        });
    let mut rows = Vec::new();
    for hold in shown {
        let mut below = Vec::new();
        for (what, step) in [
            ("placed", Some(&hold.placed)),
            ("release asked for", hold.requested.as_ref()),
            ("released", hold.released.as_ref()),
        ] {
            if let Some(step) = step {
                below.push(told(&store, what, step).await?);
            }
        }
        rows.push(Row {
            cells: vec![hold.human(), hold.state().to_owned(), scope(hold)],
            below,
            fields: vec![
                ("hold", hold.human().into()),
                ("state", hold.state().into()),
                ("scope", json!(hold.scope)),
                ("placed", json!(hold.placed)),
                ("requested", json!(hold.requested)),
                ("released", json!(hold.released)),
            ],
        });
    }
    let live = holds.iter().filter(|hold| hold.released.is_none()).count();
    let listing = Listing {
        schema: "writ.holds/1",
        line_schema: "writ.hold/1",
        key: "holds",
        columns: vec![
            Column::new("hold"),
            Column::state("state"),
            Column::flexible("covers"),
        ],
        footer: vec![format!(
            "{}, {live} in force",
            ui::counted(holds.len() as u64, "holds")
        )],
        rows,
        fields: Map::new(),
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(0)
}

/// A step in a line.
async fn told(store: &Store, what: &str, step: &HoldStep) -> Result<String, EdgeError> {
    let name = store.person_name(&step.by).await.edge()?;
    Ok(format!(
        "{what} {} by {}: {}",
        step.at.to_seconds_text(),
        text::clean(&name.unwrap_or_else(|| step.by.0.clone())),
        text::prose(&step.reason)
    ))
}

/// What it covers, in words.
fn scope(hold: &LegalHold) -> String {
    match &hold.scope {
        HoldScope::Evidence { evidence } => evidence
            .iter()
            .map(|id| id.short())
            .collect::<Vec<_>>()
            .join(" "),
        HoldScope::Service {
            service,
            from,
            until,
        } => {
            let mut out = text::clean(service).into_owned();
            if let Some(from) = from {
                out.push_str(&format!(" from {}", from.to_seconds_text()));
            }
            match until {
                Some(until) => out.push_str(&format!(" until {}", until.to_seconds_text())),
                None => out.push_str(" and what is recorded later"),
            }
            out
        }
    }
}

fn object(hold: &LegalHold) -> Value {
    let mut value = json!(hold);
    if let Value::Object(fields) = &mut value {
        fields.insert("name".to_owned(), hold.human().into());
        fields.insert("state".to_owned(), hold.state().into());
    }
    value
}
