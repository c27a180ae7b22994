//! Which artefact is meant, and the writ that authorises it; people whose yes is due are waited for.

use std::time::Duration;

use writ_evidence::Predicate as _;
use writ_evidence::predicate::SlsaProvenance;
use writ_gate::evaluate::{Options, built_from};
use writ_gate::{Release, evaluate};
use writ_model::wire::DecisionRequest;
use writ_model::{Answer, Digest, EvidenceItem, Span, Subject};
use writ_registry::EventQuery;
use writ_release::authorise::{Authorisation, Question};
use writ_render::EdgeError;

use crate::args::DeployArgs;
use crate::commands::gate::evaluate_error;
use crate::commands::verify_artifact;
use crate::context::{Context, clock};
use crate::edge::{self, Edge, EdgeResult as _};
use crate::remote::Remote;
use crate::repo::{Commit, Repo};
use crate::store;

/// Time between two looks for a person's answer.
const LOOK: Duration = Duration::from_secs(2);

/// A part of a list that a server gives.
#[derive(serde::Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// What is to be deployed.
pub struct Wanted {
    /// The artefact.
    pub artifact: Digest,
    /// The commit, where the question names one.
    pub commit: Option<Commit>,
}

/// The artefact by flag, else the one that the newest build made from the commit.
///
/// # Errors
///
/// There is no commit, or nothing was built from it.
pub async fn wanted(
    context: &Context,
    repo: &Repo,
    remote: Option<&Remote>,
    args: &DeployArgs,
) -> Result<Wanted, EdgeError> {
    let commit = match (args.digest, &args.commit) {
        (Some(artifact), None) => {
            return Ok(Wanted {
                artifact,
                commit: repo.commit(None).ok(),
            });
        }
        _ => repo.commit(args.commit.as_deref())?,
    };
    let service = repo.service(context);
    let built = match (args.digest, remote) {
        (Some(artifact), _) => Some(artifact),
        (None, Some(remote)) => {
            let listed: Items<EvidenceItem> = remote
                .get(
                    "api/v1/evidence",
                    &[
                        ("service", service),
                        ("commit", &commit.id),
                        ("predicate", SlsaProvenance::URI),
                    ],
                )
                .await?;
            let built = listed.items.iter().find(|item| !item.dirty);
            built.and_then(|item| item.subject.artifact)
        }
        (None, None) => {
            let store = store::open_read_only(context).await?;
            built_from(&store, service, &commit.id).await.edge()?
        }
    };
    let artifact = built.ok_or_else(|| {
        edge::usage(format!(
            "it is not known which artefact was built from {}",
            commit.short()
        ))
        .try_this(format!(
            "writ deploy {} --digest sha256:…",
            args.environment
        ))
        .try_this("writ run        with a stage that produces an image")
    })?;
    Ok(Wanted {
        artifact,
        commit: Some(commit),
    })
}

/// The writ for it, waiting for people when their yes is all that is missing.
///
/// # Errors
///
/// The store or the server cannot be asked.
pub async fn authorisation(
    context: &Context,
    repo: &Repo,
    remote: Option<&Remote>,
    wanted: &Wanted,
    args: &DeployArgs,
) -> Result<Authorisation, EdgeError> {
    let question = Question {
        artifact: wanted.artifact,
        environment: args.environment.clone(),
        service: Some(repo.service(context).to_owned()),
    };
    let until = clock().plus(args.wait);
    let mut said = None;
    let mut told = false;
    loop {
        let answer = verify_artifact::ask(context, remote, &question).await?;
        let waits = answer
            .decision
            .as_ref()
            .is_some_and(|decision| decision.answer == Answer::NotYet);
        let past = args.break_glass && answer.emergency.is_some();
        if answer.authorised.is_some() || past || !waits || clock() >= until {
            return Ok(answer);
        }
        if !told && context.talks() {
            told = true;
            eprintln!(
                "waiting up to {} for people: writ gate {} says for whom",
                args.wait.human(),
                args.environment
            );
        }
        // Somebody said something since: the gate may answer otherwise.
        let now_said = sayings(context, remote, &question).await?;
        if said.is_some_and(|said| said != now_said) {
            decide(context, repo, remote, wanted, &question).await?;
            said = Some(now_said);
            continue;
        }
        said = Some(now_said);
        let left = until.since(clock()).max(Span::from_micros(0));
        tokio::time::sleep(LOOK.min(Duration::from_micros(left.micros().unsigned_abs()))).await;
    }
}

/// How many times people said yes or no to the artefact there.
async fn sayings(
    context: &Context,
    remote: Option<&Remote>,
    question: &Question,
) -> Result<usize, EdgeError> {
    let artifact = question.artifact.to_string();
    match remote {
        Some(remote) => {
            let query = [
                ("artifact", artifact.as_str()),
                ("environment", question.environment.as_str()),
            ];
            let listed: Items<serde_json::Value> = remote.get("api/v1/approvals", &query).await?;
            Ok(listed.items.len())
        }
        None => {
            let store = store::open_read_only(context).await?;
            let query = EventQuery {
                artifact: Some(question.artifact),
                environment: Some(question.environment.clone()),
                ..EventQuery::default()
            };
            Ok(store.approvals_listed(&query).await.edge()?.items.len())
        }
    }
}

/// Asks the gate again.
async fn decide(
    context: &Context,
    repo: &Repo,
    remote: Option<&Remote>,
    wanted: &Wanted,
    question: &Question,
) -> Result<(), EdgeError> {
    let service = repo.service(context).to_owned();
    match remote {
        Some(remote) => {
            let ask = DecisionRequest {
                service,
                environment: question.environment.clone(),
                profile: Some(repo.profile().to_owned()),
                commit: wanted.commit.as_ref().map(|commit| commit.id.clone()),
                tree: wanted.commit.as_ref().map(|commit| commit.tree.clone()),
                artifact: Some(question.artifact),
                mode: None,
            };
            remote.decide(&ask).await.map(|_| ())
        }
        None => {
            let bundle = store::bundle(context)?;
            let store = store::open(context).await?;
            let release = Release {
                service,
                environment: question.environment.clone(),
                requested_profile: repo.profile().to_owned(),
                subject: Subject {
                    commit: wanted.commit.as_ref().map(|commit| commit.id.clone()),
                    tree: wanted.commit.as_ref().map(|commit| commit.tree.clone()),
                    artifact: Some(question.artifact),
                    environment: None,
                },
            };
            let options = Options {
                as_of: clock(),
                strict: false,
                record: true,
            };
            evaluate(&store, &bundle, &release, options)
                .await
                .map_err(|error| evaluate_error(&error))?;
            store::settle(&store).await;
            Ok(())
        }
    }
}
