//! The stages of a run as a drawing from left to right; the same data follows as a table.

use std::collections::BTreeMap;

use maud::{Markup, html};
use writ_model::State;

use super::chip;
use super::glyph;

/// One stage.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name.
    pub name: String,
    /// How it ended.
    pub state: State,
    /// Duration or reason.
    pub note: String,
    /// Stages that it waits for.
    pub needs: Vec<String>,
}

const WIDE: usize = 148;
const HIGH: usize = 44;
const GAP_X: usize = 36;
const GAP_Y: usize = 14;

/// The drawing.
#[must_use]
pub fn dag(title: &str, nodes: &[Node]) -> Markup {
    let columns = columns(nodes);
    let deepest = columns.values().copied().max().unwrap_or(0);
    let mut filled = vec![0_usize; deepest + 1];
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for node in nodes {
        let column = columns.get(node.name.as_str()).copied().unwrap_or(0);
        let row = filled[column];
        filled[column] += 1;
        places.insert(
            &node.name,
            (column * (WIDE + GAP_X) + 2, row * (HIGH + GAP_Y) + 2),
        );
    }
    let width = (deepest + 1) * (WIDE + GAP_X) - GAP_X + 4;
    let height = filled.iter().max().copied().unwrap_or(1) * (HIGH + GAP_Y) - GAP_Y + 4;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(title) {
            svg.dag role="img" aria-label=(title) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
                @for node in nodes {
                    @for need in &node.needs {
                        @if let (Some(from), Some(to)) = (places.get(need.as_str()), places.get(node.name.as_str())) {
                            path class="edge" d=(edge(*from, *to)) {}
                        }
                    }
                }
                @for node in nodes {
                    @if let Some((x, y)) = places.get(node.name.as_str()) {
                        g class={ "node " (chip::class(node.state)) } {
                            rect x=(x) y=(y) width=(WIDE) height=(HIGH) rx="3" {}
                            svg x=(x + 10) y=(y + 14) width="16" height="16" { use href={ "#" (symbol(node.state)) } {} }
                            text class="name" x=(x + 34) y=(y + 18) { (cut(&node.name, 15)) }
                            text class="note" x=(x + 34) y=(y + 34) { (cut(&node.note, 17)) }
                        }
                    }
                }
            }
        }
    }
}

const fn symbol(state: State) -> &'static str {
    match glyph::of(state) {
        glyph::Glyph::Pass => "g-pass",
        glyph::Glyph::Fail => "g-fail",
        glyph::Glyph::Exempt => "g-exempt",
        glyph::Glyph::Missing => "g-missing",
        glyph::Glyph::Expired => "g-expired",
        glyph::Glyph::Error => "g-error",
        glyph::Glyph::Waiting => "g-waiting",
        glyph::Glyph::Warned => "g-warned",
        _ => "g-na",
    }
}

/// The column of each stage: one behind the last stage that it waits for. Rounds are bounded, so a
/// circle that should not be there ends too.
fn columns(nodes: &[Node]) -> BTreeMap<&str, usize> {
    let mut columns: BTreeMap<&str, usize> =
        nodes.iter().map(|node| (node.name.as_str(), 0)).collect();
    for _ in 0..nodes.len() {
        let mut moved = false;
        for node in nodes {
            let behind = node
                .needs
                .iter()
                .filter_map(|need| columns.get(need.as_str()))
                .map(|column| column + 1)
                .max()
                .unwrap_or(0)
                .min(nodes.len());
            if columns.get(node.name.as_str()) != Some(&behind) {
                columns.insert(&node.name, behind);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    columns
}

fn edge(from: (usize, usize), to: (usize, usize)) -> String {
    let (x1, y1) = (from.0 + WIDE, from.1 + HIGH / 2);
    let (x2, y2) = (to.0, to.1 + HIGH / 2);
    let middle = x2.saturating_sub(GAP_X / 2);
    format!("M{x1} {y1} H{middle} V{y2} H{x2}")
}

fn cut(text: &str, room: usize) -> String {
    writ_render::text::cut(text, room).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, needs: &[&str]) -> Node {
        Node {
            name: name.to_owned(),
            state: State::Pass,
            note: String::new(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        }
    }

    #[test]
    fn stages_stand_behind_what_they_wait_for() {
        let nodes = [
            node("a", &[]),
            node("c", &["b"]),
            node("b", &["a"]),
            node("d", &["gone"]),
        ];
        let columns = columns(&nodes);
        assert_eq!(
            [columns["a"], columns["b"], columns["c"], columns["d"]],
            [0, 1, 2, 0]
        );
    }

    #[test]
    fn a_circle_ends() {
        let nodes = [node("a", &["b"]), node("b", &["a"])];
        assert!(dag("x", &nodes).into_string().len() > 100);
    }
}
