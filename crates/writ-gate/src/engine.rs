//! The only file that knows regorus: rules are evaluated by its plain interpreter.
//!
//! The interpreter agrees with OPA over every shipped rule (`scripts/opa-differential.py`); its
//! compiled machine does not, so it is never used.

use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::Value;

/// Longest evaluation of one rule. A rule that needs more is an *error*, never an answer.
pub const RULE_TIME_LIMIT: Duration = Duration::from_millis(2_000);

/// Name and version of the evaluating engine as decisions record it. The rule evaluator is part
/// of it, because another evaluator may answer differently.
pub const ENGINE: &str = concat!("writ-gate ", env!("CARGO_PKG_VERSION"), " regorus 0.14.1");

/// A loaded set of rules. Cloning is cheap; one clone per thread.
#[derive(Clone)]
pub struct Engine {
    inner: regorus::Engine,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Loads rule files, given as path and text.
    ///
    /// # Errors
    ///
    /// The path and the evaluator's message for the first file that is not Rego.
    pub fn load<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, (String, String)> {
        let mut inner = regorus::Engine::new();
        inner.set_rego_v0(false);
        inner.set_strict_builtin_errors(true);
        if let Some(check_interval) = NonZeroU32::new(256) {
            inner.set_execution_timer_config(ExecutionTimerConfig {
                limit: RULE_TIME_LIMIT,
                check_interval,
            });
        }
        for (path, text) in files {
            inner
                .add_policy(path.to_owned(), text.to_owned())
                .map_err(|error| (path.to_owned(), error.to_string()))?;
        }
        let mut engine = Self { inner };
        // The first evaluation resolves and schedules all rules: do it once, before cloning.
        engine
            .evaluate("lib.ready", Value::Null)
            .map_err(|message| ("rules".to_owned(), message))?;
        Ok(engine)
    }

    /// Evaluates `family.name` over `input`. An undefined rule answers `null`.
    ///
    /// # Errors
    ///
    /// The evaluator's message: a conflict, a failing builtin, or the time limit.
    pub fn evaluate(&mut self, rule: &str, input: Value) -> Result<Value, String> {
        self.inner.set_input(regorus::Value::from(input));
        let value = self
            .inner
            .eval_rule(format!("data.writ.{rule}"))
            .map_err(|error| error.to_string())?;
        if value == regorus::Value::Undefined {
            return Ok(Value::Null);
        }
        serde_json::to_value(&value).map_err(|error| error.to_string())
    }
}
