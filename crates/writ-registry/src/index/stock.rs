//! Figures about findings that are kept while findings change, so that no page has to read all of them.
//!
//! A fingerprint counts once per service. The **voice** of a row says whether it is the one that
//! counts: the earliest stream of the service that has the fingerprint in the same state. Whether it
//! **leads**: the earliest stream that has it at all. From both follow two tables, changed by sums and
//! differences in the transaction that changes the rows:
//!
//! | table | how many findings per |
//! |---|---|
//! | `finding_days` | service (and all, under the name of none), standing, severity, day of the first sighting, fix known |
//! | `finding_names` | public name, open ones only, with the number of services |
//!
//! They are the same however the entries were batched.

use std::collections::{BTreeMap, HashMap};

use writ_model::Timestamp;

use super::tracked::Standing;
use crate::db::{Conn, Value, sql};

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// Severities, from unknown to critical, by their number.
pub(crate) const SEVERITIES: usize = 6;

/// A row that does not count.
pub(super) const SILENT: i64 = 0;
/// The row that counts among the open ones.
pub(super) const OPEN: i64 = 1;
/// The row that counts among the fixed ones.
pub(super) const FIXED: i64 = 2;

/// The name of a standing in `finding_days`.
pub(super) const fn standing_number(standing: Standing) -> i64 {
    match standing {
        Standing::All => 0,
        Standing::Open => OPEN,
        Standing::Fixed => FIXED,
    }
}

/// The day of an instant, counted from 1970-01-01 (UTC).
pub(super) const fn day(at: Timestamp) -> i64 {
    at.micros().div_euclid(DAY)
}

/// Whether an instant is the beginning of a day (UTC).
pub(super) const fn begins_day(at: Timestamp) -> bool {
    at.micros().rem_euclid(DAY) == 0
}

/// Which rows of one fingerprint in one service count: voice and whether it leads, in the order of
/// `rows` (stream, and whether it is open there).
pub(super) fn voices(rows: &[(i64, bool)]) -> Vec<(i64, bool)> {
    let first = |state: Option<bool>| {
        rows.iter()
            .filter(|(_, open)| state.is_none_or(|state| state == *open))
            .map(|(stream, _)| *stream)
            .min()
    };
    let (all, open, fixed) = (first(None), first(Some(true)), first(Some(false)));
    rows.iter()
        .map(|(stream, is_open)| {
            let voice = match is_open {
                true if open == Some(*stream) => OPEN,
                false if fixed == Some(*stream) => FIXED,
                _ => SILENT,
            };
            (voice, all == Some(*stream))
        })
        .collect()
}

/// What of a row counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub severity: i64,
    pub fixable: bool,
    pub name: &'a str,
    pub first_seen: Timestamp,
    pub voice: i64,
    pub leads: bool,
}

/// Standing, severity, day, fix known.
type Cell = (i64, i64, i64, bool);

/// How the findings of one name change.
#[derive(Debug, Default)]
struct Name {
    severities: [i64; SEVERITIES],
    fixable: i64,
    services: i64,
    /// When, and as what, it was first seen, where rows came under this name.
    seen: Option<Sighting>,
}

#[derive(Debug, Clone)]
struct Sighting {
    first_seen: Timestamp,
    category: String,
    title: String,
}

/// What one scan changes in the figures of its service.
#[derive(Debug, Default)]
pub(super) struct Difference<'a> {
    cells: HashMap<Cell, i64>,
    names: HashMap<&'a str, Name>,
}

impl<'a> Difference<'a> {
    /// Adds (`by` 1) or takes away (`by` -1) a row.
    pub(super) fn count(&mut self, row: Counted<'a>, by: i64) {
        let mut add = |standing: i64| {
            let cell = (standing, row.severity, day(row.first_seen), row.fixable);
            *self.cells.entry(cell).or_default() += by;
        };
        if row.voice != SILENT {
            add(row.voice);
        }
        if row.leads {
            add(standing_number(Standing::All));
        }
        if row.voice == OPEN {
            let name = self.names.entry(row.name).or_default();
            if let Some(count) = usize::try_from(row.severity)
                .ok()
                .and_then(|severity| name.severities.get_mut(severity))
            {
                *count += by;
            }
            name.fixable += by * i64::from(row.fixable);
        }
    }

    /// Notes that a row came under this name.
    pub(super) fn seen(
        &mut self,
        name: &'a str,
        first_seen: Timestamp,
        category: &str,
        title: &str,
    ) {
        let known = &mut self.names.entry(name).or_default().seen;
        match known {
            Some(seen) => seen.first_seen = seen.first_seen.min(first_seen),
            None => {
                *known = Some(Sighting {
                    first_seen,
                    category: category.to_owned(),
                    title: title.to_owned(),
                });
            }
        }
    }

    /// Names of which the service has more or fewer open findings than before, by how many.
    pub(super) fn moved(&self) -> Vec<(&'a str, i64)> {
        let mut moved: Vec<(&str, i64)> = self
            .names
            .iter()
            .map(|(name, change)| (*name, change.severities.iter().sum()))
            .filter(|(_, by)| *by != 0)
            .collect();
        moved.sort_unstable();
        moved
    }

    /// Notes that the service begins (1) or ceases (-1) to have open findings of a name.
    pub(super) fn service(&mut self, name: &'a str, by: i64) {
        self.names.entry(name).or_default().services += by;
    }
}

/// What consecutive entries change, until it is written.
#[derive(Debug, Default)]
pub(super) struct Stock {
    cells: BTreeMap<(String, Cell), i64>,
    names: BTreeMap<String, Name>,
}

impl Stock {
    /// Adds what a scan of `service` changes.
    pub(super) fn add(&mut self, service: &str, difference: Difference<'_>) {
        // As the database keeps it: two names that it takes for one are one.
        let service = service.replace('\0', "\u{fffd}");
        for (cell, by) in difference.cells {
            for of in [service.as_str(), ""] {
                *self.cells.entry((of.to_owned(), cell)).or_default() += by;
            }
        }
        for (name, change) in difference.names {
            let known = self.names.entry(name.to_owned()).or_default();
            for (sum, by) in known.severities.iter_mut().zip(change.severities) {
                *sum += by;
            }
            known.fixable += change.fixable;
            known.services += change.services;
            match (&mut known.seen, change.seen) {
                (Some(first), Some(later)) => {
                    first.first_seen = first.first_seen.min(later.first_seen);
                }
                (none @ None, later) => *none = later,
                (Some(_), None) => {}
            }
        }
    }

    /// Writes what changed.
    pub(super) async fn write(self, connection: &mut Conn<'_>) -> sqlx::Result<()> {
        write_cells(connection, self.cells).await?;
        write_names(connection, self.names).await
    }
}

async fn write_cells(
    connection: &mut Conn<'_>,
    cells: BTreeMap<(String, Cell), i64>,
) -> sqlx::Result<()> {
    const COLUMNS: usize = 6;
    let mut values: Vec<Value<'_>> = Vec::new();
    let mut fell: Vec<&str> = Vec::new();
    for ((service, (standing, severity, day, fixable)), by) in &cells {
        if *by == 0 {
            continue;
        }
        if *by < 0 && fell.last() != Some(&service.as_str()) {
            fell.push(service);
        }
        let row: [Value<'_>; COLUMNS] = [
            service.into(),
            (*standing).into(),
            (*severity).into(),
            (*day).into(),
            (*fixable).into(),
            (*by).into(),
        ];
        values.extend(row);
    }
    if values.is_empty() {
        return Ok(());
    }
    let add = sql(
        "INSERT INTO finding_days (service, standing, severity, day, fixable, findings) VALUES",
    );
    connection
        .insert_rows(
            add.bind_all(values),
            "ON CONFLICT (service, standing, severity, day, fixable) DO UPDATE SET findings = finding_days.findings + excluded.findings",
            COLUMNS,
        )
        .await?;
    for service in fell {
        let clear = sql("DELETE FROM finding_days WHERE service = $1 AND findings = 0");
        connection.execute(clear.bind(service)).await?;
    }
    Ok(())
}

async fn write_names(connection: &mut Conn<'_>, names: BTreeMap<String, Name>) -> sqlx::Result<()> {
    const COLUMNS: usize = 14;
    let mut values: Vec<Value<'_>> = Vec::new();
    for (name, change) in &names {
        let same =
            change.severities == [0; SEVERITIES] && change.fixable == 0 && change.services == 0;
        if same && change.seen.is_none() {
            continue;
        }
        let highest = (0_i64..)
            .zip(change.severities)
            .filter(|(_, count)| *count > 0)
            .map(|(severity, _)| severity)
            .max();
        let [unknown, info, low, medium, high, critical] = change.severities;
        let seen = change.seen.as_ref();
        let row: [Value<'_>; COLUMNS] = [
            name.into(),
            // Where no row came, the name is there already.
            seen.map_or(i64::MAX, |seen| seen.first_seen.micros())
                .into(),
            seen.map_or("", |seen| seen.category.as_str()).into(),
            seen.map_or("", |seen| seen.title.as_str()).into(),
            unknown.into(),
            info.into(),
            low.into(),
            medium.into(),
            high.into(),
            critical.into(),
            highest.unwrap_or(0).into(),
            change.services.into(),
            change.severities.iter().sum::<i64>().into(),
            change.fixable.into(),
        ];
        values.extend(row);
    }
    if values.is_empty() {
        return Ok(());
    }
    let add = sql(
        "INSERT INTO finding_names (name, first_seen, category, title, unknown, info, low, medium, high, critical, severity, services, findings, fixable) VALUES",
    );
    connection
        .insert_rows(
            add.bind_all(values),
            "ON CONFLICT (name) DO UPDATE SET
               first_seen = CASE WHEN excluded.first_seen < finding_names.first_seen THEN excluded.first_seen ELSE finding_names.first_seen END,
               unknown = finding_names.unknown + excluded.unknown, info = finding_names.info + excluded.info,
               low = finding_names.low + excluded.low, medium = finding_names.medium + excluded.medium,
               high = finding_names.high + excluded.high, critical = finding_names.critical + excluded.critical,
               severity = CASE WHEN finding_names.critical + excluded.critical > 0 THEN 5
                 WHEN finding_names.high + excluded.high > 0 THEN 4 WHEN finding_names.medium + excluded.medium > 0 THEN 3
                 WHEN finding_names.low + excluded.low > 0 THEN 2 WHEN finding_names.info + excluded.info > 0 THEN 1 ELSE 0 END,
               services = finding_names.services + excluded.services, findings = finding_names.findings + excluded.findings,
               fixable = finding_names.fixable + excluded.fixable",
            COLUMNS,
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_stream_speaks_for_a_state() {
        assert_eq!(voices(&[(4, true)]), [(OPEN, true)]);
        assert_eq!(
            voices(&[(9, true), (4, false), (7, true)]),
            [(SILENT, false), (FIXED, true), (OPEN, false)]
        );
    }

    #[test]
    fn a_day_begins_at_midnight_also_before_1970() {
        assert_eq!(day(Timestamp::from_micros(DAY - 1)), 0);
        assert_eq!(day(Timestamp::from_micros(DAY)), 1);
        assert_eq!(day(Timestamp::from_micros(-1)), -1);
        assert!(begins_day(Timestamp::from_micros(-DAY)));
        assert!(!begins_day(Timestamp::from_micros(1)));
    }
}
