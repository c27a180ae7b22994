//! `writ tool list`: what is here, where it comes from, and what would get the rest.

use std::path::Path;

use serde_json::{Map, json};
use writ_model::Timestamp;
use writ_pipeline::adapter::InstallKind;
use writ_render::EdgeError;
use writ_render::text::plural;

use super::state::{Presence, ToolState, client, survey};
use crate::commands::listing::{self, Column, Listing, Row};
use crate::commands::place;
use crate::context::Context;
use crate::repo::Repo;

pub async fn run(context: &Context, here: &Path, digests: bool) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ tool list", &listing::FORMATS)?;
    let catalogue = place::catalogue()?;
    let finder = place::finder(context);
    // A list of tools is useful where there is no pipeline; a broken one is for `writ doctor` to say.
    let used = Repo::open(context)
        .map(|repo| place::used_tools(&repo.config, &catalogue))
        .unwrap_or_default();
    let adapters = catalogue.iter().cloned().collect();
    let states = survey(&finder, adapters).await;
    let now = context.now();
    let rows: Vec<Row> = states
        .iter()
        .map(|state| {
            let in_use = used.contains(state.adapter.name());
            row(state, in_use, digests, now, &finder.cache, here)
        })
        .collect();
    let found = states
        .iter()
        .filter(|state| state.word() == "found")
        .count();
    let mut footer = vec![format!("{found} of {} tools found", states.len())];
    let absent = states
        .iter()
        .filter(|state| state.word() != "found" && used.contains(state.adapter.name()))
        .count();
    if absent > 0 {
        footer.push(format!(
            "{} that writ.toml uses cannot run here: writ tool install",
            plural(absent as u64, "tool")
        ));
    }
    let listing = Listing {
        schema: "writ.tools/1",
        line_schema: "writ.tool/1",
        key: "tools",
        columns: vec![
            Column::new("tool"),
            Column::state("state"),
            Column::new("version"),
            Column::new("used"),
            Column::flexible("where, or what brings it"),
        ],
        rows,
        footer,
        fields: Map::new(),
    };
    listing::write(context, |sink| listing.render(context, sink))?;
    Ok(0)
}

/// `nogoo9 (third party; …)` as `third party: nogoo9`.
fn third_party(text: &str) -> String {
    let name = text.split(" (third party").next().unwrap_or(text);
    format!("third party: {name}")
}

/// What gets a tool that is not here, and who packaged that.
fn missing(state: &ToolState) -> String {
    let Some(install) = state.adapter.file.install.first() else {
        let homepage = state.adapter.file.homepage.as_deref().unwrap_or("");
        let address = homepage.split("://").last().unwrap_or(homepage);
        return format!("no package known, see {address}");
    };
    if install.kind == InstallKind::Apt {
        return state.remedy().unwrap_or_default();
    }
    let mut text = format!("installable by {}", client(install.kind));
    if let Some(packager) = &install.repackaged_by {
        text = format!("{text}, {}", third_party(packager));
    }
    text
}

fn row(
    state: &ToolState,
    in_use: bool,
    digests: bool,
    now: Timestamp,
    cache: &Path,
    here: &Path,
) -> Row {
    let (version, path, digest, from_cache, repackaged) = match &state.presence {
        Presence::Found(found) => (
            Some(found.info.version.clone()),
            Some(found.path.as_path()),
            found.info.digest,
            found.from_cache,
            found.info.repackaged_by.clone(),
        ),
        Presence::TooOld { path, version, .. } => (
            Some(version.clone()),
            Some(path.as_path()),
            None,
            path.starts_with(cache),
            None,
        ),
        Presence::Broken { path, .. } => (
            None,
            Some(path.as_path()),
            None,
            path.starts_with(cache),
            None,
        ),
        Presence::Missing => (None, None, None, false, None),
    };
    let mut notes = Vec::new();
    notes.extend(path.map(|path| {
        if from_cache {
            "tool cache".to_owned()
        } else {
            place::shorten(path, here)
        }
    }));
    match &state.presence {
        Presence::Found(_) => {
            notes.extend(repackaged.as_deref().map(third_party));
            notes.extend(state.database_text(now));
        }
        Presence::Missing => notes.push(missing(state)),
        Presence::TooOld { minimum, .. } => {
            notes.push(format!("needs {minimum}"));
            notes.extend(state.remedy());
        }
        Presence::Broken { cause, .. } => notes.push(cause.clone()),
    }
    let install = state.adapter.file.install.first();
    let updated = state
        .database
        .as_ref()
        .and_then(|data| data.info.updated_at);
    let fields = vec![
        ("name", json!(state.adapter.name())),
        ("state", json!(state.word())),
        ("version", json!(version)),
        ("path", json!(path)),
        ("digest", json!(digest)),
        ("fromCache", json!(from_cache)),
        ("repackagedBy", json!(repackaged)),
        ("databaseUpdatedAt", json!(updated)),
        (
            "databaseAgeSeconds",
            json!(state.database_age(now).map(writ_model::Span::secs)),
        ),
        (
            "databaseLimitSeconds",
            json!(state.database_limit().map(writ_model::Span::secs)),
        ),
        (
            "databaseLabel",
            json!(
                state
                    .database
                    .as_ref()
                    .and_then(|data| data.info.label.clone())
            ),
        ),
        ("usedHere", json!(in_use)),
        (
            "installableBy",
            json!(install.map(|install| client(install.kind))),
        ),
        (
            "installableVersion",
            json!(install.map(|install| install.version.as_str())),
        ),
        (
            "installableFrom",
            json!(install.and_then(|install| install.repackaged_by.as_deref())),
        ),
        ("adapter", json!(state.adapter.source)),
        ("adapterDigest", json!(state.adapter.digest)),
    ];
    Row {
        cells: vec![
            state.adapter.name().to_owned(),
            state.word().to_owned(),
            version.unwrap_or_else(|| "-".to_owned()),
            if in_use { "yes" } else { "" }.to_owned(),
            notes.join("; "),
        ],
        below: digest
            .filter(|_| digests)
            .map(|digest| digest.to_string())
            .into_iter()
            .collect(),
        fields,
    }
}
