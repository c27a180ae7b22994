//! Whatever a report says: no renderer panics, none lets control characters through, none can be
//! made to write markup, commands or formulas of somebody else.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use writ_model::{Check, CheckItem, Decision, Location, Severity, State, check::WayOut};
use writ_render::{
    Context, EdgeError, Format, InspectView, Try, error, gitlab::security, render_decision,
    render_inspect, table, text, why,
};

use crate::{consumers, fixture};

/// Pieces that have broken other programs.
const NASTY: &[&str] = &[
    "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "\u{202e}gnp.exe",
    "\u{2066}\u{2069}\u{200f}",
    "line\r\nline\n::error::mine",
    "::set-output name=x::y",
    "%0A::error::mine",
    "]]><failure/>",
    "&lt;<script>alert(1)</script>",
    "<!-- --><img src=x onerror=alert(1)>",
    "| a | b |\n|---|---|",
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "`code` ``more`` ~~~",
    "@everyone #1 !2 ~label $3 &4 %5",
    "https://evil.example www.evil.example",
    "=cmd|'/c calc'!A1",
    "{\"a\": 1}",
    "\0\u{ffff}\u{fffe}\u{feff}",
    "\u{e0041}\u{ad}\u{9b}31m",
    "..\\..\\etc",
    "日本語 عربى 🦀",
    "</details></summary></sub>",
    "<https://evil.example>",
    "***bold*** __x__ # head\n- list",
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => proptest::sample::select(NASTY).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-z ]{0,30}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn location() -> impl Strategy<Value = Location> {
    (
        0..4_u8,
        hostile(),
        hostile(),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(|(kind, a, b, line)| match kind {
            0 => Location::File {
                path: a,
                line,
                end_line: line,
                column: line,
                commit: Some(b.clone()),
                resource: Some(b),
            },
            1 => Location::Package {
                purl: Some(b.clone()),
                name: a.clone(),
                version: Some(b),
                path: Some(a),
            },
            2 => Location::Url {
                url: a,
                method: Some(b.clone()),
                parameter: Some(b),
            },
            _ => Location::None,
        })
}

prop_compose! {
    fn item()(
        name in hostile(),
        body in hostile(),
        fix in proptest::option::of(hostile()),
        location in proptest::option::of(location()),
        exempted_by in proptest::option::of(hostile()),
        high in any::<bool>(),
    ) -> CheckItem {
        CheckItem {
            fingerprint: None,
            name,
            severity: high.then_some(Severity::High),
            text: body,
            location,
            fix,
            exempted_by,
        }
    }
}

prop_compose! {
    fn check()(
        state in proptest::sample::select(&State::ALL[..]),
        control in hostile(),
        title in hostile(),
        found in proptest::collection::vec(hostile(), 0..3),
        prose in hostile(),
        fix in proptest::collection::vec(hostile(), 0..3),
        command in proptest::option::of(hostile()),
        items in proptest::collection::vec(item(), 0..3),
        number in hostile(),
    ) -> Check {
        let model = fixture::blocked().checks[1].clone();
        let mut exemption = model.exemptions[0].clone();
        exemption.number = number;
        let mut evidence = model.evidence[0].clone();
        evidence.summary = title.clone();
        let mut maps = model.maps[0].clone();
        maps.framework = prose.clone();
        maps.requirements = vec![control.clone()];
        Check {
            code: format!("{control}/x"),
            control,
            state,
            title,
            found,
            required: prose.clone(),
            why: prose.clone(),
            owner: prose.clone(),
            fix,
            or: Some(WayOut { command, text: prose }),
            evidence: vec![evidence],
            items_total: items.len() as u64 + 3,
            items,
            exemptions: vec![exemption],
            maps: vec![maps],
            ..model
        }
    }
}

prop_compose! {
    fn decision()(
        checks in proptest::collection::vec(check(), 0..4),
        later in proptest::collection::vec(check(), 0..2),
        service in hostile(),
        environment in hostile(),
        covered in hostile(),
    ) -> Decision {
        let mut decision = fixture::decision(checks, later);
        decision.service = service.clone();
        decision.environment = environment.clone();
        decision.profile = covered.clone();
        decision.bundle.version = environment;
        decision.bundle.name = service;
        decision.not_covered = vec![covered];
        decision
    }
}

prop_compose! {
    fn view()(
        texts in proptest::collection::vec(hostile(), 8),
        places in proptest::collection::vec(location(), 3),
    ) -> InspectView {
        let mut view = fixture::report();
        view.file = texts[0].clone();
        view.format = texts[1].clone();
        view.tool.name = texts[2].clone();
        view.tool.version = texts[3].clone();
        view.tool.repackaged_by = Some(texts[4].clone());
        view.problems = vec![texts[5].clone()];
        view.looked_at[0].what = texts[6].clone();
        for (index, (finding, place)) in view.findings.iter_mut().zip(places).enumerate() {
            finding.location = place;
            finding.rule = texts[index].clone();
            finding.title = texts[index + 1].clone();
            finding.message = Some(texts[index + 2].clone());
            finding.raw_severity = texts[index + 3].clone();
            for identifier in &mut finding.identifiers {
                identifier.kind = texts[index + 4].clone();
                identifier.value = texts[index + 5].clone();
            }
            if let Some(fix) = &mut finding.fix {
                fix.versions = vec![texts[7].clone()];
                fix.text = Some(texts[index].clone());
            }
            if let Some(suppression) = &mut finding.suppression {
                suppression.kind = texts[6].clone();
                suppression.justification = Some(texts[7].clone());
            }
        }
        view
    }
}

/// Colours that we write ourselves.
fn without_colour(text: &str) -> String {
    let mut out = text.to_owned();
    for code in ["0", "1", "2", "31", "32", "33", "34", "35", "36"] {
        out = out.replace(&format!("\x1b[{code}m"), "");
    }
    out
}

fn assert_visible(text: &str, format: &str) {
    let text = without_colour(text).replace("\r\n", "\n");
    if let Some(bad) = text.chars().find(|c| *c != '\n' && text::is_unsafe(*c)) {
        panic!("{format} lets {bad:?} through: {text:?}");
    }
}

fn assert_markdown(text: &str) {
    const OURS: &[&str] = &[
        "<br>",
        "<sub>",
        "</sub>",
        "</details>",
        "</summary>",
        "<details>",
        "<summary>",
    ];
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    for event in parser {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                let html = html.trim();
                let ours = OURS.contains(&html)
                    || html.starts_with("<!-- writ:")
                    || html.starts_with("<details><summary>");
                assert!(ours, "{html:?} in {text}");
                assert!(html.matches("<").count() <= 4, "{html:?}");
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let ours = dest_url.starts_with("https://writ.example/")
                    || dest_url.starts_with("https://git.example/");
                assert!(ours, "link to {dest_url:?} in {text}");
            }
            _ => {}
        }
    }
}

/// Workflow commands: only ours, each on a line of its own.
fn assert_commands(text: &str) {
    for line in text.lines() {
        assert!(
            ["::error ", "::warning ", "::notice "]
                .iter()
                .any(|start| line.starts_with(start)),
            "{line:?}"
        );
    }
    assert!(text.lines().count() <= writ_render::github::MAX_ANNOTATIONS + 1);
}

fn contexts() -> [Context; 2] {
    [
        Context {
            color: true,
            tty: true,
            width: 120,
            ..fixture::with_writ()
        },
        fixture::context(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decisions_are_harmless(decision in decision(), change in hostile()) {
        for mut context in contexts() {
            context.change = Some(change.clone());
            context.definition = change.clone();
            for format in Format::ALL {
                let text = render_decision(&decision, &context, format);
                assert_visible(&text, format.word());
                match format {
                    Format::Sarif => { consumers::is_sarif(&text); }
                    Format::Junit => {
                        let report = consumers::read_junit(&text);
                        prop_assert_eq!(report.test_suites[0].test_cases.len(), decision.checks.len());
                    }
                    Format::Csv => {
                        let rows = consumers::read_csv(&text);
                        prop_assert_eq!(rows.len(), 1 + decision.checks.len() + decision.later.len());
                        prop_assert_eq!(text.lines().count(), rows.len());
                    }
                    Format::Json => {
                        let read: Decision = serde_json::from_str(&text).unwrap();
                        prop_assert_eq!(&read, &decision);
                    }
                    Format::Jsonl => prop_assert_eq!(
                        text.lines().count(),
                        decision.checks.len() + decision.later.len()
                    ),
                    Format::Markdown => assert_markdown(&text),
                    Format::Github => assert_commands(&text),
                    Format::Human | Format::Gitlab => {}
                }
            }
            assert_visible(&table::table(&decision, &context), "table");
            for check in &decision.checks {
                let text = why::why(&decision, &check.control, &context).unwrap();
                assert_visible(&text, "why");
            }
        }
    }

    #[test]
    fn reports_are_harmless(view in view(), image in hostile()) {
        for context in contexts() {
            for format in Format::ALL {
                let text = render_inspect(&view, &context, format);
                assert_visible(&text, format.word());
                match format {
                    Format::Sarif => { consumers::is_sarif(&text); }
                    Format::Junit => { consumers::read_junit(&text); }
                    Format::Csv => { prop_assert_eq!(consumers::read_csv(&text).len(), 4); }
                    Format::Markdown => assert_markdown(&text),
                    Format::Github => assert_commands(&text),
                    _ => {}
                }
            }
            let scan = security::Scan {
                image: image.clone(),
                operating_system: image.clone(),
                ..security::Scan::default()
            };
            for kind in security::Kind::ALL {
                let text = security::report(&view, kind, &scan, &context);
                assert_visible(&text, kind.word());
                consumers::is_gitlab_report(&text);
            }
        }
    }

    #[test]
    fn errors_are_harmless(texts in proptest::collection::vec(hostile(), 5)) {
        let edge = EdgeError {
            message: texts[0].clone(),
            place: vec![texts[1].clone()],
            cause: vec![texts[2].clone()],
            remedy: vec![Try { action: texts[3].clone(), note: texts[4].clone() }],
            exit_code: 3,
        };
        for context in contexts() {
            assert_visible(&error::human(&edge, &context), "error");
        }
        assert_visible(&error::json(&edge), "error json");
    }

    /// No line is wider than asked for, as long as single words are not.
    #[test]
    fn width_is_respected(
        words in proptest::collection::vec("[a-zA-Z0-9.,/:-]{1,14}( {1,3}[a-zß日]{1,8}){0,40}", 12),
        width in 60_usize..130,
    ) {
        let mut decision = fixture::blocked();
        for (index, check) in decision.checks.iter_mut().enumerate() {
            let word = |n: usize| words[(index + n) % words.len()].clone();
            check.title = word(0);
            check.found = vec![word(1), word(2)];
            check.required = word(3);
            check.why = word(4);
            check.fix = vec![word(5), word(6)];
            check.items.truncate(2);
            for item in &mut check.items {
                item.text = word(7);
                item.location = None;
            }
        }
        decision.not_covered = words.clone();
        let context = Context { links: None, sources: None, width, ..fixture::context() };
        for text in [
            render_decision(&decision, &context, Format::Human),
            table::table(&decision, &context),
        ] {
            for line in text.lines() {
                prop_assert!(text::columns(line) <= width, "{} > {width}: {line:?}", text::columns(line));
                prop_assert_eq!(line, line.trim_end());
            }
        }
    }
}
