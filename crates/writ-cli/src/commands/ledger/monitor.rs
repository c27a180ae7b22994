//! `writ ledger monitor URL|DIR`: follow a log from outside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use writ_connect::{HttpLog, HttpWitnesses, Secret};
use writ_ledger::monitor::{Compared, MonitorError, Step};
use writ_ledger::source::SourceError;
use writ_ledger::{Alarm, DirectorySource, LogKeys, LogSource, Monitor, Policy, SignedCheckpoint};
use writ_render::{EdgeError, text};

use super::{answer, keys, policy_file, read_bounded};
use crate::args::MonitorArgs;
use crate::context::{Context, clock};
use crate::edge::{self, Edge};

/// Runs the command: exit 0 when all is good (with `--once`), 1 on an alarm, 3 when the log cannot
/// be read.
///
/// # Errors
///
/// A key, policy or file cannot be used, or the log cannot be read.
pub async fn run(context: &Context, args: &MonitorArgs) -> Result<u8, EdgeError> {
    let policy = args.policy.as_deref().map(policy_file).transpose()?;
    let log_keys = log_keys(args, policy.as_ref())?;
    let held = args.state.as_deref().map(read_state).transpose()?.flatten();
    let source = source(context, args)?;
    let witnesses = witnesses(args, policy.as_ref())?;
    let mut monitor = Monitor::new(log_keys, policy.clone(), held).map_err(|error| {
        let place = args
            .state
            .as_deref()
            .map_or_else(String::new, |p| p.display().to_string());
        edge::usage("the monitor cannot start from what it is given")
            .at(place)
            .because(error)
    })?;
    let interval = Duration::from_micros(args.interval.micros().max(0).unsigned_abs());
    loop {
        match look(
            &mut monitor,
            source.as_ref(),
            args,
            witnesses.as_ref(),
            policy.as_ref(),
        )
        .await
        {
            Ok(step) => show(context, source.as_ref(), &step)?,
            Err(MonitorError::Alarm(alarm)) => return raise(context, args, &alarm),
            Err(error) if args.once => {
                return Err(edge::cannot_tell("the log cannot be followed").because(error));
            }
            Err(error) => eprintln!("warning: {error}; trying again"),
        }
        if args.once {
            return Ok(0);
        }
        tokio::time::sleep(interval).await;
    }
}

/// One step, kept before anything is said about it, and the comparison with witnesses.
async fn look(
    monitor: &mut Monitor,
    source: &dyn LogSource,
    args: &MonitorArgs,
    witnesses: Option<&HttpWitnesses>,
    policy: Option<&Policy>,
) -> Result<Step, MonitorError> {
    let step = monitor.step(source, &mut |_, _| {}).await?;
    if let (Some(path), Some(held)) = (&args.state, monitor.held()) {
        write_state(path, held).map_err(|error| SourceError {
            place: path.display().to_string(),
            problem: format!("what was checked cannot be kept: {error}"),
        })?;
    }
    if let (Some(witnesses), Some(policy)) = (witnesses, policy) {
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            match witnesses.latest(url, &step.head.origin).await {
                Ok(Some(theirs)) => match monitor.compare(source, &theirs).await {
                    Ok(Compared::Consistent | Compared::Ahead) => {}
                    Err(alarm @ MonitorError::Alarm(_)) => return Err(alarm),
                    Err(error) => {
                        eprintln!("warning: witness {}: {error}", text::clean(&witness.name))
                    }
                },
                Ok(None) => {}
                Err(error) => eprintln!("warning: witness {}: {error}", text::clean(&witness.name)),
            }
        }
    }
    Ok(step)
}

fn log_keys(args: &MonitorArgs, policy: Option<&Policy>) -> Result<LogKeys, EdgeError> {
    let mut current = keys(&args.vkey, "--vkey")?;
    if current.is_empty() {
        current.extend(
            policy
                .iter()
                .flat_map(|p| p.logs())
                .map(|log| log.key.clone()),
        );
    }
    let Some(first) = current.first() else {
        return Err(edge::usage("no key of the log is given")
            .try_this("--vkey VKEY, or a policy with a `log` line"));
    };
    let retired = keys(&args.retired_vkey, "--retired-vkey")?;
    let name = first.name().to_owned();
    if current.iter().chain(&retired).any(|key| key.name() != name) {
        return Err(edge::usage("the keys are of more than one log")
            .try_this("--vkey VKEY        names the log to follow"));
    }
    Ok(LogKeys::new(current).with_retired(retired))
}

fn source(context: &Context, args: &MonitorArgs) -> Result<Box<dyn LogSource>, EdgeError> {
    if !args.log.contains("://") {
        return Ok(Box::new(DirectorySource::new(&args.log)));
    }
    if context.offline {
        return Err(edge::usage("a URL cannot be read offline").at("--offline"));
    }
    let token = args
        .token_file
        .as_deref()
        .map(Secret::from_file)
        .transpose();
    let token = token.map_err(edge::usage)?;
    HttpLog::new(&args.log, token)
        .map(|log| Box::new(log) as Box<dyn LogSource>)
        .map_err(|error| edge::usage("the log cannot be followed there").because(error))
}

fn witnesses(
    args: &MonitorArgs,
    policy: Option<&Policy>,
) -> Result<Option<HttpWitnesses>, EdgeError> {
    if !args.ask_witnesses {
        return Ok(None);
    }
    let policy = policy.ok_or_else(|| edge::usage("--ask-witnesses needs --policy"))?;
    HttpWitnesses::new(policy.witnesses())
        .map(Some)
        .map_err(|error| edge::usage("a witness of the policy cannot be asked").because(error))
}

fn read_state(path: &Path) -> Result<Option<SignedCheckpoint>, EdgeError> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, writ_ledger::note::MAX_NOTE_BYTES as u64, "state")?;
    SignedCheckpoint::parse(&bytes).map(Some).map_err(|error| {
        edge::usage("the state file holds no checkpoint")
            .at(path.display())
            .because(error)
            .try_this("restore it from a copy: without it a rewriting before now goes unnoticed")
    })
}

/// Replaces the state durably: a monitor that forgets is no monitor.
fn write_state(path: &Path, held: &SignedCheckpoint) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(held.as_str().as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

fn show(context: &Context, source: &dyn LogSource, step: &Step) -> Result<(), EdgeError> {
    let value = json!({
        "schema": "writ.ledger-monitor/1",
        "place": source.place(),
        "origin": step.head.origin,
        "size": step.head.size,
        "root": step.head.root.to_base64(),
        "before": step.before,
        "entriesRead": step.entries,
        "hashesOnly": step.hashes_only,
        "witnessed": step.quorum.as_ref().map(|q| writ_registry::Witnessed::new(Some(step.head.size), q)),
    });
    answer(context, &value, || {
        let since = match step.before {
            None => "first look".to_owned(),
            Some(before) if before == step.head.size => "nothing new".to_owned(),
            Some(before) => format!("{} more than before", step.head.size - before),
        };
        let read = match (step.entries, step.hashes_only) {
            (0, 0) => String::new(),
            (entries, 0) => format!(", {entries} entries read"),
            (entries, hashes) => format!(", {entries} entries read, {hashes} by hash only"),
        };
        let witnessed = step
            .quorum
            .as_ref()
            .map_or_else(String::new, |quorum| format!(", {quorum}"));
        format!(
            "good  {} at size {}: {since}{read}{witnessed}\n",
            text::clean(&step.head.origin),
            step.head.size
        )
    })
}

/// Says it, keeps the evidence, and answers no.
fn raise(context: &Context, args: &MonitorArgs, alarm: &Alarm) -> Result<u8, EdgeError> {
    let now = clock().to_string();
    let folder = args.evidence.clone().or_else(|| {
        let state = args.state.as_deref()?.parent()?;
        (!state.as_os_str().is_empty()).then(|| state.to_owned())
    });
    let folder = folder.unwrap_or_else(|| PathBuf::from("."));
    let name = format!(
        "ledger-alarm-{}-{}.json",
        alarm.kind.word(),
        now.replace(':', "")
    );
    let file = folder.join(name);
    // The alarm is told whatever happens to its evidence.
    let kept = std::fs::create_dir_all(&folder)
        .map_err(|e| e.to_string())
        .and_then(|()| {
            crate::context::write_file(&file, alarm.evidence(&now).as_bytes())
                .map_err(|e| e.cause.join(": "))
        });
    let evidence = match &kept {
        Ok(()) => file.display().to_string(),
        Err(cause) => format!("not kept in {}: {cause}", file.display()),
    };
    let value = json!({
        "schema": "writ.ledger-monitor/1",
        "place": alarm.place,
        "origin": alarm.origin,
        "alarm": alarm.kind.word(),
        "problem": alarm.problem,
        "evidence": kept.is_ok().then_some(&file),
    });
    answer(context, &value, || {
        format!(
            "ALARM  {}: {}\n  where     {}\n  evidence  {}\n",
            alarm.kind.word(),
            text::prose(&alarm.problem),
            text::clean(&alarm.place),
            text::clean(&evidence)
        )
    })?;
    Ok(1)
}
