//! What becomes of tools that hang, crash, flood, lie or are not there; of the cache; of programs.

use writ_model::{EvidenceType, LookedAt, Outcome};
use writ_pipeline::git::CiFacts;
use writ_pipeline::plan::PlanRequest;

use crate::support::{House, only, sarif};

const COUNT: &str = "looked_at = { from = \"stdout\", regex = 'scanned (\\d+)', what = \"files\" }";

fn script(results: usize) -> String {
    let code = if results > 0 { 42 } else { 0 };
    format!(
        "cat > \"$1\" <<'X'\n{}\nX\necho scanned 2; exit {code}",
        sarif(results)
    )
}

async fn outcome(script: &str, mode: &str) -> (Outcome, String) {
    let mut house = House::new();
    house.tool("fake", script, mode);
    house.stages("[stage.scan]\nuses = \"fake\"\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "scan");
    assert_eq!(
        result.exit_code(),
        if evidence.outcome == Outcome::Completed {
            0
        } else {
            3
        }
    );
    (
        evidence.outcome,
        evidence.reason.clone().unwrap_or_default(),
    )
}

#[tokio::test]
async fn an_honest_tool_completes_with_and_without_findings() {
    assert_eq!(outcome(&script(0), COUNT).await.0, Outcome::Completed);
    assert_eq!(outcome(&script(2), COUNT).await.0, Outcome::Completed);
}

#[tokio::test]
async fn findings_are_counted_and_kept() {
    let mut house = House::new();
    house.tool("fake", &script(2), COUNT);
    house.stages("[stage.scan]\nuses = \"fake\"\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "scan");
    assert_eq!(
        (evidence.counts.high, evidence.looked_at.as_slice()),
        (2, &[LookedAt::new("files", 2)][..])
    );
    assert_eq!(evidence.tool.version, "1.0.0");
    let findings = evidence.findings.as_ref().unwrap();
    let list = writ_pipeline::ingest::read_findings(findings.path.as_ref().unwrap(), 10).unwrap();
    assert_eq!(list.len(), 2);
    assert!(evidence.report.is_some());
    // Nothing of this machine is in the recorded command.
    assert_eq!(evidence.argv, ["{bin}", "{report}"]);
    let head = house
        .context(CiFacts::default())
        .unwrap()
        .facts
        .head
        .unwrap();
    assert_eq!(
        evidence.subject.commit.as_deref(),
        Some(head.commit.as_str())
    );
}

#[tokio::test]
async fn tools_that_misbehave_never_complete() {
    for (script, mode, expected, words) in [
        ("exit 3".to_owned(), COUNT, Outcome::Failed, "exit code 3"),
        (
            "echo boom >&2; kill -SEGV $$".to_owned(),
            COUNT,
            Outcome::Failed,
            "signal 11",
        ),
        (
            "echo scanned 2".to_owned(),
            COUNT,
            Outcome::Failed,
            "wrote no report",
        ),
        (
            "echo '{\"version\":\"2.1.0\",\"runs\":[' > \"$1\"; echo scanned 2".to_owned(),
            COUNT,
            Outcome::Failed,
            "cannot be read",
        ),
        (
            "echo hello > \"$1\"; echo scanned 2".to_owned(),
            COUNT,
            Outcome::Failed,
            "cannot be read",
        ),
        (
            script(0).replace("scanned 2", "scanned 0"),
            COUNT,
            Outcome::Empty,
            "0 files",
        ),
        (
            script(0).replace("scanned 2", "bye"),
            COUNT,
            Outcome::Empty,
            "does not say",
        ),
        (
            script(0).replace("exit 0", "exit 42"),
            COUNT,
            Outcome::Failed,
            "no finding",
        ),
        (
            format!("echo 'ERROR: cannot open' >&2\n{}", script(0)),
            &format!("{COUNT}\nerrors_as = ['ERROR']"),
            Outcome::Failed,
            "cannot open",
        ),
        (
            "trap '' TERM; sleep 60 & sleep 60".to_owned(),
            &format!("{COUNT}\ntimeout = \"1s\""),
            Outcome::TimedOut,
            "stopped after 1 s",
        ),
    ] {
        let (got, reason) = outcome(&script, mode).await;
        assert_eq!(got, expected, "{script}: {reason}");
        assert!(reason.contains(words), "{script}: {reason}");
    }
}

#[tokio::test]
async fn a_flood_is_capped_and_a_left_behind_child_does_not_hold_the_stage() {
    let flood = format!(
        "head -c 30000000 /dev/zero | tr '\\0' 'x'\nsleep 1000 &\n{}",
        script(0)
    );
    assert_eq!(outcome(&flood, COUNT).await.0, Outcome::Completed);
}

#[tokio::test]
async fn an_absent_tool_is_not_run_with_the_remedy() {
    let house = House::new();
    house.stages("[stage.scan]\nuses = \"tfsec\"\n");
    house.write("main.tf", "# nothing\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "scan");
    assert_eq!(evidence.outcome, Outcome::NotRun);
    assert!(
        evidence
            .reason
            .as_ref()
            .unwrap()
            .contains("writ tool install tfsec"),
        "{:?}",
        evidence.reason
    );
    assert_eq!(result.exit_code(), 3);
}

#[tokio::test]
async fn an_unchanged_tree_is_served_from_the_cache_with_its_own_time() {
    let mut house = House::new();
    house.tool(
        "fake",
        &script(1),
        &format!("{COUNT}\ninputs = [\"tree:**/*.py\"]"),
    );
    house.tool(
        "other",
        &script(0),
        &format!("{COUNT}\ninputs = [\"tree:**/*.tf\"]"),
    );
    house.stages("[stage.code]\nuses = \"fake\"\n[stage.infra]\nuses = \"other\"\n");
    house.write("a.py", "x = 1\n");
    house.write("main.tf", "# x\n");
    house.commit();
    let first = house.run().await;
    let second = house.run().await;
    for stage in ["code", "infra"] {
        let (before, after) = (only(&first, stage), only(&second, stage));
        assert!(after.cached_from.is_some() && before.cached_from.is_none());
        assert_eq!(before.observed_at, after.observed_at);
        assert_eq!(before.counts, after.counts);
    }
    // One touched file: only the stage that reads it runs again.
    house.write("a.py", "x = 2\n");
    house.commit();
    let third = house.run().await;
    assert!(only(&third, "code").cached_from.is_none());
    assert!(only(&third, "infra").cached_from.is_some());
    assert_ne!(
        only(&third, "infra").subject.commit,
        only(&first, "infra").subject.commit
    );
    // A cached result names the evidence that did the work, not a link of a chain.
    let origin = second
        .evidence
        .iter()
        .find(|(_, e)| e.stage == "infra")
        .unwrap()
        .1
        .cached_from;
    assert_eq!(only(&third, "infra").cached_from, origin);
}

#[tokio::test]
async fn a_dirty_tree_claims_no_commit_and_shares_no_cache() {
    let mut house = House::new();
    house.tool(
        "fake",
        &script(0),
        &format!("{COUNT}\ninputs = [\"tree:**/*.py\"]"),
    );
    house.stages("[stage.code]\nuses = \"fake\"\n");
    house.write("a.py", "x = 1\n");
    house.commit();
    house.run().await;
    house.write("untracked.txt", "x");
    let result = house.run().await;
    let evidence = only(&result, "code");
    assert!(evidence.dirty && evidence.subject.commit.is_none() && evidence.subject.tree.is_none());
    assert!(evidence.cached_from.is_none());
    assert_eq!(result.run.dirty_files, ["untracked.txt"]);
}

#[tokio::test]
async fn a_program_leaves_tests_coverage_and_an_image() {
    let house = House::new();
    let digest = writ_model::Digest::of(b"image");
    house.write("build.sh", &format!("mkdir -p out\necho '<testsuite tests=\"2\"><testcase name=\"a\"/><testcase name=\"b\"/></testsuite>' > out/junit.xml\nprintf 'SF:a.py\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' > out/lcov.info\necho {digest} > out/image.digest\n"));
    house.write(".gitignore", "out\n");
    house.stages("[stage.test]\nrun = [\"sh\", \"build.sh\"]\nproduces = { junit = \"out/junit.xml\", coverage = \"out/lcov.info\", image = \"out/image.digest\" }\n");
    house.commit();
    let result = house.run().await;
    assert_eq!(result.exit_code(), 0, "{:?}", result.stages);
    let of = |kind: EvidenceType| {
        &result
            .evidence
            .iter()
            .find(|(_, e)| e.evidence_type == kind)
            .unwrap()
            .1
    };
    assert_eq!(of(EvidenceType::UnitTest).tests.unwrap().passed, 2);
    assert_eq!(
        of(EvidenceType::Coverage).coverage.unwrap().lines_covered,
        1
    );
    assert_eq!(of(EvidenceType::Provenance).subject.artifact, Some(digest));
    assert_eq!(result.run.executed[0].path, "build.sh");
    // Served again while the files are the same, run again when one is gone.
    let again = house.run().await;
    assert!(again.stages[0].cached, "{:?}", again.stages);
    std::fs::remove_file(house.root().join("out/junit.xml")).unwrap();
    assert!(!house.run().await.stages[0].cached);
}

#[tokio::test]
async fn failing_tests_are_evidence_and_a_stale_report_is_not() {
    let house = House::new();
    house.write("t.sh", "echo '<testsuite><testcase name=\"a\"><failure message=\"x\"/></testcase></testsuite>' > junit.xml; exit 1\n");
    house.write(".gitignore", "junit.xml\n");
    house.stages("[stage.test]\nrun = [\"sh\", \"t.sh\"]\nproduces = { junit = \"junit.xml\" }\n[stage.after]\nrun = [\"true\"]\nneeds = [\"test\"]\n");
    house.commit();
    let result = house.run().await;
    let evidence = only(&result, "test");
    assert_eq!(
        (evidence.outcome, evidence.tests.unwrap().failed),
        (Outcome::Completed, 1)
    );
    assert_eq!(result.stages[0].outcome, Some(Outcome::Failed));
    assert_eq!(
        result.stages[1].reason.as_deref(),
        Some("needs test, which did not complete")
    );
    house.write("t.sh", "exit 0\n");
    house.commit();
    let stale = house.run().await;
    let evidence = only(&stale, "test");
    assert_eq!(evidence.outcome, Outcome::Failed);
    assert!(
        evidence.reason.as_ref().unwrap().contains("from before"),
        "{:?}",
        evidence.reason
    );
}

#[tokio::test]
async fn stopping_keeps_what_is_done() {
    let mut house = House::new();
    house.tool("fake", &script(0), COUNT);
    house.stages("[stage.first]\nuses = \"fake\"\n[stage.slow]\nrun = [\"sleep\", \"60\"]\nneeds = [\"first\"]\n[stage.last]\nrun = [\"true\"]\nneeds = [\"slow\"]\n");
    house.commit();
    let cancel = house.cancel.clone();
    let memory = house.memory.clone();
    let stop = tokio::spawn(async move {
        while memory.0.lock().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cancel.cancel();
    });
    let result = house.run().await;
    stop.await.unwrap();
    let states: Vec<Option<Outcome>> = result.stages.iter().map(|s| s.outcome).collect();
    assert_eq!(
        states,
        [
            Some(Outcome::Completed),
            Some(Outcome::Cancelled),
            Some(Outcome::Cancelled)
        ]
    );
    assert_eq!(result.exit_code(), 130);
    assert!(result.run_id.is_some());
}

#[tokio::test]
async fn a_service_beside_a_stage_is_waited_for_and_ended() {
    let house = House::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    house.write("index.html", "hello");
    house.write("ask.py", &format!("import urllib.request\nassert urllib.request.urlopen('http://127.0.0.1:{port}/index.html').read() == b'hello'\n"));
    house.stages(&format!("[stage.dast]\nrun = [\"python3\", \"ask.py\"]\nservice = {{ run = [\"python3\", \"-m\", \"http.server\", \"{port}\", \"--bind\", \"127.0.0.1\"], ready = \"http://127.0.0.1:{port}/index.html\" }}\n"));
    house.commit();
    let result = house.run().await;
    assert_eq!(result.exit_code(), 0, "{:?}", result.stages);
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err(),
        "the service still runs"
    );
}

#[tokio::test]
async fn the_environment_of_a_tool_is_scrubbed() {
    let house = House::new();
    house.write("env.sh", "env > seen.txt\n");
    house.stages(
        "[stage.env]\nrun = [\"sh\", \"env.sh\"]\nenv = { MINE = \"1\", PASSED = \"env:PATH\" }\n",
    );
    house.commit();
    house.run().await;
    let seen = std::fs::read_to_string(house.root().join("seen.txt")).unwrap();
    assert!(
        seen.contains(
            "MINE=1
"
        ) && seen.contains("PASSED=/")
    );
    let allowed = |name: &str| {
        use writ_pipeline::environment::{PASSED, PASSED_NETWORK};
        PASSED.contains(&name)
            || PASSED_NETWORK.contains(&name)
            || ["MINE", "PASSED", "PWD", "OLDPWD", "_", "SHLVL"].contains(&name)
    };
    let leaked: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| std::env::var_os(name).is_some() && !allowed(name))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

#[tokio::test]
async fn repositories_in_odd_states() {
    let house = House::new();
    house.stages("[stage.secrets]\nuses = \"gitleaks\"\n");
    // No commits yet.
    let result = house.run().await;
    assert_eq!(result.stages[0].reason.as_deref(), Some("no commits yet"));
    // Detached.
    house.commit();
    house.git(&["checkout", "--quiet", "--detach"]);
    let facts = house.context(CiFacts::default()).unwrap().facts;
    assert!(facts.head.unwrap().branch.is_none());
    // None at all.
    std::fs::remove_dir_all(house.root().join(".git")).unwrap();
    let error = house.context(CiFacts::default()).err().unwrap().to_string();
    assert!(error.contains("not in a git repository"), "{error}");
}

#[tokio::test]
async fn the_hook_runs_staged_modes_only() {
    let house = House::new();
    house.stages(
        "[stage.secrets]\nuses = \"gitleaks\"\non = [\"commit\"]\n[stage.test]\nrun = [\"true\"]\n",
    );
    house.commit();
    let context = house.context(CiFacts::default()).unwrap();
    let plan = context
        .plan(&PlanRequest {
            staged: true,
            ..PlanRequest::default()
        })
        .unwrap();
    let due: Vec<&str> = plan.due().map(|stage| stage.name.as_str()).collect();
    assert_eq!(due, ["secrets"]);
}
