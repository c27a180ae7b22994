//! Where versions run: what a deployment asks of it.

use super::plan::{Plan, Slot};
use super::watch::Sample;

/// Why a site did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct SiteError {
    /// What could not be done.
    pub what: String,
    /// Why.
    pub cause: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl SiteError {
    /// Of an act and its cause.
    pub fn new(what: impl Into<String>, cause: impl ToString) -> Self {
        Self {
            what: what.into(),
            cause: cause.to_string(),
            remedy: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn try_this(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What serves before anything is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The slot that has the traffic; `None` where none has, or where there are no slots.
    pub live: Option<Slot>,
    /// The slot for the new version; `None` where there are no slots.
    pub idle: Option<Slot>,
}

/// What became of taking a version back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Whether the previous version serves.
    pub serves: bool,
    /// What is worth telling.
    pub note: Option<String>,
}

/// A place where versions run. Every act may be done twice: a deployment that was interrupted repeats
/// the one that it was at.
#[expect(
    async_fn_in_trait,
    reason = "a deployment is walked by one task, which never moves between threads"
)]
pub trait Site {
    /// Which slot serves. Asked before anything is planned; also finds out whether the site can be used.
    /// `remembered` is the slot that the last deployment left serving.
    async fn standing(&self, remembered: Option<&str>) -> Result<Standing, SiteError>;

    /// Starts the version without traffic.
    async fn start(&self, plan: &Plan) -> Result<(), SiteError>;

    /// Asks once whether the version answers its health check. A version without one is healthy.
    async fn healthy(&self, plan: &Plan) -> Result<(), SiteError>;

    /// Gives the version its share of the traffic.
    async fn shift(&self, plan: &Plan) -> Result<(), SiteError>;

    /// What the site has counted of the version so far; `None` where it counts nothing.
    async fn sample(&self, plan: &Plan) -> Result<Option<Sample>, SiteError>;

    /// Asks what else is to be watched.
    ///
    /// # Errors
    /// It cannot be asked; the inner error is a bad answer.
    async fn alarm(&self) -> Result<Result<(), String>, SiteError>;

    /// Gives the version all traffic.
    async fn switch(&self, plan: &Plan) -> Result<(), SiteError>;

    /// Gives the previous version all traffic, and the new one none.
    async fn restore(&self, plan: &Plan) -> Result<Restored, SiteError>;

    /// How many requests are going on at a slot; `None` where that cannot be seen.
    async fn busy(&self, slot: &Slot) -> Result<Option<u64>, SiteError>;

    /// Ends what runs in a slot.
    async fn stop(&self, plan: &Plan, slot: &Slot) -> Result<(), SiteError>;
}
