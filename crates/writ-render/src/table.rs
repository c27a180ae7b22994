//! All checks of a decision, one line each.

use writ_model::{Check, Decision};

use crate::context::Context;
use crate::human::Lines;
use crate::text::{clean, columns, cut, pad, prose};
use crate::{paint, verdict};

/// State, control and title of every check, the most urgent first; controls judged later follow
/// under their own heading. Titles are cut on a terminal and wrapped elsewhere.
#[must_use]
pub fn table(decision: &Decision, context: &Context) -> String {
    let mut out = Lines::new(context.columns());
    let all = || decision.checks.iter().chain(&decision.later);
    let state_width = all().map(|c| c.state.word().len()).max().unwrap_or(0);
    let control_width = all()
        .map(|c| columns(&clean(&c.control)))
        .max()
        .unwrap_or(0)
        .min(24);
    let rows = |checks: &[Check], out: &mut Lines| {
        let mut sorted: Vec<&Check> = checks.iter().collect();
        sorted.sort_by_key(|check| check.state);
        for check in sorted {
            row(check, state_width, control_width, context, out);
        }
    };
    rows(&decision.checks, &mut out);
    if !decision.later.is_empty() {
        out.blank();
        out.push("After deployment and continuous (not blocking):");
        rows(&decision.later, &mut out);
    }
    out.blank();
    out.hanging(0, &format!("{}.", verdict::sentence(decision)));
    out.finish()
}

fn row(
    check: &Check,
    state_width: usize,
    control_width: usize,
    context: &Context,
    out: &mut Lines,
) {
    let painted = paint::state(check.state, state_width, context);
    let control = clean(&check.control);
    let title = prose(&check.title);
    let left = state_width + 2 + control_width + 2;
    let room = context.columns().saturating_sub(left).max(20);
    let title = if context.tty {
        cut(&title, room).into_owned()
    } else {
        title
    };
    let label = format!("{painted}  {}", pad(&control, control_width));
    out.head(&label, left - 2, &title);
}
