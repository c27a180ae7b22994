//! The merge-request note: GitHub- and GitLab-flavoured Markdown with a hidden marker, so that
//! one note is edited in place.
//!
//! Text from reports is data here: it cannot open HTML, break a table row, link, or call people.

use writ_model::{Answer, Check, Decision, Location};

use crate::context::Context;
use crate::text::{clean, plural, prose};
use crate::{parts, verdict};

/// The note. Starts with `<!-- writ:gate:SERVICE -->` and ends with a newline.
#[must_use]
pub fn decision(decision: &Decision, context: &Context) -> String {
    let mut out = format!("{}\n", marker("gate", &decision.service));
    out.push_str(&format!("### {}\n\n", escape(&verdict::sentence(decision))));
    if decision.answer == Answer::Yes
        && let Some(writ) = &context.writ
    {
        out.push_str(&format!(
            "Writ {}, ends {}{}.\n\n",
            code(&writ.id.short()),
            context.until(writ.expires_at),
            if writ.preview {
                " (preview: trusted by environment `local` only)"
            } else {
                ""
            }
        ));
    }
    for check in verdict::shown(decision) {
        out.push_str(&self::check(check, context));
    }
    out.push_str(&satisfied(decision));
    for line in [verdict::later(decision), not_covered(decision)]
        .into_iter()
        .flatten()
    {
        out.push_str(&format!("{}\n\n", escape(&line)));
    }
    out.push_str(&format!("<sub>{}</sub>\n", foot(decision, context)));
    out
}

/// The hidden line by which the note is found again. Only letters, digits, `-`, `_`, `.` and `/`
/// of the service are kept.
#[must_use]
pub fn marker(kind: &str, service: &str) -> String {
    let name: String = service
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_./".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    // `--` would end an HTML comment.
    format!("<!-- writ:{kind}:{} -->", name.replace("--", "__"))
}

/// One check: title with its state, and a table of its parts.
#[must_use]
pub fn check(check: &Check, context: &Context) -> String {
    let mut out = format!(
        "**{} · {}** ({})\n\n| | |\n|---|---|\n",
        escape(&check.control),
        escape(&prose(&check.title)),
        check.state
    );
    for part in parts::parts(check, context, parts::CARD_ITEMS) {
        let cell = match part.label {
            "or" => way_out(check, context),
            "evidence" => evidence(check, context),
            _ => part
                .lines
                .iter()
                .map(|line| escape(line))
                .collect::<Vec<_>>()
                .join("<br>"),
        };
        let label = capital(part.label);
        out.push_str(&format!("| **{label}** | {cell} |\n"));
        if part.label == "found" {
            out.push_str(&places(check, context));
        }
    }
    out.push('\n');
    out
}

/// A row of links to the lines behind the problems, where the code host's address is known.
fn places(check: &Check, context: &Context) -> String {
    let mut links: Vec<String> = vec![];
    for item in &check.items {
        if let Some(location @ Location::File { path, line, .. }) = &item.location
            && let Some(url) = context.source(path, *line)
        {
            let link = format!("[{}]({url})", escape(&parts::place(location)));
            if !links.contains(&link) {
                links.push(link);
            }
        }
    }
    links.truncate(parts::CARD_ITEMS);
    if links.is_empty() {
        return String::new();
    }
    format!("| **Where** | {} |\n", links.join(" · "))
}

fn way_out(check: &Check, context: &Context) -> String {
    let Some(or) = &check.or else {
        return String::new();
    };
    let mut cells = vec![];
    if let Some(command) = &or.command {
        cells.push(code(&prose(command)));
        let path = format!("x/new?check={}", query(&check.control));
        if let Some(link) = context.link(&path) {
            cells.push(format!("[Request it here]({link})"));
        }
    }
    let text = prose(&or.text);
    if !text.is_empty() {
        cells.push(escape(&text));
    }
    cells.join("<br>")
}

fn evidence(check: &Check, context: &Context) -> String {
    if check.evidence.is_empty() {
        return "none".to_owned();
    }
    let mut cells: Vec<String> = check
        .evidence
        .iter()
        .map(|e| {
            let id = code(&e.id.short());
            let id = match context.link(&format!("e/{}", e.id)) {
                Some(link) => format!("[{id}]({link})"),
                None => id,
            };
            format!("{id} {}", escape(&prose(&e.summary)))
                .trim_end()
                .to_owned()
        })
        .collect();
    let more = cells.len().saturating_sub(parts::CARD_ITEMS);
    if more > 0 {
        cells.truncate(parts::CARD_ITEMS);
        cells.push(format!("and {more} more"));
    }
    cells.join("<br>")
}

fn satisfied(decision: &Decision) -> String {
    let rows: Vec<String> = decision
        .checks
        .iter()
        .filter(|check| !verdict::SHOWN.contains(&check.state))
        .map(|check| format!("{} {}", escape(&check.control), check.state))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let count = decision.counts.pass + decision.counts.exempt;
    let mut summary = format!("{} satisfied", plural(u64::from(count), "check"));
    let list = verdict::satisfied(decision, false);
    if !list.is_empty() {
        summary.push_str(&format!(" ({list})"));
    }
    if decision.counts.not_applicable > 0 {
        summary.push_str(&format!(", {} n/a", decision.counts.not_applicable));
    }
    format!(
        "<details><summary>{summary}</summary>\n\n{}\n\n</details>\n\n",
        rows.join(" · ")
    )
}

fn not_covered(decision: &Decision) -> Option<String> {
    (!decision.not_covered.is_empty()).then(|| {
        let list: Vec<String> = decision
            .not_covered
            .iter()
            .map(|text| prose(text).trim_end_matches('.').to_owned())
            .collect();
        format!(
            "Not covered by profile {}: {}.",
            decision.profile,
            list.join("; ")
        )
    })
}

fn foot(decision: &Decision, context: &Context) -> String {
    let mut list = vec![escape(&verdict::change(decision, context))];
    list.push(format!(
        "profile {}, controls {}",
        escape(&decision.profile),
        escape(&decision.bundle.version)
    ));
    if let Some(id) = context.decision_id {
        let text = format!("decision {}", id.short());
        list.push(match context.link(&format!("d/{id}")) {
            Some(link) => format!("[{text}]({link})"),
            None => text,
        });
    }
    list.push(format!("as of {}", decision.as_of.to_seconds_text()));
    list.push("updated when the verdict changes".to_owned());
    list.join(" · ")
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn query(text: &str) -> String {
    crate::text::percent_path(text).replace('/', "%2F")
}

/// Text from outside as literal Markdown text in one line, fit for a table cell: markup is
/// escaped, HTML is entities, and `@name`, `#1`, `!1`, `://` are broken by a zero-width space so
/// that no one is called and nothing links.
#[must_use]
pub fn escape(text: &str) -> String {
    let clean = clean(text);
    let chars: Vec<char> = clean.chars().collect();
    let mut out = String::with_capacity(clean.len() + 16);
    for (index, c) in chars.iter().copied().enumerate() {
        let next = chars.get(index + 1).copied();
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '$' | '{' | '}' => {
                out.push('\\');
                out.push(c);
            }
            '~' => out.push_str("\\~"),
            '@' if next.is_some_and(char::is_alphanumeric) => out.push_str("@&#8203;"),
            '#' | '!' | '%' if next.is_some_and(char::is_alphanumeric) => {
                out.push(c);
                out.push_str("&#8203;");
            }
            ':' if next == Some('/') => out.push_str(":&#8203;"),
            // A line that begins with these would be a list, heading or quote.
            '#' | '+' | '-' | '=' if index == 0 => {
                out.push('\\');
                out.push(c);
            }
            '.' if index >= 3
                && chars[index - 3..index]
                    .iter()
                    .all(|c| c.eq_ignore_ascii_case(&'w')) =>
            {
                out.push_str(".&#8203;");
            }
            c => out.push(c),
        }
    }
    out
}

/// Text from outside as a code span, fit for a table cell.
#[must_use]
pub fn code(text: &str) -> String {
    let clean = clean(text).replace('|', "\\|");
    if clean.trim().is_empty() {
        return String::new();
    }
    let mut longest = 0;
    let mut run = 0;
    for c in clean.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{clean}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let text = escape(
            "<img src=x onerror=alert(1)> | `rm` @all #1 !2 https://evil.example www.evil.example",
        );
        for raw in ["<img", "@all", "#1", "!2", "://", "www.e"] {
            assert!(!text.contains(raw), "{raw} in {text}");
        }
        assert!(text.contains("\\|") && text.contains("\\`rm\\`"));
        assert_eq!(escape("a\n# b"), "a\\\\n# b");
    }

    #[test]
    fn code_spans_outlast_backticks() {
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(code("x|y"), "`x\\|y`");
        assert_eq!(code(" "), "");
    }

    #[test]
    fn markers_cannot_close_their_comment() {
        assert_eq!(marker("gate", "org/a-->b"), "<!-- writ:gate:org/a___b -->");
    }
}
