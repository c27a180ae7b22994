//! How much the index holds. Counting reads whole tables: a large store is counted beside the requests, and what was
//! counted says at which size of the ledger.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use writ_registry::{Counts, Extent, RegistryError};

use crate::state::Shared;

/// How long a page waits for a count.
const PATIENCE: Duration = Duration::from_millis(30);

/// A count that took this long is not repeated for as many times its own time.
const REST: u32 = 20;

/// What was counted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Entries that were in the index.
    pub at: u64,
    /// How much there was.
    #[serde(flatten)]
    pub counts: Counts,
    #[serde(skip)]
    took: Duration,
    #[serde(skip)]
    when: Instant,
}

/// The newest count.
#[derive(Debug, Default)]
pub struct Tally {
    last: Mutex<Option<Arc<Counted>>>,
    busy: AtomicBool,
}

impl Tally {
    fn last(&self) -> Option<Arc<Counted>> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// How much there is, as fresh as can be had without waiting; `None` while a large store is counted for the first time.
pub async fn counted(app: &Shared, extent: &Extent) -> Option<Arc<Counted>> {
    let last = app.tally.last();
    if let Some(last) = &last
        && (last.at == extent.indexed || last.when.elapsed() < last.took * REST)
    {
        return Some(Arc::clone(last));
    }
    if !app.tally.busy.swap(true, Ordering::AcqRel) {
        let shared = Arc::clone(app);
        let counting = tokio::spawn(async move {
            if let Err(error) = count(&shared).await {
                tracing::error!(%error, "the index could not be counted");
            }
            shared.tally.busy.store(false, Ordering::Release);
        });
        // Who does not wait any longer finds it later.
        let _ = tokio::time::timeout(PATIENCE, counting).await;
    }
    app.tally.last()
}

async fn count(app: &Shared) -> Result<(), RegistryError> {
    let when = Instant::now();
    // Before: what is recorded meanwhile may be counted or not.
    let at = app.store.extent().await?.indexed;
    let counts = app.store.counts().await?;
    let counted = Counted {
        at,
        counts,
        took: when.elapsed(),
        when: Instant::now(),
    };
    *app.tally
        .last
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(counted));
    Ok(())
}
