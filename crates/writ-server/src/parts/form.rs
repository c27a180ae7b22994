//! Filters: plain forms that work without scripts; with them a change submits the form.

use maud::{Markup, html};

use crate::access::Principal;
use crate::access::forms::FIELD;
use crate::http::Ask;
use crate::http::ask::pairs;

/// One choice of a list.
#[derive(Debug, Clone)]
pub struct Choice {
    /// What the address says.
    pub value: String,
    /// What people read.
    pub label: String,
}

impl Choice {
    /// A choice whose label is its value.
    #[must_use]
    pub fn same(value: impl Into<String>) -> Self {
        let value = value.into();
        Self {
            label: value.clone(),
            value,
        }
    }

    /// A choice.
    #[must_use]
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            label: label.into(),
        }
    }
}

/// One field of a filter.
#[derive(Debug, Clone)]
pub enum Field {
    /// One of a list.
    Select {
        /// Parameter.
        name: &'static str,
        /// Label.
        label: &'static str,
        /// The choice that does not restrict.
        any: &'static str,
        /// Choices.
        choices: Vec<Choice>,
    },
    /// Free text.
    Text {
        /// Parameter.
        name: &'static str,
        /// Label.
        label: &'static str,
        /// What could be typed.
        hint: &'static str,
    },
}

/// The parameters of this request as hidden fields, but not those that the form sets itself.
#[must_use]
pub fn keep(ask: &Ask, not: &[&str]) -> Markup {
    html! {
        @for (name, value) in pairs(&ask.query) {
            @if !not.contains(&name.as_str()) {
                input type="hidden" name=(name) value=(value);
            }
        }
    }
}

/// The token that a form of this session carries.
#[must_use]
pub fn token(principal: &Principal) -> Markup {
    html! {
        @if let Some(browser) = &principal.browser {
            input type="hidden" name=(FIELD) value=(browser.form);
        }
    }
}

/// A row of filters for the list of this page.
#[must_use]
pub fn filters(ask: &Ask, fields: &[Field]) -> Markup {
    let mut own: Vec<&str> = fields
        .iter()
        .map(|field| match field {
            Field::Select { name, .. } | Field::Text { name, .. } => *name,
        })
        .collect();
    let active = own.iter().any(|name| ask.param(name).is_some());
    own.push("after");
    html! {
        form.filters action=(ask.path) aria-label="Filters" hx-get=(ask.path) hx-target="#list" hx-select="#list"
            hx-swap="outerHTML" hx-push-url="true" hx-trigger="submit, change delay:50ms" {
            (keep(ask, &own))
            @for field in fields {
                @match field {
                    Field::Select { name, label, any, choices } => {
                        @let given = ask.param(name);
                        span.field {
                            label for={ "f-" (name) } { (label) }
                            select id={ "f-" (name) } name=(name) {
                                option value="" { (any) }
                                @for choice in choices {
                                    option value=(choice.value) selected[given.as_deref() == Some(choice.value.as_str())] { (choice.label) }
                                }
                                // A value that is not among the choices is still what is shown.
                                @if let Some(given) = given.as_ref().filter(|given| !choices.iter().any(|choice| choice.value == **given)) {
                                    option value=(given) selected { (given) }
                                }
                            }
                        }
                    }
                    Field::Text { name, label, hint } => {
                        span.field {
                            label for={ "f-" (name) } { (label) }
                            input id={ "f-" (name) } type="text" name=(name) value=[ask.param(name)] placeholder=(hint) maxlength="200";
                        }
                    }
                }
            }
            button.btn.small type="submit" { "Filter" }
            @if active { a.clear href=(clear(ask, fields)) { "Clear" } }
        }
    }
}

/// The page without its filters.
#[must_use]
pub fn clear(ask: &Ask, fields: &[Field]) -> String {
    let mut change: Vec<(&str, Option<&str>)> = fields
        .iter()
        .map(|field| match field {
            Field::Select { name, .. } | Field::Text { name, .. } => (*name, None),
        })
        .collect();
    change.push(("after", None));
    ask.here(crate::http::Form::Html, &change)
}

/// `1–50 of 1,108` and the way to the next part.
#[must_use]
pub fn pager(ask: &Ask, shown: usize, total: writ_registry::Total, next: Option<&str>) -> Markup {
    let count = writ_render::text::number(total.count);
    let of = match (total.looked, total.more) {
        (Some(looked), _) => format!(
            "{count} found in the first {} that were looked through",
            writ_render::text::number(looked)
        ),
        (None, true) => format!("more than {count}"),
        (None, false) => count,
    };
    html! {
        p.pager {
            span { (writ_render::text::number(shown as u64)) " of " (of) }
            @if ask.param("after").is_some() {
                a href=(ask.here(crate::http::Form::Html, &[("after", None)])) { "First page" }
            }
            @if let Some(next) = next {
                a href=(ask.here(crate::http::Form::Html, &[("after", Some(next))])) rel="next" { "Next page" }
            }
        }
    }
}
