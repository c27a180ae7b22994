//! Whether the index was computed by the keys that are believed now.
//!
//! An entry is judged by the time at which it was recorded, so most changes of keys touch no entry
//! that is there: a new key counts from now on, an old one until later. A revocation from an earlier
//! time on does, and so does a key that comes back. Then the index is computed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use writ_evidence::key::{EcdsaEncoding, TrustedKeys};
use writ_model::Timestamp;

use crate::error::Result;
use crate::index::Index;
use crate::store::Store;

/// From when to when a key counts for a purpose, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: i64,
    until: i64,
    raw: bool,
}

/// The keys as lines: `ID PURPOSE FROM UNTIL ENCODING`.
pub(crate) fn lines(keys: &TrustedKeys) -> Vec<String> {
    let mut lines = BTreeSet::new();
    for key in keys.iter() {
        for purpose in &key.purposes {
            lines.insert(format!(
                "{} {purpose} {} {} {}",
                key.key.id(),
                key.valid_from.map_or(i64::MIN, Timestamp::micros),
                key.valid_until.map_or(i64::MAX, Timestamp::micros),
                match key.encoding {
                    EcdsaEncoding::Der => "der",
                    EcdsaEncoding::Raw => "raw",
                }
            ));
        }
    }
    lines.into_iter().collect()
}

/// Id and purpose, and the window; `None` for a line that nobody wrote.
fn parse(line: &str) -> Option<((&str, &str), Window)> {
    // A purpose may have spaces in it.
    let (rest, encoding) = line.rsplit_once(' ')?;
    let (rest, until) = rest.rsplit_once(' ')?;
    let (rest, from) = rest.rsplit_once(' ')?;
    let window = Window {
        from: from.parse().ok()?,
        until: until.parse().ok()?,
        raw: encoding == "raw",
    };
    Some((rest.split_once(' ')?, window))
}

/// What two beliefs judge differently: signers, and from when on.
fn difference(old: &[String], new: &[String]) -> Vec<(String, i64)> {
    fn read(lines: &[String]) -> BTreeMap<(&str, &str), Window> {
        lines.iter().filter_map(|line| parse(line)).collect()
    }
    let (old, new) = (read(old), read(new));
    let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for key in all {
        let since = match (old.get(key), new.get(key)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) if one.from == other.from && one.raw == other.raw => {
                one.until.min(other.until)
            }
            (one, other) => {
                let begins = one.into_iter().chain(other).map(|window| window.from);
                begins.min().unwrap_or(i64::MIN)
            }
        };
        found.push((key.0.to_owned(), since));
    }
    found
}

/// How many entries of an index, whose newest was recorded at `last`, are judged differently by these
/// keys; `None`: all are judged as they are.
pub(crate) async fn outdated(
    index: &Index,
    keys: &TrustedKeys,
    last: Option<Timestamp>,
) -> Result<Option<u64>> {
    let known = index.belief().await?;
    let Some(last) = last else { return Ok(None) };
    if known.is_empty() {
        return Ok(None);
    }
    let mut found = difference(&known, &lines(keys));
    found.retain(|(_, since)| *since <= last.micros());
    if found.is_empty() {
        return Ok(None);
    }
    let count = index.count_by(&found).await?;
    // What was refused may count now.
    Ok((count > 0 || index.has_problems().await?).then_some(count))
}

impl Store {
    /// Brings the index to the keys that are believed now; says how many entries are judged anew.
    pub(crate) async fn believe(&self) -> Result<u64> {
        let keys = self.trust.keys();
        let generation = self.trust.generation();
        let mut judged_anew = 0;
        // An index that cannot be written was computed by these keys when it was opened.
        if !self.options.read_only {
            judged_anew = self.judge_anew().await?;
            let index = self.index().await?;
            let lines = lines(&keys);
            if index.belief().await? != lines {
                index.set_belief(&lines).await?;
            }
        }
        self.believed.store(generation, Ordering::Release);
        Ok(judged_anew)
    }

    /// Reads `trust.toml` again when it was replaced, and brings the index to it.
    pub(crate) async fn heed_keys(&self) -> Result<()> {
        self.trust.refresh()?;
        if self.believed.load(Ordering::Acquire) != self.trust.generation() {
            self.believe().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, purpose: &str, from: i64, until: i64) -> String {
        format!("{id} {purpose} {from} {until} der")
    }

    #[test]
    fn what_two_beliefs_judge_differently_begins_where_they_part() {
        let (min, max) = (i64::MIN, i64::MAX);
        let old = [line("a", "producer", min, max)];
        let raw = format!("a producer {min} {max} raw");
        let begins = |new: &[String]| -> Vec<i64> {
            let forth = difference(&old, new);
            assert_eq!(forth, difference(new, &old));
            forth.into_iter().map(|(_, since)| since).collect()
        };
        assert_eq!(begins(&old), [0; 0]);
        assert_eq!(begins(&[line("a", "producer", min, 500)]), [500]);
        assert_eq!(begins(&[]), [min]);
        assert_eq!(begins(&[line("a", "log", min, max)]), [min, min]);
        assert_eq!(begins(&[line("a", "producer", 300, max)]), [min]);
        assert_eq!(begins(&[raw]), [min]);
        let handed_over = [
            line("a", "producer", min, 900),
            line("b", "writ:a b", 700, max),
        ];
        assert_eq!(begins(&handed_over), [900, 700]);
        assert_eq!(parse("a writ:a b 1 2 der").unwrap().0.1, "writ:a b");
        assert!(parse("nonsense").is_none());
    }
}
