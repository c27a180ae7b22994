//! The year, week by week: a release train with everything that happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use writ_evidence::predicate::RunStage;
use writ_gate::Bundle;
use writ_gate::evaluate::bind_profile;
use writ_model::{Answer, Digest, EvidenceId, EvidenceType, Span, Timestamp};
use writ_registry::Store;

use super::clock::DemoClock;
use super::judge::{Candidate, Judged, judge};
use super::random::{below, chance};
use super::statements::{self as say, Fact, Grounds, Made, Reply, Stage, Wish};
use super::world::{Change, RELEASE_KEY, SERVICES, WEEKS, World};
use super::{DemoError, reports};

mod exemptions;
mod watch;

/// The release trains of a week: which services go, and how many hours before its end they are through.
const TRAINS: [([usize; 2], i64); 3] = [([0, 3], 96), ([2, 5], 48), ([1, 4], 0)];

/// Who tells the story, and to whom.
struct Teller<'a> {
    store: &'a Arc<Store>,
    bundle: &'a Arc<Bundle>,
    clock: &'a DemoClock,
    world: &'a World,
    /// What runs in each environment, by service.
    running: BTreeMap<(&'static str, usize), (Digest, Timestamp)>,
    /// The newest release of each service that asked for production.
    asked: BTreeMap<usize, Change>,
}

/// Tells the last `weeks` of the year.
///
/// # Errors
/// A statement was refused: then the story is wrong.
pub async fn tell(
    store: &Arc<Store>,
    bundle: &Arc<Bundle>,
    clock: &DemoClock,
    world: &World,
    weeks: u32,
) -> Result<(), DemoError> {
    let mut teller = Teller {
        store,
        bundle,
        clock,
        world,
        running: BTreeMap::new(),
        asked: BTreeMap::new(),
    };
    teller.begin().await?;
    for week in (WEEKS - i64::from(weeks)).max(0)..WEEKS {
        teller.week(week).await?;
    }
    teller.end().await
}

impl Teller<'_> {
    async fn record(&self, at: Timestamp, made: Vec<Made>) -> Result<(), DemoError> {
        self.clock.advance(at);
        let records = made.into_iter().map(|made| made.record).collect();
        self.store.record_batch(records).await?;
        Ok(())
    }

    /// Profiles are bound and pipelines approved before the first change.
    async fn begin(&mut self) -> Result<(), DemoError> {
        let at = self.clock.now();
        let mut made = Vec::new();
        for service in SERVICES {
            bind_profile(self.store, service.name, None, service.profile, at, true).await?;
            made.push(say::pipeline(self.world, service.name, at)?);
            made.push(say::pipeline_approval(self.world, service.name, at)?);
        }
        self.record(at, made).await
    }

    async fn week(&mut self, week: i64) -> Result<(), DemoError> {
        let changes = self.world.changes(week);
        self.exemptions(week).await?;
        for (services, hours) in TRAINS {
            let own = |change: &&Change| services.contains(&change.service);
            let train: Vec<Change> = changes.iter().filter(own).cloned().collect();
            self.facts(week, services, self.world.at(week, hours + 34))
                .await?;
            self.train(week, &train, hours).await?;
        }
        if week == WEEKS - 2 {
            self.emergency(week).await?;
        }
        Ok(())
    }

    /// One of the week's release trains, which ends `hours` before the week does.
    async fn train(&mut self, week: i64, changes: &[Change], hours: i64) -> Result<(), DemoError> {
        let world = self.world;
        let before = |end: i64| world.at(week, end + hours);
        // Run and review.
        let at = before(21);
        let mut made = Vec::new();
        for change in changes {
            made.extend(self.pipeline_run(change, at)?);
        }
        self.record(at, made).await?;
        // Staging.
        let staged = self.ask(changes, "staging", before(20)).await?;
        let passed: Vec<Change> = staged
            .iter()
            .filter(|judged| judged.answer == Answer::Yes)
            .map(|judged| judged.candidate.change.clone())
            .collect();
        self.deploy(&staged, "staging", before(19)).await?;
        let at = before(17);
        let mut made = Vec::new();
        for change in &passed {
            if !(change.service == 5 && week >= WEEKS - 2) {
                made.push(dast(change, at)?);
            }
        }
        self.record(at, made).await?;
        self.verified(before(9)).await?;
        for change in &passed {
            self.asked.insert(change.service, change.clone());
        }
        // Production: first without the approval, in the last weeks, then with it.
        if week >= WEEKS - 6 {
            self.ask(&passed, "production", before(8)).await?;
        }
        let at = before(6);
        let mut made = Vec::new();
        for change in &passed {
            if change.service == 4 && week == WEEKS - 1 {
                continue; // This one still waits for its approval.
            }
            let by = self.world.reviewer(&change.key("approval"));
            let bundle = self.bundle.reference.digest;
            made.push(say::approval(by, change, "production", bundle, at)?);
        }
        self.record(at, made).await?;
        let at = before(5);
        self.observe(week, at.plus(Span::from_secs(-9 * 60)), false)
            .await?;
        let judged = self.ask(&passed, "production", at).await?;
        self.deploy(&judged, "production", before(4)).await?;
        // What is owed after a deployment is judged when it is there.
        if week >= WEEKS - 14 {
            let at = before(3);
            self.observe(week, at.plus(Span::from_secs(-9 * 60)), false)
                .await?;
            self.again(&passed, at).await?;
        }
        Ok(())
    }

    /// The releases that are in production are judged again; that issues no second writ.
    async fn again(&self, changes: &[Change], at: Timestamp) -> Result<(), DemoError> {
        let running: Vec<Change> = changes
            .iter()
            .filter(|change| {
                let here = self.running.get(&("production", change.service));
                here.is_some_and(|(digest, _)| *digest == change.artifact)
            })
            .cloned()
            .collect();
        self.judge(&running, "production", at, false).await?;
        Ok(())
    }

    /// Everything that one pipeline run leaves behind.
    fn pipeline_run(&self, change: &Change, at: Timestamp) -> Result<Vec<Made>, DemoError> {
        let service = change.service();
        let minutes = i64::try_from(below(50, &change.key("minute"))).unwrap_or(0);
        let begin = at.plus(Span::from_secs(-(minutes + 12) * 60));
        let step = |seconds: i64| begin.plus(Span::from_secs(seconds));
        let stage = |name, kind, tool, usual, looked_at| Stage {
            name,
            kind,
            tool,
            usual,
            looked_at,
            image: false,
            database: false,
            environment: None,
        };
        let files = 212 + below(300, service.name);
        let secrets = stage(
            "secrets",
            EvidenceType::SecretScan,
            ("gitleaks", "8.30.1"),
            1_200,
            ("commits", change.commits),
        );
        let test = stage(
            "test",
            EvidenceType::UnitTest,
            ("junit", "5"),
            48_000,
            ("tests", 1_204),
        );
        let cover = stage(
            "coverage",
            EvidenceType::Coverage,
            ("lcov", "2.3"),
            900,
            ("lines", service.lines),
        );
        let sast = stage(
            "sast",
            EvidenceType::Sast,
            ("semgrep", "1.179.0"),
            12_400,
            ("files", files),
        );
        let mut deps = stage(
            "dependencies",
            EvidenceType::DependencyScan,
            ("trivy-fs", "0.76.0"),
            6_000,
            ("packages", service.packages.0),
        );
        deps.database = true;
        let iac = stage(
            "iac",
            EvidenceType::IacScan,
            ("checkov", "3.3.30"),
            9_800,
            ("resources", 14),
        );
        let docker = stage(
            "dockerfile",
            EvidenceType::IacScan,
            ("hadolint", "2.14.0"),
            300,
            ("dockerfiles", 1),
        );
        let quality = stage(
            "quality",
            EvidenceType::CodeQuality,
            ("sonarqube", "26.1"),
            21_000,
            ("files", files),
        );
        let mut sbom = stage(
            "sbom",
            EvidenceType::Sbom,
            ("syft", "1.40.0"),
            4_100,
            ("components", service.packages.1),
        );
        sbom.image = true;
        let mut image = stage(
            "container",
            EvidenceType::ContainerScan,
            ("trivy-image", "0.76.0"),
            8_200,
            ("packages", service.packages.1),
        );
        (image.image, image.database) = (true, true);
        let clean = || json!({});
        let scans = [
            (
                &secrets,
                say::scan(
                    change,
                    &secrets,
                    step(5),
                    Some(reports::gitleaks(change)?),
                    clean(),
                )?,
                &[][..],
            ),
            (&test, say::tests(change, &test, step(58))?, &[]),
            (&cover, say::coverage(change, &cover, step(60))?, &["test"]),
            (
                &sast,
                say::scan(
                    change,
                    &sast,
                    step(20),
                    Some(reports::semgrep(change)?),
                    clean(),
                )?,
                &[],
            ),
            (
                &deps,
                say::scan(
                    change,
                    &deps,
                    step(14),
                    Some(reports::trivy(change, false)?),
                    clean(),
                )?,
                &[],
            ),
            (
                &iac,
                say::scan(
                    change,
                    &iac,
                    step(18),
                    Some(reports::checkov(change)?),
                    clean(),
                )?,
                &[],
            ),
            (
                &docker,
                say::scan(change, &docker, step(7), None, clean())?,
                &[],
            ),
            (
                &quality,
                say::scan(
                    change,
                    &quality,
                    step(85),
                    None,
                    json!({"conditions": [{"metric": "new issues", "value": "0", "required": "at most 0", "holds": true}]}),
                )?,
                &["test"],
            ),
            (
                &sbom,
                say::scan(
                    change,
                    &sbom,
                    step(98),
                    None,
                    json!({"licenses": [{"license": "MIT", "count": service.packages.1 / 2}, {"license": "Apache-2.0", "count": service.packages.1 / 3}, {"license": "BSD-3-Clause", "count": 8}]}),
                )?,
                &["image"],
            ),
            (
                &image,
                say::scan(
                    change,
                    &image,
                    step(108),
                    Some(reports::trivy(change, true)?),
                    clean(),
                )?,
                &["image"],
            ),
        ];
        let mut stages: Vec<RunStage> = scans
            .iter()
            .map(|(stage, made, needs)| say::run_stage(stage, made, needs))
            .collect();
        let built = say::provenance(change, step(90))?;
        let build = stage(
            "image",
            EvidenceType::Provenance,
            ("make", "4.3"),
            31_000,
            ("images", 1),
        );
        let mut row = say::run_stage(&build, &built, &["test"]);
        row.duration_ms = 24_000 + below(14_000, &change.key("image"));
        stages.insert(8, row);
        let mut made: Vec<Made> = scans.into_iter().map(|(_, made, _)| made).collect();
        made.push(built);
        made.push(say::probe(
            Fact {
                kind: EvidenceType::ImageSignature,
                service: Some(service.name),
                environment: None,
                target: "registry.demo.example",
                facts: json!({"keyId": RELEASE_KEY, "verified": true}),
            },
            Some(change),
            step(112),
        )?);
        made.push(say::run(self.world, change, stages, begin, step(115))?);
        made.push(say::review(self.world, change, at)?);
        // What ran before in production is known, to go back to.
        let back = match self.running.get(&("production", change.service)) {
            Some((previous, _)) => json!({"previous": previous}),
            None => json!({"firstRelease": true}),
        };
        made.push(say::probe(
            Fact {
                kind: EvidenceType::Rollback,
                service: Some(service.name),
                environment: Some("production"),
                target: "production-cluster",
                facts: back,
            },
            None,
            at,
        )?);
        Ok(made)
    }

    async fn ask(
        &self,
        changes: &[Change],
        environment: &'static str,
        at: Timestamp,
    ) -> Result<Vec<Judged>, DemoError> {
        self.judge(changes, environment, at, true).await
    }

    async fn judge(
        &self,
        changes: &[Change],
        environment: &'static str,
        at: Timestamp,
        issue: bool,
    ) -> Result<Vec<Judged>, DemoError> {
        let candidates = changes
            .iter()
            .map(|change| Candidate {
                change: change.clone(),
                environment,
                at,
                issue,
            })
            .collect();
        judge(self.store, self.bundle, self.clock, self.world, candidates).await
    }

    /// Deploys what has a writ.
    async fn deploy(
        &mut self,
        judged: &[Judged],
        environment: &'static str,
        at: Timestamp,
    ) -> Result<(), DemoError> {
        let mut made = Vec::new();
        for one in judged.iter().filter(|one| one.writ.is_some()) {
            let change = &one.candidate.change;
            let minutes = i64::try_from(below(40, &change.key(environment))).unwrap_or(0);
            let at = at.plus(Span::from_secs(-minutes * 60));
            let failed = environment == "production" && chance(3, &change.key("failed"));
            let place = (environment, change.service);
            let grounds = Grounds {
                writ: one.writ,
                break_glass: None,
                previous: self.running.get(&place).map(|(digest, _)| *digest),
            };
            made.push(say::deployment(
                self.world,
                change,
                environment,
                grounds,
                failed,
                at,
            )?);
            if !failed {
                self.running.insert(place, (change.artifact, at));
            }
        }
        self.record(at, made).await
    }

    /// The one emergency of the year, and its review the day after.
    async fn emergency(&mut self, week: i64) -> Result<(), DemoError> {
        let change = self.world.change(2, week, "/hotfix");
        let at = self.world.at(week, 3);
        let open = say::break_glass(
            self.world.person(4),
            &change,
            &["SEC-01", "SAST-01", "TST-01", "CHG-03"],
            at,
        )?;
        let grounds = Grounds {
            writ: None,
            break_glass: Some(open.id),
            previous: self
                .running
                .get(&("production", 2))
                .map(|(digest, _)| *digest),
        };
        let after = at.plus(Span::from_secs(900));
        let deployed = say::deployment(self.world, &change, "production", grounds, false, after)?;
        let id: EvidenceId = open.id;
        self.running
            .insert(("production", 2), (change.artifact, after));
        self.record(after, vec![open, deployed]).await?;
        let later = at.plus(Span::from_secs(20 * 3_600));
        let review = say::break_glass_review(self.world.reviewer("emergency"), &change, id, later)?;
        self.record(later, vec![review]).await
    }

    /// The last look before the page is opened, and what it means for the last train.
    async fn end(&self) -> Result<(), DemoError> {
        let at = self.world.now.plus(Span::from_secs(-20 * 60));
        self.observe(WEEKS, at, true).await?;
        let asked: Vec<Change> = self
            .asked
            .values()
            .filter(|change| {
                change.week == WEEKS - 1 && TRAINS[TRAINS.len() - 1].0.contains(&change.service)
            })
            .cloned()
            .collect();
        let at = self.world.now.plus(Span::from_secs(-12 * 60));
        self.judge(&asked, "production", at, false).await?;
        Ok(())
    }
}

/// The dynamic test of a release in staging.
fn dast(change: &Change, at: Timestamp) -> Result<Made, DemoError> {
    let stage = Stage {
        name: "dast",
        kind: EvidenceType::Dast,
        tool: ("zap-baseline", "2.15.0"),
        usual: 184_000,
        looked_at: ("pages", 61),
        image: true,
        database: false,
        environment: Some("staging"),
    };
    say::scan(change, &stage, at, Some(reports::zap(change)?), json!({}))
}
