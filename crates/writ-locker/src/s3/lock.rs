//! Locks, holds, and what a bucket promises about them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use writ_model::Timestamp;

use super::wire::Request;
use super::xml::Element;
use super::{Bucket, S3Error, S3ErrorKind, time};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Who may shorten a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody.
    Compliance,
    /// Whoever has the right to bypass it: no lock for evidence.
    Governance,
}

impl LockMode {
    /// As S3 writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compliance => "COMPLIANCE",
            Self::Governance => "GOVERNANCE",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "COMPLIANCE" => Some(Self::Compliance),
            "GOVERNANCE" => Some(Self::Governance),
            _ => None,
        }
    }
}

/// The lock of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: LockMode,
    /// First moment at which the version may be deleted.
    pub until: Timestamp,
}

impl Retention {
    pub(super) fn parse(mode: &str, until: &str) -> Option<Self> {
        Some(Self {
            mode: LockMode::parse(mode)?,
            until: time::parse(until)?,
        })
    }
}

/// How long new objects are locked that say nothing themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockPeriod {
    /// Days.
    Days(u32),
    /// Years.
    Years(u32),
}

/// What a bucket says about locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockConfiguration {
    /// Whether objects can be locked at all.
    pub enabled: bool,
    /// The lock of objects that bring none.
    pub default: Option<(LockMode, LockPeriod)>,
}

/// Whether a bucket keeps old versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// Never switched on.
    Off,
    /// It does.
    Enabled,
    /// It did once.
    Suspended,
}

impl Bucket {
    /// The lock of an object (its newest version, or the named one); `None` without one.
    ///
    /// # Errors
    /// [`S3ErrorKind::NotFound`], [`S3ErrorKind::Denied`], else as the kinds say.
    pub fn get_retention(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<Retention>, S3Error> {
        let request = self
            .request("read the lock of", Method::GET, key)
            .query("retention", "")
            .version(version);
        let response = match self.send(request) {
            Ok(response) => response,
            Err(error) if error.kind == S3ErrorKind::NoObjectLock => return Ok(None),
            Err(error) => return Err(error),
        };
        let root = self.document("read the lock of", key, &response.body)?;
        match (root.text_of("Mode"), root.text_of("RetainUntilDate")) {
            (Some(mode), Some(until)) => Retention::parse(mode, until)
                .map(Some)
                .ok_or_else(|| self.odd("read the lock of", key, "the lock makes no sense")),
            _ => Ok(None),
        }
    }

    /// Sets the lock of an object. A server that is true to its word refuses to shorten or weaken a
    /// COMPLIANCE lock.
    ///
    /// # Errors
    /// [`S3ErrorKind::Locked`] or [`S3ErrorKind::Denied`] when the lock there is stronger.
    pub fn put_retention(
        &self,
        key: &str,
        version: Option<&str>,
        retention: Retention,
    ) -> Result<(), S3Error> {
        let body = format!(
            "<Retention xmlns=\"{NAMESPACE}\"><Mode>{}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            retention.mode.as_str(),
            time::format(time::whole_seconds(retention.until))
        );
        let request = self
            .request("lock", Method::PUT, key)
            .query("retention", "")
            .version(version);
        self.send(with_checksum(request, body)).map(drop)
    }

    /// Whether an object is under legal hold.
    ///
    /// # Errors
    /// As [`Bucket::get_retention`].
    pub fn get_legal_hold(&self, key: &str, version: Option<&str>) -> Result<bool, S3Error> {
        let request = self
            .request("read the hold of", Method::GET, key)
            .query("legal-hold", "")
            .version(version);
        let response = match self.send(request) {
            Ok(response) => response,
            Err(error) if error.kind == S3ErrorKind::NoObjectLock => return Ok(false),
            Err(error) => return Err(error),
        };
        let root = self.document("read the hold of", key, &response.body)?;
        Ok(root.text_of("Status") == Some("ON"))
    }

    /// Puts an object under legal hold, or lifts the hold.
    ///
    /// # Errors
    /// [`S3ErrorKind::NotFound`], [`S3ErrorKind::Denied`], else as the kinds say.
    pub fn put_legal_hold(
        &self,
        key: &str,
        version: Option<&str>,
        hold: bool,
    ) -> Result<(), S3Error> {
        let body = format!(
            "<LegalHold xmlns=\"{NAMESPACE}\"><Status>{}</Status></LegalHold>",
            if hold { "ON" } else { "OFF" }
        );
        let request = self
            .request("hold", Method::PUT, key)
            .query("legal-hold", "")
            .version(version);
        self.send(with_checksum(request, body)).map(drop)
    }

    /// What the bucket says about locks.
    ///
    /// # Errors
    /// [`S3ErrorKind::NoSuchBucket`], [`S3ErrorKind::Denied`], else as the kinds say.
    pub fn get_object_lock_configuration(&self) -> Result<LockConfiguration, S3Error> {
        const ACTION: &str = "read the lock configuration of";
        let request = Request::new(ACTION, Method::GET, None).query("object-lock", "");
        let response = match self.send(request) {
            Ok(response) => response,
            Err(error)
                if matches!(
                    error.kind,
                    S3ErrorKind::NoObjectLock | S3ErrorKind::NotFound
                ) =>
            {
                return Ok(LockConfiguration {
                    enabled: false,
                    default: None,
                });
            }
            Err(error) => return Err(error),
        };
        let root = self.document(ACTION, "", &response.body)?;
        let default = root
            .child("Rule")
            .and_then(|rule| rule.child("DefaultRetention"))
            .and_then(|default| {
                let mode = LockMode::parse(default.text_of("Mode")?)?;
                let number = |name| default.text_of(name).and_then(|text| text.parse().ok());
                let period = match (number("Days"), number("Years")) {
                    (Some(days), _) => LockPeriod::Days(days),
                    (None, Some(years)) => LockPeriod::Years(years),
                    (None, None) => return None,
                };
                Some((mode, period))
            });
        Ok(LockConfiguration {
            enabled: root.text_of("ObjectLockEnabled") == Some("Enabled"),
            default,
        })
    }

    /// Whether the bucket keeps old versions.
    ///
    /// # Errors
    /// [`S3ErrorKind::NoSuchBucket`], [`S3ErrorKind::Denied`], else as the kinds say.
    pub fn get_bucket_versioning(&self) -> Result<Versioning, S3Error> {
        const ACTION: &str = "read the versioning of";
        let request = Request::new(ACTION, Method::GET, None).query("versioning", "");
        let response = self.send(request)?;
        let root = self.document(ACTION, "", &response.body)?;
        Ok(match root.text_of("Status") {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => Versioning::Off,
        })
    }

    pub(super) fn document(
        &self,
        action: &'static str,
        key: &str,
        body: &[u8],
    ) -> Result<Element, S3Error> {
        Element::parse(body)
            .map_err(|reason| self.odd(action, key, format!("the answer is no XML: {reason}")))
    }
}

/// A request whose XML body carries its checksum, as S3 wants it where locks change.
pub(super) fn with_checksum(request: Request, body: String) -> Request {
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    let mut request = request
        .header("content-type", "application/xml")
        .header("x-amz-checksum-sha256", STANDARD.encode(digest))
        .header("x-amz-sdk-checksum-algorithm", "SHA256")
        .body(body.into_bytes().into());
    request.digest = Some(digest);
    request
}
