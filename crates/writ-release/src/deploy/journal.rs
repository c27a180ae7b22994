//! The journal of a deployment: a small file that is durable before each step begins.
//!
//! One file per environment and service, `deployments/ENVIRONMENT/SERVICE.json` in the folder of the
//! store. It stays when a deployment is over: what serves, and in which slot, is read from it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use writ_model::Timestamp;

use super::machine::{Event, Step, WrongTurn};
use super::plan::Plan;
use super::watch::{Figures, Sample};

/// Largest journal that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Version of the file.
const VERSION: u32 = 1;

/// Where a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// Version of this format: 1.
    pub version: u32,
    /// What is deployed.
    pub plan: Plan,
    /// How far it is.
    #[serde(flatten)]
    pub step: Step,
    /// When each step began.
    pub history: Vec<Mark>,
    /// What the site had counted before the version got traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Sample>,
    /// What was seen of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// Why it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "because")]
    pub reason: Option<String>,
    /// What is worth telling, such as sessions that were cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// When a step began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its word.
    pub step: String,
    /// When.
    pub at: Timestamp,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refuses.
    #[error("the journal {path} cannot be {what}: {source}")]
    Io {
        /// File.
        path: String,
        /// `read` or `written`.
        what: &'static str,
        /// Cause.
        source: std::io::Error,
    },
    /// It is not a journal, or of a newer version.
    #[error(
        "the journal {path} cannot be understood: {reason}; look at what serves, then move the file away"
    )]
    Strange {
        /// File.
        path: String,
        /// Why.
        reason: String,
    },
    /// The steps do not follow each other.
    #[error(transparent)]
    WrongTurn(#[from] WrongTurn),
    /// A name that cannot be part of a path.
    #[error("'{0}' cannot be the name of a journal")]
    Name(String),
}

/// The file of a journal.
#[derive(Debug, Clone)]
pub struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    /// Of a service in an environment, below the folder of deployments.
    ///
    /// # Errors
    /// A name that cannot be part of a path.
    pub fn of(folder: &Path, environment: &str, service: &str) -> Result<Self, JournalError> {
        Ok(Self {
            path: folder
                .join(file_name(environment)?)
                .join(format!("{}.json", file_name(service)?)),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is written there; `None` when nothing was deployed yet.
    ///
    /// # Errors
    /// It cannot be read, or is no journal.
    pub fn read(&self) -> Result<Option<Journal>, JournalError> {
        let io = |source| self.io("read", source);
        let strange = |reason: String| JournalError::Strange {
            path: self.path.display().to_string(),
            reason,
        };
        let size = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if size > MAX_BYTES {
            return Err(strange(format!("it has {size} bytes")));
        }
        let text = fs::read(&self.path).map_err(io)?;
        let journal: Journal =
            serde_json::from_slice(&text).map_err(|error| strange(error.to_string()))?;
        if journal.version != VERSION {
            return Err(strange(format!(
                "version {} of the format is not known",
                journal.version
            )));
        }
        Ok(Some(journal))
    }

    /// Writes it whole or not at all, and durable before this returns.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, journal: &Journal) -> Result<(), JournalError> {
        let io = |source| self.io("written", source);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(io)?;
        let mut text = serde_json::to_vec_pretty(journal).map_err(|error| io(error.into()))?;
        text.push(b'\n');
        let temporary = self.path.with_extension("json.tmp");
        let mut file = File::create(&temporary).map_err(io)?;
        file.write_all(&text).map_err(io)?;
        file.sync_all().map_err(io)?;
        fs::rename(&temporary, &self.path).map_err(io)?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)
    }

    fn io(&self, what: &'static str, source: std::io::Error) -> JournalError {
        JournalError::Io {
            path: self.path.display().to_string(),
            what,
            source,
        }
    }
}

impl Journal {
    /// A deployment that has not begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            version: VERSION,
            history: vec![Mark {
                step: Step::Planned.word().to_owned(),
                at: plan.started_at,
            }],
            plan,
            step: Step::Planned,
            baseline: None,
            figures: None,
            reason: None,
            notes: Vec::new(),
        }
    }

    /// The same after an event.
    ///
    /// # Errors
    /// The event cannot happen at this step.
    pub fn after(&self, event: Event, now: Timestamp) -> Result<Self, WrongTurn> {
        let step = self.step.after(event, now)?;
        let mut next = self.clone();
        next.history.push(Mark {
            step: step.word().to_owned(),
            at: now,
        });
        if let Step::RollingBack { reason } = &step {
            next.reason = Some(reason.clone());
        }
        next.step = step;
        Ok(next)
    }
}

/// A name as a file's: `/` is not one, and nothing climbs.
fn file_name(name: &str) -> Result<String, JournalError> {
    let good = !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    if !good || name.split('/').any(|part| part.starts_with('.')) {
        return Err(JournalError::Name(name.chars().take(80).collect()));
    }
    Ok(name.replace('/', "+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_model::{Digest, WritId};

    fn journal() -> Journal {
        Journal::new(Plan {
            service: "org/shop".to_owned(),
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
            started_at: Timestamp::from_micros(5),
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = JournalFile::of(folder.path(), "production", "org/shop").unwrap();
        assert!(file.path().ends_with("production/org+shop.json"));
        assert_eq!(file.read().unwrap(), None);
        let journal = journal()
            .after(Event::Begin, Timestamp::from_micros(9))
            .unwrap();
        file.write(&journal).unwrap();
        assert_eq!(file.read().unwrap(), Some(journal));
    }

    #[test]
    fn names_do_not_climb() {
        for bad in ["", "..", "../x", "a/../b", ".git", "a b", "a\0"] {
            assert!(
                JournalFile::of(Path::new("x"), bad, "shop").is_err(),
                "{bad}"
            );
            assert!(
                JournalFile::of(Path::new("x"), "production", bad).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn half_a_journal_is_told_from_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = JournalFile::of(folder.path(), "production", "shop").unwrap();
        file.write(&journal()).unwrap();
        let text = fs::read(file.path()).unwrap();
        fs::write(file.path(), &text[..text.len() / 2]).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("cannot be understood"), "{error}");
        let newer = String::from_utf8(text)
            .unwrap()
            .replace("\"version\": 1", "\"version\": 2");
        fs::write(file.path(), newer).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
