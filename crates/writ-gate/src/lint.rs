//! What a bundle must hold beyond being loadable: a control is a promise to people, so it says
//! why, how to comply, who owns it, what it serves, and proves that it can pass and fail.

use std::collections::BTreeSet;

use writ_model::State;

use crate::bundle::{Bundle, control_path};
use crate::control::{Control, Exempt};
use crate::error::{Problem, suggestion};
use crate::fixture::prepare;

/// Checks a loaded bundle; empty when there is nothing to say.
#[must_use]
pub fn lint(bundle: &Bundle) -> Vec<Problem> {
    let mut problems = Vec::new();
    for control in bundle.controls.values() {
        lint_control(bundle, control, &mut problems);
    }
    lint_unused(bundle, &mut problems);
    for name in bundle.profiles.keys() {
        lint_profile(bundle, name, &mut problems);
    }
    problems.sort();
    problems
}

fn lint_control(bundle: &Bundle, control: &Control, problems: &mut Vec<Problem>) {
    let path = control_path(&control.id);
    let text = bundle.files.text(&path).unwrap_or_default();
    let mut add = |key: &str, cause: String, remedy: &str| {
        problems.push(Problem::at_key(&path, text, key, cause, remedy));
    };
    let empty = |text: &str| text.trim().is_empty();
    for (key, value, remedy) in [
        ("why", &control.why, "say why the organisation wants it"),
        ("owner", &control.owner, "name who answers for it"),
        ("title", &control.title, "give it a title"),
        (
            "required",
            &control.required,
            "say what is required when no rule has spoken",
        ),
        (
            "absent",
            &control.absent,
            "give the title of the message for missing evidence",
        ),
    ] {
        if empty(value) {
            add(key, format!("{key} is empty"), remedy);
        }
    }
    if control.fix.iter().all(|line| empty(line)) {
        add(
            "fix",
            "fix is empty".to_owned(),
            "say how to regain compliance, in imperative sentences",
        );
    }
    if control.maps.values().all(Vec::is_empty) {
        add(
            "maps",
            "maps to no requirement".to_owned(),
            "map it to at least one framework",
        );
    }
    if control.version == 0 {
        add("version", "version is 0".to_owned(), "versions begin at 1");
    }
    match &control.exempt {
        Exempt::Never(_) if control.no_exempt.as_deref().is_none_or(empty) => {
            add(
                "exempt",
                "no exemption exists, without a reason".to_owned(),
                "say why in no_exempt",
            );
        }
        Exempt::By { max_days: 0, .. } => {
            add(
                "exempt",
                "max_days is 0".to_owned(),
                "allow at least 1 day, or write exempt = false",
            );
        }
        _ => {}
    }
    let expects =
        |wanted: &dyn Fn(State) -> bool| control.test.iter().any(|case| wanted(case.expect));
    if !expects(&|state| state == State::Pass) {
        add(
            "id",
            "no test passes".to_owned(),
            "add a [[test]] with expect = \"pass\"",
        );
    }
    // What a rule does not judge as failed it judges as missing: an SBOM cannot fail, only not be there.
    if !expects(&|state| matches!(state, State::Fail | State::Missing | State::Expired)) {
        add(
            "id",
            "no test fails".to_owned(),
            "add a [[test]] with expect = \"fail\" or \"missing\"",
        );
    }
    for case in &control.test {
        match bundle.files.text(&case.given).map(prepare) {
            Err(_) => {
                let fixtures: Vec<&str> = bundle.files.below("fixtures/", ".json").collect();
                let remedy = suggestion(&case.given, fixtures.iter().copied());
                add(
                    "given",
                    format!("fixture {} is not in the bundle", case.given),
                    &remedy,
                );
            }
            Ok(Err(cause)) => add("given", format!("fixture {}: {cause}", case.given), ""),
            Ok(Ok(_)) => {}
        }
    }
}

/// Fixtures that no control uses, and rules that no control calls.
fn lint_unused(bundle: &Bundle, problems: &mut Vec<Problem>) {
    let used: BTreeSet<&str> = bundle
        .controls
        .values()
        .flat_map(|control| control.test.iter().map(|case| case.given.as_str()))
        .collect();
    for path in bundle
        .files
        .below("fixtures/", ".json")
        .filter(|path| !used.contains(path))
    {
        problems.push(Problem::of_file(
            path,
            "no control uses this fixture",
            "name it in a [[test]] or remove it",
        ));
    }
    for rule in bundle.rules.values() {
        if rule.title.is_empty() || rule.description.is_empty() {
            let cause = format!("rule {} has no title or description", rule.id);
            problems.push(Problem {
                line: rule.line,
                column: 1,
                ..Problem::of_file(&rule.file, cause, "say it in the METADATA block")
            });
        }
        if !bundle
            .controls
            .values()
            .any(|control| control.rule == rule.id)
        {
            let cause = format!("no control calls rule {}", rule.id);
            problems.push(Problem {
                line: rule.line,
                column: 1,
                ..Problem::of_file(&rule.file, cause, "call it or remove it")
            });
        }
    }
}

fn lint_profile(bundle: &Bundle, name: &str, problems: &mut Vec<Problem>) {
    let Some(profile) = bundle.profiles.get(name) else {
        return;
    };
    let path = format!("profiles/{name}.toml");
    let text = bundle.files.text(&path).unwrap_or_default();
    let mut add = |key: &str, cause: String, remedy: &str| {
        problems.push(Problem::at_key(&path, text, key, cause, remedy));
    };
    if profile.not_covered.is_empty() {
        add(
            "name",
            "says nothing about what it does not cover".to_owned(),
            "list it in not_covered",
        );
    }
    if profile.floor.coverage_percent > 100 {
        add(
            "coverage_percent",
            format!("{} %", profile.floor.coverage_percent),
            "at most 100",
        );
    }
    for (environment, binding) in &profile.environment {
        let mut seen = BTreeSet::new();
        for id in binding
            .controls
            .iter()
            .filter(|id| !seen.insert(id.as_str()))
        {
            add(
                "controls",
                format!("{environment} binds {id} twice"),
                "remove one",
            );
        }
        let needs = |id: &String, wanted: &dyn Fn(&crate::rule::RuleNeeds) -> bool| {
            let control = bundle.controls.get(id);
            let rule = control.and_then(|control| bundle.rules.get(&control.rule));
            rule.is_some_and(|rule| wanted(&rule.needs))
        };
        let judges = binding.controls.iter().any(|id| {
            needs(id, &|needs| {
                needs.findings.as_ref().is_some_and(|f| !f.suppressed)
            })
        });
        let hears = binding.controls.iter().any(|id| {
            needs(id, &|needs| {
                needs.findings.as_ref().is_some_and(|f| f.suppressed)
            })
        });
        if judges && !hears {
            add(
                "controls",
                format!(
                    "{environment} judges findings, and a finding silenced in a tool would go unseen"
                ),
                "bind SUP-01 or another control over suppressed findings",
            );
        }
    }
}
