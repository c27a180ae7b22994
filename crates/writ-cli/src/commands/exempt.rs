//! `writ exempt …`, `writ approve`, `writ reject`: time-boxed permissions.
//!
//! Who requests may not grant. On an embedded store people are local identities, recorded with
//! their low assurance; profiles say which assurance counts.

use serde_json::json;
use writ_gate::Exempt;
use writ_model::{Digest, Span, Timestamp};
use writ_registry::{
    ExemptionAsk, ExemptionReply, ExemptionRow, ExemptionState, FindingsQuery, Store,
};
use writ_render::{EdgeError, Format, text};

use crate::args::{DecideArgs, ExemptCommand, ExemptRequestArgs};
use crate::context::Context;
use crate::edge::{self, Edge, EdgeResult as _};
use crate::emit;
use crate::remote::Remote;
use crate::repo::Repo;
use crate::store;

mod there;

const DAY: i64 = 86_400;

/// Runs `writ exempt …`.
///
/// # Errors
///
/// The request breaks a rule, or cannot be recorded.
pub async fn run(context: &Context, command: &ExemptCommand) -> Result<u8, EdgeError> {
    let repo = Repo::open(context).ok();
    if let Some(remote) = Remote::find(context, repo.as_ref()).await? {
        return there::run(context, &remote, command).await;
    }
    match command {
        ExemptCommand::Request(args) => request(context, args).await,
        ExemptCommand::List { all } => list(context, *all).await,
        ExemptCommand::Show { id } => {
            let store = store::open_read_only(context).await?;
            let row = find(&store, id).await?;
            show(context, &store, &row).await
        }
        ExemptCommand::Revoke { id, reason } => {
            let reason = said(context, reason.as_deref(), "revoke an exemption")?;
            answer(context, id, ExemptionReply::Revoke { reason }).await
        }
    }
}

/// Runs `writ approve ID`.
///
/// # Errors
///
/// Not allowed, or nothing waits under this id.
pub async fn approve(context: &Context, args: &DecideArgs) -> Result<u8, EdgeError> {
    person_only(context, "approve")?;
    there::not_here(context, &args.id).await?;
    let reply = ExemptionReply::Grant {
        expires_at: None,
        reason: args.reason.clone(),
    };
    answer(context, &args.id, reply).await
}

/// Runs `writ reject ID`.
///
/// # Errors
///
/// As [`approve`], or no reason.
pub async fn reject(context: &Context, args: &DecideArgs) -> Result<u8, EdgeError> {
    person_only(context, "reject")?;
    there::not_here(context, &args.id).await?;
    let reason = said(context, args.reason.as_deref(), "reject a request")?;
    answer(context, &args.id, ExemptionReply::Deny { reason }).await
}

/// Machines never decide.
fn person_only(context: &Context, verb: &str) -> Result<(), EdgeError> {
    match context.ci {
        None => Ok(()),
        Some(ci) => Err(edge::not_allowed(format!("a CI job cannot {verb}"))
            .because(format!(
                "this process runs in {ci}; only named people decide"
            ))
            .try_this("ask a reviewer to run the command")),
    }
}

async fn request(context: &Context, args: &ExemptRequestArgs) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let bundle = store::bundle(context)?;
    let control = bundle.controls.get(&args.control).ok_or_else(|| {
        let hint =
            writ_gate::did_you_mean(&args.control, bundle.controls.keys().map(String::as_str))
                .map_or_else(
                    || "writ control list".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
        edge::usage(format!("there is no control '{}'", args.control)).try_this(hint)
    })?;
    let most = match &control.exempt {
        Exempt::Never(_) => {
            return Err(edge::not_allowed(format!("{} cannot be exempted", control.id))
                .because("its owner allows no exemption: a store or a process that cannot be relied on proves nothing")
                .try_this(format!("writ why {}", control.id)));
        }
        Exempt::By { max_days, .. } => *max_days,
    };
    let span = match (args.days, args.span) {
        (Some(days), _) => Span::from_secs(i64::from(days) * DAY),
        (None, Some(span)) => span,
        (None, None) => Span::from_secs(i64::from(most) * DAY),
    };
    if span.micros() <= 0 || span > Span::from_secs(i64::from(most) * DAY) {
        return Err(edge::usage(format!(
            "{} can be exempted for at most {most} days, not for {span}",
            control.id
        ))
        .at(if args.days.is_some() {
            "--days"
        } else {
            "--span"
        })
        .try_this(format!("--days {most}, and renew by a new request")));
    }
    let reason = said(context, args.reason.as_deref(), "request an exemption")?;
    let store = store::open(context).await?;
    let mut findings: Vec<Digest> = Vec::new();
    let mut identifiers = Vec::new();
    for finding in &args.finding {
        match fingerprint(&store, repo.service(context), finding).await? {
            Some(fingerprint) => findings.push(fingerprint),
            None => identifiers.push(finding.clone()),
        }
    }
    let me = principal(&store, context).await?;
    let ask = ExemptionAsk {
        service: repo.service(context).to_owned(),
        environments: args.environment.iter().cloned().collect(),
        controls: vec![control.id.clone()],
        findings,
        identifiers,
        reason,
        category: None,
        compensating: args.compensating.clone(),
        ticket: args.ticket.clone(),
        expires_at: context.now().plus(span),
    };
    let (row, _) = store
        .request_exemption(ask, &me)
        .await
        .map_err(|error| store::registry_error(&error))?;
    store::settle(&store).await;
    show(context, &store, &row).await?;
    if context.talks() {
        eprintln!(
            "Waits for somebody else: writ approve {} --identity NAME",
            row.human()
        );
    }
    Ok(0)
}

/// The fingerprint that is meant: whole, or the first digits as messages show them. A public name
/// such as a CVE is none.
async fn fingerprint(
    store: &Store,
    service: &str,
    named: &str,
) -> Result<Option<Digest>, EdgeError> {
    if let Ok(digest) = named.parse() {
        return Ok(Some(digest));
    }
    let digits = named.strip_prefix("sha256:").unwrap_or(named);
    if digits.len() < 8
        || !digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Ok(None);
    }
    let query = FindingsQuery {
        service: Some(service.to_owned()),
        fingerprint: Some(digits.to_owned()),
        limit: 1_000,
        ..FindingsQuery::default()
    };
    let mut found: Vec<Digest> = store
        .open_findings(&query)
        .await
        .edge()?
        .iter()
        .map(|finding| finding.fingerprint)
        .filter(|fingerprint| fingerprint.to_hex().starts_with(digits))
        .collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(Some(*one)),
        [] => Err(
            edge::usage(format!("no open finding of {service} begins with {digits}"))
                .at("--finding")
                .try_this("writ why CONTROL        lists the findings with their fingerprints"),
        ),
        _ => Err(edge::usage(format!("{digits} is ambiguous: give more digits")).at("--finding")),
    }
}

async fn answer(context: &Context, id: &str, reply: ExemptionReply) -> Result<u8, EdgeError> {
    let store = store::open(context).await?;
    let me = principal(&store, context).await?;
    let (row, _) = store
        .answer_exemption(id, reply, &me)
        .await
        .map_err(|error| store::registry_error(&error))?;
    store::settle(&store).await;
    show(context, &store, &row).await
}

async fn list(context: &Context, all: bool) -> Result<u8, EdgeError> {
    let store = store::open_read_only(context).await?;
    let rows = store
        .exemptions(context.service.as_deref())
        .await
        .map_err(|error| store::registry_error(&error))?;
    let now = context.now();
    let shown: Vec<&ExemptionRow> = rows
        .iter()
        .filter(|row| all || matches!(word(row, now), "requested" | "granted"))
        .collect();
    emit::emit(context, |sink| match sink.format {
        Format::Json => pretty(&shown.iter().map(|row| value(row, now)).collect::<Vec<_>>()),
        Format::Jsonl => shown
            .iter()
            .map(|row| format!("{}\n", value(row, now)))
            .collect(),
        Format::Csv => {
            let mut out = String::from("number,state,service,controls,ends,reason\r\n");
            for row in &shown {
                let cells = [
                    row.human(),
                    word(row, now).to_owned(),
                    row.service.clone(),
                    fact(row, "controls").join(" "),
                    row.expires_at
                        .map(|end| end.to_seconds_text())
                        .unwrap_or_default(),
                    row.reason.clone(),
                ];
                let cells: Vec<String> = cells
                    .iter()
                    .map(|cell| writ_render::csv::cell(cell))
                    .collect();
                out.push_str(&cells.join(","));
                out.push_str("\r\n");
            }
            out
        }
        _ if shown.is_empty() => {
            let hidden = rows.len();
            if hidden == 0 {
                "No exemptions.\n".to_owned()
            } else {
                format!(
                    "No live exemptions; {hidden} ended, refused or revoked: writ exempt list --all\n"
                )
            }
        }
        _ => shown
            .iter()
            .map(|row| {
                format!(
                    "{}  {}  {}  {}  ends {}  {}\n",
                    text::pad(&row.human(), 6),
                    text::pad(word(row, now), 9),
                    text::clean(&row.service),
                    fact(row, "controls").join(" "),
                    row.expires_at
                        .map(|end| end.to_seconds_text())
                        .unwrap_or_default(),
                    text::prose(&row.reason),
                )
            })
            .collect(),
    })?;
    Ok(0)
}

async fn show(context: &Context, store: &Store, row: &ExemptionRow) -> Result<u8, EdgeError> {
    let now = context.now();
    let mut people = Vec::new();
    for person in [Some(&row.requester), row.decided_by.as_ref()]
        .into_iter()
        .flatten()
    {
        let name = store
            .person_name(person)
            .await
            .map_err(|error| store::registry_error(&error))?;
        people.push(name.unwrap_or_else(|| person.0.clone()));
    }
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => pretty(&value(row, now)),
        _ => {
            let mut out = format!("{}  {}\n", row.human(), word(row, now));
            let mut part = |label: &str, content: String| {
                if !content.is_empty() {
                    out.push_str(&format!("  {label:<10}{content}\n"));
                }
            };
            part("service", text::clean(&row.service).into_owned());
            part("checks", fact(row, "controls").join(" "));
            part(
                "findings",
                [fact(row, "identifiers"), fact(row, "findings")]
                    .concat()
                    .join(" "),
            );
            part("where", fact(row, "environments").join(" "));
            part("reason", text::prose(&row.reason));
            part(
                "until",
                row.expires_at
                    .map(|end| end.to_seconds_text())
                    .unwrap_or_default(),
            );
            part("requested", people.first().cloned().unwrap_or_default());
            part("decided", people.get(1).cloned().unwrap_or_default());
            part("evidence", row.id.short());
            out
        }
    })?;
    Ok(0)
}

async fn find(store: &Store, id: &str) -> Result<ExemptionRow, EdgeError> {
    store
        .exemption(id)
        .await
        .map_err(|error| edge::usage(edge::chain(&error)).try_this("writ exempt list --all"))
}

async fn principal(store: &Store, context: &Context) -> Result<writ_model::PrincipalId, EdgeError> {
    store
        .local_principal(&context.identity)
        .await
        .map_err(|error| store::registry_error(&error))
}

/// The state at an instant: a grant whose time is over has expired, whoever looks.
fn word(row: &ExemptionRow, now: Timestamp) -> &'static str {
    match row.state {
        ExemptionState::Granted if row.expires_at.is_some_and(|end| end <= now) => "expired",
        state => state.word(),
    }
}

fn fact(row: &ExemptionRow, name: &str) -> Vec<String> {
    let list = row
        .request
        .facts
        .get(name)
        .and_then(|value| value.as_array());
    list.into_iter()
        .flatten()
        .filter_map(|value| value.as_str())
        .map(|value| text::clean(value).into_owned())
        .collect()
}

fn value(row: &ExemptionRow, now: Timestamp) -> serde_json::Value {
    json!({
        "schema": "writ.exemption/1",
        "number": row.human(),
        "id": row.id,
        "state": word(row, now),
        "service": row.service,
        "controls": fact(row, "controls"),
        "findings": fact(row, "findings"),
        "identifiers": fact(row, "identifiers"),
        "environments": fact(row, "environments"),
        "reason": row.reason,
        "requester": row.requester,
        "decidedBy": row.decided_by,
        "expiresAt": row.expires_at,
    })
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The reason that every audited act needs: by flag, else asked for on a terminal.
fn said(context: &Context, reason: Option<&str>, act: &str) -> Result<String, EdgeError> {
    if let Some(reason) = reason {
        return Ok(reason.to_owned());
    }
    if context.no_input || !context.stderr_tty {
        return Err(edge::usage(format!("a reason is needed to {act}")).try_this("--reason TEXT"));
    }
    eprint!("Reason, as an auditor will read it: ");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| edge::usage("no reason was given").because(error))?;
    let line = line.trim();
    if line.is_empty() {
        return Err(edge::usage(format!("a reason is needed to {act}")));
    }
    Ok(line.to_owned())
}
