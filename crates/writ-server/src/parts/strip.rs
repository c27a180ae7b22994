//! The strip of key figures at the head of a page.

use maud::{Markup, html};

/// One key figure with its denominator.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What is counted.
    pub label: &'static str,
    /// The figure: `46 of 53`.
    pub value: String,
    /// What it means, or how it came about.
    pub note: String,
    /// Where its rows are.
    pub href: Option<String>,
}

impl Figure {
    /// A figure.
    #[must_use]
    pub fn new(label: &'static str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            label,
            value: value.into(),
            note: note.into(),
            href: None,
        }
    }

    /// That leads to its rows.
    #[must_use]
    pub fn to(mut self, href: String) -> Self {
        self.href = Some(href);
        self
    }
}

/// The strip.
#[must_use]
pub fn strip(figures: &[Figure]) -> Markup {
    html! {
        dl class={ "strip n" (figures.len()) } {
            @for figure in figures {
                div {
                    dt { (figure.label) }
                    dd.v {
                        @match &figure.href {
                            Some(href) => a href=(href) { (figure.value) },
                            None => (figure.value),
                        }
                    }
                    dd.n { (figure.note) }
                }
            }
        }
    }
}
