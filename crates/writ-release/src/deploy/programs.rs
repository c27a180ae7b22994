//! The programs that start and end versions: an argv with placeholders, never a shell.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::plan::{Plan, Slot};
use super::site::SiteError;

/// What an argument may hold, and what is put there.
pub const PLACEHOLDERS: &[(&str, &str)] = &[
    ("digest", "the artefact: sha256:…"),
    ("hex", "the artefact's digest without sha256:"),
    ("commit", "the commit, empty where none is known"),
    (
        "previous",
        "the artefact that serves, empty where none does",
    ),
    ("service", "the service"),
    ("environment", "the environment"),
    ("slot", "the name of the slot"),
    ("address", "HOST:PORT of the slot"),
    ("port", "the port of the slot"),
];

/// Last bytes of a program's words that an error shows.
const SHOWN: usize = 2_000;

/// Most bytes of its words that are read.
const READ: u64 = 1 << 20;

/// Where and how programs run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Working directory.
    pub folder: PathBuf,
    /// Their whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Longest time of one.
    pub limit: Duration,
}

/// A placeholder that is not known.
///
/// # Errors
/// The first one of the text.
pub fn check(text: &str) -> Result<(), String> {
    fill(text, |name| {
        PLACEHOLDERS
            .iter()
            .any(|(known, _)| *known == name)
            .then(String::new)
    })
    .map(|_| ())
}

/// Text with placeholders of a deployment filled in.
///
/// # Errors
/// A placeholder that is not known.
pub fn filled(text: &str, plan: &Plan, slot: Option<&Slot>) -> Result<String, String> {
    fill(text, |name| {
        Some(match name {
            "digest" => plan.artifact.to_string(),
            "hex" => plan.artifact.to_hex(),
            "commit" => plan.commit.clone().unwrap_or_default(),
            "previous" => plan
                .previous
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
            "service" => plan.service.clone(),
            "environment" => plan.environment.clone(),
            "slot" => slot.map(|slot| slot.name.clone()).unwrap_or_default(),
            "address" => slot.map(|slot| slot.address.clone()).unwrap_or_default(),
            "port" => slot.map(|slot| slot.port().to_owned()).unwrap_or_default(),
            _ => return None,
        })
    })
}

/// Replaces `{name}`; other braces stay as they are.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, after) = rest.split_at(open);
        out.push_str(before);
        let name = after[1..].split('}').next().unwrap_or_default();
        let is_name = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase())
            && after[1..].len() > name.len();
        if is_name {
            out.push_str(&value(name).ok_or_else(|| format!("{{{name}}}"))?);
            rest = &after[name.len() + 2..];
        } else {
            out.push('{');
            rest = &after[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

impl Programs {
    /// Runs one to its end. What it leaves running in the background stays.
    ///
    /// # Errors
    /// It cannot be started, takes too long, or says that it failed; with its last words.
    pub async fn run(
        &self,
        argv: &[String],
        plan: &Plan,
        slot: Option<&Slot>,
    ) -> Result<(), SiteError> {
        let words: Vec<String> = argv
            .iter()
            .map(|word| filled(word, plan, slot))
            .collect::<Result<_, _>>()
            .map_err(|name| {
                SiteError::new("the program cannot be run", format!("{name} is not known"))
            })?;
        let shown = words.join(" ");
        let Some((program, arguments)) = words.split_first() else {
            return Err(SiteError::new(
                "the program cannot be run",
                "it has no name",
            ));
        };
        let failed = |cause: String| SiteError::new(format!("`{shown}` failed"), cause);
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's interrupt is for Writ, which takes the deployment back.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        // The pipes may outlive the program, held by what it left in the background: only its own
        // end counts, and what was said until then is read beside it.
        let said = tokio::spawn(async move { tokio::join!(words_of(out), words_of(err)) });
        let ended = tokio::time::timeout(self.limit, child.wait()).await;
        let status = match ended {
            Ok(status) => status.map_err(|error| failed(error.to_string()))?,
            Err(_) => {
                if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok())
                    && let Some(group) = rustix::process::Pid::from_raw(group)
                {
                    // It may be gone already.
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                return Err(failed(format!(
                    "it did not end within {} s",
                    self.limit.as_secs()
                )));
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut cause = status.to_string();
        if let Ok(Ok((out, err))) = tokio::time::timeout(Duration::from_secs(1), said).await {
            let words = if err.trim().is_empty() { out } else { err };
            let words = words.trim();
            if !words.is_empty() {
                cause = format!("{cause}: {words}");
            }
        }
        Err(failed(cause))
    }
}

/// The last words of a stream.
async fn words_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read until an error is what there is to show.
        let _ = stream.take(READ).read_to_end(&mut bytes).await;
    }
    let begin = bytes.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(&bytes[begin..])
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_model::{Digest, Timestamp, WritId};

    fn plan() -> Plan {
        Plan {
            service: "shop".to_owned(),
            environment: "production".to_owned(),
            artifact: Digest::of(b"new"),
            commit: None,
            writ: Some(WritId::from_digest(Digest::of(b"writ"))),
            break_glass: None,
            previous: None,
            from: None,
            to: None,
            strategy: "argv".to_owned(),
            target: "argv".to_owned(),
            started_at: Timestamp::from_micros(0),
        }
    }

    fn programs(limit: u64) -> Programs {
        Programs {
            folder: std::env::temp_dir(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap())],
            limit: Duration::from_secs(limit),
        }
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let slot = Slot {
            name: "green".to_owned(),
            address: "[::1]:8002".to_owned(),
        };
        let text = "{slot}@{address} {port} {previous}| {} {A} {\"a\":1} {";
        assert_eq!(
            filled(text, &plan(), Some(&slot)).unwrap(),
            "green@[::1]:8002 8002 | {} {A} {\"a\":1} {"
        );
        assert_eq!(
            filled("{hex}", &plan(), None).unwrap(),
            Digest::of(b"new").to_hex()
        );
        assert_eq!(check("{slott}").unwrap_err(), "{slott}");
        assert_eq!(check("{slot} {x"), Ok(()));
    }

    #[tokio::test]
    async fn no_shell_reads_an_argument() {
        let folder = tempfile::tempdir().unwrap();
        let mut programs = programs(10);
        programs.folder = folder.path().to_owned();
        let mut plan = plan();
        plan.service = "x; touch broken $(touch broken)".to_owned();
        let argv = ["touch".to_owned(), "{service}".to_owned()];
        programs.run(&argv, &plan, None).await.unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["x; touch broken $(touch broken)"]);
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted() {
        let argv = ["sh", "-c", "echo no disk >&2; exit 3"].map(str::to_owned);
        let error = programs(10).run(&argv, &plan(), None).await.unwrap_err();
        assert!(
            error.to_string().contains("exit status: 3: no disk"),
            "{error}"
        );
        let argv = ["no-such-program".to_owned()];
        let error = programs(10).run(&argv, &plan(), None).await.unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended_and_what_it_leaves_running_is_not_waited_for() {
        let argv = ["sh", "-c", "sleep 600"].map(str::to_owned);
        let error = programs(0).run(&argv, &plan(), None).await.unwrap_err();
        assert!(
            error.to_string().contains("did not end within 0 s"),
            "{error}"
        );
        let argv = ["sh", "-c", "sleep 5 & exit 0"].map(str::to_owned);
        programs(4).run(&argv, &plan(), None).await.unwrap();
    }
}
