//! One control in depth: everything the decision knows about it.

use writ_model::Decision;

use crate::context::Context;
use crate::human::{Lines, card};
use crate::text::{clean, prose};

/// The check of `control` (compared without case) with all its problems, their fixes, full
/// evidence ids and the code to search for; `None` when the decision has no such check.
#[must_use]
pub fn why(decision: &Decision, control: &str, context: &Context) -> Option<String> {
    let (check, blocking) = decision
        .checks
        .iter()
        .map(|check| (check, true))
        .chain(decision.later.iter().map(|check| (check, false)))
        .find(|(check, _)| check.control.eq_ignore_ascii_case(control))?;
    let mut out = Lines::new(context.columns());
    let width = check.state.word().len();
    card(check, width, usize::MAX, context, &mut out);
    let indent = width + 2;
    let ids: Vec<String> = check.evidence.iter().map(|e| e.id.to_string()).collect();
    if !ids.is_empty() {
        out.labelled(indent, "ids", &ids);
    }
    let mut about = vec![format!(
        "{} version {}, code {}",
        clean(&check.control),
        check.version,
        clean(&check.code)
    )];
    about.push(format!(
        "{} {}, as of {}",
        clean(&decision.bundle.name),
        clean(&decision.bundle.version),
        context.at(decision.as_of)
    ));
    if !blocking {
        about.push(
            "judged after deployment or continuously: does not block this release".to_owned(),
        );
    }
    out.labelled(indent, "control", &about);
    let link = context.link(&format!(
        "controls/{}",
        crate::text::percent_path(&check.control)
    ));
    if let Some(link) = link {
        out.labelled(indent, "page", &[prose(&link)]);
    }
    Some(out.finish())
}
