//! What can go wrong with a bucket.

use std::fmt;
use std::ops::Deref;

use super::xml::Element;

/// Longest text of a server that is repeated in a message, in characters.
const MAX_SAID: usize = 300;

/// Why a bucket did not do what it was asked.
///
/// The message names bucket and key, what was asked, what the server said with its request id, and
/// a way out. No credential is ever part of it.
#[derive(Debug, Clone)]
pub struct S3Error(Box<Failure>);

/// The parts of an [`S3Error`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// What sort of failure it is.
    pub kind: S3ErrorKind,
    /// What was being done: a verb, such as `put`.
    pub action: &'static str,
    /// The bucket, and the key where it is about one: `s3://bucket/key`.
    pub place: String,
    /// What happened, in words: the server's own, made short, or the system's.
    pub cause: String,
    /// The HTTP status, when a server answered.
    pub status: Option<u16>,
    /// The server's error code, such as `AccessDenied`.
    pub code: Option<String>,
    /// The server's name for the request, to give to whoever runs it.
    pub request_id: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
}

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum S3ErrorKind {
    /// The configuration cannot be right.
    Config,
    /// There is no object of this key, or its newest version is a delete marker.
    NotFound,
    /// There is no such version.
    NoSuchVersion,
    /// There is no such bucket.
    NoSuchBucket,
    /// There is no such multipart upload (any more).
    NoSuchUpload,
    /// The condition of a conditional request does not hold.
    Precondition,
    /// Object Lock forbids it.
    Locked,
    /// The credentials may not do this.
    Denied,
    /// The credentials are missing, wrong or expired.
    Credentials,
    /// The clocks of this machine and of the server differ too much.
    ClockSkew,
    /// The bucket is in another region.
    WrongRegion,
    /// The bucket, or the object, has no Object Lock.
    NoObjectLock,
    /// The server does not know this operation.
    Unsupported,
    /// The server says that it is asked too often.
    Throttled,
    /// The server failed.
    Unavailable,
    /// The server did not answer in time.
    Timeout,
    /// The server cannot be reached, or the connection broke.
    Connection,
    /// The body that arrived is not the one that was sent.
    Corrupt,
    /// The object is larger than was asked for.
    TooLarge,
    /// The server refused the request as wrong.
    Invalid,
    /// The server's answer is not one of S3.
    Answer,
    /// This machine failed: a file, a thread.
    Local,
}

impl S3ErrorKind {
    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Unavailable | Self::Timeout | Self::Connection | Self::Corrupt
        )
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Config => "correct the store's configuration",
            Self::NotFound => "it was never stored here, or is hidden by a delete marker",
            Self::NoSuchVersion => "list the versions of the key",
            Self::NoSuchBucket => "create the bucket with Object Lock, or correct its name",
            Self::NoSuchUpload => "begin the upload again",
            Self::Precondition => "read the object as it is now and decide anew",
            Self::Locked => {
                "wait for the end of its retention, or have its legal hold released; nobody can shorten a COMPLIANCE lock"
            }
            Self::Denied => "give these credentials the right to do this in the bucket's policy",
            Self::Credentials => {
                "check where the credentials come from, and whether they have expired"
            }
            Self::ClockSkew => "set the clock of this machine (NTP)",
            Self::WrongRegion => "set the bucket's region in the store's configuration",
            Self::NoObjectLock => {
                "use a bucket that was created with Object Lock; `writ doctor` says what it lacks"
            }
            Self::Unsupported => {
                "use an S3 service with Object Lock, versions and conditional writes"
            }
            Self::Throttled | Self::Unavailable => "try again later",
            Self::Timeout => "try again later; raise request_timeout if the network is slow",
            Self::Connection => {
                "check the endpoint, the network and the certificate, and try again"
            }
            Self::Corrupt => "try again; if it stays, the network or the server changes bytes",
            Self::TooLarge => "read it as a stream",
            Self::Invalid => "this server may differ from S3; `writ doctor` says in what",
            Self::Answer => "check that the endpoint is an S3 service",
            Self::Local => "see to this machine and try again",
        }
    }
}

impl Deref for S3Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl S3Error {
    pub(super) fn new(
        kind: S3ErrorKind,
        action: &'static str,
        place: impl Into<String>,
        cause: impl Into<String>,
    ) -> Self {
        Self(Box::new(Failure {
            kind,
            action,
            place: place.into(),
            cause: cause.into(),
            status: None,
            code: None,
            request_id: None,
            attempts: 1,
        }))
    }

    pub(super) fn config(cause: impl Into<String>) -> Self {
        Self::new(S3ErrorKind::Config, "open", "the bucket", cause)
    }

    pub(super) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(super) fn with_request_id(mut self, id: Option<String>) -> Self {
        self.0.request_id = id.map(|id| said(&id));
        self
    }

    /// What a server's answer that is no success means.
    pub(super) fn from_answer(
        action: &'static str,
        place: String,
        status: u16,
        request_id: Option<String>,
        delete_marker: bool,
        body: &[u8],
    ) -> Self {
        let document = Element::parse(body).ok();
        let part = |name: &str| {
            let text = document.as_ref()?.text_of(name)?;
            (!text.is_empty()).then(|| said(text))
        };
        let code = part("Code");
        let message = part("Message");
        let kind = kind_of(status, code.as_deref(), message.as_deref(), delete_marker);
        let cause = message.unwrap_or_else(|| {
            if delete_marker {
                "a delete marker hides it".to_owned()
            } else {
                "the server gave no reason".to_owned()
            }
        });
        let mut error = Self::new(kind, action, place, cause);
        error.0.status = Some(status);
        error.0.code = code;
        error.0.request_id = request_id.map(|id| said(&id)).or_else(|| part("RequestId"));
        error
    }

    pub(super) fn append_cause(mut self, more: &str) -> Self {
        self.0.cause.push_str("; ");
        self.0.cause.push_str(more);
        self
    }

    pub(super) fn with_kind(mut self, kind: S3ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }
}

fn kind_of(
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
    delete_marker: bool,
) -> S3ErrorKind {
    use S3ErrorKind as Kind;
    let locked = message.is_some_and(|message| {
        let message = message.to_ascii_lowercase();
        message.contains("object lock") && !message.contains("configuration")
            || message.contains("worm")
            || message.contains("legal hold")
    });
    match code.unwrap_or_default() {
        "NoSuchKey" => Kind::NotFound,
        "NoSuchVersion" => Kind::NoSuchVersion,
        "NoSuchBucket" => Kind::NoSuchBucket,
        "NoSuchUpload" => Kind::NoSuchUpload,
        "PreconditionFailed" => Kind::Precondition,
        "ObjectLocked" => Kind::Locked,
        "RequestTimeTooSkewed" => Kind::ClockSkew,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidClientTokenId" => Kind::Credentials,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Kind::WrongRegion,
        "ObjectLockConfigurationNotFoundError"
        | "NoSuchObjectLockConfiguration"
        | "InvalidBucketState" => Kind::NoObjectLock,
        "NotImplemented" => Kind::Unsupported,
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded" => Kind::Throttled,
        "InternalError"
        | "ServiceUnavailable"
        | "OperationAborted"
        | "ConditionalRequestConflict" => Kind::Unavailable,
        "RequestTimeout" => Kind::Timeout,
        "BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "InvalidDigest" => {
            Kind::Corrupt
        }
        _ if locked && matches!(status, 400 | 403 | 405 | 409) => Kind::Locked,
        "InvalidRequest"
            if message.is_some_and(|message| message.contains("Object Lock Configuration")) =>
        {
            Kind::NoObjectLock
        }
        _ => match status {
            301 | 307 | 308 => Kind::WrongRegion,
            404 => Kind::NotFound,
            405 if delete_marker => Kind::NotFound,
            403 | 401 => Kind::Denied,
            408 => Kind::Timeout,
            409 => Kind::Unavailable,
            412 => Kind::Precondition,
            429 => Kind::Throttled,
            501 => Kind::Unsupported,
            500..=599 => Kind::Unavailable,
            400..=499 => Kind::Invalid,
            _ => Kind::Answer,
        },
    }
}

/// A server's text, bounded and without control characters.
pub(super) fn said(text: &str) -> String {
    text.chars()
        .take(MAX_SAID)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

impl fmt::Display for S3Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            kind,
            action,
            place,
            cause,
            status,
            code,
            request_id,
            attempts,
        } = &**self;
        write!(f, "s3: {action} {place}: {cause}")?;
        let mut notes = Vec::new();
        match (status, code) {
            (Some(status), Some(code)) => notes.push(format!("{status} {code}")),
            (Some(status), None) => notes.push(status.to_string()),
            _ => {}
        }
        if let Some(id) = request_id {
            notes.push(format!("request {id}"));
        }
        if *attempts > 1 {
            notes.push(format!("tried {attempts} times"));
        }
        if !notes.is_empty() {
            write!(f, " ({})", notes.join(", "))?;
        }
        write!(f, "; {}", kind.remedy())
    }
}

impl std::error::Error for S3Error {}
