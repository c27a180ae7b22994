//! The command line as a client: evidence goes to a real server, decisions come from it, and nothing
//! is lost or doubled when it goes away, loses answers, or is somebody else.

use std::net::SocketAddr;

use crate::between::{Between, Way, answer as http};
use crate::sandbox::{Answer, Listening, SHOP, Sandbox, answer};

/// A repository whose server is reached through a forwarder.
struct World {
    sandbox: Sandbox,
    between: Between,
    server: Option<Listening>,
}

impl World {
    /// The server runs, and the key of the client is known to it.
    fn new() -> Self {
        let mut world = Self::without_server();
        world.start("server");
        world.introduce("server");
        world
    }

    /// Makes the key of the client known to the server of a home.
    fn introduce(&self, home: &str) {
        let key = self.writ(&["key", "export", "producer"]);
        assert_eq!(key.code, 0, "{}", key.err);
        self.sandbox.write("producer.pub", &key.out);
        let import = ["key", "import", "producer.pub", "--purpose", "producer"];
        let named = ["--name", "ada", "--reason", "a laptop"];
        let known = self.on_server(home, &[&import[..], &named[..]].concat());
        assert_eq!(known.code, 0, "{}", known.err);
        std::fs::remove_file(self.sandbox.path("work/producer.pub")).unwrap();
    }

    fn without_server() -> Self {
        let between = Between::new();
        let place = format!(
            "profile = \"startup\"\n\n[server]\nurl = \"{}\"\n",
            between.url()
        );
        let sandbox = Sandbox::with_shop(&SHOP.replace("profile = \"startup\"\n", &place));
        Self {
            sandbox,
            between,
            server: None,
        }
    }

    /// Starts a server over the store of a home, and puts it behind the forwarder.
    fn start(&mut self, home: &str) {
        self.start_with(home, "");
    }

    /// The same with settings.
    fn start_with(&mut self, home: &str, settings: &str) {
        assert!(self.server.is_none());
        let config = self.sandbox.path("server.toml");
        std::fs::write(&config, settings).unwrap();
        let config = config.display().to_string();
        let serve = ["serve", "--config", &config, "--listen", "127.0.0.1:0"];
        let mut command = self.command(home, &[&serve[..], &["-f", "json"]].concat());
        let server = Listening::start(&mut command, None);
        let address: SocketAddr = server.address().parse().unwrap();
        self.between.leads_to(Some(address));
        self.server = Some(server);
    }

    /// Kills it as a crash does.
    fn kill(&mut self) {
        self.server.take().unwrap().kill();
        self.between.leads_to(None);
    }

    /// A command on the client's machine.
    fn writ(&self, arguments: &[&str]) -> Answer {
        self.sandbox.writ(arguments)
    }

    fn command(&self, home: &str, arguments: &[&str]) -> std::process::Command {
        let home = self.sandbox.path(home);
        std::fs::create_dir_all(&home).unwrap();
        let mut command = self.sandbox.command(arguments);
        command.env("HOME", home);
        command
    }

    /// A command on the server's machine, which has a store and no server.
    fn on_server(&self, home: &str, arguments: &[&str]) -> Answer {
        answer(self.command(home, arguments).output().unwrap())
    }

    /// Evidence of the service as the server's own store has it, oldest first: id and stage.
    fn recorded(&self) -> Vec<(String, String)> {
        let url = format!(
            "{}/api/v1/evidence?service=shop&limit=1000",
            self.between.url()
        );
        let answer = get(&url);
        let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let mut items: Vec<(u64, String, String)> = value["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                (
                    item["index"].as_u64().unwrap(),
                    item["id"].as_str().unwrap().to_owned(),
                    item["predicateType"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        items.sort();
        items.into_iter().map(|(_, id, kind)| (id, kind)).collect()
    }

    fn waiting(&self) -> usize {
        let listed = self.writ(&["spool", "list", "-f", "json"]);
        assert_eq!(listed.code, 0, "{}", listed.err);
        listed.json()["waiting"].as_array().unwrap().len()
    }
}

/// A message without the line breaks of its screen.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The body of a page, over the standard library alone.
fn get(url: &str) -> String {
    use std::io::{Read as _, Write as _};
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return unchunk(body);
    }
    body.to_owned()
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

#[test]
fn a_repository_with_a_server_in_one_line() {
    let world = World::new();
    let ran = world.writ(&["run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        flat(&ran.out).contains("delivered 2 statements, receipts checked"),
        "{}",
        ran.out
    );
    assert!(!flat(&ran.out).contains("came late"), "{}", ran.out);
    assert_eq!(world.waiting(), 0);
    // The client has no store; the server has everything, once.
    assert!(!world.sandbox.path("home/.local/share/writ/store").exists());
    assert_eq!(world.recorded().len(), 2);
    let receipts = std::fs::read_dir(
        world
            .sandbox
            .path("home/.local/state/writ/servers")
            .join(format!("http_{}", world.between.address).replace(':', "_"))
            .join("spool/receipts"),
    );
    assert_eq!(receipts.unwrap().count(), 2);

    // A report of another tool.
    world.sandbox.write(
        "lcov.info",
        "TN:\nSF:src/shop.py\nDA:1,1\nLF:1\nLH:1\nend_of_record\n",
    );
    let attested = world.writ(&["attest", "lcov.info"]);
    assert_eq!(attested.code, 0, "{}{}", attested.out, attested.err);
    assert!(attested.out.starts_with("recorded"), "{}", attested.out);

    // The server decides; client and server name the same decision, and so does what is recorded.
    let gate = world.writ(&["gate", "production", "-f", "json"]);
    assert_eq!(gate.code, 1, "{}", gate.err);
    let decided = gate.json();
    assert_eq!(decided["schema"], "writ.gate/1");
    let id = decided["decisionId"].as_str().unwrap();
    let there: serde_json::Value = serde_json::from_str(&get(&format!(
        "{}/api/v1/decisions/{id}",
        world.between.url()
    )))
    .unwrap();
    assert_eq!(there["id"], id);
    assert_eq!(there["index"], decided["logIndex"]);
    assert!(decided["url"].as_str().unwrap().ends_with(id));
    let replayed = world.on_server("server", &["replay", id]);
    assert_eq!(replayed.code, 0, "{}{}", replayed.out, replayed.err);

    // What is read comes from the server too.
    let why = world.writ(&["why"]);
    assert_eq!(why.code, 0, "{}", why.err);
    assert!(
        why.out.contains("BLOCKED") || why.out.contains("blocked"),
        "{}",
        why.out
    );
    let by_id = world.writ(&["why", &id[..12], "-f", "json"]);
    assert_eq!(by_id.json()["decisionId"], id, "{}", by_id.err);
    let status = world.writ(&["status", "-f", "json"]);
    assert_eq!(status.code, 0, "{}", status.err);
    let status = status.json();
    assert_eq!(status["environments"][0]["decision"], id);
    // The stage, the run, what was handed in, and the decision.
    assert_eq!(status["evidence"].as_array().unwrap().len(), 4);
    assert_eq!(status["server"], world.between.url());
    // Everything that is there verifies.
    assert_eq!(world.on_server("server", &["verify"]).code, 0);
}

#[test]
fn a_server_that_goes_away_loses_nothing_and_the_gap_is_recorded() {
    let mut world = World::new();
    assert_eq!(world.writ(&["run"]).code, 0);
    let before = world.recorded();
    world.kill();
    // Work goes on: signed and queued here.
    let mut queued = Vec::new();
    for _ in 0..2 {
        let ran = world.writ(&["run", "-f", "json"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        let server = &ran.json()["server"];
        assert!(
            server["away"]
                .as_str()
                .unwrap()
                .contains("cannot be reached"),
            "{server}"
        );
        queued.push(server["waiting"].as_u64().unwrap());
    }
    assert_eq!(queued, [2, 4]);
    // Nobody can tell what the answer is.
    let gate = world.writ(&["gate", "production"]);
    assert_eq!(gate.code, 3, "{}", gate.out);
    assert!(flat(&gate.err).contains("cannot decide"), "{}", gate.err);
    assert!(
        flat(&gate.err).contains("4 statements wait in the spool"),
        "{}",
        gate.err
    );
    let status = world.writ(&["status"]);
    assert_eq!(status.code, 3, "{}", status.out);
    assert!(
        flat(&status.err).contains("4 statements wait"),
        "{}",
        status.err
    );
    let listed = world.writ(&["spool", "list", "-f", "json"]).json();
    let order: Vec<String> = listed["waiting"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();

    // It is back, elsewhere: the next question delivers first, in order, and tells the gap.
    world.start("server");
    let gate = world.writ(&["gate", "production"]);
    assert_eq!(gate.code, 1, "{}{}", gate.out, gate.err);
    assert!(
        flat(&gate.err).contains("delivered 4 statements"),
        "{}",
        gate.err
    );
    assert!(
        flat(&gate.err).contains("the gap is recorded as ev_"),
        "{}",
        gate.err
    );
    assert_eq!(world.waiting(), 0);
    let after: Vec<String> = world.recorded().into_iter().map(|(id, _)| id).collect();
    let delivered: Vec<&String> = after.iter().filter(|id| order.contains(id)).collect();
    assert_eq!(
        delivered,
        order.iter().collect::<Vec<_>>(),
        "in order, each once"
    );
    assert!(before.iter().all(|(id, _)| after.contains(id)));
    // Nothing is told twice.
    let again = world.writ(&["gate", "production"]);
    assert!(!flat(&again.err).contains("delivered"), "{}", again.err);
    assert_eq!(world.on_server("server", &["verify"]).code, 0);
}

#[test]
fn lost_answers_and_an_overloaded_server_double_nothing() {
    let world = World::new();
    // The answer to the evidence is lost twice after it was recorded.
    world.between.set(Way::LoseAnswers(2));
    let ran = world.writ(&["run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        flat(&ran.out).contains("delivered 2 statements"),
        "{}",
        ran.out
    );
    assert_eq!(world.recorded().len(), 2);
    // The answer to the question is lost: the same question is decided once.
    world.between.set(Way::LoseAnswers(1));
    let gate = world.writ(&["gate", "production", "-f", "json"]);
    assert_eq!(gate.code, 1, "{}", gate.err);
    let decisions: serde_json::Value =
        serde_json::from_str(&get(&format!("{}/api/v1/decisions", world.between.url()))).unwrap();
    assert_eq!(decisions["items"].as_array().unwrap().len(), 1);
    // Overloaded for a moment.
    let busy = http(429, "retry-after: 0\r\n", "");
    world.between.set(Way::Answer(2, busy));
    world.between.seen();
    assert_eq!(world.writ(&["gate", "production"]).code, 1);
    let posts = world
        .between
        .seen()
        .iter()
        .filter(|head| head.starts_with("POST"))
        .count();
    assert_eq!(posts, 3);
    // It fails, and goes on failing: the evidence stays, and the gate cannot tell.
    world
        .between
        .set(Way::Answer(100, http(500, "", "<h1>no</h1>")));
    let ran = world.writ(&["run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(
        flat(&ran.out).contains("2 statements wait in the spool"),
        "{}",
        ran.out
    );
    let gate = world.writ(&["gate", "production"]);
    assert_eq!(gate.code, 3, "{}{}", gate.out, gate.err);
    world.between.set(Way::Forward);
    let delivered = world.writ(&["spool", "deliver"]);
    assert_eq!(delivered.code, 0, "{}", delivered.err);
    assert_eq!(world.waiting(), 0);
}

#[test]
fn a_server_that_is_somebody_else_is_not_believed() {
    let mut world = World::new();
    assert_eq!(world.writ(&["run"]).code, 0);
    world.kill();
    // Another server at the same address, with keys and a ledger of its own.
    world.start("pretender");
    world.introduce("pretender");
    let ran = world.writ(&["run"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(
        flat(&ran.err).contains("not the one that is known here"),
        "{}",
        ran.err
    );
    assert_eq!(world.waiting(), 2, "what it took without proof is kept");
    let gate = world.writ(&["gate", "production"]);
    assert_eq!(gate.code, 3, "{}{}", gate.out, gate.err);
    assert!(!gate.out.contains("BLOCKED"), "{}", gate.out);
    // The right one is back.
    world.kill();
    world.start("server");
    let delivered = world.writ(&["spool", "deliver"]);
    assert_eq!(delivered.code, 0, "{}", delivered.err);
    assert_eq!(world.waiting(), 0);
}

#[test]
fn answers_that_no_server_gives_are_refused() {
    let world = World::new();
    assert_eq!(world.writ(&["run"]).code, 0);
    let json = "content-type: application/json\r\n";
    let problem = "content-type: application/problem+json\r\n";
    let refusal = r#"{"type":"urn:writ:problem:not-allowed","title":"This is not allowed to you","detail":"ada may not decide","required":"the role service","fix":["ask dana"]}"#;
    let yes = r#"{"schema":"writ.gate/1","exitCode":0,"sentence":"yes","answer":"yes"}"#;
    for (answer, code, part) in [
        (http(200, json, "not json at all"), 3, "does not answer"),
        (http(200, json, yes), 3, "does not answer"),
        (
            http(302, "location: http://127.0.0.1:1/\r\n", ""),
            3,
            "not followed",
        ),
        (http(403, problem, refusal), 4, "ada may not decide"),
        (http(401, "", ""), 4, "WRIT_TOKEN"),
        (http(404, "", "<html>"), 2, "status 404"),
        (http(200, json, &" ".repeat(40 << 20)), 3, "more than"),
    ] {
        world.between.set(Way::Answer(1, answer));
        let gate = world.writ(&["gate", "production"]);
        assert_eq!(gate.code, code, "{part}: {}{}", gate.out, gate.err);
        assert!(flat(&gate.err).contains(part), "{part}: {}", gate.err);
    }
    // A profile that does not bind, and a key that nobody trusts.
    world.between.set(Way::Forward);
    assert_eq!(world.writ(&["gate", "production"]).code, 1);
    let text = std::fs::read_to_string(world.sandbox.path("work/writ.toml")).unwrap();
    world
        .sandbox
        .write("writ.toml", &text.replace("startup", "soc2"));
    let gate = world.writ(&["gate", "production"]);
    assert_eq!(gate.code, 2, "{}", gate.out);
    assert!(
        flat(&gate.err).contains("profile = \"startup\""),
        "{}",
        gate.err
    );
    world.sandbox.write("writ.toml", &text);
    let stranger = answer(
        world
            .sandbox
            .command(&["run"])
            .env("HOME", world.sandbox.path("stranger"))
            .output()
            .unwrap(),
    );
    assert_eq!(stranger.code, 3, "{}{}", stranger.out, stranger.err);
    assert!(
        flat(&stranger.err).contains("writ key import"),
        "{}",
        stranger.err
    );
}

#[test]
fn the_address_and_the_token_come_from_where_they_should() {
    let world = World::without_server();
    // A token is sent to the server, and nothing tells it.
    let gate = answer(
        world
            .sandbox
            .command(&["gate", "production"])
            .env("WRIT_TOKEN", "hunter2-secret")
            .env("WRIT_SERVER", world.between.url())
            .output()
            .unwrap(),
    );
    assert_eq!(gate.code, 3, "{}", gate.err);
    assert!(!flat(&gate.err).contains("hunter2"), "{}", gate.err);
    let heads = world.between.seen();
    assert!(
        heads.iter().any(|head| head
            .to_ascii_lowercase()
            .contains("authorization: bearer hunter2-secret")),
        "{heads:?}"
    );
    // The flag is before the file; plain http goes to this machine only.
    let gate = world.writ(&["gate", "production", "--server", "http://writ.example"]);
    assert_eq!(gate.code, 2, "{}", gate.err);
    assert!(flat(&gate.err).contains("plain http"), "{}", gate.err);
    let offline = world.writ(&["gate", "production", "--offline"]);
    assert_eq!(offline.code, 3, "{}", offline.err);
    assert!(world.between.seen().is_empty());
    world.sandbox.write(
        "writ.toml",
        "version = 1\nservice = \"shop\"\n[server]\nurl = \"http://writ.example\"\n",
    );
    let status = world.writ(&["status"]);
    assert_eq!(status.code, 2, "{}", status.err);
    assert!(flat(&status.err).contains("allow_http"), "{}", status.err);
}

#[test]
fn a_file_that_is_too_large_for_a_request_comes_in_parts() {
    let mut world = World::without_server();
    world.start_with(
        "server",
        "[limits]\nbatch_bytes = 60000\nenvelope_bytes = 60000\n",
    );
    world.introduce("server");
    // A report of 200 kB.
    world.sandbox.write(
        "test.sh",
        "{ printf 'TN:%0200000d\\n' 0; printf 'SF:src/shop.py\\nDA:1,1\\nDA:2,1\\nLF:2\\nLH:2\\nend_of_record\\n'; } > lcov.info\n",
    );
    world.sandbox.git(&["commit", "-qam", "a large report"]);
    world.between.seen();
    let ran = world.writ(&["run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(world.waiting(), 0);
    let heads = world.between.seen();
    assert!(
        heads
            .iter()
            .any(|head| head.starts_with("POST /api/v1/uploads/sha256:")),
        "{heads:?}"
    );
    let verified = world.on_server("server", &["verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[test]
fn exemptions_are_asked_for_here_and_answered_at_the_server() {
    let world = World::new();
    assert_eq!(world.writ(&["run"]).code, 0);
    let ask = ["exempt", "request", "TST-01", "--env", "production"];
    let asked = world.writ(&[&ask[..], &["--reason", "the suite is being moved"]].concat());
    assert_eq!(asked.code, 0, "{}", asked.err);
    assert!(asked.out.starts_with("EX-1"), "{}", asked.out);
    let place = format!("{}/exemptions/EX-1", world.between.url());
    assert!(flat(&asked.err).contains(&place), "{}", asked.err);
    let long = world.writ(&[&ask[..], &["--days", "400", "--reason", "for ever"]].concat());
    assert_ne!(long.code, 0);
    assert!(flat(&long.err).contains("at most 30 days"), "{}", long.err);
    let never = world.writ(&["exempt", "request", "CHG-03", "--reason", "nobody is here"]);
    assert!(
        flat(&never.err).contains("cannot be exempted"),
        "{}",
        never.err
    );

    let inbox = world.writ(&["inbox", "-f", "json"]);
    assert_eq!(inbox.code, 0, "{}", inbox.err);
    let inbox = inbox.json();
    assert_eq!(inbox["items"][0]["name"], "EX-1", "{inbox}");
    assert_eq!(inbox["items"][0]["address"], place);
    let shown = world.writ(&["exempt", "show", "EX-1", "-f", "json"]);
    assert_eq!(shown.json()["standing"], "requested", "{}", shown.err);
    assert_eq!(world.writ(&["exempt", "show", "../EX-1"]).code, 2);
    for act in ["approve", "reject"] {
        let refused = world.writ(&[act, "EX-1", "--reason", "fine"]);
        assert_eq!(refused.code, 4, "{}", refused.err);
        assert!(flat(&refused.err).contains(&place), "{}", refused.err);
    }
}
