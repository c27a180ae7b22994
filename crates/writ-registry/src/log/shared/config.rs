//! The shared log as a store's file names it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use toml::Spanned;
use writ_ledger::{DirectoryStore, SystemClock};
use writ_locker::s3::{Bucket, S3Config};
use writ_model::Span;

use super::schema::is_schema_name;
use super::{BucketTiles, SharedLog, SharedOptions, Tiles};
pub use crate::db::postgres::Address;
use crate::error::{RegistryError, Result};

/// How long another process may hold the lock of a directory of tiles.
const DIRECTORY_PATIENCE: Duration = Duration::from_secs(10);

/// A log over PostgreSQL and tiles that several processes reach.
///
/// ```toml
/// [ledger]
/// driver = "shared"
/// url_env = "WRIT_LEDGER_URL"     # or url_file, or url (which must not hold a password)
/// schema = "writ_ledger"          # one per log
/// retention = "2557d"             # full tiles in a bucket are locked for this long; default: not at all
/// lease = "5s"                    # after this long without a sign of life another process integrates
/// interval = "1s"                 # how long after an append its entries come under a signed head
/// [ledger.s3]                     # or: directory = "tiles", one that all processes reach
/// bucket = "evidence-log"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConfig {
    /// Where PostgreSQL is.
    pub address: Address,
    /// The schema of the log.
    pub schema: String,
    /// Where the tiles are.
    pub tiles: TilesConfig,
    /// How long full tiles in a bucket are locked.
    pub retention: Option<Span>,
    /// Times and limits.
    pub options: SharedOptions,
}

/// Where tiles are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TilesConfig {
    /// In a directory that all processes reach.
    Directory(PathBuf),
    /// In a bucket.
    S3(Box<S3Config>),
}

/// The keys of the table `[ledger]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    #[serde(default)]
    pub driver: Driver,
    #[serde(default)]
    pub directory: Option<PathBuf>,
    #[serde(default)]
    s3: Option<Spanned<S3Config>>,
    #[serde(default)]
    url: Option<Spanned<String>>,
    #[serde(default)]
    url_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    url_env: Option<Spanned<String>>,
    #[serde(default)]
    schema: Option<Spanned<String>>,
    #[serde(default)]
    retention: Option<Spanned<Span>>,
    #[serde(default)]
    lease: Option<Spanned<Span>>,
    #[serde(default)]
    interval: Option<Spanned<Span>>,
    #[serde(default)]
    unsafe_postgres: Option<Spanned<bool>>,
}

/// The drivers of a ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Driver {
    #[default]
    Directory,
    Shared,
}

/// What is wrong, and where in the text.
type Wrong = (Range<usize>, String);

impl Section {
    /// Refuses what only the shared driver knows.
    pub fn only_directory(self) -> Result<Option<PathBuf>, Wrong> {
        let given = [
            ("s3", self.s3.map(|s3| s3.span())),
            ("url", self.url.map(|url| url.span())),
            ("url_file", self.url_file.map(|url| url.span())),
            ("url_env", self.url_env.map(|url| url.span())),
            ("schema", self.schema.map(|schema| schema.span())),
            ("retention", self.retention.map(|span| span.span())),
            ("lease", self.lease.map(|span| span.span())),
            ("interval", self.interval.map(|span| span.span())),
            ("unsafe_postgres", self.unsafe_postgres.map(|v| v.span())),
        ];
        for (name, place) in given {
            if let Some(place) = place {
                let problem =
                    format!("{name} belongs to driver = \"shared\"; set that, or take it out");
                return Err((place, problem));
            }
        }
        Ok(self.directory)
    }

    /// The shared log; relative paths start at `base`.
    pub fn shared(self, base: &Path) -> Result<SharedConfig, Wrong> {
        let address = match (self.url, self.url_file, self.url_env) {
            (Some(url), None, None) => {
                let place = url.span();
                let url = url.into_inner();
                if Address::holds_password(&url) {
                    let problem = "the url holds a password; put the url into a file that only Writ may read and name it with url_file, or into a variable and name it with url_env";
                    return Err((place, problem.to_owned()));
                }
                Address::Plain(url)
            }
            (None, Some(file), None) => Address::File(base.join(file.into_inner())),
            (None, None, Some(name)) => Address::Variable(name.into_inner()),
            _ => {
                let problem = "the driver shared needs exactly one of url, url_file and url_env";
                return Err((0..0, problem.to_owned()));
            }
        };
        let schema = match self.schema {
            None => "writ_ledger".to_owned(),
            Some(name) if is_schema_name(name.get_ref()) => name.into_inner(),
            Some(name) => {
                let problem = "schema must begin with a letter, not with pg_, and have up to 63 of a-z, 0-9 and _";
                return Err((name.span(), problem.to_owned()));
            }
        };
        let tiles = match (self.directory, self.s3) {
            (None, Some(bucket)) => TilesConfig::S3(Box::new(bucket.into_inner())),
            (directory, None) => {
                TilesConfig::Directory(base.join(directory.unwrap_or_else(|| "tiles".into())))
            }
            (Some(_), Some(bucket)) => {
                let problem = "the tiles are in a directory or in a bucket, not in both";
                return Err((bucket.span(), problem.to_owned()));
            }
        };
        let retention = match (self.retention, &tiles) {
            (Some(span), TilesConfig::Directory(_)) => {
                let problem =
                    "only tiles in a bucket can be locked; take retention out, or name a bucket";
                return Err((span.span(), problem.to_owned()));
            }
            (retention, _) => retention.map(Spanned::into_inner),
        };
        let mut options = SharedOptions::default();
        if let Some(lease) = self.lease {
            options.lease = bounded("lease", &lease, 1..=300)?;
        }
        if let Some(interval) = self.interval {
            options.interval = bounded("interval", &interval, 0..=3_600)?;
        }
        if let Some(accepted) = self.unsafe_postgres {
            options.unsafe_postgres = accepted.into_inner();
        }
        Ok(SharedConfig {
            address,
            schema,
            tiles,
            retention,
            options,
        })
    }
}

/// A span within a number of seconds.
fn bounded(
    name: &str,
    span: &Spanned<Span>,
    seconds: std::ops::RangeInclusive<i64>,
) -> Result<Duration, Wrong> {
    let given = span.get_ref().secs();
    match u64::try_from(given) {
        Ok(value) if seconds.contains(&given) => Ok(Duration::from_secs(value)),
        _ => Err((
            span.span(),
            format!(
                "{name} must lie between {} and {} seconds",
                seconds.start(),
                seconds.end()
            ),
        )),
    }
}

impl SharedLog {
    /// The log that a store's file names.
    ///
    /// # Errors
    /// The address or the bucket cannot be understood, or the directory cannot be made.
    pub fn open(config: &SharedConfig) -> Result<Self> {
        let tiles: Arc<dyn Tiles> = match &config.tiles {
            TilesConfig::Directory(directory) => {
                std::fs::create_dir_all(directory)
                    .map_err(|e| RegistryError::io("create", directory, e))?;
                Arc::new(DirectoryStore::shared(directory, DIRECTORY_PATIENCE)?)
            }
            TilesConfig::S3(bucket) => {
                let opened = Bucket::open(bucket).map_err(|error| RegistryError::Config {
                    path: format!("s3://{}/{}", bucket.bucket, bucket.prefix).into(),
                    problem: error.to_string(),
                })?;
                let clock = Arc::new(SystemClock);
                Arc::new(BucketTiles::new(opened, config.retention, clock))
            }
        };
        Self::new(
            config.address.options("ledger.url")?,
            &config.schema,
            tiles,
            config.options.clone(),
        )
    }
}
