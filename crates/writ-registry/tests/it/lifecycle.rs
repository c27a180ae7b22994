//! The life of findings under any sequence of scans, against a model in a few lines.

use std::collections::BTreeMap;

use proptest::prelude::*;
use writ_model::{Finding, Severity};
use writ_registry::{FindingsQuery, Store};

use crate::common::{Place, START, finding, scan_with};

/// One scan: who looks, at what, and what it finds.
#[derive(Debug, Clone)]
struct Step {
    tool: usize,
    found: Vec<u8>,
    /// 0: ordinary; 1: failed; 2: looked at nothing; 3: dirty work tree; 4: an old result again.
    kind: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    open: bool,
    first: i64,
    last: i64,
    fixed: Option<i64>,
    reopened: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0_usize..2,
        prop::collection::btree_set(0_u8..6, 0..5),
        0_u8..8,
    )
        .prop_map(|(tool, found, kind)| Step {
            tool,
            found: found.into_iter().collect(),
            kind: if kind > 4 { 0 } else { kind },
        });
    prop::collection::vec(step, 1..12)
}

/// What should be, scan by scan.
fn model(steps: &[Step]) -> BTreeMap<(usize, u8), Life> {
    let mut lives: BTreeMap<(usize, u8), Life> = BTreeMap::new();
    let mut newest = [i64::MIN; 2];
    for (number, step) in steps.iter().enumerate() {
        let at = observed(number, step);
        if matches!(step.kind, 1..=3) || at < newest[step.tool] {
            continue;
        }
        newest[step.tool] = at;
        for name in &step.found {
            let life = lives.entry((step.tool, *name)).or_insert(Life {
                open: true,
                first: at,
                last: at,
                fixed: None,
                reopened: 0,
            });
            if !life.open {
                (life.open, life.fixed) = (true, None);
                life.reopened += 1;
            }
            life.last = at;
        }
        for ((tool, name), life) in &mut lives {
            if *tool == step.tool && life.open && !step.found.contains(name) {
                (life.open, life.fixed) = (false, Some(at));
            }
        }
    }
    lives
}

/// Later steps see later times; an old result keeps a time before everything.
fn observed(number: usize, step: &Step) -> i64 {
    if step.kind == 4 {
        START - 1_000_000_000
    } else {
        START - 1_000_000 + number as i64
    }
}

async fn apply(store: &Store, number: usize, step: &Step) {
    let found: Vec<Finding> = step
        .found
        .iter()
        .map(|n| finding(&format!("CVE-{n}"), Severity::High))
        .collect();
    let record = scan_with("payments", observed(number, step), &found, |p| {
        p["tool"]["name"] = ["trivy", "grype"][step.tool].into();
        // Every scan is a statement of its own.
        p["notes"] = serde_json::json!([format!("step {number}")]);
        match step.kind {
            1 => {
                p["outcome"] = "failed".into();
                p["reason"] = "it crashed".into();
            }
            2 => {
                p["outcome"] = "empty".into();
                p["reason"] = "no package".into();
                p["lookedAt"] = serde_json::json!([{"what": "packages", "count": 0}]);
            }
            3 => p["dirty"] = true.into(),
            _ => {}
        }
    });
    store.record(record).await.unwrap();
}

async fn lives_as_the_scans_say(place: Place, steps: &[Step]) {
    let store = place.create().await;
    for (number, step) in steps.iter().enumerate() {
        apply(&store, number, step).await;
    }
    let query = FindingsQuery {
        fixed_too: true,
        ..FindingsQuery::default()
    };
    let found = store.open_findings(&query).await.unwrap();
    let is: BTreeMap<(usize, u8), Life> = found
        .into_iter()
        .map(|f| {
            let tool = usize::from(f.tool == "grype");
            let name = f.rule.trim_start_matches("CVE-").parse().unwrap();
            let life = Life {
                open: f.open,
                first: f.first_seen.micros(),
                last: f.last_seen.micros(),
                fixed: f.fixed_at.map(|at| at.micros()),
                reopened: f.reopened,
            };
            ((tool, name), life)
        })
        .collect();
    assert_eq!(is, model(steps));
    let dump = store.index_dump().await.unwrap();
    store.reindex(&mut |_, _| {}).await.unwrap();
    assert_eq!(store.index_dump().await.unwrap(), dump);
    store.close().await.unwrap();
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
    fn findings_live_as_the_scans_say(steps in steps()) {
        run(lives_as_the_scans_say(Place::new(), &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn findings_live_as_the_scans_say_on_postgres(steps in steps()) {
        run(async {
            if let Some(place) = Place::on_postgres().await {
                lives_as_the_scans_say(place, &steps).await;
            }
        });
    }
}
