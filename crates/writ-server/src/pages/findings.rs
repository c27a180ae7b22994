//! `/findings`: what is open, how old, where; the most severe and oldest first, or by public name.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_model::{EvidenceType, Severity, State, Timestamp};
use writ_registry::{
    FindingAges, FindingCursor, FindingGroups, FindingsByAge, FindingsFilter, Listed, Standing,
    Total, TrackedFinding,
};
use writ_render::text::number;

use super::ROWS;
use crate::figures::exemption::{self, Standing as Exempt};
use crate::http::export::{View, respond};
use crate::http::{Ask, Code, Form, Problem, Query, cursor};
use crate::parts::chart::{Kind, Stack, stacks};
use crate::parts::form::{Choice, Field, clear, filters, pager};
use crate::parts::frame::{Head, Section};
use crate::parts::strip::{Figure, strip};
use crate::parts::{Cell, Column, Empty, Row, Table, chip};
use crate::paths;

crate::page_query! {
    /// Which findings.
    FindingsQuery {
        /// Where they stand.
        state: Option<Standing>,
        /// Service.
        service: Option<String>,
        /// Severities.
        severity: Vec<Severity>,
        /// Category.
        category: Option<String>,
        /// Evidence type of the scans.
        r#type: Option<EvidenceType>,
        /// Tool.
        tool: Option<String>,
        /// Public name.
        name: Option<String>,
        /// Beginning of the fingerprint.
        fingerprint: Option<String>,
        /// Part of a text.
        q: Option<String>,
        /// Whether a fix is known.
        fixable: Option<bool>,
        /// First seen within so many days.
        age: Option<String>,
        /// `name`: one row per public name.
        group: Option<String>,
    }
}

/// Bounds of the ages, in days.
const AGES: [i64; 3] = [7, 30, 90];

/// Words of the ages.
const AGE_WORDS: [&str; 4] = ["0-7", "8-30", "31-90", "90+"];

struct Page {
    part: Listed<TrackedFinding, FindingCursor>,
    groups: Option<FindingGroups>,
    ages: FindingsByAge,
    exempt: Vec<(String, String)>,
    standing: Standing,
    filtered: bool,
}

/// Findings that a file looks at for what no index knows.
const LOOKED: u64 = 1_000_000;

/// Shows the page.
///
/// # Errors
/// The query cannot be understood, or the store cannot be read.
pub async fn show(ask: Ask, Query(query): Query<FindingsQuery>) -> Result<Response, Problem> {
    let (seen_from, seen_before) = age(query.age.as_deref(), ask.now)?;
    let filter = FindingsFilter {
        standing: query.state.unwrap_or_default(),
        service: query.service.clone(),
        severities: query.severity.clone(),
        category: query.category.clone(),
        evidence_type: query.r#type.map(|kind| kind.word().to_owned()),
        tool: query.tool.clone(),
        name: query.name.clone(),
        fingerprint: query.fingerprint.clone(),
        text: query.q.clone(),
        fixable: query.fixable,
        seen_from,
        seen_before,
        below: Some(ask.size),
        // A file says which ledger it was taken from: it is as it was at exactly that size.
        newest: ask.at.is_none() && ask.form == Form::Html,
        looked: if ask.form == Form::Html { 0 } else { LOOKED },
        uncounted: false,
        after: cursor::read(query.after.as_deref())?,
        limit: query.rows(ask.rows_for(ROWS).min(1_000), 1_000),
    };
    let store = &ask.app.store;
    let mut part = store.findings_listed(&filter).await?;
    // A file holds all parts, up to the limit of exports.
    while ask.form != Form::Html && part.items.len() < ask.rows_for(ROWS) {
        let Some(next) = part.next.take() else { break };
        let more = store
            .findings_listed(&FindingsFilter {
                after: Some(next),
                uncounted: true,
                ..filter.clone()
            })
            .await?;
        part.items.extend(more.items);
        part.next = more.next;
    }
    let by_name = query.group.as_deref() == Some("name");
    let groups = match by_name {
        true => Some(
            store
                .finding_groups(&FindingsFilter {
                    after: None,
                    ..filter.clone()
                })
                .await?,
        ),
        false => None,
    };
    let everything = FindingsFilter {
        standing: filter.standing,
        service: filter.service.clone(),
        below: filter.below,
        newest: filter.newest,
        looked: filter.looked,
        ..FindingsFilter::default()
    };
    let since = AGES.map(|days| days_before(ask.now, days));
    let filtered = !query.severity.is_empty()
        || query.category.is_some()
        || query.r#type.is_some()
        || query.tool.is_some()
        || query.name.is_some()
        || query.fingerprint.is_some()
        || query.q.is_some()
        || query.fixable.is_some()
        || query.age.is_some();
    let page = Page {
        part,
        groups,
        ages: store.finding_ages(&everything, &since).await?,
        exempt: exempt_names(&ask).await?,
        standing: filter.standing,
        filtered,
    };
    respond(&ask, &page).await
}

/// The beginning of the day (UTC) so many days ago.
fn days_before(now: Timestamp, days: i64) -> Timestamp {
    const DAY: i64 = 86_400_000_000;
    Timestamp::from_micros((now.micros().div_euclid(DAY) - days) * DAY)
}

/// The instants of an age word.
fn age(
    word: Option<&str>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Problem> {
    let before = |days: i64| Some(days_before(now, days));
    match word {
        None => Ok((None, None)),
        Some("0-7") => Ok((before(7), None)),
        Some("8-30") => Ok((before(30), before(7))),
        Some("31-90") => Ok((before(90), before(30))),
        Some("90+") => Ok((None, before(90))),
        Some(_) => {
            Err(Problem::new(Code::Query, "there is no such age").required(AGE_WORDS.join(", ")))
        }
    }
}

/// Names and fingerprints that live exemptions cover, with their number.
async fn exempt_names(ask: &Ask) -> Result<Vec<(String, String)>, Problem> {
    let mut names = Vec::new();
    for (row, standing) in exemption::all(ask, None).await? {
        if standing != Exempt::Live {
            continue;
        }
        for list in ["identifiers", "findings"] {
            for name in exemption::texts(&row, list) {
                names.push((format!("{}\u{0}{name}", row.service), row.human()));
            }
        }
    }
    Ok(names)
}

impl Page {
    fn fields(&self) -> Vec<Field> {
        vec![
            Field::Select {
                name: "severity",
                label: "Severity",
                any: "Any",
                choices: Severity::DESCENDING
                    .iter()
                    .map(|severity| Choice::same(severity.word()))
                    .collect(),
            },
            Field::Select {
                name: "state",
                label: "State",
                any: "Open",
                choices: vec![Choice::same("fixed"), Choice::same("all")],
            },
            Field::Select {
                name: "age",
                label: "Age in days",
                any: "Any",
                choices: AGE_WORDS.iter().map(|word| Choice::same(*word)).collect(),
            },
            Field::Select {
                name: "fixable",
                label: "Fix known",
                any: "Either",
                choices: vec![Choice::new("true", "yes"), Choice::new("false", "no")],
            },
            Field::Select {
                name: "group",
                label: "Rows",
                any: "One per service",
                choices: vec![Choice::new("name", "One per name")],
            },
            Field::Text {
                name: "q",
                label: "Text",
                hint: "CVE, package, file, rule",
            },
        ]
    }

    fn figures(&self, ask: &Ask) -> Vec<Figure> {
        let total: u64 = self.ages.rows.iter().flat_map(|row| &row.counts).sum();
        // Of a state in the past only so many are looked at.
        let number = |count: u64| match self.ages.looked {
            Some(_) => format!("at least {}", number(count)),
            None => number(count),
        };
        let of = |severity: Severity| {
            self.ages
                .rows
                .iter()
                .filter(|row| row.severity == severity)
                .flat_map(|row| &row.counts)
                .sum::<u64>()
        };
        let old: u64 = self
            .ages
            .rows
            .iter()
            .filter_map(|row| row.counts.last())
            .sum();
        let word = match self.standing {
            Standing::Open => "Open",
            Standing::Fixed => "Fixed",
            Standing::All => "Findings",
        };
        let mut figures = vec![Figure::new(word, number(total), "once per service")];
        for severity in [Severity::Critical, Severity::High, Severity::Medium] {
            let label = match severity {
                Severity::Critical => "Critical",
                Severity::High => "High",
                _ => "Medium",
            };
            let href = ask.here(
                Form::Html,
                &[("severity", Some(severity.word())), ("after", None)],
            );
            figures.push(
                Figure::new(label, number(of(severity)), format!("of {}", number(total))).to(href),
            );
        }
        let href = ask.here(Form::Html, &[("age", Some("90+")), ("after", None)]);
        figures.push(
            Figure::new(
                "Older than 90 days",
                number(old),
                format!("of {}", number(total)),
            )
            .to(href),
        );
        figures
    }

    fn table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "findings",
            "Findings, the most severe and oldest first",
            vec![
                Column::text("Severity"),
                Column::head("Name"),
                Column::text("Title"),
                Column::text("Place"),
                Column::narrow("Service"),
                Column::narrow("Tool"),
                Column::narrow("First seen"),
                Column::number("Age"),
                Column::text("Fix"),
                Column::text("State"),
            ],
        );
        for finding in &self.part.items {
            table.rows.push(Row::new(vec![
                Cell::html(finding.severity.word(), chip::severity(finding.severity)),
                Cell::link(ask, &paths::finding(&finding.fingerprint), &finding.name),
                Cell::text(&finding.title),
                Cell::html(&finding.place, html! { code.place { (finding.place) } }),
                Cell::text(&finding.service),
                Cell::text(&finding.tool),
                Cell::html(
                    finding.first_seen.to_seconds_text(),
                    html! { time datetime=(finding.first_seen.to_seconds_text()) { (crate::parts::time::day(finding.first_seen)) } },
                ),
                days(ask.now, finding),
                Cell::text(if finding.fixable { "known" } else { "" }),
                self.state(ask, finding),
            ]));
        }
        table.empty = Some(self.empty(ask));
        table
    }

    fn groups_table(&self, ask: &Ask, groups: &FindingGroups) -> Table {
        let mut table = Table::new(
            "names",
            format!(
                "Findings by public name, the most severe and widest spread first{}",
                looked(groups.looked)
            ),
            vec![
                Column::text("Severity"),
                Column::head("Name"),
                Column::text("Title"),
                Column::text("Category"),
                Column::number("Services"),
                Column::number("Findings"),
                Column::number("With a fix"),
                Column::narrow("First seen"),
            ],
        );
        for group in &groups.items {
            table.rows.push(Row::new(vec![
                Cell::html(group.severity.word(), chip::severity(group.severity)),
                Cell::link(
                    ask,
                    &paths::findings().with("name", &group.name),
                    &group.name,
                ),
                Cell::text(&group.title),
                Cell::text(&group.category),
                Cell::number(group.services),
                Cell::number(group.findings),
                Cell::number(group.fixable),
                Cell::ago(ask, group.first_seen),
            ]));
        }
        table.empty = Some(self.empty(ask));
        table
    }

    fn state(&self, ask: &Ask, finding: &TrackedFinding) -> Cell {
        if !open_at(finding, ask) {
            return Cell::html("fixed", chip::tag(State::Pass, "fixed"));
        }
        let covered = |name: &str| {
            let wanted = format!("{}\u{0}{name}", finding.service);
            self.exempt.iter().find(|(known, _)| *known == wanted)
        };
        if let Some((_, number)) =
            covered(&finding.name).or_else(|| covered(&finding.fingerprint.to_string()))
        {
            return Cell::html(
                format!("exempt {number}"),
                html! { a href=(ask.href(&paths::exemption(number))) { (chip::tag(State::Exempt, number)) } },
            );
        }
        if finding.suppressed {
            return Cell::html("silenced", chip::tag(State::Warned, "silenced"));
        }
        Cell::text("open")
    }

    fn empty(&self, ask: &Ask) -> Empty {
        if self.filtered {
            return Empty::FilteredAway {
                what: "No finding matches.".to_owned(),
                clear: clear(ask, &self.fields()),
            };
        }
        Empty::NothingFound("0 findings. Evidence shows what was looked at.".to_owned())
    }

    fn ages_table(&self) -> Table {
        let mut columns = vec![Column::head("Severity")];
        columns.extend(
            AGE_WORDS
                .iter()
                .map(|word| Column::number(format!("{word} days"))),
        );
        columns.push(Column::number("All"));
        let mut table = Table::new(
            "ages",
            format!("Findings by severity and age{}", looked(self.ages.looked)),
            columns,
        );
        for row in &self.ages.rows {
            let mut cells = vec![Cell::html(
                row.severity.word(),
                chip::severity(row.severity),
            )];
            cells.extend(row.counts.iter().map(|count| Cell::number(*count)));
            cells.push(Cell::number(row.counts.iter().sum()));
            table.rows.push(Row::new(cells));
        }
        table
    }
}

/// How many names there are.
fn names(groups: &FindingGroups) -> Total {
    let count = groups.items.len();
    Total {
        count: count as u64,
        more: count >= writ_registry::MAX_ROWS || groups.looked.is_some(),
        looked: groups.looked,
    }
}

/// What a caption says where not all findings were looked at.
fn looked(looked: Option<u64>) -> String {
    looked.map_or(String::new(), |looked| {
        format!(
            "; of the {} most severe and oldest that were looked at",
            number(looked)
        )
    })
}

/// Whether a finding was open as of the request's ledger size.
fn open_at(finding: &TrackedFinding, ask: &Ask) -> bool {
    match finding.fixed_at {
        None => true,
        Some(fixed) => ask.at.is_some() && fixed > ask.now,
    }
}

/// How long a finding has been, or was, open.
fn days(now: Timestamp, finding: &TrackedFinding) -> Cell {
    let end = finding
        .fixed_at
        .filter(|fixed| *fixed <= now)
        .unwrap_or(now);
    let days = end.since(finding.first_seen).secs().max(0) / 86_400;
    Cell::html(days.to_string(), html! { (days) " d" })
}

/// The histogram of ages.
#[must_use]
pub fn ages_chart(ages: &[FindingAges]) -> Markup {
    const KINDS: [Kind; 4] = [
        Kind {
            class: "low",
            word: "low and below",
        },
        Kind {
            class: "medium",
            word: "medium",
        },
        Kind {
            class: "high",
            word: "high",
        },
        Kind {
            class: "critical",
            word: "critical",
        },
    ];
    let at = |severity: Severity, age: usize| {
        ages.iter()
            .filter(|row| row.severity == severity)
            .filter_map(|row| row.counts.get(age))
            .sum::<u64>()
    };
    let bars: Vec<Stack> = AGE_WORDS
        .iter()
        .enumerate()
        .map(|(age, word)| Stack {
            label: (*word).to_owned(),
            parts: vec![
                at(Severity::Low, age) + at(Severity::Info, age) + at(Severity::Unknown, age),
                at(Severity::Medium, age),
                at(Severity::High, age),
                at(Severity::Critical, age),
            ],
        })
        .collect();
    let total: u64 = ages.iter().flat_map(|row| &row.counts).sum();
    stacks(
        &format!("{total} findings by age in days and severity"),
        &KINDS,
        &bars,
    )
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.findings/1";

    fn head(&self, ask: &Ask) -> Head {
        let came_back = self
            .part
            .items
            .iter()
            .filter(|finding| finding.reopened > 0)
            .count();
        let mut sub = "Problems that tools found, followed from the first scan that saw them to the scan that no longer does.".to_owned();
        if ask.at.is_some() && came_back > 0 {
            sub.push_str(&format!(
                " {} below came back after a fix: whether they were open at this instant is not known exactly.",
                super::controls::plural(came_back, "finding")
            ));
        }
        if let Some(size) = self.part.as_of {
            sub.push_str(&format!(
                " Findings changed after the newest signed head: these are as of {} entries.",
                number(size)
            ));
        }
        Head::new(Section::Findings, "Findings", sub).scoped()
    }

    fn body(&self, ask: &Ask) -> Markup {
        let next = self.part.next.as_ref().map(cursor::write);
        html! {
            (strip(&self.figures(ask)))
            details.chart-box open {
                summary { "Age" }
                div.beside { (ages_chart(&self.ages.rows)) (self.ages_table().html()) }
            }
            (filters(ask, &self.fields()))
            div id="list" {
                @match &self.groups {
                    Some(groups) => {
                        (self.groups_table(ask, groups).html())
                        (pager(ask, groups.items.len(), names(groups), None))
                    }
                    None => {
                        (self.table(ask).html())
                        (pager(ask, self.part.items.len(), self.part.total, next.as_deref()))
                    }
                }
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        let mut tables = vec![self.table(ask), self.ages_table()];
        if let Some(groups) = &self.groups {
            tables.insert(0, self.groups_table(ask, groups));
        }
        tables
    }

    fn data(&self) -> Value {
        json!({
            "items": self.part.items,
            "total": self.part.total,
            "next": self.part.next.as_ref().map(cursor::write),
            "names": self.groups.as_ref().map(|groups| &groups.items),
            "namesLooked": self.groups.as_ref().and_then(|groups| groups.looked),
            "ages": {"bounds": AGE_WORDS, "rows": self.ages.rows, "looked": self.ages.looked},
        })
    }

    fn complete(&self) -> bool {
        self.part.next.is_none()
    }
}
