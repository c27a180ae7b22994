use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("writ.toml"))
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

const HEAD: &str = "version = 1\nservice = \"shop\"\n";

#[test]
fn the_ten_stages_parse() {
    let text = r#"
        version = 1
        service = "acme/payments-api"
        profile = "sox-production"
        [controls]
        source = "git+https://git.corp.example/compliance/controls.git"
        ref = "v2026.11"
        [server]
        url = "https://writ.corp.example"
        [artifact]
        image = "registry.corp.example/payments/api"
        [stage.secrets]
        uses = "gitleaks"
        on = ["commit", "change"]
        [stage.test]
        run = ["make", "coverage"]
        produces = { coverage = "target/lcov.info", junit = "target/junit.xml" }
        [stage.dependencies]
        uses = "trivy-fs"
        needs = ["test"]
        timeout = "10m"
        [stage.dast]
        uses = "zap-baseline"
        environment = "staging"
        with = { target = "https://payments.staging.corp.example" }
        service = { run = ["./serve"], ready = "127.0.0.1:8000", timeout = "5s" }
        [environment.staging]
        deploy = ["./deploy.sh", "staging"]
        gate = "block"
        [environment.production]
        after = "staging"
        deploy = ["./deploy.sh", "production"]
        rollback = ["./deploy.sh", "production", "--previous"]
        approvals = { from = "security", count = 1 }
    "#;
    let config = parse(text).unwrap();
    let names: Vec<&str> = config
        .stages_in_order()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        names,
        ["secrets", "test", "dependencies", "dast"],
        "order of the file"
    );
    assert!(config.stage("secrets").unwrap().applies_on(On::Commit));
    assert!(!config.stage("test").unwrap().applies_on(On::Commit));
    assert_eq!(config.environments_in_order()[1].0, "production");
}

#[test]
fn a_misspelt_key_is_shown_with_its_place_and_its_remedy() {
    assert_eq!(
        message(&format!(
            "{HEAD}[stage.a]\nrun = [\"x\"]\n  neds = [\"b\"]\n"
        )),
        "writ.toml:5:3: unknown key `neds`\n  |\n5 |   neds = [\"b\"]\n  |   ^^^^\n  try did you mean `needs`?"
    );
}

#[test]
fn every_mistake_of_the_file_is_listed_in_its_order() {
    let text = format!(
        "{HEAD}[stage.a]\nuses = \"gitleaks\"\nneeds = [\"tset\"]\n[stage.test]\n[stage.b]\nrun = [\"\"]\nenv = {{ T = \"vault:ci/x#y\" }}\n[stage.c]\nrun = [\"x\"]\nenvironment = \"prod\"\n"
    );
    let error = parse(&text).unwrap_err();
    let got: Vec<(usize, &str)> = error
        .mistakes
        .iter()
        .map(|m| (m.line, m.message.as_str()))
        .collect();
    assert_eq!(
        got,
        [
            (5, "unknown stage `tset`"),
            (6, "stage `test` does nothing"),
            (8, "`run` is empty"),
            (9, "Vault references are not available in this version"),
            (12, "unknown environment `prod`"),
        ]
    );
    assert_eq!(
        error.mistakes[0].help.as_deref(),
        Some("did you mean `test`?")
    );
}

#[test]
fn what_is_refused() {
    for (text, expected) in [
        ("service = \"x\"", "missing field"),
        ("version = 2\nservice = \"x\"", "version 2"),
        ("version = 1\nservice = \"\"", "`service` is empty"),
        ("version = 1\nservice = \"a b\"", "is not a service name"),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun = \"make test\"",
            "expected a sequence",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun = []",
            "empty list",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun = [\"x\"]\nneeds=[\"a\"]",
            "waits for itself",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun = [\"x\"]\nneeds=[\"b\"]\n[stage.b]\nrun=[\"x\"]\nneeds=[\"a\"]",
            "wait for each other: a -> b -> a",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nuses = \"x\"\nrun = [\"x\"]",
            "both `uses` and `run`",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nuses = \"x\"\non = [\"comit\"]",
            "unknown value `comit`",
        ),
        (
            "version = 1\nservice = \"x\"\n[environment.a]\nafter = \"b\"\n[environment.b]\nafter = \"a\"",
            "come after each other",
        ),
        ("version = ", "writ.toml:1:"),
        (
            "version = 1\nservice = \"x\"\n[stage.\"a b\"]\nrun=[\"x\"]",
            "is not a name for a stage",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun=[\"x\"]\nenv={ \"1A\" = \"b\" }",
            "not the name of an environment variable",
        ),
        (
            "version = 1\nservice = \"x\"\n[stage.a]\nrun=[\"x\"]\ntimeout=\"0s\"",
            "time limit of nothing",
        ),
    ] {
        let got = message(text);
        assert!(got.contains(expected), "{text}\n=> {got}");
    }
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("writ.toml");
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("there is no such file")
    );
    std::fs::write(&file, b"\xff\xfe").unwrap();
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
    std::fs::write(&file, vec![b'#'; 2 << 20]).unwrap();
    assert!(
        Config::load(&file)
            .unwrap_err()
            .to_string()
            .contains("2097152 bytes")
    );
}

#[test]
fn suggestions_need_to_be_near() {
    assert_eq!(
        did_you_mean("gitleak", ["gitleaks", "trivy"]),
        Some("gitleaks")
    );
    assert_eq!(did_you_mean("xyz", ["gitleaks", "trivy"]), None);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_cut_breaks_the_parser(at in 0_usize..400) {
        let whole = format!("{HEAD}[stage.ä]\nuses = \"gitleaks\"\nneeds = [\"ö\"]\n[stage.\"ö\"]\nrun = [\"é\", \"\"]\n");
        let cut: String = whole.chars().take(at).collect();
        let _ = parse(&cut).map_err(|error| error.to_string());
    }
}

const HAPROXY: &str = r#"
[environment.production.deploy]
driver = "haproxy"
start = ["systemctl", "start", "shop@{slot}"]
stop = ["systemctl", "stop", "shop@{slot}"]
slots = { blue = "127.0.0.1:8001", green = "127.0.0.1:8002" }
socket = "/run/haproxy/admin.sock"
backend = "shop"
health = "http://{address}/healthz"
bake = "2m"
share = 10
max_failed_percent = 0.5
prometheus = { url = "http://127.0.0.1:9090", query = "up", max = 1 }
"#;

#[test]
fn a_deployment_is_a_program_or_a_driver() {
    let config = parse(&format!("{HEAD}{HAPROXY}")).unwrap();
    let environments = config.environments_in_order();
    let Some(Deploy::Driver(driver)) = &environments[0].1.deploy else {
        panic!("{:?}", environments[0].1.deploy);
    };
    assert_eq!(*driver.driver.get_ref(), Driver::Haproxy);
    assert_eq!(driver.slots.len(), 2);
    let short = format!("{HEAD}[environment.local]\ndeploy = [\"./deploy.sh\", \"{{digest}}\"]\n");
    let config = parse(&short).unwrap();
    let deploy = &config.environments_in_order()[0].1.deploy;
    assert!(matches!(deploy, Some(Deploy::Argv(words)) if words.len() == 2));
    let wrong = message(&format!("{HEAD}[environment.local]\ndeploy = 3\n"));
    assert!(wrong.contains("a table with `driver`"), "{wrong}");
}

#[test]
fn mistakes_in_a_deployment_have_a_place() {
    for (from, to, place, words) in [
        (
            "shop@{slot}\"]\nstop",
            "shop@{slott}\"]\nstop",
            "6:32",
            "{slott} is not a placeholder",
        ),
        (
            "driver = \"haproxy\"",
            "driver = \"nginx\"",
            "5:10",
            "unknown value `nginx`",
        ),
        (
            "socket = \"/run/haproxy/admin.sock\"\n",
            "",
            "5:10",
            "needs `socket`",
        ),
        (
            "backend = \"shop\"",
            "backnd = \"shop\"",
            "10:1",
            "did you mean `backend`?",
        ),
        ("share = 10", "share = 0", "13:9", "1 to 100, not 0"),
        (
            "max_failed_percent = 0.5",
            "max_failed_percent = 200.0",
            "14:22",
            "0 to 100",
        ),
        (
            "127.0.0.1:8002",
            "127.0.0.1:8001",
            "8:44",
            "both slots have the same address",
        ),
        ("127.0.0.1:8002", "8002", "8:44", "`8002` is not an address"),
        (", green = \"127.0.0.1:8002\"", "", "5:10", "needs `slots`"),
        (
            "health = ",
            "admin = \"http://127.0.0.1:2019\"\nhealth = ",
            "11:9",
            "has no `admin`",
        ),
        (
            "health = \"http://{address}/healthz\"\n",
            "",
            "5:10",
            "needs `health`",
        ),
    ] {
        let text = format!("{HEAD}{HAPROXY}");
        assert!(text.contains(from), "{from}");
        let wrong = message(&text.replace(from, to));
        assert!(
            wrong.contains(&format!("writ.toml:{place}: ")),
            "{to}: {wrong}"
        );
        assert!(wrong.contains(words), "{to}: {wrong}");
    }
}
