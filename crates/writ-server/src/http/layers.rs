//! What every request passes, from the outside in: the ending of the address, request id and log
//! line, panics, time limit, compression, security headers, problems as pages, host and site, who
//! asks. The action of the route is asked last, by [`crate::routes`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::ask::{Began, Form, RequestId};
use super::problem::{Code, Problem, shown};
use super::suffix;
use crate::access::{Principal, identify};
use crate::state::Shared;

/// What pages may load: files of this server and nothing else, no inline code, no frames.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What is not a page may load nothing and run nothing, also when it is opened in a browser.
pub const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole service.
pub fn service(state: &Shared) -> Router {
    let inner = crate::routes::router(state)
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(state.clone(), who))
        .layer(from_fn_with_state(state.clone(), site))
        .layer(from_fn_with_state(state.clone(), page_problems))
        .layer(from_fn_with_state(state.clone(), security_headers))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(state.clone(), time_limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), observe))
        .layer(from_fn(begin))
        .with_state(state.clone());
    // Outside of the router: the route is chosen after the ending is gone.
    let taken = ServiceBuilder::new()
        .map_request(|request: Request| {
            let (mut parts, body) = request.into_parts();
            suffix::take(&mut parts);
            Request::from_parts(parts, body)
        })
        .service(inner);
    Router::new().fallback_service(taken)
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::not_found("page", uri.path()).fix("Check the address, or search")
}

async fn other_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}", shown(uri.path())),
    )
}

/// Gives the request its id and notes when it came.
async fn begin(mut request: Request, next: Next) -> Response {
    let mut random = [0_u8; 8];
    let id = match getrandom::fill(&mut random) {
        Ok(()) => hex::encode(random),
        Err(_) => "0000000000000000".to_owned(),
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(Began(Instant::now()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// One log line and the figures of every request.
async fn observe(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str)
        .to_owned();
    let began = request.extensions().get::<Began>().copied();
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let took = began.map_or(Duration::ZERO, |began| began.0.elapsed());
    let status = response.status();
    state.metrics.request(&route, &method, status, took);
    if let Ok(value) = HeaderValue::from_str(&format!("app;dur={:.1}", took.as_secs_f64() * 1e3)) {
        response.headers_mut().insert("server-timing", value);
    }
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let id = id.map_or(String::new(), |id| id.0);
    if status.is_server_error() {
        tracing::error!(request = id, %method, route, status = status.as_u16(), milliseconds, "answered");
    } else if matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics") {
        tracing::debug!(request = id, %method, route, status = status.as_u16(), milliseconds, "answered");
    } else {
        tracing::info!(request = id, %method, route, status = status.as_u16(), milliseconds, "answered");
    }
    response
}

fn panicked(error: Box<dyn std::any::Any + Send>) -> Response {
    let text = error
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| error.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Problem::new(
        Code::Internal,
        "the server met a case that it does not know",
    )
    .fix("Tell the operator the id of this request")
    .into_response()
}

async fn time_limit(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let limit = Duration::from_secs(state.config.limits.request_seconds);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Code::TooSlow,
            format!("no answer within {} s", limit.as_secs()),
        )
        .fix("Ask for less: a shorter period, one service")
        .into_response(),
    }
}

async fn security_headers(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let page = suffix::is_page(request.uri().path());
    let mut response = next.run(request).await;
    let html = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    };
    set(
        "content-security-policy",
        if page && html {
            PAGE_POLICY
        } else {
            DATA_POLICY
        },
    );
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "same-origin");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    set(
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    );
    if state.config.tls.is_some() {
        set("strict-transport-security", "max-age=31536000");
    }
    if page && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
    }
    response
}

/// Shows problems of pages as pages, and notes the request's id in every problem.
async fn page_problems(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut kept: Parts = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    if let Some(principal) = response.extensions().get::<Principal>() {
        kept.extensions.insert(principal.clone());
    }
    if let Some(id) = kept.extensions.get::<RequestId>() {
        problem.instance = Some(format!("urn:writ:request:{}", id.0));
    }
    let browser = kept.headers.get_all(header::ACCEPT).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|kinds| kinds.contains("text/html"))
    });
    let page = suffix::is_page(kept.uri.path()) && kept.extensions.get::<Form>().is_none();
    // A person who is not signed in is shown where, and comes back; a program is told so.
    if page && browser && kept.method == Method::GET && problem.status == 401 {
        let next = kept.uri.path_and_query().map_or("/", |next| next.as_str());
        let there = crate::paths::sign_in(next).to_string();
        return axum::response::Redirect::to(&there).into_response();
    }
    let html = page && (browser || (kept.method != Method::POST && problem.status != 401));
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = if html {
        crate::pages::problem::show(&state, kept, problem).await
    } else {
        let mut answer = problem.into_response();
        answer.extensions_mut().remove::<Problem>();
        answer
    };
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// Refuses requests under a foreign name (a name of somebody else that was bent to this address),
/// and changes that another site's page asks for.
async fn site(State(state): State<Shared>, request: Request, next: Next) -> Response {
    match check_site(&state, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check_site(
    state: &Shared,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let named = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| text(header::HOST));
    let Some(named) = named else {
        return Err(Problem::new(Code::Host, "the request names no host"));
    };
    let public = state.config.public_authority();
    let ours = |authority: &str| is_local(authority) || Some(authority) == public;
    if !ours(named) {
        return Err(
            Problem::new(Code::Host, format!("'{}' is not this server", shown(named)))
                .why("A page of another site could read this server through a name that it bends here")
                .fix("Set public_url in the server's settings to the address that people use"),
        );
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let refused = || {
        Problem::new(Code::CrossSite, "another site's page asked for this change")
            .fix("Do it on a page of this server")
    };
    match text(HeaderName::from_static("sec-fetch-site")) {
        None | Some("same-origin" | "none") => {}
        Some(_) => return Err(refused()),
    }
    match text(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let authority = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            if authority.is_some_and(|authority| authority == named) {
                Ok(())
            } else {
                Err(refused())
            }
        }
    }
}

/// Whether an authority names this machine, whatever the port.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

async fn who(State(state): State<Shared>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|peer| peer.0);
    match identify(&state, request.headers(), peer).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal.clone());
            let mut response = next.run(request).await;
            // For the page that shows a problem: it is drawn outside of here.
            response.extensions_mut().insert(principal);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for (authority, local) in [
            ("localhost:8080", true),
            ("LocalHost", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("127.0.0.1.evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("", false),
            ("[::1", true),
        ] {
            assert_eq!(is_local(authority), local, "{authority}");
        }
    }
}
