//! [SLSA provenance v1](https://slsa.dev/spec/v1.2/build-provenance): who built what from what.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use writ_model::{EvidenceType, Origin, ProducerClass, Timestamp};

use crate::statement::Predicate;
use crate::statement::ResourceDescriptor;

/// Which builder made an artefact, from which sources, with which parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SlsaProvenance {
    /// The inputs of the build.
    pub build_definition: BuildDefinition,
    /// The execution of the build.
    pub run_details: RunDetails,
    /// What Writ knows beyond that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writ: Option<BuildFacts>,
}

/// What Writ knows of a build: without it the provenance would count as handed in from a laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildFacts {
    /// Service.
    pub service: String,
    /// What it is evidence for.
    pub evidence_type: EvidenceType,
    /// When the build ended.
    pub observed_at: Timestamp,
    /// Whether Writ itself ran the build.
    pub origin: Origin,
    /// Where it ran.
    pub producer_class: ProducerClass,
    /// Whether the work tree differed from its commit.
    #[serde(default)]
    pub dirty: bool,
}

/// The inputs of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// URI that says how to read the parameters.
    pub build_type: String,
    /// Parameters under the control of who asked for the build.
    #[serde(default)]
    pub external_parameters: Map<String, Value>,
    /// Parameters under the control of the builder.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub internal_parameters: Map<String, Value>,
    /// Sources and other artefacts that went in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// The execution of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who executed it.
    pub builder: Builder,
    /// When and as what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BuildMetadata>,
    /// Other outputs, such as logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// A build platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// URI of the platform, mode included.
    pub id: String,
    /// Versions of its components.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
    /// What it was made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builder_dependencies: Vec<ResourceDescriptor>,
}

/// When and as what a build ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildMetadata {
    /// Its id at the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

impl Predicate for SlsaProvenance {
    const URI: &'static str = "https://slsa.dev/provenance/v1";
}
