//! Keys from the command line: made, handed over, revoked, imported, and kept in Vault.

use serde_json::{Value, json};
use writ_connect::http::Request;
use writ_connect::{Client, ClientOptions, Secret};

use crate::sandbox::{Answer, SHOP, Sandbox, answer};

fn repository() -> Sandbox {
    let sandbox = Sandbox::with_shop(SHOP);
    good(sandbox.writ(&["run"]));
    sandbox
}

fn good(answer: Answer) -> Answer {
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
    answer
}

fn refused(answer: Answer, code: i32, words: &str) {
    assert_eq!(answer.code, code, "{}{}", answer.out, answer.err);
    assert!(answer.err.contains(words), "{}", answer.err);
}

/// The state of each key by its name.
fn states(sandbox: &Sandbox) -> Value {
    let listed = good(sandbox.writ(&["key", "list", "-f", "json"])).json();
    assert_eq!(listed["schema"], "writ.keys/1");
    assert_eq!(listed["disagreements"], json!([]));
    let keys = listed["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| {
            (
                key["name"].as_str().unwrap().to_owned(),
                key["state"].clone(),
            )
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn keys_hand_over_and_are_revoked_from_the_command_line() {
    let sandbox = repository();
    let first = json!({"log": "signs", "producer": "signs", "writ-preview": "signs"});
    assert_eq!(states(&sandbox), first);
    refused(
        sandbox.writ(&["key", "new", "--purpose", "producer"]),
        2,
        "writ key rotate",
    );
    refused(
        sandbox.writ(&["key", "rotate", "writ:production"]),
        2,
        "writ key new",
    );
    refused(sandbox.writ(&["key", "rotate", "nonsense"]), 2, "nonsense");
    refused(
        sandbox.writ(&["key", "rotate", "log", "--overlap", "1s"]),
        2,
        "overlap",
    );
    assert_eq!(states(&sandbox), first);

    let rotated = good(sandbox.writ(&[
        "key",
        "rotate",
        "producer",
        "--overlap",
        "1h",
        "--reason",
        "quarterly",
        "-f",
        "json",
    ]))
    .json();
    assert_eq!(rotated["new"]["name"], "producer-2");
    assert_eq!(rotated["ended"]["state"], "ends");
    good(sandbox.writ(&["key", "rotate", "log", "--reason", "quarterly"]));
    good(sandbox.writ(&["run", "--no-cache"]));

    // The old one cannot end without a reason, and not while it signs.
    refused(
        sandbox.writ(&["key", "revoke", "producer"]),
        2,
        "needs a reason",
    );
    refused(
        sandbox.writ(&["key", "revoke", "producer-2", "--reason", "x"]),
        2,
        "signs for producer now",
    );
    let revoked = good(sandbox.writ(&[
        "key",
        "revoke",
        "producer",
        "--reason",
        "the laptop was stolen",
    ]));
    assert!(
        revoked.out.contains("revoked: counts until"),
        "{}",
        revoked.out
    );
    let shown = good(sandbox.writ(&["key", "show", "producer"]));
    for words in [
        "revoked",
        "the laptop was stolen",
        "handed over",
        "BEGIN PUBLIC KEY",
    ] {
        assert!(shown.out.contains(words), "{words}: {}", shown.out);
    }
    refused(sandbox.writ(&["key", "show", "nobody"]), 2, "writ key list");
    // Everything from before and after is good, offline.
    good(sandbox.writ(&["verify", "--offline"]));
    assert_eq!(states(&sandbox)["producer"], "revoked");
    assert_eq!(states(&sandbox)["log-2"], "signs");

    // Out of the trust directory by hand: noticed.
    let trust = sandbox.path("home/.local/share/writ/trust/trust.toml");
    let text = std::fs::read_to_string(&trust).unwrap();
    let begin = text.find("[[key]]\nname = \"producer\"\n").unwrap();
    let end = begin + 1 + text[begin + 1..].find("[[key]]").unwrap();
    std::fs::write(&trust, format!("{}{}", &text[..begin], &text[end..])).unwrap();
    let listed = good(sandbox.writ(&["key", "list"]));
    assert!(listed.out.contains("wrong:"), "{}", listed.out);
    assert_eq!(sandbox.writ(&["verify"]).code, 1);
}

#[test]
fn keys_come_and_go_as_files() {
    let sandbox = repository();
    let with = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("WRIT_KEY_PASSPHRASE", "open sesame");
        answer(command.output().unwrap())
    };
    // A sealed key for an environment: the gate's writs are no previews any more.
    let new = ["key", "new", "--purpose", "writ:production", "--sealed"];
    refused(sandbox.writ(&new), 3, "WRIT_KEY_PASSPHRASE");
    good(with(&new));
    let file = sandbox.path("home/.local/share/writ/trust/writ-production.key");
    let sealed = std::fs::read_to_string(&file).unwrap();
    assert!(sealed.contains("ENCRYPTED"), "{sealed}");

    // Its public half, as files elsewhere have it.
    let exported = good(sandbox.writ(&["key", "export", "writ-production"]));
    assert!(exported.out.starts_with("-----BEGIN PUBLIC KEY-----"));
    sandbox.write("production.pub", &exported.out);
    refused(
        sandbox.writ(&[
            "key",
            "import",
            "production.pub",
            "--purpose",
            "writ:production",
        ]),
        2,
        "listed already",
    );
    refused(
        sandbox.writ(&["key", "import", "none.pub", "--purpose", "producer"]),
        2,
        "none.pub",
    );
    refused(
        sandbox.writ(&["key", "export", "producer", "--vkey"]),
        2,
        "does not sign for log",
    );
    let vkey = good(sandbox.writ(&["key", "export", "log", "--vkey"]));
    assert!(vkey.out.starts_with("writ.local/"), "{}", vkey.out);

    // Another machine's public key is believed here, and signs nothing here.
    let other = repository();
    let theirs = good(other.writ(&["key", "export", "producer"])).out;
    sandbox.write("ci.pub", &theirs);
    good(sandbox.writ(&[
        "key",
        "import",
        "ci.pub",
        "--purpose",
        "producer",
        "--name",
        "ci",
        "--reason",
        "the job of shop",
    ]));
    assert_eq!(states(&sandbox)["ci"], "valid");
    // A private key of another machine takes over here.
    let theirs = other.path("home/.local/share/writ/trust/writ-preview.key");
    let moved = [
        "key",
        "rotate",
        "writ:production",
        "--from",
        theirs.to_str().unwrap(),
        "--sealed",
    ];
    good(with(&moved));
    assert_eq!(states(&sandbox)["writ-production-2"], "signs");
    good(sandbox.writ(&["verify"]));
}

/// A transit engine of its own in the tests' server; the operator is root.
fn engine() -> Option<(String, String)> {
    let Ok(address) = std::env::var("WRIT_TEST_VAULT") else {
        assert!(
            std::env::var_os("WRIT_REQUIRE_SERVICES").is_none(),
            "WRIT_TEST_VAULT is not set"
        );
        println!("skipped: WRIT_TEST_VAULT is not set");
        return None;
    };
    let mut random = [0_u8; 6];
    getrandom::fill(&mut random).unwrap();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mount = format!("writ-{hex}");
    let body = json!({"type": "transit"});
    let mut request = Request::post(format!("v1/sys/mounts/{mount}"), &body);
    let root = Secret::new("root".to_owned()).unwrap();
    request.secrets.push(("X-Vault-Token", root));
    let client = Client::new(&address, ClientOptions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let reply = runtime.block_on(client.send(&request)).unwrap();
    assert!(
        reply.is_success(),
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    Some((address, mount))
}

#[test]
fn a_store_signs_with_keys_that_never_leave_vault() {
    let Some((address, mount)) = engine() else {
        return;
    };
    let sandbox = repository();
    let home = sandbox.path("home/.local/share/writ");
    std::fs::write(home.join("vault.token"), "root\n").unwrap();
    let file = home.join("store.toml");
    let text = format!(
        "version = 1\ndirectory = \"store\"\ntrust = \"trust\"\n[keys]\ndriver = \"vault\"\naddress = \"{address}\"\nmount = \"{mount}\"\nlogin = {{ method = \"token\", file = \"vault.token\" }}\n"
    );
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    let writ = |arguments: &[&str]| {
        let mut all = vec!["--store", file];
        all.extend(arguments);
        sandbox.writ(&all)
    };
    // Every purpose moves there: keys of three kinds, one after the other.
    for (purpose, name) in [("producer", "producer-2"), ("log", "log-2")] {
        let changed = good(writ(&["key", "rotate", purpose, "-f", "json"])).json();
        assert_eq!(changed["new"]["name"], name);
        let place = changed["new"]["privateHalf"].as_str().unwrap();
        assert!(
            place.starts_with(&format!("vault://{mount}/keys/writ.local-"))
                && place.ends_with("?version=1"),
            "{place}"
        );
        assert!(!home.join(format!("trust/{name}.key")).exists());
    }
    good(writ(&[
        "key",
        "new",
        "--purpose",
        "writ:production",
        "--vault",
        "shop-writs",
    ]));
    good(writ(&["run", "--no-cache"]));
    let gate = writ(&["gate", "production", "-f", "json"]);
    assert!(gate.code == 0 || gate.code == 1, "{}", gate.err);
    // The next version of the same key.
    let again = good(writ(&["key", "rotate", "producer", "-f", "json"])).json();
    let place = again["new"]["privateHalf"].as_str().unwrap();
    assert!(place.ends_with("?version=2"), "{place}");
    good(writ(&["run", "--no-cache"]));
    // Verifying asks nobody.
    std::fs::write(home.join("vault.token"), "wrong\n").unwrap();
    good(writ(&["verify", "--offline"]));
    // Without Vault nothing is recorded, and it says where it asked.
    refused(writ(&["run", "--no-cache"]), 3, "vault://");
    // And without a way to ask it either.
    refused(writ(&["key", "rotate", "log", "--offline"]), 2, "Vault");
    std::fs::write(home.join("vault.token"), "root\n").unwrap();
    // Back into a file.
    good(writ(&["key", "rotate", "log", "--file"]));
    good(writ(&["verify"]));
    let listed = good(writ(&["key", "list"]));
    assert!(listed.out.contains("file:log-3.key"), "{}", listed.out);
    // What is wrong in the file has a line.
    std::fs::write(home.join("store.toml"), text.replace("mount", "mont")).unwrap();
    refused(writ(&["key", "list"]), 2, "mont");
}
