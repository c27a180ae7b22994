//! Exit codes, wrong input, and what reaches a log.

use crate::sandbox::{Sandbox, answer};

#[test]
fn exit_codes_are_a_contract() {
    let sandbox = Sandbox::with_repository(&[]);
    for (arguments, code) in [
        (vec![], 0),
        (vec!["version"], 0),
        (vec!["control", "list"], 0),
        (vec!["control", "lint"], 0),
        (vec!["tool", "list"], 0),
        (vec!["doctor"], 1),
        (vec!["--unknown"], 2),
        (vec!["gat"], 2),
        (vec!["control", "show", "NOPE-99"], 2),
        (vec!["control", "list", "--profile", "nope"], 2),
        (vec!["control", "list", "--framework", "nope"], 2),
        (vec!["control", "test", "NOPE-99"], 2),
        (vec!["tool", "install", "nope"], 2),
        (vec!["tool", "install", "--all", "trivy"], 2),
        (vec!["tool", "lock"], 2),
        (vec!["tool", "list", "-f", "sarif"], 2),
        (vec!["control", "show", ""], 2),
        (vec!["version", "-o", "json="], 2),
        (vec!["inspect", "there-is-no-such-file"], 2),
        (vec!["tool", "install", "gitleaks", "--offline"], 3),
        (vec!["version", "-o", "/there/is/no/such/folder/x"], 3),
    ] {
        let answer = sandbox.writ(&arguments);
        assert_eq!(
            answer.code, code,
            "{arguments:?}\n{}{}",
            answer.out, answer.err
        );
    }
}

#[test]
fn slips_of_the_finger_are_answered() {
    let sandbox = Sandbox::new();
    for (arguments, word) in [
        (vec!["gaet"], "gate"),
        (vec!["control", "lsit"], "list"),
        (vec!["control", "show", "VLU-02"], "VUL-02"),
        (vec!["control", "list", "--profile", "startp"], "startup"),
        (
            vec!["control", "list", "--framework", "iso2701"],
            "iso27001",
        ),
        (vec!["tool", "install", "gitleak"], "gitleaks"),
        (vec!["version", "--formt", "json"], "--format"),
    ] {
        let answer = sandbox.writ(&arguments);
        assert_eq!(answer.code, 2, "{arguments:?}");
        assert!(answer.err.contains(word), "{arguments:?}\n{}", answer.err);
        assert!(answer.out.is_empty(), "errors are no data: {}", answer.out);
    }
}

#[test]
fn an_error_is_json_where_json_was_asked_for() {
    let answer = Sandbox::new().writ(&["control", "show", "VLU-02", "-f", "json"]);
    assert_eq!(answer.code, 2);
    let json = answer.json();
    assert_eq!(json["schema"], "writ.error/1");
    assert_eq!(json["exitCode"], 2);
}

#[test]
fn logs_hold_neither_colour_nor_carriage_returns() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE)]);
    for arguments in [
        &["doctor"][..],
        &["tool", "list"],
        &["tool", "install", "zap-baseline"],
        &["control", "list"],
        &["control", "show", "VUL-02"],
        &["control", "test", "VUL-02"],
        &["control", "lint"],
        &["version"],
        &["nonsense"],
        &[],
    ] {
        let answer = sandbox.writ(arguments);
        for text in [&answer.out, &answer.err] {
            assert!(!text.contains(['\r', '\x1b']), "{arguments:?}: {text:?}");
            assert!(
                text.lines()
                    .all(|line| line.trim_end() == line || line.is_empty()),
                "{arguments:?} leaves blanks at the end of a line:\n{text}"
            );
        }
    }
}

#[test]
fn colour_can_be_asked_for_and_refused() {
    let sandbox = Sandbox::new();
    let colored = sandbox.writ(&["control", "test", "VUL-02", "--color", "always"]);
    assert!(
        colored.out.contains("\x1b[32mpass\x1b[0m"),
        "{:?}",
        colored.out
    );
    for (variable, value, expected) in [
        ("NO_COLOR", "1", false),
        ("CLICOLOR_FORCE", "1", true),
        ("WRIT_COLOR", "always", true),
    ] {
        let output = sandbox
            .command(&["control", "test", "VUL-02"])
            .env(variable, value)
            .output();
        let answer = answer(output.unwrap());
        assert_eq!(answer.out.contains('\x1b'), expected, "{variable}={value}");
    }
    let both = sandbox
        .command(&["control", "test", "VUL-02"])
        .env("NO_COLOR", "1")
        .env("CLICOLOR_FORCE", "1")
        .output();
    assert!(!answer(both.unwrap()).out.contains('\x1b'));
}

#[test]
fn one_run_feeds_every_consumer() {
    let sandbox = Sandbox::new();
    let json = sandbox.path("list.json");
    let csv = sandbox.path("list.csv");
    let answer = sandbox.writ(&[
        "control",
        "list",
        "-o",
        &format!("json={}", json.display()),
        "-o",
        &format!("csv={}", csv.display()),
    ]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    assert!(answer.out.contains("VUL-02"));
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rows = std::fs::read_to_string(csv).unwrap();
    assert_eq!(
        list["controls"].as_array().unwrap().len() + 1,
        rows.lines().count()
    );
    let file = sandbox.path("only.json");
    let alone = sandbox.writ(&["version", "-f", "json", "-o", file.to_str().unwrap()]);
    assert!(alone.out.is_empty(), "a plain -o replaces standard output");
    assert!(file.is_file());
}

#[test]
fn a_closed_pipe_is_the_readers_choice() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["control", "list", "-f", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
