//! The one table of routes. A handler that is not in it cannot be reached: the router is made of
//! this table and nothing else, and every row names the action that is asked before its handler.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use writ_registry::reads::Read;

use crate::access::{Action, Principal, forms, may};
use crate::http::Problem;
use crate::http::ask::RequestId;
use crate::state::Shared;
use crate::{api, assets, hooks, ledger, pages};

/// What kind of address a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A page for people, with its other forms.
    Page,
    /// The interface for programs; described in the OpenAPI document.
    Api,
    /// The ledger as static files.
    Ledger,
    /// Style sheets, fonts and scripts.
    Asset,
    /// For whoever operates the server.
    Operation,
}

/// One route.
#[derive(Clone, Copy)]
pub struct Route {
    /// Method; GET answers HEAD too.
    pub method: &'static str,
    /// Path, parameters in braces.
    pub path: &'static str,
    /// Kind of address.
    pub class: Class,
    /// What is asked before the handler runs.
    pub action: Action,
    handler: fn() -> MethodRouter<Shared>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $class:ident $action:ident => $handler:path;)+) => {
        /// All routes.
        pub const ROUTES: &[Route] = &[$(Route {
            method: routes!(@word $method),
            path: $path,
            class: Class::$class,
            action: Action::$action,
            handler: || $method($handler),
        }),+];
    };
    (@word get) => { "GET" };
    (@word post) => { "POST" };
}

routes! {
    get "/" Page ReadRecords => pages::overview::show;
    get "/changes" Page ReadRecords => pages::changes::show;
    get "/changes/{change}" Page ReadRecords => pages::change::show;
    get "/runs" Page ReadRecords => pages::runs::show;
    get "/runs/{id}" Page ReadRecords => pages::run::show;
    get "/d/{id}" Page ReadRecords => pages::decision::show;
    get "/inbox" Page ReadRecords => pages::inbox::show;
    get "/releases" Page ReadRecords => pages::releases::show;
    get "/releases/{name}" Page ReadRecords => pages::release::show;
    post "/releases/{name}/answer" Page AnswerReleases => pages::release::answer;
    get "/break-glass" Page ReadRecords => pages::emergencies::show;
    post "/break-glass" Page OpenEmergencies => pages::emergency::open;
    get "/break-glass/new" Page ReadRecords => pages::break_glass::new;
    get "/break-glass/{name}" Page ReadRecords => pages::emergency::show;
    post "/break-glass/{name}/close" Page OpenEmergencies => pages::emergency::close;
    post "/break-glass/{name}/review" Page ReviewEmergencies => pages::emergency::review;
    get "/environments" Page ReadRecords => pages::environments::show;
    get "/environments/{name}" Page ReadRecords => pages::environment::show;
    get "/findings" Page ReadRecords => pages::findings::show;
    get "/findings/{fingerprint}" Page ReadRecords => pages::finding::show;
    get "/exemptions" Page ReadRecords => pages::exemptions::show;
    post "/exemptions" Page RequestExemptions => pages::ask_exemption::file;
    get "/exemptions/new" Page ReadRecords => pages::ask_exemption::show;
    get "/exemptions/{number}" Page ReadRecords => pages::exemption::show;
    post "/exemptions/{number}/answer" Page AnswerExemptions => pages::ask_exemption::answer;
    get "/controls" Page ReadRecords => pages::controls::show;
    get "/controls/{id}" Page ReadRecords => pages::control::show;
    get "/evidence" Page ReadRecords => pages::evidence::show;
    get "/e/{id}" Page ReadRecords => pages::item::show;
    get "/search" Page ReadRecords => pages::search::show;
    get "/admin/health" Page ReadServer => pages::health::show;
    get "/admin/integrations" Page ReadServer => pages::integrations::show;
    get "/admin/keys" Page ReadServer => pages::keys::show;
    get "/admin/people" Page ReadPeople => pages::people::show;
    post "/admin/people/bind" Page ManagePeople => pages::persons::bind;
    post "/admin/people/unbind" Page ManagePeople => pages::persons::unbind;
    post "/admin/people/profile" Page ProposeProfiles => pages::profiles::propose;
    post "/admin/people/answer" Page AnswerBindings => pages::persons::answer;
    post "/admin/people/role" Page ManagePeople => pages::people::role;
    post "/admin/people/disable" Page ManagePeople => pages::people::disable;
    post "/admin/people/passkeys" Page ManagePeople => pages::people::passkeys;
    post "/admin/people/session" Page ManagePeople => pages::people::session;
    get "/admin/reads" Page ReadReads => pages::reads::show;
    get "/sign-in" Page Public => pages::sign_in::show;
    post "/sign-in" Page Public => pages::sign_in::enter;
    get "/sign-in/with/{provider}" Page Public => pages::oidc::start;
    get "/sign-in/with/{provider}/back" Page Public => pages::oidc::back;
    post "/sign-out" Page Public => pages::sign_in::leave;
    get "/settings" Page OwnSettings => pages::settings::show;
    post "/settings/password" Page OwnSettings => pages::settings::password;
    post "/settings/codes" Page OwnSettings => pages::settings::codes;
    post "/settings/passkeys" Page OwnSettings => pages::passkeys::add;
    post "/settings/passkeys/end" Page OwnSettings => pages::passkeys::end;
    post "/settings/link" Page OwnSettings => pages::oidc::link;
    post "/settings/unlink" Page OwnSettings => pages::oidc::unlink;
    get "/device" Page OwnSettings => pages::device::show;
    post "/device" Page OwnSettings => pages::device::answer;
    post "/settings/token" Page OwnSettings => pages::settings::token;
    post "/settings/session" Page OwnSettings => pages::settings::session;
    post "/settings/theme" Page OwnSettings => pages::theme::set;

    get "/api/openapi.json" Api Public => api::openapi::get;
    get "/api/v1/evidence" Api ReadRecords => api::evidence::list;
    post "/api/v1/evidence" Api RecordEvidence => api::intake::record;
    post "/api/v1/hooks/{name}" Api DeliverEvents => hooks::deliver;
    get "/api/v1/uploads/{digest}" Api RecordEvidence => api::uploads::get;
    post "/api/v1/uploads/{digest}" Api RecordEvidence => api::uploads::part;
    get "/api/v1/evidence/{id}" Api ReadRecords => api::evidence::one;
    get "/api/v1/evidence/{id}/envelope" Api ReadRecords => api::evidence::envelope;
    get "/api/v1/evidence/{id}/receipt" Api ReadRecords => api::evidence::receipt;
    post "/api/v1/device" Api Public => api::device::begin;
    post "/api/v1/device/token" Api Public => api::device::poll;
    post "/api/v1/device/revoke" Api Public => api::device::revoke;
    get "/api/v1/findings" Api ReadRecords => api::findings::list;
    get "/api/v1/runs" Api ReadRecords => api::runs::list;
    get "/api/v1/changes" Api ReadRecords => api::changes::list;
    get "/api/v1/decisions" Api ReadRecords => api::decisions::list;
    post "/api/v1/decisions" Api Decide => api::decide::decide;
    get "/api/v1/decisions/{id}" Api ReadRecords => api::decisions::one;
    get "/api/v1/writs" Api ReadRecords => api::writs::list;
    post "/api/v1/admission" Api ReadRecords => api::admission::review;
    get "/api/v1/authorisation" Api ReadRecords => api::authorisation::get;
    get "/api/v1/environments" Api ReadRecords => api::environments::list;
    get "/api/v1/environments/{address}" Api ReadRecords => api::environments::one;
    get "/api/v1/environments/{address}/diff" Api ReadRecords => api::environments::diff;
    get "/api/v1/approvals" Api ReadRecords => api::approvals::list;
    get "/api/v1/exemptions" Api ReadRecords => api::exemptions::list;
    post "/api/v1/exemptions" Api RequestExemptions => api::exemptions::file;
    get "/api/v1/exemptions/{number}" Api ReadRecords => api::exemptions::one;
    get "/api/v1/releases" Api ReadRecords => api::releases::list;
    get "/api/v1/inbox" Api ReadRecords => api::releases::inbox;
    get "/api/v1/break-glass" Api ReadRecords => api::releases::emergencies;
    get "/api/v1/services" Api ReadRecords => api::services::list;
    get "/api/v1/controls" Api ReadControls => api::controls::list;
    get "/api/v1/controls/{id}" Api ReadControls => api::controls::one;
    get "/api/v1/frameworks" Api ReadControls => api::frameworks::list;
    get "/api/v1/frameworks/{key}" Api ReadControls => api::frameworks::one;
    get "/api/v1/posture" Api ReadRecords => api::posture::get;
    get "/api/v1/server" Api ReadLedger => api::about::get;
    post "/api/v1/workload/keys" Api RecordEvidence => api::workload::bind;
    get "/api/v1/people/key" Api RecordEvidence => api::people::key;
    post "/api/v1/people/import" Api ManagePeople => api::people::import;
    get "/api/v1/stats" Api ReadServer => api::stats::get;

    get "/ledger/checkpoint" Ledger ReadLedger => ledger::checkpoint;
    get "/ledger/tile/entries/{*path}" Ledger ReadEntries => ledger::entries;
    get "/ledger/tile/{level}/{*path}" Ledger ReadLedger => ledger::tile;

    get "/assets/{name}" Asset Public => assets::get;
    get "/healthz" Operation Public => api::operation::alive;
    get "/readyz" Operation Public => api::operation::ready;
    get "/metrics" Operation ReadMetrics => api::operation::metrics;
}

/// The router of the table.
pub(crate) fn router(state: &Shared) -> Router<Shared> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let action = route.action;
        let asked = from_fn_with_state(state.clone(), move |state, request, next| {
            ask(action, state, request, next)
        });
        router.route(route.path, (route.handler)().layer(asked))
    })
}

async fn ask(
    action: Action,
    State(state): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return Problem::new(crate::http::Code::Internal, "the request has no principal")
            .into_response();
    };
    if let Err(problem) = may(&principal, action) {
        return problem.into_response();
    }
    let request = match forms::check(&principal, request).await {
        Ok(request) => request,
        Err(problem) => return problem.into_response(),
    };
    let read = audit_read(&principal, action, &request);
    if let Some((path, id)) = &read {
        // What cannot be noted is not shown.
        let note = Read {
            at: state.store.now(),
            principal: principal.id.clone(),
            path: path.clone(),
            request: id.clone(),
        };
        if let Err(error) = state.store.note_read(&note).await {
            tracing::error!(%error, "a read could not be noted");
            return Problem::new(
                crate::http::Code::Store,
                "what an auditor reads is noted, and it could not be",
            )
            .into_response();
        }
    }
    let response = next.run(request).await;
    if let Some((path, id)) = read {
        tracing::info!(
            target: "writ_server::audit_read",
            principal = %principal.id, path, request = id, status = response.status().as_u16(),
            "read"
        );
    }
    response
}

/// What an auditor reads, and who reads whole entries of the ledger, to be noted: address and request.
fn audit_read(
    principal: &Principal,
    action: Action,
    request: &Request,
) -> Option<(String, String)> {
    let auditor = principal
        .grants
        .iter()
        .any(|grant| grant.role == writ_model::Role::Auditor);
    let noted = auditor || action == Action::ReadEntries;
    let reads = matches!(
        *request.method(),
        axum::http::Method::GET | axum::http::Method::HEAD
    );
    if !noted || action == Action::Public || !reads {
        return None;
    }
    let id = request.extensions().get::<RequestId>();
    let path = request.uri().path_and_query()?.as_str();
    Some((
        crate::http::problem::shown(path),
        id.map(|id| id.0.clone()).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_routes() {
        let table: Vec<String> = ROUTES
            .iter()
            .map(|route| {
                format!(
                    "{:<5} {:<38} {:<10} {}",
                    route.method,
                    route.path,
                    format!("{:?}", route.class),
                    route.action.word()
                )
            })
            .collect();
        let unique: std::collections::BTreeSet<&String> = table.iter().collect();
        assert_eq!(unique.len(), table.len());
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn only_the_table_makes_routes() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = vec![folder];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                continue;
            }
            // The witness is a server of its own.
            if path.ends_with("src/routes.rs") || path.ends_with("src/witness.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for way in [".route(", ".nest(", ".route_service(", ".nest_service("] {
                assert!(
                    !text.contains(way),
                    "{} makes a route of its own",
                    path.display()
                );
            }
        }
    }
}
