//! `writ why [CONTROL|DECISION|ENVIRONMENT]`: explain the last block and how to regain compliance.

use writ_model::{Decision, DecisionId};
use writ_render::{EdgeError, Format};

use crate::args::WhyArgs;
use crate::commands::gate;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit;
use crate::reader::Reader;
use crate::remote::Remote;
use crate::repo::Repo;

/// Runs the command: exit 0 when there is something to explain.
///
/// # Errors
///
/// Nothing was decided yet, or what is named does not exist.
pub async fn run(context: &Context, args: &WhyArgs) -> Result<u8, EdgeError> {
    let what = args.what.as_deref();
    if let Some(id) = what.filter(|text| text.starts_with("dec_")) {
        // The id says what is meant; the repository, where there is one, which server has it.
        let remote = Remote::find(context, Repo::open(context).ok().as_ref()).await?;
        let reader = Reader::open(context, remote).await?;
        let (id, decision) = reader.decision(id).await?;
        return print(context, &decision, id, None, reader.address());
    }
    let repo = Repo::open(context)?;
    let remote = Remote::find(context, Some(&repo)).await?;
    let reader = Reader::open(context, remote).await?;
    let environments: Vec<String> = repo
        .config
        .environments_in_order()
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let environment = what.filter(|name| environments.iter().any(|known| known == name));
    let control = what.filter(|_| environment.is_none());
    let (id, decision) = reader.last_of(repo.service(context), environment).await?;
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
    print(context, &decision, Some(id), control, reader.address())
}

fn print(
    context: &Context,
    decision: &Decision,
    id: Option<DecisionId>,
    control: Option<&str>,
    server: Option<&str>,
) -> Result<u8, EdgeError> {
    emit::emit(context, |sink| {
        let surroundings = writ_render::Context {
            decision_id: id,
            change: Some(gate::change(decision)),
            links: server.map(str::to_owned),
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
