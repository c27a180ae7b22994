//! Gates that nobody can satisfy here: bound controls whose evidence no stage produces.

use std::collections::{BTreeMap, BTreeSet};

use writ_gate::{Applies, Bundle, Control, Mode, Phase, did_you_mean};
use writ_model::EvidenceType;
use writ_pipeline::adapter::Catalogue;
use writ_pipeline::config::Config;
use writ_pipeline::git::{GitFacts, Inventory};
use writ_render::text::plural;

use super::Line;
use crate::commands::place;
use crate::repo::Repo;

/// Types that Writ itself records or derives.
const OWN: [EvidenceType; 2] = [EvidenceType::PipelineDefinition, EvidenceType::Exemption];

/// Whether the requested profile exists, and whether each gate can ever say yes.
pub fn profile(repo: &Repo, bundle: &Bundle, facts: Option<&GitFacts>, lines: &mut Vec<Line>) {
    let name = repo.profile();
    let Some(profile) = bundle.profiles.get(name) else {
        let known: Vec<&str> = bundle.profiles.keys().map(String::as_str).collect();
        let fix = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("write profile = \"{near}\" in writ.toml"),
            None => format!("write one of {} in writ.toml", known.join(", ")),
        };
        lines.push(Line::wrong(
            "profile",
            format!("the bundle has no profile '{name}'"),
            fix,
        ));
        return;
    };
    let Ok(catalogue) = place::catalogue() else {
        return;
    };
    let (produced, unknown) = produced(&repo.config, &catalogue);
    let inventory = facts.map(|facts| Inventory::take(&facts.files, &facts.folder));
    let names: Vec<&str> = match repo.config.environments_in_order() {
        list if list.is_empty() => vec!["production"],
        list => list.into_iter().map(|(name, _)| name).collect(),
    };
    let mut bound = 0_usize;
    let mut satisfiable = true;
    for environment in names {
        let mut lacking: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
        let ids = profile.controls_for(environment);
        bound = bound.max(ids.len());
        for control in ids.iter().filter_map(|id| bundle.controls.get(id)) {
            let adjusted = profile.control.get(&control.id).and_then(|one| one.mode);
            let blocks = adjusted.unwrap_or(control.mode) == Mode::Block;
            if control.phase != Phase::Gate || !blocks || !concerns(control, inventory.as_ref()) {
                continue;
            }
            for kind in &control.evidence {
                let known = produced.contains(kind)
                    || OWN.contains(kind)
                    || (unknown && from_a_report(*kind));
                if !known {
                    lacking.entry(kind.word()).or_default().push(&control.id);
                }
            }
        }
        if !lacking.is_empty() {
            satisfiable = false;
            lines.push(unsatisfiable(environment, &lacking));
        }
    }
    if satisfiable {
        lines.push(Line::ok(
            "profile",
            format!(
                "{name}: {} bound, every one can be satisfied here",
                plural(bound as u64, "control")
            ),
        ));
    }
}

fn unsatisfiable(environment: &str, lacking: &BTreeMap<&'static str, Vec<&str>>) -> Line {
    let listed: Vec<String> = lacking
        .iter()
        .map(|(kind, controls)| format!("{kind} ({})", controls.join(", ")))
        .collect();
    let mut line = Line::wrong(
        &format!("gate {environment}"),
        format!(
            "can never say yes: no stage of writ.toml makes {}",
            listed.join("; ")
        ),
        "writ control show ID   says what a control needs",
    );
    let from_tool =
        |word: &str| EvidenceType::from_word(word).is_some_and(|kind| !beyond_a_run(kind));
    if lacking.keys().any(|word| from_tool(word)) {
        line.fix
            .push("a stage in writ.toml, or writ attest FILE for a report".to_owned());
    }
    if !lacking.keys().all(|word| from_tool(word)) {
        line.fix.push(
            "profile = \"startup\" until reviews, approvals and deployments are recorded"
                .to_owned(),
        );
    }
    line
}

/// Types that no run can make: they tell of other people, of the forge or of a deployment.
const fn beyond_a_run(kind: EvidenceType) -> bool {
    !from_a_report(kind)
        && !matches!(
            kind,
            EvidenceType::ImageSignature | EvidenceType::Provenance
        )
}

/// What the stages produce; true when a stage writes a report of a format that is not known before.
fn produced(config: &Config, catalogue: &Catalogue) -> (BTreeSet<EvidenceType>, bool) {
    let mut kinds = BTreeSet::new();
    let mut unknown = false;
    for stage in config.stages.values() {
        if let Some(uses) = &stage.uses
            && let Ok((adapter, mode)) = catalogue.resolve(uses.get_ref())
        {
            let mode = mode.unwrap_or_else(|| adapter.default_mode());
            kinds.extend(adapter.evidence(mode));
            let also = adapter.mode(mode).into_iter().flat_map(|mode| &mode.also);
            kinds.extend(also.flat_map(|report| report.evidence.iter().copied()));
        }
        if let Some(produces) = &stage.produces {
            for (place, kind) in [
                (&produces.coverage, EvidenceType::Coverage),
                (&produces.junit, EvidenceType::UnitTest),
                (&produces.sbom, EvidenceType::Sbom),
                (&produces.image, EvidenceType::Provenance),
            ] {
                if place.is_some() {
                    kinds.insert(kind);
                }
            }
            unknown |= produces.report.is_some();
        }
    }
    (kinds, unknown)
}

/// Types that a report of some format could carry.
const fn from_a_report(kind: EvidenceType) -> bool {
    matches!(
        kind,
        EvidenceType::SecretScan
            | EvidenceType::Sast
            | EvidenceType::CodeQuality
            | EvidenceType::Coverage
            | EvidenceType::UnitTest
            | EvidenceType::DependencyScan
            | EvidenceType::Sbom
            | EvidenceType::IacScan
            | EvidenceType::ContainerScan
            | EvidenceType::Dast
    )
}

/// Whether the control applies to what the repository holds. Without an inventory it does.
fn concerns(control: &Control, inventory: Option<&Inventory>) -> bool {
    let Some(inventory) = inventory else {
        return true;
    };
    match control.applies {
        Applies::Always => true,
        Applies::Image => !inventory.dockerfiles.is_empty(),
        Applies::Lockfile => !inventory.lockfiles.is_empty(),
        Applies::Infrastructure => {
            inventory.terraform > 0
                || !inventory.kubernetes.is_empty()
                || !inventory.dockerfiles.is_empty()
        }
        Applies::Source => !inventory.languages.is_empty(),
    }
}
