//! Building the index anew, beside the one in use, while everybody goes on reading and writing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::RwLockReadGuard;

use crate::door::recorded_before;
use crate::error::{RegistryError, Result};
use crate::fault;
use crate::index::Index;
use crate::index::home::{Build, Swap};
use crate::keys::belief;
use crate::open::fits;
use crate::store::Store;

/// How long to wait for another process that builds, before looking whether it has finished.
const WAIT: Duration = Duration::from_secs(1);

/// Entries that may be missing when the last step begins, during which nobody else writes.
const NEAR: u64 = 2_000;

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// Entries in the new index.
    pub entries: u64,
    /// Entries of an interrupted rebuild that were there already.
    pub resumed: u64,
    /// How the index that was in use compares with the new one; `None` when nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
}

/// How an index that was in use compares with what ledger and locker say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Compared {
    /// The same, row for row.
    Same,
    /// There was none that could be read.
    Absent,
    /// It differed; the new one is right.
    Differs {
        /// The first row that differs, or why the rest could not be read.
        line: String,
    },
}

impl Store {
    /// Rebuilds the index from ledger and locker. Readers and writers go on with the old one until
    /// both are exchanged in one step. What an interrupted build did is kept and continued.
    /// `progress(done, total)` counts entries.
    ///
    /// # Errors
    /// The ledger cannot be read, or another process is rebuilding the index.
    pub async fn reindex(&self, progress: &mut (dyn FnMut(u64, u64) + Send)) -> Result<()> {
        self.rebuild(false, progress).await.map(|_| ())
    }

    /// As [`Store::reindex`]; with `compare` it also says whether the index that was in use said
    /// the same as the new one, as of one ledger size, while others go on recording.
    ///
    /// # Errors
    /// As [`Store::reindex`].
    pub async fn rebuild(
        &self,
        compare: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Rebuilt> {
        self.writable()?;
        let build = self
            .begin_build()
            .await?
            .ok_or_else(|| RegistryError::Building {
                path: self.home.place().to_owned(),
            })?;
        self.build(build, compare, progress).await
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
                self.build(build, false, &mut |_, _| {}).await?;
                return Ok(());
            }
        }
    }

    async fn begin_build(&self) -> Result<Option<Build>> {
        let view = self.log.view().await?;
        let belief = belief::lines(&self.trust.keys());
        self.home
            .build(&self.origin, &belief, WAIT, view.as_ref())
            .await
    }

    /// Builds the index anew when the keys that are believed now judge its entries differently, or
    /// waits while another process does; says how many entries.
    pub(crate) async fn judge_anew(&self) -> Result<u64> {
        let mut judged = 0;
        loop {
            let outdated = {
                let index = self.index().await?;
                let position = index.position().await?.size;
                let last = recorded_before(self.log.view().await?, position).await?;
                belief::outdated(&index, &self.trust.keys(), last).await?
            };
            let Some(outdated) = outdated else {
                return Ok(judged);
            };
            judged = outdated;
            match self.begin_build().await? {
                Some(build) => {
                    self.build(build, false, &mut |_, _| {}).await?;
                    return Ok(judged);
                }
                // Its index may be judged by other keys; then this one builds.
                None => {
                    self.adopt().await?;
                }
            }
        }
    }

    async fn build(
        &self,
        mut build: Build,
        compare: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Rebuilt> {
        let mut done = Rebuilt {
            entries: 0,
            resumed: build.index.position().await?.size,
            compared: None,
        };
        loop {
            let view = self.log.view().await?;
            let end = view.size();
            self.project(&build.index, view, end, progress).await?;
            fault::point("reindex.filled");
            if !build.index.finish().await? {
                continue;
            }
            let view = self.log.view().await?;
            if view.size() > end + NEAR {
                continue;
            }
            if compare && done.compared.is_none() {
                done.compared = Some(self.compare(&build.index, progress).await?);
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
        done.entries = self.index().await?.position().await?.size;
        Ok(done)
    }

    /// Compares the index in use with one that was built anew, at one ledger size.
    async fn compare(
        &self,
        fresh: &Index,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Compared> {
        let used = self.index().await?;
        if used.is_in_memory() {
            return Ok(Compared::Absent);
        }
        let compared = async {
            loop {
                // Others may fill the one in use further: what is compared is this moment of it.
                let (moment, at) = used.moment().await?;
                let built = fresh.position().await?.size;
                let view = self.log.view().await?;
                if at.size >= built {
                    self.project(fresh, view, at.size, progress).await?;
                    return used.difference_at(moment, fresh).await;
                }
                drop(moment);
                self.project(&used, view, built, &mut |_, _| {}).await?;
            }
        };
        Ok(match compared.await {
            Ok(None) => Compared::Same,
            Ok(Some(line)) => Compared::Differs { line },
            // It cannot be read on: that is what it is rebuilt for.
            Err(RegistryError::Index { path, source }) if path == used.place() => {
                Compared::Differs {
                    line: source.to_string(),
                }
            }
            Err(error) => return Err(error),
        })
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
