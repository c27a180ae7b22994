//! What people say and do: approvals, deployments, emergencies, exemptions, reviews of access.

use serde_json::Value;
use writ_evidence::predicate::{
    AccessReview, Actor, Approval, ApprovalAbout, BreakGlass, BreakGlassOpening, BreakGlassOutcome,
    BreakGlassReview, Deployment, DeploymentOutcome, Drift, Exemption, ExemptionAnswer,
    ExemptionGrant, ExemptionRequest, ReleaseRef, Running, Snapshot,
};
use writ_evidence::statement::ResourceDescriptor;
use writ_model::{
    Assurance, Digest, EvidenceId, Origin, Outcome, PrincipalId, ProducerClass, Span, Timestamp,
    WritId,
};

use super::super::DemoError;
use super::super::world::{Change, World};
use super::{Made, about_commit, about_image, about_service, made};

pub(super) fn actor(principal: PrincipalId, role: &str) -> Actor {
    Actor {
        principal,
        role: Some(role.to_owned()),
        assurance: Assurance::Totp,
        assertion: None,
    }
}

/// A release as statements name it.
pub fn release(change: &Change, environment: &str) -> ReleaseRef {
    ReleaseRef {
        service: change.service().name.to_owned(),
        environment: environment.to_owned(),
        artifact: Some(change.artifact),
        commit: Some(change.commit.clone()),
    }
}

/// A reviewer says yes to a release.
pub fn approval(
    by: PrincipalId,
    change: &Change,
    environment: &str,
    bundle: Digest,
    at: Timestamp,
) -> Result<Made, DemoError> {
    let approval = Approval {
        about: ApprovalAbout::Release,
        release: Some(release(change, environment)),
        definition: None,
        bundle_digest: Some(bundle),
        checks_hash: None,
        shown_at: Some(at.plus(Span::from_secs(-300))),
        by: actor(by, "reviewer"),
        comment: Some("Checked the digest and the open exemptions.".to_owned()),
        observed_at: at,
        expires_at: None,
    };
    made(vec![about_image(change), about_commit(change)], approval, 0)
}

/// What a deployment rests on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grounds {
    /// Its writ.
    pub writ: Option<WritId>,
    /// Its emergency.
    pub break_glass: Option<EvidenceId>,
    /// The digest that ran before.
    pub previous: Option<Digest>,
}

/// A digest was put into an environment.
pub fn deployment(
    world: &World,
    change: &Change,
    environment: &str,
    grounds: Grounds,
    failed: bool,
    at: Timestamp,
) -> Result<Made, DemoError> {
    let deployment = Deployment {
        release: release(change, environment),
        outcome: if failed {
            DeploymentOutcome::RolledBack
        } else {
            DeploymentOutcome::Succeeded
        },
        deployer: world.deployer(),
        writ: grounds.writ,
        break_glass: grounds.break_glass,
        strategy: Some("rolling".to_owned()),
        previous: grounds.previous,
        rollback_of: None,
        target: Some(format!("{environment}-cluster")),
        started_at: at.plus(Span::from_secs(-240)),
        observed_at: at,
        reason: failed.then(|| "readiness checks failed for 3 minutes".to_owned()),
        figures: None,
        notes: Vec::new(),
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
    };
    made(
        vec![about_image(change), about_commit(change)],
        deployment,
        0,
    )
}

/// What runs in an environment.
pub fn snapshot(
    environment: &str,
    running: Vec<Running>,
    drift: Vec<Drift>,
    at: Timestamp,
) -> Result<Made, DemoError> {
    let snapshot = Snapshot {
        environment: environment.to_owned(),
        source: "kubernetes".to_owned(),
        outcome: Outcome::Completed,
        reason: None,
        running,
        drift,
        observed_at: at,
        observed_by: None,
        origin: Origin::Observed,
        producer_class: ProducerClass::CiProtected,
        compared: None,
    };
    let mut subject = ResourceDescriptor::sha256(
        format!("environment:{environment}"),
        Digest::of(environment.as_bytes()),
    );
    subject
        .annotations
        .insert("kind".to_owned(), Value::from("environment"));
    made(vec![subject], snapshot, 0)
}

/// An emergency begins.
pub fn break_glass(
    by: PrincipalId,
    change: &Change,
    unsatisfied: &[&str],
    at: Timestamp,
) -> Result<Made, DemoError> {
    let opening = BreakGlassOpening {
        release: release(change, "production"),
        by: actor(by, "developer"),
        reason: "Card payments fail for all customers since 02:10".to_owned(),
        incident: Some("INC-2291".to_owned()),
        unsatisfied: unsatisfied
            .iter()
            .map(|control| (*control).to_owned())
            .collect(),
        authorised_by: None,
        observed_at: at,
        expires_at: None,
        review_due_at: at.plus(Span::from_secs(24 * 3_600)),
    };
    made(
        vec![about_image(change)],
        BreakGlass::Open(Box::new(opening)),
        0,
    )
}

/// Somebody else looks at the emergency afterwards.
pub fn break_glass_review(
    by: PrincipalId,
    change: &Change,
    opening: EvidenceId,
    at: Timestamp,
) -> Result<Made, DemoError> {
    let review = BreakGlassReview {
        opening,
        by: actor(by, "reviewer"),
        outcome: BreakGlassOutcome::Justified,
        reason: "The outage was real, the change one line. The skipped scans ran the next morning and found nothing new.".to_owned(),
        follow_ups: vec!["Alert on the share of refused cards".to_owned()],
        observed_at: at,
    };
    made(vec![about_image(change)], BreakGlass::Review(review), 0)
}

/// What somebody asks to live with.
pub struct Wish {
    /// Service.
    pub service: &'static str,
    /// Controls.
    pub controls: &'static [&'static str],
    /// Public names; empty: the whole checks.
    pub names: &'static [&'static str],
    /// Why.
    pub reason: &'static str,
    /// What limits the harm meanwhile.
    pub compensating: Option<&'static str>,
    /// For how many days.
    pub days: i64,
}

/// Somebody asks for an exemption.
pub fn exemption_request(by: PrincipalId, wish: &Wish, at: Timestamp) -> Result<Made, DemoError> {
    let request = ExemptionRequest {
        service: wish.service.to_owned(),
        environments: Vec::new(),
        controls: wish
            .controls
            .iter()
            .map(|control| (*control).to_owned())
            .collect(),
        findings: Vec::new(),
        identifiers: wish.names.iter().map(|name| (*name).to_owned()).collect(),
        reason: wish.reason.to_owned(),
        category: None,
        compensating: wish.compensating.map(str::to_owned),
        ticket: None,
        requested_by: actor(by, "developer"),
        expires_at: at.plus(Span::from_secs(wish.days * 86_400)),
        observed_at: at,
    };
    made(
        vec![about_service(wish.service)],
        Exemption::Request(request),
        0,
    )
}

/// How a request is answered.
pub enum Reply {
    /// Yes, for so many days.
    Grant(i64),
    /// No.
    Deny(&'static str),
    /// No longer.
    Revoke(&'static str),
}

/// Somebody else answers.
pub fn exemption_answer(
    by: PrincipalId,
    request: EvidenceId,
    reply: &Reply,
    at: Timestamp,
) -> Result<Made, DemoError> {
    let by = actor(by, "reviewer");
    let answer = |reason: &str| ExemptionAnswer {
        request,
        by: by.clone(),
        reason: reason.to_owned(),
        observed_at: at,
    };
    let exemption = match reply {
        Reply::Grant(days) => Exemption::Grant(ExemptionGrant {
            request,
            by: by.clone(),
            reason: None,
            expires_at: at.plus(Span::from_secs(days * 86_400)),
            observed_at: at,
        }),
        Reply::Deny(reason) => Exemption::Deny(answer(reason)),
        Reply::Revoke(reason) => Exemption::Revoke(answer(reason)),
    };
    made(
        vec![ResourceDescriptor::sha256("exemption", request.digest())],
        exemption,
        0,
    )
}

/// Somebody looked at everybody's access.
pub fn access_review(world: &World, at: Timestamp) -> Result<Made, DemoError> {
    let review = AccessReview {
        system: "git host and clusters".to_owned(),
        period: None,
        by: actor(world.compliance(), "compliance"),
        complete: true,
        accounts: 42,
        kept: 38,
        changed: 1,
        removed: 3,
        listing: None,
        exceptions: Vec::new(),
        observed_at: at,
        due_at: Some(at.plus(Span::from_secs(90 * 86_400))),
    };
    made(vec![about_service("access")], review, 0)
}
