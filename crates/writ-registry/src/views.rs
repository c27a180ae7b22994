//! What pages and the interface for programs ask a store: parts of lists as of a ledger size.

use writ_ledger::tile::TilePath;
use writ_model::{LedgerHead, Timestamp};

use crate::error::Result;
use crate::index::lists::{RunRow, TrackedFinding, WritRow};
use crate::index::query::Query;
use crate::index::tracked::{FindingCursor, FindingGroups, FindingsByAge, FindingsFilter};
use crate::index::views::{
    ApprovalRow, ChangeRow, DecisionStates, EventQuery, Listed, ServiceRow, Total,
};
use crate::index::words::{Found, Search};
use crate::store::Store;

impl Store {
    /// How many entries of the ledger are in the index: what a page shows reaches that far.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn indexed(&self) -> Result<u64> {
        Ok(self.index().await?.position().await?.size)
    }

    /// The newest signed head whose signature a trusted log key made.
    ///
    /// # Errors
    /// The checkpoint cannot be read, or no trusted key signed it.
    pub async fn verified_head(&self) -> Result<LedgerHead> {
        let view = self.log.view().await?;
        Ok(crate::open::trusted_head(self.log.as_ref(), view.as_ref(), &self.trust)?.head)
    }

    /// The newest signed checkpoint, as it is published.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn published_checkpoint(&self) -> Result<String> {
        Ok(self.log.view().await?.checkpoint().as_str().to_owned())
    }

    /// A tile or a bundle of entries, as it is published; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn published_tile(&self, tile: TilePath) -> Result<Option<Vec<u8>>> {
        let tiles = self.log.tiles().await?;
        Ok(tokio::task::spawn_blocking(move || tiles.get(&tile)).await??)
    }

    /// How many entries had been recorded at an instant: to look back, ask everything below it.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn size_at(&self, at: Timestamp) -> Result<u64> {
        self.index().await?.size_at(at).await
    }

    /// When the newest entry below a ledger size was recorded; `None` when there is none.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn recorded_before(&self, size: u64) -> Result<Option<Timestamp>> {
        self.index().await?.recorded_before(size).await
    }

    /// How much evidence matches a query in all, whatever its limit and cursor.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn evidence_total(&self, query: &Query) -> Result<Total> {
        self.index().await?.evidence_total(query).await
    }

    /// How many decisions are recorded, by environment and answer.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn decision_counts(&self) -> Result<Vec<(String, String, u64)>> {
        self.index().await?.decision_counts().await
    }

    /// How many runs are recorded, by outcome.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn run_counts(&self) -> Result<Vec<(String, u64)>> {
        self.index().await?.run_counts().await
    }

    /// The entries that hold all of some words, newest first.
    ///
    /// # Errors
    /// There is nothing to search for, the cursor is of another list, or the index cannot be read.
    pub async fn search(&self, search: &Search) -> Result<Found> {
        self.index().await?.search(search).await
    }

    /// A part of the runs, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn runs_listed(&self, query: &EventQuery) -> Result<Listed<RunRow>> {
        self.index().await?.runs_listed(query).await
    }

    /// A part of the decisions with the state of each check, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn decisions_listed(&self, query: &EventQuery) -> Result<Listed<DecisionStates>> {
        self.index().await?.decisions_listed(query).await
    }

    /// A part of the writs, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn writs_listed(&self, query: &EventQuery) -> Result<Listed<WritRow>> {
        self.index().await?.writs_listed(query).await
    }

    /// A part of what people said to releases, newest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn approvals_listed(&self, query: &EventQuery) -> Result<Listed<ApprovalRow>> {
        self.index().await?.approvals_listed(query).await
    }

    /// A part of the changes, newest first; `service`, `commit`, `below`, `after` and `limit` of the
    /// query count.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn changes_listed(&self, query: &EventQuery) -> Result<Listed<ChangeRow>> {
        self.index().await?.changes_listed(query).await
    }

    /// One change, as of a ledger size.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn change(
        &self,
        service: &str,
        name: &str,
        below: Option<u64>,
    ) -> Result<Option<ChangeRow>> {
        self.index().await?.change(service, name, below).await
    }

    /// The name of the change that a commit belongs to.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn change_of(&self, service: &str, commit: &str) -> Result<Option<String>> {
        self.index().await?.change_of(service, commit).await
    }

    /// The newest decision per service and environment below a ledger size.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn newest_decisions(
        &self,
        below: u64,
        environment: Option<&str>,
    ) -> Result<Vec<DecisionStates>> {
        self.index()
            .await?
            .newest_decisions(below, environment)
            .await
    }

    /// Every service that the ledger heard of below a size, by name.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn services(&self, below: u64) -> Result<Vec<ServiceRow>> {
        self.index().await?.services(below).await
    }

    /// Every environment that the ledger heard of below a size, by name.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn environments(&self, below: u64) -> Result<Vec<String>> {
        self.index().await?.environments(below).await
    }

    /// A part of the findings, the most severe and oldest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn findings_listed(
        &self,
        filter: &FindingsFilter,
    ) -> Result<Listed<TrackedFinding, FindingCursor>> {
        self.index().await?.findings_listed(filter).await
    }

    /// Findings by public name, over all services.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn finding_groups(&self, filter: &FindingsFilter) -> Result<FindingGroups> {
        self.index().await?.finding_groups(filter).await
    }

    /// Findings per severity and age. `since` holds falling instants; the last count of each row
    /// is of those older than all.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn finding_ages(
        &self,
        filter: &FindingsFilter,
        since: &[Timestamp],
    ) -> Result<FindingsByAge> {
        self.index().await?.finding_ages(filter, since).await
    }
}
