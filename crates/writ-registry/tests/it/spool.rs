//! The spool: what is queued survives everything, and arrives in order, each once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;

use writ_evidence::key::{LocalSigner, Signer};
use writ_evidence::predicate::ReportStatement;
use writ_evidence::statement::Predicate as _;
use writ_ledger::SystemClock;
use writ_model::{LedgerHead, Severity, Timestamp};
use writ_registry::spool::{Destination, Spool, SpoolError, SpoolOptions, Undelivered};
use writ_registry::{NewRecord, Query, Recorded, Store, StoreOptions, Trust, fault};

use crate::common::{Place, finding, scan, scan_with};

const CHILD: &str = "WRIT_SPOOL_TEST_CHILD";

/// A spool beside a store, with the store's keys.
struct Bench {
    place: Place,
    store: Store,
    spool: Spool,
    signer: Arc<dyn Signer>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|options| options).await
    }

    async fn with(change: impl FnOnce(SpoolOptions) -> SpoolOptions) -> Self {
        let place = Place::new();
        let store = place.create().await;
        let options = change(SpoolOptions {
            clock: place.clock.clone(),
            ..SpoolOptions::default()
        });
        let spool = Spool::open(place.dir.path().join("spool"), options).unwrap();
        let signer = store.trust().producer(store.now()).unwrap();
        Self {
            place,
            store,
            spool,
            signer,
        }
    }

    fn put(&self, record: &NewRecord) -> writ_registry::spool::Spooled {
        self.try_put(record).unwrap()
    }

    fn try_put(&self, record: &NewRecord) -> Result<writ_registry::spool::Spooled, SpoolError> {
        self.spool
            .record(record, &self.signer, &self.store.trust().keys())
    }

    fn scan(&self, name: &str) -> NewRecord {
        let now = writ_ledger::Clock::now_micros(&*self.place.clock);
        scan(name, now, &[finding(name, Severity::High)])
    }

    /// Ids of the evidence in the store in the order of the ledger, without records of deliveries.
    async fn recorded(&self) -> Vec<String> {
        let mut items = self.store.evidence(&Query::default()).await.unwrap().items;
        items.sort_by_key(|item| item.index);
        items
            .iter()
            .filter(|item| item.predicate_type != ReportStatement::URI)
            .map(|item| item.id.to_string())
            .collect()
    }

    async fn told(&self) -> Vec<writ_model::EvidenceItem> {
        let items = self.store.evidence(&Query::default()).await.unwrap().items;
        items
            .into_iter()
            .filter(|item| item.predicate_type == ReportStatement::URI)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_queued_arrives_in_order_and_the_gap_is_told() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(bench.put(&bench.scan(&format!("s{number}"))).id.to_string());
        bench.place.clock.advance(600);
    }
    let again = bench.put(&scan(
        "s0",
        crate::common::START,
        &[finding("s0", Severity::High)],
    ));
    assert!(again.already_there, "the same statement was queued twice");
    let backlog = bench.spool.backlog().unwrap();
    assert_eq!(backlog.items, 5);
    assert_eq!(
        backlog.oldest,
        Some(Timestamp::from_micros(crate::common::START))
    );
    assert!(bench.recorded().await.is_empty());

    bench.place.clock.advance(3_600);
    let delivery = bench
        .spool
        .deliver(&bench.store, &bench.signer)
        .await
        .unwrap();
    assert_eq!(delivery.delivered.len(), 5);
    assert_eq!(bench.recorded().await, ids);
    let backlog = bench.spool.backlog().unwrap();
    assert_eq!((backlog.items, backlog.bytes), (0, 0));

    let told = bench.told().await;
    assert_eq!(told.len(), 1);
    let record = bench.store.get(&told[0].id.to_string()).await.unwrap();
    let said = &record.statement.predicate;
    assert_eq!(said["kind"], "spool-delivery");
    assert_eq!(said["parameters"]["delivered"], 5);
    assert_eq!(said["parameters"]["longestWaitSeconds"], 5 * 600 + 3_600);
    assert_eq!(
        said["period"]["from"],
        serde_json::json!(Timestamp::from_micros(crate::common::START))
    );
    assert!(told[0].recorded_at > delivery.delivered[4].spooled_at);
    let report = bench
        .store
        .verify(Vec::new(), &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(report.is_good(), "{:?}", report.failures);

    // Nothing to deliver is nothing to tell, and numbers go on.
    let empty = bench
        .spool
        .deliver(&bench.store, &bench.signer)
        .await
        .unwrap();
    assert!(empty.delivered.is_empty() && empty.told.is_empty());
    assert_eq!(bench.put(&bench.scan("later")).number, 6);
}

/// A destination that records, but whose answers get lost or that refuses.
struct Moody<'a> {
    store: &'a Store,
    /// For each call: whether the answer arrives.
    answers: Mutex<Vec<bool>>,
    refuse: Option<String>,
}

impl Destination for Moody<'_> {
    fn name(&self) -> String {
        "moody".to_owned()
    }

    async fn deliver(&self, records: Vec<NewRecord>) -> Result<Vec<Recorded>, Undelivered> {
        if let Some(refuse) = &self.refuse {
            let at = records.iter().position(|record| match &record.input {
                writ_registry::Input::Envelope(bytes) => {
                    writ_evidence::Envelope::parse(bytes)
                        .unwrap()
                        .payload_digest()
                        .to_string()
                        == *refuse
                }
                writ_registry::Input::Payload(_) => false,
            });
            if let Some(at) = at {
                return Err(Undelivered {
                    at: Some(at),
                    refused: true,
                    cause: "it is not wanted here".to_owned(),
                });
            }
        }
        let recorded = Destination::deliver(self.store, records).await?;
        let arrives = self.answers.lock().unwrap().pop().unwrap_or(true);
        if arrives {
            Ok(recorded)
        } else {
            Err(Undelivered {
                at: None,
                refused: false,
                cause: "the line went dead".to_owned(),
            })
        }
    }

    async fn head(&self) -> Result<LedgerHead, Undelivered> {
        Destination::head(self.store).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_makes_no_second_entry() {
    let bench = Bench::new().await;
    let ids: Vec<String> = (0..3)
        .map(|n| bench.put(&bench.scan(&format!("s{n}"))).id.to_string())
        .collect();
    let moody = Moody {
        store: &bench.store,
        // Last first: the second delivery's statements arrive, the record of it does not.
        answers: Mutex::new(vec![false, true, false]),
        refuse: None,
    };
    let error = bench
        .spool
        .deliver(&moody, &bench.signer)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        SpoolError::Undelivered {
            refused: false,
            delivered: 0,
            left: 3,
            ..
        }
    ));
    assert_eq!(bench.recorded().await, ids, "it was recorded, only unheard");
    let error = bench
        .spool
        .deliver(&moody, &bench.signer)
        .await
        .unwrap_err();
    assert!(
        matches!(error, SpoolError::GapUndelivered { delivered: 3, .. }),
        "{error}"
    );
    assert!(bench.spool.backlog().unwrap().untold_delivery);
    bench.place.clock.advance(60);
    let last = bench.spool.deliver(&moody, &bench.signer).await.unwrap();
    assert_eq!((last.delivered.len(), last.told.len()), (0, 1));
    assert_eq!(bench.recorded().await, ids);
    let told = bench.told().await;
    assert_eq!(told.len(), 1, "one delivery was told twice");
    assert_eq!(told[0].facts["parameters"]["alreadyThere"], 3);
    assert!(!bench.spool.backlog().unwrap().untold_delivery);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_stops_the_order_until_a_person_sets_it_aside() {
    let bench = Bench::new().await;
    let spooled: Vec<_> = (0..4)
        .map(|n| bench.put(&bench.scan(&format!("s{n}"))))
        .collect();
    let moody = Moody {
        store: &bench.store,
        answers: Mutex::new(Vec::new()),
        refuse: Some(spooled[2].id.digest().to_string()),
    };
    let error = bench
        .spool
        .deliver(&moody, &bench.signer)
        .await
        .unwrap_err();
    let SpoolError::Undelivered {
        number,
        refused: true,
        delivered: 2,
        left: 2,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(number, 3);
    assert_eq!(bench.recorded().await.len(), 2);
    assert_eq!(bench.told().await.len(), 1, "what arrived is told at once");
    assert!(bench.spool.set_aside(number, "  ").is_err());
    bench
        .spool
        .set_aside(number, "signed by a job that never existed")
        .unwrap();
    assert!(matches!(
        bench.spool.set_aside(99, "x"),
        Err(SpoolError::NoSuchNumber(99))
    ));
    bench.spool.deliver(&moody, &bench.signer).await.unwrap();
    assert_eq!(bench.recorded().await.len(), 3);
    let told = bench.told().await;
    let last = told.iter().max_by_key(|item| item.index).unwrap();
    assert_eq!(last.facts["parameters"]["setAside"], 1);
    assert_eq!(bench.spool.backlog().unwrap().set_aside, 1);
    // The listing behind the record names it with the reason.
    let listing = listing_of(&bench.store, last).await;
    assert!(listing.contains("signed by a job that never existed"));
    assert!(listing.contains(&spooled[2].id.to_string()));
}

async fn listing_of(store: &Store, item: &writ_model::EvidenceItem) -> String {
    let record = store.get(&item.id.to_string()).await.unwrap();
    let digest = record.statement.predicate["file"]["digest"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    String::from_utf8(store.locker().get_bytes(digest, 1 << 20).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_and_keeps_what_it_has() {
    let bench = Bench::with(|options| SpoolOptions {
        max_items: 2,
        ..options
    })
    .await;
    bench.put(&bench.scan("one"));
    bench.put(&bench.scan("two"));
    let error = bench.try_put(&bench.scan("three")).unwrap_err();
    assert!(error.to_string().contains("writ spool deliver"), "{error}");
    assert_eq!(bench.spool.backlog().unwrap().items, 2);
    let small = SpoolOptions {
        clock: bench.place.clock.clone(),
        max_bytes: bench.spool.backlog().unwrap().bytes + 100,
        max_items: 100,
    };
    let small = Spool::open(bench.spool.path(), small).unwrap();
    let keys = bench.store.trust().keys();
    let error = small
        .record(&bench.scan("three"), &bench.signer, &keys)
        .unwrap_err();
    assert!(
        matches!(error, SpoolError::Full { items: 2, .. }),
        "{error}"
    );
    let left: Vec<_> = std::fs::read_dir(bench.spool.path().join("tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "a refused statement left files: {left:?}");
    let delivery = bench.spool.deliver(&bench.store, &bench.signer).await;
    assert_eq!(delivery.unwrap().delivered.len(), 2);
    bench.put(&bench.scan("three"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_be_recorded_is_not_queued() {
    let bench = Bench::new().await;
    let mut without_file = bench.scan("x");
    without_file.blobs.clear();
    let foreign = LocalSigner::generate(writ_evidence::key::Algorithm::Ed25519).unwrap();
    let statement = match bench.scan("y").input {
        writ_registry::Input::Payload(payload) => payload,
        writ_registry::Input::Envelope(_) => unreachable!(),
    };
    let envelope = writ_evidence::dsse::sign(
        writ_evidence::dsse::IN_TOTO_PAYLOAD_TYPE,
        statement,
        &foreign,
    )
    .unwrap();
    let future = scan("z", crate::common::START + 1, &[]);
    for (record, word) in [
        (without_file, "not handed in"),
        (NewRecord::payload(b"{ }".to_vec()), "canonical"),
        (NewRecord::payload(b"{}".to_vec()), "statement"),
        (
            NewRecord::envelope(envelope.to_canonical_json()),
            "trusted here",
        ),
        (future, "future"),
        (
            scan_with("w", crate::common::START, &[], |p| {
                p["outcome"] = "wonderful".into();
            }),
            "wonderful",
        ),
    ] {
        let error = bench.try_put(&record).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(bench.spool.backlog().unwrap().items, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_nothing_behind_it_is_delivered() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.put(&bench.scan(name));
    }
    let items = || {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(bench.spool.path().join("items"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        paths
    };
    let second = items()[1].clone();
    let good = std::fs::read(&second).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 4;
    std::fs::write(&second, &bad).unwrap();
    let error = bench
        .spool
        .deliver(&bench.store, &bench.signer)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&second.display().to_string()),
        "{error}"
    );
    assert_eq!(bench.recorded().await.len(), 1);
    let listed = bench.spool.list().unwrap();
    assert!(matches!(
        listed[0].content,
        writ_registry::spool::WaitingContent::Damaged { .. }
    ));
    // A file that a statement needs.
    std::fs::write(&second, &good).unwrap();
    let blob = std::fs::read_dir(bench.spool.path().join("blobs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            String::from_utf8_lossy(&good).contains(name)
        })
        .unwrap();
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, b"something else").unwrap();
    let error = bench
        .spool
        .deliver(&bench.store, &bench.signer)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&blob.display().to_string()),
        "{error}"
    );
    std::fs::write(&blob, bytes).unwrap();
    bench
        .spool
        .deliver(&bench.store, &bench.signer)
        .await
        .unwrap();
    assert_eq!(bench.recorded().await.len(), 3);
}

/// Not a test of its own: what the child processes do. `put|deliver`, spool, store, trust, name,
/// count, point, pass.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [what, spool, store, trust, name, count, point, pass] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    let spool = Spool::open(spool, SpoolOptions::default()).unwrap();
    if !point.is_empty() {
        fault::arm(point, pass.parse().unwrap());
    }
    if what == "put" {
        let trust = Trust::open(Path::new(trust), false).unwrap();
        let now = writ_ledger::Clock::now_micros(&SystemClock);
        let signer = trust.producer(Timestamp::from_micros(now)).unwrap();
        for number in 0..count.parse::<u32>().unwrap() {
            let now = writ_ledger::Clock::now_micros(&SystemClock);
            let record = scan(
                &format!("{name}-{number}"),
                now,
                &[finding(&format!("{name}-{number}"), Severity::High)],
            );
            let spooled = spool.record(&record, &signer, &trust.keys()).unwrap();
            println!("queued {} {}", spooled.number, spooled.id);
        }
    } else {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let options = StoreOptions::new(trust).clock(Arc::new(SystemClock));
            let store = Store::open(store, options).await.unwrap();
            let signer = store.trust().producer(store.now()).unwrap();
            let delivery = spool.deliver(&store, &signer).await.unwrap();
            println!("delivered {}", delivery.delivered.len());
            store.close().await.unwrap();
        });
    }
}

fn spawn(place: &Place, what: &str, name: &str, count: u32, point: &str, pass: u32) -> Child {
    let dir = place.dir.path();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::child", "--nocapture", "--test-threads=1"])
        .env(
            CHILD,
            format!(
                "{what}|{}|{}|{}|{name}|{count}|{point}|{pass}",
                dir.join("spool").display(),
                place.store().display(),
                place.trust().display()
            ),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether it ended well, and what it said it had queued.
fn ended(child: Child) -> (bool, Vec<(u64, String)>) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let queued = text
        .lines()
        .filter_map(|line| {
            let (number, id) = line.split_once("queued ")?.1.trim().split_once(' ')?;
            Some((number.parse().unwrap(), id.to_owned()))
        })
        .collect();
    (output.status.success(), queued)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_queued_is_lost_wherever_the_process_dies() {
    let place = Place::new();
    let options = || StoreOptions::new(place.trust());
    Store::open(place.store(), options().create())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let mut promised = Vec::new();
    for (number, point) in fault::SPOOL_POINTS.iter().enumerate() {
        for pass in 1..=2 {
            let name = format!("p{number}-{pass}");
            let (success, queued) = ended(spawn(&place, "put", &name, 2, point, pass));
            assert!(!success, "the child did not die at {point}");
            assert_eq!(queued.len() as u32, pass - 1, "at {point}");
            promised.extend(queued);
        }
    }
    let spool = Spool::open(place.dir.path().join("spool"), SpoolOptions::default()).unwrap();
    let waiting: Vec<(u64, String)> = spool
        .list()
        .unwrap()
        .iter()
        .map(|one| (one.number, one.id.to_string()))
        .collect();
    for one in &promised {
        assert!(waiting.contains(one), "{one:?} was lost");
    }
    assert_eq!(
        std::fs::read_dir(spool.path().join("tmp")).unwrap().count(),
        0,
        "left-overs stayed"
    );

    // Now the deliverer dies at every step, each time with something new to deliver.
    let mut all: Vec<String> = waiting.into_iter().map(|(_, id)| id).collect();
    for (number, point) in fault::DELIVER_POINTS.iter().enumerate() {
        let (success, queued) = ended(spawn(&place, "put", &format!("d{number}"), 3, "", 0));
        assert!(success);
        all.extend(queued.into_iter().map(|(_, id)| id));
        let (success, _) = ended(spawn(&place, "deliver", "", 0, point, 1));
        assert!(!success, "the child did not die at {point}");
    }
    let (success, _) = ended(spawn(&place, "deliver", "", 0, "", 0));
    assert!(success);
    let backlog = spool.backlog().unwrap();
    assert_eq!((backlog.items, backlog.bytes), (0, 0));
    assert!(!backlog.untold_delivery);
    let store = Store::open(place.store(), options()).await.unwrap();
    let mut items = store
        .evidence(&Query {
            limit: 200,
            ..Query::default()
        })
        .await
        .unwrap()
        .items;
    items.sort_by_key(|item| item.index);
    let (told, recorded): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| item.predicate_type == ReportStatement::URI);
    let recorded: Vec<String> = recorded.iter().map(|item| item.id.to_string()).collect();
    assert_eq!(recorded, all, "lost, twice or out of order");
    // Every statement is told of exactly once.
    let mut listed = Vec::new();
    for item in &told {
        let listing: serde_json::Value =
            serde_json::from_str(&listing_of(&store, item).await).unwrap();
        for one in listing["delivered"].as_array().unwrap() {
            listed.push(one["id"].as_str().unwrap().to_owned());
        }
    }
    listed.sort();
    all.sort();
    assert_eq!(listed, all);
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_one_spool() {
    let place = Place::new();
    Store::open(place.store(), StoreOptions::new(place.trust()).create())
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let children: Vec<Child> = ["one", "two", "three"]
        .iter()
        .map(|name| spawn(&place, "put", name, 12, "", 0))
        .collect();
    // Deliverers at the same time: one at a time works, the others say that it is taken.
    let deliverers: Vec<Child> = (0..2)
        .map(|_| spawn(&place, "deliver", "", 0, "", 0))
        .collect();
    let mut queued = Vec::new();
    for child in children {
        let (success, mut of_one) = ended(child);
        assert!(success);
        assert_eq!(of_one.len(), 12);
        assert!(of_one.is_sorted(), "one process saw its numbers fall");
        queued.append(&mut of_one);
    }
    for child in deliverers {
        ended(child);
    }
    let (success, _) = ended(spawn(&place, "deliver", "", 0, "", 0));
    assert!(success);
    queued.sort();
    let store = Store::open(place.store(), StoreOptions::new(place.trust()))
        .await
        .unwrap();
    let mut items = store
        .evidence(&Query {
            limit: 200,
            ..Query::default()
        })
        .await
        .unwrap()
        .items;
    items.sort_by_key(|item| item.index);
    let recorded: Vec<String> = items
        .iter()
        .filter(|item| item.predicate_type != ReportStatement::URI)
        .map(|item| item.id.to_string())
        .collect();
    let expected: Vec<String> = queued.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(recorded, expected);
}
