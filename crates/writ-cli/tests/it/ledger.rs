//! Receipts, publication, following and witnesses from the command line.

use std::process::Command;

use crate::sandbox::{Listening, Sandbox};

/// A machine with one entry in its ledger.
fn with_evidence() -> Sandbox {
    let sandbox = Sandbox::with_repository(&[("a.txt", "a")]);
    assert_eq!(sandbox.writ(&["init", "--no-hook", "--ci", "none"]).code, 0);
    attest(&sandbox, "first");
    sandbox
}

fn attest(sandbox: &Sandbox, name: &str) {
    let report = format!(
        r#"<testsuite name="a" tests="1"><testcase name="{name}" classname="c"/></testsuite>"#
    );
    sandbox.write("junit.xml", &report);
    let answer = sandbox.writ(&["attest", "junit.xml", "--service", "shop"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
}

fn publish(sandbox: &Sandbox, dir: &str) -> String {
    let answer = sandbox.writ(&["ledger", "publish", dir, "-f", "json"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    answer.json()["vkeys"][0].as_str().unwrap().to_owned()
}

#[test]
fn a_receipt_verifies_where_there_is_no_store() {
    let sandbox = with_evidence();
    let vkey = publish(&sandbox, "../web");
    let answer = sandbox.writ(&["ledger", "prove", "0", "-o", "r.tlog-proof"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    let elsewhere = [
        "--store",
        "../none",
        "--trust",
        "../none",
        "verify",
        "r.tlog-proof",
    ];
    let check = |vkey: &str| sandbox.writ(&[&elsewhere[..], &["--vkey", vkey]].concat());
    let good = check(&vkey);
    assert_eq!(good.code, 0, "{}", good.err);
    assert!(good.out.contains("entry 0 is in"), "{}", good.out);
    let other = "log.example+1dd5ac4c+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
    assert_eq!(check(other).code, 2, "a key whose id is wrong");
    // Without its entry there is nothing to check it against.
    sandbox.writ(&[
        "ledger",
        "prove",
        "0",
        "--without-entry",
        "-o",
        "r.tlog-proof",
    ]);
    let bare = check(&vkey);
    assert_eq!(bare.code, 1);
    assert!(bare.out.contains("does not enclose"), "{}", bare.out);
    assert_eq!(sandbox.writ(&["ledger", "prove", "99"]).code, 2);
}

#[test]
fn a_published_log_is_followed_and_a_rollback_is_an_alarm_with_evidence() {
    let sandbox = with_evidence();
    let vkey = publish(&sandbox, "../old");
    publish(&sandbox, "../web");
    attest(&sandbox, "second");
    publish(&sandbox, "../web");
    let follow = |dir: &str| {
        sandbox.writ(&[
            "ledger", "monitor", dir, "--vkey", &vkey, "--state", "../seen", "--once", "-f", "json",
        ])
    };
    let good = follow("../web");
    assert_eq!(good.code, 0, "{}", good.err);
    assert_eq!(good.json()["size"], 2);
    assert_eq!(good.json()["hashesOnly"], 2);
    let alarm = follow("../old");
    assert_eq!(alarm.code, 1, "{}", alarm.err);
    assert_eq!(alarm.json()["alarm"], "rollback");
    let found: Vec<String> = std::fs::read_dir(sandbox.path("."))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ledger-alarm-rollback-"))
        .collect();
    let evidence = std::fs::read(sandbox.path(&found[0])).unwrap();
    let evidence: serde_json::Value = serde_json::from_slice(&evidence).unwrap();
    assert!(evidence["held"].as_str().unwrap().contains("\n2\n"));
    assert!(evidence["served"].as_str().unwrap().contains("\n1\n"));
    // What is held did not change; what cannot be read is no alarm.
    assert_eq!(follow("../web").code, 0);
    assert_eq!(follow("../nowhere").code, 3);
    let answer = sandbox.writ(&["ledger", "publish", "../web", "--head", "--entries"]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(sandbox.path("web/tile/entries/000.p/2").is_file());
}

fn witness(sandbox: &Sandbox, log: &str) -> Listening {
    let mut command = Command::new(env!("CARGO_BIN_EXE_writ"));
    command
        .args(["witness", "--key", "w.key", "--name", "witness.example/w1"])
        .args(["--state", "w", "--listen", "127.0.0.1:0", "-f", "json"])
        .args(["--log", log])
        .current_dir(sandbox.path("."))
        .env("HOME", sandbox.path("home"));
    Listening::start(&mut command, None)
}

#[test]
fn a_killed_witness_still_knows_what_it_cosigned() {
    let sandbox = with_evidence();
    assert_eq!(sandbox.writ(&["ledger", "cosign"]).code, 2, "no policy");
    let vkey = publish(&sandbox, "../before");
    let policy = |about: &serde_json::Value| {
        let (address, key) = (
            about["address"].as_str().unwrap(),
            about["vkey"].as_str().unwrap(),
        );
        let text = format!("log {vkey}\nwitness w1 {key} http://{address}\nquorum w1\n");
        std::fs::write(sandbox.path("policy"), text).unwrap();
    };
    let cosign = || sandbox.writ(&["ledger", "cosign", "--policy", "../policy", "-f", "json"]);
    let running = witness(&sandbox, &vkey);
    policy(&running.said);
    let answer = cosign();
    assert_eq!(answer.code, 0, "{}", answer.out);
    drop(running);

    let away = cosign();
    assert_eq!(away.code, 0, "this head was cosigned before: {}", away.out);
    attest(&sandbox, "second");
    assert_eq!(cosign().code, 8, "not yet");
    let publish = || {
        sandbox.writ(&[
            "ledger",
            "publish",
            "../web",
            "--policy",
            "../policy",
            "-f",
            "json",
        ])
    };
    assert_eq!(publish().json()["size"], 1, "the newest that was cosigned");

    let running = witness(&sandbox, &vkey);
    assert_eq!(running.said["logs"][0]["cosigned"], 1);
    policy(&running.said);
    assert_eq!(cosign().code, 0);
    assert_eq!(publish().json()["size"], 2);
    let follow = [
        "ledger",
        "monitor",
        "../web",
        "--policy",
        "../policy",
        "--ask-witnesses",
        "--once",
    ];
    let answer = sandbox.writ(&follow);
    assert_eq!(answer.code, 0, "{} {}", answer.out, answer.err);
    assert!(
        answer.out.contains("1 of 1 required cosignatures"),
        "{}",
        answer.out
    );
}
