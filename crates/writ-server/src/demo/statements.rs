//! The statements of the story, built of the same predicates as everybody's.

use serde_json::{Map, Value};
use writ_evidence::predicate::{
    Approval, ApprovalAbout, Authorship, BuildDefinition, BuildFacts, Builder, CodeReview,
    CommitRange, Coverage, CoverageGap, Definition, DefinitionKind, FileRef, FindingsRef,
    Inventory, Probe, Production, Ratio, Review, ReviewVerdict, Run, RunDetails, RunStage, Scan,
    SlsaProvenance, StageState, TestCounts, TestFacts, TestResult, TestVerdict,
};
use writ_evidence::statement::{Predicate, ResourceDescriptor, Statement};
use writ_model::{
    DatabaseInfo, Digest, EvidenceId, EvidenceType, LookedAt, Origin, Outcome, PrincipalId,
    ProducerClass, Span, Timestamp, ToolInfo,
};
use writ_registry::{Blob, NewRecord, findings};

mod people;

use people::actor;
pub use people::*;

use super::DemoError;
use super::random::below;
use super::reports::Report;
use super::world::{Change, World};

const REPOSITORY: &str = "https://git.demo.example";

/// A statement that is ready to be recorded, with its id.
pub struct Made {
    /// Its id.
    pub id: EvidenceId,
    /// Duration of the work behind it, in milliseconds.
    pub took: u64,
    /// The statement with its bytes.
    pub record: NewRecord,
}

fn made<P: Predicate>(
    subject: Vec<ResourceDescriptor>,
    predicate: P,
    took: u64,
) -> Result<Made, DemoError> {
    let payload = Statement::new(subject, predicate).to_payload()?;
    Ok(Made {
        id: EvidenceId::of_payload(&payload),
        took,
        record: NewRecord::payload(payload),
    })
}

fn about_commit(change: &Change) -> ResourceDescriptor {
    ResourceDescriptor::git_commit(change.service().name, change.commit.clone())
        .and_digest("gitTree", change.tree.clone())
}

fn about_image(change: &Change) -> ResourceDescriptor {
    let mut subject = ResourceDescriptor::sha256(change.service().name, change.artifact);
    subject
        .annotations
        .insert("kind".to_owned(), Value::from("artifact"));
    subject
}

fn about_service(name: &str) -> ResourceDescriptor {
    ResourceDescriptor::sha256(format!("service:{name}"), Digest::of(name.as_bytes()))
}

/// A stage of the pipeline: what it is for, with which tool, and what it looks at.
pub struct Stage {
    /// Name.
    pub name: &'static str,
    /// What it is for.
    pub kind: EvidenceType,
    /// Tool and version.
    pub tool: (&'static str, &'static str),
    /// Usual duration in milliseconds.
    pub usual: u64,
    /// What is counted.
    pub looked_at: (&'static str, u64),
    /// About the image rather than the commit.
    pub image: bool,
    /// It judges with data that ages.
    pub database: bool,
    /// Where it looks from outside.
    pub environment: Option<&'static str>,
}

fn production(change: &Change, stage: &Stage, finished: Timestamp) -> (Production, u64) {
    let wobble = below(60, &change.key(stage.name));
    let took = stage.usual * (80 + wobble) / 100;
    let started = finished.plus(Span::from_micros(-i64::try_from(took).unwrap_or(0) * 1_000));
    let production = Production {
        evidence_type: stage.kind,
        service: change.service().name.to_owned(),
        stage: stage.name.to_owned(),
        repository: Some(format!("{REPOSITORY}/{}", change.service().name)),
        environment: stage.environment.map(str::to_owned),
        target: None,
        scope: None,
        range: None,
        tool: ToolInfo {
            name: stage.tool.0.to_owned(),
            version: stage.tool.1.to_owned(),
            ..ToolInfo::default()
        },
        ruleset: None,
        database: stage.database.then(|| DatabaseInfo {
            name: "trivy-db".to_owned(),
            updated_at: Some(started.plus(Span::from_secs(-3 * 3_600))),
            version: Some("2".to_owned()),
            label: None,
        }),
        command: vec![
            stage.tool.0.to_owned(),
            "scan".to_owned(),
            "--format=json".to_owned(),
        ],
        exit_code: Some(0),
        outcome: Outcome::Completed,
        reason: None,
        started_at: started,
        finished_at: finished,
        observed_at: finished,
        looked_at: vec![LookedAt::new(stage.looked_at.0, stage.looked_at.1)],
        report: None,
        inputs: None,
        cached_from: None,
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
        dirty: false,
        facts_file: None,
        notes: Vec::new(),
    };
    (production, took)
}

/// A scan, with the report that it wrote.
pub fn scan(
    change: &Change,
    stage: &Stage,
    at: Timestamp,
    report: Option<Report>,
    facts: Value,
) -> Result<Made, DemoError> {
    let (mut production, took) = production(change, stage, at);
    let mut blobs = Vec::new();
    let (mut counts, mut reference) = (writ_model::SeverityCounts::default(), None);
    if let Some(report) = report {
        let blob = findings::encode(&report.findings)?;
        counts = report.counts;
        reference = Some(FindingsRef {
            digest: Digest::of(&blob),
            count: report.findings.len() as u64,
        });
        production.report = Some(FileRef {
            digest: Digest::of(&report.bytes),
            media_type: "application/json".to_owned(),
            format: Some(report.format.to_owned()),
            size: report.bytes.len() as u64,
            name: Some(format!("{}.json", stage.name)),
        });
        blobs.push(Blob::bytes(blob, findings::MEDIA_TYPE));
        blobs.push(Blob::bytes(report.bytes, "application/json"));
    }
    let predicate = Scan {
        production,
        counts,
        suppressed: 0,
        findings: reference,
        facts: match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        },
    };
    let subject = if stage.image {
        vec![about_image(change), about_commit(change)]
    } else {
        vec![about_commit(change)]
    };
    let mut made = made(subject, predicate, took)?;
    for blob in blobs {
        made.record = made.record.with(blob);
    }
    Ok(made)
}

/// Tests and their results.
pub fn tests(change: &Change, stage: &Stage, at: Timestamp) -> Result<Made, DemoError> {
    let (production, took) = production(change, stage, at);
    let broken = change.service == 4 && change.week == 24;
    let failed = u64::from(broken) * 3;
    let counts = TestCounts {
        passed: stage.looked_at.1 - failed - 4,
        failed,
        skipped: 4,
        ..TestCounts::default()
    };
    let result = TestResult {
        result: if broken {
            TestVerdict::Failed
        } else {
            TestVerdict::Passed
        },
        configuration: Vec::new(),
        url: None,
        passed_tests: Vec::new(),
        warned_tests: Vec::new(),
        failed_tests: if broken {
            vec!["score::rounds_down".to_owned()]
        } else {
            Vec::new()
        },
        writ: Some(TestFacts { production, counts }),
    };
    made(vec![about_commit(change)], result, took)
}

/// Coverage; the gateway's falls below the floor in the last weeks.
pub fn coverage(change: &Change, stage: &Stage, at: Timestamp) -> Result<Made, DemoError> {
    let (production, took) = production(change, stage, at);
    let total = change.service().lines;
    let percent = match (change.service, change.week) {
        (2, 50..) => 76,
        (5, 29..=31) => 78,
        _ => 82 + below(9, &change.key("coverage")),
    };
    let covered = total * percent / 100;
    let added = 120 + below(400, &change.key("lines"));
    let coverage = Coverage {
        production,
        lines: Ratio { covered, total },
        branches: None,
        functions: None,
        files: Some(total / 180),
        new_lines: Some(Ratio {
            covered: added * if percent < 80 { 29 } else { 88 } / 100,
            total: added,
        }),
        least_covered: vec![CoverageGap {
            path: change.service().source.to_owned(),
            covered: 160,
            total: 300,
            missing: Some("88-131, 160-233".to_owned()),
        }],
    };
    made(vec![about_commit(change)], coverage, took)
}

/// Who reviewed the change, with its title and ticket.
pub fn review(world: &World, change: &Change, at: Timestamp) -> Result<Made, DemoError> {
    let authors = authors(world, change);
    let head = change.commit.clone();
    let review = CodeReview {
        service: change.service().name.to_owned(),
        repository: format!("{REPOSITORY}/{}", change.service().name),
        change: Some(format!("!{}", change.number)),
        title: Some(change.title.clone()),
        tickets: vec![change.ticket.clone()],
        range: CommitRange {
            base: None,
            head: head.clone(),
            count: change.commits,
        },
        reviewed_tree: Some(change.tree.clone()),
        merged_tree: Some(change.tree.clone()),
        merge_commit: None,
        merged_by: Some(world.reviewer(&change.key("review"))),
        reviews: vec![Review {
            reviewer: world.reviewer(&change.key("review")),
            verdict: ReviewVerdict::Approved,
            commit: head,
            at: at.plus(Span::from_secs(-1_800)),
        }],
        authors,
        source: "gitlab".to_owned(),
        observed_at: at,
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
    };
    made(vec![about_commit(change)], review, 0)
}

/// Everybody who wrote part of a change.
pub fn authors(world: &World, change: &Change) -> Vec<PrincipalId> {
    let mut authors = vec![world.person(change.author)];
    authors.extend(change.second.map(|second| world.person(second)));
    authors
}

/// The run itself.
pub fn run(
    world: &World,
    change: &Change,
    stages: Vec<RunStage>,
    started: Timestamp,
    finished: Timestamp,
) -> Result<Made, DemoError> {
    let service = change.service();
    let run = Run {
        run_id: format!("{}-{}", service.name, &change.commit[..12]),
        service: service.name.to_owned(),
        repository: Some(format!("{REPOSITORY}/{}", service.name)),
        stages,
        inventory: Inventory {
            files: 212 + below(300, service.name),
            languages: [(service.language.to_owned(), 140 + below(80, service.name))].into(),
            dockerfiles: vec!["Dockerfile".to_owned()],
            terraform_files: 4,
            kubernetes_files: 3,
            lockfiles: vec![service.lockfile.to_owned()],
            manifests: Vec::new(),
            ci_files: vec![".gitlab-ci.yml".to_owned()],
            test_files: 31,
        },
        range: Some(CommitRange {
            base: None,
            head: change.commit.clone(),
            count: change.commits,
        }),
        authorship: authors(world, change)
            .into_iter()
            .map(|principal| Authorship {
                commits: vec![change.commit.clone()],
                count: 1,
                principal,
            })
            .collect(),
        authors: authors(world, change),
        head_tree: Some(change.tree.clone()),
        merge_commit: None,
        merge_tree: None,
        definition: Some(pipeline_digest(service.name)),
        lock: Some(Digest::of(format!("{}/lock", service.name).as_bytes())),
        lock_differences: Some(Vec::new()),
        definition_findings: Vec::new(),
        executed: Vec::new(),
        requested_profile: Some(service.profile.to_owned()),
        shallow: false,
        dirty: false,
        started_at: started,
        finished_at: finished,
        observed_at: finished,
        interrupted: false,
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
        notes: Vec::new(),
    };
    made(vec![about_commit(change)], run, 0)
}

/// One line of a run.
pub fn run_stage(stage: &Stage, made: &Made, needs: &[&str]) -> RunStage {
    RunStage {
        name: stage.name.to_owned(),
        state: StageState::Done,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        tool: Some(format!("{} {}", stage.tool.0, stage.tool.1)),
        evidence_id: Some(made.id),
        duration_ms: made.took,
        cached: false,
        reason: None,
    }
}

/// Digest of a service's pipeline definition.
pub fn pipeline_digest(service: &str) -> Digest {
    Digest::of(format!("{service}/writ.toml").as_bytes())
}

/// The pipeline definition of a service came into force.
pub fn pipeline(world: &World, service: &str, at: Timestamp) -> Result<Made, DemoError> {
    let digest = pipeline_digest(service);
    let definition = Definition {
        kind: DefinitionKind::Pipeline,
        name: "writ.toml".to_owned(),
        digest,
        previous: None,
        service: Some(service.to_owned()),
        environment: None,
        author: Some(world.person(0)),
        approvals: Vec::new(),
        effective_at: Some(at),
        content: None,
        file: None,
        bootstrap: false,
        observed_at: at,
    };
    let mut subject = ResourceDescriptor::sha256("writ.toml", digest);
    subject
        .annotations
        .insert("kind".to_owned(), Value::from("definition"));
    subject
        .annotations
        .insert("service".to_owned(), Value::from(service));
    made(vec![subject], definition, 0)
}

/// A reviewer approves the pipeline definition of a service.
pub fn pipeline_approval(world: &World, service: &str, at: Timestamp) -> Result<Made, DemoError> {
    let digest = pipeline_digest(service);
    let approval = Approval {
        about: ApprovalAbout::Definition,
        release: None,
        definition: Some(digest),
        bundle_digest: None,
        checks_hash: None,
        shown_at: Some(at),
        by: actor(world.reviewer(service), "reviewer"),
        comment: None,
        observed_at: at,
        expires_at: None,
    };
    let mut subject = ResourceDescriptor::sha256("writ.toml", digest);
    subject
        .annotations
        .insert("kind".to_owned(), Value::from("definition"));
    subject
        .annotations
        .insert("service".to_owned(), Value::from(service));
    made(vec![subject], approval, 0)
}

/// The build that made the image.
pub fn provenance(change: &Change, at: Timestamp) -> Result<Made, DemoError> {
    let mut source = ResourceDescriptor::git_commit(change.service().name, change.commit.clone());
    source.name = None;
    let provenance = SlsaProvenance {
        build_definition: BuildDefinition {
            build_type: "urn:writ:build:run:v1".to_owned(),
            external_parameters: Map::new(),
            internal_parameters: Map::new(),
            resolved_dependencies: vec![source],
        },
        run_details: RunDetails {
            builder: Builder {
                id: "urn:demo:builder:ci".to_owned(),
                version: std::collections::BTreeMap::new(),
                builder_dependencies: Vec::new(),
            },
            metadata: None,
            byproducts: Vec::new(),
        },
        writ: Some(BuildFacts {
            service: change.service().name.to_owned(),
            evidence_type: EvidenceType::Provenance,
            observed_at: at,
            origin: Origin::Observed,
            producer_class: ProducerClass::CiProtected,
            dirty: false,
        }),
    };
    let mut image = about_image(change);
    for (name, value) in [
        ("service", Value::from(change.service().name)),
        ("origin", Value::from("observed")),
    ] {
        image.annotations.insert(name.to_owned(), value);
    }
    let payload = Statement::new(vec![image, about_commit(change)], provenance).to_payload()?;
    Ok(Made {
        id: EvidenceId::of_payload(&payload),
        took: 0,
        record: NewRecord::payload(payload),
    })
}

/// A fact about a release or a service.
pub struct Fact {
    /// What it is for.
    pub kind: EvidenceType,
    /// Service.
    pub service: Option<&'static str>,
    /// Environment.
    pub environment: Option<&'static str>,
    /// What was asked.
    pub target: &'static str,
    /// The facts.
    pub facts: Value,
}

/// A fact was read from a system.
pub fn probe(fact: Fact, change: Option<&Change>, at: Timestamp) -> Result<Made, DemoError> {
    let subject = match (change, fact.service) {
        (Some(change), _) => about_image(change),
        (None, service) => about_service(service.unwrap_or(fact.target)),
    };
    let probe = Probe {
        evidence_type: fact.kind,
        service: fact.service.map(str::to_owned),
        environment: fact.environment.map(str::to_owned),
        target: fact.target.to_owned(),
        outcome: Outcome::Completed,
        reason: None,
        looked_at: vec![LookedAt::new("systems", 1)],
        facts: match fact.facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        },
        observed_at: at,
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
    };
    let mut subject = subject;
    if change.is_none() {
        subject
            .annotations
            .insert("kind".to_owned(), Value::from("service"));
    }
    made(vec![subject], probe, 0)
}
