//! `writ tool`, with small programs in the place of scanners.

use crate::sandbox::Sandbox;

fn tool(answer: &crate::sandbox::Answer, name: &str) -> serde_json::Value {
    let json = answer.json();
    let tools = json["tools"].as_array().unwrap();
    tools
        .iter()
        .find(|tool| tool["name"] == name)
        .unwrap_or_else(|| panic!("{name} is not listed"))
        .clone()
}

#[test]
fn found_missing_and_too_old_are_told_apart() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE)]);
    sandbox.program("gitleaks", "8.30.1");
    sandbox.program("trivy", "Version: 0.1.0");
    sandbox.program("hadolint", "who knows");
    let answer = sandbox.writ(&["tool", "list", "-f", "json"]);
    assert_eq!(answer.code, 0);
    let gitleaks = tool(&answer, "gitleaks");
    assert_eq!(gitleaks["state"], "found");
    assert_eq!(gitleaks["version"], "8.30.1");
    assert_eq!(gitleaks["usedHere"], true);
    assert!(gitleaks["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(tool(&answer, "trivy")["state"], "too old");
    assert_eq!(tool(&answer, "hadolint")["state"], "broken");
    assert_eq!(tool(&answer, "semgrep")["state"], "missing");
    let human = sandbox.writ(&["tool", "list", "--digests"]).out;
    assert!(human.contains(gitleaks["digest"].as_str().unwrap()));
    // Who packaged what would be installed is said before it is installed.
    assert!(
        human.contains("third party: astral-dev-toolchain"),
        "{human}"
    );
}

#[test]
fn a_tool_that_cannot_be_had_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.program("gitleaks", "8.30.1");
    let answer = sandbox.writ(&["tool", "install", "gitleaks", "zap-baseline", "-f", "json"]);
    assert_eq!(answer.code, 3);
    assert_eq!(tool(&answer, "gitleaks")["state"], "found");
    let zap = tool(&answer, "zap-baseline");
    assert_eq!(zap["state"], "failed");
    assert!(
        zap["cause"]
            .as_str()
            .unwrap()
            .contains("no package registry")
    );
    assert_eq!(sandbox.writ(&["tool", "install", "gitleaks"]).code, 0);
}

#[test]
fn without_a_client_the_error_says_which() {
    // No python3 on this machine.
    let sandbox = Sandbox::new();
    let answer = sandbox.writ(&["tool", "install", "bandit"]);
    assert_eq!(answer.code, 3);
    assert!(
        answer.out.contains("python3, which is not installed"),
        "{}",
        answer.out
    );
}

#[test]
fn the_lock_pins_and_shows_what_changed() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE)]);
    sandbox.program("gitleaks", "8.30.1");
    let first = sandbox.writ(&["tool", "lock"]);
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.out.contains("pinned   tool gitleaks"),
        "{}",
        first.out
    );
    let file = sandbox.path("work/writ.lock");
    let written = std::fs::read_to_string(&file).unwrap();
    let again = sandbox.writ(&["tool", "lock"]);
    assert!(again.out.starts_with("unchanged"), "{}", again.out);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    // The same version in other bytes adds a digest; another version replaces the pin.
    sandbox.program("gitleaks", "8.30.1 ");
    let more = sandbox.writ(&["tool", "lock", "-f", "json"]).json();
    assert_eq!(more["changes"][0]["what"], "tool gitleaks");
    let both = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        both.matches("sha256:").count(),
        written.matches("sha256:").count() + 1
    );
    sandbox.program("gitleaks", "8.31.0");
    let changed = sandbox.writ(&["tool", "lock"]);
    assert!(
        changed.out.contains("changed  tool gitleaks"),
        "{}",
        changed.out
    );
    assert!(changed.out.contains("8.31.0"));
    // A tool that is not here keeps its pin.
    std::fs::remove_file(sandbox.path("bin/gitleaks")).unwrap();
    let gone = sandbox.writ(&["tool", "lock"]);
    assert_eq!(gone.code, 0, "{}", gone.err);
    assert!(gone.out.starts_with("unchanged"), "{}", gone.out);
}

#[test]
fn a_tool_that_was_never_seen_cannot_be_pinned() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", crate::doctor::PIPELINE)]);
    let answer = sandbox.writ(&["tool", "lock"]);
    assert_eq!(answer.code, 3);
    assert!(answer.err.contains("gitleaks"), "{}", answer.err);
    assert!(
        sandbox.path("work/writ.lock").is_file(),
        "the rest is pinned"
    );
    sandbox.write("writ.lock", "version = 7\n");
    let broken = sandbox.writ(&["tool", "lock"]);
    assert_eq!(broken.code, 2);
    assert!(broken.err.contains("version 7"), "{}", broken.err);
}
