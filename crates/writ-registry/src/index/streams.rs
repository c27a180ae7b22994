//! Rows for the life of findings: only what a scan changed is written.

use std::collections::{BTreeMap, HashMap};

use writ_model::{Digest, EvidenceItem, Timestamp};

use super::lifecycle::{Changes, Known, Seen, changes, speaks};
use super::stock::{self, Counted, Difference, Stock};
use crate::db::{Conn, Value, sql};

/// Columns of one row of `findings` that are given on insertion.
const COLUMNS: usize = 17;

/// Fingerprints or names that one statement asks for or changes.
const FIXED: usize = 64;

/// What the index knows about the last scan of a stream.
struct Stream {
    id: i64,
    last_observed: Timestamp,
    last_findings: String,
}

/// Where the findings of a scan come from. Read only when the scan does not repeat the last one.
pub(crate) trait FindingsSource: Sync {
    /// The findings behind `digest`, sorted by fingerprint, each once; the error is a sentence.
    fn seen(&self, digest: Digest) -> Result<Vec<Seen>, String>;
}

/// Applies one scan. `Ok(Some(problem))` when its findings cannot be read: the stream then stays
/// as it was, since a scan whose report is lost can vouch for nothing.
pub(super) async fn apply_scan(
    connection: &mut Conn<'_>,
    stock: &mut Stock,
    item: &EvidenceItem,
    source: &dyn FindingsSource,
) -> sqlx::Result<Option<String>> {
    let tool = item.tool.as_ref().map_or("", |tool| tool.name.as_str());
    let stream = find_stream(connection, item, tool).await?;
    if !speaks(item, stream.as_ref().map(|stream| stream.last_observed)) {
        return Ok(None);
    }
    let digest = item.findings.map(|digest| digest.to_hex());
    let reported = item.counts.total() + item.suppressed;
    if digest.is_none() && reported > 0 {
        return Ok(Some(format!(
            "the scan reports {reported} findings but names no findings blob; their life is not followed"
        )));
    }
    let digest = digest.unwrap_or_default();
    let index = signed(item.index);
    if let Some(stream) = &stream
        && stream.last_findings == digest
    {
        touch(connection, stream.id, index, item, &digest, false).await?;
        return Ok(None);
    }
    let scan = match item.findings {
        None => Vec::new(),
        Some(digest) => match source.seen(digest) {
            Ok(seen) => seen,
            Err(problem) => return Ok(Some(problem)),
        },
    };
    let known = match &stream {
        Some(stream) => known(connection, stream.id).await?,
        None => HashMap::new(),
    };
    let others = match digest.is_empty() && known.is_empty() {
        true => Vec::new(),
        false => others(connection, &item.service, stream.as_ref().map(|s| s.id)).await?,
    };
    let id = match &stream {
        Some(stream) => stream.id,
        None => insert_stream(connection, index, item, tool).await?,
    };
    let changes = changes(&known, &scan);
    let any = !(changes.new.is_empty()
        && changes.changed.is_empty()
        && changes.reopened.is_empty()
        && changes.fixed.is_empty());
    if any {
        let plan = plan(
            connection,
            item,
            (id, &others),
            known.is_empty(),
            &changes,
            stock,
        )
        .await?;
        insert(connection, id, index, item.observed_at, &changes.new, &plan).await?;
        for seen in &changes.changed {
            update(connection, id, seen, None, &plan).await?;
        }
        for seen in &changes.reopened {
            update(connection, id, seen, Some(item.observed_at), &plan).await?;
        }
        let last_seen = stream.map_or(item.observed_at, |stream| stream.last_observed);
        let times = (index, item.observed_at, last_seen);
        for (voice, fixed) in plan.by_voice(&changes.fixed) {
            fix(connection, id, times, voice, &fixed).await?;
        }
        for ((stream, voice, leads), fingerprints) in &plan.others {
            speak(connection, *stream, *voice, *leads, fingerprints).await?;
        }
    }
    touch(connection, id, index, item, &digest, any).await?;
    Ok(None)
}

/// Which rows count after a scan.
#[derive(Default)]
struct Plan {
    /// Voice, and whether it leads, of the rows of the scan's own stream. A row that is not named
    /// counts by its state alone.
    own: HashMap<Digest, (i64, bool)>,
    /// Rows of other streams whose voice changes: stream, voice and whether it leads.
    others: BTreeMap<(i64, i64, bool), Vec<Digest>>,
}

impl Plan {
    fn of(&self, fingerprint: &Digest, open: bool) -> (i64, bool) {
        let alone = (if open { stock::OPEN } else { stock::FIXED }, true);
        self.own.get(fingerprint).copied().unwrap_or(alone)
    }

    fn by_voice(&self, fixed: &[Digest]) -> BTreeMap<i64, Vec<Digest>> {
        let mut groups: BTreeMap<i64, Vec<Digest>> = BTreeMap::new();
        for fingerprint in fixed {
            let (voice, _) = self.of(fingerprint, false);
            groups.entry(voice).or_default().push(*fingerprint);
        }
        groups
    }
}

/// A row as it was before a scan.
struct Before {
    stream: i64,
    open: bool,
    severity: i64,
    fixable: bool,
    name: String,
    first_seen: Timestamp,
    voice: i64,
    leads: bool,
}

impl Before {
    fn counted(&self) -> Counted<'_> {
        Counted {
            severity: self.severity,
            fixable: self.fixable,
            name: &self.name,
            first_seen: self.first_seen,
            voice: self.voice,
            leads: self.leads,
        }
    }
}

/// Finds out which rows count after a scan, and adds what changes to the figures. Nothing is written
/// yet.
async fn plan(
    connection: &mut Conn<'_>,
    item: &EvidenceItem,
    (own, others): (i64, &[i64]),
    fresh: bool,
    changes: &Changes<'_>,
    stock: &mut Stock,
) -> sqlx::Result<Plan> {
    let mut plan = Plan::default();
    let known: Vec<Digest> = changes
        .changed
        .iter()
        .chain(&changes.reopened)
        .map(|seen| seen.fingerprint)
        .chain(changes.fixed.iter().copied())
        .collect();
    let moved: Vec<Digest> = changes
        .new
        .iter()
        .chain(&changes.reopened)
        .map(|seen| seen.fingerprint)
        .chain(changes.fixed.iter().copied())
        .collect();
    let of_own = rows_before(connection, &[own], &known).await?;
    let of_others = rows_before(connection, others, &moved).await?;
    let mut difference = Difference::default();
    for (seen, open) in changes
        .new
        .iter()
        .chain(&changes.reopened)
        .map(|seen| (&seen.fingerprint, true))
        .chain(changes.fixed.iter().map(|fixed| (fixed, false)))
    {
        let Some(twins) = of_others.get(seen) else {
            continue;
        };
        let mut states = vec![(own, open)];
        states.extend(twins.iter().map(|twin| (twin.stream, twin.open)));
        let voices = stock::voices(&states);
        for (twin, (voice, leads)) in twins.iter().zip(&voices[1..]) {
            if (twin.voice, twin.leads) == (*voice, *leads) {
                continue;
            }
            difference.count(twin.counted(), -1);
            let after = Counted {
                voice: *voice,
                leads: *leads,
                ..twin.counted()
            };
            difference.count(after, 1);
            let rows = plan.others.entry((twin.stream, *voice, *leads));
            rows.or_default().push(*seen);
        }
        plan.own.insert(*seen, voices[0]);
    }
    let before = |fingerprint: &Digest| of_own.get(fingerprint).and_then(|rows| rows.first());
    for seen in &changes.changed {
        if let Some(before) = before(&seen.fingerprint) {
            plan.own
                .insert(seen.fingerprint, (before.voice, before.leads));
        }
    }
    let appearing = changes.new.iter().chain(&changes.reopened);
    for seen in appearing.chain(&changes.changed) {
        let (voice, leads) = plan.of(&seen.fingerprint, true);
        let before = before(&seen.fingerprint);
        let first_seen = before.map_or(item.observed_at, |before| before.first_seen);
        if let Some(before) = before {
            difference.count(before.counted(), -1);
        }
        let after = Counted {
            severity: seen.severity,
            fixable: seen.fixable,
            name: &seen.name,
            first_seen,
            voice,
            leads,
        };
        difference.count(after, 1);
        if before.is_none_or(|before| before.name != seen.name) {
            difference.seen(&seen.name, first_seen, &seen.category, &seen.title);
        }
    }
    for fingerprint in &changes.fixed {
        if let Some(before) = before(fingerprint) {
            let (voice, _) = plan.of(fingerprint, false);
            difference.count(before.counted(), -1);
            let after = Counted {
                voice,
                ..before.counted()
            };
            difference.count(after, 1);
        }
    }
    let moved = difference.moved();
    let mut streams = others.to_vec();
    streams.push(own);
    // A service that has no row yet had none of these names.
    let had = match fresh && others.is_empty() {
        true => HashMap::new(),
        false => open_names(connection, &streams, &moved).await?,
    };
    for (name, by) in moved {
        let before = had.get(name).copied().unwrap_or(0);
        let change = i64::from(before + by > 0) - i64::from(before > 0);
        difference.service(name, change);
    }
    stock.add(&item.service, difference);
    Ok(plan)
}

/// The rows of fingerprints in some streams.
async fn rows_before(
    connection: &mut Conn<'_>,
    streams: &[i64],
    fingerprints: &[Digest],
) -> sqlx::Result<HashMap<Digest, Vec<Before>>> {
    let mut found: HashMap<Digest, Vec<Before>> = HashMap::new();
    if streams.is_empty() {
        return Ok(found);
    }
    for part in fingerprints.chunks(FIXED) {
        let find = sql(format!(
            "SELECT fingerprint, stream, state, severity, fixable, name, first_seen, voice, leads FROM findings
             WHERE stream IN ({}) AND fingerprint IN ({})",
            numbers(streams),
            places(1, part.len())
        ));
        let find = find.bind_all(part.iter().map(Digest::to_hex));
        for row in connection.fetch_all(find).await? {
            let fingerprint: &str = row.try_get(0)?;
            let fingerprint = fingerprint
                .parse()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            found.entry(fingerprint).or_default().push(Before {
                stream: row.try_get(1)?,
                open: row.try_get::<&str>(2)? == "open",
                severity: row.try_get(3)?,
                fixable: row.try_get::<i64>(4)? != 0,
                name: row.try_get(5)?,
                first_seen: Timestamp::from_micros(row.try_get(6)?),
                voice: row.try_get(7)?,
                leads: row.try_get::<i64>(8)? != 0,
            });
        }
    }
    Ok(found)
}

/// How many open findings a service has of each of these names.
async fn open_names(
    connection: &mut Conn<'_>,
    streams: &[i64],
    names: &[(&str, i64)],
) -> sqlx::Result<HashMap<String, i64>> {
    let mut found = HashMap::new();
    for part in names.chunks(FIXED) {
        let count = sql(format!(
            "SELECT name, COUNT(*) FROM findings WHERE stream IN ({}) AND name IN ({}) AND voice = {} GROUP BY name",
            numbers(streams),
            places(1, part.len()),
            stock::OPEN
        ));
        let count = count.bind_all(part.iter().map(|(name, _)| *name));
        for row in connection.fetch_all(count).await? {
            found.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    Ok(found)
}

/// The other streams of a service that ever had a finding.
async fn others(
    connection: &mut Conn<'_>,
    service: &str,
    own: Option<i64>,
) -> sqlx::Result<Vec<i64>> {
    let find = sql("SELECT id FROM streams WHERE service = $1 AND changed_index >= 0 ORDER BY id");
    let rows = connection.fetch_all(find.bind(service)).await?;
    let all: sqlx::Result<Vec<i64>> = rows.iter().map(|row| row.try_get(0)).collect();
    Ok(all?.into_iter().filter(|id| Some(*id) != own).collect())
}

/// Gives rows of a stream another voice.
async fn speak(
    connection: &mut Conn<'_>,
    stream: i64,
    voice: i64,
    leads: bool,
    fingerprints: &[Digest],
) -> sqlx::Result<()> {
    for part in fingerprints.chunks(FIXED) {
        let update = sql(format!(
            "UPDATE findings SET voice = $2, leads = $3 WHERE stream = $1 AND fingerprint IN ({})",
            places(4, part.len())
        ));
        let update = update
            .bind(stream)
            .bind(voice)
            .bind(leads)
            .bind_all(part.iter().map(Digest::to_hex));
        connection.execute(update).await?;
    }
    Ok(())
}

fn numbers(of: &[i64]) -> String {
    let numbers: Vec<String> = of.iter().map(i64::to_string).collect();
    numbers.join(", ")
}

/// `$5, $6, …`
fn places(from: usize, count: usize) -> String {
    let places: Vec<String> = (from..from + count).map(|at| format!("${at}")).collect();
    places.join(", ")
}

async fn find_stream(
    connection: &mut Conn<'_>,
    item: &EvidenceItem,
    tool: &str,
) -> sqlx::Result<Option<Stream>> {
    let find = sql("SELECT id, last_observed, last_findings FROM streams
         WHERE service = $1 AND evidence_type = $2 AND tool = $3 AND scope = $4");
    let find = find
        .bind(&item.service)
        .bind(item.evidence_type.word())
        .bind(tool)
        .bind(&item.scope);
    let row = connection.fetch_optional(find).await?;
    row.map(|row| {
        Ok(Stream {
            id: row.try_get(0)?,
            last_observed: Timestamp::from_micros(row.try_get(1)?),
            last_findings: row.try_get(2)?,
        })
    })
    .transpose()
}

async fn insert_stream(
    connection: &mut Conn<'_>,
    index: i64,
    item: &EvidenceItem,
    tool: &str,
) -> sqlx::Result<i64> {
    // The index of its first scan names the stream: the same in every rebuild.
    let insert = sql(
        "INSERT INTO streams (id, service, evidence_type, tool, scope, last_index, last_observed, last_findings, changed_index, scans)
         VALUES ($1, $2, $3, $4, $5, $1, $6, '', -1, 0)",
    );
    let insert = insert
        .bind(index)
        .bind(&item.service)
        .bind(item.evidence_type.word())
        .bind(tool)
        .bind(&item.scope)
        .bind(item.observed_at.micros());
    connection.execute(insert).await?;
    Ok(index)
}

async fn touch(
    connection: &mut Conn<'_>,
    id: i64,
    index: i64,
    item: &EvidenceItem,
    digest: &str,
    changed: bool,
) -> sqlx::Result<()> {
    let update = sql(
        "UPDATE streams SET last_index = $2, last_observed = $3, last_findings = $4, scans = scans + 1,
           changed_index = COALESCE($5, changed_index) WHERE id = $1",
    );
    let update = update
        .bind(id)
        .bind(index)
        .bind(item.observed_at.micros())
        .bind(digest)
        .bind(changed.then_some(index));
    connection.execute(update).await?;
    Ok(())
}

async fn known(connection: &mut Conn<'_>, id: i64) -> sqlx::Result<HashMap<Digest, Known>> {
    let find = sql("SELECT fingerprint, content, state FROM findings WHERE stream = $1");
    let rows = connection.fetch_all(find.bind(id)).await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let fingerprint: &str = row.try_get(0)?;
        let state: &str = row.try_get(2)?;
        let fingerprint = fingerprint
            .parse()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        known.insert(
            fingerprint,
            Known {
                content: row.try_get(1)?,
                open: state == "open",
            },
        );
    }
    Ok(known)
}

async fn insert(
    connection: &mut Conn<'_>,
    stream: i64,
    index: i64,
    observed: Timestamp,
    new: &[&Seen],
    plan: &Plan,
) -> sqlx::Result<()> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(new.len() * COLUMNS);
    for seen in new {
        let (voice, leads) = plan.of(&seen.fingerprint, true);
        let row: [Value<'_>; COLUMNS] = [
            stream.into(),
            seen.fingerprint.to_hex().into(),
            observed.micros().into(),
            index.into(),
            seen.severity.into(),
            (&seen.category).into(),
            (&seen.rule).into(),
            (&seen.name).into(),
            (&seen.title).into(),
            (&seen.place).into(),
            seen.fixable.into(),
            seen.suppressed.into(),
            seen.content.into(),
            "open".into(),
            0.into(),
            voice.into(),
            leads.into(),
        ];
        values.extend(row);
    }
    let insert = sql(
        "INSERT INTO findings (stream, fingerprint, first_seen, first_index, severity, category, rule, name, title, place, fixable, suppressed, content, state, reopened, voice, leads) VALUES",
    );
    connection
        .insert_rows(insert.bind_all(values), "", COLUMNS)
        .await?;
    Ok(())
}

async fn update(
    connection: &mut Conn<'_>,
    stream: i64,
    seen: &Seen,
    reopened_at: Option<Timestamp>,
    plan: &Plan,
) -> sqlx::Result<()> {
    let update = sql(
        "UPDATE findings SET severity = $3, category = $4, rule = $5, name = $6, title = $7, place = $8, fixable = $9,
           suppressed = $10, content = $11, state = 'open', last_seen = NULL, fixed_at = NULL, fixed_index = NULL,
           reopened = reopened + $12, reopened_at = COALESCE($13, reopened_at), voice = $14, leads = $15
         WHERE stream = $1 AND fingerprint = $2",
    );
    let (voice, leads) = plan.of(&seen.fingerprint, true);
    let update = update
        .bind(stream)
        .bind(seen.fingerprint.to_hex())
        .bind(seen.severity)
        .bind(&seen.category)
        .bind(&seen.rule)
        .bind(&seen.name)
        .bind(&seen.title)
        .bind(&seen.place)
        .bind(seen.fixable)
        .bind(seen.suppressed)
        .bind(seen.content)
        .bind(reopened_at.is_some())
        .bind(reopened_at.map(Timestamp::micros))
        .bind(voice)
        .bind(leads);
    connection.execute(update).await?;
    Ok(())
}

async fn fix(
    connection: &mut Conn<'_>,
    stream: i64,
    (index, observed, last_seen): (i64, Timestamp, Timestamp),
    voice: i64,
    fixed: &[Digest],
) -> sqlx::Result<()> {
    for fingerprints in fixed.chunks(FIXED) {
        let text = format!(
            "UPDATE findings SET state = 'fixed', fixed_at = $2, fixed_index = $3, last_seen = $4, voice = $5
             WHERE stream = $1 AND fingerprint IN ({})",
            places(6, fingerprints.len())
        );
        let mut update = sql(text)
            .bind(stream)
            .bind(observed.micros())
            .bind(index)
            .bind(last_seen.micros())
            .bind(voice)
            .bind_all(fingerprints.iter().map(Digest::to_hex));
        if fingerprints.len() == FIXED {
            update = update.keep();
        }
        connection.execute(update).await?;
    }
    Ok(())
}

/// Ledger indexes stay far below 2^63; a larger one could only come from a damaged file.
pub(crate) fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
