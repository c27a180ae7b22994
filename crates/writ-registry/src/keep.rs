//! How long evidence is kept: by the profiles that bind its service, never shorter than before.
//!
//! A blob is stored with the retention that its evidence has when it is recorded. Where locks cannot
//! be taken back (a bucket with Object Lock) it is locked for a short time only until the ledger
//! names it; [`Store::settle_locks`] completes what a crash left between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use writ_evidence::predicate::Definition;
use writ_evidence::statement::Predicate as _;
use writ_model::{Digest, EvidenceItem, EvidenceType, Span, Timestamp};

use crate::error::{RegistryError, Result};
use crate::index::Projected;
use crate::index::query::Query;
use crate::item::Reader;
use crate::store::Store;

/// Entries whose blobs are confirmed together.
const PORTION: u64 = 256;
/// The key in ops under which the settled part of the ledger is noted.
const SETTLED: &str = "locks_settled";
/// Days in a year of retention: never less than any calendar's.
pub(crate) const DAYS_OF_A_YEAR: i64 = 366;

/// How long a profile wants evidence kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Periods {
    /// All evidence.
    pub all: Span,
    /// Evidence of these types, where that is longer.
    pub longer: BTreeMap<EvidenceType, Span>,
}

impl Periods {
    /// Whole years for everything.
    #[must_use]
    pub fn years(years: u32) -> Self {
        Self {
            all: years_of(years),
            longer: BTreeMap::new(),
        }
    }

    /// With more whole years for one type.
    #[must_use]
    pub fn longer(mut self, evidence_type: EvidenceType, years: u32) -> Self {
        self.longer.insert(evidence_type, years_of(years));
        self
    }

    /// How long evidence of a type is kept.
    #[must_use]
    pub fn of(&self, evidence_type: EvidenceType) -> Span {
        let longer = self.longer.get(&evidence_type).copied();
        longer.map_or(self.all, |longer| longer.max(self.all))
    }
}

fn years_of(years: u32) -> Span {
    Span::from_secs(i64::from(years) * DAYS_OF_A_YEAR * 86_400)
}

/// How long evidence is kept, by the profile that binds its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The least for everything, bound by a profile or not. Default: 400 days, so that a year's
    /// audit finds all of its period.
    pub least: Span,
    /// What each profile wants.
    pub profiles: BTreeMap<String, Periods>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            least: Span::from_secs(400 * 86_400),
            profiles: BTreeMap::new(),
        }
    }
}

impl Retention {
    /// How long evidence of a type is kept whose service these profiles bind: the longest that any
    /// of them wants. A profile that is not known here counts as the longest that is.
    #[must_use]
    pub fn period<'a>(
        &self,
        bound: impl IntoIterator<Item = &'a String>,
        evidence_type: EvidenceType,
    ) -> Span {
        let longest = || {
            let all = self.profiles.values();
            all.map(|periods| periods.of(evidence_type)).max()
        };
        bound
            .into_iter()
            .filter_map(|name| match self.profiles.get(name) {
                Some(periods) => Some(periods.of(evidence_type)),
                None => longest(),
            })
            .fold(self.least, Span::max)
    }
}

/// Service, environment (`None`: all) and profile.
pub(crate) type Binding = (String, Option<String>, String);

/// Which profiles bind which service, and where the ledger was read to for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    through: u64,
    /// By service, then by environment (`None`: all).
    services: BTreeMap<String, BTreeMap<Option<String>, String>>,
}

impl Bound {
    pub(crate) fn profiles(&self, service: &str) -> BTreeSet<&String> {
        let by_environment = self.services.get(service).into_iter();
        by_environment.flat_map(BTreeMap::values).collect()
    }

    /// Every service that a profile binds.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// What a definition binds: service, environment and profile.
    fn binding(item: &EvidenceItem) -> Option<Binding> {
        let text = |name: &str| item.facts.get(name)?.as_str().map(str::to_owned);
        if item.predicate_type != Definition::URI || text("kind")? != "profile" {
            return None;
        }
        let environment = item.subject.environment.clone().or(text("environment"));
        Some((item.service.clone(), environment, text("name")?))
    }

    fn bind(&mut self, (service, environment, profile): Binding) {
        let by_environment = self.services.entry(service).or_default();
        by_environment.insert(environment, profile);
    }
}

/// Until when evidence is kept: pure, once the bindings are read.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) retention: Retention,
    pub(crate) bound: Bound,
}

impl Keeper {
    /// What a record must be kept for. A record that binds a profile counts for itself.
    pub(crate) fn until(&self, item: &EvidenceItem, recorded_at: Timestamp) -> Timestamp {
        let mut profiles = self.bound.profiles(&item.service);
        let own = Bound::binding(item).map(|(_, _, profile)| profile);
        profiles.extend(own.as_ref());
        recorded_at.plus(self.retention.period(profiles, item.evidence_type))
    }

    /// The service that a record binds to a profile, if older evidence may have to be kept longer
    /// for it.
    pub(crate) fn lengthens(&self, item: &EvidenceItem) -> Option<Binding> {
        if self.retention.profiles.is_empty() {
            return None;
        }
        Bound::binding(item)
    }
}

/// The blobs behind a record, all of them.
pub(crate) fn blobs_of(projected: &Projected) -> Vec<Digest> {
    let named = projected.blobs.iter().map(|(digest, _)| *digest);
    named.chain(projected.statement).collect()
}

impl Store {
    /// What decides how long new evidence is kept.
    pub(crate) async fn keeper(&self) -> Result<Keeper> {
        let retention = self.options.retention.clone();
        if retention.profiles.is_empty() {
            return Ok(Keeper {
                retention,
                bound: Bound::default(),
            });
        }
        let mut bound = self.bound.lock().await;
        // Newest first, down to where it was read last time.
        let mut fresh = Vec::new();
        let mut cursor = None;
        'pages: loop {
            let query = Query {
                predicate_type: Some(Definition::URI.to_owned()),
                limit: 200,
                cursor,
                ..Query::default()
            };
            let page = self.index.read().await.evidence(&query).await?;
            for item in page.items {
                if item.index < bound.through {
                    break 'pages;
                }
                fresh.push(item);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        for item in fresh.iter().rev() {
            bound.through = item.index + 1;
            if let Some(binding) = Bound::binding(item) {
                bound.bind(binding);
            }
        }
        Ok(Keeper {
            retention,
            bound: bound.clone(),
        })
    }

    /// Keeps blobs at least so long.
    pub(crate) async fn confirm(&self, objects: Vec<(Digest, Timestamp)>) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let locker = Arc::clone(&self.locker);
        tokio::task::spawn_blocking(move || locker.confirm(&objects)).await??;
        Ok(())
    }

    /// Keeps what was recorded for a service as long as a profile wants that is about to bind it.
    pub(crate) async fn keep_service(&self, keeper: &Keeper, binding: Binding) -> Result<()> {
        let service = binding.0.clone();
        let mut after = keeper.clone();
        after.bound.bind(binding);
        let mut cursor = None;
        loop {
            let query = Query {
                service: Some(service.clone()),
                limit: PORTION as usize,
                cursor,
                ..Query::default()
            };
            let page = self.index.read().await.evidence(&query).await?;
            let longer: Vec<u64> = page
                .items
                .iter()
                .filter(|item| {
                    after.until(item, item.recorded_at) > keeper.until(item, item.recorded_at)
                })
                .map(|item| item.index)
                .collect();
            self.confirm_entries(&after, longer).await?;
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Keeps the blobs behind entries as long as they must be.
    async fn confirm_entries(&self, keeper: &Keeper, entries: Vec<u64>) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let view = self.log.view().await?;
        let reader = Reader::new(self.trust.keys().clone(), Arc::clone(&self.locker));
        let (keeper, now) = (keeper.clone(), self.now());
        let locker = Arc::clone(&self.locker);
        tokio::task::spawn_blocking(move || {
            let mut objects: BTreeMap<Digest, Timestamp> = BTreeMap::new();
            for index in entries {
                let entry = view.read(index)?;
                // What this version cannot read, it knows no blobs of.
                let Ok(projected) = reader.project(entry.envelope(), index, entry.recorded_at())
                else {
                    continue;
                };
                let until = keeper.until(&projected.item, projected.item.recorded_at);
                for digest in blobs_of(&projected) {
                    let kept = objects.entry(digest).or_insert(until);
                    *kept = until.max(*kept);
                }
            }
            // What is past its time needs no lock any more.
            let objects: Vec<_> = objects
                .into_iter()
                .filter(|(_, until)| *until > now)
                .collect();
            Ok::<_, RegistryError>(locker.confirm(&objects)?)
        })
        .await?
    }

    /// Completes the locks of everything recorded, where the locker locks new objects for a short
    /// time only at first; gives the number of entries that were looked at. A store does it when it
    /// is opened for writing; a server repeats it, well within [`writ_locker::Locker::first_retention`].
    ///
    /// # Errors
    /// The ledger cannot be read, or an object is gone or cannot be locked: then it begins there
    /// the next time.
    pub async fn settle_locks(&self) -> Result<u64> {
        self.writable()?;
        let Some(first) = self.locker.first_retention() else {
            return Ok(0);
        };
        let size = self.log.view().await?.size();
        let mut from = self.settled.load(Ordering::SeqCst);
        if from == 0
            && let Some(ops) = &self.ops
        {
            from = match ops.fact(SETTLED).await? {
                Some(text) => text.parse().unwrap_or(0),
                None => 0,
            };
        }
        let from = from.min(size);
        // What is older than two first locks was settled in time, or is unlocked already, which
        // `verify` reports; a machine that sees this store for the first time does not go through
        // all of it.
        let horizon = self.now().plus(Span::from_micros(-2 * first.micros()));
        let keeper = self.keeper().await?;
        let view = self.log.view().await?;
        let begin = tokio::task::spawn_blocking(move || -> Result<u64> {
            let (mut low, mut high) = (from, size);
            while low < high {
                let middle = low + (high - low) / 2;
                if view.read(middle)?.recorded_at() < horizon.micros() {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            Ok(low)
        })
        .await??;
        let mut at = begin;
        while at < size {
            let end = size.min(at + PORTION);
            self.confirm_entries(&keeper, (at..end).collect()).await?;
            at = end;
            self.note_settled(at, true).await?;
        }
        self.note_settled(size, true).await?;
        Ok(size - begin)
    }

    /// Notes that everything below `size` is locked for its time.
    pub(crate) async fn note_settled(&self, size: u64, durable: bool) -> Result<()> {
        self.settled.fetch_max(size, Ordering::SeqCst);
        match &self.ops {
            Some(ops) if durable => ops.put_fact(SETTLED, &size.to_string()).await,
            _ => Ok(()),
        }
    }

    /// After entries were recorded whose blobs are confirmed: moves the note on if nothing is open
    /// before them. Only now and then on the disk: what is confirmed twice does no harm.
    pub(crate) async fn settled_entries(&self, from: u64, to: u64) -> Result<()> {
        if self.locker.first_retention().is_none() || self.settled.load(Ordering::SeqCst) < from {
            return Ok(());
        }
        self.note_settled(to, from / PORTION != to / PORTION).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Retention {
        Retention {
            profiles: BTreeMap::from([
                ("sox".to_owned(), Periods::years(7)),
                (
                    "hipaa".to_owned(),
                    Periods::years(6).longer(EvidenceType::Sbom, 10),
                ),
                ("soc2".to_owned(), Periods::years(1)),
            ]),
            ..Retention::default()
        }
    }

    fn days(retention: &Retention, bound: &[&str], evidence_type: EvidenceType) -> i64 {
        let bound: Vec<String> = bound.iter().map(|name| (*name).to_owned()).collect();
        retention.period(&bound, evidence_type).secs() / 86_400
    }

    #[test]
    fn the_longest_period_of_all_that_binds_counts() {
        let table = table();
        let approval = EvidenceType::Exemption;
        for (bound, expected) in [
            (&[][..], 400),
            (&["soc2"], 400),
            (&["hipaa"], 6 * 366),
            (&["soc2", "sox", "hipaa"], 7 * 366),
            // Not known here: as long as anybody wants it.
            (&["pci"], 7 * 366),
        ] {
            assert_eq!(days(&table, bound, approval), expected, "{bound:?}");
        }
        assert_eq!(days(&table, &["hipaa"], EvidenceType::Sbom), 3660);
        assert_eq!(days(&table, &["sox"], EvidenceType::Sbom), 7 * 366);
        assert_eq!(days(&Retention::default(), &["sox"], approval), 400);
    }

    #[test]
    fn a_type_is_never_kept_shorter_than_everything() {
        let periods = Periods::years(7).longer(EvidenceType::Sbom, 1);
        assert_eq!(periods.of(EvidenceType::Sbom), years_of(7));
    }
}
