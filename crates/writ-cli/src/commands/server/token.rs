//! `writ server token …`: tokens for programs that no CI system vouches for.

use serde_json::json;
use writ_registry::{ApiToken, NewToken, RegistryError, Store, StoreOptions};
use writ_render::{EdgeError, text};
use writ_server::access::Action;

use super::answer;
use crate::args::{TokenArgs, TokenCommand};
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::store;

/// Runs the command.
///
/// # Errors
///
/// The store cannot be used, or the token cannot be made or ended; then nothing was changed.
pub(super) async fn run(context: &Context, command: &TokenCommand) -> Result<(), EdgeError> {
    let failed = |error: RegistryError| match &error {
        RegistryError::Token { problem, remedy } => edge::usage(problem).because(remedy),
        other => store::registry_error(other),
    };
    let options = StoreOptions::new(&context.trust).keys(store::key_access(context));
    let store = Store::open(&context.store, options).await.map_err(failed)?;
    let done = match command {
        TokenCommand::New(args) => new(context, &store, args).await?.map_err(failed),
        TokenCommand::List => list(context, &store).await?.map_err(failed),
        TokenCommand::Revoke { token } => revoke(context, &store, token).await?.map_err(failed),
    };
    let closed = store.close().await.map_err(failed);
    done.and(closed)
}

type Done = Result<Result<(), RegistryError>, EdgeError>;

async fn new(context: &Context, store: &Store, args: &TokenArgs) -> Done {
    if let Some(unknown) = args.action.iter().find(|word| Action::of(word).is_none()) {
        let known: Vec<&str> = Action::ALL.iter().map(|action| action.word()).collect();
        return Err(
            edge::usage(format!("there is no action '{}'", unknown.escape_debug()))
                .because(format!("the actions are {}", known.join(", "))),
        );
    }
    let wanted = NewToken {
        name: args.name.clone(),
        services: args.service.clone(),
        actions: args.action.clone(),
        life: args.expires,
        owner: None,
    };
    let (token, secret) = match store.new_token(wanted).await {
        Ok(made) => made,
        Err(error) => return Ok(Err(error)),
    };
    let value = json!({
        "schema": "writ.token/1", "role": args.role, "token": token, "secret": secret.as_str(),
    });
    answer(context, &value, || {
        format!(
            "{}\n\n  {}  {}, until {}\n  Keep it now: it is not shown again.\n",
            secret.as_str(),
            token.id,
            limits(&token),
            token.expires_at
        )
    })?;
    Ok(Ok(()))
}

async fn list(context: &Context, store: &Store) -> Done {
    let tokens = match store.tokens().await {
        Ok(tokens) => tokens,
        Err(error) => return Ok(Err(error)),
    };
    let now = store.now();
    let value = json!({"schema": "writ.tokens/1", "tokens": tokens});
    answer(context, &value, || {
        if tokens.is_empty() {
            return "no tokens\n".to_owned();
        }
        let line = |token: &ApiToken| {
            let state = match token.revoked_at {
                Some(at) => format!("revoked {at}"),
                None if token.expires_at <= now => format!("ended {}", token.expires_at),
                None => format!("until {}", token.expires_at),
            };
            let used = match token.used_at {
                Some(at) => format!("used {at}"),
                None => "never used".to_owned(),
            };
            format!(
                "{}  {}\n    {}; {state}; {used}\n",
                token.id,
                text::clean(&token.name),
                limits(token)
            )
        };
        tokens.iter().map(line).collect()
    })?;
    Ok(Ok(()))
}

async fn revoke(context: &Context, store: &Store, which: &str) -> Done {
    let token = match store.revoke_token(which).await {
        Ok(token) => token,
        Err(error) => return Ok(Err(error)),
    };
    let value = json!({"schema": "writ.token/1", "token": token});
    answer(context, &value, || {
        format!("revoked {}  {}\n", token.id, text::clean(&token.name))
    })?;
    Ok(Ok(()))
}

/// What a token may do, in words.
fn limits(token: &ApiToken) -> String {
    let services = match token.services.is_empty() {
        true => "all services".to_owned(),
        false => text::clean(&token.services.join(", ")).into_owned(),
    };
    match token.actions.is_empty() {
        true => services,
        false => format!("{services}, only {}", token.actions.join(", ")),
    }
}
