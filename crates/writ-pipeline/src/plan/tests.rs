use std::path::Path;

use super::*;

fn catalogue() -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let adapter = |name: &str, default: &str, modes: &str| {
        let text = format!(
            "name = \"{name}\"\ndefault = \"{default}\"\ntitle = \"T\"\nevidence = [\"sast\"]\n[find]\nbinaries = [\"{name}\"]\nversion = {{ argv = [\"{{bin}}\"], regex = '(.*)' }}\n{modes}"
        );
        std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
    };
    adapter(
        "leaks",
        "history",
        "[mode.history]\nargv = [\"{bin}\"]\nreport = { path = \"x\" }\ninputs = [\"git:range\"]\n[mode.staged]\nargv = [\"{bin}\"]\nreport = { path = \"x\" }\ninputs = [\"git:index\"]\n",
    );
    adapter(
        "lint",
        "file",
        "[mode.file]\nargv = [\"{bin}\"]\nreport = { path = \"x\" }\ninputs = [\"tree:**/Dockerfile*\"]\n",
    );
    adapter(
        "scan",
        "fs",
        "[mode.fs]\nargv = [\"{bin}\"]\nreport = { path = \"x\" }\ninputs = [\"tree:**\"]\n[mode.image]\nargv = [\"{bin}\"]\nreport = { path = \"x\" }\ninputs = [\"image\"]\nweight = 2\n",
    );
    let mut catalogue = Catalogue::default();
    catalogue.add_folder(folder.path()).unwrap();
    catalogue
}

fn config(stages: &str) -> Config {
    Config::parse(
        &format!("version = 1\nservice = \"x\"\n{stages}"),
        Path::new("writ.toml"),
    )
    .unwrap()
}

fn show(config: &Config, files: &[&str], request: &PlanRequest) -> Vec<String> {
    let files: Vec<FileEntry> = files
        .iter()
        .map(|path| FileEntry {
            path: (*path).into(),
            id: String::new(),
        })
        .collect();
    let inventory = Inventory::take(&files, Path::new("/nowhere"));
    let facts = PlanFacts {
        inventory: &inventory,
        files: &files,
        has_commit: true,
    };
    plan(config, &catalogue(), facts, request)
        .unwrap()
        .stages
        .iter()
        .map(|stage| {
            let mode = match &stage.action {
                Action::Tool { mode, .. } => mode.as_str(),
                Action::Run => "run",
            };
            format!(
                "{} {mode} [{}] {}",
                stage.name,
                stage.needs.join(" "),
                stage.skip.as_deref().unwrap_or("due")
            )
        })
        .collect()
}

const STAGES: &str = "[stage.secrets]\nuses = \"leaks\"\non = [\"commit\", \"change\"]\n[stage.lint]\nuses = \"lint\"\n[stage.image]\nrun = [\"./build\"]\nneeds = [\"lint\"]\nproduces = { image = \"i\" }\n[stage.container]\nuses = \"scan-image\"\n[stage.dast]\nuses = \"scan\"\nenvironment = \"staging\"\n[environment.staging]\n";

#[test]
fn what_needs_an_image_waits_for_the_stage_that_makes_it() {
    assert_eq!(
        show(&config(STAGES), &["Dockerfile"], &PlanRequest::default()),
        [
            "secrets history [] due",
            "lint file [] due",
            "image run [lint] due",
            "container image [image] due",
            "dast fs [] waits for staging",
        ]
    );
}

#[test]
fn reasons_spread_to_those_who_wait() {
    assert_eq!(
        show(&config(STAGES), &["main.py"], &PlanRequest::default())[1..4],
        [
            "lint file [] no Dockerfile",
            "image run [lint] needs lint: no Dockerfile",
            "container image [image] needs image: needs lint: no Dockerfile",
        ]
    );
}

#[test]
fn the_hook_runs_only_what_can_look_at_the_staged() {
    let request = PlanRequest {
        staged: true,
        ..PlanRequest::default()
    };
    let got = show(&config(STAGES), &["Dockerfile"], &request);
    assert_eq!(got[0], "secrets staged [] due");
    assert!(got[1].ends_with("looks at more than what is staged"));
}

#[test]
fn a_named_stage_brings_what_it_needs() {
    let request = PlanRequest {
        stages: vec!["container".into()],
        ..PlanRequest::default()
    };
    let names: Vec<String> = show(&config(STAGES), &["Dockerfile"], &request)
        .iter()
        .map(|l| l.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["lint", "image", "container"]);
}

#[test]
fn an_environment_brings_its_stages() {
    let request = PlanRequest {
        environment: Some("staging".into()),
        ..PlanRequest::default()
    };
    assert_eq!(show(&config(STAGES), &["a"], &request)[4], "dast fs [] due");
}

#[test]
fn unknown_names_are_refused_with_a_suggestion() {
    let files = Vec::new();
    let inventory = Inventory::default();
    let facts = PlanFacts {
        inventory: &inventory,
        files: &files,
        has_commit: true,
    };
    let text = |stages: &str, request: PlanRequest| {
        plan(&config(stages), &catalogue(), facts, &request)
            .unwrap_err()
            .to_string()
    };
    let named = |name: &str| PlanRequest {
        stages: vec![name.into()],
        ..PlanRequest::default()
    };
    assert!(text(STAGES, named("secret")).contains("did you mean `secrets`?"));
    assert!(
        text("[stage.a]\nuses = \"leak\"\n", PlanRequest::default())
            .contains("did you mean `leaks`?")
    );
    assert!(
        text(
            "[stage.a]\nuses = \"scan\"\nwith = { mode = \"x\" }\n",
            PlanRequest::default()
        )
        .contains("it has fs, image")
    );
    let environment = PlanRequest {
        environment: Some("stagin".into()),
        ..PlanRequest::default()
    };
    assert!(text(STAGES, environment).contains("did you mean `staging`?"));
}
