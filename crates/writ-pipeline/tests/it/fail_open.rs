//! The situations in which real scanners say success after looking at nothing. Each must end as
//! not run, empty or failed, or hand on an age that the gate calls expired: never as clean.

use writ_model::Outcome;
use writ_pipeline::git::{CiFacts, GitFacts, PrincipalKey};

use crate::support::{House, git, only};

/// A key that scanners know, and that opens nothing.
fn planted() -> String {
    format!("aws_access_key_id = \"{}{}\"\n", "AKIA", "Z7QK3LNV5XWT2MHR")
}

#[tokio::test]
async fn gitleaks_finds_what_is_there() {
    let mut house = House::new();
    if !house.real("gitleaks") {
        return;
    }
    house.stages("[stage.secrets]\nuses = \"gitleaks\"\n");
    house.write("settings.py", &planted());
    house.commit();
    house.write("settings.py", "# gone\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "secrets");
    assert_eq!(
        evidence.outcome,
        Outcome::Completed,
        "{:?}",
        evidence.reason
    );
    assert!(
        evidence.counts.total() > 0 && evidence.looked_at[0].count == 2,
        "{evidence:?}"
    );
    // Neither secret nor author is in what is kept.
    let kept =
        std::fs::read_to_string(evidence.report.as_ref().unwrap().path.as_ref().unwrap()).unwrap();
    assert!(
        !kept.contains("Z7QK3LNV5XWT2MHR") && !kept.contains("ada@shop.example"),
        "{kept}"
    );
}

#[tokio::test]
async fn gitleaks_on_a_shallow_clone_is_not_run() {
    let mut house = House::new();
    if !house.real("gitleaks") {
        return;
    }
    let source = House::new();
    source.stages("[stage.secrets]\nuses = \"gitleaks\"\n");
    source.write("settings.py", &planted());
    source.commit();
    source.write("settings.py", "# gone\n");
    source.commit();
    std::fs::remove_dir_all(house.root().join(".git")).unwrap();
    let clone = house.root().join("clone");
    git(
        house.root(),
        &[
            "clone",
            "--quiet",
            "--depth",
            "1",
            &format!("file://{}", source.root().display()),
            "clone",
        ],
    );
    for entry in std::fs::read_dir(&clone).unwrap() {
        let path = entry.unwrap().path();
        std::fs::rename(&path, house.root().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::remove_dir(&clone).unwrap();
    let result = house.run().await;
    let evidence = only(&result, "secrets");
    assert_eq!(evidence.outcome, Outcome::NotRun);
    assert!(
        evidence.reason.as_ref().unwrap().contains("shallow"),
        "{:?}",
        evidence.reason
    );
}

#[test]
fn a_foreign_repository_is_said_and_never_scanned() {
    // Git's own switch for its tests, because changing owners needs root.
    let house = House::new();
    house.write("a", "x");
    house.commit();
    let script = format!(
        "cd '{}' && GIT_TEST_ASSUME_DIFFERENT_OWNER=1 git status",
        house.root().display()
    );
    let said = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    if !String::from_utf8_lossy(&said.stderr).contains("dubious ownership") {
        eprintln!("not run: this git does not know GIT_TEST_ASSUME_DIFFERENT_OWNER");
        return;
    }
    struct Foreign(std::path::PathBuf);
    impl writ_pipeline::git::Git for Foreign {
        fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, writ_pipeline::git::GitError> {
            let mut program = writ_pipeline::git::GitProgram::new(&self.0);
            program
                .extra_env
                .push(("GIT_TEST_ASSUME_DIFFERENT_OWNER".into(), "1".into()));
            program.run(arguments)
        }
    }
    let error = GitFacts::gather_with(
        &Foreign(house.root().to_owned()),
        house.root(),
        CiFacts::default(),
        &PrincipalKey::new([0; 32]),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("owned by another user"),
        "{error}"
    );
}

#[tokio::test]
async fn checkov_on_a_missing_folder_and_on_terraform_that_does_not_parse() {
    let mut house = House::new();
    if !house.real("checkov") {
        return;
    }
    house.stages("[stage.iac]\nuses = \"checkov\"\nwith = { dirs = [\"infra\"] }\n");
    house.write("other.tf", "# elsewhere\n");
    house.commit();
    let result = house.run().await;
    assert_eq!(only(&result, "iac").outcome, Outcome::NotRun);
    assert!(
        only(&result, "iac")
            .reason
            .as_ref()
            .unwrap()
            .contains("no folder infra")
    );
    house.write(
        "infra/main.tf",
        "resource \"aws_s3_bucket\" \"b\" { versioning { enabled = \n",
    );
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "iac");
    assert!(
        matches!(evidence.outcome, Outcome::Empty | Outcome::Failed),
        "{evidence:?}"
    );
    house.write(
        "infra/good.tf",
        "resource \"aws_s3_bucket\" \"c\" {\n  bucket = \"c\"\n}\n",
    );
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "iac");
    assert_eq!(
        evidence.outcome,
        Outcome::Failed,
        "half of the folder could not be read: {evidence:?}"
    );
}

#[tokio::test]
async fn pip_audit_that_skips_every_package() {
    let mut house = House::new();
    if !house.real("pip-audit") {
        return;
    }
    house.stages("[stage.dependencies]\nuses = \"pip-audit\"\nwith = { service = [\"-s\", \"pypi\"] }\ntimeout = \"60s\"\n");
    // A package that no index knows is skipped with exit code 0.
    house.write("requirements.txt", "writ-no-such-package-anywhere==1.0.0\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "dependencies");
    assert_ne!(evidence.outcome, Outcome::Completed, "{evidence:?}");
}

#[tokio::test]
async fn wapiti_against_a_dead_target() {
    let mut house = House::new();
    if !house.real("wapiti") {
        return;
    }
    house.stages("[stage.dast]\nuses = \"wapiti\"\nwith = { target = \"http://127.0.0.1:9/\" }\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "dast");
    assert_eq!(evidence.outcome, Outcome::NotRun);
    assert!(
        evidence
            .reason
            .as_ref()
            .unwrap()
            .contains("does not answer"),
        "{:?}",
        evidence.reason
    );
}

#[tokio::test]
async fn trivy_without_and_with_an_old_database() {
    let mut house = House::new();
    if !house.real("trivy") {
        return;
    }
    house.stages("[stage.dependencies]\nuses = \"trivy-fs\"\n");
    house.write("requirements.txt", "gunicorn==20.0.0\n");
    house.commit();
    let result = house.run().await;
    assert_eq!(
        only(&result, "dependencies").outcome,
        Outcome::Failed,
        "without a database"
    );
    let made = "2026-01-01T00:00:00Z".parse().unwrap();
    let json = serde_json::json!({
        "buckets": {"pip::test": {"gunicorn": {"CVE-2024-1135": {"PatchedVersions": ["22.0.0"], "VulnerableVersions": ["<22.0.0"]}}}},
        "data-source": {"pip::test": {"ID": "test", "Name": "test", "URL": "https://example.org"}},
        "vulnerability": {"CVE-2024-1135": {"Title": "smuggling", "Severity": "HIGH"}}
    });
    writ_pipeline::trivydb::write(&house.data("trivy").join("db"), &json, made).unwrap();
    let result = house.run().await;
    let evidence = only(&result, "dependencies");
    assert_eq!(
        evidence.outcome,
        Outcome::Completed,
        "{:?}",
        evidence.reason
    );
    assert_eq!(evidence.counts.high, 1);
    assert_eq!(
        evidence.database.as_ref().unwrap().updated_at,
        Some(made),
        "the gate sees its age"
    );
    assert!(
        evidence.notes.iter().any(|note| note.contains("old")),
        "{:?}",
        evidence.notes
    );
}

#[tokio::test]
async fn semgrep_on_a_file_that_does_not_parse() {
    let mut house = House::new();
    if !house.real("semgrep") {
        return;
    }
    house.stages("[stage.sast]\nuses = \"semgrep\"\n");
    house.write("good.py", "x = 1\n");
    house.write(
        "bad.py",
        "import subprocess\ndef f(:\n    subprocess.call(x, shell=True\n  eval(request.args['x']\n",
    );
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "sast");
    assert_ne!(evidence.outcome, Outcome::Completed, "{evidence:?}");
}
