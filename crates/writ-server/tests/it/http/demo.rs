//! The demonstration: every route, every link, every form, none of them broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use reqwest::Method;
use writ_ledger::{Clock as _, SystemClock};
use writ_model::{Digest, Timestamp};
use writ_server::routes::ROUTES;
use writ_server::{Config, Parts, demo};

use super::Server;

/// Pages of one shape that are looked at.
const EACH: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_and_every_link_of_the_demonstration_answers() {
    let now = Timestamp::from_micros(SystemClock.now_micros());
    let filled = demo::fill(now, 4).await.unwrap();
    let server = Server::over(
        Parts {
            store: Arc::clone(&filled.store),
            bundle: Arc::clone(&filled.bundle),
            config: Config {
                listen: "127.0.0.1:0".parse().unwrap(),
                ..Config::default()
            },
            operator: demo::OPERATOR.to_owned(),
            demo: true,
        },
        None,
    )
    .await;

    // From the overview along every link, and from the table to what no page links to.
    let mut waiting: VecDeque<String> = VecDeque::from(["/".to_owned()]);
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        if route.path == "/api/v1/authorisation" {
            // It answers for an artefact in an environment, also with "no".
            let artifact = Digest::of(b"");
            waiting.push_back(format!(
                "{}?artifact={artifact}&environment=production",
                route.path
            ));
        } else if !route.path.contains('{') {
            waiting.push_back(route.path.to_owned());
        }
    }
    waiting.extend(from_lists(&server).await);
    // A program asks here before it brings a file: nothing links to it.
    waiting.push_back(format!("/api/v1/uploads/{}", Digest::of(b"")));
    let mut seen = BTreeSet::new();
    let mut of_route: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(path) = waiting.pop_front() {
        let shape = shape(&path);
        if seen.contains(&path) || of_route.get(&shape).copied().unwrap_or(0) >= EACH {
            continue;
        }
        seen.insert(path.clone());
        *of_route.entry(shape).or_default() += 1;
        let answer = server.get(&path).await;
        let status = answer.status().as_u16();
        assert_eq!(status, 200, "{path}");
        let headers = answer.headers().clone();
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        assert!(headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let body = answer.bytes().await.unwrap();
        assert!(!body.is_empty(), "{path}");
        if kind.starts_with("application/json") {
            let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
        }
        if kind.starts_with("text/html") {
            let text = std::str::from_utf8(&body).unwrap();
            assert!(text.starts_with("<!DOCTYPE html>"), "{path}");
            assert!(
                text.contains("<strong>DEMO</strong>"),
                "{path} does not say what it is"
            );
            waiting.extend(links(text).filter(|link| !is_form(link)));
        }
        if let Some(tag) = headers.get("etag") {
            let again = server
                .request(Method::GET, &path)
                .header("if-none-match", tag)
                .send()
                .await
                .unwrap();
            assert_eq!(again.status(), 304, "{path}");
        }
    }
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        // The demonstration has no identity provider.
        if route.path.starts_with("/sign-in/with/") {
            continue;
        }
        assert!(
            seen.iter().any(|path| is_of(path, route.path)),
            "nothing leads to {route:?}"
        );
    }
    server.end().await;
}

/// Addresses of single things that only the interface for programs has.
async fn from_lists(server: &Server) -> Vec<String> {
    let mut found = vec![
        "/ledger/tile/0/000".to_owned(),
        "/ledger/tile/entries/000".to_owned(),
        "/api/v1/environments/production/diff".to_owned(),
    ];
    for (list, field) in [
        ("evidence", "id"),
        ("decisions", "id"),
        ("exemptions", "name"),
        ("environments", "environment"),
        ("controls", "id"),
        ("frameworks", "key"),
    ] {
        let (status, value) = server.json(&format!("/api/v1/{list}")).await;
        assert_eq!(status, 200, "{list}");
        let one = value["items"][0][field].as_str().unwrap_or_else(|| {
            panic!("{list} has no {field}: {}", value["items"][0]);
        });
        found.push(format!("/api/v1/{list}/{one}"));
        if list == "evidence" {
            found.push(format!("/api/v1/evidence/{one}/envelope"));
            found.push(format!("/api/v1/evidence/{one}/receipt"));
        }
    }
    found
}

/// What links, forms and sources of a page name on this server.
pub(super) fn links(page: &str) -> impl Iterator<Item = String> + '_ {
    ["href=\"", "src=\"", "action=\""]
        .into_iter()
        .flat_map(|name| page.split(name).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|link| link.starts_with('/'))
        .map(|link| link.replace("&amp;", "&"))
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
}

/// Addresses that differ only in names and values.
pub(super) fn shape(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let names: BTreeSet<&str> = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .collect();
    let form = [".json", ".csv", ".md"]
        .into_iter()
        .find(|form| path.ends_with(form))
        .unwrap_or_default();
    let route = ROUTES
        .iter()
        .find(|route| is_of(path, route.path))
        .map_or(path, |route| route.path);
    format!("{route}{form}{names:?}")
}

/// Whether an address is one of a route.
pub(super) fn is_of(path: &str, route: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    if path == route {
        return true;
    }
    let (have, want): (Vec<&str>, Vec<&str>) =
        (path.split('/').collect(), route.split('/').collect());
    let open_end = want.last().is_some_and(|last| last.starts_with("{*"));
    (have.len() == want.len() || (open_end && have.len() >= want.len()))
        && want
            .iter()
            .zip(&have)
            .all(|(want, have)| want.starts_with('{') || want == have)
}

/// Whether an address only takes what a form sends.
fn is_form(link: &str) -> bool {
    let path = link.split('?').next().unwrap_or_default();
    let mut methods = ROUTES
        .iter()
        .filter(|route| is_of(path, route.path))
        .peekable();
    methods.peek().is_some() && methods.all(|route| route.method != "GET")
}
