use super::*;

fn settings(more: &str) -> OidcSettings {
    let text = format!(
        "key = \"corp\"\nname = \"Corp\"\nissuer = \"https://id.example/realm\"\nclient_id = \"writ\"\n{more}"
    );
    toml::from_str(&text).unwrap()
}

#[test]
fn a_document_leads_nowhere_that_was_not_named() {
    let options = ClientOptions::default();
    let at = |settings: &OidcSettings, address: &str| {
        endpoint(settings, &options, "https://id.example", address)
            .map(|endpoint| format!("{} {}", endpoint.client.address(), endpoint.path))
    };
    let plain = settings("");
    assert_eq!(
        at(&plain, "https://id.example/token?tenant=a").unwrap(),
        "https://id.example token?tenant=a"
    );
    for bad in [
        "https://id.example:8443/token",
        "http://id.example/token",
        "https://id.example.evil.example/token",
        "https://id.example@evil.example/token",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9/token",
        "file:///etc/passwd",
        "https://id.example/token#x",
        "/token",
        "",
    ] {
        assert!(at(&plain, bad).is_err(), "{bad}");
    }
    let more = settings("origins = [\"https://www.example\"]\n");
    assert!(at(&more, "https://www.example/token").is_ok());
    assert!(at(&more, "https://www.example:444/token").is_err());
    // What is listed is still no place where a cloud keeps its machine's credentials.
    let worse = settings("origins = [\"https://169.254.169.254\"]\n");
    assert!(at(&worse, "https://169.254.169.254/token").is_err());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    assert_eq!(settings("").check(), Ok(()));
    for (more, key) in [
        ("scopes = [\"profile\"]\n", "oidc.scopes"),
        ("algorithms = []\n", "oidc.algorithms"),
        ("timeout_seconds = 0\n", "oidc.timeout_seconds"),
        (
            "[[roles]]\nclaim = \"groups\"\nvalue = \"x\"\nrole = \"service\"\n",
            "oidc.roles",
        ),
    ] {
        assert_eq!(settings(more).check().unwrap_err().0, key);
    }
    for (key, word) in [("Corp", "oidc.key"), ("", "oidc.key"), ("a/b", "oidc.key")] {
        let mut bad = settings("");
        key.clone_into(&mut bad.key);
        assert_eq!(bad.check().unwrap_err().0, word);
    }
    let unknown = "key = \"a\"\nname = \"A\"\nissuer = \"https://a\"\nclient_id = \"w\"\nalgorithms = [\"HS256\"]\n";
    assert!(toml::from_str::<OidcSettings>(unknown).is_err());
    let file = settings("client_secret_file = \"/nowhere/secret\"\n");
    assert_eq!(
        Provider::new(&file).unwrap_err().0,
        "oidc.client_secret_file"
    );
    let origins = settings("origins = [\"https://www.example/path\"]\n");
    assert_eq!(Provider::new(&origins).unwrap_err().0, "oidc.origins");
    let mut http = settings("");
    "http://127.0.0.1:1".clone_into(&mut http.issuer);
    assert_eq!(Provider::new(&http).unwrap_err().0, "oidc.issuer");
}
