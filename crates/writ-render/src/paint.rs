//! Colour, on the state word and the verdict only. The word alone says everything.

use anstyle::{AnsiColor, Style};
use writ_model::{Answer, State};

use crate::context::Context;

/// The state word, padded to `width` columns, coloured when the context allows.
pub fn state(state: State, width: usize, context: &Context) -> String {
    let padding = " ".repeat(width.saturating_sub(state.word().len()));
    format!("{}{padding}", paint(state.word(), style(state), context))
}

/// The word that opens the gate's message.
pub fn headline(answer: Answer, context: &Context) -> String {
    let like = match answer {
        Answer::Yes => State::Pass,
        Answer::No => State::Fail,
        Answer::CannotTell => State::Error,
        Answer::NotYet => State::Waiting,
    };
    paint(answer.headline(), style(like), context)
}

fn paint(word: &str, style: Style, context: &Context) -> String {
    if context.color {
        format!("{style}{word}{style:#}")
    } else {
        word.to_owned()
    }
}

const fn style(state: State) -> Style {
    let plain = Style::new();
    match state {
        State::Fail => plain
            .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)))
            .bold(),
        State::Missing | State::Expired => {
            plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)))
        }
        State::Error => plain
            .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Magenta)))
            .bold(),
        State::Waiting => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan))),
        State::Warned => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow))),
        State::Exempt => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Blue))),
        State::Pass => plain.fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green))),
        State::NotApplicable => plain.dimmed(),
    }
}
