//! The tickmarks: one drawing per state, used by reference, so that a heat-map stays small.

use maud::{Markup, html};
use writ_model::State;

/// Name of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glyph {
    /// A tick.
    Pass,
    /// A cross in an octagon.
    Fail,
    /// A dash in a diamond.
    Exempt,
    /// A dashed circle.
    Missing,
    /// An hourglass.
    Expired,
    /// A triangle with a bar.
    Error,
    /// A clock.
    Waiting,
    /// An open triangle.
    Warned,
    /// A dash.
    NotApplicable,
    /// A triangle with a key: an emergency.
    BreakGlass,
    /// An arrow to the right.
    Arrow,
    /// A magnifying glass.
    Search,
    /// Half light, half dark.
    Theme,
}

/// A glyph, its id in the sprite, and its strokes as width and path.
type Drawing = (Glyph, &'static str, &'static [(&'static str, &'static str)]);

const DRAWINGS: [Drawing; 13] = [
    (Glyph::Pass, "g-pass", &[("2.2", "M3 8.5l3.2 3.2L13 4.8")]),
    (
        Glyph::Fail,
        "g-fail",
        &[
            ("1.8", "M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2L1.8 10.8V5.2z"),
            ("1.8", "M5.6 5.6l4.8 4.8m0-4.8l-4.8 4.8"),
        ],
    ),
    (
        Glyph::Exempt,
        "g-exempt",
        &[("1.8", "M8 1.5L14.5 8 8 14.5 1.5 8z"), ("1.8", "M5.5 8h5")],
    ),
    (
        Glyph::Missing,
        "g-missing",
        &[("1.8", "M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12")],
    ),
    (
        Glyph::Expired,
        "g-expired",
        &[("1.6", "M4 2h8M4 14h8M5 2c0 4 6 4 6 12M11 2c0 4-6 4-6 12")],
    ),
    (
        Glyph::Error,
        "g-error",
        &[("1.8", "M8 1.8L14.6 13.8H1.4z"), ("1.8", "M8 6v4M8 11.3v1")],
    ),
    (
        Glyph::Waiting,
        "g-waiting",
        &[
            ("1.8", "M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12"),
            ("1.8", "M8 4.6V8l2.4 1.6"),
        ],
    ),
    (
        Glyph::Warned,
        "g-warned",
        &[("1.8", "M8 2.2L14.2 13.4H1.8z")],
    ),
    (Glyph::NotApplicable, "g-na", &[("1.8", "M4.5 8h7")]),
    (
        Glyph::BreakGlass,
        "g-break",
        &[
            ("1.8", "M8 1.5L15 14H1z"),
            (
                "1.5",
                "M6.6 9a1.4 1.4 0 1 0 2.8 0a1.4 1.4 0 1 0-2.8 0M8 10.4v2.4",
            ),
        ],
    ),
    (
        Glyph::Arrow,
        "g-arrow",
        &[("1.8", "M2.5 8h10M9 4.2L12.8 8 9 11.8")],
    ),
    (
        Glyph::Search,
        "g-search",
        &[(
            "1.8",
            "M7 2.2a4.8 4.8 0 1 1 0 9.6a4.8 4.8 0 1 1 0-9.6M10.5 10.5L14 14",
        )],
    ),
    (
        Glyph::Theme,
        "g-theme",
        &[("1.8", "M8 2a6 6 0 1 1 0 12a6 6 0 1 1 0-12"), ("0", "")],
    ),
];

/// All drawings, once per page.
#[must_use]
pub fn sprite() -> Markup {
    html! {
        svg.sprite aria-hidden="true" width="0" height="0" {
            @for (glyph, id, strokes) in DRAWINGS {
                symbol id=(id) viewBox="0 0 16 16" fill="none" stroke="currentColor" {
                    @if glyph == Glyph::Theme {
                        path fill="currentColor" stroke="none" d="M8 2a6 6 0 0 1 0 12z" {}
                    }
                    @for (width, line) in strokes.iter().filter(|(_, line)| !line.is_empty()) {
                        @if glyph == Glyph::Missing {
                            path d=(line) stroke-width=(width) stroke-dasharray="2.6 2.1" {}
                        } @else {
                            path d=(line) stroke-width=(width) {}
                        }
                    }
                }
            }
        }
    }
}

/// A drawing beside a word; it says nothing alone.
#[must_use]
pub fn glyph(glyph: Glyph) -> Markup {
    let id = DRAWINGS
        .iter()
        .find(|(known, ..)| *known == glyph)
        .map_or("", |(_, id, _)| id);
    html! { svg.g aria-hidden="true" { use href={ "#" (id) } {} } }
}

/// The drawing of a state.
#[must_use]
pub const fn of(state: State) -> Glyph {
    match state {
        State::Pass => Glyph::Pass,
        State::Fail => Glyph::Fail,
        State::Exempt => Glyph::Exempt,
        State::Missing => Glyph::Missing,
        State::Expired => Glyph::Expired,
        State::Error => Glyph::Error,
        State::Waiting => Glyph::Waiting,
        State::Warned => Glyph::Warned,
        State::NotApplicable => Glyph::NotApplicable,
    }
}
