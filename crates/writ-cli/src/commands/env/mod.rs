//! `writ env …`: what runs, and whether it may.

mod show;
mod snapshot;

use writ_connect::http::encoded;
use writ_model::Timestamp;
use writ_release::drift::{Address, Back};
use writ_release::observe::{self, Differences, Limits, ObserveError, Watched};
use writ_render::EdgeError;

use crate::args::EnvCommand;
use crate::commands::listing;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::remote::Remote;
use crate::repo::Repo;
use crate::store;

/// Runs the command.
///
/// # Errors
///
/// The store or the server cannot be read or written, or there is no such environment or moment.
pub async fn run(context: &Context, command: &EnvCommand) -> Result<u8, EdgeError> {
    listing::require_formats(context, "writ env", &listing::FORMATS)?;
    match command {
        EnvCommand::List => show::list(context, &source(context).await?).await,
        EnvCommand::Show { environment } => {
            let address = at(context, meant(context, environment.as_ref())?);
            show::show(context, &source(context).await?, &address).await
        }
        EnvCommand::Diff { from, to } => {
            let (from, to) = moments(from, to.as_ref());
            show::diff(context, &source(context).await?, &from, &to).await
        }
        EnvCommand::Snapshot(args) => snapshot::run(context, args).await,
    }
}

/// `--at` says the moment where the address does not.
fn at(context: &Context, address: Address) -> Address {
    match (context.at, address.back) {
        (Some(at), Back::Newest) => Address {
            back: Back::At(at),
            ..address
        },
        _ => address,
    }
}

/// An environment alone is compared with its snapshot before.
fn moments(from: &Address, to: Option<&Address>) -> (Address, Address) {
    match to {
        Some(to) => (from.clone(), to.clone()),
        None => {
            let newest = Address {
                environment: from.environment.clone(),
                back: Back::Newest,
            };
            let from = match from.back {
                Back::Newest => Address {
                    back: Back::Snapshots(1),
                    ..from.clone()
                },
                _ => from.clone(),
            };
            (from, newest)
        }
    }
}

/// The environment that is meant where none is named.
fn meant(context: &Context, named: Option<&Address>) -> Result<Address, EdgeError> {
    match named {
        Some(address) => Ok(address.clone()),
        None => Ok(Address {
            environment: Repo::open(context)?.environment(None),
            back: Back::Newest,
        }),
    }
}

/// Who knows: the server of the repository, else the store here.
enum Knows {
    Server(Box<Remote>),
    Store(std::sync::Arc<writ_registry::Store>, Limits),
}

async fn source(context: &Context) -> Result<Knows, EdgeError> {
    let repo = Repo::open(context).ok();
    if let Some(remote) = Remote::find(context, repo.as_ref()).await? {
        return Ok(Knows::Server(Box::new(remote)));
    }
    let limits = Limits::of(&store::bundle(context)?);
    Ok(Knows::Store(store::open_read_only(context).await?, limits))
}

#[derive(serde::Deserialize)]
struct Items {
    items: Vec<Watched>,
}

impl Knows {
    async fn all(&self, context: &Context) -> Result<Vec<Watched>, EdgeError> {
        match self {
            Self::Server(remote) => {
                let at = context.at.map(|at| at.to_string());
                let query: Vec<(&str, &str)> = at.iter().map(|at| ("at", at.as_str())).collect();
                let items: Items = remote.get("api/v1/environments", &query).await?;
                Ok(items.items)
            }
            Self::Store(store, limits) => {
                let (below, now) = extent(store, context).await?;
                let environments = store
                    .environments(below)
                    .await
                    .map_err(|error| store::registry_error(&error))?;
                let mut all = Vec::new();
                for environment in environments {
                    let address = Address {
                        environment,
                        back: Back::Newest,
                    };
                    all.push(
                        observe::watched(store, &address, below, now, *limits)
                            .await
                            .map_err(|error| observe_error(&error))?,
                    );
                }
                Ok(all)
            }
        }
    }

    async fn one(&self, context: &Context, address: &Address) -> Result<Watched, EdgeError> {
        match self {
            Self::Server(remote) => {
                let path = format!("api/v1/environments/{}", encoded(&address.to_string()));
                remote.get(&path, &[]).await
            }
            Self::Store(store, limits) => {
                let (below, now) = extent(store, context).await?;
                known(store, &address.environment, below).await?;
                observe::watched(store, address, below, now, *limits)
                    .await
                    .map_err(|error| observe_error(&error))
            }
        }
    }

    async fn difference(
        &self,
        context: &Context,
        from: &Address,
        to: &Address,
    ) -> Result<Differences, EdgeError> {
        match self {
            Self::Server(remote) => {
                let path = format!("api/v1/environments/{}/diff", encoded(&from.to_string()));
                remote.get(&path, &[("to", &to.to_string())]).await
            }
            Self::Store(store, _) => {
                let (below, now) = extent(store, context).await?;
                for address in [from, to] {
                    known(store, &address.environment, below).await?;
                }
                observe::differences(store, from, to, below, now)
                    .await
                    .map_err(|error| observe_error(&error))
            }
        }
    }
}

/// Until where the ledger is read, and as of when.
async fn extent(
    store: &writ_registry::Store,
    context: &Context,
) -> Result<(u64, Timestamp), EdgeError> {
    let wrong = |error| store::registry_error(&error);
    match context.at {
        Some(at) => Ok((store.size_at(at).await.map_err(wrong)?, at)),
        None => Ok((store.indexed().await.map_err(wrong)?, store.now())),
    }
}

/// Refuses an environment that nothing is recorded of.
async fn known(store: &writ_registry::Store, name: &str, below: u64) -> Result<(), EdgeError> {
    let environments = store
        .environments(below)
        .await
        .map_err(|error| store::registry_error(&error))?;
    if environments.iter().any(|known| known == name) {
        return Ok(());
    }
    let name = writ_render::text::clean(name);
    let edge = edge::usage(format!("nothing is recorded of an environment '{name}'"));
    let near = writ_gate::did_you_mean(&name, environments.iter().map(String::as_str));
    Err(match near {
        Some(near) => edge.try_this(format!("did you mean {near}?")),
        None if environments.is_empty() => edge.try_this(format!("writ env snapshot {name}")),
        None => edge.try_this(format!("one of {}", environments.join(", "))),
    })
}

/// What cannot be said of an environment, for people.
pub fn observe_error(error: &ObserveError) -> EdgeError {
    match error {
        ObserveError::Registry(inner) => store::registry_error(inner),
        ObserveError::NoMoment { .. } => {
            edge::usage(error.to_string()).try_this("writ env show        the newest")
        }
        ObserveError::Statement { .. } => edge::cannot_tell(error.to_string()),
    }
}
