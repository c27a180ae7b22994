//! Hands one result to every consumer that was asked for: standard output and files.

use std::io::Write;

use writ_render::{EdgeError, Format, json};

use crate::context::{Context, Sink, write_file};

/// Renders the result once per sink and writes it there.
///
/// # Errors
///
/// A file that cannot be written. A closed pipe on standard output is the reader's choice.
pub fn emit(context: &Context, render: impl Fn(&Sink) -> String) -> Result<(), EdgeError> {
    for sink in &context.sinks {
        let text = render(sink);
        match &sink.file {
            Some(file) => write_file(file, text.as_bytes())?,
            None => print(&text),
        }
    }
    if context.ci == Some("github") {
        step_summary(&render(&Sink {
            format: Format::Markdown,
            file: None,
        }));
    }
    Ok(())
}

/// Emits one result: a document or a line for programs, words for people.
///
/// # Errors
/// As [`emit`].
pub fn answer(
    context: &Context,
    value: &serde_json::Value,
    human: impl Fn() -> String,
) -> Result<(), EdgeError> {
    emit(context, |sink| match sink.format {
        Format::Json => json::document(value),
        Format::Jsonl => json::line(value),
        _ => human(),
    })
}

/// Writes text to standard output; a closed pipe is the reader's choice.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// The surroundings of a renderer for one sink: colour and terminal only where a terminal is.
pub fn surroundings(context: &Context, sink: &Sink) -> writ_render::Context {
    let on_screen = sink.file.is_none();
    writ_render::Context {
        color: on_screen && context.color,
        width: context.width,
        tty: on_screen && context.stdout_tty,
        now: Some(context.now()),
        ..writ_render::Context::default()
    }
}

/// Appends to the step summary of a GitHub job, also when the answer is no.
fn step_summary(markdown: &str) {
    let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let text = writ_render::github::cut_summary(markdown.to_owned(), None);
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut out| out.write_all(text.as_bytes()));
    if let Err(error) = written {
        eprintln!("warning: the step summary could not be written: {error}");
    }
}
