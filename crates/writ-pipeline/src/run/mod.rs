//! A run: the plan's stages, their evidence, and the evidence of the run itself.

mod context;
mod key;
mod probe;
mod produced;
mod program;
mod report;
mod service;
mod tool;

use std::sync::Arc;
use std::time::Instant;

pub use context::{Clock, GatherError, RunContext, RunParts, Shared, system_clock};
pub use produced::{ImageError, read_image};
pub(crate) use report::{DEFAULT_LIMIT, human};
pub(crate) use tool::read_json;

use writ_model::{EvidenceId, Outcome, ProducerClass, Subject};

use crate::git::CiSystem;
use crate::plan::{Action, Plan, PlannedStage};
use crate::record::{RecordError, Recorder, RunEvidence, StageEvidence, StageState};
use crate::runner::{Events, Level, Node, NodeOutcome, StageEvent, Turn, schedule};

/// What a run made.
#[derive(Debug)]
pub struct RunResult {
    /// Every stage of the plan.
    pub stages: Vec<StageState>,
    /// The facts of every stage that ran, with the id under which they were recorded.
    pub evidence: Vec<(EvidenceId, StageEvidence)>,
    /// The facts of the run.
    pub run: RunEvidence,
    /// The id under which they were recorded.
    pub run_id: Option<EvidenceId>,
    /// What could not be recorded.
    pub errors: Vec<RecordError>,
    /// The run was stopped.
    pub cancelled: bool,
}

impl RunResult {
    /// 0 when every stage that was due completed, 130 when the run was stopped, else 3: verdicts are the gate's.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let untold = |stage: &StageState| {
            stage
                .outcome
                .is_some_and(|outcome| outcome != Outcome::Completed)
        };
        if self.cancelled {
            130
        } else if !self.errors.is_empty() || self.stages.iter().any(untold) {
            3
        } else {
            0
        }
    }
}

/// What one stage made.
struct StageDone {
    evidence: Vec<(EvidenceId, StageEvidence)>,
    errors: Vec<RecordError>,
    outcome: Outcome,
    reason: Option<String>,
    cached: bool,
    took: std::time::Duration,
}

/// Runs a plan and records what it made.
pub async fn execute<R: Recorder>(context: Arc<RunContext<R>>, plan: &Plan) -> RunResult {
    let started_at = (context.clock)();
    let due: Vec<&PlannedStage> = plan.due().collect();
    let index = |name: &String| due.iter().position(|stage| stage.name == *name);
    let nodes: Vec<Node> = due
        .iter()
        .map(|stage| Node {
            needs: stage.needs.iter().filter_map(index).collect(),
            weight: stage.weight,
            estimate: 1,
        })
        .collect();
    for stage in plan.stages.iter().filter(|stage| stage.skip.is_some()) {
        context.events.send(StageEvent::Skipped {
            stage: stage.name.clone(),
            reason: stage.skip.clone().unwrap_or_default(),
        });
    }
    let outcomes = schedule(&nodes, context.cores, &context.cancel, |index| {
        let (context, stage) = (Arc::clone(&context), due[index].clone());
        async move {
            let done = one_stage(&context, &stage).await;
            Turn {
                good: done.outcome == Outcome::Completed,
                value: done,
            }
        }
    })
    .await;
    let mut result = RunResult {
        stages: Vec::new(),
        evidence: Vec::new(),
        run: run_facts(&context, started_at),
        run_id: None,
        errors: Vec::new(),
        cancelled: context.cancel.is_cancelled(),
    };
    let names: Vec<String> = due.iter().map(|stage| stage.name.clone()).collect();
    let mut by_stage: std::collections::BTreeMap<String, NodeOutcome<StageDone>> =
        names.iter().cloned().zip(outcomes).collect();
    for stage in &plan.stages {
        let state = state_of(
            stage,
            by_stage.remove(&stage.name),
            &names,
            &context.events,
            &mut result,
        );
        result.stages.push(state);
    }
    result.run.stages.clone_from(&result.stages);
    for (_, evidence) in &result.evidence {
        for file in &evidence.executed {
            if !result.run.executed.contains(file) {
                result.run.executed.push(file.clone());
            }
        }
    }
    result.run.observed_at = (context.clock)();
    match context.recorder.record_run(&result.run).await {
        Ok(id) => result.run_id = Some(id),
        Err(error) => result.errors.push(error),
    }
    result
}

fn state_of(
    stage: &PlannedStage,
    outcome: Option<NodeOutcome<StageDone>>,
    names: &[String],
    events: &Events,
    result: &mut RunResult,
) -> StageState {
    let mut state = StageState {
        stage: stage.name.clone(),
        tool: stage.tool.clone(),
        needs: stage.needs.clone(),
        outcome: None,
        reason: stage.skip.clone(),
        evidence: Vec::new(),
        cached: false,
        took_ms: 0,
    };
    match outcome {
        None => return state,
        Some(NodeOutcome::Ran(done)) => {
            state.outcome = Some(done.outcome);
            state.reason = done.reason;
            state.evidence = done.evidence.iter().map(|(id, _)| *id).collect();
            state.cached = done.cached;
            state.took_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
            result.evidence.extend(done.evidence);
            result.errors.extend(done.errors);
            return state;
        }
        Some(NodeOutcome::Blocked(by)) => {
            let need = names.get(by).map_or("another stage", String::as_str);
            state.outcome = Some(Outcome::NotRun);
            state.reason = Some(format!("needs {need}, which did not complete"));
        }
        Some(NodeOutcome::Cancelled) => {
            state.outcome = Some(Outcome::Cancelled);
            state.reason = Some("the run was stopped".into());
        }
        Some(NodeOutcome::Broken(cause)) => {
            state.outcome = Some(Outcome::Failed);
            state.reason = Some(format!("a fault in writ itself: {cause}"));
        }
    }
    events.send(StageEvent::Skipped {
        stage: stage.name.clone(),
        reason: state.reason.clone().unwrap_or_default(),
    });
    state
}

async fn one_stage<R: Recorder>(context: &Arc<RunContext<R>>, stage: &PlannedStage) -> StageDone {
    let started = Instant::now();
    context.events.send(StageEvent::Started {
        stage: stage.name.clone(),
        tool: stage.tool.clone(),
    });
    let made = match &stage.action {
        Action::Tool { adapter, mode } => tool::run(context, stage, adapter, mode).await,
        Action::Run => program::run(context, stage).await,
    };
    let mut done = StageDone {
        evidence: Vec::new(),
        errors: Vec::new(),
        outcome: Outcome::Completed,
        reason: None,
        cached: !made.evidence.is_empty() && made.evidence.iter().all(|e| e.cached_from.is_some()),
        took: std::time::Duration::ZERO,
    };
    // The stage is as good as the worst of what it made.
    let worst = made.stage_fault.or_else(|| {
        made.evidence
            .iter()
            .find(|e| e.outcome != Outcome::Completed)
            .map(|e| (e.outcome, e.reason.clone().unwrap_or_default()))
    });
    if let Some((outcome, reason)) = worst {
        (done.outcome, done.reason) = (outcome, Some(reason));
    }
    for facts in made.evidence {
        for note in &facts.notes {
            context.events.send(StageEvent::Remark {
                level: Level::Warning,
                text: format!("{}: {note}", stage.name),
            });
        }
        match context.recorder.record_stage(&facts).await {
            Ok(id) => done.evidence.push((id, facts)),
            Err(error) => {
                (done.outcome, done.reason) = (Outcome::Failed, Some(error.to_string()));
                done.errors.push(error);
            }
        }
    }
    done.took = started.elapsed();
    let mut counts = writ_model::SeverityCounts::default();
    let mut looked_at = Vec::new();
    for (_, facts) in &done.evidence {
        for item in &facts.looked_at {
            if !looked_at.contains(item) {
                looked_at.push(item.clone());
            }
        }
        if counts.total() == 0 {
            counts = facts.counts;
        }
    }
    context.events.send(StageEvent::Finished {
        stage: stage.name.clone(),
        tool: stage.tool.clone(),
        outcome: done.outcome,
        reason: done.reason.clone(),
        looked_at,
        counts,
        cached: done.cached,
        took: done.took,
        evidence: done.evidence.iter().map(|(id, _)| *id).collect(),
    });
    done
}

/// What a stage handed over.
#[derive(Default)]
struct Made {
    evidence: Vec<StageEvidence>,
    /// A fault of the stage that is in no single evidence, such as a failing `run`.
    stage_fault: Option<(Outcome, String)>,
}

fn run_facts<R: Recorder>(
    context: &RunContext<R>,
    started_at: writ_model::Timestamp,
) -> RunEvidence {
    RunEvidence {
        service: context.config.service().to_owned(),
        profile: context.config.profile.clone(),
        subject: subject(context),
        dirty: context.facts.is_dirty(),
        dirty_files: context.facts.dirty.clone(),
        producer_class: producer_class(context),
        started_at,
        observed_at: started_at,
        change: context.facts.change.clone(),
        inventory: context.inventory.clone(),
        stages: Vec::new(),
        definition: context.definition,
        lock: context.lock.as_ref().map(|(digest, _)| *digest),
        lock_differences: context.lock_differences(),
        executed: Vec::new(),
        ci: context.facts.ci.clone(),
        definition_findings: context.definition_findings(),
    }
}

/// What everything of this run is about. A dirty tree never claims a commit.
fn subject<R: Recorder>(context: &RunContext<R>) -> Subject {
    let head = context
        .facts
        .head
        .as_ref()
        .filter(|_| !context.facts.is_dirty());
    Subject {
        commit: head.map(|head| head.commit.clone()),
        tree: head.map(|head| head.tree.clone()),
        artifact: None,
        environment: None,
    }
}

fn producer_class<R: Recorder>(context: &RunContext<R>) -> ProducerClass {
    match context.facts.ci.system {
        None => ProducerClass::Laptop,
        Some(CiSystem::Github | CiSystem::Gitlab) if context.facts.ci.protected => {
            ProducerClass::CiProtected
        }
        Some(_) => ProducerClass::Ci,
    }
}
