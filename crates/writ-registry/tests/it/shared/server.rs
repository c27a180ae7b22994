//! A PostgreSQL server of a test's own, which it may crash, and a wire to one, which it may cut.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;

use super::member::until;

/// A server with fsync.
pub struct Server {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Makes and starts one; `None` where the environment does not say where PostgreSQL's programs are.
    pub fn start() -> Option<Self> {
        let bin = PathBuf::from(super::service("WRIT_TEST_POSTGRES_BIN")?);
        let dir = tempfile::tempdir().unwrap();
        // It refuses to run as root, and must reach its own directory then.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let mut server = Self {
            bin,
            dir,
            port,
            process: None,
        };
        let data = server.data();
        std::fs::create_dir(&data).unwrap();
        if let Some(user) = server.user() {
            chown(&data, Some(user), None).unwrap();
        }
        let made = server
            .command("initdb")
            .args([
                "-U",
                "writ",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        server.run();
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Another user to run as, where this one is root.
    fn user(&self) -> Option<u32> {
        let own = std::fs::metadata(self.dir.path()).unwrap().uid();
        (own == 0).then_some(65_534)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/").stdin(Stdio::null());
        if let Some(user) = self.user() {
            command.uid(user);
        }
        command
    }

    /// Starts it again after [`Server::crash`].
    pub fn run(&mut self) {
        let data = self.data();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let process = self
            .command("postgres")
            .arg("-D")
            .arg(&data)
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
            ])
            .arg(format!("unix_socket_directories={}", data.display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Ends all of its processes at once, as they are; the next start recovers.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            kill_process(Pid::from_child(&process), Signal::QUIT).unwrap();
            process.wait().unwrap();
        }
    }

    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("writ")
            .database("postgres")
    }

    pub fn wait_until_it_answers(&self) {
        let ready = || {
            self.command("pg_isready")
                .args([
                    "-q",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "writ",
                    "-d",
                    "postgres",
                    "-p",
                ])
                .arg(self.port.to_string())
                .status()
                .unwrap()
                .success()
        };
        until("PostgreSQL answers", ready);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A wire to a server that can be cut behind the server's answer: it did what it was asked, and
/// nobody hears of it.
pub struct Wire {
    address: SocketAddr,
    /// How many more answers are let through before one is swallowed; negative: all.
    answers: Arc<AtomicI64>,
}

impl Wire {
    pub fn to(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(AtomicI64::new(-1));
        let (target, count) = (format!("{host}:{port}"), Arc::clone(&answers));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(&target) else {
                    continue;
                };
                let count = Arc::clone(&count);
                std::thread::spawn(move || carry(client, server, &count));
            }
        });
        Self { address, answers }
    }

    pub fn options(&self, server: &PgConnectOptions) -> PgConnectOptions {
        server.clone().host("127.0.0.1").port(self.address.port())
    }

    /// Swallows the `nth` answer from now on (from 1), and cuts the connection it was for.
    pub fn swallow(&self, nth: i64) {
        self.answers.store(nth - 1, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub fn has_swallowed(&self) -> bool {
        self.answers.load(Ordering::SeqCst) < 0
    }
}

fn carry(client: TcpStream, server: TcpStream, answers: &AtomicI64) {
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    // An answer is whatever the server says after the client has said something.
    let asked = Arc::new(Mutex::new(false));
    let asking = Arc::clone(&asked);
    let forward = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count) = from_client.read(&mut buffer) {
            if count == 0 {
                break;
            }
            *asking.lock().unwrap() = true;
            if to_server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from_server.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let begins = std::mem::take(&mut *asked.lock().unwrap());
        if begins
            && answers.load(Ordering::SeqCst) >= 0
            && answers.fetch_sub(1, Ordering::SeqCst) == 0
        {
            break;
        }
        if to_client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = from_server.shutdown(Shutdown::Both);
    let _ = forward.join();
}
