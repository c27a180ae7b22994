//! Where evidence goes: into the store, into the spool, or to the server; and errors of the spool for people.

use std::sync::Arc;

use writ_model::{EvidenceId, Origin, Timestamp};
use writ_pipeline::store_recorder::StoreRecorder;
use writ_registry::spool::{Spool, SpoolError, SpoolOptions, SpoolRecorder, waits_in};
use writ_registry::{NewRecord, Store, Trust};
use writ_render::EdgeError;

use crate::context::Context;
use crate::edge::{self, Edge};
use crate::remote::{Handed, Remote, deliver_now};
use crate::{store, ui};

/// What a command records into.
pub enum Door {
    /// The store.
    Store(Arc<Store>),
    /// The spool: its store is out of reach.
    Spool(Arc<SpoolRecorder>),
    /// The server, through its spool.
    Server {
        /// What is signed and queued here first.
        recorder: Arc<SpoolRecorder>,
        /// Where it is delivered at the end.
        remote: Arc<Remote>,
        /// When the command began, by the spool's clock.
        since: Timestamp,
    },
}

impl Door {
    /// The spool where `--spool` was given, else the server where there is one, else the store; made
    /// on first use.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub async fn open(context: &Context, remote: Option<Remote>) -> Result<Self, EdgeError> {
        if context.spools {
            return recorder(context).map(|recorder| Self::Spool(Arc::new(recorder)));
        }
        let Some(remote) = remote else {
            return Ok(Self::Store(store::open(context).await?));
        };
        let recorder = Arc::new(recorder(context)?);
        Ok(Self::Server {
            since: recorder.now(),
            recorder,
            remote: Arc::new(remote),
        })
    }

    /// The keys that sign what goes through it.
    pub fn trust(&self) -> &Trust {
        match self {
            Self::Store(store) => store.trust(),
            Self::Spool(recorder) | Self::Server { recorder, .. } => recorder.trust(),
        }
    }

    /// Ends a command that recorded: what it made is delivered where there is a server.
    ///
    /// # Errors
    ///
    /// The server refuses, or is not the one that is known. What was made waits in the spool then.
    pub async fn settle(&self) -> Result<Handed, EdgeError> {
        match self {
            Self::Store(store) => {
                store::settle(store).await;
                Ok(Handed::Recorded)
            }
            Self::Spool(_) => Ok(Handed::Queued),
            Self::Server {
                recorder,
                remote,
                since,
            } => deliver_now(remote, recorder, Some(*since)).await,
        }
    }

    /// Records one statement that is complete.
    ///
    /// # Errors
    ///
    /// It is refused, or cannot be written.
    pub async fn record(&self, record: NewRecord) -> Result<EvidenceId, EdgeError> {
        match self {
            Self::Store(store) => {
                let recorded = store.record(record).await;
                let recorded = recorded.map_err(|error| store::registry_error(&error))?;
                Ok(recorded.id)
            }
            Self::Spool(recorder) | Self::Server { recorder, .. } => {
                let recorder = Arc::clone(recorder);
                let spooled = tokio::task::spawn_blocking(move || recorder.record(&record))
                    .await
                    .map_err(|error| edge::cannot_tell(error.to_string()))?;
                Ok(spooled.map_err(|error| spool_error(&error))?.id)
            }
        }
    }

    /// A recorder of what Writ's own runner observes.
    pub fn observed(&self, use_cache: bool) -> StoreRecorder {
        match self {
            Self::Store(store) => StoreRecorder::new(Arc::clone(store), use_cache),
            Self::Spool(recorder) | Self::Server { recorder, .. } => {
                StoreRecorder::spooling(Arc::clone(recorder), Origin::Observed)
            }
        }
    }

    /// A recorder of what somebody hands in.
    pub fn handed_in(&self) -> StoreRecorder {
        match self {
            Self::Store(store) => StoreRecorder::handed_in(Arc::clone(store)),
            Self::Spool(recorder) | Self::Server { recorder, .. } => {
                StoreRecorder::spooling(Arc::clone(recorder), Origin::HandedIn)
            }
        }
    }
}

/// The spool with the keys of this machine, made on first use.
///
/// # Errors
///
/// Either cannot be opened.
pub fn recorder(context: &Context) -> Result<SpoolRecorder, EdgeError> {
    let place = place(context)?;
    SpoolRecorder::open(place, options(context), &context.trust)
        .map_err(|error| spool_error(&error))
}

/// The spool, made on first use.
///
/// # Errors
///
/// It cannot be opened.
pub fn open(context: &Context) -> Result<Spool, EdgeError> {
    Spool::open(place(context)?, options(context)).map_err(|error| spool_error(&error))
}

/// The spool, where there is one; changes nothing.
///
/// # Errors
///
/// Something else is in its place.
pub fn existing(context: &Context) -> Result<Option<Spool>, EdgeError> {
    match &context.spool {
        Some(place) => {
            Spool::open_existing(place, options(context)).map_err(|error| spool_error(&error))
        }
        None => Ok(None),
    }
}

/// Says on standard error that evidence waits which the store, and so the gate, does not see yet.
pub fn say_what_waits(context: &Context) {
    let waits = context.spool.as_deref().map_or(0, waits_in);
    if waits > 0 && !context.quiet {
        eprintln!(
            "{} in the spool, not seen by this store: writ spool deliver",
            statements_wait(waits)
        );
    }
}

/// `1 statement waits`, `3 statements wait`.
pub fn statements_wait(count: u64) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb}", ui::counted(count, "statements"))
}

fn place(context: &Context) -> Result<&std::path::Path, EdgeError> {
    context.spool.as_deref().ok_or_else(|| {
        edge::usage("neither XDG_STATE_HOME nor HOME is set").try_this("writ … --spool=DIR")
    })
}

fn options(context: &Context) -> SpoolOptions {
    let default = SpoolOptions::default();
    SpoolOptions {
        max_bytes: context.spool_limit.unwrap_or(default.max_bytes),
        ..default
    }
}

/// What the spool says, for people: asked wrongly is 2, the rest is "cannot tell".
pub fn spool_error(error: &SpoolError) -> EdgeError {
    match error {
        SpoolError::Registry(inner) => store::registry_error(inner),
        SpoolError::NotASpool { .. }
        | SpoolError::NoSuchNumber(_)
        | SpoolError::Refused(_)
        | SpoolError::Archive { .. } => edge::usage(edge::chain(error)),
        SpoolError::Undelivered {
            number,
            refused: true,
            ..
        } => edge::cannot_tell(edge::chain(error))
            .because("what is behind it waits, so that the order is kept")
            .try_this(format!(
                "writ spool set-aside {number} --reason TEXT        when it can never be recorded; then deliver the rest"
            )),
        SpoolError::Undelivered { .. } => {
            edge::cannot_tell(edge::chain(error)).try_this("writ spool deliver        again, later")
        }
        _ => edge::cannot_tell(edge::chain(error)),
    }
}
