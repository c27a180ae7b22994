//! A profile: which controls bind a service in which environment, and the floors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use writ_model::{Assurance, EvidenceType, Origin, ProducerClass, Span};
use writ_registry::Periods;

use crate::control::Mode;

/// The environment entry that binds where no other does.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// How many approvals by which role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// Role that approves: `reviewer`.
    pub role: String,
    /// How many different people.
    pub count: u32,
}

/// The floors of a profile: nothing below them counts, and no pipeline can lower them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Weakest origin that counts.
    #[serde(default = "any_origin")]
    pub origin: Origin,
    /// Weakest producer that counts.
    #[serde(default = "any_producer")]
    pub producer: ProducerClass,
    /// Weakest proof of a person's act that counts.
    #[serde(default = "any_assurance")]
    pub assurance: Assurance,
    /// Lowest line coverage in percent.
    #[serde(default)]
    pub coverage_percent: u32,
    /// How long evidence must stay locked, in years.
    #[serde(default)]
    pub retention_years: u32,
    /// Types of evidence that must stay locked longer than that, in years.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retention_by_type: BTreeMap<EvidenceType, u32>,
    /// Oldest vulnerability data that counts.
    #[serde(default)]
    pub database_age: Option<Span>,
    /// Whether a witness outside the operator's administration is demanded.
    #[serde(default)]
    pub independent_witness: bool,
    /// Whether the locker must be locked by something stronger than file permissions.
    #[serde(default)]
    pub locked_storage: bool,
    /// Approvals of a release.
    #[serde(default)]
    pub approvals: Option<Approvals>,
}

impl Floor {
    /// How long the profile wants evidence kept.
    #[must_use]
    pub fn periods(&self) -> Periods {
        self.retention_by_type.iter().fold(
            Periods::years(self.retention_years),
            |periods, (evidence_type, years)| periods.longer(*evidence_type, *years),
        )
    }
}

const fn any_origin() -> Origin {
    Origin::HandedIn
}

const fn any_producer() -> ProducerClass {
    ProducerClass::Laptop
}

const fn any_assurance() -> Assurance {
    Assurance::LocalUser
}

/// The controls that bind an environment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Control ids in the order of messages.
    pub controls: Vec<String>,
}

/// What a profile changes about one control.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Mode in this profile.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Parameters that replace those of the control.
    #[serde(default)]
    pub with: BTreeMap<String, toml::Value>,
}

/// Which controls bind a service in which environment, with floors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name, as in its file name.
    pub name: String,
    /// One line.
    pub title: String,
    /// What this profile does not cover, in sentences.
    #[serde(default)]
    pub not_covered: Vec<String>,
    /// Floors.
    pub floor: Floor,
    /// Bindings by environment name; `default` binds the rest.
    pub environment: BTreeMap<String, Binding>,
    /// Adjustments by control id.
    #[serde(default)]
    pub control: BTreeMap<String, Adjustment>,
}

impl Profile {
    /// The controls that bind `environment`.
    #[must_use]
    pub fn controls_for(&self, environment: &str) -> &[String] {
        self.environment
            .get(environment)
            .or_else(|| self.environment.get(DEFAULT_ENVIRONMENT))
            .map_or(&[], |binding| &binding.controls)
    }
}
