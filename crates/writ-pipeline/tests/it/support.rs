//! A throw-away repository, programs that stand for tools, and a recorder that remembers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use writ_model::{Digest, EvidenceId, EvidenceType, Outcome};
use writ_pipeline::adapter::{Catalogue, ToolFinder};
use writ_pipeline::git::{CiFacts, PrincipalKey};
use writ_pipeline::ingest::IngestReader;
use writ_pipeline::plan::PlanRequest;
use writ_pipeline::record::{CachedResult, RecordError, Recorder, RunEvidence, StageEvidence};
use writ_pipeline::run::{RunContext, RunParts, RunResult, execute, system_clock};
use writ_pipeline::runner::{Cancel, Events};

/// Remembers what was recorded and serves completed results again.
#[derive(Debug, Clone, Default)]
pub struct Memory(pub Arc<Mutex<Vec<(EvidenceId, StageEvidence)>>>);

impl Recorder for Memory {
    async fn record_stage(&self, evidence: &StageEvidence) -> Result<EvidenceId, RecordError> {
        let mut list = self.0.lock().unwrap();
        let id = EvidenceId::of_payload(format!("{} {evidence:?}", list.len()).as_bytes());
        list.push((id, evidence.clone()));
        Ok(id)
    }

    async fn record_run(&self, run: &RunEvidence) -> Result<EvidenceId, RecordError> {
        Ok(EvidenceId::of_payload(&serde_json::to_vec(run).unwrap()))
    }

    async fn cached(&self, key: &Digest, types: &[EvidenceType]) -> Vec<CachedResult> {
        let list = self.0.lock().unwrap();
        types
            .iter()
            .filter_map(|kind| {
                list.iter()
                    .rev()
                    .find(|(_, e)| {
                        e.cache_key == Some(*key)
                            && e.evidence_type == *kind
                            && e.outcome == Outcome::Completed
                    })
                    .map(|(id, facts)| CachedResult {
                        evidence: *id,
                        facts: facts.clone(),
                    })
            })
            .collect()
    }
}

/// A repository with its own tool cache and adapters.
pub struct House {
    pub folder: tempfile::TempDir,
    pub memory: Memory,
    pub cancel: Cancel,
    pub path: Vec<PathBuf>,
    work: tempfile::TempDir,
    adapters: tempfile::TempDir,
    cache: tempfile::TempDir,
    alone: Option<MutexGuard<'static, ()>>,
}

/// Real scanners keep several cores busy: one test with them at a time.
static REAL: Mutex<()> = Mutex::new(());

impl House {
    /// An empty repository on the branch `main`.
    pub fn new() -> Self {
        let house = Self {
            folder: tempfile::tempdir().unwrap(),
            memory: Memory::default(),
            cancel: Cancel::new(),
            path: std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect(),
            work: tempfile::tempdir().unwrap(),
            adapters: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
            alone: None,
        };
        house.git(&["init", "--quiet", "--initial-branch=main"]);
        house
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn git(&self, arguments: &[&str]) {
        git(self.root(), arguments);
    }

    pub fn write(&self, path: &str, text: &str) {
        let file = self.root().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Writes `writ.toml`.
    pub fn stages(&self, text: &str) {
        self.write(
            "writ.toml",
            &format!("version = 1\nservice = \"shop\"\n{text}"),
        );
    }

    pub fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
    }

    /// A tool that is a shell script, with an adapter whose mode has these further keys.
    pub fn tool(&mut self, name: &str, script: &str, mode: &str) {
        let bin = self.adapters.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let file = bin.join(name);
        std::fs::write(
            &file,
            format!("#!/bin/sh\n[ \"$1\" = --version ] && echo 1.0.0 && exit 0\n{script}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        if !self.path.contains(&bin) {
            self.path.insert(0, bin);
        }
        let adapter = format!(
            "name = \"{name}\"\ntitle = \"T\"\nevidence = [\"sast\"]\ndefault = \"scan\"\n[find]\nbinaries = [\"{name}\"]\nversion = {{ argv = [\"{{bin}}\", \"--version\"], regex = '(.+)' }}\n[mode.scan]\nargv = [\"{{bin}}\", \"{{report}}\"]\nexit = {{ clean = [0], findings = [42] }}\nreport = {{ path = \"{{report}}\", format = \"sarif\" }}\n{mode}\n"
        );
        std::fs::write(self.adapters.path().join(format!("{name}.toml")), adapter).unwrap();
    }

    pub async fn run(&self) -> RunResult {
        self.run_with(&PlanRequest::default(), CiFacts::default())
            .await
    }

    pub async fn run_with(&self, request: &PlanRequest, ci: CiFacts) -> RunResult {
        let context = self.context(ci).unwrap();
        let plan = context.plan(request).unwrap();
        execute(Arc::new(context), &plan).await
    }

    pub fn context(
        &self,
        ci: CiFacts,
    ) -> Result<RunContext<Memory>, writ_pipeline::run::GatherError> {
        let mut catalogue = Catalogue::embedded().unwrap();
        catalogue.add_folder(self.adapters.path()).unwrap();
        let parts = RunParts {
            catalogue,
            finder: ToolFinder {
                search: self.path.clone(),
                cache: self.cache.path().join("tools"),
            },
            recorder: self.memory.clone(),
            reader: Arc::new(IngestReader::new([1; 32])),
            clock: system_clock(),
            events: Events::none(),
            cancel: self.cancel.clone(),
            ci,
            principal_key: PrincipalKey::new([2; 32]),
            offline: true,
            work: self.work.path().to_owned(),
        };
        RunContext::gather(self.root(), &self.root().join("writ.toml"), parts)
    }

    /// The tool's own cache folder.
    pub fn data(&self, tool: &str) -> PathBuf {
        self.cache.path().join("data").join(tool)
    }

    /// Puts a real tool on the path, or says that it is absent. With `WRIT_REQUIRE_TOOLS=1` absence fails.
    pub fn real(&mut self, tool: &str) -> bool {
        if self.alone.is_none() {
            self.alone = Some(REAL.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let folders = std::env::var("WRIT_TEST_TOOLS").unwrap_or_default();
        for folder in folders.split(':').filter(|folder| !folder.is_empty()) {
            let bin = Path::new(folder).join(tool).join("bin");
            if bin.join(tool).is_file() {
                self.path.insert(0, bin);
                return true;
            }
        }
        let cached = ToolFinder::from_environment();
        let catalogue = Catalogue::embedded().unwrap();
        if let Some((path, _)) = catalogue
            .get(tool)
            .and_then(|adapter| cached.locate(adapter))
        {
            self.path.insert(0, path.parent().unwrap().to_owned());
            return true;
        }
        assert!(
            std::env::var("WRIT_REQUIRE_TOOLS").as_deref() != Ok("1"),
            "{tool} is absent, and WRIT_REQUIRE_TOOLS=1 wants it"
        );
        eprintln!("not run: {tool} absent");
        false
    }
}

pub fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@shop.example",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A SARIF report of a run that looked at two files, with so many results.
pub fn sarif(results: usize) -> String {
    let result = r#"{"ruleId":"r1","level":"error","message":{"text":"bad"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.py"},"region":{"startLine":1}}}]}"#;
    format!(
        r#"{{"version":"2.1.0","$schema":"https://json.schemastore.org/sarif-2.1.0.json","runs":[{{"tool":{{"driver":{{"name":"fake","rules":[{{"id":"r1"}}]}}}},"artifacts":[{{"location":{{"uri":"a.py"}}}},{{"location":{{"uri":"b.py"}}}}],"results":[{}]}}]}}"#,
        vec![result; results].join(",")
    )
}

/// The only evidence of a stage.
pub fn only<'a>(result: &'a RunResult, stage: &str) -> &'a StageEvidence {
    let mut found = result
        .evidence
        .iter()
        .map(|(_, e)| e)
        .filter(|e| e.stage == stage);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no evidence of {stage}: {:?}", result.stages));
    assert!(found.next().is_none(), "more than one evidence of {stage}");
    first
}
