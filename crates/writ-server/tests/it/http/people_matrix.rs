//! Every role on every route, over real connections: what the table says is what happens.

use reqwest::Method;
use writ_model::Role;
use writ_server::access::roles;
use writ_server::routes::ROUTES;

use super::guarded::{Guarded, PASSWORD, cookie};

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_role_on_every_route() {
    let people = Role::ALL.map(|role| (role.word(), role));
    let guarded = Guarded::new(&people, |_| {}).await;
    let mut cookies: Vec<(Option<Role>, String)> = vec![(None, String::new())];
    for (name, role) in people {
        let answer = guarded.attempt(name, PASSWORD).await;
        cookies.push((Some(role), cookie(&answer)));
    }
    for route in ROUTES {
        for (role, cookie) in &cookies {
            let method: Method = route.method.parse().unwrap();
            let changes = method != Method::GET;
            let mut request = guarded
                .server
                .request(method, &filled(route.path))
                .header("cookie", cookie);
            if changes {
                // Whoever may do it fails with this, and nothing is done.
                request = request.header("x-writ-form-token", "wrong");
            }
            let answer = request
                .header("accept", "application/json")
                .send()
                .await
                .unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let told = |word: &str| {
                text.contains(&format!("urn:writ:problem:{word}\""))
                    || (text.contains("<!DOCTYPE")
                        && text.contains("is not allowed to you")
                        && word == "not-allowed")
            };
            let what = format!("{route:?} by {role:?}: {status} {text}");
            let expected = match role {
                _ if route.action.is_open() => "in",
                None => "sign-in",
                Some(role) if roles::allowed(route.action).contains(role) => "in",
                Some(_) => "not-allowed",
            };
            match expected {
                "sign-in" => assert!(status == 401 && told("sign-in"), "{what}"),
                "not-allowed" => assert!(status == 403 && told("not-allowed"), "{what}"),
                _ if changes && role.is_some() => {
                    assert!(status == 403 && told("form-token"), "{what}")
                }
                _ => assert!(
                    !told("sign-in") && !told("not-allowed") && status < 500,
                    "{what}"
                ),
            }
        }
    }
    guarded.server.end().await;
}
