//! Roles of people whom a provider knows, and accounts of this server that are linked with one.

use serde_json::json;
use writ_model::{Grant, Role};
use writ_registry::directory::{RoleChange, Subject};

use super::guarded::{PASSWORD, Signed as Browser, between};
use super::oidc::{Fixture, lead, location, refusal, session};
use super::provider::Signed;

#[tokio::test]
async fn roles_follow_from_claims_where_the_settings_say_so() {
    let rules = "
        [[roles]]\nclaim = \"groups\"\nvalue = \"devs\"\nrole = \"developer\"\nfor = \"payments\"
        [[roles]]\nclaim = \"groups\"\nvalue = \"audit\"\nrole = \"auditor\"\n";
    let fixture = Fixture::new(rules).await;
    let login = "grace.hopper@corp";
    let cookie = session(&fixture.sign_in(json!({"groups": ["devs", "all"]})).await);
    let developer: Vec<String> = fixture
        .roles(login)
        .await
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(developer, ["developer for payments"]);
    assert_eq!(fixture.get("/changes", &cookie).await.status(), 200);
    // What must not be held together is not given.
    session(&fixture.sign_in(json!({"groups": ["devs", "audit"]})).await);
    assert_eq!(fixture.roles(login).await.len(), 1);
    // What an operator gave besides stays; what the provider no longer says goes.
    let store = &fixture.guarded.server.app.store;
    let id = store.account(login).await.unwrap().id;
    let change = RoleChange {
        principal: &id,
        grant: Grant::everywhere(Role::Reviewer),
        granted: true,
        by: &id,
        bootstrap: false,
    };
    store.change_role(&change).await.unwrap();
    session(&fixture.sign_in(json!({"groups": "none"})).await);
    assert_eq!(
        fixture.roles(login).await,
        [Grant::everywhere(Role::Reviewer)]
    );
    fixture.guarded.server.end().await;
}

#[tokio::test]
async fn an_account_of_this_server_is_linked_by_who_has_its_password() {
    let fixture = Fixture::new("new_people = false\n").await;
    let text = refusal(fixture.sign_in(json!({})).await, 403).await;
    assert!(text.contains("nobody here is linked with you"), "{text}");
    let ada = fixture.guarded.sign_in("ada").await;
    let link = async |who: &Browser, current: &str| {
        let fields = [("provider", "corp"), ("current", current)];
        fixture.guarded.post("/settings/link", who, &fields).await
    };
    assert_eq!(link(&ada, "wrong horse battery").await.status(), 422);
    let forged = Browser {
        cookie: ada.cookie.clone(),
        token: "x".to_owned(),
    };
    assert_eq!(link(&forged, PASSWORD).await.status(), 403);
    let begin = async || {
        let answer = link(&ada, PASSWORD).await;
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        let page = answer.text().await.unwrap();
        let there = between(&page, "class=\"btn primary\" href=\"", "\"").replace("&amp;", "&");
        lead(&there, &cookie)
    };
    // Whoever began it must still be signed in.
    let begun = begin().await;
    let code = fixture.code(&begun, fixture.claims(&begun, "g-1"), Signed::Well);
    let text = refusal(fixture.back(&begun, &code).await, 403).await;
    assert!(text.contains("no longer signed in"), "{text}");
    let begun = begin().await;
    let code = fixture.code(&begun, fixture.claims(&begun, "g-1"), Signed::Well);
    let both = format!("{}; {}", begun.cookie, ada.cookie);
    let answer = fixture.get(&fixture.path(&begun, &code), &both).await;
    assert_eq!(
        (answer.status().as_u16(), location(&answer).as_str()),
        (303, "/settings")
    );
    // The provider now opens the account, with its roles.
    let cookie = session(&fixture.sign_in(json!({})).await);
    let page = fixture
        .get("/settings", &cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("Grace &lt;i&gt;Hopper") && page.contains("Corp &lt;b&gt;"),
        "{page}"
    );
    assert_eq!(fixture.get("/admin/people", &cookie).await.status(), 200);
    let store = &fixture.guarded.server.app.store;
    assert_eq!(store.accounts().await.unwrap().len(), 1);
    // Nobody else becomes ada, and ada nobody else.
    let subject = |subject| Subject {
        issuer: "https://other.example",
        subject,
        name: "",
    };
    let account = store.account("ada").await.unwrap();
    store.link(&account, &subject("1")).await.unwrap();
    store.link(&account, &subject("1")).await.unwrap();
    assert!(store.link(&account, &subject("2")).await.is_err());
    // And back.
    let taken = fixture
        .guarded
        .post("/settings/unlink", &ada, &[("provider", "corp")])
        .await;
    assert_eq!(taken.status(), 303);
    refusal(fixture.sign_in(json!({})).await, 403).await;
    fixture.guarded.server.end().await;
}
