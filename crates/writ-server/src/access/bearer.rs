//! `Authorization: Bearer …`: programs that bring a token.

use std::net::SocketAddr;

use super::Principal;
use crate::http::{Code, Problem};
use crate::state::Shared;

/// Finds out whose token this is. A token is never ignored: who brings one that cannot be used is
/// refused, also where no token would have been needed.
///
/// # Errors
/// The token cannot be used.
#[expect(clippy::unused_async, reason = "tokens are looked up in the store")]
pub(super) async fn identify(
    _: &Shared,
    _: &str,
    _: Option<SocketAddr>,
) -> Result<Principal, Problem> {
    Err(
        Problem::new(Code::SignIn, "this server does not know this token")
            .fix("Leave the header Authorization away, or bring a token that is known here"),
    )
}
