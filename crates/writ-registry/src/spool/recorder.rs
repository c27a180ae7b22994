//! Recording into a spool with the keys of this machine, where there is no store.

use std::path::Path;
use std::sync::Arc;

use writ_evidence::key::Signer;

use super::{Delivery, Destination, Result, Spool, SpoolError, SpoolOptions, Spooled};
use crate::error::RegistryError;
use crate::record::NewRecord;
use crate::trust::Trust;

/// A spool with the trust directory whose producer key signs what goes into it.
#[derive(Debug)]
pub struct SpoolRecorder {
    spool: Spool,
    trust: Trust,
}

impl SpoolRecorder {
    /// Opens spool and keys, making both on first use.
    ///
    /// # Errors
    /// Either cannot be opened, or the keys lie inside the spool, which is carried about.
    pub fn open(spool: &Path, options: SpoolOptions, trust: &Path) -> Result<Self> {
        let spool = Spool::open(spool, options)?;
        let absolute =
            std::path::absolute(trust).map_err(|e| SpoolError::io("resolve", trust, e))?;
        if absolute.starts_with(spool.path()) {
            return Err(RegistryError::TrustInsideStore {
                trust: absolute,
                store: spool.path().to_owned(),
            }
            .into());
        }
        let trust = Trust::open(trust, true)?;
        Ok(Self { spool, trust })
    }

    /// The spool.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// The keys.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The producer's signer, by the keys as they are now.
    fn producer(&self) -> Result<Arc<dyn Signer>> {
        self.trust
            .refresh()
            .and_then(|_| self.trust.producer(self.spool.now()))
            .map_err(SpoolError::Registry)
    }

    /// Signs and queues one statement with the bytes behind it. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Spool::record`].
    pub fn record(&self, record: &NewRecord) -> Result<Spooled> {
        let signer = self.producer()?;
        self.spool.record(record, &signer, &self.trust.keys())
    }

    /// Delivers what waits; the producer key signs the record of the delivery.
    ///
    /// # Errors
    /// As [`Spool::deliver`].
    pub async fn deliver<D: Destination>(&self, to: &D) -> Result<Delivery> {
        let signer = self.producer()?;
        self.spool.deliver(to, &signer).await
    }

    /// Delivers what waits; what was queued at `since` or later came in time and is no gap.
    ///
    /// # Errors
    /// As [`Spool::deliver`].
    pub async fn deliver_since<D: Destination>(
        &self,
        to: &D,
        since: writ_model::Timestamp,
    ) -> Result<Delivery> {
        let signer = self.producer()?;
        self.spool.deliver_since(to, &signer, Some(since)).await
    }

    /// The time of the spool's clock.
    #[must_use]
    pub fn now(&self) -> writ_model::Timestamp {
        self.spool.now()
    }
}
