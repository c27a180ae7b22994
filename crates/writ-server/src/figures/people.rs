//! People as pages show them: the name of the directory beside the pseudonym of the record.

use maud::{Markup, html};
use writ_model::PrincipalId;

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
