//! `/api/v1/findings`: what is open, how old it is, and what was fixed.

use axum::http::HeaderMap;
use axum::response::Response;
use writ_model::Severity;
use writ_registry::{FindingsFilter, MAX_ROWS, Standing};

use super::{Part, USUAL_ROWS, json};
use crate::http::{Ask, Problem, Query, cursor};

crate::list_query! {
    /// Which findings.
    FindingsQuery {
        /// Where they stand; open where it is left out.
        state: Option<Standing>,
        /// Service.
        service: Option<String>,
        /// Severities; repeat the parameter for several.
        severity: Vec<Severity>,
        /// Category: `vulnerability`, `secret`, `code`, …
        category: Option<String>,
        /// Evidence type of the scans: `dependency-scan`, …
        r#type: Option<String>,
        /// Tool.
        tool: Option<String>,
        /// Public name, exactly: `CVE-2026-31817`.
        name: Option<String>,
        /// Beginning of the fingerprint, hexadecimal.
        fingerprint: Option<String>,
        /// Part of the name, the rule, the title or the place.
        q: Option<String>,
        /// Whether a version with the fix is known.
        fixable: Option<bool>,
        /// First seen at or after this instant.
        seen_from: Option<writ_model::Timestamp>,
        /// First seen before this instant.
        seen_before: Option<writ_model::Timestamp>,
    }
}

impl FindingsQuery {
    /// For the registry.
    ///
    /// # Errors
    /// `after` does not come from here.
    pub fn filter(&self, ask: &Ask, rows: usize) -> Result<FindingsFilter, Problem> {
        Ok(FindingsFilter {
            standing: self.state.unwrap_or_default(),
            service: self.service.clone(),
            severities: self.severity.clone(),
            category: self.category.clone(),
            evidence_type: self.r#type.clone(),
            tool: self.tool.clone(),
            name: self.name.clone(),
            fingerprint: self.fingerprint.clone(),
            text: self.q.clone(),
            fixable: self.fixable,
            seen_from: self.seen_from,
            seen_before: self.seen_before,
            below: Some(ask.size),
            newest: ask.at.is_none(),
            after: cursor::read(self.after.as_deref())?,
            limit: rows,
            ..FindingsFilter::default()
        })
    }
}

/// A part of the list, the most severe and oldest first.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn list(
    ask: Ask,
    headers: HeaderMap,
    Query(query): Query<FindingsQuery>,
) -> Result<Response, Problem> {
    let filter = query.filter(&ask, query.rows(USUAL_ROWS, MAX_ROWS))?;
    let listed = ask.app.store.findings_listed(&filter).await?;
    Ok(json(&ask, &headers, &Part::of(&ask, listed).await?))
}
