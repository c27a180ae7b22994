//! `writ why [CONTROL|DECISION|ENVIRONMENT]`: explain the last block and how to regain compliance.

use writ_gate::evaluate::recorded_decision;
use writ_model::{Decision, DecisionId};
use writ_registry::Store;
use writ_render::{EdgeError, Format};

use crate::args::WhyArgs;
use crate::commands::gate;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit;
use crate::repo::Repo;
use crate::store;

/// Runs the command: exit 0 when there is something to explain.
///
/// # Errors
///
/// Nothing was decided yet, or what is named does not exist.
pub async fn run(context: &Context, args: &WhyArgs) -> Result<u8, EdgeError> {
    let store = store::open_read_only(context).await?;
    let what = args.what.as_deref();
    if let Some(id) = what.filter(|text| text.starts_with("dec_")) {
        let decision = recorded_decision(&store, id)
            .await
            .map_err(|error| gate::evaluate_error(&error))?;
        return print(context, &decision, id.parse().ok(), None);
    }
    let repo = Repo::open(context)?;
    let environments: Vec<String> = repo
        .config
        .environments_in_order()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let environment = what.filter(|name| environments.iter().any(|known| known == name));
    let control = what.filter(|_| environment.is_none());
    let (id, decision) = last(&store, repo.service(context), environment).await?;
    if let Some(control) = control {
        let known: Vec<&str> = decision
            .checks
            .iter()
            .chain(&decision.later)
            .map(|check| check.control.as_str())
            .collect();
        if !known.iter().any(|id| id.eq_ignore_ascii_case(control)) {
            let hint = writ_gate::did_you_mean(control, known.iter().copied())
                .map_or_else(|| known.join(", "), |near| format!("did you mean {near}?"));
            return Err(edge::usage(format!(
                "the last decision for {} has no check '{control}'",
                decision.environment
            ))
            .try_this(hint));
        }
    }
    print(context, &decision, Some(id), control)
}

/// The newest recorded decision of a service.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub async fn last(
    store: &Store,
    service: &str,
    environment: Option<&str>,
) -> Result<(DecisionId, Decision), EdgeError> {
    let rows = store
        .decisions(Some(service), environment, 1)
        .await
        .map_err(|error| store::registry_error(&error))?;
    let row = rows.first().ok_or_else(|| {
        edge::usage(format!("nothing was decided about {service} yet"))
            .try_this("writ run && writ gate")
    })?;
    let id = DecisionId::from_digest(row.id.digest());
    let decision = recorded_decision(store, &id.to_string())
        .await
        .map_err(|error| gate::evaluate_error(&error))?;
    Ok((id, decision))
}

fn print(
    context: &Context,
    decision: &Decision,
    id: Option<DecisionId>,
    control: Option<&str>,
) -> Result<u8, EdgeError> {
    emit::emit(context, |sink| {
        let surroundings = writ_render::Context {
            decision_id: id,
            change: Some(gate::change(decision)),
            ..emit::surroundings(context, sink)
        };
        match (sink.format, control) {
            (Format::Human, Some(control)) => {
                let exact = control.to_ascii_uppercase();
                writ_render::why::why(decision, &exact, &surroundings).unwrap_or_default()
            }
            _ => writ_render::render_decision(decision, &surroundings, sink.format),
        }
    })?;
    Ok(0)
}
