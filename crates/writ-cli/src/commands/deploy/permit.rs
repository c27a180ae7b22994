//! What a deployment is allowed by: a writ, or an emergency.

use writ_model::{EvidenceId, WritId};
use writ_release::authorise::{Authorisation, Authorised, LetIn};

/// What a deployment is allowed by.
#[derive(Debug, Clone)]
pub enum Permit {
    /// A writ.
    Writ(Authorised),
    /// An emergency, where somebody asked for one.
    Emergency(LetIn),
}

impl Permit {
    /// What an answer allows; an emergency only where `past` says that the gate is to be passed by.
    pub fn of(answer: &Authorisation, past: bool) -> Option<Self> {
        match (&answer.authorised, &answer.emergency) {
            (Some(writ), _) => Some(Self::Writ(writ.clone())),
            (None, Some(emergency)) if past => Some(Self::Emergency(emergency.clone())),
            _ => None,
        }
    }

    /// The commit that the artefact was made from, where it is known.
    pub fn commit(&self) -> Option<&str> {
        match self {
            Self::Writ(writ) => writ.commit.as_deref(),
            Self::Emergency(emergency) => emergency.commit.as_deref(),
        }
    }

    /// The writ.
    pub const fn writ(&self) -> Option<WritId> {
        match self {
            Self::Writ(writ) => Some(writ.writ),
            Self::Emergency(_) => None,
        }
    }

    /// The emergency.
    pub const fn break_glass(&self) -> Option<EvidenceId> {
        match self {
            Self::Writ(_) => None,
            Self::Emergency(emergency) => Some(emergency.break_glass),
        }
    }
}
