//! Opens the embedded store and the bundle, with errors for people.

use std::sync::Arc;

use writ_connect::vault::Connector;
use writ_evidence::key::VaultConnector;
use writ_gate::{Bundle, BundleSource, load_bundle, load_retention};
use writ_registry::{KeyAccess, RegistryError, Store, StoreOptions};
use writ_render::EdgeError;

use crate::context::Context;
use crate::edge::{self, Edge};

/// Opens the store for writing, making it on first use.
///
/// # Errors
///
/// See [`registry_error`].
pub async fn open(context: &Context) -> Result<Arc<Store>, EdgeError> {
    for_writing(context, StoreOptions::create).await
}

/// Opens the store for writing; it must be there.
///
/// # Errors
///
/// See [`registry_error`].
pub async fn open_existing(context: &Context) -> Result<Arc<Store>, EdgeError> {
    for_writing(context, |options| options).await
}

async fn for_writing(
    context: &Context,
    adjust: fn(StoreOptions) -> StoreOptions,
) -> Result<Arc<Store>, EdgeError> {
    let source = bundle_source(context);
    let retention =
        load_retention(&source).map_err(|error| bundle_error(&source, &error.to_string()))?;
    let options = StoreOptions::new(&context.trust)
        .retention(retention)
        .keys(key_access(context));
    Store::open(&context.store, adjust(options))
        .await
        .map(Arc::new)
        .map_err(|error| registry_error(&error))
}

/// How private keys are come by: passphrases from the environment, Vault unless offline.
pub fn key_access(context: &Context) -> KeyAccess {
    KeyAccess {
        vault: (!context.offline).then(|| Arc::new(Connector) as Arc<dyn VaultConnector>),
        ..KeyAccess::default()
    }
}

/// Signs and remembers the head of what was recorded. An error is met again, and reported, by the
/// next command: what was recorded is safe, and this one has its answer.
pub async fn settle(store: &Store) {
    let _ = store.settle().await;
}

/// Opens the store for reading.
///
/// # Errors
///
/// See [`registry_error`].
pub async fn open_read_only(context: &Context) -> Result<Arc<Store>, EdgeError> {
    let options = StoreOptions::new(&context.trust).read_only();
    Store::open(&context.store, options)
        .await
        .map(Arc::new)
        .map_err(|error| registry_error(&error))
}

/// What the registry says, for people: asked wrongly is 2, not allowed is 4, the rest is "cannot tell".
pub fn registry_error(error: &RegistryError) -> EdgeError {
    let text = edge::chain(error);
    match error {
        RegistryError::InsideWorkTree { .. }
        | RegistryError::TrustInsideStore { .. }
        | RegistryError::NoStore(_)
        | RegistryError::NotAnId(_)
        | RegistryError::Ambiguous { .. }
        | RegistryError::Cursor { .. }
        | RegistryError::Words { .. }
        | RegistryError::NoEntry { .. }
        | RegistryError::NotFound(_) => edge::usage(text),
        RegistryError::People { .. } => edge::usage(text),
        RegistryError::Exemption { .. } | RegistryError::Hold { .. } => edge::not_allowed(text),
        RegistryError::KeyChange { problem, remedy } => {
            edge::usage(problem.clone()).try_this(*remedy)
        }
        RegistryError::Ledger(_) | RegistryError::Locker(_) | RegistryError::Entry { .. } => {
            edge::cannot_tell("the store cannot be relied on")
                .because(text)
                .try_this("writ verify        names the entry and the bytes")
        }
        _ => edge::cannot_tell(text),
    }
}

/// The bundle that judges: the one that ships, or the folder given by flag.
///
/// # Errors
///
/// A bundle that cannot be loaded, with every problem.
pub fn bundle(context: &Context) -> Result<Bundle, EdgeError> {
    let source = bundle_source(context);
    load_bundle(&source).map_err(|error| bundle_error(&source, &error.to_string()))
}

fn bundle_source(context: &Context) -> BundleSource {
    match &context.bundle {
        Some(folder) => BundleSource::Directory(folder.clone()),
        None => BundleSource::Embedded,
    }
}

fn bundle_error(source: &BundleSource, problems: &str) -> EdgeError {
    let mut edge = edge::usage(format!(
        "the controls bundle {} is not valid",
        source.name()
    ));
    for line in problems.lines().take(20) {
        edge = edge.because(line);
    }
    edge.try_this("writ control lint")
}
