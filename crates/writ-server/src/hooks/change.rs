//! Changes as `code-review` statements.
//!
//! The gate reads the latest statement of a source about a commit, so each statement holds all that is known
//! of its head. It is made by joining what was recorded before with what is new. The join does not depend on
//! the order in which deliveries come, and joining the same twice changes nothing: a lost, late or repeated
//! delivery does no harm, and two servers that record at once repair each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use writ_evidence::predicate::{CodeReview, CommitRange, Review, ReviewVerdict};
use writ_evidence::statement::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{
    EvidenceId, EvidenceItem, EvidenceType, Origin, PrincipalId, ProducerClass, Span, Subject,
    Timestamp,
};
use writ_registry::{NewRecord, Query};

use super::event::{Account, Change};
use crate::http::Problem;
use crate::state::App;

/// Statements about one commit that are joined.
const JOINED: usize = 1_000;
/// Reviews that a statement holds, the newest of a head.
const MAX_REVIEWS: usize = 500;
/// Authors that a statement holds.
const MAX_AUTHORS: usize = 2_000;
/// Attempts to be the last word about a commit while others record too.
const ATTEMPTS: usize = 5;

/// Two approvals of one person so near to each other are one.
const NEAR: Span = Span::from_secs(120);

/// Who said what when.
type Said = (Timestamp, PrincipalId, String);

/// All that is known of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    repository: String,
    name: Option<String>,
    range: CommitRange,
    tickets: BTreeSet<String>,
    authors: BTreeSet<PrincipalId>,
    reviewed_tree: Option<String>,
    merged_tree: Option<String>,
    merge_commit: Option<String>,
    merged_by: Option<PrincipalId>,
    reviews: BTreeMap<Said, ReviewVerdict>,
    observed_at: Timestamp,
}

/// At one instant the stricter word wins: what was taken back stays taken back.
const fn weight(verdict: ReviewVerdict) -> u8 {
    match verdict {
        ReviewVerdict::Commented => 0,
        ReviewVerdict::Approved => 1,
        ReviewVerdict::ChangesRequested => 2,
        ReviewVerdict::Dismissed => 3,
    }
}

impl Known {
    fn of(change: &Change, who: &Who<'_>, now: Timestamp) -> Result<Self, Problem> {
        let past = |at: Timestamp| at.min(now);
        let mut reviews = BTreeMap::new();
        for review in &change.reviews {
            let said = (
                past(review.at),
                who.principal(&review.reviewer)?,
                change.head.clone(),
            );
            reviews.insert(said, review.verdict);
        }
        let authors = change.authors.iter().map(|author| who.principal(author));
        let merge = change.merge.as_ref();
        Ok(Self {
            repository: change.repository.clone(),
            name: change.name.clone(),
            range: CommitRange {
                base: change.base.clone(),
                head: change.head.clone(),
                // The head itself, where no number is told.
                count: change.count.max(1),
            },
            tickets: change.tickets.iter().cloned().collect(),
            authors: authors.collect::<Result<_, _>>()?,
            reviewed_tree: change.tree.clone(),
            merged_tree: merge.and_then(|merge| merge.tree.clone()),
            merge_commit: merge.map(|merge| merge.commit.clone()),
            merged_by: merge
                .and_then(|merge| merge.by.as_ref())
                .map(|by| who.principal(by))
                .transpose()?,
            reviews,
            observed_at: past(change.at),
        })
    }

    /// What a recorded statement says; nothing when another producer made it.
    fn recorded(item: &EvidenceItem, source: &str) -> Option<Self> {
        let own = item.producer_class == ProducerClass::Server && item.origin == Origin::Observed;
        if !own || item.facts.get("source").and_then(Value::as_str) != Some(source) {
            return None;
        }
        let mut fields: serde_json::Map<String, Value> = item.facts.clone().into_iter().collect();
        for (name, value) in [
            ("service", serde_json::to_value(&item.service).ok()?),
            ("observedAt", serde_json::to_value(item.observed_at).ok()?),
            ("origin", serde_json::to_value(item.origin).ok()?),
            (
                "producerClass",
                serde_json::to_value(item.producer_class).ok()?,
            ),
        ] {
            fields.insert(name.to_owned(), value);
        }
        let said: CodeReview = serde_json::from_value(Value::Object(fields)).ok()?;
        Some(Self {
            repository: said.repository,
            name: said.change,
            range: said.range,
            tickets: said.tickets.into_iter().collect(),
            authors: said.authors.into_iter().collect(),
            reviewed_tree: said.reviewed_tree,
            merged_tree: said.merged_tree,
            merge_commit: said.merge_commit,
            merged_by: said.merged_by,
            reviews: said
                .reviews
                .into_iter()
                .map(|review| ((review.at, review.reviewer, review.commit), review.verdict))
                .collect(),
            observed_at: said.observed_at,
        })
    }

    /// Joins two states: the same whichever comes first.
    fn join(self, other: Self) -> Self {
        // What a change request says of its range counts before what a push says, and one that was merged
        // before one that was not.
        let rank = |known: &Self| {
            (
                known.name.is_some(),
                known.merge_commit.is_some(),
                known.range.count,
                known.range.base.clone(),
                std::cmp::Reverse(known.name.clone()),
            )
        };
        let (mut first, second) = if rank(&self) >= rank(&other) {
            (self, other)
        } else {
            (other, self)
        };
        if first.range.head == second.range.head {
            first.range.base = first.range.base.or(second.range.base);
            first.range.count = first.range.count.max(second.range.count);
            first.reviewed_tree = first.reviewed_tree.or(second.reviewed_tree);
        } else if first.merge_commit.as_deref() == Some(second.range.head.as_str()) {
            // What the push of the merge commit tells of its own head.
            first.merged_tree = first.merged_tree.or(second.reviewed_tree);
        }
        first.tickets.extend(second.tickets);
        first.authors.extend(second.authors);
        first.merged_tree = first.merged_tree.or(second.merged_tree);
        first.merge_commit = first.merge_commit.or(second.merge_commit);
        first.merged_by = first.merged_by.or(second.merged_by);
        for (said, verdict) in second.reviews {
            let held = first.reviews.entry(said).or_insert(verdict);
            if weight(verdict) > weight(*held) {
                *held = verdict;
            }
        }
        first.observed_at = first.observed_at.max(second.observed_at);
        first
    }

    /// Whether somebody said this already: a reviewer who asks for changes does so in every delivery until
    /// another word, and an approval has one time in a delivery and another, a little later or earlier, where it
    /// is asked for.
    fn says_already(&self, said: &Said, verdict: ReviewVerdict) -> bool {
        let (at, who, _) = said;
        let own = || {
            self.reviews
                .iter()
                .filter(|((_, person, _), _)| person == who)
        };
        let last = |until: Timestamp| {
            let mut before = own().filter(|((time, _, _), _)| *time <= until);
            before
                .next_back()
                .map(|((time, _, _), last)| (*time, *last))
        };
        match verdict {
            ReviewVerdict::ChangesRequested => last(*at).is_some_and(|(_, last)| last == verdict),
            ReviewVerdict::Approved => last(at.plus(NEAR)).is_some_and(|(time, last)| {
                last == verdict && time != *at && at.since(time) <= NEAR
            }),
            _ => false,
        }
    }

    fn statement(self, service: &str, source: &str) -> CodeReview {
        let skipped = self.reviews.len().saturating_sub(MAX_REVIEWS);
        CodeReview {
            service: service.to_owned(),
            repository: self.repository,
            change: self.name,
            title: None,
            tickets: self.tickets.into_iter().collect(),
            range: self.range,
            reviewed_tree: self.reviewed_tree,
            merged_tree: self.merged_tree,
            merge_commit: self.merge_commit,
            authors: self.authors.into_iter().take(MAX_AUTHORS).collect(),
            merged_by: self.merged_by,
            reviews: self
                .reviews
                .into_iter()
                .skip(skipped)
                .map(|((at, reviewer, commit), verdict)| Review {
                    reviewer,
                    verdict,
                    commit,
                    at,
                })
                .collect(),
            source: source.to_owned(),
            observed_at: self.observed_at,
            origin: Origin::Observed,
            producer_class: ProducerClass::Server,
        }
    }
}

/// Who accounts are.
pub struct Who<'a> {
    /// The state.
    pub app: &'a App,
    /// The word of the system whose accounts they are.
    pub system: &'a str,
}

impl Who<'_> {
    /// The pseudonym of an account.
    ///
    /// # Errors
    /// The key of accounts cannot be read.
    pub fn principal(&self, account: &Account) -> Result<PrincipalId, Problem> {
        let (system, name) = match account {
            Account::Login(name) => (self.system, name),
            Account::Mail(mail) => ("mail", mail),
        };
        Ok(self.app.store.outside_principal(system, name)?)
    }
}

/// Records what a change says that is not recorded yet; gives the new statements.
///
/// # Errors
/// The store cannot be read or written.
pub async fn record(app: &App, source: &str, change: &Change) -> Result<Vec<EvidenceId>, Problem> {
    let who = Who {
        app,
        system: source,
    };
    let new = Known::of(change, &who, app.store.now())?;
    let mut made = Vec::new();
    for service in &change.services {
        let head = known(app, service, source, &change.head).await?;
        let head = settle(
            app,
            service,
            source,
            &change.head,
            head,
            new.clone(),
            &mut made,
        )
        .await?;
        // What was merged is released: the same is said of the commit on the branch.
        if let Some(merge) = head.merge_commit.clone()
            && merge != change.head
        {
            let merged = known(app, service, source, &merge).await?;
            settle(app, service, source, &merge, merged, head, &mut made).await?;
        }
    }
    Ok(made)
}

/// What is recorded about a commit: all of it joined, and the latest statement.
async fn known(
    app: &App,
    service: &str,
    source: &str,
    commit: &str,
) -> Result<Option<(Known, Known)>, Problem> {
    let query = Query {
        service: Some(service.to_owned()),
        types: vec![EvidenceType::CodeReview],
        predicate_type: Some(CodeReview::URI.to_owned()),
        subject: Subject {
            commit: Some(commit.to_owned()),
            ..Subject::default()
        },
        limit: JOINED,
        ..Query::default()
    };
    let page = app.store.evidence(&query).await?;
    let mut states = page
        .items
        .iter()
        .filter_map(|item| Known::recorded(item, source));
    let Some(latest) = states.next() else {
        return Ok(None);
    };
    let joined = states.fold(latest.clone(), Known::join);
    Ok(Some((joined, latest)))
}

/// Makes the latest statement about a commit say everything that is known of it.
async fn settle(
    app: &App,
    service: &str,
    source: &str,
    commit: &str,
    mut recorded: Option<(Known, Known)>,
    mut new: Known,
    made: &mut Vec<EvidenceId>,
) -> Result<Known, Problem> {
    if let Some((joined, _)) = &recorded {
        new.reviews
            .retain(|said, verdict| !joined.says_already(said, *verdict));
    }
    for _ in 0..ATTEMPTS {
        let (mut wanted, latest) = match recorded.take() {
            Some((joined, latest)) => (joined.join(new.clone()), Some(latest)),
            None => (new.clone(), None),
        };
        if latest.as_ref() == Some(&wanted) {
            return Ok(wanted);
        }
        // An older entry with these very words would be found instead of a new one made.
        if latest.is_some_and(|latest| latest.observed_at >= wanted.observed_at) {
            wanted.observed_at = wanted
                .observed_at
                .plus(Span::from_micros(1))
                .min(app.store.now());
        }
        new = wanted.clone();
        let subject = about(service, commit, &wanted);
        let payload = Statement::new(vec![subject], wanted.statement(service, source))
            .to_payload()
            .map_err(|error| super::unfit(&error))?;
        let recorded_now = app.intake.record(vec![NewRecord::payload(payload)]).await?;
        made.extend(
            recorded_now
                .iter()
                .filter(|one| !one.already_there)
                .map(|one| one.id),
        );
        recorded = known(app, service, source, commit).await?;
    }
    Ok(new)
}

fn about(service: &str, commit: &str, known: &Known) -> ResourceDescriptor {
    let subject = ResourceDescriptor::git_commit(service, commit.to_owned());
    let tree = if known.range.head == commit {
        known.reviewed_tree.clone()
    } else {
        known.merged_tree.clone()
    };
    match tree {
        Some(tree) => subject.and_digest("gitTree", tree),
        None => subject,
    }
}
