//! The kept figures about findings after any sequence of scans, against a plain look at all rows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use writ_model::{Finding, Fix, Severity, Timestamp};
use writ_registry::{
    FindingAges, FindingGroup, FindingsFilter, FindingsQuery, Standing, Store, TrackedFinding,
};

use crate::common::{Place, START, each_database, finding, scan_with};

const DAY: i64 = 86_400_000_000;

const SERVICES: [&str; 2] = ["payments", "billing"];

const TOOLS: [&str; 3] = ["trivy", "grype", "osv"];

/// One scan: of which service, by which tool, and what it finds: number, and how it looks today.
#[derive(Debug, Clone)]
struct Step {
    service: usize,
    tool: usize,
    found: BTreeMap<u8, u8>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0_usize..2,
        0_usize..3,
        prop::collection::btree_map(0_u8..5, 0_u8..8, 0..5),
    )
        .prop_map(|(service, tool, found)| Step {
            service,
            tool,
            found,
        });
    prop::collection::vec(step, 1..14)
}

/// The same fingerprint with another severity, name or fix.
fn look(number: u8, look: u8) -> Finding {
    let severity = [
        Severity::Critical,
        Severity::High,
        Severity::Low,
        Severity::Low,
    ];
    let mut found = finding(&format!("CVE-{number}"), severity[usize::from(look % 4)]);
    if look % 2 == 1 {
        // Two fingerprints may share a name.
        found.rule = format!("CVE-shared-{}", number % 2);
    }
    if look >= 4 {
        found.fix = Some(Fix {
            versions: vec!["2.0.0".to_owned()],
            text: None,
        });
    }
    found
}

/// What is known beside the rows.
#[derive(Default)]
struct Model {
    /// Service and tool of each stream, in the order in which they began.
    streams: Vec<(String, String)>,
    /// When a row first came under each name.
    names: BTreeMap<String, Timestamp>,
    rows: Vec<TrackedFinding>,
}

impl Model {
    fn stream(&self, row: &TrackedFinding) -> usize {
        self.streams
            .iter()
            .position(|known| *known == (row.service.clone(), row.tool.clone()))
            .unwrap()
    }

    /// One row per service and fingerprint, in the order of the list.
    fn listed(&self, standing: Standing) -> Vec<TrackedFinding> {
        let stands = |row: &&TrackedFinding| match standing {
            Standing::Open => row.open,
            Standing::Fixed => !row.open,
            Standing::All => true,
        };
        let mut rows: Vec<&TrackedFinding> = self.rows.iter().filter(stands).collect();
        rows.sort_by_key(|row| self.stream(row));
        let mut known = BTreeSet::new();
        rows.retain(|row| known.insert((row.service.clone(), row.fingerprint)));
        rows.sort_by_key(|row| {
            let severity = std::cmp::Reverse(row.severity);
            (severity, row.first_seen, row.fingerprint, self.stream(row))
        });
        rows.into_iter().cloned().collect()
    }

    fn groups(&self, rows: &[TrackedFinding]) -> Vec<FindingGroup> {
        let mut names: BTreeMap<&str, Vec<&TrackedFinding>> = BTreeMap::new();
        for row in rows {
            names.entry(&row.name).or_default().push(row);
        }
        let mut groups: Vec<FindingGroup> = names
            .into_iter()
            .map(|(name, rows)| FindingGroup {
                name: name.to_owned(),
                severity: rows.iter().map(|row| row.severity).max().unwrap(),
                category: rows[0].category.clone(),
                title: String::new(),
                services: rows
                    .iter()
                    .map(|row| &row.service)
                    .collect::<BTreeSet<_>>()
                    .len() as u64,
                findings: rows.len() as u64,
                first_seen: self.names[name],
                fixable: rows.iter().filter(|row| row.fixable).count() as u64,
            })
            .collect();
        groups.sort_by_key(|group| {
            let order = (group.severity, group.services, group.findings);
            (std::cmp::Reverse(order), group.name.clone())
        });
        groups
    }
}

/// All parts of a list, and the total that it gives.
async fn listed(store: &Store, filter: &FindingsFilter) -> (Vec<TrackedFinding>, u64) {
    let mut filter = FindingsFilter {
        limit: 2,
        ..filter.clone()
    };
    let (mut items, mut total) = (Vec::new(), None);
    loop {
        let part = store.findings_listed(&filter).await.unwrap();
        assert!(!part.total.more && part.total.looked.is_none());
        assert_eq!(*total.get_or_insert(part.total.count), part.total.count);
        items.extend(part.items);
        let Some(next) = part.next else { break };
        filter.after = Some(next);
    }
    (items, total.unwrap())
}

fn by_age(rows: &[TrackedFinding], since: &[Timestamp]) -> Vec<FindingAges> {
    Severity::DESCENDING
        .into_iter()
        .filter_map(|severity| {
            let mut counts = vec![0; since.len() + 1];
            for row in rows.iter().filter(|row| row.severity == severity) {
                let at = since.iter().position(|from| row.first_seen >= *from);
                counts[at.unwrap_or(since.len())] += 1;
            }
            (counts.iter().any(|count| *count > 0)).then_some(FindingAges { severity, counts })
        })
        .collect()
}

async fn figures_are_those_of_the_rows(place: Place, steps: &[Step]) {
    let store = place.create().await;
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        let found: Vec<Finding> = step.found.iter().map(|(n, l)| look(*n, *l)).collect();
        let observed = START - 40 * DAY + number as i64 * DAY * 5 / 7;
        let (service, tool) = (SERVICES[step.service], TOOLS[step.tool]);
        let record = scan_with(service, observed, &found, |predicate| {
            predicate["tool"]["name"] = tool.into();
            predicate["notes"] = serde_json::json!([format!("step {number}")]);
        });
        store.record(record).await.unwrap();
        let stream = (service.to_owned(), tool.to_owned());
        if !model.streams.contains(&stream) {
            model.streams.push(stream);
        }
        let everything = FindingsQuery {
            fixed_too: true,
            ..FindingsQuery::default()
        };
        model.rows = store.open_findings(&everything).await.unwrap();
        for row in &model.rows {
            let seen = model
                .names
                .entry(row.name.clone())
                .or_insert(row.first_seen);
            *seen = row.first_seen.min(*seen);
        }
    }
    let since = [1, 3, 9].map(|days| {
        let day = (START - 32 * DAY).div_euclid(DAY) - days;
        Timestamp::from_micros(day * DAY)
    });
    for standing in [Standing::Open, Standing::Fixed, Standing::All] {
        for service in [None, Some("payments"), Some("billing"), Some("wallet")] {
            let mut rows = model.listed(standing);
            rows.retain(|row| service.is_none_or(|service| row.service == service));
            let filter = FindingsFilter {
                standing,
                service: service.map(str::to_owned),
                ..FindingsFilter::default()
            };
            let count = rows.len() as u64;
            assert_eq!(listed(&store, &filter).await, (rows.clone(), count));
            let ages = store.finding_ages(&filter, &since).await.unwrap();
            assert_eq!((ages.rows, ages.looked), (by_age(&rows, &since), None));
            let groups = store.finding_groups(&filter).await.unwrap();
            assert_eq!(groups.looked, None);
            let plain = service.is_none() && standing == Standing::Open;
            let mut expected = model.groups(&rows);
            let is: Vec<FindingGroup> = groups
                .items
                .into_iter()
                .map(|mut group| {
                    group.title = String::new();
                    if !plain {
                        // Computed from the rows that stand so.
                        let first = rows.iter().filter(|row| row.name == group.name);
                        let first = first.map(|row| row.first_seen).min().unwrap();
                        assert_eq!(group.first_seen, first);
                        group.first_seen = model.names[&group.name];
                    }
                    group
                })
                .collect();
            assert_eq!(is, expected);
            // Each of these asks in another way.
            expected.truncate(2);
            for name in expected.iter().map(|group| &group.name) {
                let named = FindingsFilter {
                    name: Some(name.clone()),
                    ..filter.clone()
                };
                let some: Vec<_> = rows
                    .iter()
                    .filter(|row| row.name == *name)
                    .cloned()
                    .collect();
                let count = some.len() as u64;
                assert_eq!(listed(&store, &named).await, (some, count));
            }
            for (filter, keep) in narrower(&filter, since[1]) {
                let some: Vec<_> = rows.iter().filter(|row| keep(row)).cloned().collect();
                let count = some.len() as u64;
                assert_eq!(listed(&store, &filter).await, (some, count), "{filter:?}");
            }
        }
    }
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
}

type Keep = Box<dyn Fn(&TrackedFinding) -> bool>;

/// Questions with one more condition, and what it means.
fn narrower(filter: &FindingsFilter, at: Timestamp) -> Vec<(FindingsFilter, Keep)> {
    let with = |change: &dyn Fn(&mut FindingsFilter)| {
        let mut filter = filter.clone();
        change(&mut filter);
        filter
    };
    vec![
        (
            with(&|f| f.severities = vec![Severity::Critical, Severity::Low]),
            Box::new(|row| row.severity != Severity::High),
        ),
        (
            with(&|f| f.fixable = Some(true)),
            Box::new(|row| row.fixable),
        ),
        (
            with(&|f| f.seen_from = Some(at)),
            Box::new(move |row| row.first_seen >= at),
        ),
        (
            with(&|f| f.seen_before = Some(at.plus(writ_model::Span::from_secs(1)))),
            Box::new(move |row| row.first_seen <= at),
        ),
        (
            with(&|f| f.tool = Some("grype".to_owned())),
            Box::new(|row| row.tool == "grype"),
        ),
        (
            with(&|f| f.text = Some("SHARED".to_owned())),
            Box::new(|row| row.name.contains("shared")),
        ),
    ]
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn kept_figures_are_those_of_the_rows(steps in steps()) {
        run(figures_are_those_of_the_rows(Place::new(), &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn kept_figures_are_those_of_the_rows_on_postgres(steps in steps()) {
        run(async {
            if let Some(place) = Place::on_postgres().await {
                figures_are_those_of_the_rows(place, &steps).await;
            }
        });
    }
}

each_database!(what_no_index_knows_is_looked_for_in_parts);

/// A state in the past and a part of a text are looked for; the answer says how far, and the parts of
/// the list go on to the end.
pub async fn what_no_index_knows_is_looked_for_in_parts(place: Place) {
    let store = place.create().await;
    let scan = |tool: &'static str, at: i64, names: std::ops::Range<u32>| {
        let found: Vec<Finding> = names
            .map(|n| finding(&format!("CVE-{n}"), Severity::High))
            .collect();
        scan_with("payments", at, &found, move |predicate| {
            predicate["tool"]["name"] = tool.into();
        })
    };
    store.record(scan("trivy", START - 3, 0..30)).await.unwrap();
    store
        .record(scan("grype", START - 2, 10..40))
        .await
        .unwrap();
    // The first tool no longer sees ten that the second still sees, and ten that nobody else saw.
    let size = store.extent().await.unwrap().entries;
    store
        .record(scan("trivy", START - 1, 20..30))
        .await
        .unwrap();
    let ask = |below: Option<u64>, text: Option<&str>, looked: u64| FindingsFilter {
        below,
        text: text.map(str::to_owned),
        looked,
        limit: 4,
        ..FindingsFilter::default()
    };
    for (filter, matching) in [
        (ask(None, None, 3), 30),
        (ask(Some(size), None, 3), 40),
        (ask(Some(size), None, 7), 40),
        (ask(None, Some("-37"), 7), 1),
        (ask(Some(size), Some("-3"), 7), 11),
        (ask(Some(size), Some("-3"), 0), 11),
    ] {
        let mut filter = filter;
        let looks = filter.text.is_some() || filter.below.is_some();
        let exact = !looks || filter.looked == 0;
        let first = store.findings_listed(&filter).await.unwrap();
        assert_eq!(first.total.more, !exact, "{filter:?}");
        assert!(first.total.count <= matching, "{filter:?}");
        assert!(!exact || first.total.count == matching, "{filter:?}");
        let ages = store.finding_ages(&filter, &[]).await.unwrap();
        let groups = store.finding_groups(&filter).await.unwrap();
        assert_eq!(ages.looked.is_none(), exact, "{filter:?}");
        assert_eq!(groups.looked, ages.looked);
        let mut names = BTreeSet::new();
        loop {
            let part = store.findings_listed(&filter).await.unwrap();
            for item in part.items {
                assert!(names.insert(item.name), "twice");
            }
            let Some(next) = part.next else { break };
            filter.after = Some(next);
        }
        assert_eq!(names.len() as u64, matching, "{filter:?}");
    }
    // Where the newest will do, it is said which that is.
    let newest = FindingsFilter {
        newest: true,
        ..ask(Some(size), None, 0)
    };
    let newest = store.findings_listed(&newest).await.unwrap();
    assert_eq!((newest.total.count, newest.as_of), (30, Some(size + 1)));
    // The second tool speaks now for what the first one no longer sees.
    let spoken = FindingsFilter {
        fingerprint: Some(finding("CVE-15", Severity::High).fingerprint.to_hex()),
        ..FindingsFilter::default()
    };
    let spoken = store.findings_listed(&spoken).await.unwrap();
    assert_eq!(spoken.items[0].tool, "grype");
    assert_eq!((spoken.total.count, spoken.items.len()), (1, 1));
    let of_service = FindingsFilter {
        service: Some("payments".to_owned()),
        tool: Some("trivy".to_owned()),
        ..FindingsFilter::default()
    };
    let of_service = store.findings_listed(&of_service).await.unwrap();
    assert_eq!(of_service.total.count, 10);
    store.close().await.unwrap();
}
