//! `/break-glass/new`: the form that opens an emergency.

use axum::response::Response;
use maud::{Markup, html};
use writ_model::State as Word;
use writ_registry::ReleaseRow;
use writ_release::breakglass::{MAX_TEXT, OPEN_AT_MOST};

use crate::access::{Action, may};
use crate::figures::emergency::{self, Emergencies};
use crate::figures::release;
use crate::http::confirm::{self, Offer};
use crate::http::site::Site;
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{self, Head, Section};
use crate::parts::passkey::{self, Use};
use crate::parts::{chip, form};
use crate::paths;

crate::page_query! {
    /// Which release it is for.
    OpenQuery {
        /// `R-2026-0931`.
        release: Option<String>,
    }
}

/// Releases that the form offers.
const OFFERED: usize = 50;

struct OpenPage {
    releases: Vec<ReleaseRow>,
    chosen: Option<String>,
    found: Emergencies,
    why_not: Option<String>,
    offer: Offer,
}

/// Shows the form.
///
/// # Errors
/// The store cannot be read.
pub async fn new(
    ask: Ask,
    site: Site,
    Query(query): Query<OpenQuery>,
) -> Result<Response, Problem> {
    let mut releases = Vec::new();
    if let Some(name) = &query.release {
        releases.push(release::find(&ask, name).await?);
    }
    let newest = writ_registry::ReleasesFilter {
        below: Some(ask.size),
        limit: OFFERED,
        ..writ_registry::ReleasesFilter::default()
    };
    let listed = ask.app.store.releases_listed(&newest).await?.items;
    releases.extend(
        listed
            .into_iter()
            .filter(|row| Some(row.human()) != query.release),
    );
    let why_not = may(&ask.principal, Action::OpenEmergencies)
        .err()
        .map(|problem| problem.detail.clone());
    let page = OpenPage {
        releases,
        chosen: query.release,
        found: emergency::read(&ask).await?,
        why_not,
        offer: confirm::offer(&ask, site).await?,
    };
    frame::page(&ask, &OpenPage::head(), &page.body(&ask)).await
}

impl OpenPage {
    fn head() -> Head {
        let mut head = Head::new(
            Section::Emergencies,
            "Break the glass",
            "A deployment past the gate. Everybody is told, it ends by itself, and somebody else reviews it within 24 hours.",
        )
        .below("Break-glass", paths::emergencies());
        head.forms = false;
        head
    }

    fn body(&self, ask: &Ask) -> Markup {
        let off = self.why_not.is_some();
        let second = self.found.strictness.second.as_ref();
        html! {
            form.sheet-form action="/break-glass" method="post" {
                (form::token(&ask.principal))
                div.field {
                    label for="release" { "Release" }
                    select id="release" name="release" required disabled[off] {
                        @for row in &self.releases {
                            option value=(row.human()) selected[self.chosen.as_deref() == Some(&row.human())] { (row.human()) " " (row.service) " " (row.short()) " into " (row.environment) }
                        }
                    }
                }
                div.field {
                    label for="reason" { "Why it cannot wait" }
                    input id="reason" name="reason" type="text" maxlength=(MAX_TEXT) required disabled[off];
                }
                div.field {
                    label for="incident" { "Incident" }
                    input id="incident" name="incident" type="text" maxlength="200" required disabled[off];
                }
                div.field {
                    label for="minutes" { "Minutes" }
                    input id="minutes" name="minutes" type="number" min="5" max=(OPEN_AT_MOST.secs() / 60) value="60" required disabled[off];
                    span { "A deployment may begin so long" }
                }
                @if ask.principal.browser.is_some() {
                    div.field {
                        label for="password" { "Your password once more" }
                        input id="password" name="password" type="password" autocomplete="current-password" disabled[off];
                    }
                    div.field {
                        label for="code" { "Your one-time code, if you use one" }
                        input id="code" name="code" type="text" inputmode="numeric" autocomplete="one-time-code" maxlength="10" disabled[off];
                    }
                }
                @if let Some(why) = second {
                    p { (chip::tag(Word::Warned, "strict")) " A second authoriser signs here too: " (why) "." }
                    div.field {
                        label for="second" { "Second authoriser" }
                        input id="second" name="second" type="text" maxlength="200" autocomplete="off" required disabled[off];
                    }
                    div.field {
                        label for="second_password" { "Their password" }
                        input id="second_password" name="second_password" type="password" autocomplete="off" required disabled[off];
                    }
                    div.field {
                        label for="second_code" { "Their one-time code, if they use one" }
                        input id="second_code" name="second_code" type="text" inputmode="numeric" autocomplete="off" maxlength="10" disabled[off];
                    }
                }
                @if !off { (passkey::fields(&self.offer, "passkey-said", Use::Instead("password"))) }
                button.btn.primary type="submit" disabled[off] { "Break the glass" }
                @if let Some(why) = &self.why_not { p { "You cannot open one: " (why) "." } }
            }
        }
    }
}
