//! Help, completion, man pages and the generated reference.

use std::path::Path;

use crate::sandbox::Sandbox;

/// Every verb that people type, with its noun.
const VERBS: &[&str] = &[
    "init",
    "check",
    "run",
    "gate",
    "deploy",
    "verify-artifact",
    "why",
    "status",
    "attest",
    "inspect",
    "verify",
    "replay",
    "search",
    "exempt request",
    "exempt list",
    "exempt show",
    "exempt revoke",
    "inbox",
    "approve",
    "reject",
    "env list",
    "env show",
    "env snapshot",
    "env diff",
    "control list",
    "control show",
    "control test",
    "control lint",
    "control bind",
    "tool list",
    "tool install",
    "tool lock",
    "hook install",
    "hook uninstall",
    "server backup",
    "server restore",
    "server reindex",
    "server rematch",
    "server accept-rollback",
    "server account add",
    "server account list",
    "server account role",
    "server account disable",
    "server account password",
    "server token new",
    "server token list",
    "server token revoke",
    "server account link",
    "server reads",
    "server people import",
    "server people list",
    "server people show",
    "server people bind",
    "server people bot",
    "server people unbind",
    "server people approve",
    "server people reject",
    "spool list",
    "spool deliver",
    "spool export",
    "spool import",
    "spool set-aside",
    "ledger prove",
    "ledger cosign",
    "ledger publish",
    "ledger monitor",
    "witness",
    "hold place",
    "hold list",
    "hold release",
    "key list",
    "key show",
    "key new",
    "key rotate",
    "key revoke",
    "key import",
    "key export",
    "login",
    "logout",
    "serve",
    "doctor",
    "completion",
    "man",
    "version",
];

/// What has help but no examples of its own.
const OTHERS: &[&str] = &[
    "demo",
    "env",
    "exempt",
    "control",
    "tool",
    "hook",
    "spool",
    "ledger",
    "server",
    "server account",
    "server token",
    "server people",
    "key",
    "hold",
];

#[test]
fn every_verb_has_examples() {
    let sandbox = Sandbox::new();
    for verb in VERBS {
        let mut arguments: Vec<&str> = verb.split(' ').collect();
        arguments.push("--help");
        let answer = sandbox.writ(&arguments);
        assert_eq!(answer.code, 0, "{verb}");
        let examples = answer.out.split("Examples:").nth(1).unwrap_or("");
        assert!(
            examples.contains(&format!("writ {verb}")),
            "{verb} has no example of itself:\n{}",
            answer.out
        );
    }
}

#[test]
fn no_verb_is_forgotten_here() {
    let sandbox = Sandbox::new();
    let reference = sandbox.writ(&["man", "--markdown"]).out;
    let headings: Vec<&str> = reference
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(" writ "))
        .collect();
    for heading in &headings {
        assert!(
            VERBS.contains(heading) || OTHERS.contains(heading),
            "{heading} is in no test"
        );
    }
    assert_eq!(headings.len(), VERBS.len() + OTHERS.len());
}

#[test]
fn the_short_help_fits_a_screen() {
    let answer = Sandbox::new().writ(&["-h"]);
    assert_eq!(answer.code, 0);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 100));
    assert!(answer.out.contains("Exit codes: 0 yes, 1 no"));
}

#[test]
fn the_reference_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let generated = Sandbox::new().writ(&["man", "--markdown"]).out;
    assert!(
        written == generated,
        "docs/cli.md is stale: writ man --markdown > docs/cli.md"
    );
}

#[test]
fn four_shells_complete() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let answer = sandbox.writ(&["completion", shell]);
        assert_eq!(answer.code, 0, "{shell}");
        assert!(answer.out.contains("gate"), "{shell}");
        assert!(answer.out.len() > 2_000, "{shell}");
    }
    assert_eq!(sandbox.writ(&["completion", "tcsh"]).code, 2);
}

#[test]
fn man_pages_are_written() {
    let sandbox = Sandbox::new();
    let page = sandbox.writ(&["man"]);
    assert!(page.out.starts_with(".ie") || page.out.contains(".TH writ"));
    let folder = sandbox.path("man");
    let answer = sandbox.writ(&["man", folder.to_str().unwrap()]);
    assert_eq!(answer.code, 0, "{}", answer.err);
    for name in ["writ.1", "writ-gate.1", "writ-control-show.1"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.contains(".SH"), "{name}");
    }
}
