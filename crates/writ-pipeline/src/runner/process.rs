//! One process of a stage: its own group, bounded output and time, ended politely and then for good.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::capture::{Captured, Sinks, capture};
use super::{Cancel, Events, Stream};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// Time that pipes may stay open after the process ended: a child left behind holds them.
const DRAIN: Duration = Duration::from_millis(500);
/// Largest report on standard output, in bytes.
const MAX_STDOUT_FILE: u64 = 4 << 30;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// Stage, for events.
    pub stage: String,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Folder to run in.
    pub folder: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Time limit; `None` for background processes.
    pub timeout: Option<Duration>,
    /// Keep standard output in this file; it is then not shown.
    pub stdout_file: Option<PathBuf>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// Writ stopped it.
    Stopped(Stopped),
    /// It never started.
    NotStarted(String),
}

/// Why Writ stopped a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its time was over.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
}

/// A process that ended, with what it printed.
#[derive(Debug, Clone)]
pub struct Running {
    /// How it ended.
    pub ended: Ended,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// How long it took.
    pub took: Duration,
}

/// Kills the whole group when dropped, so that no way out of a stage leaves processes behind.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // The group may be gone already.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Runs a process to its end, its time limit or cancellation. Never an error: every way to end is an answer.
pub async fn run_process(spec: ProcessSpec, events: &Events, cancel: &Cancel) -> Running {
    let started = std::time::Instant::now();
    let mut out = Running {
        ended: Ended::Stopped(Stopped::Cancelled),
        stdout: Captured::default(),
        stderr: Captured::default(),
        took: Duration::ZERO,
    };
    if cancel.is_cancelled() {
        return out;
    }
    let Some((program, arguments)) = spec.argv.split_first() else {
        out.ended = Ended::NotStarted("an empty command".into());
        return out;
    };
    let spawned = Command::new(program)
        .args(arguments)
        .current_dir(&spec.folder)
        .env_clear()
        .envs(spec.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            out.ended = Ended::NotStarted(format!("{}: {error}", program.to_string_lossy()));
            return out;
        }
    };
    let group = Group(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw),
    );
    let (stopped, status) = attend(&spec, &mut child, &group, events, cancel, &mut out).await;
    drop(group);
    out.took = started.elapsed();
    out.ended = match (stopped, status) {
        (Some(why), _) => Ended::Stopped(why),
        (None, Ok(status)) => match (
            status.code(),
            std::os::unix::process::ExitStatusExt::signal(&status),
        ) {
            (Some(code), _) => Ended::Code(code),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => Ended::NotStarted(status.to_string()),
        },
        (None, Err(error)) => Ended::NotStarted(error.to_string()),
    };
    out
}

/// Reads both streams and waits for the end, the limit or the switch.
async fn attend(
    spec: &ProcessSpec,
    child: &mut tokio::process::Child,
    group: &Group,
    events: &Events,
    cancel: &Cancel,
    out: &mut Running,
) -> (Option<Stopped>, std::io::Result<std::process::ExitStatus>) {
    let streams = {
        let sinks = |stream, file: Option<PathBuf>| Sinks {
            events,
            stage: &spec.stage,
            stream,
            show: file.is_none(),
            file: file.map(|path| (path, MAX_STDOUT_FILE)),
        };
        let stdout = capture(
            child.stdout.take(),
            sinks(Stream::Stdout, spec.stdout_file.clone()),
            &mut out.stdout,
        );
        let stderr = capture(
            child.stderr.take(),
            sinks(Stream::Stderr, None),
            &mut out.stderr,
        );
        async { tokio::join!(stdout, stderr) }
    };
    tokio::pin!(streams);
    let limit = async {
        match spec.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(limit);
    let mut streams_done = false;
    let mut stopped = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = &mut streams, if !streams_done => streams_done = true,
            () = &mut limit, if stopped.is_none() => stopped = Some(Stopped::TimedOut),
            () = cancel.cancelled(), if stopped.is_none() => stopped = Some(Stopped::Cancelled),
        }
        if stopped.is_some() {
            group.signal(Signal::TERM);
            let ended = async {
                loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        _ = &mut streams, if !streams_done => streams_done = true,
                    }
                }
            };
            if let Ok(status) = tokio::time::timeout(GRACE, ended).await {
                break status;
            }
            group.signal(Signal::KILL);
            break child.wait().await;
        }
    };
    // What the process left behind must not hold the pipes, nor live on.
    if !streams_done && tokio::time::timeout(DRAIN, &mut streams).await.is_err() {
        group.signal(Signal::KILL);
        let _ = tokio::time::timeout(DRAIN, &mut streams).await;
    }
    (stopped, status)
}
