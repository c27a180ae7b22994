//! How SQLite answers what pages ask: by indexes, in their order, without sorting or reading all.

use std::cell::RefCell;

use writ_model::{Digest, EvidenceType, Severity, Subject, Timestamp};

use super::Index;
use super::query::Query;
use super::releases::ReleasesFilter;
use super::tracked::{FindingsFilter, Standing};
use super::views::EventQuery;
use super::words::Search;
use crate::db::sql;
use crate::error::Result;

thread_local! {
    static ASKED: RefCell<Vec<(String, Vec<String>)>> = const { RefCell::new(Vec::new()) };
}

/// Remembers a question.
pub(super) fn note(text: &str, values: &[String]) {
    ASKED.with_borrow_mut(|asked| asked.push((text.to_owned(), values.to_vec())));
}

/// An empty index as it is in use.
async fn index() -> Index {
    let index = Index::in_memory("test").await.unwrap();
    index.finish().await.unwrap();
    index
}

/// The plans of all questions that a call asks.
async fn plans<T>(index: &Index, call: impl Future<Output = Result<T>>) -> Vec<String> {
    ASKED.take();
    call.await.unwrap();
    let mut plans = Vec::new();
    for (text, values) in ASKED.take() {
        let explain = sql(format!("EXPLAIN QUERY PLAN {text}")).bind_all(values);
        let rows = index.ask(explain).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.try_get(3).unwrap()).collect();
        plans.push(format!("{text}\n{}", lines.join("\n")));
    }
    assert!(!plans.is_empty());
    plans
}

/// What of a plan reads tables without a bound: what is counted, and each part of a list, was cut to a size
/// before; streams are few, and each is asked by an index.
fn reads(plan: &str) -> String {
    let bounded = ["SCAN counted", "SCAN streams", "SCAN part_"];
    plan.lines()
        .filter(|line| !bounded.iter().any(|bounded| line.starts_with(bounded)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every question of the call goes down an index, and none sorts.
async fn by_index<T>(index: &Index, call: impl Future<Output = Result<T>>) {
    for plan in plans(index, call).await {
        let read = reads(&plan);
        assert!(read.contains("SEARCH "), "{plan}");
        assert!(!read.contains("SCAN "), "{plan}");
        assert!(!read.contains("TEMP B-TREE"), "{plan}");
    }
}

/// The call reads in the order of the page and stops at its end: nothing is sorted.
async fn in_order<T>(index: &Index, call: impl Future<Output = Result<T>>) {
    for plan in plans(index, call).await {
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}

#[tokio::test]
async fn pages_of_evidence() {
    let index = index().await;
    let digest = Digest::of(b"");
    let about = |subject: Subject| Query {
        subject,
        ..Query::default()
    };
    let questions = [
        Query {
            service: Some("payments".to_owned()),
            ..Query::default()
        },
        Query {
            predicate_type: Some("urn:x".to_owned()),
            ..Query::default()
        },
        about(Subject {
            commit: Some("c".to_owned()),
            ..Subject::default()
        }),
        about(Subject {
            tree: Some("t".to_owned()),
            ..Subject::default()
        }),
        about(Subject {
            artifact: Some(digest),
            ..Subject::default()
        }),
        about(Subject {
            environment: Some("production".to_owned()),
            ..Subject::default()
        }),
        Query {
            types: vec![EvidenceType::Sast],
            ..Query::default()
        },
    ];
    for question in questions {
        for cursor in [None, Some(40)] {
            let page = Query {
                cursor,
                limit: 50,
                ..question.clone()
            };
            by_index(&index, index.evidence(&page)).await;
        }
    }
    in_order(&index, index.evidence(&Query::default())).await;
}

/// The index that has fewest entries is taken, whatever else is asked.
#[tokio::test]
async fn evidence_is_found_by_what_few_entries_have() {
    let index = index().await;
    let of_service = Query {
        service: Some("payments".to_owned()),
        predicate_type: Some("urn:writ:predicate:scan:v1".to_owned()),
        types: vec![EvidenceType::Sast],
        subject: Subject {
            environment: Some("production".to_owned()),
            ..Subject::default()
        },
        as_of: Some(40),
        limit: 1,
        ..Query::default()
    };
    let with = |change: fn(&mut Subject)| {
        let mut query = of_service.clone();
        change(&mut query.subject);
        query
    };
    for (query, expected) in [
        (of_service.clone(), "evidence_service"),
        (
            with(|one| one.commit = Some("a1".to_owned())),
            "evidence_commit",
        ),
        (
            with(|one| one.tree = Some("b2".to_owned())),
            "evidence_tree",
        ),
        (
            with(|one| one.artifact = Some(Digest::of(b"c"))),
            "evidence_artifact",
        ),
    ] {
        for plan in plans(&index, index.evidence(&query)).await {
            assert!(
                plan.contains(&format!("USING INDEX {expected} ")) && !plan.contains("TEMP B-TREE"),
                "{plan}"
            );
        }
    }
}

#[tokio::test]
async fn pages_of_releases() {
    let index = index().await;
    for after in [None, Some(40)] {
        let all = ReleasesFilter {
            after,
            limit: 50,
            ..ReleasesFilter::default()
        };
        in_order(&index, index.releases_listed(&all)).await;
        let of_service = ReleasesFilter {
            service: Some("payments".to_owned()),
            ..all.clone()
        };
        by_index(&index, index.releases_listed(&of_service)).await;
        let into = ReleasesFilter {
            environment: Some("production".to_owned()),
            ..all.clone()
        };
        by_index(&index, index.releases_listed(&into)).await;
    }
    by_index(&index, index.release(7)).await;
    by_index(
        &index,
        index.release_of("payments", "production", "4f2a9c1e"),
    )
    .await;
}

#[tokio::test]
async fn pages_of_events() {
    let index = index().await;
    let digest = Digest::of(b"");
    for after in [None, Some(40)] {
        let all = EventQuery {
            after,
            limit: 50,
            ..EventQuery::default()
        };
        let of_service = EventQuery {
            service: Some("payments".to_owned()),
            ..all.clone()
        };
        by_index(&index, index.runs_listed(&of_service)).await;
        by_index(&index, index.decisions_listed(&of_service)).await;
        by_index(&index, index.approvals_listed(&of_service)).await;
        by_index(&index, index.changes_listed(&of_service)).await;
        let released = EventQuery {
            environment: Some("production".to_owned()),
            ..of_service.clone()
        };
        by_index(&index, index.writs_listed(&released)).await;
        by_index(&index, index.decisions_listed(&released)).await;
        let of_commit = EventQuery {
            commit: Some("c".to_owned()),
            ..all.clone()
        };
        by_index(&index, index.runs_listed(&of_commit)).await;
        by_index(&index, index.decisions_listed(&of_commit)).await;
        let of_artifact = EventQuery {
            artifact: Some(digest),
            ..all.clone()
        };
        by_index(&index, index.decisions_listed(&of_artifact)).await;
        for question in [&all, &of_service] {
            in_order(&index, index.writs_listed(question)).await;
        }
        in_order(&index, index.runs_listed(&all)).await;
        in_order(&index, index.decisions_listed(&all)).await;
        in_order(&index, index.approvals_listed(&all)).await;
        in_order(&index, index.changes_listed(&all)).await;
    }
}

#[tokio::test]
async fn pages_of_findings() {
    let index = index().await;
    let open = FindingsFilter {
        standing: Standing::Open,
        limit: 50,
        ..FindingsFilter::default()
    };
    by_index(&index, index.findings_listed(&open)).await;
    let critical = FindingsFilter {
        severities: vec![Severity::Critical],
        fixable: Some(true),
        seen_from: Some(Timestamp::from_micros(5)),
        ..open.clone()
    };
    by_index(&index, index.findings_listed(&critical)).await;
    let fixed = FindingsFilter {
        standing: Standing::All,
        ..open.clone()
    };
    by_index(&index, index.findings_listed(&fixed)).await;
    let of_service = FindingsFilter {
        service: Some("payments".to_owned()),
        ..open.clone()
    };
    for filter in [&open, &critical, &of_service] {
        by_index(&index, index.finding_ages(filter, &[])).await;
    }
    by_index(&index, index.findings_listed(&of_service)).await;
    in_order(&index, index.finding_groups(&open)).await;
    // Few have a name or fingerprint: those may be sorted, but nothing else is read.
    for filter in [
        FindingsFilter {
            name: Some("CVE-2026-1".to_owned()),
            ..open.clone()
        },
        FindingsFilter {
            fingerprint: Some("abcdef01".to_owned()),
            ..open.clone()
        },
    ] {
        for plan in plans(&index, index.findings_listed(&filter)).await {
            assert!(!reads(&plan).contains("SCAN "), "{plan}");
            let by = [
                "findings_name (stream=? AND name=?",
                "(stream=? AND fingerprint>?",
            ];
            assert!(by.iter().any(|by| plan.contains(by)), "{plan}");
        }
    }
}

#[tokio::test]
async fn findings_in_the_past() {
    let index = index().await;
    // A stream that changed later, and another of the same service.
    for id in [3, 9] {
        let insert = format!(
            "INSERT INTO streams (id, service, evidence_type, tool, scope, last_index, last_observed, last_findings, changed_index, scans)
             VALUES ({id}, 'payments', 'sast', 'a', '{id}', {id}, 0, '', {id}, 1)"
        );
        index.db().execute(sql(insert)).await.unwrap();
    }
    let then = FindingsFilter {
        below: Some(5),
        limit: 50,
        ..FindingsFilter::default()
    };
    let of_service = FindingsFilter {
        service: Some("payments".to_owned()),
        ..then.clone()
    };
    for filter in [&then, &of_service] {
        by_index(&index, index.findings_listed(filter)).await;
        by_index(&index, index.finding_ages(filter, &[])).await;
    }
}

#[tokio::test]
async fn pages_of_a_search() {
    let index = index().await;
    for below in [None, Some(40)] {
        let search = Search {
            words: "payments triv*".to_owned(),
            service: Some("payments".to_owned()),
            types: vec![EvidenceType::Sast, EvidenceType::Dast],
            below,
            limit: 10,
            ..Search::default()
        };
        for plan in plans(&index, index.search(&search)).await {
            assert!(plan.contains("SCAN words VIRTUAL TABLE INDEX"), "{plan}");
            assert!(
                plan.contains("SEARCH evidence USING INTEGER PRIMARY KEY"),
                "{plan}"
            );
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
