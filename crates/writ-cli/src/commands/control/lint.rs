//! `writ control lint`: refuses controls that people could not understand or that nothing proves.

use serde_json::{Map, Value, json};
use writ_gate::{Problem, lint, load_bundle};
use writ_render::text::{clean, plural, prose};
use writ_render::{EdgeError, Format, json};

use crate::commands::{listing, place};
use crate::context::Context;

const FORMATS: [Format; 3] = [Format::Human, Format::Json, Format::Jsonl];

pub fn run(context: &Context) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ control lint", &FORMATS)?;
    // What cannot be loaded is refused just as well: the same lines, the same exit code.
    let (problems, summary) = match load_bundle(&place::bundle_source(context)) {
        Ok(bundle) => {
            let count = |number: usize, noun: &str| plural(number as u64, noun);
            let summary = format!(
                "{}, {}, {}, {}",
                count(bundle.controls.len(), "control"),
                count(bundle.rules.len(), "rule"),
                count(bundle.profiles.len(), "profile"),
                count(bundle.frameworks.len(), "framework"),
            );
            (lint(&bundle), summary)
        }
        Err(error) => (error.problems, "the bundle cannot be loaded".to_owned()),
    };
    listing::write(context, |sink| match sink.format {
        Format::Json => listing::document(
            "writ.control-lint/1",
            Map::from_iter([
                ("holds".to_owned(), json!(problems.is_empty())),
                (
                    "problems".to_owned(),
                    problems
                        .iter()
                        .map(|one| Value::Object(fields(one)))
                        .collect(),
                ),
            ]),
        ),
        Format::Jsonl => problems
            .iter()
            .map(|one| {
                let mut all =
                    Map::from_iter([("schema".to_owned(), "writ.control-problem/1".into())]);
                all.extend(fields(one));
                json::line(&all)
            })
            .collect(),
        _ => human(context, &problems, &summary),
    })?;
    Ok(u8::from(!problems.is_empty()))
}

fn fields(problem: &Problem) -> Map<String, Value> {
    Map::from_iter([
        ("file".to_owned(), json!(problem.file)),
        ("line".to_owned(), json!(problem.line)),
        ("column".to_owned(), json!(problem.column)),
        ("cause".to_owned(), json!(problem.cause)),
        ("remedy".to_owned(), json!(problem.remedy)),
    ])
}

/// `FILE:LINE:COLUMN: cause` as editors read it, the remedy on a line of its own.
fn human(context: &Context, problems: &[Problem], summary: &str) -> String {
    let mut out = String::new();
    for problem in problems {
        let path = match &context.bundle {
            Some(folder) => folder.join(&problem.file).display().to_string(),
            None => problem.file.clone(),
        };
        out.push_str(&clean(&path));
        if problem.line > 0 {
            out.push_str(&format!(":{}:{}", problem.line, problem.column.max(1)));
        }
        out.push_str(&format!(": {}\n", prose(&problem.cause)));
        if !problem.remedy.is_empty() {
            out.push_str(&format!("  try  {}\n", prose(&problem.remedy)));
        }
    }
    out.push_str(&match problems.len() {
        0 => format!("{summary}: nothing to refuse\n"),
        many => format!("{summary}: {}\n", plural(many as u64, "problem")),
    });
    out
}
