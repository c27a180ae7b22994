//! `writ verify-artifact DIGEST --env ENVIRONMENT`: may this be deployed there? For any deployer: the
//! answer is the exit code.

use std::path::Path;

use writ_release::authorise::{self, Authorisation, Question};
use writ_render::{EdgeError, text};

use crate::args::VerifyArtifactArgs;
use crate::context::Context;
use crate::edge::EdgeResult as _;
use crate::remote::Remote;
use crate::repo::Repo;
use crate::{emit, store};

/// Runs the command: 0 there is a writ that counts, 1 there is none.
///
/// # Errors
///
/// Nobody can tell: the store or the server cannot be asked.
pub async fn run(
    context: &Context,
    args: &VerifyArtifactArgs,
    here: &Path,
) -> Result<u8, EdgeError> {
    // A deployer may stand anywhere; in a repository its `writ.toml` says which server is meant.
    let in_repository = context.config.is_some() || has_definition(here);
    let repo = in_repository.then(|| Repo::open(context)).transpose()?;
    let question = Question {
        artifact: args.digest,
        environment: args.environment.clone(),
        service: context.service.clone(),
    };
    let remote = Remote::find(context, repo.as_ref()).await?;
    let answer = ask(context, remote.as_ref(), &question).await?;
    emit::answer(context, &document(&answer), || words(&answer))?;
    Ok(u8::from(!answer.lets_in()))
}

/// Asks the server where there is one, else this store.
///
/// # Errors
///
/// Neither can be asked.
pub async fn ask(
    context: &Context,
    remote: Option<&Remote>,
    question: &Question,
) -> Result<Authorisation, EdgeError> {
    match remote {
        Some(remote) => remote.authorisation(question, context.now()).await,
        None => {
            let store = store::open_read_only(context).await?;
            authorise::ask(&store, question, context.now()).await.edge()
        }
    }
}

fn has_definition(here: &Path) -> bool {
    for folder in here.ancestors() {
        if folder.join("writ.toml").is_file() {
            return true;
        }
        if folder.join(".git").exists() {
            return false;
        }
    }
    false
}

/// For programs.
pub fn document(answer: &Authorisation) -> serde_json::Value {
    let mut document = serde_json::to_value(answer).unwrap_or_default();
    document["valid"] = answer.lets_in().into();
    document
}

/// For people.
pub fn words(answer: &Authorisation) -> String {
    let mut out = match (&answer.authorised, &answer.emergency) {
        (Some(writ), _) => format!(
            "AUTHORISED  {} {} may be deployed to {}\n  writ      {}, by key {}, until {}\n  decision  {}, profile {}\n",
            text::clean(&writ.service),
            answer.artifact.short(),
            text::clean(&answer.environment),
            writ.writ.short(),
            text::clean(&writ.key),
            writ.expires_at.to_seconds_text(),
            writ.decision.short(),
            text::clean(&writ.profile),
        ),
        (None, Some(emergency)) => format!(
            "EMERGENCY  {} {} may be deployed to {} without a writ\n  glass     {}, until {}; it owes a review\n  why       {}\n",
            text::clean(&emergency.service),
            answer.artifact.short(),
            text::clean(&answer.environment),
            text::clean(&emergency.name),
            emergency.ends_at.to_seconds_text(),
            text::prose(&emergency.reason),
        ),
        (None, None) => format!(
            "NOT AUTHORISED  {} may not be deployed to {}\n",
            answer.artifact.short(),
            text::clean(&answer.environment),
        ),
    };
    if !answer.lets_in() {
        for refused in &answer.refused {
            match refused.writ {
                Some(writ) => out.push_str(&format!(
                    "  {}  {}\n",
                    writ.short(),
                    text::prose(&refused.reason)
                )),
                None => out.push_str(&format!("  {}\n", text::prose(&refused.reason))),
            }
        }
        if let Some(decision) = &answer.decision {
            out.push_str(&format!(
                "  the gate's last answer there: {}, {}\n",
                decision.answer.headline(),
                decision.id.short()
            ));
        }
        out.push_str(&format!(
            "  try  writ gate {}\n",
            text::clean(&answer.environment)
        ));
    }
    out
}
