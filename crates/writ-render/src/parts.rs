//! The parts of a check, cleaned, in their fixed order. Every text format prints these.

use writ_model::{Check, CheckItem, ExemptionRef, Location, MapsTo};

use crate::context::{Context, names_a_file};
use crate::text::{clean, plural, prose};

/// Problems listed in a card; `writ why` lists them all.
pub const CARD_ITEMS: usize = 5;

/// Lines of one part in a card.
const CARD_LINES: usize = 12;

/// One labelled part: `fix`, with its lines.
pub struct Part {
    pub label: &'static str,
    pub lines: Vec<String>,
}

/// The parts of a check: found, required, why, fix, or, exempt, evidence. Parts without text are
/// left out, except *evidence*, whose absence is said.
pub fn parts(check: &Check, context: &Context, max_items: usize) -> Vec<Part> {
    let mut list = vec![
        Part {
            label: "found",
            lines: found(check, max_items),
        },
        Part {
            label: "required",
            lines: non_empty(prose(&check.required)),
        },
        Part {
            label: "why",
            lines: why(check),
        },
        Part {
            label: "fix",
            lines: fix(check),
        },
        Part {
            label: "or",
            lines: way_out(check),
        },
        Part {
            label: "exempt",
            lines: check
                .exemptions
                .iter()
                .map(|e| exemption(e, context))
                .collect(),
        },
    ];
    list.retain(|part| !part.lines.is_empty());
    list.push(Part {
        label: "evidence",
        lines: evidence(check),
    });
    if max_items <= CARD_ITEMS {
        for part in &mut list {
            shorten(&mut part.lines, &check.control);
        }
    }
    list
}

/// A card stays a card: `writ why` has the rest.
fn shorten(lines: &mut Vec<String>, control: &str) {
    if lines.len() > CARD_LINES {
        let more = lines.len() - CARD_LINES + 1;
        lines.truncate(CARD_LINES - 1);
        lines.push(format!("and {more} more: writ why {}", clean(control)));
    }
}

fn non_empty(text: String) -> Vec<String> {
    if text.is_empty() { vec![] } else { vec![text] }
}

fn found(check: &Check, max_items: usize) -> Vec<String> {
    let mut lines: Vec<String> = check
        .found
        .iter()
        .map(|line| clean(line).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    // A rule may already have told the story of an item in `found`: do not tell it twice.
    let untold: Vec<&CheckItem> = check
        .items
        .iter()
        .filter(|item| !check.found.iter().any(|line| line.contains(&item.name)))
        .collect();
    for item in untold.iter().take(max_items) {
        lines.push(item_line(item));
        if max_items > CARD_ITEMS
            && let Some(fix) = &item.fix
        {
            lines.push(format!("  fix: {}", prose(fix)));
        }
    }
    let told = check.items.len() - untold.len().saturating_sub(max_items);
    let more = check.items_total.saturating_sub(told as u64);
    if more > 0 && !untold.is_empty() {
        lines.push(if max_items > CARD_ITEMS {
            format!("and {} more, in the evidence", crate::text::number(more))
        } else {
            format!(
                "and {} more: writ why {}",
                crate::text::number(more),
                clean(&check.control)
            )
        });
    }
    lines
}

/// `CVE-2026-31817  HIGH  libexpat 2.6.2-1  (Dockerfile:1)`.
pub fn item_line(item: &CheckItem) -> String {
    let mut columns = vec![clean(&item.name).into_owned()];
    if let Some(severity) = item.severity {
        columns.push(severity.word().to_uppercase());
    }
    columns.push(prose(&item.text));
    if let Some(location) = &item.location {
        let place = match location {
            // The text of a component names it already: only where it lies is new.
            Location::Package { name, path, .. } if item.text.contains(name.as_str()) => {
                path.as_deref().map(clean).unwrap_or_default().into_owned()
            }
            _ => place(location),
        };
        if !place.is_empty() && !item.text.contains(&place) {
            columns.push(format!("({place})"));
        }
    }
    if let Some(number) = &item.exempted_by {
        columns.push(format!("exempt by {}", clean(number)));
    }
    columns.retain(|column| !column.is_empty());
    columns.join("  ")
}

/// A location for people: `src/pay.py:42`, `libexpat 2.6.2-1`, `GET https://…`.
pub fn place(location: &Location) -> String {
    match location {
        Location::File {
            path,
            line,
            resource,
            ..
        } => {
            let mut text = clean(path).into_owned();
            if let Some(line) = line {
                text.push_str(&format!(":{line}"));
            }
            if let Some(resource) = resource.as_deref().filter(|r| !r.is_empty()) {
                text.push_str(&format!(" {}", clean(resource)));
            }
            text
        }
        Location::Package {
            name,
            version,
            path,
            ..
        } => {
            let mut text = clean(name).into_owned();
            if let Some(version) = version {
                text.push_str(&format!(" {}", clean(version)));
            }
            if let Some(path) = path {
                text.push_str(&format!(" in {}", clean(path)));
            }
            text
        }
        Location::Url { url, method, .. } => match method {
            Some(method) => format!("{} {}", clean(method), clean(url)),
            None => clean(url).into_owned(),
        },
        Location::None => String::new(),
    }
}

/// A file of the repository that a machine can open, not yet cleaned.
#[derive(Default)]
pub struct FilePlace<'a> {
    pub path: &'a str,
    pub line: Option<u32>,
    pub end_line: Option<u32>,
    pub column: Option<u32>,
}

/// The file of a location, without a leading `./`; `None` where it names none. Numbers that cannot
/// be (0, an end before its start) are left out.
pub fn file(location: &Location) -> Option<FilePlace<'_>> {
    let place = match location {
        Location::File {
            path,
            line,
            end_line,
            column,
            ..
        } => {
            let line = line.filter(|line| *line > 0);
            FilePlace {
                path,
                line,
                end_line: end_line.filter(|end| line.is_some_and(|line| *end >= line)),
                column: column.filter(|column| line.is_some() && *column > 0),
            }
        }
        Location::Package {
            path: Some(path), ..
        } => FilePlace {
            path,
            ..FilePlace::default()
        },
        _ => return None,
    };
    let path = place.path.trim_start_matches("./");
    names_a_file(path).then_some(FilePlace { path, ..place })
}

fn why(check: &Check) -> Vec<String> {
    let mut lines = non_empty(prose(&check.why));
    let mut sentence = maps(&check.maps);
    if !sentence.is_empty() {
        sentence.push('.');
    }
    if !check.owner.is_empty() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(&format!("Owner {}.", prose(&check.owner)));
    }
    lines.extend(non_empty(sentence));
    lines
}

/// `SOC 2 CC7.1, ISO 27001 A.8.8`.
pub fn maps(maps: &[MapsTo]) -> String {
    let several = maps.iter().any(|m| m.requirements.len() > 1);
    let names: Vec<String> = maps
        .iter()
        .map(|m| {
            let requirements: Vec<String> = m.requirements.iter().map(|r| prose(r)).collect();
            format!(
                "{} {}",
                framework_name(&m.framework),
                requirements.join(", ")
            )
            .trim_end()
            .to_owned()
        })
        .collect();
    names.join(if several { "; " } else { ", " })
}

/// The name that people know a framework by; an unknown key shows as it is.
pub fn framework_name(key: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("soc2", "SOC 2"),
        ("iso27001", "ISO 27001"),
        ("sox", "SOX ITGC"),
        ("nist-sp800-190", "NIST SP 800-190"),
        ("800-190", "NIST SP 800-190"),
        ("nist-ssdf", "NIST SSDF"),
        ("ssdf", "NIST SSDF"),
        ("hipaa", "HIPAA"),
        ("slsa", "SLSA"),
        ("openssf-scorecard", "Scorecard"),
        ("scorecard", "Scorecard"),
        ("fedramp", "FedRAMP"),
    ];
    NAMES
        .iter()
        .find(|(prefix, _)| key.starts_with(prefix))
        .map_or_else(|| prose(key), |(_, name)| (*name).to_owned())
}

fn fix(check: &Check) -> Vec<String> {
    let steps: Vec<String> = check
        .fix
        .iter()
        .map(|step| clean(step.trim()).into_owned())
        .filter(|step| !step.is_empty())
        .collect();
    if steps.len() < 2 {
        return steps;
    }
    steps
        .iter()
        .enumerate()
        .map(|(index, step)| format!("{}. {step}", index + 1))
        .collect()
}

fn way_out(check: &Check) -> Vec<String> {
    let Some(or) = &check.or else { return vec![] };
    let mut lines = vec![];
    if let Some(command) = &or.command {
        lines.extend(non_empty(prose(command)));
    }
    lines.extend(non_empty(prose(&or.text)));
    lines
}

/// `EX-118, ends in 6 days, covers 2 problems`.
pub fn exemption(exemption: &ExemptionRef, context: &Context) -> String {
    format!(
        "{}, {}",
        exemption_short(exemption, context),
        match exemption.covers {
            0 => "covers the whole check".to_owned(),
            covers => format!("covers {}", plural(covers, "problem")),
        }
    )
}

/// `EX-118, ends in 6 days`.
pub fn exemption_short(exemption: &ExemptionRef, context: &Context) -> String {
    format!(
        "{}, ends {}",
        clean(&exemption.number),
        context.until(exemption.expires_at)
    )
}

fn evidence(check: &Check) -> Vec<String> {
    if check.evidence.is_empty() {
        return vec!["none".to_owned()];
    }
    check
        .evidence
        .iter()
        .map(|e| {
            format!("{}  {}", e.id.short(), prose(&e.summary))
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_named_once() {
        let item = CheckItem {
            fingerprint: None,
            name: "CVE-2026-31817".to_owned(),
            severity: Some(writ_model::Severity::High),
            text: "libexpat1 2.6.2-1".to_owned(),
            location: Some(Location::Package {
                purl: None,
                name: "libexpat1".to_owned(),
                version: Some("2.6.2-1".to_owned()),
                path: Some("var/lib/dpkg/status".to_owned()),
            }),
            fix: None,
            exempted_by: None,
        };
        assert_eq!(
            item_line(&item),
            "CVE-2026-31817  HIGH  libexpat1 2.6.2-1  (var/lib/dpkg/status)"
        );
    }

    #[test]
    fn frameworks_have_names_that_people_know() {
        for (key, name) in [
            ("soc2", "SOC 2"),
            ("sox", "SOX ITGC"),
            ("800-190", "NIST SP 800-190"),
            ("ssdf", "NIST SSDF"),
            ("other\n1", "other 1"),
        ] {
            assert_eq!(framework_name(key), name);
        }
    }
}
