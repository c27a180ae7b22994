//! What is recorded of a deployment.

use serde_json::Value;
use writ_evidence::predicate::{Deployment, DeploymentFigures, DeploymentOutcome, ReleaseRef};
use writ_evidence::statement::{ResourceDescriptor, Statement, StatementError};
use writ_model::{Origin, PrincipalId, ProducerClass, Timestamp};

use super::journal::Journal;
use super::machine::{Ending, Step};
use super::plan::Plan;

/// Who deploys, and where the evidence comes from.
#[derive(Debug, Clone)]
pub struct Deployer {
    /// Who or what: a pseudonym.
    pub principal: PrincipalId,
    /// Where it runs.
    pub producer_class: ProducerClass,
}

/// The statement that a deployment began.
///
/// # Errors
/// It has no canonical form.
pub fn begun(plan: &Plan, deployer: &Deployer) -> Result<Vec<u8>, StatementError> {
    let deployment = of(plan, deployer, DeploymentOutcome::Started, plan.started_at);
    Statement::new(subjects(plan), deployment).to_payload()
}

/// The statement of how a deployment ended, once it has. The same journal gives the same bytes, so that
/// recording it twice is recording it once.
///
/// # Errors
/// It has no canonical form.
pub fn ended(journal: &Journal, deployer: &Deployer) -> Result<Option<Vec<u8>>, StatementError> {
    let Step::Ended { ending, reason, at } = &journal.step else {
        return Ok(None);
    };
    let outcome = match ending {
        Ending::Succeeded => DeploymentOutcome::Succeeded,
        Ending::RolledBack => DeploymentOutcome::RolledBack,
        Ending::Failed => DeploymentOutcome::Failed,
    };
    let mut deployment = of(&journal.plan, deployer, outcome, *at);
    deployment.reason.clone_from(reason);
    deployment.figures = journal.figures.map(|figures| DeploymentFigures {
        requests: figures.requests,
        failed: figures.failed,
        mean_millis: figures.mean_millis,
        watched_seconds: figures.watched_secs,
        health_checks: figures.checks,
    });
    deployment.notes.clone_from(&journal.notes);
    Statement::new(subjects(&journal.plan), deployment)
        .to_payload()
        .map(Some)
}

fn of(
    plan: &Plan,
    deployer: &Deployer,
    outcome: DeploymentOutcome,
    observed_at: Timestamp,
) -> Deployment {
    Deployment {
        release: ReleaseRef {
            service: plan.service.clone(),
            environment: plan.environment.clone(),
            artifact: Some(plan.artifact),
            commit: plan.commit.clone(),
        },
        outcome,
        deployer: deployer.principal.clone(),
        writ: plan.writ,
        break_glass: plan.break_glass,
        strategy: Some(plan.strategy.clone()),
        previous: plan.previous,
        rollback_of: None,
        target: Some(plan.target.clone()),
        started_at: plan.started_at,
        observed_at,
        reason: None,
        figures: None,
        notes: Vec::new(),
        origin: Origin::Observed,
        producer_class: deployer.producer_class,
    }
}

/// The artefact, and the commit where it is known.
fn subjects(plan: &Plan) -> Vec<ResourceDescriptor> {
    let mut subjects = vec![ResourceDescriptor::sha256(
        plan.service.clone(),
        plan.artifact,
    )];
    subjects[0]
        .annotations
        .insert("kind".to_owned(), Value::from("artifact"));
    if let Some(commit) = &plan.commit {
        subjects.push(ResourceDescriptor::git_commit(
            plan.service.clone(),
            commit.clone(),
        ));
    }
    for subject in &mut subjects {
        for (name, value) in [
            ("service", &plan.service),
            ("environment", &plan.environment),
        ] {
            subject
                .annotations
                .insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    subjects
}
