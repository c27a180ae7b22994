//! A change with what is known of it: its review, its newest run, and the gate's newest answer for
//! each environment.

use schemars::JsonSchema;
use serde::Serialize;
use writ_evidence::Predicate as _;
use writ_evidence::predicate::{CodeReview, Review, Run};
use writ_model::{Answer, EvidenceItem, PrincipalId, Subject, Timestamp};
use writ_registry::{ChangeRow, DecisionStates, EventQuery, Query};

use super::{fact, newest, typed};
use crate::http::{Ask, Problem};

/// Decisions that are read for one change.
const DECISIONS: usize = 50;

/// A change.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Service, name and commits.
    #[serde(flatten)]
    pub row: ChangeRow,
    /// Title of the change request.
    pub title: Option<String>,
    /// Tickets that it names.
    pub tickets: Vec<String>,
    /// Everybody who wrote part of it.
    pub authors: Vec<PrincipalId>,
    /// Reviews, oldest first.
    pub reviews: Vec<Review>,
    /// Commits of the change request.
    pub commit_count: Option<u64>,
    /// When the ledger first heard of it.
    pub first_recorded_at: Option<Timestamp>,
    /// The review as evidence.
    pub review: Option<EvidenceItem>,
    /// The newest run as evidence.
    pub run: Option<EvidenceItem>,
    /// The newest decision for each environment.
    pub decisions: Vec<DecisionStates>,
    /// All decisions about its commits, the newest first.
    #[serde(skip)]
    pub history: Vec<DecisionStates>,
}

impl Change {
    /// With everything that is known below the request's ledger size.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn of(ask: &Ask, row: ChangeRow) -> Result<Self, Problem> {
        let store = &ask.app.store;
        let (mut review, mut run) = (None, None);
        let mut history: Vec<DecisionStates> = Vec::new();
        for commit in row.commits.iter().rev() {
            let about = |predicate: &str| Query {
                service: Some(row.service.clone()),
                predicate_type: Some(predicate.to_owned()),
                subject: Subject {
                    commit: Some(commit.clone()),
                    ..Subject::default()
                },
                as_of: Some(ask.size),
                ..Query::default()
            };
            if review.is_none() {
                review = newest(store, about(CodeReview::URI)).await?;
            }
            if run.is_none() {
                run = newest(store, about(Run::URI)).await?;
            }
            let query = EventQuery {
                service: Some(row.service.clone()),
                commit: Some(commit.clone()),
                below: Some(ask.size),
                limit: DECISIONS,
                ..EventQuery::default()
            };
            history.extend(store.decisions_listed(&query).await?.items);
        }
        history.sort_by_key(|row| std::cmp::Reverse(row.decision.index));
        let mut decisions: Vec<DecisionStates> = Vec::new();
        for decision in &history {
            let environment = &decision.decision.environment;
            if !decisions
                .iter()
                .any(|known| known.decision.environment == *environment)
            {
                decisions.push(decision.clone());
            }
        }
        decisions.sort_by(|a, b| a.decision.environment.cmp(&b.decision.environment));
        let of_review = |name| {
            review
                .as_ref()
                .and_then(|item: &EvidenceItem| item.facts.get(name))
        };
        let authors = review
            .as_ref()
            .and_then(|item| typed(item, "authors"))
            .or_else(|| run.as_ref().and_then(|item| typed(item, "authors")))
            .unwrap_or_default();
        Ok(Self {
            title: review
                .as_ref()
                .and_then(|item| fact(item, "title"))
                .map(str::to_owned),
            tickets: review
                .as_ref()
                .and_then(|item| typed(item, "tickets"))
                .unwrap_or_default(),
            reviews: review
                .as_ref()
                .and_then(|item| typed(item, "reviews"))
                .unwrap_or_default(),
            commit_count: of_review("range").and_then(|range| range["count"].as_u64()),
            first_recorded_at: store.recorded_before(row.index + 1).await?,
            authors,
            review,
            run,
            decisions,
            history,
            row,
        })
    }

    /// The answer that stands for the change: the last environment's that was asked for, unless one
    /// of them blocks.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let answers = || self.decisions.iter().map(|row| row.decision.answer);
        [Answer::No, Answer::CannotTell, Answer::NotYet]
            .into_iter()
            .find(|answer| answers().any(|known| known == *answer))
            .or_else(|| answers().next())
    }

    /// Everybody who is named.
    #[must_use]
    pub fn people(&self) -> Vec<PrincipalId> {
        self.authors
            .iter()
            .chain(self.reviews.iter().map(|review| &review.reviewer))
            .cloned()
            .collect()
    }

    /// What the change is called: `!487` or the first digits of its commit.
    #[must_use]
    pub fn name(&self) -> &str {
        let commit = self.row.commits.contains(&self.row.name);
        if commit {
            crate::parts::ident::commit_short(&self.row.name)
        } else {
            &self.row.name
        }
    }

    /// Its newest commit.
    #[must_use]
    pub fn head(&self) -> &str {
        self.row
            .commits
            .last()
            .map_or(self.row.name.as_str(), String::as_str)
    }
}
