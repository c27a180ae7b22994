//! People as pages show them: the name of the directory beside the pseudonym of the record.

use maud::{Markup, html};
use writ_model::{Check, PrincipalId};

use crate::http::Ask;

/// A person.
#[must_use]
pub fn person(ask: &Ask, id: &PrincipalId) -> Markup {
    let name = ask.app.name(id);
    html! { span.person title=(id.0) { (name) } }
}

/// Several people.
#[must_use]
pub fn people(ask: &Ask, ids: &[PrincipalId]) -> Markup {
    html! {
        @for (at, id) in ids.iter().enumerate() {
            @if at > 0 { ", " }
            (person(ask, id))
        }
    }
}

/// Several people as one text.
#[must_use]
pub fn names(ask: &Ask, ids: &[PrincipalId]) -> String {
    let names: Vec<String> = ids.iter().map(|id| ask.app.name(id)).collect();
    names.join(", ")
}

/// The pseudonyms that a text of the gate names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_'))
        .filter(|word| word.len() > 10 && word.starts_with("p_"))
}

/// Everybody whom the words of these checks name.
#[must_use]
pub fn mentioned(checks: &[Check]) -> Vec<PrincipalId> {
    checks
        .iter()
        .flat_map(|check| check.found.iter().chain([&check.title]))
        .flat_map(|text| named(text))
        .map(|word| PrincipalId(word.to_owned()))
        .collect()
}

/// A text of the gate, with the names that the directory knows in place of pseudonyms.
#[must_use]
pub fn in_words(ask: &Ask, text: &str) -> String {
    named(text).fold(text.to_owned(), |said, word| {
        said.replace(word, &ask.app.name(&PrincipalId(word.to_owned())))
    })
}
