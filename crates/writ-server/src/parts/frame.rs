//! The frame around every page: rail, bar, head with the reference box, foot.

use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use writ_render::text::{document_visible, number};

use super::glyph::{Glyph, glyph, sprite};
use super::{chip, form, time};
use crate::access::{Action, Via, may};
use crate::assets;
use crate::figures::waiting::Waiting;
use crate::http::ask::Theme;
use crate::http::{Ask, Form, Problem};
use crate::paths::{self, Path};

/// Sections of the rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What needs attention.
    Overview,
    /// Changes.
    Changes,
    /// Runs.
    Runs,
    /// Environments.
    Environments,
    /// Findings.
    Findings,
    /// Exemptions.
    Exemptions,
    /// Controls.
    Controls,
    /// Evidence.
    Evidence,
    /// Keys of the store.
    Keys,
    /// Other systems.
    Integrations,
    /// State of the server.
    Health,
    /// Accounts and roles.
    People,
    /// Who read what.
    Reads,
    /// None of them.
    Elsewhere,
}

/// The head of a page.
#[derive(Debug, Clone)]
pub struct Head {
    /// Where the page stands.
    pub section: Section,
    /// Title.
    pub title: String,
    /// What stands above it: name and address.
    pub crumbs: Vec<(String, Path)>,
    /// One line below the title.
    pub sub: String,
    /// Further lines of the reference box; reference, instant, controls and log head are always there.
    pub reference: Vec<(&'static str, String)>,
    /// The page's short name for citations.
    pub cite: String,
    /// Whether the page has other forms.
    pub forms: bool,
    /// Whether the page can be restricted to one service.
    pub scoped: bool,
}

impl Head {
    /// A head.
    #[must_use]
    pub fn new(section: Section, title: impl Into<String>, sub: impl Into<String>) -> Self {
        let title = title.into();
        Self {
            section,
            cite: title.clone(),
            title,
            crumbs: Vec::new(),
            sub: sub.into(),
            reference: Vec::new(),
            forms: true,
            scoped: false,
        }
    }

    /// Can be restricted to one service.
    #[must_use]
    pub fn scoped(mut self) -> Self {
        self.scoped = true;
        self
    }

    /// Below another page.
    #[must_use]
    pub fn below(mut self, name: impl Into<String>, path: Path) -> Self {
        self.crumbs.push((name.into(), path));
        self
    }

    /// Cited as.
    #[must_use]
    pub fn cited(mut self, cite: impl Into<String>) -> Self {
        self.cite = cite.into();
        self
    }

    /// With a further line in the reference box.
    #[must_use]
    pub fn refer(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.reference.push((label, value.into()));
        self
    }
}

/// A whole page.
///
/// # Errors
/// The counts of the rail cannot be read.
pub async fn page(ask: &Ask, head: &Head, body: &Markup) -> Result<Response, Problem> {
    let waiting = Waiting::of(ask).await?;
    let services: Vec<String> = ask
        .app
        .store
        .services(ask.size)
        .await?
        .into_iter()
        .map(|service| service.service)
        .collect();
    Ok(document(ask, head, body, &waiting, &services).into_response())
}

/// A page without rail and counts: for who is not signed in.
#[must_use]
pub fn bare(theme: Option<Theme>, title: &str, body: &Markup) -> Markup {
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme.map(Theme::word)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Writ" }
                link rel="stylesheet" href=(assets::href("app.css"));
                link rel="icon" type="image/svg+xml" href=(assets::href("favicon.svg"));
            }
            body {
                a.skip href="#main" { "Skip to content" }
                main.bare id="main" tabindex="-1" {
                    p.brand { "Writ" }
                    (body)
                }
            }
        }
    };
    PreEscaped(document_visible(page.into_string()))
}

/// The page as markup, from what is given. Whatever a report says, characters that hide their
/// neighbours or turn them around are shown as escapes.
#[must_use]
pub fn document(
    ask: &Ask,
    head: &Head,
    body: &Markup,
    waiting: &Waiting,
    services: &[String],
) -> Markup {
    let page = whole(ask, head, body, waiting, services).into_string();
    PreEscaped(document_visible(page))
}

fn whole(ask: &Ask, head: &Head, body: &Markup, waiting: &Waiting, services: &[String]) -> Markup {
    let past = ask.at.is_some();
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[ask.theme.map(Theme::word)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (head.title) " · Writ" }
                meta name="htmx-config" content=r#"{"includeIndicatorCSS":false,"transitions":false}"#;
                link rel="stylesheet" href=(assets::href("app.css"));
                link rel="icon" type="image/svg+xml" href=(assets::href("favicon.svg"));
                @if head.forms {
                    @for form in [Form::Json, Form::Csv, Form::Markdown] {
                        link rel="alternate" type=(form.media_type().split(';').next().unwrap_or_default()) href=(ask.here(form, &[]));
                    }
                }
                script src=(assets::href("htmx.min.js")) defer {}
                script src=(assets::href("app.js")) defer {}
            }
            body {
                (sprite())
                a.skip href="#main" { "Skip to content" }
                @if ask.app.demo {
                    aside.band.demo aria-label="Demonstration" { strong { "DEMO" } " Invented services, people and findings in a temporary store. Nothing here is evidence of anything." }
                }
                div.app {
                    (rail(ask, head.section, waiting))
                    div.sheet {
                        (bar(ask, if head.scoped { services } else { &[] }))
                        @if past {
                            p.band.past role="status" {
                                strong { "As of " (time::minutes(ask.now)) }
                                " This page shows the record as it was then. "
                                a href=(ask.here(Form::Html, &[("at", None)])) { "Back to now" }
                            }
                        }
                        main id="main" tabindex="-1" {
                            div.head {
                                div.title {
                                    @if !head.crumbs.is_empty() {
                                        p.crumb {
                                            @for (name, path) in &head.crumbs {
                                                a href=(ask.href(path)) { (name) } " / "
                                            }
                                        }
                                    }
                                    h1 { (head.title) }
                                    p.sub { (head.sub) }
                                }
                                (reference(ask, head))
                            }
                            (body)
                            (foot(ask, head))
                        }
                    }
                }
            }
        }
    }
}

fn rail(ask: &Ask, here: Section, waiting: &Waiting) -> Markup {
    let entry = |section: Section, name: &str, path: Path, count: u64, what: &str| {
        html! {
            a href=(ask.href(&path)) aria-current=[(section == here).then_some("page")] {
                (name)
                @if count > 0 { span title=(what) { (number(count)) span.vh { " " (what) } } }
            }
        }
    };
    html! {
        nav.side aria-label="Main" {
            a.brand href=(ask.href(&paths::overview())) { "Writ" }
            (entry(Section::Overview, "Overview", paths::overview(), 0, ""))
            h2 { "Deliver" }
            (entry(Section::Changes, "Changes", paths::changes(), waiting.blocked, "blocked"))
            (entry(Section::Runs, "Runs", paths::runs(), 0, ""))
            (entry(Section::Environments, "Environments", paths::environments(), waiting.drift, "with drift"))
            h2 { "Decide" }
            (entry(Section::Findings, "Findings", paths::findings(), waiting.severe, if waiting.severe_more { "open, high or critical, or more" } else { "open, high or critical" }))
            (entry(Section::Exemptions, "Exemptions", paths::exemptions(), waiting.requested, "waiting for an answer"))
            h2 { "Prove" }
            (entry(Section::Controls, "Controls", paths::controls(), 0, ""))
            (entry(Section::Evidence, "Evidence", paths::evidence_list(), 0, ""))
            @let (server, people) = (may(&ask.principal, Action::ReadServer).is_ok(), may(&ask.principal, Action::ReadPeople).is_ok());
            @if server || people { h2 { "Operate" } }
            @if server {
                (entry(Section::Integrations, "Integrations", paths::integrations(), 0, ""))
                (entry(Section::Keys, "Keys", paths::keys(), 0, ""))
                (entry(Section::Health, "Health", paths::health(), waiting.problems, "entries that cannot be used"))
            }
            @if people { (entry(Section::People, "People", paths::people(), 0, "")) }
            @if may(&ask.principal, Action::ReadReads).is_ok() { (entry(Section::Reads, "Reads", paths::reads(), 0, "")) }
        }
    }
}

fn bar(ask: &Ask, services: &[String]) -> Markup {
    let dark = ask.theme == Some(Theme::Dark);
    let scope = ask.param("service");
    html! {
        header.bar {
            form.search action=(paths::search().to_string()) role="search" {
                label.vh for="q" { "Search" }
                (glyph(Glyph::Search))
                input id="q" type="search" name="q" autocomplete="off" maxlength="200"
                    placeholder="Commit, digest, change, ticket, CVE, control, id" aria-keyshortcuts="/";
                @if let Some(at) = ask.at { input type="hidden" name="at" value=(at); }
            }
            form.at action=(ask.path) {
                (form::keep(ask, if services.is_empty() { &["at", "after"] } else { &["at", "service", "after"] }))
                @if !services.is_empty() {
                    label.vh for="scope" { "Service" }
                    select id="scope" name="service" data-submit {
                        option value="" { "All services" }
                        @for service in services {
                            option value=(service) selected[scope.as_deref() == Some(service)] { (service) }
                        }
                    }
                }
                label for="at" { "As of" }
                input id="at" type="date" name="at" max=(time::day(ask.clock)) value=[ask.at.map(time::day)] data-submit;
                button.btn.small type="submit" data-nojs { "Show" }
            }
            form.theme action="/settings/theme" method="post" {
                (form::token(&ask.principal))
                input type="hidden" name="next" value=(ask.here(Form::Html, &[]));
                button.btn.small type="submit" name="theme" value=(if dark { "light" } else { "dark" })
                    title=(if dark { "Use the light theme" } else { "Use the dark theme" }) {
                    (glyph(Glyph::Theme)) span.vh { (if dark { "Use the light theme" } else { "Use the dark theme" }) }
                }
            }
            @if ask.principal.via == Via::Session {
                a.who href=(paths::settings()) title=(ask.principal.id.0) { (ask.principal.name) }
                form action="/sign-out" method="post" { (form::token(&ask.principal)) button.btn.small type="submit" { "Sign out" } }
            } @else {
                span.who title=(ask.principal.id.0) {
                    (ask.principal.name) @if ask.principal.via == Via::Local { span.sub { " local operator" } }
                }
            }
        }
    }
}

fn reference(ask: &Ask, head: &Head) -> Markup {
    let bundle = &ask.app.bundle.reference;
    let line = |label: &str, value: &str| {
        html! { div { dt { (label) } dd { (value) } } }
    };
    html! {
        dl.ref aria-label="Reference" {
            (line("Ref", &head.cite))
            (line("As of", &time::minutes(ask.now)))
            @for (label, value) in &head.reference { (line(label, value)) }
            (line("Controls", &format!("{} {}", bundle.version, bundle.digest.short())))
            div {
                dt { "Log head" }
                dd {
                    "#" (number(ask.size)) " "
                    @match &ask.head.verified {
                        Ok(()) if ask.size == ask.head.size => "verified",
                        Ok(()) => { "of " (number(ask.head.size)) ", verified" },
                        Err(why) => strong title=(why) { "not verified" },
                    }
                }
            }
        }
    }
}

fn foot(ask: &Ask, head: &Head) -> Markup {
    html! {
        footer.foot {
            (chip::legend())
            @if head.forms {
                p.forms {
                    "Same data: "
                    a href=(ask.here(Form::Json, &[])) { "JSON" } " "
                    a href=(ask.here(Form::Csv, &[])) { "CSV" } " "
                    a href=(ask.here(Form::Markdown, &[])) { "Markdown" }
                }
            }
            p.sub { "Request " code { (ask.request.0) } " · Writ " (env!("CARGO_PKG_VERSION")) }
        }
    }
}
