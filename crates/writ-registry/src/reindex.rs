//! Building the index anew, beside the one in use, while everybody goes on reading and writing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::RwLockReadGuard;

use crate::error::{RegistryError, Result};
use crate::fault;
use crate::index::Index;
use crate::index::home::{Build, Swap};
use crate::open::fits;
use crate::store::Store;

/// How long to wait for another process that builds, before looking whether it has finished.
const WAIT: Duration = Duration::from_secs(1);

/// Entries that may be missing when the last step begins, during which nobody else writes.
const NEAR: u64 = 2_000;

impl Store {
    /// Rebuilds the index from ledger and locker. Readers and writers go on with the old one until
    /// both are exchanged in one step. What an interrupted build did is kept and continued.
    /// `progress(done, total)` counts entries.
    ///
    /// # Errors
    /// The ledger cannot be read, or another process is rebuilding the index.
    pub async fn reindex(&self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<()> {
        self.writable()?;
        let build = self
            .begin_build()
            .await?
            .ok_or_else(|| RegistryError::Building {
                path: self.home.place().to_owned(),
            })?;
        self.build(build, progress).await
    }

    /// Builds the index when there is none, or takes the one that another process is building.
    pub(crate) async fn build_first(&self) -> Result<()> {
        loop {
            let build = self.begin_build().await?;
            // Somebody else may have built while this one waited.
            if self.adopt().await? {
                return Ok(());
            }
            if let Some(build) = build {
                return self.build(build, &mut |_, _| {}).await;
            }
        }
    }

    async fn begin_build(&self) -> Result<Option<Build>> {
        let view = self.log.view().await?;
        self.home.build(&self.origin, WAIT, view.as_ref()).await
    }

    async fn build(
        &self,
        mut build: Build,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<()> {
        loop {
            let view = self.log.view().await?;
            let end = view.size();
            self.project(&build.index, view, end, progress).await?;
            fault::point("reindex.filled");
            build.index.finish().await?;
            let view = self.log.view().await?;
            if view.size() > end + NEAR {
                continue;
            }
            build = match self.exchange(build, progress).await? {
                Swap::Done => break,
                Swap::Behind(build) => build,
            };
        }
        if !self.adopt().await? {
            return Err(RegistryError::Task(
                "the rebuilt index cannot be opened".to_owned(),
            ));
        }
        self.home.tidy();
        Ok(())
    }

    /// The last step: nobody appends while the last entries are applied and the names exchanged.
    async fn exchange(
        &self,
        build: Build,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Swap> {
        let mut door = self.door.lock().await;
        let view = match self.log.takes_turns() {
            true => self.lease(&mut door).await?.view().await?,
            false => self.log.view().await?,
        };
        let end = view.size();
        let now = Arc::clone(&view);
        self.project(&build.index, now, end, progress).await?;
        self.home.swap(build, view.as_ref()).await
    }

    /// The index in use now.
    pub(crate) async fn index(&self) -> Result<RwLockReadGuard<'_, Index>> {
        let index = self.index.read().await;
        if self.options.read_only || !self.home.moved(&index) {
            return Ok(index);
        }
        drop(index);
        self.adopt().await?;
        let index = self.index.read().await;
        // What this process has seen it must go on seeing.
        let reached = self.reached.load(Ordering::SeqCst);
        if index.position().await?.size < reached {
            let view = self.log.view().await?;
            self.project(&index, view, reached, &mut |_, _| {}).await?;
        }
        Ok(index)
    }

    /// Takes the index in use when it fits the ledger: exchanged just now, here or by another
    /// process.
    async fn adopt(&self) -> Result<bool> {
        let mut index = self.index.write().await;
        let Some((found, position)) = self.home.open(false).await? else {
            return Ok(false);
        };
        if !fits(self.log.view().await?.as_ref(), &position, &self.origin)? {
            found.close().await;
            return Ok(false);
        }
        index.close().await;
        *index = found;
        Ok(true)
    }
}
