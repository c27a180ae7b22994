//! Where a bucket is, and how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use writ_model::Span;

use super::{Credentials, S3Error};

/// A bucket, as a store's configuration names it.
///
/// ```toml
/// bucket = "evidence"
/// prefix = "writ/"                        # default: none
/// region = "eu-central-1"                 # default: us-east-1
/// endpoint = "https://s3.example.org"     # default: Amazon's of the region
/// path_style = true                       # default: true with an endpoint
/// ca_file = "/etc/ssl/s3-ca.pem"          # beside the system's certificates
/// first_retention = "7d"                  # the lock of bytes that the ledger does not name yet
/// credentials = { source = "chain" }      # see `Credentials`
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with. A `/` is put behind it where there is none.
    #[serde(default)]
    pub prefix: String,
    /// The region that requests are signed for. Default: `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// The service, when it is not Amazon's: scheme, host and port.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name. Default: whether there is
    /// an endpoint; always for buckets with a dot in their name.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// Allow plain HTTP to other machines than this one. Default: no.
    #[serde(default)]
    pub allow_http: bool,
    /// Certificates to trust beside the system's, as PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Where the credentials come from.
    #[serde(default)]
    pub credentials: Credentials,
    /// How long an object is locked when it is stored, before the ledger names it. It must outlast
    /// the longest time in which nobody completes the locks. Default: 7 days.
    #[serde(default = "default_first_retention")]
    pub first_retention: Span,
    /// Where bodies of unknown digest are written before they are sent. Default: the system's
    /// directory for temporary files.
    #[serde(default)]
    pub spool: Option<PathBuf>,
    /// How long a connection may take to come about. Default: 5 s.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long an answer may take, beside the time for the body at 64 KiB/s. Default: 30 s.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: Span,
    /// How often a request is tried. Default: 8.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// The pause after the first failure; it doubles up to 10 s. Default: 100 ms.
    #[serde(skip, default = "default_pause")]
    pub pause: Duration,
    /// How many keys a page of a listing has at most. Default: 1,000.
    #[serde(skip, default = "default_page")]
    pub page: u16,
    /// Size of a part of a large object, at least 5 MiB; objects of more than two parts are sent in
    /// parts. Four parts are in memory at a time. Default: 8 MiB.
    #[serde(skip, default = "default_part_bytes")]
    pub part_bytes: u64,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}
fn default_first_retention() -> Span {
    Span::from_secs(7 * 86_400)
}
fn default_connect_timeout() -> Span {
    Span::from_secs(5)
}
fn default_request_timeout() -> Span {
    Span::from_secs(30)
}
fn default_attempts() -> u32 {
    8
}
fn default_pause() -> Duration {
    Duration::from_millis(100)
}
fn default_page() -> u16 {
    1000
}
fn default_part_bytes() -> u64 {
    8 << 20
}

impl S3Config {
    /// A bucket of Amazon's, with what is usual.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            region: default_region(),
            endpoint: None,
            path_style: None,
            allow_http: false,
            ca_file: None,
            credentials: Credentials::default(),
            first_retention: default_first_retention(),
            spool: None,
            connect_timeout: default_connect_timeout(),
            request_timeout: default_request_timeout(),
            attempts: default_attempts(),
            pause: default_pause(),
            page: default_page(),
            part_bytes: default_part_bytes(),
        }
    }

    /// The prefix with its closing `/`, or nothing.
    pub(super) fn checked_prefix(&self) -> Result<String, S3Error> {
        let prefix = self.prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(String::new());
        }
        if prefix.len() > 256 {
            return Err(S3Error::config("prefix is longer than 256 bytes"));
        }
        super::wire::check_key(prefix)
            .map_err(|reason| S3Error::config(format!("prefix '{}': {reason}", self.prefix)))?;
        Ok(format!("{prefix}/"))
    }

    /// The URL that keys are put behind; it ends in `/`.
    pub(super) fn base(&self) -> Result<Url, S3Error> {
        let wrong = |reason: String| Err(S3Error::config(reason));
        let bucket = &self.bucket;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(3..=255).contains(&bucket.len()) || !bucket.chars().all(plain) || bucket.contains("..")
        {
            return wrong(format!("'{}' is not a bucket's name", super::said(bucket)));
        }
        if self.region.is_empty()
            || self.region.len() > 64
            || !self
                .region
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return wrong(format!(
                "'{}' is not a region's name",
                super::said(&self.region)
            ));
        }
        let path_style = self.path_style.unwrap_or(self.endpoint.is_some()) || bucket.contains('.');
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://s3.{}.amazonaws.com", self.region),
        };
        let mut url = match Url::parse(&endpoint) {
            Ok(url) => url,
            // The text may hold a password in the wrong place: it is not repeated.
            Err(error) => return wrong(format!("endpoint is not a URL: {error}")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong("endpoint must not hold a user or password; see credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return wrong(
                "endpoint is scheme, host and port only, such as https://s3.example.org".to_owned(),
            );
        }
        let Some(host) = url.host_str().map(str::to_owned) else {
            return wrong("endpoint has no host".to_owned());
        };
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http || is_loopback(&host) => {}
            "http" => {
                return wrong(format!(
                    "endpoint http://{host} would send everything in the clear; use https, or set allow_http"
                ));
            }
            other => return wrong(format!("endpoint has the scheme '{other}', not https")),
        }
        if path_style {
            url.set_path(&format!("/{bucket}/"));
        } else {
            if url.set_host(Some(&format!("{bucket}.{host}"))).is_err() {
                return wrong(format!(
                    "'{bucket}' cannot stand before {host}; set path_style"
                ));
            }
            url.set_path("/");
        }
        Ok(url)
    }

    /// How long one request may take whose bodies have so many bytes.
    pub(super) fn patience(&self, bytes: u64) -> Duration {
        span(self.request_timeout) + Duration::from_secs(bytes / (64 * 1024))
    }

    pub(super) fn check(&self) -> Result<(), S3Error> {
        let wrong = |reason: &str| Err(S3Error::config(reason));
        if self.attempts == 0 || self.attempts > 100 {
            return wrong("attempts must be 1 to 100");
        }
        if self.connect_timeout.micros() <= 0 || self.request_timeout.micros() <= 0 {
            return wrong("connect_timeout and request_timeout must be more than nothing");
        }
        if self.part_bytes < 5 << 20 {
            return wrong("part_bytes must be at least 5 MiB");
        }
        if self.first_retention.secs() < 1 {
            return wrong("first_retention must be at least 1s");
        }
        Ok(())
    }
}

pub(super) fn span(span: Span) -> Duration {
    Duration::from_micros(u64::try_from(span.micros()).unwrap_or(0))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(endpoint: &str) -> S3Config {
        S3Config {
            endpoint: Some(endpoint.to_owned()),
            ..S3Config::new("evidence")
        }
    }

    #[test]
    fn addresses_follow_the_style() {
        let amazon = S3Config::new("evidence");
        assert_eq!(
            amazon.base().unwrap().as_str(),
            "https://evidence.s3.us-east-1.amazonaws.com/"
        );
        let dotted = S3Config::new("my.evidence");
        assert_eq!(
            dotted.base().unwrap().as_str(),
            "https://s3.us-east-1.amazonaws.com/my.evidence/"
        );
        assert_eq!(
            with("https://s3.example.org:9000").base().unwrap().as_str(),
            "https://s3.example.org:9000/evidence/"
        );
        assert_eq!(
            S3Config {
                path_style: Some(false),
                ..with("https://s3.example.org")
            }
            .base()
            .unwrap()
            .as_str(),
            "https://evidence.s3.example.org/"
        );
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for good in [
            "http://127.0.0.1:9",
            "http://[::1]:9",
            "http://localhost",
            "https://10.0.0.1",
        ] {
            with(good).base().unwrap();
        }
        for bad in [
            "http://10.0.0.1",
            "http://s3.example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "ftp://localhost",
            "https://user:secret@s3.example.org",
            "https://s3.example.org/path",
            "https://s3.example.org/?a=b",
            "s3.example.org",
        ] {
            let error = with(bad).base().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        S3Config {
            allow_http: true,
            ..with("http://10.0.0.1")
        }
        .base()
        .unwrap();
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "ab", "a/b", "a..b", "bucket?x", &"a".repeat(256)] {
            assert!(S3Config::new(bad).base().is_err(), "{bad}");
        }
        for bad in ["a/../b", "/a", "a//b", "a\nb", "./a"] {
            let config = S3Config {
                prefix: bad.to_owned(),
                ..S3Config::new("evidence")
            };
            assert!(config.checked_prefix().is_err(), "{bad}");
        }
        let config = S3Config {
            prefix: "writ/prod".to_owned(),
            ..S3Config::new("evidence")
        };
        assert_eq!(config.checked_prefix().unwrap(), "writ/prod/");
    }

    #[test]
    fn a_table_is_read_strictly() {
        let config: S3Config = toml::from_str(
            "bucket = 'evidence'\nprefix = 'writ'\nfirst_retention = '2d'\ncredentials = { source = 'environment', access_key_id = 'A', secret_access_key = 'B' }",
        )
        .unwrap();
        assert_eq!(config.first_retention, Span::from_secs(2 * 86_400));
        assert_eq!(
            config,
            S3Config {
                prefix: "writ".to_owned(),
                first_retention: Span::from_secs(2 * 86_400),
                credentials: Credentials::Environment {
                    access_key_id: "A".to_owned(),
                    secret_access_key: "B".to_owned(),
                    session_token: None,
                },
                ..S3Config::new("evidence")
            }
        );
        for bad in [
            "",
            "bucket = 'x'\nbukket = 'y'",
            "bucket = 'x'\nsecret_access_key = 'y'",
            "bucket = 'x'\ncredentials = { source = 'chain', secret = 'y' }",
        ] {
            assert!(toml::from_str::<S3Config>(bad).is_err(), "{bad}");
        }
    }
}
