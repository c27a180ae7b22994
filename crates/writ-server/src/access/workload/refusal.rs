//! Why a token is not let in: what was found, what is required, and what to do.

use crate::http::problem::shown;
use crate::http::{Code, Problem};

/// A refusal, with a stable word for figures and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    word: &'static str,
    /// Kind of problem.
    code: Code,
    detail: String,
    found: Option<String>,
    required: Option<String>,
    why: Option<&'static str>,
    fix: Option<String>,
}

impl Refusal {
    fn new(word: &'static str, code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            word,
            code,
            detail: detail.into(),
            found: None,
            required: None,
            why: None,
            fix: None,
        }))
    }

    /// What went wrong, for figures: one of a fixed set of words.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        self.0.word
    }

    /// The token itself cannot be believed.
    pub(in crate::access) fn token(word: &'static str, detail: impl Into<String>) -> Self {
        Self::new(word, Code::SignIn, detail)
    }

    /// The token is genuine, and nothing lets this job in.
    pub(in crate::access) fn job(word: &'static str, detail: impl Into<String>) -> Self {
        Self::new(word, Code::NotAllowed, detail)
    }

    /// The issuer's keys cannot be had now.
    pub(in crate::access) fn away(detail: impl Into<String>) -> Self {
        Self::new("keys-away", Code::Busy, detail)
    }

    pub(in crate::access) fn found(mut self, found: impl AsRef<str>) -> Self {
        self.0.found = Some(shown(found.as_ref()));
        self
    }

    pub(in crate::access) fn required(mut self, required: impl Into<String>) -> Self {
        self.0.required = Some(required.into());
        self
    }

    pub(in crate::access) fn why(mut self, why: &'static str) -> Self {
        self.0.why = Some(why);
        self
    }

    pub(in crate::access) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl From<Refusal> for Problem {
    fn from(Refusal(refusal): Refusal) -> Self {
        let mut problem = Self::new(refusal.code, refusal.detail);
        if let Some(found) = refusal.found {
            problem = problem.found(found);
        }
        if let Some(required) = refusal.required {
            problem = problem.required(required);
        }
        if let Some(why) = refusal.why {
            problem = problem.why(why);
        }
        match refusal.fix {
            Some(fix) => problem.fix(fix),
            None => problem,
        }
    }
}
