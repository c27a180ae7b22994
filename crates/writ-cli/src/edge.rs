//! Errors at the edge: what a person reads when Writ cannot do what was asked.
//!
//! Three kinds of error exist in this workspace. Libraries return typed errors (`thiserror`); the
//! server answers with problem documents; here, at the edge, a [`writ_render::EdgeError`] carries
//! the exit code and the parts *what, where, cause, try*. A verdict is never an error.

use std::fmt;

use writ_render::{EdgeError, Try};

/// Unknown flag, invalid configuration.
pub const USAGE: u8 = 2;
/// A tool crashed, data is unreadable, the store does not verify.
pub const CANNOT_TELL: u8 = 3;
/// No role, or one's own work.
pub const NOT_ALLOWED: u8 = 4;
/// Interrupted by Ctrl-C; evidence already made is kept.
pub const INTERRUPTED: u8 = 130;

/// Asked wrongly: exit 2.
pub fn usage(message: impl Into<String>) -> EdgeError {
    EdgeError::new(message, USAGE)
}

/// Cannot tell: exit 3.
pub fn cannot_tell(message: impl Into<String>) -> EdgeError {
    EdgeError::new(message, CANNOT_TELL)
}

/// Not allowed: exit 4.
pub fn not_allowed(message: impl Into<String>) -> EdgeError {
    EdgeError::new(message, NOT_ALLOWED)
}

/// Fills the parts of an error one after the other.
pub trait Edge {
    /// Says where.
    #[must_use]
    fn at(self, place: impl fmt::Display) -> Self;
    /// Says why, one line.
    #[must_use]
    fn because(self, cause: impl fmt::Display) -> Self;
    /// Adds one thing to do.
    #[must_use]
    fn try_this(self, action: impl Into<String>) -> Self;
}

impl Edge for EdgeError {
    fn at(mut self, place: impl fmt::Display) -> Self {
        self.place.push(place.to_string());
        self
    }

    fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause.push(cause.to_string());
        self
    }

    fn try_this(mut self, action: impl Into<String>) -> Self {
        self.remedy.push(Try {
            action: action.into(),
            note: String::new(),
        });
        self
    }
}

/// The chain of an error's sources as one line: `what: why: why`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some errors repeat their source in their own message.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Turns what the registry says into an error for people.
pub trait EdgeResult<T> {
    /// The same result with an error for people.
    ///
    /// # Errors
    ///
    /// As the registry's.
    fn edge(self) -> Result<T, EdgeError>;
}

impl<T> EdgeResult<T> for writ_registry::Result<T> {
    fn edge(self) -> Result<T, EdgeError> {
        self.map_err(|error| crate::store::registry_error(&error))
    }
}
