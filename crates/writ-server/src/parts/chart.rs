//! Charts, drawn on the server as SVG: labels at the marks instead of a legend apart, a second
//! channel beside colour, bars from zero, and always a table with the same numbers beside them.

use maud::{Markup, html};

/// One bar of a stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Below the bar.
    pub label: String,
    /// From the ground up.
    pub parts: Vec<u64>,
}

/// Look of the parts of a stack, from the ground up: class of the style sheet and word.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Class.
    pub class: &'static str,
    /// Word.
    pub word: &'static str,
}

const HEIGHT: u64 = 120;
const STEP: u64 = 54;
const BAR: u64 = 34;

/// Stacked bars; `title` is the sentence for who cannot see them.
#[must_use]
pub fn stacks(title: &str, kinds: &[Kind], stacks: &[Stack]) -> Markup {
    let highest = stacks
        .iter()
        .map(|stack| stack.parts.iter().sum::<u64>())
        .max()
        .unwrap_or(0)
        .max(1);
    let width = STEP * stacks.len() as u64 + 8;
    let scale = |value: u64| value * HEIGHT / highest;
    html! {
        figure.chart {
            svg role="img" aria-label=(title) viewBox={ "0 0 " (width) " " (HEIGHT + 44) } width=(width) height=(HEIGHT + 44) {
                @for (at, stack) in stacks.iter().enumerate() {
                    @let left = STEP * at as u64 + (STEP - BAR) / 2;
                    @let total: u64 = stack.parts.iter().sum();
                    @let bottoms = bottoms(&stack.parts, scale);
                    @for ((part, bottom), kind) in stack.parts.iter().zip(&bottoms).zip(kinds) {
                        @if *part > 0 {
                            rect class={ "bar " (kind.class) } x=(left) width=(BAR) y=(HEIGHT + 18 - bottom - scale(*part)) height=(scale(*part).max(2)) {}
                        }
                    }
                    text class="total" x=(left + BAR / 2) y=(HEIGHT + 12 - scale(total)) text-anchor="middle" { (total) }
                    text class="tick" x=(left + BAR / 2) y=(HEIGHT + 36) text-anchor="middle" { (stack.label) }
                }
                line class="ground" x1="0" x2=(width) y1=(HEIGHT + 18) y2=(HEIGHT + 18) {}
            }
            figcaption {
                @for kind in kinds.iter().rev() {
                    span.key { svg width="14" height="12" aria-hidden="true" { rect class={ "bar " (kind.class) } x="1" y="1" width="12" height="10" {} } (kind.word) }
                }
            }
        }
    }
}

fn bottoms(parts: &[u64], scale: impl Fn(u64) -> u64) -> Vec<u64> {
    let mut bottom = 0;
    parts
        .iter()
        .map(|part| {
            let here = bottom;
            bottom += scale(*part);
            here
        })
        .collect()
}

/// A mark on a time line.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Position, 0 to 1,000.
    pub at: u64,
    /// Class of the style sheet: `deploy`, `exempt`, `break`, `drift`, `failed`.
    pub class: &'static str,
    /// What it is, for the title.
    pub title: String,
    /// Where it leads.
    pub href: String,
}

/// One lane of a time line.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Name.
    pub name: String,
    /// Marks.
    pub marks: Vec<Mark>,
}

/// Lanes over the same period; `ticks` are positions (0 to 1,000) with their labels.
#[must_use]
pub fn lanes(title: &str, ticks: &[(u64, String)], lanes: &[Lane]) -> Markup {
    const LEFT: u64 = 120;
    const WIDE: u64 = 800;
    const LANE: u64 = 36;
    let height = LANE * lanes.len() as u64 + 28;
    let x = |at: u64| LEFT + at * WIDE / 1_000;
    html! {
        figure.chart.lanes {
            svg aria-label=(title) role="group" viewBox={ "0 0 " (LEFT + WIDE + 16) " " (height) } width=(LEFT + WIDE + 16) height=(height) {
                @for (at, label) in ticks {
                    line class="grid" x1=(x(*at)) x2=(x(*at)) y1="0" y2=(height - 24) {}
                    text class="tick" x=(x(*at)) y=(height - 8) text-anchor="middle" { (label) }
                }
                @for (row, lane) in lanes.iter().enumerate() {
                    @let y = LANE * row as u64 + LANE / 2;
                    text class="lane" x="0" y=(y + 4) { (lane.name) }
                    line class="ground" x1=(LEFT) x2=(LEFT + WIDE) y1=(y) y2=(y) {}
                    @for mark in &lane.marks {
                        a href=(mark.href) aria-label=(mark.title) {
                            title { (mark.title) }
                            (shape(mark.class, x(mark.at), y))
                        }
                    }
                }
            }
        }
    }
}

/// Shape and colour say the same.
fn shape(class: &str, x: u64, y: u64) -> Markup {
    let path = match class {
        "exempt" => format!("M{x} {} l7 7 -7 7 -7 -7z", y - 7),
        "break" => format!("M{x} {} l8 14h-16z", y - 8),
        "failed" => format!("M{} {} l10 10 m0 -10 l-10 10", x - 5, y - 5),
        "drift" => format!(
            "M{} {} h12 v16 h-12z m0 8 l8 -8 m-8 16 l12 -12",
            x - 6,
            y - 8
        ),
        _ => format!("M{x} {} v16", y - 8),
    };
    html! {
        // A target large enough to hit.
        rect class="hit" x=(x.saturating_sub(12)) y=(y.saturating_sub(12)) width="24" height="24" {}
        path class={ "mark " (class) } d=(path) {}
    }
}
