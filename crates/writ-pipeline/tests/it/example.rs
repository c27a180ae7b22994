//! The example service, scanned by the real tools: problems of every kind are found, and the fix removes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use writ_model::{EvidenceType, Outcome};
use writ_pipeline::git::CiFacts;
use writ_pipeline::plan::PlanRequest;

use crate::support::{House, only};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn replay(folder: &Path, step: &[&str]) {
    let done = Command::new("sh")
        .arg(root().join("examples/payments-api.story/replay.sh"))
        .arg(folder)
        .args(step)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test]
async fn the_change_under_judgement_has_every_kind_of_problem() {
    let mut house = House::new();
    let tools = ["gitleaks", "trivy", "semgrep", "checkov"];
    if !tools.iter().all(|tool| house.real(tool)) {
        return;
    }
    std::fs::remove_dir_all(house.root()).unwrap();
    replay(house.root(), &[]);
    let advisories = std::fs::read(root().join("demo/advisories.json")).unwrap();
    let now = (writ_pipeline::run::system_clock())();
    writ_pipeline::trivydb::write(
        &house.data("trivy").join("db"),
        &serde_json::from_slice(&advisories).unwrap(),
        now,
    )
    .unwrap();
    let stages = ["secrets", "dependencies", "sast", "iac"];
    let request = PlanRequest {
        stages: stages.map(str::to_owned).to_vec(),
        ..PlanRequest::default()
    };
    let result = house.run_with(&request, CiFacts::default()).await;
    for stage in stages {
        let evidence = only(&result, stage);
        assert_eq!(
            evidence.outcome,
            Outcome::Completed,
            "{stage}: {:?}",
            evidence.reason
        );
        assert!(evidence.counts.total() > 0, "{stage} found nothing");
    }
    let dependencies = only(&result, "dependencies");
    assert_eq!(dependencies.evidence_type, EvidenceType::DependencyScan);
    assert!(
        dependencies
            .database
            .as_ref()
            .unwrap()
            .label
            .as_ref()
            .unwrap()
            .contains("demo"),
        "the label of the data is kept"
    );
    let secrets = only(&result, "secrets");
    assert_eq!(
        secrets.looked_at[0].count,
        result.run.change.as_ref().unwrap().commits
    );
    // Two people made the change, and neither name nor mail is in what is kept.
    assert_eq!(result.run.change.as_ref().unwrap().people.len(), 2);
    assert!(
        !serde_json::to_string(&result.run)
            .unwrap()
            .contains("payments.example")
    );
    // Everything again: from the cache.
    let again = house.run_with(&request, CiFacts::default()).await;
    assert!(
        again.stages.iter().all(|stage| stage.cached),
        "{:?}",
        again.stages
    );
    replay(house.root(), &["fix"]);
    let fixed = house.run_with(&request, CiFacts::default()).await;
    for stage in stages {
        let evidence = only(&fixed, stage);
        assert_eq!(
            evidence.outcome,
            Outcome::Completed,
            "{stage}: {:?}",
            evidence.reason
        );
        let left = evidence.counts;
        assert_eq!((stage, left.critical + left.high), (stage, 0), "{left:?}");
    }
}
