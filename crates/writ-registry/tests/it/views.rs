//! Lists as pages ask for them: in parts, with totals, and as of a ledger size.

use serde_json::{Value, json};
use writ_ledger::tile::TilePath;
use writ_model::{Digest, EvidenceType, Severity, State, StateCounts, Subject, Timestamp};
use writ_registry::{
    Compared, EventQuery, FindingsFilter, NewRecord, RegistryError, Search, Standing, Store, cursor,
};

use crate::common::{Place, START, each_database, finding, scan_with, statement_about};

fn commit(number: u64) -> String {
    format!("{number:040x}")
}

fn run(service: &str, commit: &str, at: i64) -> NewRecord {
    let at = Timestamp::from_micros(at);
    NewRecord::payload(statement_about(
        commit,
        "urn:writ:predicate:run:v1",
        json!({
            "runId": format!("{service}-{commit}-{at}"), "service": service, "inventory": {},
            "startedAt": at, "finishedAt": at, "observedAt": at,
            "origin": "observed", "producerClass": "ci",
        }),
    ))
}

fn review(service: &str, change: &str, head: &str, at: i64) -> NewRecord {
    NewRecord::payload(statement_about(
        head,
        "urn:writ:predicate:code-review:v1",
        json!({
            "service": service, "repository": "https://git.example/r", "change": change,
            "range": {"head": head, "count": 1}, "source": "gitlab",
            "observedAt": Timestamp::from_micros(at), "origin": "observed", "producerClass": "ci",
        }),
    ))
}

fn decision(service: &str, environment: &str, commit: &str, states: &[(&str, &str)]) -> NewRecord {
    let check = |(control, state): &(&str, &str)| {
        json!({
            "control": control, "version": 1, "code": control, "state": state, "title": "", "found": [],
            "required": "", "why": "", "owner": "", "fix": [], "evidence": [], "maps": [],
        })
    };
    let checks: Vec<Value> = states.iter().map(check).collect();
    let counts = StateCounts::of(states.iter().map(|(_, word)| {
        State::ALL
            .into_iter()
            .find(|state| state.word() == *word)
            .unwrap()
    }));
    let digest = Digest::of(b"nothing");
    NewRecord::payload(statement_about(
        commit,
        "urn:writ:predicate:decision:v1",
        json!({
            "service": service, "environment": environment, "subject": {"commit": commit}, "profile": "startup",
            "bundle": {"name": "b", "version": "1", "digest": digest},
            "asOf": Timestamp::from_micros(START), "answer": counts.answer(), "counts": counts,
            "checks": checks,
            "later": [check(&("ENV-01", "missing"))],
            "ledger": {"size": 0, "root": digest}, "inputs": digest, "engine": "test",
        }),
    ))
    .with(writ_registry::Blob::bytes(b"nothing".to_vec(), "application/json"))
}

async fn record(store: &Store, record: NewRecord) -> u64 {
    store.record(record).await.unwrap().index
}

/// All of these, one after the other.
pub async fn all(make: &impl AsyncFn() -> Place) {
    parts_of_a_list_join_without_gap_or_overlap(make().await).await;
    an_instant_gives_the_ledger_size_of_that_time(make().await).await;
    commits_belong_to_the_change_that_a_review_names(make().await).await;
    the_newest_decision_of_each_place_carries_its_states(make().await).await;
    findings_are_counted_once_per_service_and_as_of_a_size(make().await).await;
    the_text_of_a_search_is_text(make().await).await;
    evidence_is_found_by_its_words(make().await).await;
}

each_database!(parts_of_a_list_join_without_gap_or_overlap);

async fn parts_of_a_list_join_without_gap_or_overlap(place: Place) {
    let store = place.create().await;
    for number in 0..7 {
        record(&store, run("a", &commit(number), START)).await;
        record(&store, run("b", &commit(100 + number), START)).await;
    }
    let mut query = EventQuery {
        service: Some("a".to_owned()),
        limit: 3,
        ..EventQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let part = store.runs_listed(&query).await.unwrap();
        assert_eq!((part.total.count, part.total.more), (7, false));
        seen.extend(part.items.iter().map(|run| run.index));
        match part.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
        // What is recorded meanwhile does not disturb the parts that follow.
        query.below.get_or_insert(seen[0] + 1);
        record(&store, run("a", &commit(1_000 + seen.len() as u64), START)).await;
    }
    assert_eq!(seen, [12, 10, 8, 6, 4, 2, 0]);
}

each_database!(an_instant_gives_the_ledger_size_of_that_time);

async fn an_instant_gives_the_ledger_size_of_that_time(place: Place) {
    let store = place.create().await;
    let at = |seconds: i64| Timestamp::from_micros(START + seconds * 1_000_000);
    assert_eq!(store.size_at(at(0)).await.unwrap(), 0);
    for number in 0..5 {
        record(&store, run("a", &commit(number), START)).await;
        place.clock.advance(10);
    }
    for (seconds, size) in [(-1, 0), (0, 1), (9, 1), (10, 2), (39, 4), (40, 5), (900, 5)] {
        assert_eq!(store.size_at(at(seconds)).await.unwrap(), size, "{seconds}");
    }
    assert_eq!(store.recorded_before(2).await.unwrap(), Some(at(10)));
    assert_eq!(store.recorded_before(0).await.unwrap(), None);
    assert_eq!(store.indexed().await.unwrap(), 5);
}

each_database!(commits_belong_to_the_change_that_a_review_names);

async fn commits_belong_to_the_change_that_a_review_names(place: Place) {
    let store = place.create().await;
    record(&store, run("a", &commit(1), START)).await;
    let before = record(&store, run("a", &commit(2), START)).await + 1;
    record(&store, review("a", "!7", &commit(2), START)).await;
    record(&store, run("a", &commit(2), START - 1)).await;
    record(&store, review("a", "!7", &commit(3), START)).await;
    record(&store, review("a", "!8", &commit(9), START)).await;

    let all = store.changes_listed(&EventQuery::default()).await.unwrap();
    let names: Vec<&str> = all
        .items
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!(names, ["!8", "!7", &commit(1)]);
    assert_eq!(all.total.count, 3);
    assert_eq!(all.items[1].commits, [commit(2), commit(3)]);
    assert_eq!(
        all.items[1].index, 1,
        "a change begins with its first commit"
    );
    assert_eq!(
        store.change_of("a", &commit(3)).await.unwrap().as_deref(),
        Some("!7")
    );

    let then = store
        .change("a", "!7", Some(before + 1))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        then.commits,
        [commit(2)],
        "the second push had not been seen yet"
    );
    assert_eq!(store.change("a", "!9", None).await.unwrap(), None);
    let of = EventQuery {
        commit: Some(commit(3)),
        ..EventQuery::default()
    };
    assert_eq!(store.changes_listed(&of).await.unwrap().items.len(), 1);

    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
}

each_database!(the_newest_decision_of_each_place_carries_its_states);

async fn the_newest_decision_of_each_place_carries_its_states(place: Place) {
    let store = place.create().await;
    record(
        &store,
        decision("a", "production", &commit(1), &[("VUL-01", "fail")]),
    )
    .await;
    let size = record(
        &store,
        decision("a", "staging", &commit(1), &[("VUL-01", "pass")]),
    )
    .await
        + 1;
    record(
        &store,
        decision(
            "a",
            "production",
            &commit(2),
            &[("VUL-01", "n/a"), ("TST-01", "exempt")],
        ),
    )
    .await;
    record(&store, decision("b", "production", &commit(3), &[])).await;

    let now = store
        .newest_decisions(99, Some("production"))
        .await
        .unwrap();
    assert_eq!(now.len(), 2);
    let states: Vec<(&str, State, bool)> = now[0]
        .states
        .iter()
        .map(|check| (check.control.as_str(), check.state, check.later))
        .collect();
    assert_eq!(
        states,
        [
            ("VUL-01", State::NotApplicable, false),
            ("TST-01", State::Exempt, false),
            ("ENV-01", State::Missing, true)
        ]
    );
    let then = store.newest_decisions(size, None).await.unwrap();
    assert_eq!(then.len(), 2);
    assert_eq!(then[0].states[0].state, State::Fail);

    assert_eq!(
        store.environments(99).await.unwrap(),
        ["production", "staging"]
    );
    assert_eq!(store.environments(1).await.unwrap(), ["production"]);
    let services = store.services(size).await.unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(
        (services[0].service.as_str(), services[0].last_index),
        ("a", 1)
    );
}

each_database!(findings_are_counted_once_per_service_and_as_of_a_size);

async fn findings_are_counted_once_per_service_and_as_of_a_size(place: Place) {
    let store = place.create().await;
    let (x, y, z) = (
        finding("x", Severity::High),
        finding("y", Severity::Critical),
        finding("z", Severity::Low),
    );
    let with_tool = |tool: &'static str| {
        move |predicate: &mut Value| predicate["tool"]["name"] = Value::from(tool)
    };
    let scan = |service: &'static str, at, found: &[_], tool| {
        scan_with(service, at, found, with_tool(tool))
    };
    record(&store, scan("a", START, &[x.clone(), y.clone()], "trivy")).await;
    record(&store, scan("a", START, std::slice::from_ref(&x), "grype")).await;
    let before = record(&store, scan("b", START, &[x.clone(), z.clone()], "trivy")).await + 1;
    place.clock.advance(60);
    record(
        &store,
        scan("a", START + 60_000_000, std::slice::from_ref(&x), "trivy"),
    )
    .await;

    let open = store
        .findings_listed(&FindingsFilter::default())
        .await
        .unwrap();
    let shown: Vec<(&str, &str, &str)> = open
        .items
        .iter()
        .map(|f| (f.service.as_str(), f.name.as_str(), f.tool.as_str()))
        .collect();
    // Same severity and age: the fingerprint and then the stream decide.
    assert_eq!(
        shown,
        [
            ("a", "x", "trivy"),
            ("b", "x", "trivy"),
            ("b", "z", "trivy")
        ]
    );
    assert_eq!(open.total.count, 3);
    assert_eq!(store.stats().await.unwrap().counts.open_findings, 3);

    let then = FindingsFilter {
        below: Some(before),
        ..FindingsFilter::default()
    };
    let then = store.findings_listed(&then).await.unwrap();
    assert_eq!(then.total.count, 4);
    assert_eq!(then.items[0].name, "y", "it was open then");

    let fixed = FindingsFilter {
        standing: Standing::Fixed,
        ..FindingsFilter::default()
    };
    assert_eq!(
        store.findings_listed(&fixed).await.unwrap().items[0].name,
        "y"
    );

    let mut filter = FindingsFilter {
        limit: 1,
        ..FindingsFilter::default()
    };
    let mut count = 0;
    loop {
        let part = store.findings_listed(&filter).await.unwrap();
        count += part.items.len();
        let Some(next) = part.next else { break };
        filter.after = Some(next);
    }
    assert_eq!(count, 3);

    let groups = store
        .finding_groups(&FindingsFilter::default())
        .await
        .unwrap()
        .items;
    assert_eq!(
        (
            groups[0].name.as_str(),
            groups[0].services,
            groups[0].findings
        ),
        ("x", 2, 2)
    );
    // The day counts.
    let since = [Timestamp::from_micros(START + 86_400_000_000)];
    let ages = store
        .finding_ages(&FindingsFilter::default(), &since)
        .await
        .unwrap()
        .rows;
    assert_eq!(ages.len(), 2);
    assert_eq!(
        (ages[0].severity, ages[0].counts.clone()),
        (Severity::High, vec![0, 2])
    );
}

each_database!(the_text_of_a_search_is_text);

async fn the_text_of_a_search_is_text(place: Place) {
    let store = place.create().await;
    let odd = finding("100%_sure!'--", Severity::High);
    record(
        &store,
        scan_with("a", START, &[odd, finding("plain", Severity::High)], |_| {}),
    )
    .await;
    for (text, hits) in [
        ("%", 1),
        ("_sure", 1),
        ("!'--", 1),
        ("PLAIN", 1),
        ("'", 1),
        ("nothing", 0),
        ("about", 2),
    ] {
        let filter = FindingsFilter {
            text: Some(text.to_owned()),
            ..FindingsFilter::default()
        };
        assert_eq!(
            store.findings_listed(&filter).await.unwrap().total.count,
            hits,
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_published_log_is_what_anybody_can_verify() {
    let place = Place::new();
    let store = place.create().await;
    for number in 0..3 {
        record(&store, run("a", &commit(number), START)).await;
    }
    let head = store.head(None).await.unwrap();
    assert_eq!(store.verified_head().await.unwrap(), head);
    let note = store.published_checkpoint().await.unwrap();
    assert!(
        note.starts_with(&format!("{}\n3\n", store.origin())),
        "{note}"
    );
    let hashes = store
        .published_tile(TilePath::hashes(0, 0, 3))
        .await
        .unwrap()
        .unwrap();
    let leaves: Vec<_> = writ_ledger::tile::parse_tile(&hashes).unwrap();
    assert_eq!(
        writ_ledger::merkle::root_of(&leaves).0,
        *head.root.as_bytes()
    );
    assert_eq!(
        store
            .published_tile(TilePath::hashes(1, 0, 1))
            .await
            .unwrap(),
        None
    );
}

/// A check that names no commit, and a service only where one is given.
fn probe(kind: &str, service: Option<&str>, target: &str) -> NewRecord {
    let mut predicate = json!({
        "evidenceType": kind,
        "target": target,
        "observedAt": Timestamp::from_micros(START),
        "origin": "observed",
        "producerClass": "laptop",
        "outcome": "completed",
        "lookedAt": [{"what": "things", "count": 1}],
        "facts": {},
    });
    if let Some(service) = service {
        predicate["service"] = service.into();
    }
    let payload = writ_evidence::canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": "about",
            "digest": {"sha256": Digest::of(target.as_bytes()).to_hex()},
            "annotations": {"kind": "service"},
        }],
        "predicateType": "urn:writ:predicate:probe:v1",
        "predicate": predicate,
    }))
    .unwrap();
    NewRecord::payload(payload)
}

#[tokio::test]
async fn what_names_no_service_is_read_for_every_service_and_hides_none_of_its_own() {
    let place = Place::new();
    let store = place.create().await;
    let log = record(&store, probe("audit-log", None, "ledger")).await;
    let own = record(&store, probe("branch-protection", Some("a"), "git")).await;
    let other = record(&store, probe("branch-protection", Some("b"), "git")).await;
    let silent = record(&store, probe("branch-protection", None, "git")).await;
    let newer = record(&store, probe("audit-log", None, "ledger-2")).await;
    for (service, expected) in [
        ("a", vec![log, own, silent, newer]),
        ("b", vec![log, other, silent, newer]),
        ("c", vec![log, silent, newer]),
    ] {
        let set = store
            .evidence_set(service, &Subject::default(), "production", None)
            .await
            .unwrap();
        let got: Vec<u64> = set.items.iter().map(|item| item.index).collect();
        assert_eq!(got, expected, "{service}");
    }
}

each_database!(evidence_is_found_by_its_words);

async fn evidence_is_found_by_its_words(place: Place) {
    let store = place.create().await;
    let said = [
        ("payments", "Zürich's cluster: CVE-2026-31817"),
        ("payments", "a \u{0} and 'quotes' \" * & | ! :"),
        ("billing", "cluster-two, ЖУК and \u{1f41e}"),
        ("payments", "clusters of cve 2026 31817"),
        ("payments", ""),
    ];
    for (number, (service, text)) in said.iter().enumerate() {
        let at = START + i64::try_from(number).unwrap() * 1_000_000;
        place.clock.advance(1);
        let scan = scan_with(service, at, &[], |p| {
            p["notes"] = json!([text]);
            p["stage"] = json!(format!("stage-{number}"));
        });
        store.record(scan).await.unwrap();
    }
    let find = async |store: &Store, search: Search| -> Vec<u64> {
        let found = store.search(&search).await.unwrap();
        found.items.iter().map(|item| item.index).collect()
    };
    let words = |words: &str| Search {
        words: words.to_owned(),
        ..Search::default()
    };
    for (asked, expected) in [
        ("trivy", vec![4, 3, 2, 1, 0]),
        ("cluster", vec![2, 0]),
        ("CLUST*", vec![3, 2, 0]),
        ("cve-2026-31817", vec![3, 0]),
        ("zürich", vec![0]),
        ("жу*", vec![2]),
        ("stage-3", vec![3]),
        ("cluster billing", vec![2]),
        ("quotes", vec![1]),
        // Signs of the databases' own languages have no meaning.
        ("cluster' | 'billing", vec![2]),
        ("\"cluster\" OR billing", vec![]),
        ("NOT cluster", vec![]),
        ("service:payments", vec![]),
        ("' & ", vec![]),
    ] {
        match store.search(&words(asked)).await {
            Ok(found) => {
                let found: Vec<u64> = found.items.iter().map(|item| item.index).collect();
                assert_eq!(found, expected, "{asked}");
            }
            Err(RegistryError::Words { .. }) => assert_eq!(asked, "' & "),
            Err(error) => panic!("{asked}: {error}"),
        }
    }
    let of_service = Search {
        service: Some("payments".to_owned()),
        types: vec![EvidenceType::DependencyScan],
        ..words("clust*")
    };
    assert_eq!(find(&store, of_service.clone()).await, [3, 0]);
    let below = Search {
        below: Some(3),
        ..of_service
    };
    assert_eq!(find(&store, below).await, [0]);
    let other = Search {
        types: vec![EvidenceType::Sast],
        ..words("trivy")
    };
    assert_eq!(find(&store, other).await, [0_u64; 0]);

    let mut page = Search {
        limit: 2,
        ..words("trivy")
    };
    let mut pages = Vec::new();
    loop {
        let found = store.search(&page).await.unwrap();
        pages.push(
            found
                .items
                .iter()
                .map(|item| item.index)
                .collect::<Vec<_>>(),
        );
        // What comes meanwhile moves no page.
        let at = START + 100_000_000 + i64::try_from(pages.len()).unwrap();
        place.clock.advance(100);
        store
            .record(scan_with("late", at, &[], |_| {}))
            .await
            .unwrap();
        match found.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, [vec![4, 3], vec![2, 1], vec![0]]);
    page.cursor = Some(cursor::encode("runs", &7_u64));
    let error = store.search(&page).await.unwrap_err().to_string();
    assert!(error.contains("list of runs, not of search"), "{error}");

    let dump = store.index_dump().await.unwrap();
    assert!(dump.contains("words count="), "{dump}");
    let rebuilt = store.rebuild(true, &mut |_, _| {}).await.unwrap();
    assert_eq!(rebuilt.compared, Some(Compared::Same));
    assert_eq!(store.index_dump().await.unwrap(), dump);
    place
        .execute(match place.is_on_postgres() {
            true => "UPDATE words SET list = 'forged' WHERE idx = 1",
            false => "INSERT INTO words (rowid, list) VALUES (1, 'forged')",
        })
        .await;
    let rebuilt = store.rebuild(true, &mut |_, _| {}).await.unwrap();
    let Some(Compared::Differs { line }) = rebuilt.compared else {
        panic!("{rebuilt:?}");
    };
    assert!(line.contains("words"), "{line}");
    store.close().await.unwrap();
}
