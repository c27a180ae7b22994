//! The rules of the settings.

use std::path::Path;

use crate::config::Config;

fn parse(change: &[(&str, &str)]) -> Result<Config, String> {
    let mut text = r#"
[[workload]]
name = "payments"
kind = "gitlab"
issuer = "https://gitlab.example"
audience = "https://writ.example"
services = ["payments-api"]
claims = { project_path = "shop/payments" }
"#
    .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Config::parse(Path::new("server.toml"), &text).map_err(|error| error.to_string())
}

#[test]
fn a_rule_needs_little_and_is_strict_by_default() {
    let config = parse(&[]).unwrap();
    let rule = &config.workload[0];
    assert!(rule.protected_only && !rule.allow_loopback);
    assert_eq!(rule.algorithms, [super::Algorithm::RS256]);
    assert_eq!(
        (rule.max_lifetime_seconds, rule.grace_seconds),
        (7_200, 300)
    );
}

#[test]
fn what_could_let_in_too_much_is_refused() {
    let mut told = String::new();
    for change in [
        ("project_path = \"shop/payments\"", ""),
        (
            "project_path = \"shop/payments\"",
            "project_path = \"shop/*\"",
        ),
        ("project_path = \"shop/payments\"", "project_path = []"),
        (
            "project_path = \"shop/payments\"",
            "project_path = \"x\", project = \"y\"",
        ),
        (
            "project_path = \"shop/payments\"",
            "project_path = \"x\", ref_protected = \"false\"",
        ),
        (
            "project_path = \"shop/payments\"",
            "project_path = \"x\", user_email = \"a@b\"",
        ),
        ("\"https://gitlab.example\"", "\"http://gitlab.example\""),
        ("\"https://gitlab.example\"", "\"gitlab.example\""),
        ("\"https://writ.example\"", "\"\""),
        ("[\"payments-api\"]", "[]"),
        ("[\"payments-api\"]", "[\"a\", \"a\"]"),
        ("[\"payments-api\"]", "[\"a\"]\nalgorithms = []"),
        ("[\"payments-api\"]", "[\"a\"]\nalgorithms = [\"HS256\"]"),
        ("[\"payments-api\"]", "[\"a\"]\nalgorithms = [\"none\"]"),
        (
            "[\"payments-api\"]",
            "[\"a\"]\nmax_lifetime_seconds = 864000",
        ),
        ("[\"payments-api\"]", "[\"a\"]\ngrace_seconds = 86400"),
        ("[\"payments-api\"]", "[\"a\"]\nroles = [\"operator\"]"),
        ("\"payments\"\n", "\"two words\"\n"),
    ] {
        let error = parse(&[change]).unwrap_err();
        let told_of: Vec<&str> = error.lines().collect();
        told.push_str(&format!(
            "{}\n    {}\n",
            change.1.replace('\n', "; "),
            told_of.join("\n    ")
        ));
    }
    insta::assert_snapshot!(told);
}
