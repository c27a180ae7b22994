//! `writ control bind PROFILE`: which profile binds this service, as a recorded definition.
//!
//! A repository only requests a profile; the store says which one judges it. On an embedded store
//! the person at the keyboard is the owner; in a store with accounts compliance approves it.

use writ_evidence::predicate::Actor;
use writ_gate::evaluate::bind_profile;
use writ_model::Assurance;
use writ_registry::RegistryError;
use writ_registry::directory::identity::BindingChange;
use writ_render::{EdgeError, text};

use crate::commands::gate;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::emit;
use crate::repo::Repo;
use crate::store;

/// Runs the command.
///
/// # Errors
///
/// There is no such profile, or the store cannot be written.
pub async fn run(
    context: &Context,
    profile: &str,
    environment: Option<&str>,
) -> Result<u8, EdgeError> {
    let repo = Repo::open(context)?;
    let bundle = store::bundle(context)?;
    if !bundle.profiles.contains_key(profile) {
        let names: Vec<&str> = bundle.profiles.keys().map(String::as_str).collect();
        return Err(edge::usage(format!("there is no profile '{profile}'"))
            .try_this(format!("one of {}", names.join(", "))));
    }
    let store = store::open(context).await?;
    let service = repo.service(context);
    let failed = |error: RegistryError| match error {
        RegistryError::People { reason } => edge::not_allowed(reason),
        other => store::registry_error(&other),
    };
    if store.has_accounts().await.map_err(failed)? {
        let change = BindingChange::Profile {
            service: service.to_owned(),
            environment: environment.map(str::to_owned),
            profile: profile.to_owned(),
            effective_at: None,
        };
        let by = Actor {
            principal: store
                .local_principal(&context.identity)
                .await
                .map_err(failed)?,
            role: None,
            assurance: Assurance::LocalUser,
            assertion: None,
        };
        let proposed = store
            .propose_bindings(vec![change], &by)
            .await
            .map_err(failed)?;
        store::settle(&store).await;
        if !proposed.bootstrap {
            emit::print(&format!(
                "proposed  {profile} for {}\n  in force when compliance approves: writ server people approve {}\n",
                text::clean(service),
                &proposed.digest.to_hex()[..12]
            ));
            return Ok(0);
        }
    } else {
        bind_profile(&store, service, environment, profile, context.now(), false)
            .await
            .map_err(|error| gate::evaluate_error(&error))?;
        store::settle(&store).await;
    }
    let place = environment.map_or_else(|| "every environment".to_owned(), str::to_owned);
    emit::print(&format!(
        "bound  {profile} binds {} in {}\n",
        text::clean(service),
        text::clean(&place)
    ));
    if repo.profile() != profile {
        emit::print(&format!(
            "Set profile = \"{profile}\" in writ.toml, and commit it.\n"
        ));
    }
    Ok(0)
}
