//! Making a backup while the store is written.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, json};
use writ_evidence::predicate::{FileRef, LedgerHead as Head, ReportStatement};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_ledger::{LedgerReader, SignedCheckpoint};
use writ_locker::{FsLocker, Locker};
use writ_model::{Digest, EvidenceId, LedgerHead, LookedAt, Timestamp};

use super::set::{OPS, Repository, Set, SetFile, TRUST};
use super::{BackupError, Result, copy};
use crate::fault;
use crate::item::Reader;
use crate::log::DirectoryLog;
use crate::open::trusted_head;
use crate::record::{Blob, NewRecord};
use crate::store::Store;
use crate::verify::{Failure, Found, VerifyOptions, check_entry, verify_store};

/// Kind of the report that says that a backup was made.
pub const KIND: &str = "backup";

const MEDIA_TYPE: &str = "application/vnd.writ.backup-set+json";

/// How a backup is made.
#[derive(Debug, Clone, Copy)]
pub struct BackupOptions {
    /// Verify everything that the backup holds, not only what was added. Default: no.
    pub full_check: bool,
    /// Record in the ledger that the backup was made. Default: yes.
    pub record: bool,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            full_check: false,
            record: true,
        }
    }
}

/// What a backup holds now, and what was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Name of the set.
    pub set: String,
    /// SHA-256 of the set's file.
    pub digest: Digest,
    /// The signed head up to which it goes.
    pub head: LedgerHead,
    /// Entries that were added.
    pub new_entries: u64,
    /// Objects of the locker.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Objects that were copied now.
    pub new_objects: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// The evidence that it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<EvidenceId>,
}

impl Store {
    /// Adds a set to the backup in `to`, which is made when there is none. Others may record
    /// meanwhile; the set goes up to the signed head of its beginning.
    ///
    /// # Errors
    /// The directory is something else, lies inside the store, or is written by somebody else; the
    /// ledger does not extend the one that is in it; something cannot be read, copied or read back.
    /// Then the sets before are as they were.
    pub async fn backup(
        &self,
        to: &Path,
        options: BackupOptions,
        progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
    ) -> Result<Made> {
        self.refuse_inside(to)?;
        let (repository, _lock) = Repository::create(to)?;
        let repository = Arc::new(repository);
        // Everything durable comes under a signed head first.
        self.head(None).await?;
        let view = self.log.view().await?;
        let signed = view.checkpoint();
        let head = trusted_head(self.log.as_ref(), view.as_ref(), &self.trust)?.head;
        let before = copy::head_of(&repository.ledger())?;
        let old_size = before.as_ref().map_or(0, |old| old.unverified().size);
        fault::point("backup.head");

        progress("objects", 0, 0);
        let locker = Arc::new(FsLocker::open(
            repository.locker(),
            writ_locker::Options::default(),
        )?);
        let copied = {
            let (from, to) = (Arc::clone(&self.locker), Arc::clone(&locker));
            tokio::task::spawn_blocking(move || {
                let mut fresh = Vec::new();
                let copied = copy::objects(from.as_ref(), &to, &mut fresh, &mut |_, _| {})?;
                copy::read_back(&to, &fresh)?;
                Ok::<_, BackupError>(copied)
            })
            .await??
        };
        fault::point("backup.objects");

        progress("entries", old_size, head.size);
        let new_entries = {
            let (view, signed) = (Arc::clone(&view), signed.clone());
            let (ledger, before) = (repository.ledger(), before.clone());
            tokio::task::spawn_blocking(move || {
                let added = copy::extend_log(view.as_ref(), &signed, &ledger, &mut |_, _| {})?;
                let before = before.as_ref().map(SignedCheckpoint::unverified);
                copy::read_back_log(&ledger, before)?;
                Ok::<_, BackupError>(added)
            })
            .await??
        };
        fault::point("backup.ledger");

        let files = self.keep_files(&repository).await?;
        fault::point("backup.files");
        self.check(&repository, &locker, old_size, options.full_check, progress)
            .await?;
        fault::point("backup.checked");

        let set = Set {
            v: 1,
            origin: self.origin.clone(),
            head: head.clone(),
            note: signed.as_str().to_owned(),
            made_at: self.now(),
            objects: copied.objects,
            object_bytes: copied.bytes,
            files,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let bytes = set.to_bytes();
        let (trust, now) = (Arc::clone(&self.trust), self.now());
        let unsigned = statement(&set, &bytes);
        // A key may be sealed or in a key service.
        let envelope = tokio::task::spawn_blocking(move || {
            let signer = trust.producer(now)?;
            let (_, envelope) = unsigned
                .sign(signer.as_ref())
                .map_err(|e| crate::error::RegistryError::refused(0, e))?;
            Ok::<_, crate::error::RegistryError>(envelope.to_canonical_json())
        })
        .await??;
        let name = repository.add(&set, &envelope)?;
        fault::point("backup.set");
        let mut made = Made {
            set: name,
            digest: Digest::of(&bytes),
            head,
            new_entries,
            objects: copied.objects,
            object_bytes: copied.bytes,
            new_objects: copied.new_objects,
            new_bytes: copied.new_bytes,
            recorded: None,
        };
        if options.record && !self.options.read_only {
            let record = NewRecord::envelope(envelope).with(Blob::bytes(bytes, MEDIA_TYPE));
            made.recorded = Some(self.record(record).await?.id);
        }
        fault::point("backup.end");
        Ok(made)
    }

    fn refuse_inside(&self, to: &Path) -> Result<()> {
        let real = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let existing = path
                .ancestors()
                .find_map(|above| Some((above.canonicalize().ok()?, path.strip_prefix(above))));
            match existing {
                Some((real, Ok(rest))) => real.join(rest),
                _ => path,
            }
        };
        let to = real(to);
        for inside in [self.paths.root.as_path(), self.trust.path()] {
            let inside = real(inside);
            if to.starts_with(&inside) || inside.starts_with(&to) {
                return Err(BackupError::Inside { to, inside });
            }
        }
        Ok(())
    }

    /// The ops database as it is now, and the public keys.
    async fn keep_files(&self, repository: &Repository) -> Result<Vec<SetFile>> {
        let mut files = Vec::new();
        if let Some(ops) = &self.ops {
            let copy: PathBuf = repository.tmp().join("ops.db.tmp");
            ops.snapshot(&copy).await?;
            files.push(repository.keep_file(OPS, &copy)?);
            std::fs::remove_file(&copy).map_err(|e| BackupError::io("remove", &copy, e))?;
        }
        files.push(repository.keep_file(TRUST, &self.trust.path().join(TRUST))?);
        Ok(files)
    }

    /// Verifies what was added, or everything.
    async fn check(
        &self,
        repository: &Repository,
        locker: &Arc<FsLocker>,
        from: u64,
        full: bool,
        progress: &mut (dyn FnMut(&'static str, u64, u64) + Send),
    ) -> Result<()> {
        if full {
            let options = VerifyOptions {
                index: false,
                ..VerifyOptions::new(self.trust.path())
            };
            let report = verify_store(&repository.path, &options, progress).await?;
            return refuse_failures("the backup", &report.failures);
        }
        let locker: Arc<dyn Locker> = Arc::<FsLocker>::clone(locker);
        let reader = Reader::new(self.trust.keys(), Arc::clone(&locker));
        let ledger = repository.ledger();
        let failures = tokio::task::spawn_blocking(move || {
            let log = DirectoryLog::new(&ledger);
            let mut found = Found::default();
            let stored = locker.list()?;
            LedgerReader::open(&ledger)?.scan(from, |index, entry| {
                check_entry(
                    &reader,
                    locker.as_ref(),
                    &stored,
                    &log,
                    index,
                    entry,
                    &mut found,
                );
                ControlFlow::Continue(())
            })?;
            Ok::<_, BackupError>(found.judged().0)
        })
        .await??;
        refuse_failures("the backup", &failures)
    }
}

/// The first failure as an error.
pub(super) fn refuse_failures(what: &'static str, failures: &[Failure]) -> Result<()> {
    let Some(first) = failures.first() else {
        return Ok(());
    };
    let more = match failures.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Err(BackupError::Unverified {
        what,
        problem: format!("{}: {}{more}", first.file.display(), first.problem),
    })
}

/// What the ledger says of a backup.
fn statement(set: &Set, bytes: &[u8]) -> Statement<ReportStatement> {
    let digest = Digest::of(bytes);
    let mut parameters = Map::new();
    parameters.insert("set".to_owned(), json!(set.name()));
    parameters.insert("objects".to_owned(), json!(set.objects));
    parameters.insert("objectBytes".to_owned(), json!(set.object_bytes));
    Statement::new(
        vec![ResourceDescriptor::sha256(KIND, digest)],
        report(
            KIND,
            format!("Backup of {} entries", set.head.size),
            parameters,
            FileRef {
                digest,
                media_type: MEDIA_TYPE.to_owned(),
                format: None,
                size: bytes.len() as u64,
                name: Some("backup-set.json".to_owned()),
            },
            &set.head,
            set.made_at,
        ),
    )
}

/// A report about the store itself.
pub(super) fn report(
    kind: &str,
    title: String,
    parameters: Map<String, serde_json::Value>,
    file: FileRef,
    head: &LedgerHead,
    at: Timestamp,
) -> ReportStatement {
    ReportStatement {
        kind: kind.to_owned(),
        title,
        audit: None,
        period: None,
        parameters,
        file,
        bundle_digest: None,
        ledger: Head {
            size: head.size,
            root: head.root.to_hex(),
        },
        looked_at: vec![LookedAt {
            what: "entries".to_owned(),
            count: head.size,
        }],
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        by: None,
        observed_at: at,
    }
}
