//! Addresses of an environment at a moment, as git writes them: `production@{-1}`.

use std::fmt;
use std::str::FromStr;

use writ_model::Timestamp;

/// Most snapshots that are counted back.
const MAX_BACK: u32 = 10_000;

/// An environment at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Environment.
    pub environment: String,
    /// Which moment.
    pub back: Back,
}

/// Which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// The newest.
    Newest,
    /// This many snapshots before the newest.
    Snapshots(u32),
    /// As it was known at an instant.
    At(Timestamp),
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an environment at a moment: {problem}")]
pub struct AddressError {
    /// What was typed, cut.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError {
            text: text.chars().take(100).collect(),
            problem,
        };
        let (environment, back) = match text.split_once("@{") {
            None => (text, Back::Newest),
            Some((environment, rest)) => {
                let inner = rest
                    .strip_suffix('}')
                    .ok_or_else(|| wrong("`@{` is not closed by `}`"))?;
                (environment, moment(inner).map_err(wrong)?)
            }
        };
        if environment.is_empty() || environment.contains(['@', '{', '}', '/']) {
            return Err(wrong("it does not begin with the name of an environment"));
        }
        Ok(Self {
            environment: environment.to_owned(),
            back,
        })
    }
}

fn moment(inner: &str) -> Result<Back, &'static str> {
    if inner == "0" {
        return Ok(Back::Newest);
    }
    if let Some(count) = inner.strip_prefix('-')
        && count.bytes().all(|byte| byte.is_ascii_digit())
    {
        return match count.parse::<u32>() {
            Ok(0) => Ok(Back::Newest),
            Ok(count) if count <= MAX_BACK => Ok(Back::Snapshots(count)),
            _ => Err("it goes back more than 10000 snapshots"),
        };
    }
    let whole = if inner.len() == 10 && inner.is_ascii() {
        format!("{inner}T00:00:00Z")
    } else {
        inner.to_owned()
    };
    whole.parse().map(Back::At).map_err(|_| {
        "between the braces stands -1, -2, …, a day (2026-11-01) or an instant (2026-11-01T12:00:00Z)"
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.back {
            Back::Newest => f.write_str(&self.environment),
            Back::Snapshots(count) => write!(f, "{}@{{-{count}}}", self.environment),
            Back::At(at) => write!(f, "{}@{{{at}}}", self.environment),
        }
    }
}
