//! States and answers: drawing, word and colour together, because colour alone says nothing.

use maud::{Markup, html};
use writ_model::{Answer, Severity, State};

use super::glyph::{self, Glyph, glyph};

/// Class of a state in the style sheet.
#[must_use]
pub const fn class(state: State) -> &'static str {
    match state {
        State::NotApplicable => "na",
        state => state.word(),
    }
}

/// A state.
#[must_use]
pub fn state(state: State) -> Markup {
    html! { span class={ "st " (class(state)) } { (glyph(glyph::of(state))) (state.word()) } }
}

/// The state that an answer looks like.
#[must_use]
pub const fn like(answer: Answer) -> State {
    match answer {
        Answer::Yes => State::Pass,
        Answer::No => State::Fail,
        Answer::CannotTell => State::Error,
        Answer::NotYet => State::Waiting,
    }
}

/// The word of an answer on pages.
#[must_use]
pub const fn answer_word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "compliant",
        Answer::No => "blocked",
        Answer::CannotTell => "cannot tell",
        Answer::NotYet => "not yet",
    }
}

/// A gate's answer.
#[must_use]
pub fn answer(answer: Answer) -> Markup {
    let state = like(answer);
    html! { span class={ "st " (class(state)) } { (glyph(glyph::of(state))) (answer_word(answer)) } }
}

/// A word with the look of a state.
#[must_use]
pub fn tag(state: State, word: &str) -> Markup {
    html! { span class={ "st " (class(state)) } { (glyph(glyph::of(state))) (word) } }
}

/// An emergency.
#[must_use]
pub fn break_glass(word: &str) -> Markup {
    html! { span class="st break" { (glyph(Glyph::BreakGlass)) (word) } }
}

/// A severity: weight, not colour.
#[must_use]
pub fn severity(severity: Severity) -> Markup {
    html! { span class={ "sev " (severity.word()) } { (severity.word()) } }
}

/// The tickmarks with their words, for the foot of each page.
#[must_use]
pub fn legend() -> Markup {
    html! {
        div.legend {
            span { "Tickmarks" }
            @for known in State::ALL { (state(known)) }
        }
    }
}
