//! Rows for the life of findings: only what a scan changed is written.

use std::collections::HashMap;

use writ_model::{Digest, EvidenceItem, Timestamp};

use super::lifecycle::{Changes, Known, Seen, changes, speaks};
use crate::db::{Conn, Value, sql};

/// Columns of one row of `findings` that are given on insertion.
const COLUMNS: usize = 15;

/// Fingerprints that one statement marks as fixed.
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
pub(crate) async fn apply_scan(
    connection: &mut Conn<'_>,
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
        touch(connection, stream.id, index, item, &digest).await?;
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
    let id = match &stream {
        Some(stream) => stream.id,
        None => insert_stream(connection, index, item, tool).await?,
    };
    let Changes {
        new,
        changed,
        reopened,
        fixed,
    } = changes(&known, &scan);
    insert(connection, id, index, item.observed_at, &new).await?;
    for seen in changed {
        update(connection, id, seen, None).await?;
    }
    for seen in reopened {
        update(connection, id, seen, Some(item.observed_at)).await?;
    }
    let last_seen = stream.map_or(item.observed_at, |stream| stream.last_observed);
    fix(connection, id, index, item.observed_at, last_seen, &fixed).await?;
    touch(connection, id, index, item, &digest).await?;
    Ok(None)
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
        "INSERT INTO streams (id, service, evidence_type, tool, scope, last_index, last_observed, last_findings, scans)
         VALUES ($1, $2, $3, $4, $5, $1, $6, '', 0)",
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
) -> sqlx::Result<()> {
    let update = sql(
        "UPDATE streams SET last_index = $2, last_observed = $3, last_findings = $4, scans = scans + 1 WHERE id = $1",
    );
    let update = update
        .bind(id)
        .bind(index)
        .bind(item.observed_at.micros())
        .bind(digest);
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
) -> sqlx::Result<()> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(new.len() * COLUMNS);
    for seen in new {
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
        ];
        values.extend(row);
    }
    let insert = sql(
        "INSERT INTO findings (stream, fingerprint, first_seen, first_index, severity, category, rule, name, title, place, fixable, suppressed, content, state, reopened) VALUES",
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
) -> sqlx::Result<()> {
    let update = sql(
        "UPDATE findings SET severity = $3, category = $4, rule = $5, name = $6, title = $7, place = $8, fixable = $9,
           suppressed = $10, content = $11, state = 'open', last_seen = NULL, fixed_at = NULL, fixed_index = NULL,
           reopened = reopened + $12, reopened_at = COALESCE($13, reopened_at)
         WHERE stream = $1 AND fingerprint = $2",
    );
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
        .bind(reopened_at.map(Timestamp::micros));
    connection.execute(update).await?;
    Ok(())
}

async fn fix(
    connection: &mut Conn<'_>,
    stream: i64,
    index: i64,
    observed: Timestamp,
    last_seen: Timestamp,
    fixed: &[Digest],
) -> sqlx::Result<()> {
    for fingerprints in fixed.chunks(FIXED) {
        let places: Vec<String> = (5..5 + fingerprints.len())
            .map(|place| format!("${place}"))
            .collect();
        let text = format!(
            "UPDATE findings SET state = 'fixed', fixed_at = $2, fixed_index = $3, last_seen = $4
             WHERE stream = $1 AND fingerprint IN ({})",
            places.join(", ")
        );
        let mut update = sql(text)
            .bind(stream)
            .bind(observed.micros())
            .bind(index)
            .bind(last_seen.micros())
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
