//! Restoring: into a new directory, everything verified, all or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use writ_evidence::Envelope;
use writ_evidence::dsse;
use writ_evidence::key::Purpose;
use writ_evidence::predicate::ReportStatement;
use writ_evidence::statement::Statement;
use writ_ledger::publish::publish;
use writ_ledger::{Clock, DirectoryStore, SignedCheckpoint, SystemClock};
use writ_locker::FsLocker;
use writ_model::{Digest, EvidenceId, LedgerHead, Timestamp};

use super::accept::{Acceptance, forget, record_loss};
use super::make::{KIND, refuse_failures};
use super::set::{FILE, MAX_FILE_BYTES, OPS, Repository, Set, TRUST};
use super::{BackupError, Result, copy};
use crate::durable;
use crate::error::RegistryError;
use crate::fault;
use crate::held;
use crate::ops::Ops;
use crate::store::{Store, StoreOptions};
use crate::trust::Trust;
use crate::verify::{VerifyOptions, verify_store};

/// How a backup is restored.
#[derive(Clone)]
pub struct RestoreOptions {
    /// The beginning of a set's name. Default: the newest set.
    pub set: Option<String>,
    /// The trust directory that the backup is checked against.
    pub trust: PathBuf,
    /// When there is no trust directory any more: make one with the public keys of the backup.
    /// Then the backup vouches for itself, so compare the head with what somebody else holds.
    pub trust_from_backup: bool,
    /// Restore although entries that were seen here are not in it.
    pub accept: Option<Acceptance>,
    /// Tells the time of recording.
    pub clock: Arc<dyn Clock>,
}

impl RestoreOptions {
    /// The newest set, checked against the keys in `trust`.
    #[must_use]
    pub fn new(trust: impl Into<PathBuf>) -> Self {
        Self {
            set: None,
            trust: trust.into(),
            trust_from_backup: false,
            accept: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Name of the set.
    pub set: String,
    /// The ledger's name.
    pub origin: String,
    /// The head of the restored ledger.
    pub head: LedgerHead,
    /// Objects in the restored locker.
    pub objects: u64,
    /// The evidence that lost entries were accepted as lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<EvidenceId>,
    /// The head that was seen before, when entries behind it are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LedgerHead>,
}

/// Restores a set of the backup in `from` into the directory `to`, which must be absent or empty.
///
/// # Errors
/// The target is taken, the backup is damaged or not signed by a trusted key, or it ends before a
/// head that was seen here and that was not accepted. Then the target is as it was.
pub async fn restore(
    from: &Path,
    to: &Path,
    options: &RestoreOptions,
    progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
) -> Result<Restored> {
    if let Some(acceptance) = &options.accept {
        acceptance.check()?;
    }
    let repository = Repository::open(from)?;
    let name = repository.choose(options.set.as_deref())?;
    let (set, bytes) = repository.set(&name)?;
    let to = std::path::absolute(to).map_err(|e| BackupError::io("resolve", to, e))?;
    refuse_taken(&to)?;
    let parent = to.parent().unwrap_or(Path::new("/")).to_owned();
    durable::make_dir(&parent)?;
    let trust = open_trust(&repository, &set, options)?;
    check_signature(&repository, &name, &bytes, &set, &trust)?;
    let signed = check_note(&repository, &name, &set, &trust)?;
    refuse_older(&repository, &set, &trust, options)?;

    let unfinished = tempfile::Builder::new()
        .prefix(".restore-")
        .tempdir_in(&parent)
        .map_err(|e| BackupError::io("create a directory in", &parent, e))?;
    let root = unfinished.path().join("store");
    durable::make_dir(&root)?;
    progress("copy", 0, 0);
    let objects = copy_parts(&repository, &signed, &root).await?;
    copy_ops(&repository, &set, &root).await?;
    fault::point("restore.copied");

    let verify = VerifyOptions {
        index: false,
        // What was lost is judged by its own rule.
        held: false,
        ..VerifyOptions::new(&options.trust)
    };
    let report = verify_store(&root, &verify, progress).await?;
    refuse_failures("what was restored", &report.failures)?;
    fault::point("restore.verified");

    progress("index", 0, 0);
    let now = Timestamp::from_micros(options.clock.now_micros());
    let can_sign = trust.log_signing(&set.origin, None, now).is_ok();
    let store_options = StoreOptions {
        accept_rollback: options.accept.is_some(),
        // Without the private keys nothing can be written; the first who has them builds the index.
        read_only: options.accept.is_none() && !can_sign,
        ..StoreOptions::new(&options.trust).clock(Arc::clone(&options.clock))
    };
    let store = Store::open(&root, store_options.clone()).await?;
    let loss = match &options.accept {
        Some(acceptance) => {
            record_loss(&store, acceptance, Some((&name, Digest::of(&bytes)))).await?
        }
        None => None,
    };
    let head = store.head(None).await?;
    store.close().await?;
    fault::point("restore.indexed");

    durable::sync_dir(&root)?;
    fs::rename(&root, &to).map_err(|e| BackupError::io("rename to", &to, e))?;
    durable::sync_dir(&parent)?;
    fault::point("restore.renamed");
    // Only now, when the store that has accepted the loss is in its place.
    if let Some(loss) = &loss {
        let store = Store::open(&to, store_options).await?;
        forget(&store, loss).await?;
        store.close().await?;
    }
    Ok(Restored {
        set: name,
        origin: set.origin,
        head,
        objects,
        accepted: loss.as_ref().map(|loss| loss.recorded),
        lost: loss.as_ref().map(|loss| loss.held.clone()),
    })
}

fn refuse_taken(to: &Path) -> Result<()> {
    match fs::read_dir(to) {
        Ok(mut listing) => match listing.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty(to.to_owned())),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(BackupError::NotEmpty(to.to_owned())),
    }
}

/// The trust directory; from the backup only when that was asked for and there is none.
fn open_trust(repository: &Repository, set: &Set, options: &RestoreOptions) -> Result<Trust> {
    let target = options.trust.join(TRUST);
    if options.trust_from_backup && !target.exists() {
        let bytes = read_file(repository, set, TRUST)?;
        durable::make_dir(&options.trust)?;
        durable::write(&options.trust, &target, &bytes, FILE)?;
    }
    Ok(Trust::open(&options.trust, false)?)
}

fn read_file(repository: &Repository, set: &Set, name: &str) -> Result<Vec<u8>> {
    let damaged = |path: PathBuf, problem: &str| BackupError::Damaged {
        path,
        problem: problem.to_owned(),
    };
    let Some(file) = set.file(name) else {
        return Err(damaged(
            repository.path.clone(),
            "the set names no public keys",
        ));
    };
    let path = repository.file(file.digest);
    let bytes = durable::read(&path, 1 << 20)?
        .ok_or_else(|| damaged(path.clone(), "it is gone, and the set needs it"))?;
    if Digest::of(&bytes) != file.digest {
        return Err(damaged(path, "it was changed"));
    }
    Ok(bytes)
}

/// The set must be the one that a trusted producer signed when it was made.
fn check_signature(
    repository: &Repository,
    name: &str,
    bytes: &[u8],
    set: &Set,
    trust: &Trust,
) -> Result<()> {
    let damaged = |problem: String| BackupError::Damaged {
        path: repository.path.join("sets").join(format!("{name}.dsse")),
        problem,
    };
    let envelope = Envelope::parse(&repository.envelope(name)?)
        .map_err(|e| damaged(format!("it is no signed statement: {e}")))?;
    let keys = trust.keys().select(&Purpose::Producer, set.made_at);
    let statement: Statement<ReportStatement> = dsse::verify(&envelope, &keys, 1)
        .map_err(|e| {
            damaged(format!(
                "no producer key that is trusted here signed it: {e}"
            ))
        })?
        .statement()
        .map_err(|e| damaged(e.to_string()))?
        .into_content();
    let said = statement.predicate;
    if said.kind == KIND && said.file.digest == Digest::of(bytes) {
        return Ok(());
    }
    Err(damaged(format!(
        "it vouches for {}, not for this set",
        said.file.digest
    )))
}

fn check_note(
    repository: &Repository,
    name: &str,
    set: &Set,
    trust: &Trust,
) -> Result<SignedCheckpoint> {
    let damaged = |problem: String| BackupError::Damaged {
        path: repository.path.join("sets").join(format!("{name}.set")),
        problem,
    };
    let signed = SignedCheckpoint::parse(set.note.as_bytes())
        .map_err(|e| damaged(format!("its head is no signed checkpoint: {e}")))?;
    let checkpoint = signed
        .verify_any(&trust.log_keys(&set.origin, None)?)
        .map_err(|e| {
            damaged(format!(
                "no log key that is trusted here signed its head: {e}"
            ))
        })?;
    let same = checkpoint.size == set.head.size
        && checkpoint.root.0 == *set.head.root.as_bytes()
        && checkpoint.origin == set.origin;
    if same {
        Ok(signed)
    } else {
        Err(damaged(
            "its head is not the one that was signed".to_owned(),
        ))
    }
}

/// Before anything is copied: whether this machine has seen more than the set holds.
fn refuse_older(
    repository: &Repository,
    set: &Set,
    trust: &Trust,
    options: &RestoreOptions,
) -> Result<()> {
    let Some(held) = held::outside(trust, &set.origin)? else {
        return Ok(());
    };
    if options.accept.is_some() || held.head.size <= set.head.size {
        // A fork is found when the restored store is opened.
        return Ok(());
    }
    Err(RegistryError::RolledBack {
        path: repository.path.join("sets").join(set.name()),
        found: set.head.clone(),
        held: held.head,
        held_at: held.held_at,
        forked: false,
    }
    .into())
}

/// Ledger and locker.
async fn copy_parts(
    repository: &Repository,
    signed: &SignedCheckpoint,
    root: &Path,
) -> Result<u64> {
    let (ledger, locker) = (repository.ledger(), repository.locker());
    let (signed, root) = (signed.clone(), root.to_owned());
    tokio::task::spawn_blocking(move || {
        // Every tile against the signed root, every entry against its tile.
        publish(
            &DirectoryStore::new(&ledger),
            &signed,
            &root.join("ledger"),
            true,
            &mut |_| {},
        )?;
        let from = FsLocker::open(
            &locker,
            writ_locker::Options {
                read_only: true,
                ..writ_locker::Options::default()
            },
        )?;
        let to = FsLocker::open(root.join("locker"), writ_locker::Options::default())?;
        let copied = copy::objects(&from, &to, &mut Vec::new(), &mut |_, _| {})?;
        Ok(copied.objects)
    })
    .await?
}

/// The ops database, without what it knows of entries that are not in the set.
async fn copy_ops(repository: &Repository, set: &Set, root: &Path) -> Result<()> {
    let Some(file) = set.file(OPS) else {
        return Ok(());
    };
    let (from, target) = (repository.file(file.digest), root.join(OPS));
    let mut source = durable::open_regular(&from).map_err(|e| BackupError::io("open", &from, e))?;
    let mut copy = durable::Temporary::create(root)?;
    copy.copy(&mut source, &from, MAX_FILE_BYTES)?;
    if copy.written() != (file.digest, file.size) {
        return Err(BackupError::Damaged {
            path: from,
            problem: "it was changed".to_owned(),
        });
    }
    copy.name(&target, FILE)?;
    let ops = Ops::open(&target, crate::db::Access::Write).await?;
    ops.forget_notices_from(set.head.size).await?;
    ops.close().await;
    Ok(())
}
