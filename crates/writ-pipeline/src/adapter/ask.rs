//! Asking a tool a short question: its version, the age of its data.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use writ_model::Timestamp;

use super::{Adapter, DatabaseProbe, Values};
use crate::environment::scrubbed;

/// How long a version or database probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(120);
/// How much of a probe's output is read.
const PROBE_BYTES: u64 = 1 << 20;

pub(super) fn fill_argv(argv: &[String], values: &Values) -> Result<Vec<OsString>, String> {
    argv.iter()
        .map(|argument| {
            values
                .fill(argument)
                .map(OsString::from)
                .map_err(|error| error.to_string())
        })
        .collect()
}

pub(super) async fn ask_version(adapter: &Adapter, binary: &Path) -> Result<String, String> {
    let probe = &adapter.file.find.version;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut values = Values::default();
    values.set("bin", binary.to_string_lossy());
    values.set("tmp", folder.path().to_string_lossy());
    let mut env = scrubbed();
    for (name, value) in &adapter.file.find.env {
        env.push((
            name.into(),
            values
                .fill(value)
                .map_err(|error| error.to_string())?
                .into(),
        ));
    }
    let output = ask(&fill_argv(&probe.argv, &values)?, &env, PROBE_LIMIT).await?;
    let pattern = regex::Regex::new(&probe.regex).map_err(|error| error.to_string())?;
    let streams = match probe.stream.as_deref() {
        Some("stderr") => [&output.stderr, &output.stdout],
        _ => [&output.stdout, &output.stderr],
    };
    for stream in streams {
        let text = String::from_utf8_lossy(stream);
        if let Some(group) = pattern.captures(&text).and_then(|found| found.get(1)) {
            return Ok(group.as_str().to_owned());
        }
    }
    let said = String::from_utf8_lossy(&output.stdout)
        .chars()
        .take(120)
        .collect::<String>();
    Err(format!(
        "its answer does not match {}: {}",
        probe.regex,
        said.trim()
    ))
}

/// When the data was made.
pub(super) async fn data_time(
    probe: &DatabaseProbe,
    values: &Values,
    env: &[(OsString, OsString)],
) -> Result<Timestamp, String> {
    let output = ask(&fill_argv(&probe.argv, values)?, env, PROBE_LIMIT)
        .await
        .map_err(|cause| format!("asking for the age of its data failed: {cause}"))?;
    let text = match (&probe.json_pointer, &probe.regex) {
        (Some(pointer), _) => serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .ok()
            .and_then(|json| {
                json.pointer(pointer)
                    .and_then(|value| value.as_str().map(str::to_owned))
            }),
        (None, Some(pattern)) => regex::Regex::new(pattern).ok().and_then(|pattern| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            pattern
                .captures(&text)
                .and_then(|found| found.get(1))
                .map(|group| group.as_str().to_owned())
        }),
        (None, None) => None,
    };
    let text =
        text.ok_or("the tool does not tell how old its data is: it has none, or an unknown one")?;
    // A zero time is how Go programs say that they have none.
    text.parse::<Timestamp>()
        .ok()
        .filter(|at| at.micros() > 0)
        .ok_or_else(|| format!("the tool says its data is of '{text}', which is no time"))
}

pub(super) struct Answer {
    stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub success: bool,
}

/// Runs a short command with bounded output and time. Its exit code is not looked at.
pub(super) async fn ask(
    argv: &[OsString],
    env: &[(OsString, OsString)],
    limit: Duration,
) -> Result<Answer, String> {
    let (program, arguments) = argv.split_first().ok_or("an empty command")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().cloned())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut answer = Answer {
        stdout: Vec::new(),
        stderr: Vec::new(),
        success: false,
    };
    let work = async {
        let out = async {
            if let Some(stream) = stdout {
                let _ = stream
                    .take(PROBE_BYTES)
                    .read_to_end(&mut answer.stdout)
                    .await;
            }
        };
        let err = async {
            if let Some(stream) = stderr {
                let _ = stream
                    .take(PROBE_BYTES)
                    .read_to_end(&mut answer.stderr)
                    .await;
            }
        };
        tokio::join!(out, err);
        child.wait().await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(status)) => {
            answer.success = status.success();
            Ok(answer)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}
