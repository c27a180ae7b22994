//! What Writ adds to the work of the tools: `cargo bench -p writ-pipeline`.
//!
//! Prints ratios against the raw limit measured in the same run: the longest chain or the work divided
//! by the cores for a run, `git status` and SHA-256 of the tree for a re-run from the cache.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use writ_model::{Digest, EvidenceId, EvidenceType};
use writ_pipeline::adapter::{Catalogue, ToolFinder};
use writ_pipeline::git::{CiFacts, PrincipalKey};
use writ_pipeline::ingest::IngestReader;
use writ_pipeline::plan::PlanRequest;
use writ_pipeline::record::{CachedResult, RecordError, Recorder, RunEvidence, StageEvidence};
use writ_pipeline::run::{RunContext, RunParts, RunResult, execute, system_clock};
use writ_pipeline::runner::{Cancel, Events};

type Anything = Result<(), Box<dyn std::error::Error>>;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<StageEvidence>>>);

impl Memory {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<StageEvidence>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Recorder for Memory {
    async fn record_stage(&self, evidence: &StageEvidence) -> Result<EvidenceId, RecordError> {
        self.list().push(evidence.clone());
        Ok(EvidenceId::of_payload(evidence.stage.as_bytes()))
    }

    async fn record_run(&self, run: &RunEvidence) -> Result<EvidenceId, RecordError> {
        Ok(EvidenceId::of_payload(run.service.as_bytes()))
    }

    async fn cached(&self, key: &Digest, types: &[EvidenceType]) -> Vec<CachedResult> {
        let list = self.list();
        let of = |kind: &EvidenceType| {
            list.iter()
                .find(|e| e.cache_key == Some(*key) && e.evidence_type == *kind)
        };
        types
            .iter()
            .filter_map(|kind| {
                of(kind).map(|facts| CachedResult {
                    evidence: EvidenceId::of_payload(b""),
                    facts: facts.clone(),
                })
            })
            .collect()
    }
}

struct House {
    folder: tempfile::TempDir,
    adapters: tempfile::TempDir,
    cache: tempfile::TempDir,
    work: tempfile::TempDir,
    memory: Memory,
    runtime: tokio::runtime::Runtime,
}

impl House {
    fn new(stages: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let house = Self {
            folder: tempfile::tempdir()?,
            adapters: tempfile::tempdir()?,
            cache: tempfile::tempdir()?,
            work: tempfile::tempdir()?,
            memory: Memory::default(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?,
        };
        std::fs::write(
            house.folder.path().join("writ.toml"),
            format!("version = 1\nservice = \"bench\"\n{stages}"),
        )?;
        git(
            house.folder.path(),
            &["init", "--quiet", "--initial-branch=main"],
        )?;
        Ok(house)
    }

    fn run(&self) -> Result<RunResult, Box<dyn std::error::Error>> {
        let mut catalogue = Catalogue::embedded()?;
        catalogue.add_folder(self.adapters.path())?;
        let context = RunContext::gather(
            self.folder.path(),
            &self.folder.path().join("writ.toml"),
            RunParts {
                catalogue,
                finder: ToolFinder {
                    search: vec![
                        self.adapters.path().join("bin"),
                        "/bin".into(),
                        "/usr/bin".into(),
                    ],
                    cache: self.cache.path().join("tools"),
                },
                recorder: self.memory.clone(),
                reader: Arc::new(IngestReader::new([1; 32])),
                clock: system_clock(),
                events: Events::none(),
                cancel: Cancel::new(),
                ci: CiFacts::default(),
                principal_key: PrincipalKey::new([2; 32]),
                offline: true,
                work: self.work.path().to_owned(),
            },
        )?;
        let plan = context.plan(&PlanRequest::default())?;
        Ok(self.runtime.block_on(execute(Arc::new(context), &plan)))
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Anything {
    let done = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b.c"])
        .args(arguments)
        .current_dir(folder)
        .status()?;
    if done.success() {
        Ok(())
    } else {
        Err(format!("git {arguments:?}").into())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Eight stages in chains of two that sleep: the bound is the work divided by the cores.
fn overhead() -> Anything {
    let cores = std::thread::available_parallelism()?.get();
    let stages = 4 * cores;
    let mut text = String::new();
    for index in 0..stages {
        let needs = if index % 2 == 1 {
            format!("needs = [\"s{}\"]\n", index - 1)
        } else {
            String::new()
        };
        text.push_str(&format!(
            "[stage.s{index}]\nrun = [\"sleep\", \"0.25\"]\n{needs}"
        ));
    }
    let house = House::new(&text)?;
    git(house.folder.path(), &["add", "-A"])?;
    git(house.folder.path(), &["commit", "--quiet", "-m", "x"])?;
    let bound = Duration::from_millis(250) * u32::try_from(stages / cores)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let result = house.run()?;
        if result.exit_code() != 0 {
            return Err(format!("{:?}", result.stages).into());
        }
        times.push(started.elapsed());
    }
    let wall = median(times);
    let allowed = bound.mul_f64(1.05) + Duration::from_millis(5) * u32::try_from(stages)?;
    println!(
        "run, {stages} stages on {cores} cores: bound {bound:.1?}, wall {wall:.1?} = {:.3} x, allowed {allowed:.1?}",
        wall.as_secs_f64() / bound.as_secs_f64()
    );
    Ok(())
}

/// 4,000 files, five tool stages, all served from the cache.
fn cached() -> Anything {
    let mut text = String::new();
    for index in 0..5 {
        text.push_str(&format!("[stage.t{index}]\nuses = \"fake{index}\"\n"));
    }
    let house = House::new(&text)?;
    let bin = house.adapters.path().join("bin");
    std::fs::create_dir_all(&bin)?;
    for index in 0..5 {
        let name = format!("fake{index}");
        let report =
            r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"fake"}},"results":[]}]}"#;
        std::fs::write(
            bin.join(&name),
            format!(
                "#!/bin/sh\n[ \"$1\" = --version ] && echo 1.0 && exit 0\necho '{report}' > \"$1\"; echo scanned 9\n"
            ),
        )?;
        std::fs::set_permissions(bin.join(&name), std::fs::Permissions::from_mode(0o755))?;
        std::fs::write(
            house.adapters.path().join(format!("{name}.toml")),
            format!(
                "name = \"{name}\"\ntitle = \"T\"\nevidence = [\"sast\"]\ndefault = \"scan\"\n[find]\nbinaries = [\"{name}\"]\nversion = {{ argv = [\"{{bin}}\", \"--version\"], regex = '(.+)' }}\n[mode.scan]\nargv = [\"{{bin}}\", \"{{report}}\"]\nreport = {{ path = \"{{report}}\", format = \"sarif\" }}\nlooked_at = {{ from = \"stdout\", regex = '(\\d+)', what = \"files\" }}\ninputs = [\"tree:**/*.py\"]\n"
            ),
        )?;
    }
    let mut bytes = Vec::new();
    for index in 0..4_000_u32 {
        let path = house
            .folder
            .path()
            .join(format!("d{}/f{index}.py", index % 80));
        std::fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        let content = format!("x = {index}\n").repeat(1_000);
        bytes.extend_from_slice(content.as_bytes());
        std::fs::write(path, content)?;
    }
    git(house.folder.path(), &["add", "-A"])?;
    git(house.folder.path(), &["commit", "--quiet", "-m", "x"])?;
    // Git trusts its stat cache only for files older than the index.
    std::thread::sleep(Duration::from_millis(1_100));
    git(
        house.folder.path(),
        &[
            "update-index",
            "--refresh",
            "--really-refresh",
            "--force-write-index",
        ],
    )
    .or_else(|_| git(house.folder.path(), &["status", "--short"]))?;
    house.run()?;
    let (mut times, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        let started = Instant::now();
        let result = house.run()?;
        times.push(started.elapsed());
        if !result.stages.iter().all(|stage| stage.cached) {
            return Err(format!("not served from the cache: {:?}", result.stages).into());
        }
        let started = Instant::now();
        Command::new("git")
            .args(["--no-optional-locks", "status", "--porcelain=v2", "-z"])
            .current_dir(house.folder.path())
            .output()?;
        raw.push(started.elapsed());
    }
    let started = Instant::now();
    let digest = Digest::of(&bytes);
    let hashing = started.elapsed();
    let (wall, status) = (median(times), median(raw));
    println!(
        "cached re-run, 4,000 files ({} MB): wall {wall:.1?} (allowed 50 ms), git status alone {status:.1?} = {:.1} x, SHA-256 of the tree {hashing:.1?} ({})",
        bytes.len() / 1_000_000,
        wall.as_secs_f64() / status.as_secs_f64(),
        digest.short()
    );
    Ok(())
}

fn main() -> Anything {
    // `cargo test --benches` asks for nothing.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    overhead()?;
    cached()
}
