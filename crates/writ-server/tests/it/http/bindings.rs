//! Who is whom, over HTTP: lists, proposals, and the second person.

use reqwest::{Method, Response};
use serde_json::Value;
use writ_model::Role;

use super::guarded::{Guarded, Signed, between};

const LIST: &str = r#"{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 2,
  "Resources": [
    {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "u-1", "userName": "ada",
     "displayName": "<script>alert(1)</script>", "emails": [{"value": "Ada@Example.org"}]},
    {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "g-1", "displayName": "security",
     "members": [{"value": "u-1"}]}]}"#;

async fn send(guarded: &Guarded, who: &Signed, query: &str, kind: &str, body: &str) -> Response {
    guarded
        .server
        .request(Method::POST, &format!("/api/v1/people/import{query}"))
        .header("cookie", &who.cookie)
        .header("x-writ-form-token", &who.token)
        .header("content-type", kind)
        .body(body.to_owned())
        .send()
        .await
        .unwrap()
}

async fn json(answer: Response) -> Value {
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_list_waits_for_a_second_person() {
    let people = [
        ("ada", Role::Operator),
        ("cleo", Role::Compliance),
        ("dev", Role::Developer),
    ];
    let guarded = Guarded::new(&people, |_| {}).await;
    let ada = guarded.sign_in("ada").await;
    let cleo = guarded.sign_in("cleo").await;
    let dev = guarded.sign_in("dev").await;
    let scim = "application/scim+json";

    for who in [&cleo, &dev] {
        let refused = send(&guarded, who, "", scim, LIST).await;
        assert_eq!(refused.status(), 403);
    }
    assert_eq!(
        guarded.get("/admin/people", &dev.cookie).await.status(),
        403
    );
    assert_eq!(
        send(&guarded, &ada, "", "text/html", LIST).await.status(),
        415
    );
    let wrong = LIST.replace("\"totalResults\": 2", "\"totalResults\": 9");
    let refused = send(&guarded, &ada, "", scim, &wrong).await;
    assert_eq!(refused.status(), 400);
    let refused = json(refused).await;
    assert_eq!(refused["found"][0], "totalResults");

    let dry = json(send(&guarded, &ada, "?dryRun=true", scim, LIST).await).await;
    assert_eq!(
        (&dry["dryRun"], &dry["counts"]["bindings"]),
        (&true.into(), &3.into())
    );
    let done = json(send(&guarded, &ada, "", scim, LIST).await).await;
    assert_eq!(done["proposed"]["bootstrap"], false, "{done}");
    let digest = done["proposed"]["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
    let again = json(send(&guarded, &ada, "", scim, LIST).await).await;
    assert!(again["proposed"].is_null() && again["differences"] == Value::Array(Vec::new()));

    // The proposer's buttons say why they are off; names are text.
    let page = guarded
        .get("/admin/people", &ada.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("who proposed it does not answer it"),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"));
    let yes = [("proposal", digest.as_str()), ("answer", "approve")];
    let own = guarded.post("/admin/people/answer", &ada, &yes).await;
    assert_eq!(own.status(), 422);
    let no_reason = [
        ("proposal", digest.as_str()),
        ("answer", "reject"),
        ("reason", " "),
    ];
    assert_eq!(
        guarded
            .post("/admin/people/answer", &cleo, &no_reason)
            .await
            .status(),
        422
    );
    assert_eq!(
        guarded
            .post("/admin/people/answer", &dev, &yes)
            .await
            .status(),
        403
    );
    let page = guarded
        .get("/admin/people", &cleo.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(
        !page.contains("does not answer it") && page.contains("Approve"),
        "{page}"
    );
    assert!(
        !page.contains("action=\"/admin/people/role\""),
        "accounts are the operator's"
    );
    let done = guarded.post("/admin/people/answer", &cleo, &yes).await;
    assert_eq!(done.status(), 303);
    let page = guarded
        .get("/admin/people", &cleo.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert!(
        page.contains("approved") && page.contains("mail:ada@example.org"),
        "{page}"
    );
    let bindings = guarded.server.app.store.bindings(None).await.unwrap();
    assert_eq!(bindings.len(), 2);

    // By hand, and back.
    let bind = [
        ("id", "u-1"),
        ("accounts", "gitlab:ada github:ada"),
        ("machine", "false"),
        ("name", ""),
    ];
    assert_eq!(
        guarded
            .post("/admin/people/bind", &cleo, &bind)
            .await
            .status(),
        403
    );
    assert_eq!(
        guarded
            .post("/admin/people/bind", &ada, &bind)
            .await
            .status(),
        303
    );
    let page = guarded
        .get("/admin/people", &cleo.cookie)
        .await
        .text()
        .await
        .unwrap();
    let digest = between(&page, "name=\"proposal\" value=\"", "\"");
    let no = [
        ("proposal", digest.as_str()),
        ("answer", "reject"),
        ("reason", "another Ada"),
    ];
    assert_eq!(
        guarded
            .post("/admin/people/answer", &cleo, &no)
            .await
            .status(),
        303
    );
    let unbind = [("account", "mail:ada@example.org")];
    assert_eq!(
        guarded
            .post("/admin/people/unbind", &ada, &unbind)
            .await
            .status(),
        303
    );
    let bad = [
        ("id", "u-1"),
        ("accounts", "jira:ada"),
        ("machine", "false"),
        ("name", ""),
    ];
    assert_eq!(
        guarded
            .post("/admin/people/bind", &ada, &bad)
            .await
            .status(),
        422
    );
    // Which profile binds is compliance's to approve.
    let form = [
        ("service", "payments-api"),
        ("environment", ""),
        ("profile", "soc2"),
        ("from", ""),
    ];
    assert_eq!(
        guarded
            .post("/admin/people/profile", &dev, &form)
            .await
            .status(),
        403
    );
    let page = guarded
        .get("/admin/people", &ada.cookie)
        .await
        .text()
        .await
        .unwrap();
    let before = page.matches("name=\"proposal\"").count();
    assert_eq!(
        guarded
            .post("/admin/people/profile", &ada, &form)
            .await
            .status(),
        303
    );
    let page = guarded
        .get("/admin/people", &cleo.cookie)
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(page.matches("name=\"proposal\"").count(), before + 2);
    let digest = between(&page, "name=\"proposal\" value=\"", "\"");
    let yes = [("proposal", digest.as_str()), ("answer", "approve")];
    assert_eq!(
        guarded
            .post("/admin/people/answer", &cleo, &yes)
            .await
            .status(),
        303
    );
    let store = &guarded.server.app.store;
    let bindings = store.bindings(None).await.unwrap();
    let bound = bindings.profile("payments-api", "production", store.now());
    assert_eq!(bound.map(|bound| bound.profile.as_str()), Some("soc2"));
    guarded.server.end().await;
}
