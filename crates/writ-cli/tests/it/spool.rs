//! Evidence made away from its store: queued, carried, delivered, seen by the gate.

use std::path::Path;
use std::process::Output;

use crate::sandbox::{Answer, SHOP, Sandbox, answer};

fn repository() -> Sandbox {
    Sandbox::with_shop(SHOP)
}

/// A command on another machine of the same organisation: the same keys, another home.
fn elsewhere(sandbox: &Sandbox, arguments: &[&str]) -> Answer {
    let home = sandbox.path("home2");
    std::fs::create_dir_all(&home).unwrap();
    run(sandbox, &home, arguments)
}

fn run(sandbox: &Sandbox, home: &Path, arguments: &[&str]) -> Answer {
    let output: Output = sandbox
        .command(arguments)
        .env("HOME", home)
        .env("WRIT_TRUST", sandbox.path("keys"))
        .output()
        .unwrap();
    answer(output)
}

fn state(decision: &serde_json::Value, control: &str) -> String {
    let checks = decision["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["control"] == control);
    check.unwrap()["state"].as_str().unwrap().to_owned()
}

fn decide(sandbox: &Sandbox) -> serde_json::Value {
    let decided = elsewhere(sandbox, &["gate", "production", "-f", "json"]);
    assert!(decided.code == 0 || decided.code == 1, "{}", decided.err);
    let json = decided.json();
    match json.get("decision") {
        Some(decision) => decision.clone(),
        None => json,
    }
}

#[test]
fn a_job_without_its_store_is_seen_by_the_gate_after_delivery() {
    let sandbox = repository();
    let home = sandbox.path("home");
    let here = |arguments: &[&str]| run(&sandbox, &home, arguments);

    // The gate's machine knows nothing yet.
    assert_eq!(state(&decide(&sandbox), "TST-01"), "missing");

    // The job: no store, only a spool.
    let ran = here(&["run", "--spool", "-f", "json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.json()["spool"].is_string());
    assert!(!home.join(".local/share/writ/store").exists());
    let spool = home.join(".local/state/writ/spool");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&spool).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let listed = here(&["spool", "list", "-f", "json"]).json();
    let waiting = listed["waiting"].as_array().unwrap().len();
    assert_eq!(waiting, 2, "the stage and the run");
    let shown = here(&["spool", "list"]);
    assert!(shown.out.contains("2 statements wait"), "{}", shown.out);

    // The job's artefact is carried to a machine that reaches the store.
    let file = sandbox.path("evidence.spool");
    let file = file.to_str().unwrap();
    assert_eq!(here(&["spool", "export", file]).code, 0);
    let imported = elsewhere(&sandbox, &["spool", "import", file]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    assert!(imported.out.contains("queued 2 statements"));

    // What waits is shown, and the gate says that it has not seen it.
    let status = elsewhere(&sandbox, &["status"]);
    assert!(status.out.contains("2 statements wait"), "{}", status.out);
    let status = elsewhere(&sandbox, &["status", "-f", "json"]).json();
    assert_eq!(status["spool"]["items"], 2);
    let blind = elsewhere(&sandbox, &["gate", "production"]);
    assert!(blind.err.contains("writ spool deliver"), "{}", blind.err);
    assert_eq!(state(&decide(&sandbox), "TST-01"), "missing");

    let delivered = elsewhere(&sandbox, &["spool", "deliver"]);
    assert_eq!(delivered.code, 0, "{}", delivered.err);
    assert!(delivered.out.contains("delivered 2 statements"));
    assert!(delivered.out.contains("the gap is recorded as ev_"));
    assert_eq!(state(&decide(&sandbox), "TST-01"), "pass");
    let again = elsewhere(&sandbox, &["spool", "deliver"]);
    assert_eq!((again.code, again.out.as_str()), (0, "nothing waits\n"));

    // The job's own spool delivers to the same store without a second entry.
    let store = sandbox.path("home2/.local/share/writ/store");
    let twice = here(&["spool", "deliver", "--store", store.to_str().unwrap()]);
    assert!(
        twice.out.contains("2 of them were there already"),
        "{}{}",
        twice.out,
        twice.err
    );
    assert_eq!(elsewhere(&sandbox, &["verify"]).code, 0);
}

#[test]
fn a_report_is_handed_in_through_the_spool() {
    let sandbox = repository();
    sandbox.write(
        "lcov.info",
        "TN:\nSF:src/shop.py\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nend_of_record\n",
    );
    let home = sandbox.path("home");
    let place = sandbox.path("away");
    let flag = format!("--spool={}", place.display());
    let queued = run(&sandbox, &home, &["attest", "lcov.info", &flag]);
    assert_eq!(queued.code, 0, "{}", queued.err);
    assert!(queued.out.starts_with("queued"), "{}", queued.out);
    let listed = run(&sandbox, &home, &["spool", "list", &flag]);
    assert!(listed.out.contains("coverage"), "{}", listed.out);
    let aside = run(
        &sandbox,
        &home,
        &[
            "spool",
            "set-aside",
            "1",
            "--reason",
            "the wrong file",
            &flag,
        ],
    );
    assert_eq!(aside.code, 0, "{}", aside.err);
    let listed = run(&sandbox, &home, &["spool", "list", &flag]);
    assert!(
        listed.out.contains("1 statement set aside"),
        "{}",
        listed.out
    );
}

#[test]
fn a_full_spool_and_wrong_questions_are_answered() {
    let sandbox = repository();
    let home = sandbox.path("home");
    for (arguments, code, word) in [
        (vec!["run", "--spool", "--spool-limit", "100"], 3, "is full"),
        (vec!["run", "--spool", "--spool-limit", "many"], 2, "500M"),
        (
            vec!["spool", "import", "there-is-none"],
            2,
            "there is no file",
        ),
        (
            vec!["spool", "import", "writ.toml"],
            2,
            "nothing was imported",
        ),
        (
            vec!["spool", "set-aside", "9", "--reason", "x"],
            2,
            "no statement 9",
        ),
        (vec!["spool", "list", "--spool=src"], 2, "is not a spool"),
        (vec!["spool", "list", "-f", "sarif"], 2, "sarif"),
    ] {
        let got = run(&sandbox, &home, &arguments);
        let all = format!("{}{}", got.out, got.err);
        assert_eq!(got.code, code, "{arguments:?}\n{all}");
        let flat = all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(word), "{arguments:?}\n{all}");
    }
    let empty = run(&sandbox, &sandbox.path("bin"), &["spool", "list"]);
    assert_eq!(empty.out, "nothing waits: there is no spool\n");
}
