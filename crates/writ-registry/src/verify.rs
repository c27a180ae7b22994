//! Offline verification: of a whole store, of one record, of one file.
//!
//! A store is checked from the signature downwards: the checkpoint against the trusted log key,
//! every byte of the ledger against the checkpoint, every earlier checkpoint, every envelope
//! against the trusted keys, every byte of the locker, and that no blob is missing behind
//! evidence. The index comes last: it is only a projection, so a difference is repaired by
//! rebuilding it.

mod entries;
mod file;
mod receipt;

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use writ_ledger::{LedgerError, SignedCheckpoint};
use writ_locker::{Locker, ProblemKind};
use writ_model::{Assurance, Digest, EvidenceId, LedgerHead};

use crate::config::{LedgerConfig, StoreConfig};
use crate::error::{RegistryError, Result};
use crate::index::Index;
use crate::index::home::Home;
use crate::item::Reader;
use crate::keys::Retracted;
use crate::log::{self, Log, LogView};
use crate::open::{open_locker, open_ops, trusted_head};
use crate::store::{Store, StoreOptions};
use crate::trust::Trust;
use crate::witnessed::{self, Witnessed};

pub(crate) use entries::{Found, check_entry};
pub use file::{Checked, FileCheck, verify_file};
pub use receipt::{Proven, ReceiptTrust, proves, verify_receipt};

/// What to verify a store against.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The trust directory.
    pub trust: PathBuf,
    /// Checkpoints that the caller holds (the text of signed notes): the ledger must extend them.
    /// Those that the store itself holds are always looked at too.
    pub earlier: Vec<String>,
    /// Compare the index with a fresh one, computed in memory.
    pub index: bool,
    /// Look at the heads that were seen on this machine too. Default: yes.
    pub held: bool,
}

impl VerifyOptions {
    /// Everything, against the keys in `trust`.
    #[must_use]
    pub fn new(trust: impl Into<PathBuf>) -> Self {
        Self {
            trust: trust.into(),
            earlier: Vec::new(),
            index: true,
            held: true,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The file that is wrong.
    pub file: PathBuf,
    /// Ledger index of the entry, where one can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Id of the evidence, where one can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<EvidenceId>,
    /// Byte range in the file, end exclusive, where one can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Range<u64>>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// How the index compares with the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum IndexState {
    /// It was not asked for, or could not be compared because the ledger is damaged.
    NotCompared,
    /// It says what ledger and locker say.
    Consistent,
    /// There is none: the next command builds it.
    Absent,
    /// It ends earlier: the next command completes it.
    Behind {
        /// Entries in the index.
        indexed: u64,
    },
    /// It differs: `writ server reindex` repairs it. Nothing is lost.
    Differs {
        /// The first line that differs.
        line: String,
    },
}

/// What a verification looked at, and what it found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The ledger's name.
    pub origin: String,
    /// The verified head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<LedgerHead>,
    /// Durable entries.
    pub entries: u64,
    /// Files of the ledger that were checked.
    pub ledger_files: u64,
    /// Envelopes whose signature was checked.
    pub envelopes: u64,
    /// Objects of the locker that were checked.
    pub blobs: u64,
    /// Bytes of the locker that were hashed.
    pub blob_bytes: u64,
    /// Earlier checkpoints that the ledger was found to extend.
    pub earlier: usize,
    /// How the newest cosigned checkpoint stands to the witness policy of the trust directory;
    /// `None` when there is no policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<Witnessed>,
    /// How the index compares.
    pub index: IndexState,
    /// Entries that counted once: their key was revoked later, from an earlier time on. Nothing is wrong
    /// with the store; they are no evidence.
    pub retracted: Vec<Retracted>,
    /// Keys that were bound to CI jobs, and the entries that they signed.
    pub jobs: Jobs,
    /// Acts of people with passkeys.
    pub passkeys: Passkeys,
    /// What is wrong; empty when all is good.
    pub failures: Vec<Failure>,
}

/// Evidence that CI jobs signed by keys of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Jobs {
    /// Keys that an entry binds to a job.
    pub keys: u64,
    /// Entries that such a key signed, each within its time and for its services.
    pub entries: u64,
}

/// What people did with passkeys, each assertion checked over its statement by the key that the ledger
/// had for them then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Passkeys {
    /// Passkeys that entries bind to somebody.
    pub bound: u64,
    /// Acts that an assertion proves.
    pub proven: u64,
    /// Acts that claim one which proves nothing. Nothing is wrong with the store: the gate counts them
    /// as what the session proved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<Unproven>,
}

/// An act that claims a passkey which does not prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unproven {
    /// Ledger entry.
    pub entry: u64,
    /// Its evidence.
    pub id: EvidenceId,
    /// What is wrong with the assertion.
    pub problem: String,
    /// What the act counts as.
    pub counts_as: Assurance,
}

impl VerifyReport {
    /// Whether nothing is wrong. An index that must be rebuilt is not wrong: nothing is lost.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Verifies the whole store in `root`, offline; `progress` is told what is being looked at, how
/// much is done, and of how much (0: not known).
///
/// # Errors
/// The store or the keys cannot be read at all. Everything that is wrong with it is in the report.
pub async fn verify_store(
    root: &Path,
    options: &VerifyOptions,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) -> Result<VerifyReport> {
    let config = StoreConfig::at(root)?;
    verify_config(&config, options, progress).await
}

async fn verify_config(
    config: &StoreConfig,
    options: &VerifyOptions,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) -> Result<VerifyReport> {
    let log = log::open(config).await?;
    let is_gone = match &config.ledger {
        LedgerConfig::Directory(directory) => !directory.is_dir(),
        LedgerConfig::Shared(_) => !log.exists().await?,
    };
    if is_gone {
        return Err(RegistryError::NoStore(config.place.clone()));
    }
    let trust = Trust::open(&options.trust, false)?;
    let mut report = VerifyReport {
        origin: String::new(),
        head: None,
        entries: 0,
        ledger_files: 0,
        envelopes: 0,
        blobs: 0,
        blob_bytes: 0,
        earlier: 0,
        witnessed: None,
        index: IndexState::NotCompared,
        retracted: Vec::new(),
        jobs: Jobs::default(),
        passkeys: Passkeys::default(),
        failures: Vec::new(),
    };
    let mut earlier = options.earlier.clone();
    let view = log.view().await;
    let is_backup = crate::backup::is_backup(&config.directory);
    if let (Ok(view), true) = (&view, options.held && !is_backup) {
        earlier.extend(held_notes(config, view.as_ref(), &trust).await);
    }
    check_ledger(log.as_ref(), view, &trust, &earlier, &mut report, progress);
    let ledger_is_good = report.is_good();
    match open_locker(config, true).await {
        Ok(locker) => {
            check_locker(config, locker.as_ref(), &mut report, progress);
            if ledger_is_good {
                let view = log.view().await?;
                check_entries(
                    view.as_ref(),
                    log.as_ref(),
                    &trust,
                    &locker,
                    &mut report,
                    progress,
                )?;
            }
        }
        Err(error) => report.failures.push(Failure {
            file: config.locker.place(),
            entry: None,
            id: None,
            bytes: None,
            problem: error.to_string(),
            remedy: config.locker.remedy().to_owned(),
        }),
    }
    if options.index && report.is_good() && !is_backup {
        report.index = compare_index(config, options).await?;
    }
    Ok(report)
}

async fn held_notes(config: &StoreConfig, view: &dyn LogView, trust: &Trust) -> Vec<String> {
    let origin = view.checkpoint().unverified().origin.clone();
    let outside = crate::held::outside(trust, &origin).ok().flatten();
    let outside = outside.map(|held| held.note);
    let Ok(Some(ops)) = open_ops(config, true).await else {
        return outside.into_iter().collect();
    };
    let held = ops.held(&origin, 100).await.unwrap_or_default();
    ops.close().await;
    outside
        .into_iter()
        .chain(held.into_iter().map(|held| held.note))
        .collect()
}

fn check_ledger(
    log: &dyn Log,
    view: Result<Arc<dyn LogView>>,
    trust: &Trust,
    earlier: &[String],
    report: &mut VerifyReport,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) {
    let checkpoint_file = log.place("checkpoint");
    let trusted = view.and_then(|view| {
        let head = trusted_head(log, view.as_ref(), trust)?;
        Ok((head, view.checkpoint()))
    });
    let (head, signed) = match trusted {
        Ok(trusted) => trusted,
        Err(error) => {
            report
                .failures
                .push(ledger_failure(error, &checkpoint_file));
            return;
        }
    };
    report.origin = head.origin.clone();
    let mut notes = Vec::new();
    for note in earlier {
        match SignedCheckpoint::parse(note.as_bytes()) {
            // Another log's checkpoint says nothing about this one.
            Ok(note) if note.unverified().origin == head.origin => notes.push(note),
            Ok(_) => {}
            Err(error) => report.failures.push(Failure {
                file: PathBuf::from("(earlier checkpoint)"),
                entry: None,
                id: None,
                bytes: None,
                problem: format!("the earlier checkpoint cannot be read: {error}"),
                remedy: "pass the signed note as it was".to_owned(),
            }),
        }
    }
    let keys = match trust.log_keys(&head.origin, head.last) {
        Ok(keys) => keys,
        Err(error) => {
            report
                .failures
                .push(ledger_failure(error, &checkpoint_file));
            return;
        }
    };
    match log.verify(&keys, &notes, &mut |done, total| {
        progress("ledger", done, total);
    }) {
        Ok(good) => {
            report.entries = good.size;
            report.ledger_files = good.files;
            report.earlier = good.earlier;
            report.head = Some(LedgerHead {
                size: good.checkpoint.size,
                root: Digest::from_bytes(good.checkpoint.root.0),
            });
            match witnessed::of(trust, good.cosigned.as_ref(), &signed) {
                Ok(witnessed) => report.witnessed = witnessed,
                Err(error) => report
                    .failures
                    .push(ledger_failure(error, &log.place("cosigned"))),
            }
        }
        Err(error) => report
            .failures
            .push(ledger_failure(error.into(), &checkpoint_file)),
    }
}

fn ledger_failure(error: RegistryError, otherwise: &Path) -> Failure {
    let remedy = "restore this file from a copy, and record nothing before".to_owned();
    match &error {
        RegistryError::Ledger(LedgerError::Damaged(damage)) => Failure {
            file: damage.file.clone(),
            entry: damage.index,
            id: None,
            bytes: Some(damage.bytes.clone()),
            problem: damage.problem.clone(),
            remedy,
        },
        RegistryError::Ledger(LedgerError::Note { path, source }) => Failure {
            file: path.clone(),
            entry: None,
            id: None,
            bytes: None,
            problem: source.to_string(),
            remedy,
        },
        RegistryError::Trust {
            path,
            problem,
            remedy,
        } => Failure {
            file: path.clone(),
            entry: None,
            id: None,
            bytes: None,
            problem: problem.clone(),
            remedy: (*remedy).to_owned(),
        },
        other => Failure {
            file: otherwise.to_owned(),
            entry: None,
            id: None,
            bytes: None,
            problem: other.to_string(),
            remedy,
        },
    }
}

fn check_locker(
    config: &StoreConfig,
    locker: &dyn Locker,
    report: &mut VerifyReport,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) {
    match locker.verify_all(&mut |at| progress("locker", at.objects, 0)) {
        Ok(found) => {
            report.blobs = found.objects;
            report.blob_bytes = found.bytes;
            for problem in found.problems {
                let text = problem.to_string();
                let place = format!("{}: ", problem.path.display());
                report.failures.push(Failure {
                    problem: text.strip_prefix(&place).unwrap_or(&text).to_owned(),
                    entry: None,
                    id: None,
                    bytes: None,
                    remedy: remedy(&problem.kind).to_owned(),
                    file: problem.path,
                });
            }
        }
        Err(error) => report.failures.push(Failure {
            file: locker.place(None),
            entry: None,
            id: None,
            bytes: None,
            problem: error.to_string(),
            remedy: config.locker.remedy().to_owned(),
        }),
    }
}

/// The way out of what is wrong with an object.
fn remedy(problem: &ProblemKind) -> &'static str {
    match problem {
        ProblemKind::Hidden | ProblemKind::Overwritten { .. } => {
            "nothing is lost: recording the same again brings the good version back into sight; find out who did it"
        }
        ProblemKind::Unlocked(_) => {
            "record it again, which locks it; find out who stored it without a lock"
        }
        _ => "restore this file from a copy; the ledger names what it must hold",
    }
}

/// Every envelope against the trusted keys, and the bytes behind it.
fn check_entries(
    view: &dyn LogView,
    log: &dyn Log,
    trust: &Trust,
    locker: &Arc<dyn Locker>,
    report: &mut VerifyReport,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) -> Result<()> {
    let reader = Reader::new(trust.keys(), Arc::clone(locker));
    let total = view.size();
    let mut found = Found::knowing(trust.derived_key("passkeys").ok());
    // One listing, instead of a look at each object: a bucket is far away.
    let stored = match locker.list() {
        Ok(stored) => stored,
        Err(error) => {
            report.failures.push(Failure {
                file: locker.place(None),
                entry: None,
                id: None,
                bytes: None,
                problem: error.to_string(),
                remedy: "see to the locker, and verify again".to_owned(),
            });
            return Ok(());
        }
    };
    view.scan(0, &mut |index, entry| {
        report.envelopes += 1;
        if report.envelopes.is_multiple_of(256) {
            progress("envelopes", report.envelopes, total);
        }
        check_entry(
            &reader,
            locker.as_ref(),
            &stored,
            log,
            index,
            entry,
            &mut found,
        );
        ControlFlow::Continue(())
    })?;
    report.jobs = Jobs {
        keys: found.jobs.len() as u64,
        entries: found.by_jobs,
    };
    report.passkeys = Passkeys {
        bound: found.passkeys.len(),
        proven: found.proven,
        unproven: std::mem::take(&mut found.unproven),
    };
    let (failures, retracted, keys) = found.judged();
    report.failures.extend(failures);
    report.retracted = retracted;
    let file = trust.path().join("trust.toml");
    for difference in keys.compare(&trust.entries(), &report.origin) {
        report.failures.push(Failure {
            file: file.clone(),
            entry: difference.entry(),
            id: None,
            bytes: None,
            problem: difference.to_string(),
            remedy: difference.remedy().to_owned(),
        });
    }
    Ok(())
}

/// Computes the index anew and compares.
async fn compare_index(config: &StoreConfig, options: &VerifyOptions) -> Result<IndexState> {
    let home = Home::new(config);
    let Some((index, _)) = home.open(true).await? else {
        return Ok(match home.is_there().await? {
            // Somebody has it open: its write-ahead log cannot be read without writing.
            true => IndexState::NotCompared,
            false => IndexState::Absent,
        });
    };
    index.close().await;
    let store = Store::open_config(config, StoreOptions::new(&options.trust).read_only()).await?;
    store.compare_own_index().await
}

impl Store {
    /// Verifies this whole store and, when all is good, holds its checkpoint, so that a ledger
    /// that is rolled back later is noticed.
    ///
    /// # Errors
    /// As [`verify_store`].
    pub async fn verify(
        &self,
        earlier: Vec<String>,
        progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
    ) -> Result<VerifyReport> {
        if !self.options.read_only {
            // The index must be seen as it is on disk, and the journal under a signed head.
            self.head(None).await?;
        }
        let options = VerifyOptions {
            earlier,
            index: false,
            ..VerifyOptions::new(self.trust.path())
        };
        let mut report = verify_config(&self.config, &options, progress).await?;
        if report.is_good() {
            report.index = self.compare_own_index().await?;
            if let (Some(ops), Some(head), false) =
                (&self.ops, &report.head, self.options.read_only)
            {
                let note = self.log.view().await?.checkpoint();
                if note.unverified().size == head.size {
                    ops.hold(&self.origin, head, note.as_str(), self.now())
                        .await?;
                }
            }
        }
        Ok(report)
    }

    async fn compare_own_index(&self) -> Result<IndexState> {
        let view = self.log.view().await?;
        let present = self.index().await?;
        let size = present.position().await?.size;
        if size < view.size() {
            return Ok(IndexState::Behind { indexed: size });
        }
        let place = tempfile::tempdir()
            .map_err(|e| RegistryError::io("create a directory in", std::env::temp_dir(), e))?;
        let fresh = Index::in_file(&place.path().join("index.db"), &self.origin).await?;
        self.project(&fresh, view, size, &mut |_, _| {}).await?;
        let difference = present.difference(&fresh).await?;
        fresh.close().await;
        Ok(match difference {
            None => IndexState::Consistent,
            Some(line) => IndexState::Differs { line },
        })
    }
}
