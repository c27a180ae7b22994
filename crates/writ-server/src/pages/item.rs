//! `/e/ev_…`: one piece of evidence: whether it verifies, what it says, what it rests on, who uses it.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use writ_ledger::merkle;
use writ_model::{EvidenceId, Finding, State};
use writ_registry::{EventQuery, Record};
use writ_render::text::number;

use crate::api::evidence::read;
use crate::http::export::{View, respond};
use crate::http::{Ask, Problem, Query};
use crate::parts::frame::{Head, Section};
use crate::parts::{Cell, Column, Empty, Row, Table, chip, ident, time};
use crate::paths;

crate::page_query! {
    /// Nothing of its own.
    ItemQuery {}
}

/// Findings shown on the page.
const FINDINGS: usize = 50;

/// Decisions that are looked through for a use of the evidence.
const USES: usize = 20;

/// Longest raw statement shown, in bytes.
const RAW: usize = 64 << 10;

/// One line of the verification.
struct Proved {
    what: &'static str,
    state: State,
    text: String,
}

struct Page {
    record: Record,
    proved: Vec<Proved>,
    proof: Option<String>,
    findings: Vec<Finding>,
    used: Vec<(EvidenceId, String, String)>,
}

/// Shows the page.
///
/// # Errors
/// There is no such evidence, or it does not verify.
pub async fn show(
    ask: Ask,
    Path(id): Path<String>,
    _: Query<ItemQuery>,
) -> Result<Response, Problem> {
    let record = read(&ask, &id).await?;
    let (proved, proof) = prove(&ask, &record).await?;
    let mut findings = match record.item.findings {
        // Lost bytes are a line of the verification, not the end of the page.
        Some(digest) => ask.app.store.findings(digest).await.unwrap_or_default(),
        None => Vec::new(),
    };
    findings.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| a.name().cmp(b.name()))
    });
    let used = uses(&ask, &record).await?;
    respond(
        &ask,
        &Page {
            record,
            proved,
            proof,
            findings,
            used,
        },
    )
    .await
}

/// Checks what can be checked here and now; what cannot be checked says so.
async fn prove(ask: &Ask, record: &Record) -> Result<(Vec<Proved>, Option<String>), Problem> {
    let item = &record.item;
    let mut proved = vec![
        Proved {
            what: "Content",
            state: State::Pass,
            text: match record.whole {
                Some(digest) => {
                    format!("the whole statement {digest} matches its address in the locker")
                }
                None => format!(
                    "the payload's digest is the id, {} bytes in the ledger",
                    number(record.envelope.len() as u64)
                ),
            },
        },
        Proved {
            what: "Signature",
            state: State::Pass,
            text: format!("DSSE by key {}, trusted when it was recorded", item.signer),
        },
        Proved {
            what: "Time",
            state: State::Pass,
            text: format!(
                "recorded {}, observed {}",
                item.recorded_at.to_seconds_text(),
                item.observed_at.to_seconds_text()
            ),
        },
    ];
    let receipt = ask.app.store.receipt(&item.id.to_string()).await?;
    let head = receipt.checkpoint.unverified();
    let leaf = merkle::leaf_hash(&entry(&record.envelope, item.recorded_at.micros()));
    let included =
        merkle::verify_inclusion(leaf, receipt.index, head.size, &receipt.hashes, head.root);
    proved.push(match (&included, &ask.head.verified) {
        (Ok(()), Ok(())) => Proved {
            what: "Log",
            state: State::Pass,
            text: format!(
                "entry #{}, included under head #{} ({} hashes), signed by a trusted log key",
                number(receipt.index),
                number(head.size),
                receipt.hashes.len()
            ),
        },
        (Err(error), _) => Proved {
            what: "Log",
            state: State::Fail,
            text: format!("the proof does not lead to the head: {error}"),
        },
        (_, Err(why)) => Proved {
            what: "Log",
            state: State::Error,
            text: why.clone(),
        },
    });
    if let Some(digest) = record.whole.or(item.findings) {
        let locker = ask.app.store.shared_locker();
        let kept = tokio::task::spawn_blocking(move || locker.record(digest)).await?;
        proved.push(match kept {
            Ok(kept) => Proved {
                what: "Retention",
                state: State::Pass,
                text: format!("kept until {}", kept.retain_until.to_seconds_text()),
            },
            Err(_) => Proved {
                what: "Retention",
                state: State::Error,
                text: format!("{digest} cannot be read from the locker"),
            },
        });
    }
    Ok((proved, Some(receipt.to_text())))
}

/// The bytes of the ledger entry that holds an envelope.
fn entry(envelope: &[u8], recorded_at: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    writ_ledger::entry::write_entry(&mut bytes, envelope, recorded_at);
    bytes
}

/// Decisions about the same commit or artefact that name this evidence.
async fn uses(ask: &Ask, record: &Record) -> Result<Vec<(EvidenceId, String, String)>, Problem> {
    let item = &record.item;
    if item.subject.commit.is_none() && item.subject.artifact.is_none() {
        return Ok(Vec::new());
    }
    let by_commit = item.subject.commit.is_some();
    let query = EventQuery {
        service: Some(item.service.clone()),
        commit: item.subject.commit.clone(),
        artifact: item.subject.artifact.filter(|_| !by_commit),
        below: Some(ask.size),
        limit: USES,
        ..EventQuery::default()
    };
    let mut used = Vec::new();
    for row in ask.app.store.decisions_listed(&query).await?.items {
        let id = row.decision.id;
        let Ok(view) = crate::api::decisions::read(ask, &id.to_string()).await else {
            continue;
        };
        let checks = view.decision.checks.iter().chain(&view.decision.later);
        for check in checks {
            if check
                .evidence
                .iter()
                .any(|reference| reference.id == item.id)
            {
                used.push((id, check.control.clone(), row.decision.environment.clone()));
            }
        }
    }
    Ok(used)
}

impl Page {
    fn verification(&self) -> Table {
        let mut table = Table::new(
            "verification",
            "What this server checked when the page was made",
            vec![
                Column::head("Part"),
                Column::text("State"),
                Column::text("Found"),
            ],
        );
        for line in &self.proved {
            table.rows.push(Row::new(vec![
                Cell::text(line.what),
                Cell::state(line.state),
                Cell::text(&line.text),
            ]));
        }
        table
    }

    fn facts(&self, ask: &Ask) -> Table {
        let item = &self.record.item;
        let mut table = Table::new(
            "facts",
            "What it says",
            vec![Column::head("Fact"), Column::text("Value")],
        );
        let mut line =
            |name: &str, cell: Cell| table.rows.push(Row::new(vec![Cell::text(name), cell]));
        line(
            "evidence for",
            Cell::text(format!(
                "{}: {}",
                item.evidence_type.word(),
                item.evidence_type.proves()
            )),
        );
        if item.service.is_empty() {
            line("service", Cell::muted("all services"));
        } else {
            line(
                "service",
                Cell::link(
                    ask,
                    &paths::evidence_list().with("service", &item.service),
                    item.service.clone(),
                ),
            );
        }
        line("about", super::evidence::subject(item));
        if !item.scope.is_empty() {
            line("scope", Cell::text(&item.scope));
        }
        if let Some(tool) = &item.tool {
            line(
                "tool",
                Cell::text(format!("{} {}", tool.name, tool.version)),
            );
        }
        if let Some(database) = &item.database {
            let updated = database.updated_at.map_or(String::new(), |at| {
                format!(", updated {}", at.to_seconds_text())
            });
            line(
                "database",
                Cell::text(format!("{}{updated}", database.name)),
            );
        }
        line("outcome", super::evidence::outcome(item));
        if let Some(reason) = &item.reason {
            line("reason", Cell::text(reason));
        }
        line("result", super::evidence::result(item));
        if item.suppressed > 0 {
            line("silenced in the tool", Cell::number(item.suppressed));
        }
        line(
            "origin",
            Cell::text(format!("{:?}, {:?}", item.origin, item.producer_class)),
        );
        for (name, value) in &item.facts {
            line(
                name,
                Cell::html(plain(value), html! { code.value { (plain(value)) } }),
            );
        }
        table
    }

    fn findings_table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "findings",
            format!(
                "Findings of this scan, {} of {}",
                self.findings.len().min(FINDINGS),
                self.findings.len()
            ),
            vec![
                Column::text("Severity"),
                Column::head("Name"),
                Column::text("Title"),
                Column::text("Place"),
                Column::text("Fixed in"),
            ],
        );
        for finding in self.findings.iter().take(FINDINGS) {
            table.rows.push(Row::new(vec![
                Cell::html(finding.severity.word(), chip::severity(finding.severity)),
                Cell::link(ask, &paths::finding(&finding.fingerprint), finding.name()),
                Cell::text(&finding.title),
                Cell::text(writ_gate::place(&finding.location)),
                Cell::text(
                    finding
                        .fix
                        .as_ref()
                        .map(|fix| fix.versions.join(", "))
                        .unwrap_or_default(),
                ),
            ]));
        }
        table.empty = Some(Empty::NothingFound(format!(
            "0 findings{}.",
            match self.record.item.looked_at.first() {
                Some(looked) => format!(" in {} {}", number(looked.count), looked.what),
                None => String::new(),
            }
        )));
        table
    }

    fn uses_table(&self, ask: &Ask) -> Table {
        let mut table = Table::new(
            "uses",
            "Checks that rest on it",
            vec![
                Column::head("Decision"),
                Column::text("Control"),
                Column::narrow("Environment"),
            ],
        );
        for (decision, control, environment) in &self.used {
            table.rows.push(Row::new(vec![
                Cell::html(
                    ident::decision_whole(decision),
                    html! { a.id href=(ask.href(&paths::decision(decision).at_place(control))) { (ident::decision_short(decision)) } },
                ),
                Cell::link(ask, &paths::control(control), control.clone()),
                Cell::text(environment),
            ]));
        }
        table.empty = Some(Empty::NothingFound(
            "No recorded decision names it.".to_owned(),
        ));
        table
    }

    fn valid(&self) -> bool {
        self.proved.iter().all(|line| line.state == State::Pass)
    }
}

/// A fact on one line.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    writ_render::text::cut(&text, 400).into_owned()
}

impl View for Page {
    const SCHEMA: &'static str = "writ.page.item/1";

    fn head(&self, _: &Ask) -> Head {
        let item = &self.record.item;
        let title = match item.tool.as_ref().map(|tool| tool.name.as_str()) {
            Some(tool) => format!(
                "{} of {} by {tool}",
                item.evidence_type.word(),
                item.service
            ),
            None if item.service.is_empty() => item.evidence_type.word().to_owned(),
            None => format!("{} of {}", item.evidence_type.word(), item.service),
        };
        let name = item.predicate_type.rsplit('/').next().unwrap_or_default();
        Head::new(
            Section::Evidence,
            title,
            format!("{name}, entry #{} of the ledger.", number(item.index)),
        )
        .below("Evidence", paths::evidence_list())
        .cited(item.id.short())
        .refer("Observed", time::minutes(item.observed_at))
    }

    fn body(&self, ask: &Ask) -> Markup {
        let item = &self.record.item;
        let id = item.id.to_string();
        let api = format!("/api/v1/evidence/{id}");
        let raw = serde_json::to_string_pretty(&self.record.statement).unwrap_or_default();
        html! {
            section.verdict.pass[self.valid()].fail[!self.valid()] {
                p {
                    @if self.valid() { (chip::tag(State::Pass, "valid")) } @else { (chip::tag(State::Fail, "not valid")) }
                    " This server says so. It has not been checked on your machine:"
                }
                code.fix data-copy={ "writ verify " (id) } { "writ verify " (item.id.short()) }
                p.actions {
                    a.btn.small href={ (api) "/envelope" } download { "Envelope" }
                    a.btn.small href={ (api) "/receipt" } download { "Proof" }
                    a.btn.small href=(api) { "JSON" }
                    (ident::plain(&item.id.short(), &id))
                }
            }
            (self.verification().html())
            h2 { "What it says" }
            (self.facts(ask).html())
            @if item.findings.is_some() {
                h2 { "Findings" }
                (self.findings_table(ask).html())
            }
            h2 { "Used by" }
            (self.uses_table(ask).html())
            @if let Some(proof) = &self.proof {
                details.raw { summary { "Proof" } pre tabindex="0" { code { (proof) } } }
            }
            details.raw {
                summary { "Statement" }
                @if raw.len() > RAW { p.sub { "Too long to show here: " a href=(api) { "JSON" } } }
                @else { pre tabindex="0" { code { (raw) } } }
            }
        }
    }

    fn tables(&self, ask: &Ask) -> Vec<Table> {
        vec![
            self.facts(ask),
            self.verification(),
            self.findings_table(ask),
            self.uses_table(ask),
        ]
    }

    fn data(&self) -> Value {
        json!({
            "item": self.record.item,
            "statement": self.record.statement,
            "valid": self.valid(),
            "verification": self.proved.iter().map(|line| json!({"part": line.what, "state": line.state, "found": line.text})).collect::<Vec<_>>(),
            "usedBy": self.used.iter().map(|(id, control, environment)| json!({"decision": ident::decision_whole(id), "control": control, "environment": environment})).collect::<Vec<_>>(),
        })
    }
}
