//! Every page, in every form, over a store whose every free text is a planted script, formula,
//! link or control sequence. The browser test opens the same store (`examples/hostile.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use pulldown_cmark::{Event, Options, Parser, Tag};
use writ_gate::{BundleSource, load_bundle};
use writ_ledger::{Clock as _, SystemClock};
use writ_model::Timestamp;
use writ_render::text::is_unsafe;
use writ_server::routes::ROUTES;
use writ_server::{Config, Parts};

use super::Server;
use super::demo::{links, shape};

#[path = "../../planted/mod.rs"]
mod sown;

/// Pages of one shape that are looked at.
const EACH: usize = 8;

/// Elements that pages are made of.
const ELEMENTS: &str = "html head meta title link script body svg symbol path circle rect line use g text a aside div \
    nav h1 h2 h3 span header form label input select option button main p dl dt dd footer section article table \
    caption thead tbody tfoot tr th td code pre details summary ul ol li strong b time figure figcaption";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_planted_becomes_part_of_a_page() {
    let now = Timestamp::from_micros(SystemClock.now_micros());
    let place = tempfile::tempdir().unwrap();
    let (store, sown) = sown::store(place.path(), now).await;
    // Everything that people and tools hand in can be planted.
    for kind in [
        "scan",
        "run",
        "code-review",
        "deployment",
        "exemption",
        "approval",
        "probe",
        "snapshot",
        "decision",
        "break-glass",
        "coverage",
    ] {
        let kind = format!("urn:writ:predicate:{kind}:v1");
        assert!(
            sown.fields.get(&kind).is_some_and(|fields| *fields > 0),
            "nothing is planted in {kind}: {sown:?}"
        );
    }
    let server = Server::over(
        Parts {
            store,
            bundle: Arc::new(load_bundle(&BundleSource::Embedded).unwrap()),
            config: Config {
                listen: "127.0.0.1:0".parse().unwrap(),
                ..Config::default()
            },
            operator: sown::PLANTED[0].to_owned(),
            demo: false,
        },
        Some(place),
    )
    .await;

    let mut waiting: VecDeque<String> = VecDeque::from(["/".to_owned()]);
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        if !route.path.contains('{') && !route.path.starts_with("/api/") {
            waiting.push_back(route.path.to_owned());
        }
    }
    for text in sown::PLANTED {
        let text: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for place in [
            "search?q=",
            "findings?q=",
            "findings?service=",
            "changes?after=",
            "evidence?type=",
            "?at=",
            "d/",
            "e/",
            "changes/",
            "exemptions/",
        ] {
            waiting.push_back(format!("/{place}{text}"));
        }
    }
    let (mut seen, mut of_shape) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
    let mut shown = BTreeMap::<&str, usize>::new();
    while let Some(path) = waiting.pop_front() {
        if seen.contains(&path) || path.starts_with("/assets/") || path.starts_with("/settings/") {
            continue;
        }
        let pages = of_shape.entry(shape(&path)).or_default();
        if *pages >= if path.contains('%') { 3 * EACH } else { EACH } {
            continue;
        }
        *pages += 1;
        seen.insert(path.clone());
        let answer = server.get(&path).await;
        let status = answer.status().as_u16();
        assert!(status < 500, "{path}: {status}");
        if let Some(target) = answer.headers().get("location") {
            let target = target.to_str().unwrap();
            assert!(
                target.starts_with('/') && !target.starts_with("//"),
                "{path} leads to {target}"
            );
            waiting.push_back(target.to_owned());
            continue;
        }
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            answer.headers()["x-content-type-options"],
            "nosniff",
            "{path}"
        );
        assert!(
            answer.headers().contains_key("content-security-policy"),
            "{path}"
        );
        let body = answer.text().await.unwrap();
        let form = kind.split(';').next().unwrap();
        let found = match form {
            "text/html" => {
                waiting.extend(links(&body));
                page(&body)
            }
            "text/csv" => sheet(&body),
            "text/markdown" => markdown(&body),
            "application/json" | "application/problem+json" => {
                serde_json::from_str::<serde_json::Value>(&body)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            _ => continue,
        };
        if let Err(problem) = found {
            panic!("{path}: {problem}");
        }
        if body.contains("writXss") {
            *shown
                .entry(match form {
                    "text/html" => "page",
                    "text/csv" => "sheet",
                    "text/markdown" => "markdown",
                    _ => "json",
                })
                .or_default() += 1;
        }
    }
    // The planted texts were there to be shown.
    for form in ["page", "sheet", "markdown", "json"] {
        assert!(
            shown.get(form).is_some_and(|count| *count >= 8),
            "{shown:?}"
        );
    }
    for route in [
        "/changes/",
        "/runs/",
        "/d/",
        "/environments/",
        "/findings/",
        "/exemptions/",
        "/e/",
    ] {
        assert!(
            seen.iter().any(|path| path.starts_with(route)),
            "no page of {route}"
        );
    }
    server.end().await;
}

/// A page has only known elements, no handlers, and leads only to this server.
fn page(text: &str) -> Result<(), String> {
    if let Some(sign) = text
        .chars()
        .find(|sign| is_unsafe(*sign) && !matches!(sign, '\n' | '\t'))
    {
        return Err(format!("{sign:?} as it is"));
    }
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('!') {
            if !after.starts_with("DOCTYPE html>") {
                return Err(format!("markup: {}", &rest[..rest.len().min(60)]));
            }
            continue;
        }
        let closing = rest.starts_with('/');
        let tag = rest.strip_prefix('/').unwrap_or(rest);
        let name: String = tag
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        if !ELEMENTS.split_whitespace().any(|known| known == name) {
            return Err(format!(
                "element {name}: {}",
                rest.chars().take(80).collect::<String>()
            ));
        }
        let mut tail = &tag[name.len()..];
        loop {
            tail = tail.trim_start();
            if let Some(after) = tail.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = tail
                .find(['=', ' ', '>'])
                .ok_or("an element does not end")?;
            let attribute = &tail[..end];
            tail = &tail[end..];
            let value = match tail.strip_prefix("=\"") {
                Some(after) => {
                    let end = after.find('"').ok_or("an attribute does not end")?;
                    tail = &after[end + 1..];
                    &after[..end]
                }
                None => "",
            };
            harmless(&name, attribute, value)?;
        }
        if name == "script" && !closing && !rest.starts_with("</script>") {
            return Err("a script in the page".to_owned());
        }
    }
    Ok(())
}

fn harmless(element: &str, attribute: &str, value: &str) -> Result<(), String> {
    let name = attribute.to_ascii_lowercase();
    let known = name
        .chars()
        .all(|sign| sign.is_ascii_alphanumeric() || sign == '-');
    if !known
        || name.starts_with("on")
        || matches!(
            name.as_str(),
            "style" | "srcdoc" | "data-planted" | "autofocus"
        )
    {
        return Err(format!("attribute {attribute} of {element}"));
    }
    let leads = matches!(
        name.as_str(),
        "href" | "src" | "action" | "formaction" | "hx-get"
    );
    if leads && !(value.starts_with('#') || value.starts_with('/') && !value.starts_with("//")) {
        return Err(format!("{element} leads to {value}"));
    }
    Ok(())
}

/// No cell of a sheet begins like a formula.
fn sheet(text: &str) -> Result<(), String> {
    for line in text.split_terminator("\r\n") {
        if let Some(sign) = line.chars().find(|sign| is_unsafe(*sign)) {
            return Err(format!("{sign:?} in {line}"));
        }
        for cell in line.split(',') {
            let cell = cell.trim_start_matches('"');
            if cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err() {
                // The rest of a quoted cell that has a comma in it is no cell.
                let whole = line.contains(&format!("\"{cell}"))
                    || line.starts_with(cell)
                    || !line.contains('"');
                if whole {
                    return Err(format!("formula {cell}"));
                }
            }
        }
    }
    Ok(())
}

/// Markdown of a page holds no markup, link or picture of somebody else.
fn markdown(text: &str) -> Result<(), String> {
    for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => return Err(format!("markup {html}")),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                return Err(format!("leads to {dest_url}"));
            }
            _ => {}
        }
    }
    match text.chars().find(|sign| is_unsafe(*sign) && *sign != '\n') {
        Some(sign) => Err(format!("{sign:?} as it is")),
        None => Ok(()),
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    for bad in [
        "<script>alert(1)</script>",
        "<img src=x>",
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"//evil.example\">x</a>",
        "<p onclick=\"x\">x</p>",
        "<p data-planted>x</p>",
        "<p>\u{202e}</p>",
    ] {
        assert!(page(bad).is_err(), "{bad}");
    }
    page("<!DOCTYPE html><a class=\"x\" href=\"/a\">&lt;script&gt;</a>").unwrap();
    assert!(sheet("a,=1+1\r\n").is_err() && sheet("a,\"=1,2\"\r\n").is_err());
    sheet("a,'=1+1,-4\r\n").unwrap();
    assert!(markdown("[x](javascript:1)\n").is_err() && markdown("<b>x</b>\n").is_err());
}
