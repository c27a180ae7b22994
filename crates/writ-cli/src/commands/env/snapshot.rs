//! `writ env snapshot`: look, record, compare.

use std::path::PathBuf;

use writ_evidence::predicate::Snapshot;
use writ_model::{Outcome, ProducerClass};
use writ_pipeline::config::{Observe, ObserveKind};
use writ_pipeline::observe::{self as look, Looking};
use writ_registry::NewRecord;
use writ_release::drift::{Address, Back};
use writ_release::observe::{self, Limits};
use writ_render::EdgeError;

use super::{Knows, observe_error, show};
use crate::args::SnapshotArgs;
use crate::context::{Context, clock};
use crate::edge::{self, Edge};
use crate::remote::{Handed, Remote};
use crate::repo::Repo;
use crate::spool::Door;
use crate::{store, ui};

/// Not yet: what was seen waits for whoever compares it.
const WAITS: u8 = 8;

/// Runs the command. What could not be read is recorded as that, and the exit code says "cannot tell".
pub(super) async fn run(context: &Context, args: &SnapshotArgs) -> Result<u8, EdgeError> {
    if context.at.is_some() {
        return Err(edge::usage(
            "--at looks into the past, and a snapshot is of now",
        ));
    }
    let given = given(args);
    let repo = match Repo::open(context) {
        Ok(repo) => Some(repo),
        Err(_) if !given.is_empty() && context.config.is_none() => None,
        Err(error) => return Err(error),
    };
    let environment = match (&args.environment, &repo) {
        (Some(name), _) => name.clone(),
        (None, Some(repo)) => repo.environment(None),
        (None, None) => {
            return Err(edge::usage("which environment is meant?")
                .try_this("writ env snapshot production --exe PATH"));
        }
    };
    let settings = settings(repo.as_ref(), &environment, given)?;
    let limits = Limits::of(&store::bundle(context)?);
    let (remote, context) = Remote::enter(context, repo.as_ref()).await?;
    let context = context.as_ref();
    let door = Door::open(context, remote).await?;
    let looking = Looking {
        environment: environment.clone(),
        service: repo
            .as_ref()
            .map(|repo| repo.service(context).to_owned())
            .or_else(|| context.service.clone()),
        host: host(),
        proc: PathBuf::from("/proc"),
        producer_class: class(context),
    };
    let mut seen = Vec::new();
    for one in &settings {
        seen.push(look::look(&looking, one, clock()).await);
    }
    refuse_twins(&seen)?;
    for snapshot in &seen {
        let payload = observe::payload(snapshot.clone()).map_err(|error| observe_error(&error))?;
        door.record(NewRecord::payload(payload)).await?;
    }
    if let Door::Store(store) = &door {
        observe::settle(store, Some(&environment), limits)
            .await
            .map_err(|error| observe_error(&error))?;
    }
    let handed = door.settle().await?;
    told(context, &seen);
    if !context.quiet {
        eprint!("{}", handed.line());
    }
    let knows = match (&handed, door) {
        (Handed::Recorded, Door::Store(store)) => Knows::Store(store, limits),
        (Handed::Delivered(_), _) => match Remote::find(context, repo.as_ref()).await? {
            Some(remote) => Knows::Server(Box::new(remote)),
            None => return Ok(WAITS),
        },
        // It waits: nobody has compared it yet.
        _ => return Ok(WAITS),
    };
    let newest = Address {
        environment,
        back: Back::Newest,
    };
    show::show(context, &knows, &newest).await
}

/// What the arguments ask for.
fn given(args: &SnapshotArgs) -> Vec<Observe> {
    let mut given = Vec::new();
    let mut push = |kind: ObserveKind, fill: &dyn Fn(&mut Observe)| {
        let mut observe = Observe::of(kind);
        observe.name.clone_from(&args.name);
        fill(&mut observe);
        given.push(observe);
    };
    if args.exe.is_some() {
        push(ObserveKind::Process, &|one| one.exe.clone_from(&args.exe));
    }
    if args.unit.is_some() {
        push(ObserveKind::Process, &|one| one.unit.clone_from(&args.unit));
    }
    if args.pid_file.is_some() {
        push(ObserveKind::Process, &|one| {
            one.pid_file.clone_from(&args.pid_file);
        });
    }
    if args.containers.is_some() {
        push(ObserveKind::Containers, &|one| {
            one.socket.clone_from(&args.containers);
        });
    }
    if args.endpoint.is_some() {
        push(ObserveKind::Endpoint, &|one| {
            one.url.clone_from(&args.endpoint)
        });
    }
    given
}

fn settings(
    repo: Option<&Repo>,
    environment: &str,
    given: Vec<Observe>,
) -> Result<Vec<Observe>, EdgeError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let known = repo.and_then(|repo| {
        let mut environments = repo.config.environments_in_order().into_iter();
        environments
            .find(|(name, _)| *name == environment)
            .map(|(_, settings)| settings.observe.clone())
    });
    match known {
        Some(observe) if !observe.is_empty() => Ok(observe),
        _ => Err(edge::usage(format!(
            "nothing says where it can be seen what runs in {environment}"
        ))
        .at(repo.map_or_else(
            || "the arguments".to_owned(),
            |repo| repo.config_file.display().to_string(),
        ))
        .try_this(format!(
            "[[environment.{environment}.observe]] with kind = \"process\" and exe = \"/path\" in writ.toml"
        ))
        .try_this(format!("writ env snapshot {environment} --exe /path"))),
    }
}

/// Two places of one name would hide each other.
fn refuse_twins(seen: &[Snapshot]) -> Result<(), EdgeError> {
    for (at, one) in seen.iter().enumerate() {
        if seen[..at].iter().any(|other| other.source == one.source) {
            return Err(edge::usage(format!(
                "two places have the name '{}': nothing was recorded",
                one.source
            ))
            .try_this("source = \"…\" or name = \"…\" in one of them"));
        }
    }
    Ok(())
}

/// What was seen, on standard error: the result is the comparison.
fn told(context: &Context, seen: &[Snapshot]) {
    if context.quiet {
        return;
    }
    for one in seen {
        let source = writ_render::text::clean(&one.source);
        match one.outcome {
            Outcome::Completed => eprintln!(
                "seen  {source}: {}",
                ui::counted(one.running.len() as u64, "components")
            ),
            Outcome::Empty => eprintln!("seen  {source}: nothing runs"),
            _ => eprintln!(
                "not seen  {source}: {}",
                writ_render::text::prose(one.reason.as_deref().unwrap_or("no reason"))
            ),
        }
    }
}

/// Where it is produced: what a CI job sees counts as a job's.
fn class(context: &Context) -> ProducerClass {
    let ci = writ_pipeline::git::CiFacts::read(&|name| std::env::var(name).ok());
    match (context.ci, ci.protected) {
        (None, _) => ProducerClass::Laptop,
        (Some(_), true) => ProducerClass::CiProtected,
        (Some(_), false) => ProducerClass::Ci,
    }
}

/// The name of this host.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this host".to_owned())
}
