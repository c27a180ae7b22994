//! `writ control`.

use crate::sandbox::{Sandbox, copy_bundle};

#[test]
fn the_list_is_golden() {
    let answer = Sandbox::new().writ(&["control", "list"]);
    insta::assert_snapshot!(answer.out);
}

#[test]
fn a_profile_and_a_framework_narrow_the_list() {
    let sandbox = Sandbox::new();
    let startup = sandbox.writ(&["control", "list", "--profile", "startup", "-f", "json"]);
    let rows = startup.json()["controls"].as_array().unwrap().clone();
    assert!(!rows.is_empty());
    for row in &rows {
        let profiles = row["profiles"].as_array().unwrap();
        assert!(profiles.iter().any(|name| name == "startup"), "{row}");
        assert!(!row["environments"].as_array().unwrap().is_empty());
    }
    let sox = sandbox.writ(&["control", "list", "--framework", "sox", "-f", "jsonl"]);
    for line in sox.out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(!row["requirements"].as_array().unwrap().is_empty());
    }
}

#[test]
fn a_control_is_explained() {
    let answer = Sandbox::new().writ(&["control", "show", "vul-02"]);
    assert_eq!(answer.code, 0);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 80));
    insta::assert_snapshot!(answer.out);
}

#[test]
fn the_shipped_controls_hold() {
    let answer = Sandbox::new().writ(&["control", "test", "-f", "json"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    let json = answer.json();
    assert_eq!(json["holds"], true);
    assert_eq!(json["failed"], 0);
    assert_eq!(
        json["outcomes"].as_array().unwrap().len() as u64,
        json["cases"].as_u64().unwrap()
    );
}

#[test]
fn a_case_that_fails_is_named() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.path("bundle");
    copy_bundle(&bundle);
    let file = bundle.join("controls/VUL-02.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let wrong = text.replace(
        "given  = \"fixtures/VUL-02/clean.json\"\nexpect = \"pass\"",
        "given  = \"fixtures/VUL-02/clean.json\"\nexpect = \"fail\"",
    );
    assert_ne!(text, wrong);
    std::fs::write(&file, wrong).unwrap();
    let folder = bundle.to_str().unwrap();
    let answer = sandbox.writ(&["control", "test", "VUL-02", "--bundle", folder]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.out.contains("fixtures/VUL-02/clean.json"),
        "{}",
        answer.out
    );
    assert!(answer.out.contains("expected  fail"), "{}", answer.out);
    let junit = sandbox.writ(&[
        "control", "test", "VUL-02", "--bundle", folder, "-f", "junit",
    ]);
    assert_eq!(junit.code, 1, "the exit code never depends on the format");
    assert!(junit.out.contains("failures=\"1\""), "{}", junit.out);
}

#[test]
fn what_people_could_not_understand_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.path("bundle");
    copy_bundle(&bundle);
    let file = bundle.join("controls/TST-02.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let owner = text
        .lines()
        .position(|line| line.starts_with("owner"))
        .unwrap()
        + 1;
    let nobody: String = text
        .lines()
        .map(|line| match line.starts_with("owner") {
            true => "owner = \"\"\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&file, nobody).unwrap();
    let folder = bundle.to_str().unwrap();
    let answer = sandbox.writ(&["control", "lint", "--bundle", folder]);
    assert_eq!(answer.code, 1);
    let place = format!("{}:{owner}:", file.display());
    assert!(answer.out.contains(&place), "{place} in\n{}", answer.out);
    // A bundle that cannot even be loaded is refused by lint, and unusable for the others.
    std::fs::write(&file, "id = [").unwrap();
    assert_eq!(
        sandbox.writ(&["control", "lint", "--bundle", folder]).code,
        1
    );
    let list = sandbox.writ(&["control", "list", "--bundle", folder]);
    assert_eq!(list.code, 2);
    assert!(list.err.contains("controls/TST-02.toml"), "{}", list.err);
    let nowhere = sandbox.writ(&["control", "list", "--bundle", "nowhere"]);
    assert_eq!(nowhere.code, 2);
}
