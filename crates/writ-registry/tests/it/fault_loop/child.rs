//! The process to which things happen.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use writ_ledger::{Clock, SystemClock};
use writ_model::Severity;
use writ_registry::{NewRecord, Store, StoreOptions, fault};

use crate::common::{finding, scan};

const CHILD: &str = "WRIT_FAULT_LOOP_CHILD";

/// When the statements were made: long before every clock that a test sets.
const MADE: i64 = 1_700_000_000_000_000;

/// What a child is to do, and what is to happen to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    /// Names the statements: the same round submits the same ones.
    pub round: u32,
    /// How many.
    pub count: u32,
    /// Rebuild the index at the end.
    pub reindex: bool,
    /// µs that the clock is ahead.
    pub clock_shift: i64,
    /// Die at this point of the registry, at this pass.
    pub registry: Option<(String, u32)>,
    /// Let this happen at this point of the ledger, at this pass.
    pub ledger: Option<(String, u32, Action)>,
}

/// What happens at a point of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Kill,
    Eio,
    Full,
    ReadOnly,
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ack {
    pub id: String,
    pub index: u64,
}

struct Shifted(i64);

impl Clock for Shifted {
    fn now_micros(&self) -> i64 {
        SystemClock.now_micros() + self.0
    }
}

/// The statement `number` of a round: always the same bytes.
pub fn statement(round: u32, number: u32) -> NewRecord {
    let name = format!("round-{round}-{number}");
    scan(
        &name,
        MADE + i64::from(number),
        &[finding(&name, Severity::High)],
    )
}

/// Not a test of its own: what the child processes do.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let (store, trust, order): (String, String, Order) = serde_json::from_str(&order).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(work(store.as_ref(), trust.as_ref(), &order));
}

async fn work(store: &Path, trust: &Path, order: &Order) {
    if let Some((point, pass, action)) = &order.ledger {
        use writ_ledger::fault::{Action as Act, arm_everywhere};
        let action = match action {
            Action::Kill => Act::Kill,
            Action::Eio => Act::Fail(ErrorKind::Other),
            Action::Full => Act::Fail(ErrorKind::StorageFull),
            Action::ReadOnly => Act::Fail(ErrorKind::ReadOnlyFilesystem),
        };
        arm_everywhere(point, *pass, action);
    }
    let options = StoreOptions::new(trust).clock(Arc::new(Shifted(order.clock_shift)));
    let Ok(store) = Store::open(store, options).await else {
        return;
    };
    if let Some((point, pass)) = &order.registry {
        fault::arm(point, *pass);
    }
    let mut failures = 0;
    for number in 0..order.count {
        match store.record(statement(order.round, number)).await {
            // Whoever reads this line has the promise.
            Ok(recorded) => say(&format!("ack {} {}", recorded.index, recorded.id)),
            Err(error) => {
                say(&format!("refused {error}"));
                failures += 1;
                // A second try, which must not be taken for the first, and no more.
                if failures == 2 {
                    break;
                }
            }
        }
    }
    if order.reindex {
        let _ = store.reindex(&mut |_, _| {}).await;
    }
    let _ = store.close().await;
}

/// One line, out of the process before the next step begins.
pub fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

/// Starts a child.
pub fn spawn(store: &Path, trust: &Path, order: &Order) -> Child {
    let order = serde_json::to_string(&(store, trust, order)).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "fault_loop::child::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, order)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// An acknowledgement in a line of a child.
pub fn ack(line: &str) -> Option<Ack> {
    let (index, id) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some(Ack {
        id: id.to_owned(),
        index: index.parse().ok()?,
    })
}
