//! `writ gate [ENVIRONMENT]`: decide; the answer is the exit code.

use writ_gate::evaluate::{EvaluateError, Options, built_from};
use writ_gate::{Evaluated, Release, evaluate};
use writ_model::wire::{self, DecisionRequest};
use writ_model::{Decision, Subject};
use writ_render::{EdgeError, Format, WritNote};

use crate::args::{GateArgs, Mode};
use crate::context::{Context, Sink};
use crate::edge::{self, Edge};
use crate::emit;
use crate::remote::{Handed, Remote, deliver_now};
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
    let commit = repo.commit(args.commit.as_deref())?;
    let question = Question {
        service: repo.service(context).to_owned(),
        environment: repo.environment(args.environment.as_deref()),
        profile: repo.profile().to_owned(),
        commit,
    };
    match Remote::enter(context, Some(&repo)).await? {
        (Some(remote), context) => ask(&context, args, &remote, question).await,
        (None, context) => decide(&context, args, question).await,
    }
}

/// What is to be decided.
struct Question {
    service: String,
    environment: String,
    profile: String,
    commit: Commit,
}

/// The server decides: what waits here is delivered first, so that it sees all that is there.
async fn ask(
    context: &Context,
    args: &GateArgs,
    remote: &Remote,
    question: Question,
) -> Result<u8, EdgeError> {
    if context.at.is_some() {
        return Err(
            edge::usage("--at looks into the past, and a server decides about now")
                .at(remote.address())
                .try_this("writ why        the last decision"),
        );
    }
    if let Some(spool) = spool::existing(context)? {
        let backlog = spool
            .backlog()
            .map_err(|error| spool::spool_error(&error))?;
        if backlog.items > 0 || backlog.untold_delivery {
            let recorder = spool::recorder(context)?;
            match deliver_now(remote, &recorder, None).await? {
                Handed::Away { waits, why } => {
                    let mut why = why;
                    why.message = format!("cannot decide: {}", why.message);
                    return Err(
                        why.because(format!("{} in the spool", spool::statements_wait(waits)))
                    );
                }
                handed => {
                    if !context.quiet {
                        eprint!("{}", handed.line());
                    }
                }
            }
        }
    }
    let ask = DecisionRequest {
        service: question.service,
        environment: question.environment,
        profile: Some(question.profile),
        commit: Some(question.commit.id),
        tree: Some(question.commit.tree),
        artifact: args.artifact,
        mode: (args.mode == Some(Mode::Block)).then_some(wire::Mode::Block),
    };
    let evaluated = remote.decide(&ask).await?;
    show(context, &evaluated, args.all, Some(remote.address()))?;
    Ok(evaluated.decision.answer.exit_code())
}

/// This store decides.
async fn decide(context: &Context, args: &GateArgs, question: Question) -> Result<u8, EdgeError> {
    let bundle = store::bundle(context)?;
    let store = store::open(context).await?;
    spool::say_what_waits(context);
    let artifact = match args.artifact {
        Some(digest) => Some(digest),
        None => built_from(&store, &question.service, &question.commit.id)
            .await
            .map_err(|error| store::registry_error(&error))?,
    };
    let release = Release {
        service: question.service,
        environment: question.environment,
        requested_profile: question.profile,
        subject: Subject {
            commit: Some(question.commit.id),
            tree: Some(question.commit.tree),
            artifact,
            environment: None,
        },
    };
    if context.at.is_none() {
        // What runs is compared by whoever decides, with what is known now.
        let limits = writ_release::observe::Limits::of(&bundle);
        writ_release::observe::settle(&store, Some(&release.environment), limits)
            .await
            .map_err(|error| crate::commands::env::observe_error(&error))?;
    }
    let options = Options {
        as_of: context.now(),
        strict: args.mode == Some(Mode::Block),
        record: context.at.is_none(),
    };
    let evaluated = evaluate(&store, &bundle, &release, options)
        .await
        .map_err(|error| evaluate_error(&error))?;
    store::settle(&store).await;
    show(context, &evaluated, args.all, None)?;
    Ok(evaluated.decision.answer.exit_code())
}

/// Prints the decision to every sink; `server` is where its page is.
///
/// # Errors
///
/// A file that cannot be written.
pub fn show(
    context: &Context,
    evaluated: &Evaluated,
    all: bool,
    server: Option<&str>,
) -> Result<(), EdgeError> {
    emit::emit(context, |sink| {
        let surroundings = writ_render::Context {
            links: server.map(str::to_owned),
            ..surroundings(context, sink, evaluated)
        };
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
