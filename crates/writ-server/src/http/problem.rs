//! Refusals as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents that carry the
//! parts of every failure: found, required, why, fix and the way out.
//!
//! A handler returns a [`Problem`]; programs get it as JSON. Pages show the same struct as HTML
//! (see [`super::layers`]).

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use writ_registry::RegistryError;
use writ_release::observe::ObserveError;

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($variant:ident = $word:literal, $status:ident, $title:literal);+ $(;)?) => {
        /// Kinds of refusals. The words are stable: programs may compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $variant),+
        }

        impl Code {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// What happened, the same for every case of the kind.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

codes! {
    NotFound = "not-found", NOT_FOUND, "There is nothing at this address";
    Ambiguous = "ambiguous", CONFLICT, "More than one thing has this beginning of an id";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This address does not take this method";
    Query = "query", BAD_REQUEST, "The query cannot be understood";
    Body = "body", BAD_REQUEST, "The body cannot be understood";
    MediaType = "media-type", UNSUPPORTED_MEDIA_TYPE, "The body is of another media type than this address takes";
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The body is larger than this server takes";
    TooMany = "too-many", PAYLOAD_TOO_LARGE, "There are more items than one request may bring";
    Refused = "refused", UNPROCESSABLE_ENTITY, "The evidence was refused";
    Conflict = "idempotency-conflict", CONFLICT, "The same Idempotency-Key came with another body";
    Offset = "upload-offset", CONFLICT, "The part of a file does not begin where the file ends";
    SignIn = "sign-in", UNAUTHORIZED, "Somebody who is known here may do this";
    NotSignedIn = "not-signed-in", FORBIDDEN, "You are not signed in";
    ProviderAway = "provider-away", BAD_GATEWAY, "The identity provider does not do its part";
    Signature = "signature", UNAUTHORIZED, "The delivery does not prove who sent it";
    People = "people", UNPROCESSABLE_ENTITY, "This cannot be done with people and their roles";
    Outdated = "outdated", CONFLICT, "What was shown no longer stands";
    Release = "release", UNPROCESSABLE_ENTITY, "This cannot be done with a release, an exemption or an emergency";
    OtherProfile = "other-profile", CONFLICT, "Another profile binds this service in this environment";
    Unbound = "unbound", CONFLICT, "No profile binds this service in this environment";
    Undecidable = "undecidable", UNPROCESSABLE_ENTITY, "This request cannot be decided";
    NotAllowed = "not-allowed", FORBIDDEN, "This is not allowed to you";
    FormToken = "form-token", FORBIDDEN, "The form does not belong to this session";
    TooOften = "too-often", TOO_MANY_REQUESTS, "There were too many attempts";
    Host = "host", MISDIRECTED_REQUEST, "The request names a host that this server does not answer for";
    CrossSite = "cross-site", FORBIDDEN, "The request comes from another site";
    Busy = "busy", SERVICE_UNAVAILABLE, "The server has more to do than it can take on";
    TooSlow = "too-slow", SERVICE_UNAVAILABLE, "The answer took longer than this server waits";
    Slow = "slow-request", REQUEST_TIMEOUT, "The request did not arrive in time";
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "The server is not ready";
    Store = "store", INTERNAL_SERVER_ERROR, "The store cannot be relied on";
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server failed";
}

/// A refusal or failure: one word in memory, so that answers stay cheap to hand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        Document::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Document::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Document::json_schema(generator)
    }
}

impl Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Document {
        &mut self.0
    }
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Document {
    /// Kind, as a URI: `urn:writ:problem:not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, the same for every case of the kind.
    pub title: Cow<'static, str>,
    /// HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// The request, for whoever looks into the logs: `urn:writ:request:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    /// What is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<String>,
    /// Why it is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
    /// The way out where it cannot be fixed.
    #[serde(rename = "or", default, skip_serializing_if = "Vec::is_empty")]
    pub way_out: Vec<String>,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:writ:problem:{}", code.word()),
            title: Cow::Borrowed(code.title()),
            status: code.status().as_u16(),
            detail: detail.into(),
            instance: None,
            found: Vec::new(),
            required: None,
            why: None,
            fix: Vec::new(),
            way_out: Vec::new(),
        }))
    }

    /// Nothing with this name.
    #[must_use]
    pub fn not_found(what: &str, name: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("there is no {what} '{}'", shown(name)),
        )
    }

    /// Says what was found.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found.push(found.into());
        self
    }

    /// Says what is required.
    #[must_use]
    pub fn required(mut self, required: impl Into<String>) -> Self {
        self.required = Some(required.into());
        self
    }

    /// Says why.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A text of a request as part of a message: short and without control characters.
#[must_use]
pub fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .map(|sign| if sign.is_control() { '\u{fffd}' } else { sign })
        .collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status, 503) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match &error {
            RegistryError::NotFound(_) => Self::new(Code::NotFound, detail),
            RegistryError::NotAnId(_) => Self::new(Code::Query, detail)
                .required("ev_, dec_ or wr_ and at least 8 hexadecimal digits"),
            RegistryError::Ambiguous { .. } => {
                Self::new(Code::Ambiguous, detail).fix("Give more digits")
            }
            RegistryError::Refused { .. } => Self::new(Code::Refused, detail).why(
                "What is recorded can never be taken back: it is checked before it is recorded",
            ),
            RegistryError::Future { .. } => {
                Self::new(Code::Refused, detail).fix("Set the producer's clock right")
            }
            RegistryError::People { .. } => Self::new(Code::People, detail),
            RegistryError::Exemption { .. } => Self::new(Code::NotAllowed, detail),
            // Paths and other inner things stay in the log.
            _ => {
                tracing::error!(%error, "the store failed");
                Self::new(
                    Code::Store,
                    "the store could not be read or written; the log of the server says why",
                )
                .fix("Ask the operator to look for this request in the server's log, and to run: writ verify")
            }
        }
    }
}

impl From<ObserveError> for Problem {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Registry(inner) => inner.into(),
            ObserveError::NoMoment { .. } => Self::new(Code::NotFound, error.to_string()),
            ObserveError::Statement { .. } => {
                tracing::error!(%error, "a comparison could not be written");
                Self::new(Code::Internal, "what runs could not be compared")
            }
        }
    }
}

impl From<tokio::task::JoinError> for Problem {
    fn from(error: tokio::task::JoinError) -> Self {
        tracing::error!(%error, "a task ended early");
        Self::new(Code::Internal, "a task of the server ended early")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable_and_unique() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("{} {}", code.status().as_u16(), code.word()))
            .collect();
        let unique: std::collections::BTreeSet<&String> = table.iter().collect();
        assert_eq!(unique.len(), table.len());
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn inner_things_of_the_store_are_not_told() {
        let error = RegistryError::NoStore("/var/lib/writ/secret-place".into());
        let problem = Problem::from(error);
        assert_eq!(problem.status, 500);
        assert!(
            !serde_json::to_string(&problem)
                .unwrap()
                .contains("secret-place")
        );
    }

    #[test]
    fn texts_of_a_request_are_tamed() {
        assert_eq!(shown("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(shown(&"x".repeat(500)).len(), 80);
    }
}
