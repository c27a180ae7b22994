//! What the shipped controls make of deliveries: nothing else tells the server about the change.

use reqwest::Method;
use serde_json::{Value, json};
use writ_evidence::canonical;
use writ_evidence::predicate::Actor;
use writ_model::{Assurance, PrincipalId};
use writ_registry::NewRecord;
use writ_registry::directory::Alias;
use writ_registry::directory::identity::{BindingChange, Owner};

use super::Server;
use super::hooks::{MERGE, falco, fresh, github, gitlab, sample, server, signed};

/// A run of this commit by somebody, as CI hands it in.
async fn run(server: &Server, commit: &str) {
    let payload = canonical::to_vec(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "payments", "digest": {"gitCommit": commit}}],
        "predicateType": "urn:writ:predicate:run:v1",
        "predicate": {
            "runId": format!("payments-{}", &commit[..8]), "service": "payments", "stages": [],
            "inventory": {"files": 3, "languages": {"rust": 3}},
            "range": {"head": commit, "count": 1}, "authors": ["p_somebody"],
            "shallow": false, "dirty": false, "interrupted": false,
            "startedAt": "2026-01-20T10:00:00Z", "finishedAt": "2026-01-20T10:05:00Z",
            "observedAt": "2026-01-20T10:05:00Z", "origin": "observed", "producerClass": "ci-protected",
        },
    }))
    .unwrap();
    server
        .app
        .store
        .record(NewRecord::payload(payload))
        .await
        .unwrap();
}

/// Says whose accounts these are.
async fn bind(server: &Server, owner: &str, accounts: &[&str]) {
    let store = &server.app.store;
    let by = Actor {
        principal: server.app.operator.id.clone(),
        role: None,
        assurance: Assurance::LocalUser,
        assertion: None,
    };
    let owner = Owner {
        id: store.owner_id(owner, false).unwrap(),
        machine: false,
    };
    let account = |name: &&str| match name.strip_prefix("p_") {
        Some(_) => PrincipalId((*name).to_owned()),
        None => store.alias_id(&Alias::parse(name).unwrap()).unwrap(),
    };
    let changes = accounts.iter().map(|name| BindingChange::Account {
        account: account(name),
        owner: Some(owner.clone()),
    });
    let proposed = store
        .propose_bindings(changes.collect(), &by)
        .await
        .unwrap();
    assert!(
        proposed.bootstrap,
        "there is nobody yet who could approve it"
    );
}

/// The states of these controls for the release of a commit.
async fn states(
    server: &Server,
    commit: &str,
    environment: &str,
    controls: &[&str],
) -> Vec<String> {
    let question = json!({"service": "payments", "environment": environment, "profile": "soc2", "commit": commit});
    let answer = server
        .request(Method::POST, "/api/v1/decisions")
        .json(&question)
        .send()
        .await
        .unwrap();
    let document: Value = answer.json().await.unwrap();
    let decision = &document;
    let checks = ["checks", "later"]
        .iter()
        .filter_map(|name| decision[name].as_array())
        .flatten();
    let checks: Vec<&Value> = checks.collect();
    let state = |control: &&str| {
        let check = checks.iter().find(|check| check["control"] == **control);
        let check = check.unwrap_or_else(|| panic!("{control} is not among {document}"));
        check["state"].as_str().unwrap().to_owned()
    };
    controls.iter().map(state).collect()
}

#[tokio::test]
async fn deliveries_alone_make_the_controls_of_a_change_pass() {
    const CONTROLS: [&str; 3] = ["CHG-01", "CHG-02", "PIP-03"];
    let server = server().await;
    run(&server, MERGE).await;
    bind(&server, "somebody", &["p_somebody"]).await;
    let states = async || states(&server, MERGE, "production", &CONTROLS).await;
    assert_eq!(states().await, ["missing", "missing", "missing"]);

    github(&server, &fresh(), "push", &sample!("github-push")).await;
    // The push is there, and nobody asked for it.
    assert_eq!(states().await[..2], ["missing", "waiting"]);
    github(
        &server,
        &fresh(),
        "pull_request",
        &sample!("github-pull-request-merged"),
    )
    .await;
    assert_eq!(states().await[..2], ["waiting", "waiting"]);
    let approved = sample!("github-review-approved");
    github(&server, &fresh(), "pull_request_review", &approved).await;
    // Whose account it is nobody said yet; then it is somebody else's than the author's.
    assert_eq!(states().await[..2], ["pass", "error"]);
    bind(&server, "grace", &["github:octo-rev"]).await;
    assert_eq!(states().await[..2], ["pass", "pass"]);

    let mut ruleset = sample!("github-ruleset-edited");
    ruleset["repository_ruleset"]["updated_at"] = json!(server.app.store.now());
    github(&server, &fresh(), "repository_ruleset", &ruleset).await;
    assert_eq!(states().await, ["pass", "pass", "pass"]);
    // Somebody takes the protection away.
    ruleset["repository_ruleset"]["enforcement"] = json!("disabled");
    ruleset["repository_ruleset"]["updated_at"] = json!(server.app.store.now());
    github(&server, &fresh(), "repository_ruleset", &ruleset).await;
    assert_eq!(states().await[2], "fail");

    // Another reviewer asks for changes, and the approval is taken back.
    let mut objection = approved.clone();
    objection["review"]["user"] = json!({"login": "octo-other", "type": "User"});
    objection["review"]["state"] = json!("changes_requested");
    objection["review"]["submitted_at"] = json!("2026-01-20T13:00:00Z");
    github(&server, &fresh(), "pull_request_review", &objection).await;
    assert_eq!(states().await[..2], ["pass", "fail"]);
    github(
        &server,
        &fresh(),
        "pull_request_review",
        &sample!("github-review-dismissed"),
    )
    .await;
    objection["action"] = json!("dismissed");
    objection["review"]["state"] = json!("dismissed");
    github(&server, &fresh(), "pull_request_review", &objection).await;
    assert_eq!(states().await[..2], ["waiting", "waiting"]);
    server.end().await;
}

#[tokio::test]
async fn gitlab_makes_them_pass_too() {
    let server = server().await;
    run(&server, MERGE).await;
    bind(
        &server,
        "somebody",
        &["p_somebody", "mail:dev@acme.example"],
    )
    .await;
    bind(&server, "grace", &["gitlab:grace"]).await;
    for body in [
        sample!("gitlab-merge-request-open"),
        sample!("gitlab-merge-request-merged"),
        sample!("gitlab-push"),
        sample!("gitlab-merge-request-approved"),
    ] {
        // The push may tell nothing that the merge request did not.
        let (status, answer) = gitlab(&server, &fresh(), &body).await;
        assert!(matches!(status, 200 | 201), "{answer}");
    }
    assert_eq!(
        states(&server, MERGE, "production", &["CHG-01", "CHG-02"]).await,
        ["pass", "pass"]
    );
    server.end().await;
}

#[tokio::test]
async fn falco_opens_alerts_and_shows_that_it_is_alive() {
    let server = server().await;
    run(&server, MERGE).await;
    let state = async || {
        states(&server, MERGE, "production", &["RUN-01"])
            .await
            .remove(0)
    };
    assert_eq!(state().await, "missing");
    let now = server.app.store.now();
    let mut beat = sample!("falco-heartbeat");
    beat["time"] = json!(now);
    assert_eq!(falco(&server, &beat).await.0, 201);
    assert_eq!(state().await, "pass");
    // A beat so soon is not recorded, and an older one never.
    beat["output_fields"]["falco.num_evts"] = json!(1);
    assert_eq!(falco(&server, &beat).await.1["result"], "unchanged");

    let mut alert = sample!("falco-alert");
    let (status, answer) = falco(&server, &alert).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(state().await, "fail");
    server.app.refresh_head().await.unwrap();
    let (_, list) = server
        .json("/api/v1/evidence?type=runtime-alert&environment=production")
        .await;
    let facts = &list["items"][0]["facts"];
    assert_eq!(
        facts["summary"],
        "Terminal shell in container in payments/api-7d9f (registry.example/payments)"
    );
    assert_eq!(
        (&facts["severity"], &list["items"][0]["service"]),
        (&json!("critical"), &json!("payments"))
    );
    // It fires again: it is open once.
    alert["time"] = json!("2026-01-20T11:01:00Z");
    assert_eq!(falco(&server, &alert).await.1["result"], "unchanged");
    alert["priority"] = json!("Notice");
    assert_eq!(falco(&server, &alert).await.0, 202);

    // Somebody's incident system resolves it.
    let resolved = json!({
        "specversion": "1.0", "id": "e", "source": "/incidents", "type": "writ.alert.v1", "time": now,
        "data": {"source": "falco", "alert": facts["alert"], "rule": facts["rule"], "service": "payments",
                 "severity": "critical", "state": "resolved"},
    });
    let structured = ("application/cloudevents+json", None);
    let (status, answer) = signed(&server, "cloudevents", &fresh(), 0, structured, &resolved).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(state().await, "pass");
    // An alert from before does not open it again; a new one does.
    alert["priority"] = json!("Critical");
    alert["time"] = json!("2026-01-20T11:02:00Z");
    assert_eq!(falco(&server, &alert).await.1["result"], "unchanged");
    assert_eq!(state().await, "pass");
    alert["time"] = json!(server.app.store.now());
    assert_eq!(falco(&server, &alert).await.0, 201);
    assert_eq!(state().await, "fail");
    server.end().await;
}
