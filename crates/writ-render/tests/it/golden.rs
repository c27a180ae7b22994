//! Golden files: format × width × colour. What stands here is what people read.

use writ_model::{Decision, State};
use writ_render::{Context, Format, error, github, gitlab, render_decision, render_inspect};

use crate::fixture;

fn looks() -> [(&'static str, Context); 3] {
    let base = fixture::context();
    [
        ("80", base.clone()),
        (
            "120-tty",
            Context {
                width: 120,
                tty: true,
                ..base.clone()
            },
        ),
        (
            "80-color",
            Context {
                color: true,
                tty: true,
                ..base
            },
        ),
    ]
}

/// Colours as words, so that golden files show them in any viewer.
fn shown(text: &str) -> String {
    text.replace('\x1b', "<ESC>")
}

fn no_trailing_space(text: &str) {
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "trailing space");
    }
}

#[test]
fn gate_for_people() {
    let decisions: [(&str, Decision); 3] = [
        ("blocked", fixture::blocked()),
        ("compliant", fixture::compliant()),
        ("empty", fixture::empty()),
    ];
    for (name, decision) in decisions {
        for (look, mut context) in looks() {
            if name == "compliant" {
                context.writ = fixture::with_writ().writ;
            }
            let text = render_decision(&decision, &context, Format::Human);
            no_trailing_space(&text);
            insta::assert_snapshot!(format!("gate-{name}-human-{look}"), shown(&text));
        }
    }
}

#[test]
fn gate_for_programs() {
    let decisions: [(&str, Decision); 3] = [
        ("blocked", fixture::blocked()),
        ("compliant", fixture::compliant()),
        ("empty", fixture::empty()),
    ];
    for (name, decision) in decisions {
        let context = if name == "compliant" {
            fixture::with_writ()
        } else {
            fixture::context()
        };
        for format in Format::ALL.into_iter().filter(|f| *f != Format::Human) {
            let text = render_decision(&decision, &context, format);
            insta::assert_snapshot!(format!("gate-{name}-{format}"), text);
            // Width, colour and terminal change nothing but times that are relative for people.
            let other = Context {
                width: 120,
                color: true,
                ..context.clone()
            };
            assert_eq!(text, render_decision(&decision, &other, format));
        }
    }
}

#[test]
fn the_message_of_the_style_guide() {
    let mut checks = vec![fixture::blocked().checks[3].clone()];
    checks.extend((0..17).map(|n| fixture::check(&format!("PAS-{n:02}"), State::Pass, "Holds")));
    checks.push(fixture::blocked().checks[8].clone());
    let mut decision = fixture::decision(checks, vec![]);
    decision.not_covered.clear();
    let context = Context {
        links: None,
        ..fixture::context()
    };
    insta::assert_snapshot!(
        "gate-one-failure-human",
        render_decision(&decision, &context, Format::Human)
    );
}

#[test]
fn partial_answers() {
    let only = |state| {
        let checks = vec![
            fixture::check("A-01", State::Pass, "Holds"),
            fixture::check("B-02", state, "Does not"),
        ];
        fixture::decision(checks, vec![])
    };
    let mut all = String::new();
    for state in State::ALL {
        let text = render_decision(&only(state), &Context::default(), Format::Human);
        all.push_str(text.lines().next().unwrap());
        all.push('\n');
    }
    insta::assert_snapshot!("headlines", all);
}

#[test]
fn one_control_in_depth() {
    let decision = fixture::blocked();
    for (look, context) in looks() {
        let text = writ_render::why::why(&decision, "sast-01", &context).unwrap();
        no_trailing_space(&text);
        insta::assert_snapshot!(format!("why-SAST-01-{look}"), shown(&text));
    }
    let later = writ_render::why::why(&decision, "ENV-01", &fixture::context()).unwrap();
    insta::assert_snapshot!("why-ENV-01", later);
    assert!(writ_render::why::why(&decision, "NOPE-1", &fixture::context()).is_none());
}

#[test]
fn cards_stay_cards() {
    let mut check = fixture::blocked().checks[3].clone();
    check.found = (0..40).map(|n| format!("line {n}")).collect();
    check.evidence = vec![check.evidence[0].clone(); 30];
    let card = writ_render::human::check(&check, &Context::default());
    assert!(card.lines().count() < 50, "{card}");
    assert!(card.contains("and 30 more: writ why VUL-02"), "{card}");
    let note = writ_render::markdown::check(&check, &Context::default());
    assert!(note.contains("and 30 more: writ why VUL-02"), "{note}");
    assert!(note.lines().all(|line| line.len() < 2_000), "{note}");
    // In depth, nothing is left out.
    check.control = "X-1".to_owned();
    let decision = fixture::decision(vec![check], vec![]);
    let depth = writ_render::why::why(&decision, "X-1", &Context::default()).unwrap();
    assert!(depth.contains("line 39"), "{depth}");
}

#[test]
fn table_of_checks() {
    for (look, context) in looks() {
        let text = writ_render::table::table(&fixture::blocked(), &context);
        no_trailing_space(&text);
        insta::assert_snapshot!(format!("table-{look}"), shown(&text));
    }
}

#[test]
fn reports() {
    for (name, view) in [
        ("findings", fixture::report()),
        ("nothing", fixture::blank_report()),
        ("tests", fixture::test_report()),
    ] {
        for format in Format::ALL {
            let text = render_inspect(&view, &fixture::context(), format);
            insta::assert_snapshot!(format!("inspect-{name}-{format}"), text);
        }
    }
    for (look, context) in looks() {
        let text = render_inspect(&fixture::report(), &context, Format::Human);
        no_trailing_space(&text);
        insta::assert_snapshot!(format!("inspect-findings-human-{look}"), shown(&text));
    }
}

#[test]
fn gitlab_security_reports() {
    let scan = gitlab::security::Scan {
        started_at: fixture::time("2026-11-22T10:14:00.5Z"),
        ended_at: fixture::time("2026-11-22T10:15:00Z"),
        completed: true,
        image: "registry.example/payments:2026.47.1".to_owned(),
        operating_system: "debian 12.7".to_owned(),
    };
    let mut view = fixture::report();
    for finding in &mut view.findings {
        finding.suppression = None;
    }
    for kind in gitlab::security::Kind::ALL {
        let text = gitlab::security::report(&view, kind, &scan, &fixture::context());
        insta::assert_snapshot!(format!("{}", kind.file_name()), text);
    }
}

#[test]
fn step_summary() {
    let text = github::step_summary(&fixture::blocked(), &fixture::context());
    assert_eq!(
        text,
        render_decision(&fixture::blocked(), &fixture::context(), Format::Markdown)
    );
    let long = format!("{}é\n", "line é\n".repeat(200_000));
    let cut = github::cut_summary(long, Some("https://writ.example/d/1"));
    assert!(cut.len() < 1024 * 1024);
    assert!(cut.ends_with("**Cut here: the summary is longer than GitHub accepts.** [The whole decision](https://writ.example/d/1)\n"));
}

#[test]
fn errors_are_no_verdicts() {
    for (look, context) in looks() {
        let text = error::human(&fixture::edge_error(), &context);
        no_trailing_space(&text);
        insta::assert_snapshot!(format!("error-human-{look}"), shown(&text));
    }
    insta::assert_snapshot!("error-json", error::json(&fixture::edge_error()));
}
