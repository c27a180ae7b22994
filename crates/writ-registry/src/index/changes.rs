//! Rows for changes: which commits belong to which change request.
//!
//! A commit that was only run is a change of its own, named by the commit. Once a review names the
//! change request, the commit belongs to that.

use super::project::{Event, Projected};
use super::streams::signed;
use crate::db::{Conn, sql};

const CODE_REVIEW: &str = "urn:writ:predicate:code-review:v1";

/// Longest name of a change that is followed, in bytes.
const MAX_NAME: usize = 300;

/// Notes the change that an entry is about.
pub(super) async fn apply_change(
    connection: &mut Conn<'_>,
    projected: &Projected,
) -> sqlx::Result<()> {
    let item = &projected.item;
    if item.dirty || item.service.is_empty() {
        return Ok(());
    }
    let index = signed(item.index);
    if item.predicate_type == CODE_REVIEW {
        let head = item
            .facts
            .get("range")
            .and_then(|range| range["head"].as_str());
        let named = item.facts.get("change").and_then(|change| change.as_str());
        if let Some(head) = head
            .or(item.subject.commit.as_deref())
            .filter(|head| fits(head))
        {
            let name = named.filter(|name| fits(name)).unwrap_or(head);
            return belong(connection, &item.service, head, name, index).await;
        }
    }
    if let (Event::Run { .. }, Some(commit)) = (&projected.event, &item.subject.commit) {
        return belong(connection, &item.service, commit, commit, index).await;
    }
    Ok(())
}

fn fits(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME
}

/// Puts a commit to a change. A commit that is known keeps the name of its change request; one that
/// had none takes the first that is given.
async fn belong(
    connection: &mut Conn<'_>,
    service: &str,
    commit: &str,
    name: &str,
    index: i64,
) -> sqlx::Result<()> {
    let find =
        sql("SELECT name, first_index FROM change_commits WHERE service = $1 AND commit_id = $2");
    let row = connection
        .fetch_optional(find.bind(service).bind(commit))
        .await?;
    let mut first = index;
    if let Some(row) = row {
        let known: &str = row.try_get(0)?;
        if known == name || known != commit {
            return Ok(());
        }
        first = row.try_get(1)?;
        let gone = sql("DELETE FROM changes WHERE service = $1 AND name = $2");
        connection.execute(gone.bind(service).bind(known)).await?;
        let named =
            sql("UPDATE change_commits SET name = $3 WHERE service = $1 AND commit_id = $2");
        let named = named.bind(service).bind(commit).bind(name);
        connection.execute(named).await?;
    } else {
        let insert = sql(
            "INSERT INTO change_commits (service, commit_id, name, first_index) VALUES ($1, $2, $3, $4)",
        );
        let insert = insert.bind(service).bind(commit).bind(name).bind(index);
        connection.execute(insert).await?;
    }
    let insert = sql(
        "INSERT INTO changes (service, name, first_index) VALUES ($1, $2, $3)
         ON CONFLICT (service, name) DO UPDATE SET first_index =
           CASE WHEN changes.first_index < excluded.first_index THEN changes.first_index ELSE excluded.first_index END",
    );
    connection
        .execute(insert.bind(service).bind(name).bind(first))
        .await?;
    Ok(())
}
