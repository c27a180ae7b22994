//! `writ env list`, `show` and `diff`: one list of rows for people and programs.

use serde_json::{Map, Value, json};
use writ_model::{Digest, Span, Timestamp};
use writ_release::drift::{Address, Authority, Component, Source, SourceState, Standing};
use writ_release::observe::{GAP_DAYS, Watched};
use writ_render::{EdgeError, text};

use super::Knows;
use crate::commands::listing::{self, Column, Listing, Row};
use crate::context::Context;
use crate::{edge, ui};

/// Nothing changed, and something did.
const SAME: u8 = 0;
const CHANGED: u8 = 1;

/// `writ env list`.
pub(super) async fn list(context: &Context, knows: &Knows) -> Result<u8, EdgeError> {
    let all = knows.all(context).await?;
    let rows: Vec<Row> = all
        .iter()
        .map(|one| {
            let watch = &one.watch;
            let (good, of) = watch.counted();
            Row {
                cells: vec![
                    watch.environment.clone(),
                    watch.state.word().to_owned(),
                    format!("{good} of {of}"),
                    watch
                        .observed_at
                        .map_or_else(|| "never".to_owned(), |at| ago(watch.as_of, at)),
                    one.unobserved
                        .as_ref()
                        .map_or_else(|| "all".to_owned(), |gap| format!("{} h", gap.hours())),
                ],
                below: watch
                    .differing()
                    .map(|one| one.detail.clone().unwrap_or_else(|| one.name.clone()))
                    .collect(),
                fields: vec![
                    ("environment", watch.environment.clone().into()),
                    ("state", json!(watch.state)),
                    ("authorised", good.into()),
                    ("components", of.into()),
                    ("observedAt", json!(watch.observed_at)),
                    (
                        "unobservedHours",
                        json!(one.unobserved.map(|gap| gap.hours())),
                    ),
                    ("drift", json!(watch.drift(None))),
                ],
            }
        })
        .collect();
    let listing = Listing {
        schema: "writ.environments/1",
        line_schema: "writ.environment-line/1",
        key: "environments",
        columns: vec![
            Column::new("environment"),
            Column::state("state"),
            Column::new("as authorised"),
            Column::new("seen"),
            Column::new("not seen"),
        ],
        footer: vec![format!(
            "{}; not seen: hours beyond the allowed interval, of the last {GAP_DAYS} days",
            ui::counted(rows.len() as u64, "environments")
        )],
        rows,
        fields: Map::new(),
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    // The worst of all: drift, then cannot tell.
    let codes: Vec<u8> = all.iter().map(|one| one.watch.state.exit_code()).collect();
    Ok(if codes.contains(&1) {
        1
    } else {
        codes.into_iter().max().unwrap_or(edge::CANNOT_TELL)
    })
}

/// `writ env show`.
pub(super) async fn show(
    context: &Context,
    knows: &Knows,
    address: &Address,
) -> Result<u8, EdgeError> {
    let one = knows.one(context, address).await?;
    let watch = &one.watch;
    let mut fields = match serde_json::to_value(&one) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.remove("components");
    fields.insert("address".to_owned(), address.to_string().into());
    let listing = Listing {
        schema: "writ.environment/1",
        line_schema: "writ.component/1",
        key: "components",
        columns: vec![
            Column::state("state"),
            Column::new("service"),
            Column::flexible("where"),
            Column::new("runs"),
            Column::new("authorised"),
            Column::new("by"),
        ],
        rows: watch.components.iter().map(component).collect(),
        footer: closing(&one),
        fields,
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(watch.state.exit_code())
}

fn component(one: &Component) -> Row {
    let by = match one.by {
        Some(Authority::Writ(id)) => writ_model::WritId::from_digest(id.digest()).short(),
        Some(Authority::BreakGlass(id)) => format!("break-glass {}", id.short()),
        None => "-".to_owned(),
    };
    let place = if one.source.contains(&one.name) {
        one.source.clone()
    } else {
        format!("{} ({})", one.name, one.source)
    };
    Row {
        cells: vec![
            one.state.word().to_owned(),
            one.service.clone().unwrap_or_else(|| "-".to_owned()),
            place,
            short(one.observed),
            short(one.authorised),
            by,
        ],
        below: one.detail.iter().cloned().collect(),
        fields: vec![
            ("state", json!(one.state)),
            ("service", json!(one.service)),
            ("name", one.name.clone().into()),
            ("source", one.source.clone().into()),
            ("authorised", json!(one.authorised)),
            ("observed", json!(one.observed)),
            ("by", json!(one.by)),
            ("replicas", one.replicas.into()),
            ("since", json!(one.since)),
            ("detail", json!(one.detail)),
        ],
    }
}

fn closing(one: &Watched) -> Vec<String> {
    let watch = &one.watch;
    let (good, of) = watch.counted();
    let answer = match watch.state {
        Standing::Authorised => format!("as authorised: {good} of {of}"),
        Standing::Drift => format!(
            "drift: {} of {of} differ from what was authorised",
            watch.differing().count()
        ),
        Standing::Unreachable => "cannot tell: not everything could be read".to_owned(),
        Standing::Stale => "cannot tell: the snapshot is too old to rule drift out".to_owned(),
        Standing::Empty => "cannot tell: nothing runs, and nothing was deployed".to_owned(),
        Standing::NotObserved => "cannot tell: nobody ever looked".to_owned(),
    };
    let mut lines = vec![format!("{}  {answer}", text::clean(&watch.environment))];
    lines.extend(watch.sources.iter().map(|one| source(watch.as_of, one)));
    match &one.unobserved {
        Some(gap) if gap.seconds > 0 => lines.push(format!(
            "  not seen  {} h since {}, the longest gap {}: what is short-lived hides there",
            gap.hours(),
            gap.from.to_seconds_text(),
            Span::from_secs(i64::try_from(gap.longest_seconds).unwrap_or(i64::MAX)).human()
        )),
        Some(gap) => lines.push(format!(
            "  not seen  0 h since {}, {}",
            gap.from.to_seconds_text(),
            ui::counted(gap.snapshots, "snapshots")
        )),
        None => lines.push(format!(
            "  writ env snapshot {}        looks",
            text::clean(&watch.environment)
        )),
    }
    if watch.state == Standing::Drift {
        lines.push(
            "  ways back: deploy the authorised digest again, have the running one judged (writ gate), or open break-glass"
                .to_owned(),
        );
    }
    lines
}

fn source(as_of: Timestamp, one: &Source) -> String {
    let name = text::clean(&one.source);
    let seen = ago(as_of, one.observed_at);
    match one.state {
        SourceState::Read => format!("  seen      {name}, {seen}"),
        SourceState::Stale => format!("  stale     {name}, seen {seen}"),
        SourceState::Unreachable => format!(
            "  unreached {name}, {seen}: {}",
            text::prose(one.reason.as_deref().unwrap_or("no reason recorded"))
        ),
    }
}

/// `writ env diff`.
pub(super) async fn diff(
    context: &Context,
    knows: &Knows,
    from: &Address,
    to: &Address,
) -> Result<u8, EdgeError> {
    let found = knows.difference(context, from, to).await?;
    let rows = found
        .changes
        .iter()
        .map(|one| Row {
            cells: vec![
                one.change.word().to_owned(),
                one.service.clone().unwrap_or_else(|| "-".to_owned()),
                one.name.clone(),
                format!("{} x{}", short(one.before), one.replicas_before),
                format!("{} x{}", short(one.after), one.replicas_after),
            ],
            below: Vec::new(),
            fields: vec![
                ("change", json!(one.change)),
                ("service", json!(one.service)),
                ("name", one.name.clone().into()),
                ("source", one.source.clone().into()),
                ("before", json!(one.before)),
                ("after", json!(one.after)),
                ("replicasBefore", one.replicas_before.into()),
                ("replicasAfter", one.replicas_after.into()),
            ],
        })
        .collect();
    let listing = Listing {
        schema: "writ.environment-diff/1",
        line_schema: "writ.environment-change/1",
        key: "changes",
        columns: vec![
            Column::state("change"),
            Column::new("service"),
            Column::flexible("where"),
            Column::new("before"),
            Column::new("after"),
        ],
        rows,
        footer: vec![format!(
            "{} from {} ({}) to {} ({})",
            ui::counted(found.changes.len() as u64, "changes"),
            text::clean(&found.from.address),
            found.from.observed_at.to_seconds_text(),
            text::clean(&found.to.address),
            found.to.observed_at.to_seconds_text(),
        )],
        fields: Map::from_iter([
            ("from".to_owned(), json!(found.from)),
            ("to".to_owned(), json!(found.to)),
        ]),
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(if found.changes.is_empty() {
        SAME
    } else {
        CHANGED
    })
}

fn short(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "-".to_owned(), |digest| digest.short())
}

fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", now.since(at).human())
}
