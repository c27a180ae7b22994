//! `writ server account`: accounts and roles by command.

use std::io::Write as _;
use std::process::Stdio;

use crate::sandbox::{Answer, Sandbox, answer};

const PASSWORD: &str = "correct horse battery\n";

/// Runs the binary with something to read.
pub fn with_input(sandbox: &Sandbox, arguments: &[&str], input: &str) -> Answer {
    let mut child = sandbox
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    answer(child.wait_with_output().unwrap())
}

#[test]
fn the_first_account_is_the_operator_and_roles_are_recorded() {
    let sandbox = Sandbox::new();
    let add = |name: &str, role: &str, input: &str| {
        let arguments = [
            "server", "account", "add", name, "--role", role, "-f", "json",
        ];
        with_input(&sandbox, &arguments, input)
    };
    let refused = add("bob", "developer", PASSWORD);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused
            .err
            .contains("the first account of a store is its operator")
    );
    let weak = add("ada", "operator", "short\n");
    assert_eq!(weak.code, 2, "{weak:?}");
    assert!(weak.err.contains("at least 12 characters"), "{}", weak.err);
    let first = add("ada", "operator", PASSWORD);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first.json()["bootstrap"], true);
    let second = add("bob", "developer", PASSWORD);
    assert_eq!(
        (second.code, &second.json()["bootstrap"]),
        (0, &false.into())
    );
    assert_eq!(add("bob", "developer", PASSWORD).code, 2);

    let role = |change: &str, role: &str| {
        sandbox.writ(&["server", "account", "role", "bob", change, role])
    };
    let toxic = role("--grant", "auditor");
    assert_eq!(toxic.code, 4, "{toxic:?}");
    assert!(
        toxic
            .err
            .contains("auditor cannot be held together with developer")
    );
    assert_eq!(role("--grant", "reviewer").code, 0);
    assert_eq!(role("--revoke", "developer").code, 0);
    assert_eq!(role("--revoke", "developer").code, 4);
    let list = sandbox
        .writ(&["server", "account", "list", "-f", "json"])
        .json();
    let rows = list["accounts"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["roles"][0]["role"], "operator");
    assert_eq!(rows[1]["roles"].as_array().unwrap().len(), 1);
    assert_eq!(rows[1]["roles"][0]["role"], "reviewer");

    assert_eq!(
        sandbox.writ(&["server", "account", "disable", "bob"]).code,
        0
    );
    let new = ["server", "account", "password", "bob", "--reset-codes"];
    assert_eq!(
        with_input(&sandbox, &new, "another horse battery\n").code,
        0
    );
    assert_eq!(
        sandbox
            .writ(&["server", "account", "disable", "nobody"])
            .code,
        2
    );
    let list = sandbox.writ(&["server", "account", "list"]);
    assert!(list.out.contains("disabled since"), "{}", list.out);
    // The ledger knows pseudonyms only.
    let verified = sandbox.writ(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
