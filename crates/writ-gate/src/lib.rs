//! The gate: bundle + evidence → checks → decision → writ.
//!
//! [`load_bundle`] reads controls, rules, profiles and catalogues; [`decide`] judges one release
//! over [`Inputs`] and is a pure function: no clock, no network, no randomness. The order in which
//! evidence is selected, found fit, judged and exempted is fixed here, so that every rule stays
//! small and none can forget it.

mod applies;
mod binding;
mod bundle;
mod control;
mod decide;
mod engine;
mod error;
pub mod evaluate;
mod exempt;
mod findings;
mod fixture;
mod framework;
mod inputs;
mod judge;
mod lint;
mod manifest;
mod message;
mod people;
mod profile;
mod rule;
mod rule_input;
mod select;
mod shown;
mod source;
mod verdict;
mod vsa;

pub use applies::{RUN_PREDICATE, latest_run};
pub use bundle::{Bundle, control_path, load_bundle, load_retention};
pub use control::{Applies, Control, Exempt, Mode, Phase, TestCase};
pub use decide::{DecideError, Gate, RuleCase, decide};
pub use engine::{ENGINE, Engine, RULE_TIME_LIMIT};
pub use error::{BundleError, Problem, did_you_mean};
pub use evaluate::{Evaluated, Judged, Release, evaluate, judge, replay_recorded};
pub use findings::place;
pub use fixture::{Prepared, TestOutcome, prepare, rule_cases, test_controls};
pub use framework::{Framework, Requirement};
pub use inputs::{FindingsSource, Inputs, PrincipalFacts};
pub use lint::lint;
pub use manifest::{
    EvidencePointer, FirstSeen, Manifest, ReplayError, ReplayLoader, decision_payload, replay,
};
pub use message::{grouped, noun};
pub use people::facts_about;
pub use profile::{Adjustment, Approvals, Binding, DEFAULT_ENVIRONMENT, Floor, Profile};
pub use rule::{FindingsWanted, RuleInfo, RuleNeeds};
pub use select::{CLOCK_SKEW, Join, readable};
pub use shown::{shown_checks, shown_digest};
pub use source::{BundleFiles, BundleSource, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
pub use vsa::{WritError, WritTerms, writ};
