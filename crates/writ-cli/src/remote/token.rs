//! The token that goes with requests to a server. It comes from a file or the environment, never from a
//! flag, which others could read.

use std::ffi::OsString;
use std::path::PathBuf;

use writ_connect::Secret;
use writ_render::EdgeError;

use crate::edge::{self, Edge};

/// The token of `WRIT_TOKEN_FILE`, else of `WRIT_TOKEN`.
///
/// # Errors
/// One is named that cannot be read or used.
pub fn find() -> Result<Option<Secret>, EdgeError> {
    if let Some(file) = set("WRIT_TOKEN_FILE") {
        return Secret::from_file(&PathBuf::from(file))
            .map(Some)
            .map_err(|problem| edge::usage(problem).at("WRIT_TOKEN_FILE"));
    }
    let Some(text) = set("WRIT_TOKEN") else {
        return Ok(None);
    };
    text.into_string()
        .ok()
        .and_then(Secret::new)
        .map(Some)
        .ok_or_else(|| {
            edge::usage("it does not hold a token that a request can carry").at("WRIT_TOKEN")
        })
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
