//! The same loop over a store whose log is sequenced by PostgreSQL and whose bytes lie in a bucket:
//! the server crashes, answers are lost after the deed, S3 fails in every way.

use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use writ_registry::fault;

use super::child::Order;
use super::proxy::{Fault, Proxy, status};
use super::world::{Dice, World};
use super::{Rounds, STATEMENTS};
use crate::shared::bucket;
use crate::shared::server::{Server, Wire};

/// Kinds of faults, as they are counted.
const KINDS: [&str; 11] = [
    "PostgreSQL crashes and comes back",
    "PostgreSQL is away for a while",
    "an answer of PostgreSQL is lost",
    "S3 answers 500",
    "S3 answers 503",
    "S3 does not answer",
    "S3 did it, the answer is lost",
    "S3 breaks off",
    "kill -9 at a step of the shared log",
    "kill -9 at a step of record()",
    "two processes",
];

/// The servers, and what stands between them and the store.
struct Servers {
    postgres: Server,
    wire: Wire,
    s3: Proxy,
}

impl Servers {
    /// `None` where the environment names none.
    fn start() -> Option<Self> {
        let s3 = Proxy::start(&bucket::server()?);
        let postgres = Server::start()?;
        postgres.wait_until_it_answers();
        let options = postgres.options();
        let wire = Wire::to(options.get_host(), options.get_port());
        Some(Self { postgres, wire, s3 })
    }

    /// The file that names a store's parts, its servers behind the wires.
    fn store(&self, dir: &TempDir) -> std::path::PathBuf {
        // The server of the tests keeps conditions only in buckets without versions when several
        // write at once; the locker must have a lock.
        let (evidence, tiles) = (bucket::make(true).unwrap(), bucket::make(false).unwrap());
        let port = self.wire.options(&self.postgres.options()).get_port();
        let address = dir.path().join("address");
        std::fs::write(
            &address,
            format!("postgres://writ@127.0.0.1:{port}/postgres"),
        )
        .unwrap();
        let keys = dir.path().join("credentials");
        std::fs::write(
            &keys,
            "[default]\naws_access_key_id = test\naws_secret_access_key = test\n",
        )
        .unwrap();
        let keys = format!("{{ source = 'file', path = '{}' }}", keys.display());
        let file = dir.path().join("store.toml");
        let text = format!(
            "version = 1\ndirectory = 'parts'\n\
             [locker]\ndriver = 's3'\n\
             [locker.s3]\nbucket = '{evidence}'\nendpoint = '{s3}'\ncredentials = {keys}\n\
             request_timeout = '2s'\n\
             [ledger]\ndriver = 'shared'\nurl_file = '{address}'\nschema = 'ledger'\n\
             [ledger.s3]\nbucket = '{tiles}'\nendpoint = '{s3}'\ncredentials = {keys}\n\
             request_timeout = '2s'\n",
            s3 = self.s3.address,
            address = address.display(),
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    /// All is well again.
    fn mend(&mut self) {
        self.s3.pass();
        self.wire.swallow(0);
        self.postgres.wait_until_it_answers();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled_whatever_server_fails() {
    let started = tokio::task::spawn_blocking(Servers::start).await.unwrap();
    let Some(mut servers) = started else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = servers.store(&dir);
    let mut dice = Dice::of_the_environment();
    let mut world = World::of(dir, store).await;
    let mut rounds = Rounds::of(&KINDS);
    while let Some(kind) = rounds.next(&mut dice) {
        tokio::task::block_in_place(|| round(&mut world, &mut servers, &mut dice, kind));
        servers.mend();
        world.check(kind).await;
    }
    rounds.report(&world);
}

/// One fault, and the same statements again when it is over.
fn round(world: &mut World, servers: &mut Servers, dice: &mut Dice, kind: &str) {
    let mut order = Order {
        round: world.next_round(),
        count: STATEMENTS,
        ..Order::default()
    };
    let again = order.clone();
    // Requests of one round; what lies behind the last one hits nothing.
    let at = dice.below(24);
    let once = |fault: Fault| servers.s3.once(at, fault);
    match kind {
        "PostgreSQL crashes and comes back" => {
            let pause = Duration::from_millis(dice.below(400) as u64);
            let postgres = &mut servers.postgres;
            thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(pause);
                    postgres.crash();
                    postgres.run();
                });
                world.submit(&order);
            });
        }
        "PostgreSQL is away for a while" => {
            servers.postgres.crash();
            let postgres = &mut servers.postgres;
            thread::scope(|scope| {
                scope.spawn(move || {
                    thread::sleep(Duration::from_millis(700));
                    postgres.run();
                });
                world.submit(&order);
            });
        }
        "an answer of PostgreSQL is lost" => {
            servers.wire.swallow(1 + dice.below(60) as i64);
            world.submit(&order);
        }
        "S3 answers 500" => {
            once(status("500 Internal Server Error"));
            world.submit(&order);
        }
        "S3 answers 503" => {
            // More often than a request is tried.
            servers.s3.plan(move |number, _| match number >= at {
                true if number < at + 9 => status("503 Slow Down"),
                _ => Fault::Pass,
            });
            world.submit(&order);
        }
        "S3 does not answer" => {
            once(Fault::Hang);
            world.submit(&order);
        }
        "S3 did it, the answer is lost" => {
            servers
                .s3
                .plan(move |number, line| match line.starts_with("PUT") {
                    true if number >= at && number < at + 3 => Fault::LoseAnswer,
                    _ => Fault::Pass,
                });
            world.submit(&order);
        }
        "S3 breaks off" => {
            once(Fault::Cut(dice.below(40)));
            world.submit(&order);
        }
        "kill -9 at a step of the shared log" => {
            let points = fault::SHARED_POINTS;
            order.registry = Some((points[dice.below(points.len())].to_owned(), 1));
            world.submit(&order);
        }
        "kill -9 at a step of record()" => {
            let point = fault::POINTS[dice.below(fault::POINTS.len())];
            order.registry = Some((point.to_owned(), 1));
            order.reindex = point.starts_with("reindex");
            world.submit(&order);
        }
        "two processes" => {
            let other = Order {
                round: world.next_round(),
                ..order.clone()
            };
            world.submit_together(&[order, other.clone()]);
            world.submit_again(&other);
        }
        other => panic!("no such fault: {other}"),
    }
    servers.mend();
    world.submit_again(&again);
}
