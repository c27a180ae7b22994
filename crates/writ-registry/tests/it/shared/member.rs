//! A process of its own that writes to a shared log: the test binary in another role.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};
use writ_ledger::tile::TilePath;
use writ_ledger::{LedgerError, LogStore};
use writ_registry::fault;
use writ_registry::log::shared::{SharedLog, SharedOptions, Tiles};
use writ_registry::log::{Log as _, LogWriter};

use super::{Place, directory, entry, keys, options, writer};

/// Where the order of a process stands.
const ORDER: &str = "WRIT_REGISTRY_SHARED_MEMBER";

/// Long enough for anything that will happen at all.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a process is told to do.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Order {
    pub url: String,
    pub schema: String,
    /// A directory for tiles; with `s3`, only for notes.
    pub dir: PathBuf,
    /// Bucket and prefix of the tiles.
    pub s3: Option<(String, String)>,
    /// Begins the names of all of its entries.
    pub name: String,
    pub seed: u64,
    /// Append this many entries, integrate and end; without, go on until standard input ends.
    pub count: Option<u32>,
    /// Stops itself when it passes this point for the first time.
    pub stop_at: Option<String>,
    /// Stops itself at one in so many passes of any point.
    pub stop_one_in: Option<u64>,
}

impl Order {
    pub fn of(place: &Place, name: &str) -> Self {
        Self {
            url: std::env::var("WRIT_TEST_POSTGRES").unwrap(),
            schema: place.schema.clone(),
            dir: place.dir.path().to_owned(),
            s3: None,
            name: name.to_owned(),
            seed: 0,
            count: None,
            stop_at: None,
            stop_one_in: None,
        }
    }

    /// What it was given answers for, as it noted them: name and index.
    pub fn acknowledged(&self) -> Vec<(String, u64)> {
        let text = std::fs::read_to_string(self.notes("acknowledged")).unwrap_or_default();
        text.lines()
            .map(|line| {
                let (name, index) = line.split_once(' ').unwrap();
                (name.to_owned(), index.parse().unwrap())
            })
            .collect()
    }

    /// Every checkpoint that it signed, whether it could publish it or not.
    pub fn signed(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.notes("signed")).unwrap_or_default();
        // Each ends in a line that no checkpoint has. The last may be cut off by a kill, and was
        // not handed on then.
        let mut notes: Vec<String> = text.split("=====\n").map(str::to_owned).collect();
        notes.pop();
        notes
    }

    /// How often it stopped itself.
    pub fn stops(&self) -> usize {
        let text = std::fs::read_to_string(self.notes("stops")).unwrap_or_default();
        text.lines().count()
    }

    fn notes(&self, kind: &str) -> PathBuf {
        self.dir.join(format!("{kind}-{}", self.name))
    }

    /// Starts it.
    pub fn start(&self) -> Member {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "shared::member::member",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ORDER, serde_json::to_string(self).unwrap())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(self.notes("errors")).unwrap())
            .spawn()
            .unwrap();
        Member {
            order: self.clone(),
            child,
        }
    }
}

/// A running process. Ends with this value.
pub struct Member {
    pub order: Order,
    child: Child,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `T` when it is stopped, as the kernel says.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.is_ok_and(|stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        })
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.order.notes("errors")).unwrap_or_default()
    }

    /// Lets it come to its end, and says what it complained about if it did not end well.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            // What stops itself at random may do so until its end.
            if self.is_stopped() {
                self.go_on();
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end",
                self.order.name
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{}: {}", self.order.name, self.errors());
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tiles that note every checkpoint before it is put.
struct Noting {
    tiles: Arc<dyn Tiles>,
    notes: PathBuf,
}

impl LogStore for Noting {
    fn get(&self, tile: &TilePath) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.get(tile)
    }

    fn put(&self, objects: &[(TilePath, Vec<u8>)]) -> Result<(), LedgerError> {
        self.tiles.put(objects)
    }

    fn remove_partials(&self, full: &TilePath) -> Result<(), LedgerError> {
        self.tiles.remove_partials(full)
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.checkpoint()
    }

    fn put_checkpoint(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<(), LedgerError> {
        append_to(&self.notes, &[new, b"=====\n"].concat());
        self.tiles.put_checkpoint(expected, new)
    }

    fn cosigned(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        self.tiles.cosigned()
    }

    fn put_cosigned(&self, new: &[u8]) -> Result<(), LedgerError> {
        self.tiles.put_cosigned(new)
    }

    fn describe(&self, name: &str) -> PathBuf {
        self.tiles.describe(name)
    }
}

impl Tiles for Noting {
    fn list(&self) -> Result<std::collections::BTreeSet<TilePath>, LedgerError> {
        self.tiles.list()
    }
}

/// One write, so that a kill leaves all of it or nothing.
fn append_to(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

/// A generator of numbers, the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Not a test of its own: the life of a member process.
#[test]
fn member() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let order: Order = serde_json::from_str(&order).unwrap();
    watch(&order);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(live(order));
}

/// Stops the whole process where the order says.
fn watch(order: &Order) {
    let (at, one_in) = (order.stop_at.clone(), order.stop_one_in);
    let notes = order.notes("stops");
    let (stopped, passes) = (AtomicBool::new(false), AtomicU64::new(order.seed));
    fault::watch(move |point| {
        let here = at.as_deref() == Some(point) && !stopped.swap(true, Ordering::SeqCst);
        let by_chance = one_in.is_some_and(|sides| {
            let pass = passes.fetch_add(1, Ordering::SeqCst);
            Dice::new(pass ^ 0x5bd1_e995).roll(sides) == 0
        });
        if here || by_chance {
            append_to(&notes, format!("{point}\n").as_bytes());
            kill_process(getpid(), Signal::STOP).unwrap();
            // The signal may reach another thread first, and this one a moment later: here.
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}

async fn live(order: Order) {
    let tiles: Arc<dyn Tiles> = Arc::new(Noting {
        tiles: match &order.s3 {
            None => directory(&order.dir.join("tiles")),
            Some((bucket, prefix)) => super::bucket::tiles(bucket, prefix, None),
        },
        notes: order.notes("signed"),
    });
    let settings = SharedOptions {
        interval: match order.count {
            Some(_) => options().interval,
            None => Duration::from_millis(40),
        },
        ..options()
    };
    let server = order.url.parse().unwrap();
    let log = Arc::new(SharedLog::new(server, &order.schema, tiles, settings).unwrap());
    let writer = writer(&log).await;
    match order.count {
        Some(count) => {
            for number in 0..count {
                append(&order, &writer, vec![format!("{}-{number}", order.name)]).await;
            }
        }
        None => work(&order, &log, &writer).await,
    }
    writer.close().await.unwrap();
}

async fn append(order: &Order, writer: &Arc<dyn LogWriter>, names: Vec<String>) {
    let placed = writer
        .append(names.iter().map(|name| entry(name)).collect())
        .await
        .unwrap();
    let lines: String = names
        .iter()
        .zip(&placed)
        .map(|(name, placed)| format!("{name} {}\n", placed.index))
        .collect();
    // Whoever reads this has the promise.
    append_to(&order.notes("acknowledged"), lines.as_bytes());
}

/// Appends, reads and proves until standard input ends.
async fn work(order: &Order, log: &Arc<SharedLog>, writer: &Arc<dyn LogWriter>) {
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        told.store(true, Ordering::SeqCst);
    });
    let mut tasks = Vec::new();
    for hand in 0..2_u64 {
        let (order, over) = (order.clone(), Arc::clone(&over));
        let (log, writer) = (Arc::clone(log), Arc::clone(writer));
        tasks.push(tokio::spawn(async move {
            let mut dice = Dice::new(order.seed * 2 + hand);
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                let mut names = Vec::new();
                for _ in 0..=dice.roll(4) {
                    // Some statements everybody records.
                    names.push(match dice.roll(5) {
                        0 => format!("common-{}", dice.roll(300)),
                        _ => format!("{}-{hand}-{number}", order.name),
                    });
                    number += 1;
                }
                append(&order, &writer, names).await;
                if dice.roll(20) == 0 {
                    prove(&log, dice.roll(u64::MAX)).await;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// A receipt of any entry under the head in force.
async fn prove(log: &Arc<SharedLog>, number: u64) {
    let view = log.view().await.unwrap();
    tokio::task::spawn_blocking(move || {
        let head = view.checkpoint();
        if let Some(index) = number.checked_rem(head.unverified().size) {
            let entry = view.read(index).unwrap();
            let proof = view.receipt(index).unwrap();
            proof
                .verify(entry.as_bytes(), super::ORIGIN, &keys())
                .unwrap();
        }
    })
    .await
    .unwrap();
}
