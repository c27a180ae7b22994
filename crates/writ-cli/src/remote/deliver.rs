//! Evidence on its way to the server: out of the spool, in order, each once, with a receipt that
//! was checked and is kept.

use std::fs::File;
use std::io::{Cursor, Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use writ_connect::ServerError;
use writ_connect::server::Line;
use writ_model::wire::Receipt;
use writ_model::{Digest, EvidenceId, LedgerHead, Timestamp};
use writ_registry::spool::{
    Delivery, Destination, SpoolError, SpoolRecorder, Undelivered, waits_in,
};
use writ_registry::{Blob, BlobBody, Input, NewRecord, Recorded, file_digest, proves};
use writ_render::{EdgeError, text};

use super::{Fault, Remote};
use crate::edge::{self, Edge};
use crate::spool::{spool_error, statements_wait};
use crate::ui;

/// Tries to get at a spool that another command delivers, and the pause between two.
const TRIES: u32 = 150;
const PAUSE: Duration = Duration::from_millis(200);

/// What became of evidence at the end of a command.
pub enum Handed {
    /// It is in the store.
    Recorded,
    /// It waits in the spool, as was asked.
    Queued,
    /// The server has it, and proved it.
    Delivered(Delivery),
    /// The server is away: it waits in the spool.
    Away {
        /// Statements that wait.
        waits: u64,
        /// Why.
        why: EdgeError,
    },
}

impl Handed {
    /// For people: nothing where there is nothing to say, else a line with its break.
    pub fn line(&self) -> String {
        match self {
            Self::Recorded | Self::Queued => String::new(),
            Self::Delivered(delivery) => {
                let count = delivery.delivered.len() as u64;
                let mut out = format!(
                    "delivered {}, receipts checked\n",
                    ui::counted(count, "statements")
                );
                for id in &delivery.told {
                    out.push_str(&format!(
                        "some came late: the gap is recorded as {}\n",
                        id.short()
                    ));
                }
                out
            }
            Self::Away { waits, why } => format!(
                "The server is away: {} in the spool, and the next command delivers.\n  {}\n",
                statements_wait(*waits),
                text::prose(&why.message)
            ),
        }
    }

    /// For programs; nothing where there is no server.
    pub fn document(&self) -> Option<serde_json::Value> {
        match self {
            Self::Recorded | Self::Queued => None,
            Self::Delivered(delivery) => Some(json!({
                "delivered": delivery.delivered.len(),
                "recordedGaps": delivery.told,
                "waiting": 0,
            })),
            Self::Away { waits, why } => Some(json!({
                "delivered": 0,
                "waiting": waits,
                "away": why.message,
            })),
        }
    }
}

/// Delivers what waits. `since`: what was queued then or later came in time.
///
/// # Errors
/// The server refuses a statement or this client, is not the one that is known, or the spool cannot
/// be used. That it is away is no error.
pub async fn deliver_now(
    remote: &Remote,
    recorder: &SpoolRecorder,
    since: Option<Timestamp>,
) -> Result<Handed, EdgeError> {
    if remote.of_job
        && let Err(fault) = remote.bind_key(recorder).await
    {
        if !fault.away {
            return Err(fault.why);
        }
        return Ok(Handed::Away {
            waits: waits_in(recorder.spool().path()),
            why: fault.why,
        });
    }
    let to = Delivering::new(remote, recorder.spool().path().join("receipts"));
    let mut tries = 0;
    loop {
        tries += 1;
        let delivered = match since {
            Some(since) => recorder.deliver_since(&to, since).await,
            None => recorder.deliver(&to).await,
        };
        match delivered {
            Ok(delivery) => return Ok(Handed::Delivered(delivery)),
            Err(SpoolError::Busy { .. }) if tries < TRIES => tokio::time::sleep(PAUSE).await,
            Err(error) => return failed(&to, recorder, &error),
        }
    }
}

/// Tells a server that is away from one that says no.
fn failed(
    to: &Delivering<'_>,
    recorder: &SpoolRecorder,
    error: &SpoolError,
) -> Result<Handed, EdgeError> {
    let last = to
        .last
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match last {
        Some(Last::Away(why)) => Ok(Handed::Away {
            waits: waits_in(recorder.spool().path()),
            why,
        }),
        Some(Last::Said(why)) => {
            let mut why = why.because(edge::chain(error));
            if let SpoolError::Undelivered {
                number,
                refused: true,
                ..
            } = error
            {
                why = why.try_this(format!(
                    "writ spool set-aside {number} --reason TEXT        when it can never be recorded; then deliver the rest"
                ));
            }
            Err(why)
        }
        None => Err(spool_error(error)),
    }
}

/// What the server last said instead of taking a statement.
enum Last {
    Away(EdgeError),
    Said(EdgeError),
}

/// The server as the destination of a spool.
struct Delivering<'a> {
    remote: &'a Remote,
    receipts: PathBuf,
    last: Mutex<Option<Last>>,
}

impl<'a> Delivering<'a> {
    fn new(remote: &'a Remote, receipts: PathBuf) -> Self {
        Self {
            remote,
            receipts,
            last: Mutex::new(None),
        }
    }

    /// Notes why, and says it to the spool.
    fn not_taken(
        &self,
        why: EdgeError,
        away: bool,
        at: Option<usize>,
        refused: bool,
    ) -> Undelivered {
        let mut cause = why.message.clone();
        for line in &why.cause {
            cause.push_str("; ");
            cause.push_str(line);
        }
        let said = if away {
            Last::Away(why)
        } else {
            Last::Said(why)
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        Undelivered { at, refused, cause }
    }

    fn failure(&self, error: &ServerError, at: Option<usize>) -> Undelivered {
        let mut why = self.remote.error(error);
        let refused = matches!(error, ServerError::Problem(problem) if problem.word() == "refused");
        if refused {
            why.exit_code = edge::CANNOT_TELL;
            why = why.try_this("writ key export producer > producer.pub        the key that signs here; on the server: writ key import producer.pub --purpose producer");
        }
        self.not_taken(why, error.is_passing(), at, refused)
    }

    /// Brings the files behind a statement, one after the other.
    async fn upload(&self, record: &NewRecord, most: u64, at: usize) -> Result<(), Undelivered> {
        for blob in &record.blobs {
            let sent = match &blob.body {
                BlobBody::Bytes(bytes) => {
                    let (digest, length) = (Digest::of(bytes), bytes.len() as u64);
                    self.bring(&mut Cursor::new(bytes), digest, length, blob, most)
                        .await
                }
                BlobBody::File(path) => match opened(path) {
                    Ok((mut file, digest, length)) => {
                        self.bring(&mut file, digest, length, blob, most).await
                    }
                    Err(error) => Err(edge::cannot_tell(format!(
                        "cannot read {}: {error}",
                        path.display()
                    ))
                    .into()),
                },
            };
            sent.map_err(|fault: Fault| self.not_taken(fault.why, fault.away, Some(at), false))?;
        }
        Ok(())
    }

    async fn bring<F: Read + Seek>(
        &self,
        file: &mut F,
        digest: Digest,
        length: u64,
        blob: &Blob,
        most: u64,
    ) -> Result<(), Fault> {
        if length > most {
            return Err(edge::cannot_tell(format!(
                "a file behind the statement has {length} bytes, and {} takes at most {most}",
                self.remote.address()
            ))
            .try_this("let its operator raise limits.upload_bytes")
            .into());
        }
        let client = &self.remote.client;
        client
            .upload(file, digest, length, &blob.media_type)
            .await
            .map_err(|error| self.remote.fault(&error))
    }

    /// Sends some lines, and when they are refused as a whole finds out which one it is.
    async fn send(&self, lines: &[Line], first: usize) -> Result<Vec<Receipt>, Undelivered> {
        let client = &self.remote.client;
        match client.record(lines).await {
            Ok(receipts) => Ok(receipts),
            Err(error) if error.status() == Some(422) && lines.len() > 1 => {
                let mut receipts = Vec::new();
                for (at, line) in lines.iter().enumerate() {
                    let one = client.record(std::slice::from_ref(line)).await;
                    receipts.extend(one.map_err(|error| self.failure(&error, Some(first + at)))?);
                }
                Ok(receipts)
            }
            Err(error) => Err(self.failure(&error, Some(first))),
        }
    }

    /// Checks a receipt and keeps it.
    fn check(&self, receipt: &Receipt, keys: &writ_ledger::LogKeys) -> Result<Recorded, String> {
        let id = receipt.id;
        let proof = receipt.proof.as_deref().ok_or("it encloses no proof")?;
        let proven = proves(proof, id, keys)?;
        if proven.index != receipt.index {
            return Err(format!(
                "it says index {}, and proves {}",
                receipt.index, proven.index
            ));
        }
        keep(&self.receipts, id, proof).map_err(|error| format!("it cannot be kept: {error}"))?;
        Ok(Recorded {
            id,
            index: proven.index,
            recorded_at: proven.recorded_at,
            already_there: receipt.already_there,
        })
    }
}

impl Destination for Delivering<'_> {
    fn name(&self) -> String {
        self.remote.address().to_owned()
    }

    /// In as many requests as the server's limits need. What a failed delivery handed in is there
    /// already when it is handed in again.
    async fn deliver(&self, records: Vec<NewRecord>) -> Result<Vec<Recorded>, Undelivered> {
        let known = match self.remote.known().await {
            Ok(known) => known,
            Err(fault) => return Err(self.not_taken(fault.why, fault.away, Some(0), false)),
        };
        let limits = known.about.limits;
        // A server's word is no reason to fill the memory.
        let most = limits.batch_bytes.clamp(1 << 10, 64 << 20);
        let items = usize::try_from(limits.batch_items.clamp(1, 64)).unwrap_or(1);
        let mut receipts = Vec::new();
        let mut batch: Vec<Line> = Vec::new();
        let mut bytes = 0;
        for (at, record) in records.iter().enumerate() {
            let unread =
                |why: String| self.not_taken(edge::cannot_tell(why), false, Some(at), false);
            let apart = in_base64(record).map_err(unread)? > most && limits.upload_bytes > 0;
            if apart {
                self.upload(record, limits.upload_bytes, at).await?;
            }
            let line = line(record, !apart).map_err(unread)?;
            if line.len() > most {
                let why = edge::cannot_tell(format!(
                    "the statement and the files behind it have {} bytes, and {} takes at most {most} at once",
                    line.len(),
                    self.remote.address()
                ))
                .try_this("let its operator raise limits.batch_bytes");
                return Err(self.not_taken(why, false, Some(at), true));
            }
            if !batch.is_empty() && (bytes + line.len() > most || batch.len() == items) {
                let first = at - batch.len();
                receipts.extend(self.send(&std::mem::take(&mut batch), first).await?);
                bytes = 0;
            }
            bytes += line.len();
            batch.push(line);
        }
        let first = records.len() - batch.len();
        receipts.extend(self.send(&batch, first).await?);
        receipts
            .iter()
            .enumerate()
            .map(|(at, receipt)| {
                self.check(receipt, &known.keys).map_err(|why| {
                    let why = self
                        .remote
                        .wrong_key(&format!("the receipt of a statement: {why}"));
                    self.not_taken(why, false, Some(at), false)
                })
            })
            .collect()
    }

    async fn head(&self) -> Result<LedgerHead, Undelivered> {
        let head = self.remote.head().await;
        head.map_err(|fault| self.not_taken(fault.why, fault.away, None, false))
    }
}

/// A file of the spool, and what it is called in the locker.
fn opened(path: &Path) -> std::io::Result<(File, Digest, u64)> {
    let digest = file_digest(path).map_err(std::io::Error::other)?;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, digest, length))
}

/// About how many bytes the files behind a record have in a line.
fn in_base64(record: &NewRecord) -> Result<u64, String> {
    let mut sum = 0;
    for blob in &record.blobs {
        let bytes = match &blob.body {
            BlobBody::Bytes(bytes) => bytes.len() as u64,
            BlobBody::File(path) => std::fs::metadata(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?
                .len(),
        };
        sum += bytes.div_ceil(3) * 4;
    }
    Ok(sum)
}

/// A record as a line of a batch; `with` the files behind it, or without.
fn line(record: &NewRecord, with: bool) -> Result<Line, String> {
    let Input::Envelope(envelope) = &record.input else {
        return Err("only what is signed is delivered".to_owned());
    };
    let bytes = |blob: &Blob| match &blob.body {
        BlobBody::Bytes(bytes) => Ok(bytes.clone()),
        BlobBody::File(path) => {
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        }
    };
    let blobs = record
        .blobs
        .iter()
        .filter(|_| with)
        .map(|blob| Ok((blob.media_type.clone(), bytes(blob)?)))
        .collect::<Result<Vec<_>, String>>()?;
    Line::new(envelope, &blobs)
}

/// Keeps a receipt under the id of its evidence; the newest one stays.
fn keep(folder: &Path, id: EvidenceId, proof: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(proof.as_bytes())?;
    file.persist(folder.join(format!("{}.tlog-proof", id.digest().to_hex())))
        .map_err(|error| error.error)?;
    Ok(())
}
