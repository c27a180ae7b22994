//! `writ gate [ENVIRONMENT]`: decide; the answer is the exit code.

use writ_evidence::Predicate as _;
use writ_evidence::predicate::SlsaProvenance;
use writ_gate::evaluate::{EvaluateError, Options};
use writ_gate::{Evaluated, Release, evaluate};
use writ_model::{Decision, Digest, Subject};
use writ_registry::{Query, Store};
use writ_render::{EdgeError, Format, WritNote};

use crate::args::{GateArgs, Mode};
use crate::context::{Context, Sink};
use crate::edge::{self, Edge};
use crate::emit;
use crate::repo::{Commit, Repo};
use crate::{spool, store};

/// Runs the command.
///
/// # Errors
///
/// Nothing could be decided: that is never a verdict.
pub async fn run(context: &Context, args: &GateArgs) -> Result<u8, EdgeError> {
    if args.mode == Some(Mode::Warn) {
        return Err(
            edge::usage("--mode warn would be looser than the profile, which blocks")
                .try_this("let the controls' owner set `mode = \"warn\"` in the controls bundle")
                .try_this("in CI: allow_failure: exit_codes: [1]"),
        );
    }
    let repo = Repo::open(context)?;
    let bundle = store::bundle(context)?;
    let store = store::open(context).await?;
    spool::say_what_waits(context);
    let commit = repo.commit(args.commit.as_deref())?;
    let environment = repo.environment(args.environment.as_deref());
    let service = repo.service(context).to_owned();
    let artifact = match args.artifact {
        Some(digest) => Some(digest),
        None => built_from(&store, &service, &commit).await?,
    };
    let release = Release {
        service,
        environment,
        requested_profile: repo.profile().to_owned(),
        subject: Subject {
            commit: Some(commit.id.clone()),
            tree: Some(commit.tree.clone()),
            artifact,
            environment: None,
        },
    };
    let options = Options {
        as_of: context.now(),
        strict: args.mode == Some(Mode::Block),
        record: context.at.is_none(),
    };
    let evaluated = evaluate(&store, &bundle, &release, options)
        .await
        .map_err(|error| evaluate_error(&error))?;
    store::settle(&store).await;
    show(context, &evaluated, args.all)?;
    Ok(evaluated.decision.answer.exit_code())
}

/// The artefact that the newest recorded build made from a commit.
///
/// # Errors
///
/// The index cannot be read.
pub async fn built_from(
    store: &Store,
    service: &str,
    commit: &Commit,
) -> Result<Option<Digest>, EdgeError> {
    let query = Query {
        service: Some(service.to_owned()),
        predicate_type: Some(SlsaProvenance::URI.to_owned()),
        subject: Subject {
            commit: Some(commit.id.clone()),
            ..Subject::default()
        },
        ..Query::default()
    };
    let page = store
        .evidence(&query)
        .await
        .map_err(|error| store::registry_error(&error))?;
    Ok(page
        .items
        .iter()
        .find(|item| !item.dirty)
        .and_then(|item| item.subject.artifact))
}

/// Prints the decision to every sink.
///
/// # Errors
///
/// A file that cannot be written.
pub fn show(context: &Context, evaluated: &Evaluated, all: bool) -> Result<(), EdgeError> {
    emit::emit(context, |sink| {
        let surroundings = surroundings(context, sink, evaluated);
        let mut text =
            writ_render::render_decision(&evaluated.decision, &surroundings, sink.format);
        if all && sink.format == Format::Human {
            text.push('\n');
            text.push_str(&writ_render::table::table(
                &evaluated.decision,
                &surroundings,
            ));
        }
        text
    })
}

fn surroundings(context: &Context, sink: &Sink, evaluated: &Evaluated) -> writ_render::Context {
    let decision = &evaluated.decision;
    writ_render::Context {
        decision_id: evaluated.recorded.map(|(id, _)| id),
        log_index: evaluated.recorded.map(|(_, index)| index),
        change: Some(change(decision)),
        exit_line: sink.format == Format::Human,
        writ: evaluated.writ.map(|writ| WritNote {
            id: writ.id,
            expires_at: writ.expires_at,
            preview: writ.preview,
        }),
        ..emit::surroundings(context, sink)
    }
}

/// `payments-api 4f2a9c1`.
pub fn change(decision: &Decision) -> String {
    match &decision.subject.commit {
        Some(commit) => format!("{} {}", decision.service, &commit[..commit.len().min(7)]),
        None => decision.service.clone(),
    }
}

/// Why nothing could be decided, for people.
pub fn evaluate_error(error: &EvaluateError) -> EdgeError {
    match error {
        EvaluateError::Registry(inner) => store::registry_error(inner),
        EvaluateError::Decide(_) => edge::usage(edge::chain(error)).try_this("writ control list"),
        EvaluateError::OtherProfile { bound, .. } => edge::usage(edge::chain(error))
            .because("a repository requests a profile; it cannot choose its judge")
            .try_this(format!("set profile = \"{bound}\" in writ.toml"))
            .try_this("writ control bind PROFILE        the owner of this store binds another one"),
        EvaluateError::NotADecision(_) => edge::usage(edge::chain(error)),
        EvaluateError::Statement(_) | EvaluateError::Writ(_) | EvaluateError::Replay(_) => {
            edge::cannot_tell(edge::chain(error))
        }
    }
}
