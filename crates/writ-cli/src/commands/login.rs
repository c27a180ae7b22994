//! `writ login` and `writ logout`: a token of a person, asked for in a terminal and given in a browser.

use serde_json::json;
use writ_connect::server::DevicePolled;
use writ_render::{EdgeError, Format, text};

use crate::commands::listing;
use crate::context::{Context, clock};
use crate::edge::{self, Edge};
use crate::emit;
use crate::remote::{Remote, held};
use crate::repo::Repo;

/// Asks the server for a token and waits for the person's answer. Answers 0.
///
/// # Errors
///
/// There is no server (2), it cannot be reached (3), or the person says no or nothing (4).
pub async fn login(context: &Context) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ login", &[Format::Human, Format::Json])?;
    let repo = Repo::open(context).ok();
    let remote = Remote::bare(context, repo.as_ref(), |_| Ok(None))?.ok_or_else(no_server)?;
    online(context, &remote)?;
    let failed = |error| remote.error(&error);
    let client = remote.client();
    let mut question = client
        .ask_for_token(&label(context))
        .await
        .map_err(failed)?;
    // Beside the result, which is printed when there is one.
    eprintln!(
        "Open {}\nand compare the code: {}\n",
        text::clean(&question.whole_address),
        text::clean(&question.user)
    );
    let end = tokio::time::Instant::now() + question.life;
    let token = loop {
        tokio::time::sleep(question.pause).await;
        let polled = match client.poll_for_token(&mut question).await {
            Err(error) if error.is_passing() && tokio::time::Instant::now() < end => continue,
            polled => polled.map_err(failed)?,
        };
        match polled {
            DevicePolled::Given(token) => break token,
            DevicePolled::Waiting if tokio::time::Instant::now() < end => {}
            DevicePolled::Denied => {
                return Err(
                    edge::not_allowed("the token was refused in the browser").at(remote.address())
                );
            }
            DevicePolled::Waiting | DevicePolled::Expired => {
                return Err(edge::not_allowed("nobody answered in time")
                    .at(remote.address())
                    .try_this("writ login        once more"));
            }
        }
    };
    let path = held::keep(&context.trust, remote.address(), &token)?;
    let value = json!({
        "schema": "writ.login/1", "server": remote.address(), "account": token.account,
        "token": token.id, "expiresAt": token.expires_at, "file": path,
    });
    emit::answer(context, &value, || {
        format!(
            "{} at {} until {}\n  kept in {}\n",
            text::clean(&token.account),
            remote.address(),
            token.expires_at,
            path.display()
        )
    })?;
    Ok(0)
}

/// Ends the token and forgets it. Answers 0, also when there was none.
///
/// # Errors
///
/// There is no server (2), or it cannot be reached (3): then the token is forgotten here and counts there
/// until its end.
pub async fn logout(context: &Context) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ logout", &[Format::Human, Format::Json])?;
    let repo = Repo::open(context).ok();
    let mut had = None;
    let remote = Remote::bare(context, repo.as_ref(), |address| {
        had = held::read(&context.trust, address, clock())?;
        Ok(had.as_ref().map(|token| token.secret.clone()))
    })?
    .ok_or_else(no_server)?;
    let ended = match &had {
        Some(_) if context.offline => Err(edge::cannot_tell(format!(
            "{} is not asked: --offline",
            remote.address()
        ))),
        Some(_) => match remote.client().end_token().await {
            // It had ended before.
            Err(error) if error.status() == Some(401) => Ok(()),
            ended => ended.map_err(|error| remote.error(&error)),
        },
        None => Ok(()),
    };
    held::forget(&context.trust, remote.address())?;
    if let Err(why) = ended {
        return Err(why.try_this("End it at /settings of the server: it is forgotten here only"));
    }
    let value = json!({
        "schema": "writ.logout/1", "server": remote.address(),
        "token": had.as_ref().map(|token| &token.id),
    });
    emit::answer(context, &value, || match &had {
        Some(token) => format!("ended {} at {}\n", text::clean(&token.id), remote.address()),
        None => format!("no token was kept for {}\n", remote.address()),
    })?;
    Ok(0)
}

fn no_server() -> EdgeError {
    edge::usage("there is no server to sign in at")
        .because("writ.toml names none, and the store here needs no token")
        .try_this("writ login --server https://writ.example")
}

fn online(context: &Context, remote: &Remote) -> Result<(), EdgeError> {
    match context.offline {
        true => Err(edge::cannot_tell(format!(
            "{} is not asked: --offline",
            remote.address()
        ))),
        false => Ok(()),
    }
}

/// What the person is told about who asks.
fn label(context: &Context) -> String {
    let host = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    match host
        .as_deref()
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        Some(host) => format!("writ for {} on {host}", context.identity),
        None => format!("writ for {}", context.identity),
    }
}
