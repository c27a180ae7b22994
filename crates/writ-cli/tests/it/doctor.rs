//! `writ doctor`, and `writ` alone.

use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::{Answer, Sandbox};

/// A pipeline of one tool.
pub const PIPELINE: &str = "\
version = 1
service = \"shop\"
profile = \"startup\"

[stage.secrets]
uses = \"gitleaks\"

[environment.production]
gate = \"block\"
";

fn line(answer: &Answer, what: &str) -> serde_json::Value {
    let json = answer.json();
    let lines = json["lines"].as_array().unwrap();
    lines
        .iter()
        .find(|line| line["what"] == what)
        .unwrap_or_else(|| panic!("nothing about {what} in {json:#}"))
        .clone()
}

#[test]
fn what_is_wrong_is_golden() {
    let sandbox = Sandbox::with_repository(&[
        ("writ.toml", PIPELINE),
        ("requirements.lock.txt", ""),
        ("src/shop.py", "print(1)\n"),
    ]);
    let answer = sandbox.writ(&["doctor"]);
    assert_eq!(answer.code, 1);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!(sandbox.redact(&answer.out));
}

#[test]
fn nothing_is_wrong_when_everything_is_fixed() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    sandbox.program("gitleaks", "8.30.1");
    sandbox.program("python3", "");
    // `startup` binds more than one tool can satisfy; a bundle whose profile asks for secrets only.
    let bundle = sandbox.path("bundle");
    crate::sandbox::copy_bundle(&bundle);
    let profile = bundle.join("profiles/startup.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let head = text.split("[environment.default]").next().unwrap();
    let small = format!("{head}[environment.default]\ncontrols = [\"SEC-01\"]\n");
    std::fs::write(&profile, small).unwrap();
    let folder = bundle.to_str().unwrap();
    assert_eq!(sandbox.writ(&["tool", "lock", "--bundle", folder]).code, 0);
    assert_eq!(sandbox.writ(&["hook", "install"]).code, 0);
    let answer = sandbox.writ(&["doctor", "--bundle", folder, "-f", "json"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    assert_eq!(line(&answer, "hook")["health"], "ok");
    assert_eq!(line(&answer, "writ.lock")["health"], "ok");
    assert_eq!(line(&answer, "profile")["health"], "ok");
    // Another bundle than the pinned one is wrong.
    let other = sandbox.writ(&["doctor", "-f", "json"]);
    assert_eq!(other.code, 1);
    assert_eq!(line(&other, "writ.lock")["health"], "wrong");
}

#[test]
fn repositories_that_scanners_cannot_see_are_named() {
    let none = Sandbox::new();
    let answer = none.writ(&["doctor", "-f", "json"]);
    assert_eq!(line(&answer, "git")["fix"][0], "git init");
    assert_eq!(line(&answer, "writ.toml")["fix"][0], "writ init");
    let empty = Sandbox::new();
    empty.git(&["init", "-q"]);
    let answer = empty.writ(&["doctor", "-f", "json"]);
    assert!(
        line(&answer, "git")["found"]
            .as_str()
            .unwrap()
            .contains("no commit")
    );
    let shallow = Sandbox::with_repository(&[]);
    shallow.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    let from = format!("file://{}", shallow.path("work").display());
    shallow.git(&["clone", "-q", "--depth", "1", &from, "clone"]);
    let mut command = shallow.command(&["doctor", "-f", "json"]);
    command.current_dir(shallow.path("work/clone"));
    let answer = crate::sandbox::answer(command.output().unwrap());
    assert_eq!(
        line(&answer, "git history")["fix"][0],
        "git fetch --unshallow"
    );
}

#[test]
fn mistakes_keep_their_place() {
    let text = format!("{PIPELINE}\n[stage.sast]\nuse = \"semgrep\"\n");
    let sandbox = Sandbox::with_repository(&[("writ.toml", &text)]);
    let answer = sandbox.writ(&["doctor", "-f", "json"]);
    let found = line(&answer, "writ.toml");
    assert_eq!(found["health"], "wrong");
    assert!(
        found["found"].as_str().unwrap().contains("writ.toml:12:"),
        "{found}"
    );
    assert!(found["fix"].to_string().contains("uses"), "{found}");
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let text = PIPELINE.replace("startup", "startpu");
    let sandbox = Sandbox::with_repository(&[("writ.toml", &text)]);
    let answer = sandbox.writ(&["doctor", "-f", "json"]);
    let found = line(&answer, "profile");
    assert_eq!(found["health"], "wrong");
    assert!(found["fix"].to_string().contains("startup"), "{found}");
}

#[test]
fn keys_that_others_can_read_are_wrong() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    let trust = sandbox.path("home/.local/share/writ/trust");
    std::fs::create_dir_all(&trust).unwrap();
    let key = trust.join("producer.key");
    std::fs::write(&key, "x").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let answer = sandbox.writ(&["doctor", "-f", "json"]);
    let found = line(&answer, "keys");
    assert_eq!(found["health"], "wrong");
    assert!(found["fix"][0].as_str().unwrap().starts_with("chmod 600"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let answer = sandbox.writ(&["doctor", "-f", "json"]);
    assert_eq!(line(&answer, "keys")["health"], "ok");
}

#[test]
fn store_and_keys_do_not_belong_into_the_work_tree() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    let answer = sandbox.writ(&[
        "doctor", "-f", "json", "--store", "store", "--trust", "trust",
    ]);
    assert_eq!(line(&answer, "store")["health"], "wrong");
    assert_eq!(line(&answer, "keys")["health"], "wrong");
}

#[test]
fn doctor_changes_nothing() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    sandbox.writ(&["doctor"]);
    assert!(!sandbox.path("home/.local").exists());
    assert!(!sandbox.path("work/writ.lock").exists());
}

#[test]
fn alone_it_shows_where_the_repository_stands() {
    let sandbox = Sandbox::with_repository(&[("writ.toml", PIPELINE)]);
    let answer = sandbox.writ(&[]);
    assert_eq!(answer.code, 0);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!(answer.out);
    let nowhere = Sandbox::new().writ(&[]);
    assert_eq!(nowhere.code, 0);
    assert!(nowhere.out.contains("no git repository here"));
    assert!(nowhere.out.contains("writ init"));
}
