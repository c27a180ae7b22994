//! Which profile binds a service in an environment: the store says, a repository only requests.

use writ_evidence::predicate::{Definition, DefinitionKind};
use writ_evidence::{Predicate as _, ResourceDescriptor, Statement};
use writ_model::{Digest, EvidenceItem, Timestamp};
use writ_registry::{NewRecord, Query, RegistryError, Store};

use crate::evaluate::{EvaluateError, Options, Release, kind};

/// A profile that binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub profile: String,
    /// Since when the ledger says so.
    pub since: Timestamp,
}

/// Records which profile binds a service in an environment (everywhere where it is `None`).
///
/// # Errors
///
/// The store cannot be written.
pub async fn bind_profile(
    store: &Store,
    service: &str,
    environment: Option<&str>,
    profile: &str,
    at: Timestamp,
    bootstrap: bool,
) -> Result<(), EvaluateError> {
    let digest = Digest::of(format!("profile\n{profile}\n").as_bytes());
    let definition = Definition {
        kind: DefinitionKind::Profile,
        name: profile.to_owned(),
        digest,
        previous: None,
        service: Some(service.to_owned()),
        environment: environment.map(str::to_owned),
        author: None,
        approvals: Vec::new(),
        effective_at: Some(at),
        content: None,
        file: None,
        bootstrap,
        observed_at: at,
    };
    let subject = ResourceDescriptor::sha256(format!("profile/{profile}"), digest);
    let payload = Statement::new(vec![kind(subject, "definition")], definition).to_payload()?;
    store.record(NewRecord::payload(payload)).await?;
    Ok(())
}

/// The profile that binds a service in an environment at a time, if one does.
///
/// # Errors
///
/// The index cannot be read.
pub async fn bound_profile(
    store: &Store,
    service: &str,
    environment: &str,
    at: Timestamp,
) -> Result<Option<Bound>, RegistryError> {
    let bindings = store.bindings(None).await?;
    if let Some(binding) = bindings.profile(service, environment, at) {
        return Ok(Some(Bound {
            profile: binding.profile.clone(),
            since: binding.effective_at,
        }));
    }
    // Before anybody approved one: what this store itself recorded; intake takes no such statement from
    // anybody else. One with content is a proposal.
    let text = |item: &EvidenceItem, name: &str| -> Option<String> {
        item.facts.get(name)?.as_str().map(str::to_owned)
    };
    let binds = |item: &EvidenceItem| {
        item.recorded_at <= at
            && text(item, "kind").as_deref() == Some("profile")
            && !item.facts.contains_key("content")
            && item
                .subject
                .environment
                .as_ref()
                .or(text(item, "environment").as_ref())
                .is_none_or(|known| known == environment)
    };
    // Newest first, page by page: other definitions must not hide an old binding.
    let mut cursor = None;
    loop {
        let query = Query {
            service: Some(service.to_owned()),
            predicate_type: Some(Definition::URI.to_owned()),
            cursor,
            ..Query::default()
        };
        let page = store.evidence(&query).await?;
        if let Some(item) = page.items.into_iter().find(|item| binds(item)) {
            return Ok(Some(Bound {
                profile: text(&item, "name").unwrap_or_default(),
                since: item.recorded_at,
            }));
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(None),
        }
    }
}

/// The profile in force, as the store says it: the repository only requests.
pub(crate) async fn binding(
    store: &Store,
    release: &Release,
    options: Options,
) -> Result<String, EvaluateError> {
    let bound = bound_profile(store, &release.service, &release.environment, options.as_of).await?;
    match bound {
        Some(bound) if bound.profile == release.requested_profile => Ok(bound.profile),
        Some(bound) => Err(EvaluateError::OtherProfile {
            service: release.service.clone(),
            environment: release.environment.clone(),
            requested: release.requested_profile.clone(),
            bound: bound.profile,
            since: bound.since,
        }),
        None => {
            if options.record {
                bind_profile(
                    store,
                    &release.service,
                    None,
                    &release.requested_profile,
                    options.as_of,
                    true,
                )
                .await?;
            }
            Ok(release.requested_profile.clone())
        }
    }
}
