//! A real proxy before two real slots, programs that start and stop versions there, and people who
//! load it all the time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sandbox::{Answer, Sandbox, copy_bundle};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A version: it answers with the beginning of its digest, or badly.
const VERSION: &str = r#"
import http.server, os, socketserver, sys, time
port, digest = int(sys.argv[1]), sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    def do_GET(self):
        status = 200
        if self.path == "/slow":
            while not os.path.exists("release-slow"):
                time.sleep(0.02)
        elif self.path != "/healthz" and os.path.exists("bad-" + digest):
            status = 500
        body = digest[:8].encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
Server(("127.0.0.1", port), Handler).serve_forever()
"#;

/// Starts a version in a slot, and ends while it runs on.
const START: &str = r#"
import os, subprocess, sys, time
slot, port, digest = sys.argv[1:]
open("starting", "w").close()
while os.path.exists("hold-start"):
    time.sleep(0.02)
null = subprocess.DEVNULL
child = subprocess.Popen([sys.executable, "version.py", port, digest], stdin=null, stdout=null, stderr=null, start_new_session=True)
open("pid-" + slot, "w").write(str(child.pid))
"#;

/// Ends what runs in a slot, if anything does.
const STOP: &str = r#"
import os, signal, sys, time
try:
    pid = int(open("pid-" + sys.argv[1]).read())
except FileNotFoundError:
    sys.exit(0)
os.remove("pid-" + sys.argv[1])
try:
    os.kill(pid, signal.SIGKILL)
    while True:
        os.kill(pid, 0)
        state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
        if state == "Z":
            break
        time.sleep(0.01)
except (ProcessLookupError, FileNotFoundError):
    pass
"#;

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Haproxy,
    Caddy,
}

/// A machine with a service, a proxy and two slots.
pub struct Site {
    pub sandbox: Sandbox,
    pub kind: Kind,
    proxy: Child,
    front: u16,
    admin: String,
    slots: [u16; 2],
}

/// The path of a program that the tests need.
fn program(variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    assert!(
        std::env::var_os("WRIT_REQUIRE_SERVICES").is_none(),
        "{variable} is not set"
    );
    println!("skipped: {variable} is not set");
    None
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    std::array::from_fn(|at| listeners[at].local_addr().unwrap().port())
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Site {
    /// A proxy with nothing behind it; `None` where the tests run without one.
    pub fn new(kind: Kind) -> Option<Self> {
        let program = program(match kind {
            Kind::Haproxy => "WRIT_TEST_HAPROXY",
            Kind::Caddy => "WRIT_TEST_CADDY",
        })?;
        let sandbox = Sandbox::with_shop(crate::sandbox::SHOP);
        for (name, text) in [
            ("version.py", VERSION),
            ("start.py", START),
            ("stop.py", STOP),
        ] {
            sandbox.write(name, text);
        }
        let [front, admin, blue, green] = free_ports();
        let (proxy, admin) = match kind {
            Kind::Haproxy => {
                let socket = sandbox.path("admin.sock").display().to_string();
                let settings = format!(
                    "global\n  stats socket {socket} mode 600 level admin\n  nbthread 1\n\
                     defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n\
                     frontend front\n  bind 127.0.0.1:{front}\n  default_backend shop\n\
                     backend shop\n  balance roundrobin\n\
                     \x20 server blue 127.0.0.1:{blue} disabled\n  server green 127.0.0.1:{green} disabled\n"
                );
                let file = sandbox.path("haproxy.cfg");
                std::fs::write(&file, settings).unwrap();
                (
                    Command::new(program).arg("-db").arg("-f").arg(file).spawn(),
                    socket,
                )
            }
            Kind::Caddy => {
                let settings = format!(
                    r#"{{"admin": {{"listen": "127.0.0.1:{admin}"}}, "logging": {{"logs": {{"default": {{"level": "ERROR"}}}}}},
                    "apps": {{"http": {{"servers": {{"srv0": {{"listen": ["127.0.0.1:{front}"], "metrics": {{}}, "automatic_https": {{"disable": true}},
                    "routes": [{{"handle": [{{"@id": "shop", "handler": "reverse_proxy", "upstreams": []}}]}}]}}}}}}}}}}"#
                );
                let file = sandbox.path("caddy.json");
                std::fs::write(&file, settings).unwrap();
                let child = Command::new(program)
                    .args(["run", "--config"])
                    .arg(file)
                    .env("XDG_CONFIG_HOME", sandbox.path("caddy"))
                    .env("XDG_DATA_HOME", sandbox.path("caddy"))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn();
                (child, format!("http://127.0.0.1:{admin}"))
            }
        };
        let site = Self {
            sandbox,
            kind,
            proxy: proxy.unwrap(),
            front,
            admin,
            slots: [blue, green],
        };
        until("the proxy", || {
            TcpStream::connect(("127.0.0.1", front)).is_ok()
        });
        site.settle("bake = \"1s\"");
        site.only_coverage();
        // A tree with other files than its commit says nothing about the commit.
        site.sandbox.git(&["add", "-A"]);
        site.sandbox.git(&["commit", "-q", "-m", "deploy"]);
        for arguments in [
            &[
                "key",
                "new",
                "--purpose",
                "writ:production",
                "--reason",
                "live",
            ][..],
            &["run"],
        ] {
            let answer = site.writ(arguments);
            assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
        }
        Some(site)
    }

    /// Writes how the environments are deployed to, with more settings.
    pub fn settle(&self, more: &str) {
        let [blue, green] = self.slots;
        let driver = match self.kind {
            Kind::Haproxy => format!(
                "driver = \"haproxy\"\nsocket = \"{}\"\nbackend = \"shop\"",
                self.admin
            ),
            Kind::Caddy => format!(
                "driver = \"caddy\"\ndrain = \"1s\"\nadmin = \"{}\"\nid = \"shop\"",
                self.admin
            ),
        };
        let text = format!(
            "{}\n[environment.staging]\n\n[environment.production.deploy]\n{driver}\n\
             start = [\"/usr/bin/python3\", \"start.py\", \"{{slot}}\", \"{{port}}\", \"{{hex}}\"]\n\
             stop = [\"/usr/bin/python3\", \"stop.py\", \"{{slot}}\"]\n\
             slots = {{ blue = \"127.0.0.1:{blue}\", green = \"127.0.0.1:{green}\" }}\n\
             health = \"http://{{address}}/healthz\"\n{more}\n",
            crate::sandbox::SHOP
        );
        self.sandbox.write("writ.toml", &text);
    }

    /// A bundle that asks for coverage alone, so that this small service passes.
    fn only_coverage(&self) {
        let bundle = self.sandbox.path("bundle");
        copy_bundle(&bundle);
        let file = bundle.join("profiles/startup.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, _) = text.split_once("[environment.default]").unwrap();
        let text = format!("{head}[environment.default]\ncontrols = [\"TST-01\"]\n");
        std::fs::write(&file, text).unwrap();
    }

    /// The binary with that bundle, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env("WRIT_BUNDLE", self.sandbox.path("bundle"));
        command
    }

    /// Runs the binary.
    pub fn writ(&self, arguments: &[&str]) -> Answer {
        crate::sandbox::answer(self.command(arguments).output().unwrap())
    }

    /// Lets the gate pass an artefact.
    pub fn gate(&self, artifact: &str) {
        let gate = self.writ(&["gate", "production", "--artifact", artifact]);
        assert_eq!(gate.code, 0, "{}{}", gate.out, gate.err);
    }

    /// Lets the gate pass an artefact and deploys it.
    pub fn deploy(&self, artifact: &str) -> Answer {
        self.gate(artifact);
        self.writ(&["deploy", "production", "--digest", artifact, "-f", "json"])
    }

    /// What one request gets: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        Connection::open(self.front)?.get(path)
    }

    /// People who load the front until they are told to stop.
    pub fn load(&self) -> Load {
        // Caddy closes connections while it takes up a change.
        let haproxy = self.kind == Kind::Haproxy;
        Load::start(self.front, haproxy, !haproxy)
    }

    /// The slots in which something listens.
    pub fn listening(&self) -> Vec<&'static str> {
        ["blue", "green"]
            .into_iter()
            .zip(self.slots)
            .filter(|(_, port)| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            .map(|(name, _)| name)
            .collect()
    }

    /// The journal's step.
    pub fn step(&self) -> String {
        let file = self
            .sandbox
            .path("home/.local/share/writ/store/deployments/production/shop.json");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        value["step"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
        for slot in ["blue", "green"] {
            let stop = self.sandbox.path("work").join(format!("pid-{slot}"));
            if let Ok(pid) = std::fs::read_to_string(stop) {
                let _ = Command::new("/bin/kill").args(["-9", pid.trim()]).status();
            }
        }
    }
}

/// A connection that is kept open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self(BufReader::new(stream)))
    }

    fn get(&mut self, path: &str) -> Result<(u16, String), String> {
        let fault = |error: std::io::Error| error.to_string();
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n");
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(fault)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(fault)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| format!("no answer: {line:?}"))?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).map_err(fault)?;
            if line.trim().is_empty() {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| line.clone())?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).map_err(fault)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// People who load a proxy.
pub struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    people: Vec<std::thread::JoinHandle<()>>,
}

/// What they got.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Good answers by version.
    pub good: BTreeMap<String, u64>,
    /// Everything else.
    pub bad: Vec<String>,
}

impl Load {
    /// Some keep a connection, where the proxy keeps them over a change; one opens one each time.
    /// `again`: a connection that breaks without an answer is tried once more, as HTTP clients do.
    fn start(port: u16, keep: bool, again: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let people = [keep, keep, false]
            .into_iter()
            .map(|keep| {
                let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let mut ask = || {
                            let mut connection = match kept.take() {
                                Some(connection) => connection,
                                None => Connection::open(port)?,
                            };
                            let got = connection.get("/")?;
                            if keep {
                                kept = Some(connection);
                            }
                            Ok(got)
                        };
                        let mut got: Result<(u16, String), String> = ask();
                        if got.is_err() && again {
                            got = ask();
                        }
                        let mut seen = seen.lock().unwrap();
                        match got {
                            Ok((200, version)) => *seen.good.entry(version).or_default() += 1,
                            Ok((status, version)) => seen.bad.push(format!("{status} {version}")),
                            Err(error) => seen.bad.push(error),
                        }
                        drop(seen);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                })
            })
            .collect();
        Self { stop, seen, people }
    }

    /// What they got so far.
    pub fn so_far(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until a version has answered.
    pub fn answered_by(&self, version: &str) {
        until(version, || self.so_far().good.contains_key(version));
    }

    /// Ends it.
    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for person in self.people {
            person.join().unwrap();
        }
        self.seen.lock().unwrap().clone()
    }
}
