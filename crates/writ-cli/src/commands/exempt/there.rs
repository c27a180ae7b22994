//! Exemptions at a server: asked for from here, answered there by somebody who signed in.

use serde_json::{Value, json};
use writ_gate::Exempt;
use writ_model::Span;
use writ_render::{EdgeError, Format, text};

use super::{DAY, pretty, said};
use crate::args::{ExemptCommand, ExemptRequestArgs};
use crate::context::Context;
use crate::edge::{self, Edge as _};
use crate::remote::Remote;
use crate::repo::Repo;
use crate::{emit, store};

/// Days that are asked for where the control here says nothing.
const USUAL_DAYS: u32 = 7;

/// Runs a command about exemptions at a server.
///
/// # Errors
/// The server cannot be reached or refuses.
pub async fn run(
    context: &Context,
    remote: &Remote,
    command: &ExemptCommand,
) -> Result<u8, EdgeError> {
    match command {
        ExemptCommand::Request(args) => request(context, remote, args).await,
        ExemptCommand::List { all } => list(context, remote, *all).await,
        ExemptCommand::Show { id } => {
            let path = format!("api/v1/exemptions/{}", plain(id)?);
            let found: Value = remote.get(&path, &[]).await?;
            show(context, &[found])
        }
        ExemptCommand::Revoke { id, .. } => Err(elsewhere(remote, id)),
    }
}

/// Refuses where a server is: people decide there, in a browser where they are signed in.
///
/// # Errors
/// There is a server.
pub async fn not_here(context: &Context, id: &str) -> Result<(), EdgeError> {
    let repo = Repo::open(context).ok();
    match Remote::find(context, repo.as_ref()).await? {
        Some(remote) => Err(elsewhere(&remote, id)),
        None => Ok(()),
    }
}

fn elsewhere(remote: &Remote, id: &str) -> EdgeError {
    let page = match id.get(..2).map(str::to_ascii_uppercase).as_deref() {
        Some("R-") => "releases",
        Some("BG") => "break-glass",
        _ => "exemptions",
    };
    edge::not_allowed("people decide at the server, where they are signed in")
        .because("a token can be passed on; a decision cannot")
        .try_this(format!(
            "open {}/{page}/{}",
            remote.address().trim_end_matches('/'),
            text::clean(id)
        ))
}

/// A name as one plain part of an address.
fn plain(id: &str) -> Result<&str, EdgeError> {
    let good = id.len() <= 80
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    match good {
        true => Ok(id),
        false => Err(
            edge::usage(format!("'{}' is no exemption", text::clean(id)))
                .try_this("writ exempt list --all"),
        ),
    }
}

async fn request(
    context: &Context,
    remote: &Remote,
    args: &ExemptRequestArgs,
) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let most = store::bundle(context)?
        .controls
        .get(&args.control)
        .and_then(|control| match &control.exempt {
            Exempt::By { max_days, .. } => Some(*max_days),
            Exempt::Never(_) => None,
        })
        .unwrap_or(USUAL_DAYS);
    let span = match (args.days, args.span) {
        (Some(days), _) => Span::from_secs(i64::from(days) * DAY),
        (None, Some(span)) => span,
        // The server's clock may be ahead of this one: a minute less than the most is never too long.
        (None, None) => Span::from_secs(i64::from(most) * DAY - 60),
    };
    let reason = said(context, args.reason.as_deref(), "request an exemption")?;
    let environments: Vec<&String> = args.environment.iter().collect();
    let body = json!({
        "service": repo.service(context),
        "environments": environments,
        "controls": [args.control],
        "findings": args.finding,
        "reason": reason,
        "compensating": args.compensating,
        "ticket": args.ticket,
        "expiresAt": context.now().plus(span),
    });
    let filed: Value = remote.post("api/v1/exemptions", &body).await?;
    let name = name(&filed);
    show(context, &[filed])?;
    if context.talks() {
        eprintln!(
            "Waits for somebody else: {}/exemptions/{name}",
            remote.address().trim_end_matches('/')
        );
    }
    Ok(0)
}

async fn list(context: &Context, remote: &Remote, all: bool) -> Result<u8, EdgeError> {
    let listed: Value = remote.get("api/v1/exemptions", &[]).await?;
    let items: Vec<Value> = listed["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| all || matches!(item["standing"].as_str(), Some("requested" | "live")))
        .cloned()
        .collect();
    show(context, &items)
}

fn name(item: &Value) -> String {
    text::clean(item["name"].as_str().unwrap_or_default()).into_owned()
}

fn show(context: &Context, items: &[Value]) -> Result<u8, EdgeError> {
    emit::emit(context, |sink| match sink.format {
        Format::Json => match items {
            [one] => pretty(one),
            several => pretty(&several),
        },
        Format::Jsonl => items.iter().map(|item| format!("{item}\n")).collect(),
        _ if items.is_empty() => "No exemptions.\n".to_owned(),
        _ => items
            .iter()
            .map(|item| {
                let word = |name: &str| text::clean(item[name].as_str().unwrap_or_default());
                format!(
                    "{}  {}  {}  ends {}  {}\n",
                    text::pad(&name(item), 6),
                    text::pad(&word("standing"), 9),
                    word("service"),
                    word("expiresAt"),
                    text::prose(item["reason"].as_str().unwrap_or_default()),
                )
            })
            .collect(),
    })?;
    Ok(0)
}
