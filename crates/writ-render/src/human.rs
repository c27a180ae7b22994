//! The gate's message for people: verdict line, one card per root failure, what else, links.

use writ_model::{Answer, Check, Decision, State};

use crate::context::Context;
use crate::text::{clean, columns, number, pad, plural, prose, wrap};
use crate::{paint, parts, verdict};

/// Columns of a part's label with the space behind it: `evidence` and two blanks.
const LABEL: usize = 10;

/// Entries of the not-covered list that are shown.
const NOT_COVERED: usize = 3;

/// The whole message, ending with a newline. 80 columns, no boxes; colour only on state words.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut out = Lines::new(context.columns());
    if decision.answer == Answer::Yes {
        compliant(decision, context, &mut out);
    } else {
        let headline = format!(
            "  {} for {}: {}",
            verdict::change(decision, context),
            clean(&decision.environment),
            verdict::reason(decision)
        );
        let painted = paint::headline(decision.answer, context);
        out.head(&painted, decision.answer.headline().len(), &headline);
    }
    let shown = verdict::shown(decision);
    let state_width = shown
        .iter()
        .map(|c| c.state.word().len())
        .max()
        .unwrap_or(0);
    for check in &shown {
        out.blank();
        card(check, state_width, parts::CARD_ITEMS, context, &mut out);
    }
    footer(decision, &shown, context, &mut out);
    out.finish()
}

/// One check as a card: state word, control, title, then its parts. Ends with a newline.
#[must_use]
pub fn check(check: &Check, context: &Context) -> String {
    let mut out = Lines::new(context.columns());
    let width = check.state.word().len();
    card(check, width, parts::CARD_ITEMS, context, &mut out);
    out.finish()
}

/// One card: state word, control, title; then its parts, aligned.
pub(crate) fn card(
    check: &Check,
    state_width: usize,
    max_items: usize,
    context: &Context,
    out: &mut Lines,
) {
    let indent = state_width + 2;
    let painted = paint::state(check.state, state_width, context);
    let control = clean(&check.control);
    let title = format!("  {control}  {}", prose(&check.title));
    out.head(&painted, state_width, &title);
    for part in parts::parts(check, context, max_items) {
        out.labelled(indent, part.label, &part.lines);
    }
}

fn compliant(decision: &Decision, context: &Context, out: &mut Lines) {
    let mut headline = format!(
        "  {} for {}",
        verdict::change(decision, context),
        clean(&decision.environment)
    );
    if let Some(artifact) = decision.subject.artifact {
        let digest = format!("sha256:{}", artifact.short());
        if !headline.contains(&digest) {
            headline.push_str(&format!("  {digest}"));
        }
    }
    let painted = paint::headline(decision.answer, context);
    out.head(&painted, decision.answer.headline().len(), &headline);
    out.hanging(
        2,
        &format!(
            "{}: {}",
            verdict::reason(decision),
            satisfied_with_exemptions(decision, context)
        ),
    );
    let profile = format!(
        "{}, controls {} {}",
        clean(&decision.profile),
        clean(&decision.bundle.name),
        clean(&decision.bundle.version)
    );
    out.labelled(2, "profile", &[profile]);
    if let Some(line) = decision_line(context) {
        out.labelled(2, "decision", &[line]);
    }
    if let Some(writ) = &context.writ {
        let mut line = format!(
            "{}, ends {}",
            writ.id.short(),
            context.until(writ.expires_at)
        );
        if writ.preview {
            line.push_str("; a preview: only environment local trusts this store's key");
        }
        out.labelled(2, "writ", &[line]);
    }
}

/// `18 pass, 1 exempt (EX-118, ends in 6 days)`.
fn satisfied_with_exemptions(decision: &Decision, context: &Context) -> String {
    let exemptions: Vec<String> = decision
        .checks
        .iter()
        .filter(|check| check.state == State::Exempt)
        .flat_map(|check| &check.exemptions)
        .map(|e| parts::exemption_short(e, context))
        .collect();
    let mut list = vec![];
    for state in [State::Pass, State::Exempt, State::Warned] {
        let count = decision.counts.get(state);
        if count == 0 {
            continue;
        }
        list.push(if state == State::Exempt && !exemptions.is_empty() {
            format!("{count} {state} ({})", exemptions.join("; "))
        } else {
            format!("{count} {state}")
        });
    }
    list.join(", ")
}

/// `dec_0123456789, log #184,231`.
fn decision_line(context: &Context) -> Option<String> {
    let id = context.decision_id?.short();
    Some(match context.log_index {
        Some(index) => format!("{id}, log #{}", number(index)),
        None => format!("{id}, not recorded"),
    })
}

fn footer(decision: &Decision, shown: &[&Check], context: &Context, out: &mut Lines) {
    let mut tail: Vec<String> = vec![];
    if decision.answer != Answer::Yes {
        let counts = &decision.counts;
        let others = counts.pass + counts.exempt;
        if others > 0 {
            tail.push(format!(
                "{} {} satisfied ({}).",
                if shown.is_empty() {
                    plural(u64::from(others), "check")
                } else {
                    plural(u64::from(others), "other check")
                },
                if others == 1 { "is" } else { "are" },
                verdict::satisfied(decision, false)
            ));
        }
    }
    let out_of_scope = decision.counts.not_applicable;
    if out_of_scope > 0 {
        tail.push(format!(
            "{} {} not apply here.",
            plural(u64::from(out_of_scope), "check"),
            if out_of_scope == 1 { "does" } else { "do" }
        ));
    }
    tail.extend(verdict::later(decision));
    tail.extend(not_covered(decision));
    let more = more_lines(decision, shown, context);
    if !tail.is_empty() || !more.is_empty() || context.exit_line {
        out.blank();
    }
    for line in &tail {
        out.hanging(0, line);
    }
    for line in more {
        out.push(line);
    }
    if decision.answer != Answer::Yes
        && let Some(line) = decision_line(context)
    {
        out.push(format!("Decision: {line}"));
    }
    if context.exit_line {
        out.push(format!("exit {}", decision.answer.exit_code()));
    }
}

/// `Not covered by profile startup: a; b; c; and 2 more.`
fn not_covered(decision: &Decision) -> Option<String> {
    if decision.not_covered.is_empty() {
        return None;
    }
    let mut list: Vec<String> = decision
        .not_covered
        .iter()
        .take(NOT_COVERED)
        .map(|text| prose(text).trim_end_matches('.').to_owned())
        .collect();
    let more = decision.not_covered.len().saturating_sub(NOT_COVERED);
    if more > 0 {
        list.push(format!("and {more} more"));
    }
    Some(format!(
        "Not covered by profile {}: {}.",
        clean(&decision.profile),
        list.join("; ")
    ))
}

/// Command and address on one line, or on two where they do not fit.
fn more_lines(decision: &Decision, shown: &[&Check], context: &Context) -> Vec<String> {
    let link = context
        .decision_id
        .and_then(|id| context.link(&format!("d/{id}")));
    let command = shown
        .first()
        .filter(|_| decision.answer != Answer::Yes)
        .map(|check| format!("writ why {}", clean(&check.control)));
    match (command, link) {
        (Some(command), Some(link)) => {
            let line = format!("More: {command}    {link}");
            if columns(&line) <= context.columns() {
                vec![line]
            } else {
                vec![format!("More: {command}"), format!("      {link}")]
            }
        }
        (Some(one), None) | (None, Some(one)) => vec![format!("More: {one}")],
        (None, None) => vec![],
    }
}

/// Lines of output with a right edge.
pub(crate) struct Lines {
    text: String,
    width: usize,
}

impl Lines {
    pub(crate) const fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    /// One line as it is, without trailing spaces.
    pub(crate) fn push(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref().trim_end());
        self.text.push('\n');
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A painted word of `word_width` columns, then text that wraps under its own start.
    pub(crate) fn head(&mut self, painted: &str, word_width: usize, text: &str) {
        let indent = word_width + 2;
        let body = text.trim_start();
        for (index, line) in wrap(body, self.width.saturating_sub(indent))
            .iter()
            .enumerate()
        {
            if index == 0 {
                self.push(format!("{painted}  {line}"));
            } else {
                self.push(format!("{}{line}", " ".repeat(indent)));
            }
        }
    }

    /// Wrapped text under a constant indent.
    pub(crate) fn hanging(&mut self, indent: usize, text: &str) {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            self.push(format!("{}{line}", " ".repeat(indent)));
        }
    }

    /// `found     text`, further lines under the text. A step's number (`1. `) hangs.
    pub(crate) fn labelled(&mut self, indent: usize, label: &str, lines: &[String]) {
        self.labelled_wide(indent, label, LABEL, lines);
    }

    /// The same with labels of another width.
    pub(crate) fn labelled_wide(
        &mut self,
        indent: usize,
        label: &str,
        label_width: usize,
        lines: &[String],
    ) {
        let column = indent + label_width;
        let room = self.width.saturating_sub(column);
        let mut first = true;
        for line in lines {
            let hang = step_indent(line);
            for (index, piece) in wrap_hanging(line, room, hang).iter().enumerate() {
                let left = if first {
                    format!("{}{}", " ".repeat(indent), pad(label, label_width))
                } else {
                    " ".repeat(column)
                };
                let inner = if index == 0 { 0 } else { hang };
                self.push(format!("{left}{}{piece}", " ".repeat(inner)));
                first = false;
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

fn wrap_hanging(line: &str, room: usize, hang: usize) -> Vec<String> {
    let mut pieces = wrap(line, room);
    if hang > 0 && pieces.len() > 1 {
        let first = pieces.remove(0);
        let rest = pieces.join(" ");
        let mut all = vec![first];
        all.extend(wrap(&rest, room.saturating_sub(hang)));
        return all;
    }
    pieces
}

/// Columns of a leading step number such as `1. `.
fn step_indent(line: &str) -> usize {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=2).contains(&digits) && line[digits..].starts_with(". ") {
        digits + 2
    } else {
        0
    }
}
