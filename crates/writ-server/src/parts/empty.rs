//! The three kinds of empty, which mean three different things.

use maud::{Markup, html};

/// Why there is nothing to show.
#[derive(Debug, Clone)]
pub enum Empty {
    /// Nothing delivers this yet: what to do.
    NotConnected {
        /// What is not there.
        what: String,
        /// The command that begins.
        command: Option<&'static str>,
    },
    /// Looked, and there is none: good, with what was looked at.
    NothingFound(String),
    /// There is something, behind the filters.
    FilteredAway {
        /// What is not shown.
        what: String,
        /// The page without filters.
        clear: String,
    },
}

impl Empty {
    /// As markup.
    #[must_use]
    pub fn html(&self) -> Markup {
        match self {
            Self::NotConnected { what, command } => html! {
                div.empty.none {
                    p { (what) }
                    @if let Some(command) = command {
                        p { "Begin with " code.cmd data-copy=(command) { (command) } }
                    }
                }
            },
            Self::NothingFound(what) => html! { div.empty.good { p { (what) } } },
            Self::FilteredAway { what, clear } => html! {
                div.empty.hidden-by {
                    p { (what) " " a href=(clear) { "Clear the filters" } }
                }
            },
        }
    }

    /// As a sentence.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::NotConnected { what, .. }
            | Self::NothingFound(what)
            | Self::FilteredAway { what, .. } => what,
        }
    }
}
