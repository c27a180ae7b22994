//! `writ serve`: the dashboard and the interface for programs, until it is told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use writ_render::{EdgeError, Format};
use writ_server::config::DEFAULT_FILE;
use writ_server::{App, Config, Parts, ServeError, demo, serve};

use crate::args::ServeArgs;
use crate::commands::server::rematch;
use crate::context::{self, Context};
use crate::edge::{self, Edge};
use crate::{emit, store};

/// Runs the server until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// The settings, the store or the address cannot be used.
pub async fn run(context: &Context, args: &ServeArgs) -> Result<u8, EdgeError> {
    let mut config = settings(args)?;
    writ_server::logs::start(&config.log).map_err(edge::usage)?;
    // The directory of a demonstration vanishes with this value, at the end.
    let (parts, filled) = if args.demo {
        let filled = demo::fill(context::clock(), demo::YEAR)
            .await
            .map_err(|error| edge::cannot_tell(edge::chain(&error)))?;
        filled
            .connect(&mut config)
            .map_err(|error| edge::cannot_tell(edge::chain(&error)))?;
        let parts = Parts {
            store: Arc::clone(&filled.store),
            bundle: Arc::clone(&filled.bundle),
            config,
            operator: demo::OPERATOR.to_owned(),
            demo: true,
        };
        (parts, Some(filled))
    } else {
        let parts = Parts {
            store: store::open(context).await?,
            bundle: Arc::new(store::bundle(context)?),
            config,
            operator: context.identity.clone(),
            demo: false,
        };
        (parts, None)
    };
    let app = App::new(parts).await.map_err(|error| refused(&error))?;
    if !args.demo {
        let rematcher = rematch::rematcher(context, &app.store)?;
        app.rematching(Arc::new(rematch::Job(rematcher)));
    }
    let running = serve(Arc::clone(&app))
        .await
        .map_err(|error| refused(&error))?;
    let address = running.address;
    let accounts = app
        .store
        .has_accounts()
        .await
        .map_err(|error| store::registry_error(&error))?;
    emit::emit(context, |sink| match sink.format {
        Format::Json | Format::Jsonl => {
            let value = json!({
                "schema": "writ.serve/1", "address": address, "demo": args.demo,
                "ledger": app.store.origin(), "entries": app.head().size,
            });
            format!("{value}\n")
        }
        _ => {
            let scheme = if app.config.tls.is_some() {
                "https"
            } else {
                "http"
            };
            let note = if args.demo {
                "DEMO: invented data in a temporary store, gone when this ends\n"
            } else {
                ""
            };
            format!(
                "{note}listening  {scheme}://{address}\nledger     {} with {} entries\naccounts   {}\n",
                app.store.origin(),
                app.head().size,
                if accounts {
                    "sign in to use it".to_owned()
                } else {
                    format!(
                        "none: everybody on this machine acts as {}",
                        app.operator.name
                    )
                }
            )
        }
    })?;
    stopped().await?;
    running.stop().await;
    // What is recorded is durable; the signed head over it is brought up to date.
    app.refresh_head().await.map_err(|error| refused(&error))?;
    drop(app);
    drop(filled);
    Ok(0)
}

fn settings(args: &ServeArgs) -> Result<Config, EdgeError> {
    let default = Path::new(DEFAULT_FILE);
    let file: Option<PathBuf> = match &args.settings {
        Some(file) => Some(file.clone()),
        None => default.exists().then(|| default.to_owned()),
    };
    let mut config = match file {
        Some(file) => Config::read(&file).map_err(|error| edge::usage(edge::chain(&error)))?,
        None => Config::default(),
    };
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    Ok(config)
}

fn refused(error: &ServeError) -> EdgeError {
    match error {
        ServeError::Store(error) => store::registry_error(error),
        ServeError::Config(_)
        | ServeError::NoAccounts(_)
        | ServeError::Clear(_)
        | ServeError::Certificate { .. } => edge::usage(edge::chain(error)),
        ServeError::Listen { .. } => {
            edge::cannot_tell(edge::chain(error)).try_this("writ serve --listen 127.0.0.1:0")
        }
    }
}

/// Waits until the process is told to end.
async fn stopped() -> Result<(), EdgeError> {
    let failed =
        |error: std::io::Error| edge::cannot_tell("cannot wait for signals").because(error);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(failed)?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
