//! A control as its TOML file states it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use writ_model::{EvidenceType, MapsTo, Span};

/// When a control is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before deployment: it can block.
    Gate,
    /// Owed by the release after deployment.
    After,
    /// About the environment, all the time.
    Continuous,
}

/// What happens when the rule does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Same text, never blocks: state *warned*.
    Warn,
    /// Blocks.
    #[default]
    Block,
}

/// What must exist in the commit for the control to apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Applies {
    /// Always.
    #[default]
    Always,
    /// Where an image is built.
    Image,
    /// Where dependencies are declared in a lock file.
    Lockfile,
    /// Where infrastructure is described by files.
    Infrastructure,
    /// Where there is source code.
    Source,
}

/// Whether and by whom exemptions are granted: `{ by = "…", max_days = 14 }`, or `false` with
/// `no_exempt` saying why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Exempt {
    /// `false`: never.
    Never(bool),
    /// Granted by an owner for at most so many days.
    By {
        /// Role, team or owner that decides.
        by: String,
        /// Longest permission in days, counted from the grant.
        max_days: u32,
    },
}

/// One recorded case with the state it must give.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCase {
    /// Path of the fixture inside the bundle.
    pub given: String,
    /// The state it must give.
    pub expect: writ_model::State,
    /// The reason after the slash of the message code, when the test cares.
    #[serde(default)]
    pub code: Option<String>,
}

/// A requirement of this organisation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Id: `VUL-02`.
    pub id: String,
    /// One line.
    pub title: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Grows with every change of meaning.
    pub version: u32,
    /// When it is judged.
    pub phase: Phase,
    /// Rule: `family.name`.
    pub rule: String,
    /// Parameters of the rule.
    #[serde(default)]
    pub with: BTreeMap<String, toml::Value>,
    /// Evidence types it needs.
    #[serde(default)]
    pub evidence: Vec<EvidenceType>,
    /// Where it applies.
    #[serde(default)]
    pub applies: Applies,
    /// Older evidence is expired.
    #[serde(default)]
    pub fresh: Option<Span>,
    /// Block or warn.
    #[serde(default)]
    pub mode: Mode,
    /// Exemptions.
    pub exempt: Exempt,
    /// Why no exemption exists, where `exempt = false`.
    #[serde(default)]
    pub no_exempt: Option<String>,
    /// Framework key to requirement ids.
    #[serde(default)]
    pub maps: BTreeMap<String, Vec<String>>,
    /// What is required, for messages in which no rule has spoken.
    #[serde(default)]
    pub required: String,
    /// Why the organisation wants it.
    #[serde(default)]
    pub why: String,
    /// How to regain compliance.
    #[serde(default)]
    pub fix: Vec<String>,
    /// Title when there is no evidence.
    #[serde(default)]
    pub absent: String,
    /// What to do when there is no evidence.
    #[serde(default)]
    pub absent_fix: Vec<String>,
    /// Recorded cases.
    #[serde(default)]
    pub test: Vec<TestCase>,
}

impl Control {
    /// The mapping as checks show it.
    #[must_use]
    pub fn maps_to(&self) -> Vec<MapsTo> {
        self.maps
            .iter()
            .map(|(framework, requirements)| MapsTo {
                framework: framework.clone(),
                requirements: requirements.clone(),
            })
            .collect()
    }

    /// Longest exemption in days, `None` where none exists.
    #[must_use]
    pub const fn exempt_days(&self) -> Option<u32> {
        match &self.exempt {
            Exempt::By { max_days, .. } => Some(*max_days),
            Exempt::Never(_) => None,
        }
    }
}
