//! The card of a check: found, required, why, fix, the way out, evidence, in this order.

use maud::{Markup, html};
use writ_model::{Check, CheckItem, State};
use writ_render::framework_name;
use writ_render::text::number;

use super::{chip, ident};
use crate::figures::people;
use crate::http::Ask;
use crate::paths;

/// Items listed in a card before "and n more".
const ITEMS: usize = 8;

/// The card. Where a page shows several decisions, `environment` tells their cards apart.
#[must_use]
pub fn card(ask: &Ask, check: &Check, environment: Option<&str>) -> Markup {
    let place = environment.map_or_else(
        || check.control.clone(),
        |environment| format!("{}-{environment}", check.control),
    );
    let id = format!("c-{place}");
    html! {
        article class={ "card " (chip::class(check.state)) } id=(place) aria-labelledby=(id) {
            h3 id=(id) {
                (chip::state(check.state)) " "
                a.code href=(ask.href(&paths::control(&check.control))) { (check.control) } " "
                (people::in_words(ask, &check.title))
            }
            dl.parts {
                dt { "Found" }
                dd { (found(ask, check)) }
                @if !check.required.is_empty() { dt { "Required" } dd { (check.required) } }
                @if !check.why.is_empty() || !check.maps.is_empty() {
                    dt { "Why" }
                    dd { (check.why) " " (frameworks(ask, check)) }
                }
                @if !check.fix.is_empty() && check.state != State::Pass {
                    dt { "Fix" }
                    dd {
                        @if let [only] = check.fix.as_slice() { (step(only)) }
                        @else { ol { @for line in &check.fix { li { (step(line)) } } } }
                    }
                }
                @if let Some(way) = check.or.as_ref().filter(|_| check.state != State::Pass) {
                    dt { "Or" }
                    dd {
                        (way.text)
                        @if let Some(command) = &way.command { code.fix data-copy=(command) { (command) } }
                        @if exemptible(ask, check) { " " a href=(ask_for(check)) { "Ask for an exemption" } }
                    }
                }
                @if !check.exemptions.is_empty() {
                    dt { "Exempt by" }
                    dd {
                        @for exemption in &check.exemptions {
                            a href=(ask.href(&paths::exemption(&exemption.number))) { (exemption.number) }
                            " covers " (number(exemption.covers)) ", ends " (super::time::ago(ask, exemption.expires_at)) " "
                        }
                    }
                }
                dt { "Evidence" }
                dd { (evidence(ask, check)) }
            }
        }
    }
}

/// Whether somebody may be asked to permit it.
fn exemptible(ask: &Ask, check: &Check) -> bool {
    let control = ask.app.bundle.controls.get(&check.control);
    ask.at.is_none()
        && control.is_some_and(|control| writ_release::exemption::limit(control).is_ok())
}

/// The form with what is known filled in.
fn ask_for(check: &Check) -> paths::Path {
    let finding = match check.items.as_slice() {
        [only] => Some(&only.name),
        _ => None,
    };
    paths::ask_exemption()
        .with("control", &check.control)
        .with_some("finding", finding)
}

fn found(ask: &Ask, check: &Check) -> Markup {
    let told = |item: &&CheckItem| !check.found.iter().any(|line| line.contains(&item.name));
    let items: Vec<&CheckItem> = check.items.iter().filter(told).collect();
    let more = check
        .items_total
        .saturating_sub((check.items.len() - items.len() + items.len().min(ITEMS)) as u64);
    html! {
        @for line in &check.found { div { (people::in_words(ask, line)) } }
        @if !items.is_empty() {
            ul.items {
                @for item in items.iter().take(ITEMS) {
                    li {
                        b { (item.name) } " "
                        @if let Some(severity) = item.severity { (chip::severity(severity)) " " }
                        (item.text)
                        @if let Some(location) = &item.location {
                            @let place = writ_gate::place(location);
                            @if !place.is_empty() && !item.text.contains(&place) { " " code { (place) } }
                        }
                        @if let Some(fix) = &item.fix { span.sub { " fix: " (fix) } }
                        @if let Some(number) = &item.exempted_by { " " (chip::tag(State::Exempt, number)) }
                    }
                }
            }
            @if more > 0 { p.sub { "and " (number(more)) " more, in the evidence" } }
        }
    }
}

/// A step of the fix; what follows a known command word is shown as code.
fn step(line: &str) -> Markup {
    match line.split_once("writ ") {
        Some((before, command)) if command.starts_with(|sign: char| sign.is_ascii_lowercase()) => {
            html! {
                (before) code.cmd data-copy={ "writ " (command) } { "writ " (command) }
            }
        }
        _ => html! { (line) },
    }
}

fn frameworks(ask: &Ask, check: &Check) -> Markup {
    html! {
        span.sub {
            @for (at, map) in check.maps.iter().enumerate() {
                @if at > 0 { ", " }
                @if ask.app.bundle.frameworks.contains_key(&map.framework) {
                    a href=(ask.href(&paths::controls().with("framework", &map.framework))) { (framework_name(&map.framework)) }
                } @else { (framework_name(&map.framework)) }
                " " (map.requirements.join(", "))
            }
            @if !check.owner.is_empty() { ". Owner " (check.owner) }
        }
    }
}

fn evidence(ask: &Ask, check: &Check) -> Markup {
    html! {
        @if check.evidence.is_empty() { span.sub { "none" } }
        @for reference in &check.evidence {
            div { (ident::evidence(ask, &reference.id)) " " (reference.summary) }
        }
    }
}
