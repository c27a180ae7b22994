//! [in-toto test result v0.1](https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::Production;
use crate::statement::Predicate;
use crate::statement::ResourceDescriptor;

/// Tests ran, with their results. Writ's own facts are in the field `writ`, which other readers
/// ignore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// What the test system said of the whole; the gate counts for itself.
    pub result: TestVerdict,
    /// What the tests were run with.
    #[serde(default)]
    pub configuration: Vec<ResourceDescriptor>,
    /// Where the results are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Names of tests that passed; may be shortened when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_tests: Vec<String>,
    /// Names of tests that warned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned_tests: Vec<String>,
    /// Names of tests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
    /// What Writ knows beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<TestFacts>,
}

/// What a test system said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestVerdict {
    /// All passed.
    Passed,
    /// Some warned.
    Warned,
    /// Some failed.
    Failed,
}

/// What Writ knows of a test run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestFacts {
    /// What ran, and how it ended.
    #[serde(flatten)]
    pub production: Production,
    /// Tests per result.
    pub counts: TestCounts,
}

/// Tests per result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestCounts {
    /// Passed.
    #[serde(default)]
    pub passed: u64,
    /// An assertion failed.
    #[serde(default)]
    pub failed: u64,
    /// The test itself broke.
    #[serde(default)]
    pub errored: u64,
    /// Not executed.
    #[serde(default)]
    pub skipped: u64,
    /// Failed first and passed on another try; also among the passed.
    #[serde(default)]
    pub flaky: u64,
}

impl Predicate for TestResult {
    const URI: &'static str = "https://in-toto.io/attestation/test-result/v0.1";

    fn validate(&self) -> Result<(), String> {
        self.writ
            .as_ref()
            .map_or(Ok(()), |facts| facts.production.validate())
    }
}
