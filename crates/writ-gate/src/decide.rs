//! The decision: every bound control judged over the same inputs. A pure function.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use writ_model::{Check, Decision, Digest, StateCounts};

use crate::applies::latest_run;
use crate::bundle::Bundle;
use crate::control::{Control, Phase};
use crate::engine::{ENGINE, Engine};
use crate::findings::Lists;
use crate::inputs::{FindingsSource, Inputs};
use crate::judge::Case;
use crate::manifest::{Manifest, canonical_digest};
use crate::shown;

/// Why there is no decision at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// The profile is not in the bundle.
    #[error("profile '{profile}' is not in bundle {bundle}; {hint}")]
    UnknownProfile {
        /// What was asked for.
        profile: String,
        /// Name and version of the bundle.
        bundle: String,
        /// Known names, or the nearest one.
        hint: String,
    },
    /// The profile binds nothing in this environment.
    #[error(
        "profile '{profile}' binds no control in environment '{environment}'; name the environment in the profile or add [environment.default]"
    )]
    NothingBound {
        /// Profile.
        profile: String,
        /// Environment.
        environment: String,
    },
}

/// One evaluation of a rule: what went in and what came out, for comparison with another evaluator.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RuleCase {
    /// `family.name`.
    pub rule: String,
    /// `input`.
    pub input: Value,
    /// The answer, or the evaluator's message.
    pub answer: Result<Value, String>,
}

/// Answers of rules by the digest of their input, oldest thrown away first.
const MEMO_LIMIT: usize = 65_536;

/// A bundle ready to decide on one thread. Rule answers are remembered by the digest of their
/// input, so that backtests over many releases repeat only what differs.
#[derive(Debug)]
pub struct Gate<'b> {
    bundle: &'b Bundle,
    engine: Engine,
    memo: HashMap<Digest, Result<Value, String>>,
    evaluations: u64,
    cases: Option<Vec<RuleCase>>,
}

impl<'b> Gate<'b> {
    /// A gate over `bundle`.
    #[must_use]
    pub fn new(bundle: &'b Bundle) -> Self {
        Self {
            bundle,
            engine: bundle.engine(),
            memo: HashMap::new(),
            evaluations: 0,
            cases: None,
        }
    }

    /// How many times a rule was really evaluated.
    #[must_use]
    pub const fn evaluations(&self) -> u64 {
        self.evaluations
    }

    /// Keeps every evaluation from now on, for [`Self::take_cases`].
    pub fn keep_cases(&mut self) {
        self.cases = Some(Vec::new());
    }

    /// The evaluations kept since [`Self::keep_cases`].
    pub fn take_cases(&mut self) -> Vec<RuleCase> {
        self.cases.take().unwrap_or_default()
    }

    /// Forgets remembered answers.
    pub fn forget(&mut self) {
        self.memo.clear();
    }

    pub(crate) fn evaluate(&mut self, rule: &str, input: Value) -> Result<Value, String> {
        let bytes = serde_json::to_vec(&(rule, &input)).map_err(|error| error.to_string())?;
        let key = Digest::of(&bytes);
        if let Some(known) = self.memo.get(&key) {
            return known.clone();
        }
        self.evaluations += 1;
        let kept = self.cases.is_some().then(|| input.clone());
        let answer = self.engine.evaluate(rule, input);
        if let (Some(cases), Some(input)) = (&mut self.cases, kept) {
            cases.push(RuleCase {
                rule: rule.to_owned(),
                input,
                answer: answer.clone(),
            });
        }
        if self.memo.len() >= MEMO_LIMIT {
            self.memo.clear();
        }
        // A failure may be a time limit, which another attempt may not meet: never remembered.
        if answer.is_ok() {
            self.memo.insert(key, answer.clone());
        }
        answer
    }

    /// Judges every control that the profile binds in the environment.
    ///
    /// # Errors
    ///
    /// The profile does not exist or binds nothing in the environment.
    pub fn decide(
        &mut self,
        inputs: &Inputs,
        findings: &dyn FindingsSource,
    ) -> Result<Decision, DecideError> {
        let bundle = self.bundle;
        let reference = &bundle.reference;
        let Some(profile) = bundle.profiles.get(&inputs.profile) else {
            let known = bundle.profiles.keys().map(String::as_str);
            return Err(DecideError::UnknownProfile {
                profile: inputs.profile.clone(),
                bundle: format!("{} {}", reference.name, reference.version),
                hint: crate::error::suggestion(&inputs.profile, known),
            });
        };
        let bound = profile.controls_for(&inputs.environment);
        if bound.is_empty() {
            return Err(DecideError::NothingBound {
                profile: inputs.profile.clone(),
                environment: inputs.environment.clone(),
            });
        }
        let run = latest_run(inputs, &profile.floor);
        let lists = Lists::new(findings);
        let controls: Vec<&Control> = bound
            .iter()
            .filter_map(|id| bundle.controls.get(id))
            .collect();
        let case = |control| Case {
            bundle,
            control,
            profile,
            inputs,
            findings: &lists,
            run,
            shown: None,
        };
        // What an approver is shown comes first: an approval counts for these states only.
        let mut judged: BTreeMap<&str, Check> = BTreeMap::new();
        for control in &controls {
            if !shown::reads_approvals(bundle, control) {
                judged.insert(&control.id, case(control).check(self));
            }
        }
        let shown = shown::digest(
            controls
                .iter()
                .filter(|control| control.phase == Phase::Gate)
                .filter_map(|control| judged.get(control.id.as_str())),
        );
        let mut checks: Vec<Check> = Vec::new();
        let mut later: Vec<Check> = Vec::new();
        for control in controls {
            let check = match judged.remove(control.id.as_str()) {
                Some(check) => check,
                None => {
                    let mut case = case(control);
                    case.shown = Some(shown);
                    case.check(self)
                }
            };
            match control.phase {
                Phase::Gate => checks.push(check),
                Phase::After | Phase::Continuous => later.push(check),
            }
        }
        let counts = StateCounts::of(checks.iter().map(|check| check.state));
        Ok(Decision {
            service: inputs.service.clone(),
            environment: inputs.environment.clone(),
            subject: inputs.subject.clone(),
            profile: inputs.profile.clone(),
            bundle: reference.clone(),
            as_of: inputs.as_of,
            answer: counts.answer(),
            counts,
            checks,
            later,
            not_covered: profile.not_covered.clone(),
            ledger: inputs.ledger.clone(),
            inputs: canonical_digest(&Manifest::of(bundle, inputs)),
            engine: ENGINE.to_owned(),
        })
    }
}

/// Decides once. For many decisions over one bundle keep a [`Gate`] per thread.
///
/// # Errors
///
/// As [`Gate::decide`].
pub fn decide(
    bundle: &Bundle,
    inputs: &Inputs,
    findings: &dyn FindingsSource,
) -> Result<Decision, DecideError> {
    Gate::new(bundle).decide(inputs, findings)
}
