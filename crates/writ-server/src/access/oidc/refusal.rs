//! Why a sign-in at a provider does not end in a session.

use crate::http::{Code, Problem};

/// The sign-in is not believed.
pub(crate) fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(Code::NotSignedIn, detail)
}

/// The provider does not do its part now.
pub(crate) fn away(name: &str, detail: &str) -> Problem {
    Problem::new(Code::ProviderAway, format!("{name} {detail}"))
        .fix("Try again; if it stays so, the operator looks at [[oidc]] in the settings and at the server's log")
}
