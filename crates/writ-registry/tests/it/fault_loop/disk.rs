//! A disk that is full and one that becomes read-only: real ones, in a small file system in memory.
//!
//! The file system is mounted in a mount namespace of the child's own, so it goes with the child,
//! and neither needs root where the system lets users have namespaces, nor disturbs anybody.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use writ_registry::{Store, StoreOptions, VerifyOptions, verify_store};

use super::child::{ack, say, statement};
use super::world::{Dice, World, check};

const CHILD: &str = "WRIT_FAULT_LOOP_DISK";

/// Statements that are tried while the disk is full.
const TRIED: u32 = 30;

/// Lets a child meet the fault; false when no file system can be mounted.
pub fn run(world: &mut World, what: &str, seed: u64) -> bool {
    let dir = world.path("disk");
    std::fs::create_dir_all(&dir).unwrap();
    let own = r#"mount -t tmpfs -o size=24m,mode=700 none "$0" && exec "$@""#;
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(["--mount", "sh", "-c", own])
        .arg(&dir)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "fault_loop::disk::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, format!("{what}|{seed}|{}", dir.display()))
        .stderr(Stdio::piped())
        .output();
    let Ok(output) = output else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains("mounted") {
        return false;
    }
    assert!(
        output.status.success(),
        "{what}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    world.elsewhere += text.lines().filter_map(ack).count() as u64;
    let counted = |word: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap().trim().parse().unwrap()
    };
    world.lost += counted("lost ");
    world.duplicated += counted("duplicated ");
    true
}

/// Not a test of its own: what the child processes do.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let parts: Vec<&str> = order.split('|').collect();
    let [what, seed, dir] = parts[..] else {
        panic!("a malformed order: {order}")
    };
    say("mounted");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let disk = Disk {
        dir: PathBuf::from(dir),
        dice: Dice::new(seed.parse().unwrap()),
        promised: BTreeMap::new(),
    };
    runtime.block_on(disk.live(what));
}

struct Disk {
    dir: PathBuf,
    dice: Dice,
    promised: BTreeMap<String, u64>,
}

impl Disk {
    async fn live(mut self, what: &str) {
        let options = StoreOptions::new(self.trust()).create();
        let store = Store::open(self.store(), options).await.unwrap();
        self.take(&store, 0, 3).await;
        store.close().await.unwrap();
        match what {
            "full" => self.fill().await,
            _ => self.remount().await,
        }
        let after = format!("{what} disk");
        let (lost, doubled) = check(&self.store(), &self.trust(), &self.promised, &after).await;
        say(&format!("lost {lost}"));
        say(&format!("duplicated {doubled}"));
    }

    fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn trust(&self) -> PathBuf {
        self.dir.join("trust")
    }

    /// Records all statements of a round.
    async fn take(&mut self, store: &Store, round: u32, count: u32) {
        for number in 0..count {
            let recorded = store.record(statement(round, number)).await.unwrap();
            self.promise(recorded.id.to_string(), recorded.index);
        }
    }

    fn promise(&mut self, id: String, index: u64) {
        if let Some(known) = self.promised.insert(id.clone(), index) {
            assert_eq!(known, index, "{id} has two places");
            return;
        }
        say(&format!("ack {index} {id}"));
    }

    /// The disk runs full at three different moments.
    async fn fill(&mut self) {
        for round in 1..=3 {
            let store = Store::open(self.store(), StoreOptions::new(self.trust()))
                .await
                .unwrap();
            let ballast = self.dir.join("ballast");
            let left = 4_096 * self.dice.below(120);
            leave(&ballast, left);
            let mut refused = None;
            for number in 0..TRIED {
                match store.record(statement(round, number)).await {
                    Ok(recorded) => self.promise(recorded.id.to_string(), recorded.index),
                    Err(error) => {
                        refused = Some(error.to_string());
                        break;
                    }
                }
            }
            // It may be so small that nothing at all fits, or so large that all does.
            if let Some(refused) = &refused {
                println!("refused with {left} bytes left: {refused}");
            }
            let _ = store.close().await;
            std::fs::remove_file(&ballast).unwrap();
            let store = Store::open(self.store(), StoreOptions::new(self.trust()))
                .await
                .unwrap();
            self.take(&store, round, TRIED).await;
            store.close().await.unwrap();
        }
    }

    /// The disk becomes read-only, as after an error, and then writable again.
    async fn remount(&mut self) {
        remount(&self.dir, "ro");
        let refused = Store::open(self.store(), StoreOptions::new(self.trust())).await;
        let error = refused.err().map(|error| error.to_string());
        let error = error.expect("a read-only store was opened for writing");
        assert!(
            error.contains("ead-only") || error.contains("readonly"),
            "{error}"
        );
        // Reading and verifying go on.
        let reading = StoreOptions::new(self.trust()).read_only();
        let store = Store::open(self.store(), reading).await.unwrap();
        for id in self.promised.keys() {
            store.get(id).await.unwrap();
        }
        let options = VerifyOptions::new(self.trust());
        let report = verify_store(&self.store(), &options, &mut |_, _, _| {})
            .await
            .unwrap();
        assert!(report.is_good(), "{:?}", report.failures);
        store.close().await.unwrap();
        remount(&self.dir, "rw");
        let store = Store::open(self.store(), StoreOptions::new(self.trust()))
            .await
            .unwrap();
        self.take(&store, 9, 3).await;
        store.close().await.unwrap();
    }
}

/// Fills the disk up to the last bytes.
fn leave(ballast: &Path, bytes: usize) {
    let mut file = std::fs::File::create(ballast).unwrap();
    let block = vec![1_u8; 64 << 10];
    let mut written = 0_u64;
    for size in [block.len(), 4_096] {
        while file.write_all(&block[..size]).is_ok() {
            written += size as u64;
        }
    }
    file.set_len(written.saturating_sub(bytes as u64)).unwrap();
}

fn remount(dir: &Path, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,{how}")])
        .arg(dir)
        .status()
        .unwrap();
    assert!(status.success(), "remount,{how}");
}
