//! `writ control show ID`: everything about one control on one page.

use serde_json::{Map, Value, json};
use writ_gate::{Bundle, Control, Exempt, Requirement, control_path};
use writ_model::Span;
use writ_render::text::{clean, pad, prose, wrap};
use writ_render::{EdgeError, Format, json, markdown};

use super::{find, mode_word, phase_word, profiles_of};
use crate::commands::listing;
use crate::context::Context;
use crate::store;

const FORMATS: [Format; 4] = [Format::Human, Format::Json, Format::Jsonl, Format::Markdown];

/// Columns of a label with the space behind it.
const LABEL: usize = 12;

pub fn run(context: &Context, id: &str) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ control show", &FORMATS)?;
    let bundle = store::bundle(context)?;
    let control = find(&bundle, id)?;
    listing::write(context, |sink| match sink.format {
        Format::Json => listing::document("writ.control/1", fields(&bundle, control)),
        Format::Jsonl => {
            let mut all = Map::from_iter([("schema".to_owned(), "writ.control/1".into())]);
            all.extend(fields(&bundle, control));
            json::line(&all)
        }
        Format::Markdown => page(&bundle, control),
        _ => human(&bundle, control, context.width),
    })?;
    Ok(0)
}

/// Label and lines, in the order of the page.
fn parts(bundle: &Bundle, control: &Control) -> Vec<(&'static str, Vec<String>)> {
    let mut parts = vec![
        ("required", vec![prose(&control.required)]),
        ("why", vec![prose(&control.why)]),
        ("fix", control.fix.iter().map(|line| prose(line)).collect()),
        ("exemption", vec![exemption(control)]),
        ("evidence", evidence(control)),
        ("applies", vec![applies(control).to_owned()]),
        ("rule", vec![rule(bundle, control)]),
        ("owner", vec![control.owner.clone()]),
        ("maps to", maps(bundle, control)),
    ];
    let profiles = profiles_of(bundle, &control.id);
    let profiles = if profiles.is_empty() {
        "no profile binds it".to_owned()
    } else {
        profiles.join(", ")
    };
    parts.push(("bound by", vec![profiles]));
    parts.push((
        "file",
        vec![format!(
            "{}, {} recorded cases (writ control test {})",
            control_path(&control.id),
            control.test.len(),
            control.id
        )],
    ));
    parts
}

fn human(bundle: &Bundle, control: &Control, width: usize) -> String {
    let mut out = format!("{}  {}\n", control.id, clean(&control.title));
    out.push_str(&format!("  {}\n", headline(control)));
    for (label, lines) in parts(bundle, control) {
        let mut left = format!("  {}", pad(label, LABEL));
        for line in &lines {
            let mut indent = "";
            for piece in wrap(&clean(line), width.saturating_sub(LABEL + 4)) {
                out.push_str(format!("{left}{indent}{piece}").trim_end());
                out.push('\n');
                left = " ".repeat(LABEL + 2);
                // Where there are several lines, the rest of a long one is set in.
                indent = if lines.len() > 1 { "  " } else { "" };
            }
        }
    }
    out
}

fn page(bundle: &Bundle, control: &Control) -> String {
    let mut out = format!(
        "## {} {}\n\n{}\n\n",
        control.id,
        markdown::escape(&control.title),
        markdown::escape(&headline(control))
    );
    for (label, lines) in parts(bundle, control) {
        let lines: Vec<String> = lines.iter().map(|line| markdown::escape(line)).collect();
        match lines.as_slice() {
            [one] => out.push_str(&format!("- **{label}** {one}\n")),
            many => {
                out.push_str(&format!("- **{label}**\n"));
                for line in many {
                    out.push_str(&format!("  - {line}\n"));
                }
            }
        }
    }
    out
}

fn headline(control: &Control) -> String {
    let phase = match control.phase {
        writ_gate::Phase::Gate => "judged at the gate",
        writ_gate::Phase::After => "owed after deployment",
        writ_gate::Phase::Continuous => "judged all the time",
    };
    let mode = match control.mode {
        writ_gate::Mode::Block => "blocks",
        writ_gate::Mode::Warn => "warns only",
    };
    format!("version {}, {phase}, {mode}", control.version)
}

fn exemption(control: &Control) -> String {
    match &control.exempt {
        Exempt::By { by, max_days } => format!(
            "{by} may grant one for at most {max_days} day{}",
            if *max_days == 1 { "" } else { "s" }
        ),
        Exempt::Never(_) => format!(
            "none: {}",
            prose(control.no_exempt.as_deref().unwrap_or("never"))
        ),
    }
}

fn evidence(control: &Control) -> Vec<String> {
    if control.evidence.is_empty() {
        return vec!["none: it judges the run itself".to_owned()];
    }
    let fresh = control
        .fresh
        .map(|span| format!("; older than {} is expired", human_span(span)));
    control
        .evidence
        .iter()
        .map(|kind| {
            let proves = kind.proves().trim_end_matches('.');
            format!(
                "{}: {proves}{}",
                kind.word(),
                fresh.as_deref().unwrap_or("")
            )
        })
        .collect()
}

fn human_span(span: Span) -> String {
    span.human()
}

const fn applies(control: &Control) -> &'static str {
    match control.applies {
        writ_gate::Applies::Always => "always",
        writ_gate::Applies::Image => "where an image is built",
        writ_gate::Applies::Lockfile => "where a lock file declares dependencies",
        writ_gate::Applies::Infrastructure => "where files describe infrastructure",
        writ_gate::Applies::Source => "where there is source code",
    }
}

fn rule(bundle: &Bundle, control: &Control) -> String {
    let parameters: Vec<String> = control
        .with
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let place = bundle
        .rules
        .get(&control.rule)
        .map_or_else(String::new, |rule| {
            format!(" ({}:{})", rule.file, rule.line)
        });
    if parameters.is_empty() {
        format!("{}{place}", control.rule)
    } else {
        format!("{}{place} with {}", control.rule, parameters.join(", "))
    }
}

/// Title of a requirement; some catalogues have only a summary.
fn title(requirement: &Requirement) -> &str {
    if requirement.title.is_empty() {
        &requirement.summary
    } else {
        &requirement.title
    }
}

fn maps(bundle: &Bundle, control: &Control) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, ids) in &control.maps {
        let framework = bundle.frameworks.get(key);
        for id in ids {
            let known = framework.and_then(|framework| framework.requirement(id));
            lines.push(format!(
                "{key} {id}  {}",
                known.map_or("", |requirement| title(requirement))
            ));
        }
    }
    lines
}

fn fields(bundle: &Bundle, control: &Control) -> Map<String, Value> {
    let maps: Vec<Value> = control
        .maps
        .iter()
        .flat_map(|(key, ids)| ids.iter().map(move |id| (key, id)))
        .map(|(key, id)| {
            let framework = bundle.frameworks.get(key);
            let known = framework.and_then(|framework| framework.requirement(id));
            json!({
                "framework": key,
                "name": framework.map(|framework| framework.name.as_str()),
                "requirement": id,
                "title": known.map(title),
            })
        })
        .collect();
    let evidence: Vec<&str> = control.evidence.iter().map(|kind| kind.word()).collect();
    let exempt = match &control.exempt {
        Exempt::By { by, max_days } => json!({"by": by, "maxDays": max_days}),
        Exempt::Never(_) => json!({"never": control.no_exempt}),
    };
    Map::from_iter([
        ("id".to_owned(), json!(control.id)),
        ("title".to_owned(), json!(control.title)),
        ("version".to_owned(), json!(control.version)),
        ("phase".to_owned(), json!(phase_word(control.phase))),
        ("mode".to_owned(), json!(mode_word(control.mode))),
        ("required".to_owned(), json!(control.required)),
        ("why".to_owned(), json!(control.why)),
        ("fix".to_owned(), json!(control.fix)),
        ("exempt".to_owned(), exempt),
        ("evidence".to_owned(), json!(evidence)),
        (
            "freshSeconds".to_owned(),
            json!(control.fresh.map(Span::secs)),
        ),
        ("applies".to_owned(), json!(applies(control))),
        ("rule".to_owned(), json!(control.rule)),
        ("with".to_owned(), json!(control.with)),
        ("owner".to_owned(), json!(control.owner)),
        ("maps".to_owned(), json!(maps)),
        (
            "profiles".to_owned(),
            json!(profiles_of(bundle, &control.id)),
        ),
        ("file".to_owned(), json!(control_path(&control.id))),
        ("cases".to_owned(), json!(control.test.len())),
    ])
}
