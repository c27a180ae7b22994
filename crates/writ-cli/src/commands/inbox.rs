//! `writ inbox`: what waits for a person.

use serde_json::{Value, json};
use writ_registry::ExemptionState;
use writ_render::{EdgeError, Format, text};

use crate::context::Context;
use crate::remote::Remote;
use crate::repo::Repo;
use crate::{emit, store};

/// Runs `writ inbox`. At a server it says what the one who asks can answer; here only exemptions wait.
///
/// # Errors
///
/// The server or the store cannot be read.
pub async fn run(context: &Context) -> Result<u8, EdgeError> {
    let repo = Repo::open(context).ok();
    let items: Vec<Value> = match Remote::find(context, repo.as_ref()).await? {
        Some(remote) => {
            let part: Value = remote.get("api/v1/inbox", &[]).await?;
            let base = remote.address().trim_end_matches('/').to_owned();
            let items = part["items"].as_array().cloned().unwrap_or_default();
            items
                .into_iter()
                .map(|mut item| {
                    let address = item["address"].as_str().unwrap_or_default();
                    item["address"] = json!(format!("{base}{address}"));
                    item
                })
                .collect()
        }
        None => waiting_here(context).await?,
    };
    emit::emit(context, |sink| match sink.format {
        Format::Json => {
            let document = json!({"schema": "writ.inbox/1", "items": items});
            serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
        }
        Format::Jsonl => items.iter().map(|item| format!("{item}\n")).collect(),
        _ if items.is_empty() => "Nothing waits for anybody.\n".to_owned(),
        _ => items.iter().map(line).collect(),
    })?;
    Ok(0)
}

fn line(item: &Value) -> String {
    let word = |name: &str| text::clean(item[name].as_str().unwrap_or_default()).into_owned();
    let mut out = format!(
        "{}  {}  {}\n",
        text::pad(&word("name"), 12),
        text::pad(&word("kind"), 18),
        word("subject")
    );
    match item["notMe"].as_str() {
        Some(why) => out.push_str(&format!("              not you: {}\n", text::prose(why))),
        None => out.push_str(&format!("              {}\n", word("address"))),
    }
    out
}

async fn waiting_here(context: &Context) -> Result<Vec<Value>, EdgeError> {
    let store = store::open_read_only(context).await?;
    let me = store
        .local_principal(&context.identity)
        .await
        .map_err(|error| store::registry_error(&error))?;
    let rows = store
        .exemptions(None)
        .await
        .map_err(|error| store::registry_error(&error))?;
    Ok(rows
        .iter()
        .filter(|row| row.state == ExemptionState::Requested)
        .map(|row| {
            let own = row.requester == me;
            json!({
                "kind": "exemption",
                "name": row.human(),
                "subject": format!("{}: {}", row.service, row.reason),
                "since": row.request.recorded_at,
                "notMe": own.then_some("you asked for it"),
                "address": format!("writ approve {}", row.human()),
            })
        })
        .collect())
}
