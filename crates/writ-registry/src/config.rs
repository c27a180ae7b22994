//! Which store: a directory that holds everything, or a file that names the drivers.
//!
//! ```toml
//! version = 1
//! origin = "writ.example.org/ledger"   # the ledger's name, for a store that is made here
//! directory = "/var/lib/writ"          # parts on this machine; default: beside this file
//! trust = "/etc/writ/trust"            # the keys; default: as without a file
//!
//! [locker]
//! driver = "directory"
//! directory = "locker"                 # relative paths start at the directory above
//!
//! # or, for bytes that nobody can delete before their time (see `writ_locker::s3::S3Config`):
//! # [locker]
//! # driver = "s3"
//! # [locker.s3]
//! # bucket = "evidence"
//! # region = "eu-central-1"
//!
//! [ledger]
//! driver = "directory"
//! directory = "ledger"
//!
//! # or, for several processes at once (see `writ_registry::log::shared::SharedConfig`):
//! # [ledger]
//! # driver = "shared"
//! # url_env = "WRIT_LEDGER_URL"
//! # [ledger.s3]
//! # bucket = "evidence-log"
//!
//! [database]                           # absent: SQLite files in the directory
//! url = "postgres://writ@db.example.org/writ"
//! schema = "writ"                      # what the names of the schemas begin with
//! connections = 8                      # most per process
//!
//! [keys]                               # absent: files (see `keys`)
//! driver = "vault"
//! address = "https://vault.example.org:8200"
//! ```
//!
//! Unknown keys are errors with their line. No secret stands in the file: an address with a
//! password is given by `url_file` or `url_env` in place of `url`.

mod keys;

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use writ_locker::s3::S3Config;

pub use keys::{KeyDriver, KeysConfig};

pub use crate::db::postgres::{Address, PostgresConfig};
use crate::error::{RegistryError, Result};
use crate::log::shared::{Driver, Section, SharedConfig};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What a store is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// What was named: the directory, or the file.
    pub place: PathBuf,
    /// Where the parts on this machine lie.
    pub directory: PathBuf,
    /// The ledger's name, when a file gives one.
    pub origin: Option<String>,
    /// The keys, when a file names them.
    pub trust: Option<PathBuf>,
    /// The locker's driver.
    pub locker: LockerConfig,
    /// The ledger's driver.
    pub ledger: LedgerConfig,
    /// Where index and ops are.
    pub database: DatabaseConfig,
    /// Where new keys are made.
    pub keys: KeysConfig,
}

/// Where index and ops are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseConfig {
    /// In SQLite files in the store's directory.
    Files,
    /// In schemas of a PostgreSQL database.
    Postgres(PostgresConfig),
}

/// Where the bytes behind evidence are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockerConfig {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In a bucket with Object Lock.
    S3(Box<S3Config>),
}

impl LockerConfig {
    /// Where it is, for messages.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.clone(),
            Self::S3(bucket) => format!("s3://{}/{}", bucket.bucket, bucket.prefix).into(),
        }
    }

    /// What brings a part of it back that is lost.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Directory(_) => "restore the locker directory from a copy",
            Self::S3(_) => "see to the bucket and the right to read it; `writ doctor` examines it",
        }
    }
}

/// Where the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerConfig {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In PostgreSQL and tiles that several processes reach.
    Shared(Box<SharedConfig>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Spanned<u32>,
    #[serde(default)]
    origin: Option<Spanned<String>>,
    #[serde(default)]
    directory: Option<PathBuf>,
    #[serde(default)]
    trust: Option<PathBuf>,
    #[serde(default)]
    locker: Locker,
    #[serde(default)]
    ledger: Section,
    #[serde(default)]
    database: Option<Spanned<Database>>,
    #[serde(default)]
    keys: Option<Spanned<keys::Section>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    #[serde(default)]
    url: Option<Spanned<String>>,
    #[serde(default)]
    url_file: Option<PathBuf>,
    #[serde(default)]
    url_env: Option<String>,
    #[serde(default)]
    schema: Option<Spanned<String>>,
    #[serde(default)]
    connections: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locker {
    #[serde(default)]
    driver: Option<Spanned<LockerDriver>>,
    #[serde(default)]
    directory: Option<Spanned<PathBuf>>,
    #[serde(default)]
    s3: Option<Spanned<S3Config>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LockerDriver {
    Directory,
    S3,
}

impl StoreConfig {
    /// The embedded store in `directory`.
    #[must_use]
    pub fn embedded(directory: &Path) -> Self {
        Self {
            place: directory.to_owned(),
            directory: directory.to_owned(),
            origin: None,
            trust: None,
            locker: LockerConfig::Directory(directory.join("locker")),
            ledger: LedgerConfig::Directory(directory.join("ledger")),
            database: DatabaseConfig::Files,
            keys: KeysConfig::default(),
        }
    }

    /// The store that `path` names: a file is read, everything else is a directory, which need not
    /// be there.
    ///
    /// # Errors
    /// The file cannot be read or understood; the message has the line.
    pub fn at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|e| RegistryError::io("resolve", path, e))?;
        if path.is_file()
            || path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            return Self::read(&path);
        }
        Ok(Self::embedded(&path))
    }

    fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|e| RegistryError::io("read", path, e))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(RegistryError::Config {
                path: path.to_owned(),
                problem: format!("it is larger than {MAX_BYTES} bytes"),
            });
        }
        Self::parse(path, &text)
    }

    /// The store that a file at the absolute `path` with this text names.
    ///
    /// # Errors
    /// As [`StoreConfig::at`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let wrong = |problem: String| RegistryError::Config {
            path: path.to_owned(),
            problem,
        };
        let document: Document =
            toml::from_str(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        if *document.version.get_ref() != 1 {
            return Err(wrong(format!(
                "{}: version {} is not known; this Writ reads version 1",
                line(text, document.version.span()),
                document.version.get_ref()
            )));
        }
        if let Some(origin) = &document.origin
            && !is_origin(origin.get_ref())
        {
            return Err(wrong(format!(
                "{}: origin must be a name such as writ.example.org/ledger, without a scheme, spaces or '+'",
                line(text, origin.span())
            )));
        }
        let base = path.parent().unwrap_or(Path::new("/"));
        let directory = match &document.directory {
            Some(directory) => base.join(directory),
            None => base.to_owned(),
        };
        let inside = |given: Option<PathBuf>, otherwise: &str| {
            directory.join(given.unwrap_or_else(|| PathBuf::from(otherwise)))
        };
        let Locker {
            driver,
            directory: in_directory,
            s3,
        } = document.locker;
        let locker = match (driver.as_ref().map(|driver| *driver.get_ref()), s3) {
            (None | Some(LockerDriver::S3), Some(bucket)) => {
                if let Some(other) = in_directory {
                    return Err(wrong(format!(
                        "{}: the locker is in a bucket; take the directory out",
                        line(text, other.span())
                    )));
                }
                LockerConfig::S3(Box::new(bucket.into_inner()))
            }
            (Some(LockerDriver::S3), None) => {
                return Err(wrong(format!(
                    "{}: the driver s3 needs a table [locker.s3] with a bucket",
                    line(text, driver.map_or(0..0, |driver| driver.span()))
                )));
            }
            (Some(LockerDriver::Directory), Some(bucket)) => {
                return Err(wrong(format!(
                    "{}: the driver is directory; set driver = \"s3\", or take this table out",
                    line(text, bucket.span())
                )));
            }
            (None | Some(LockerDriver::Directory), None) => {
                LockerConfig::Directory(inside(in_directory.map(Spanned::into_inner), "locker"))
            }
        };
        let in_ledger = |(place, problem): (Range<usize>, String)| match place.is_empty() {
            true => wrong(format!("[ledger]: {problem}")),
            false => wrong(format!("{}: {problem}", line(text, place))),
        };
        let ledger = match document.ledger.driver {
            Driver::Directory => {
                let given = document.ledger.only_directory().map_err(in_ledger)?;
                LedgerConfig::Directory(inside(given, "ledger"))
            }
            Driver::Shared => {
                let shared = document.ledger.shared(&directory).map_err(in_ledger)?;
                LedgerConfig::Shared(Box::new(shared))
            }
        };
        let database = match document.database {
            Some(section) => {
                DatabaseConfig::Postgres(database(section, base, text).map_err(wrong)?)
            }
            None => DatabaseConfig::Files,
        };
        let keys = match document.keys {
            Some(section) => {
                let place = line(text, section.span());
                let settings = section.into_inner().settings(base);
                settings.map_err(|problem| wrong(format!("{place}: {problem}")))?
            }
            None => KeysConfig::default(),
        };
        Ok(Self {
            place: path.to_owned(),
            database,
            keys,
            origin: document.origin.map(Spanned::into_inner),
            trust: document.trust.map(|trust| base.join(trust)),
            locker,
            ledger,
            directory,
        })
    }
}

fn database(section: Spanned<Database>, base: &Path, text: &str) -> Result<PostgresConfig, String> {
    let place = line(text, section.span());
    let section = section.into_inner();
    let address = match (section.url, section.url_file, section.url_env) {
        (Some(url), None, None) => {
            let place = line(text, url.span());
            let url = url.into_inner();
            if Address::holds_password(&url) {
                return Err(format!(
                    "{place}: the url holds a password; put the url into a file that only Writ may read and name it with url_file, or into a variable and name it with url_env"
                ));
            }
            Address::Plain(url)
        }
        (None, Some(file), None) => Address::File(base.join(file)),
        (None, None, Some(variable)) => Address::Variable(variable),
        _ => {
            return Err(format!(
                "{place}: [database] needs exactly one of url, url_file and url_env"
            ));
        }
    };
    let prefix = match section.schema {
        None => "writ".to_owned(),
        Some(schema) => {
            let place = line(text, schema.span());
            let schema = schema.into_inner();
            let good = schema.len() <= 40
                && schema.starts_with(|c: char| c.is_ascii_lowercase())
                && schema
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !good {
                return Err(format!(
                    "{place}: schema must begin with a letter and have up to 40 of a-z, 0-9 and _"
                ));
            }
            schema
        }
    };
    let connections = match section.connections {
        None => 8,
        Some(most) if (2..=500).contains(most.get_ref()) => most.into_inner(),
        Some(most) => {
            return Err(format!(
                "{}: connections must lie between 2 and 500",
                line(text, most.span())
            ));
        }
    };
    Ok(PostgresConfig {
        address,
        prefix,
        connections,
    })
}

/// `line 3`, of a byte range of a text.
fn line(text: &str, span: Range<usize>) -> String {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    let number = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {number}")
}

fn is_origin(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.contains("://")
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreConfig> {
        StoreConfig::parse(Path::new("/etc/writ/store.toml"), text)
    }

    #[test]
    fn parts_lie_beside_the_file_unless_it_says_otherwise() {
        let config = parse("version = 1").unwrap();
        assert_eq!(
            config.ledger,
            LedgerConfig::Directory("/etc/writ/ledger".into())
        );
        let config = parse(
            "version = 1\norigin = 'writ.example.org/ledger'\ndirectory = '/var/lib/writ'\ntrust = 'keys'\n[locker]\ndirectory = '/mnt/worm'\n",
        )
        .unwrap();
        assert_eq!(config.locker, LockerConfig::Directory("/mnt/worm".into()));
        assert_eq!(
            config.ledger,
            LedgerConfig::Directory("/var/lib/writ/ledger".into())
        );
        assert_eq!(config.trust, Some("/etc/writ/keys".into()));
        assert_eq!(config.origin.as_deref(), Some("writ.example.org/ledger"));
    }

    #[test]
    fn a_bucket_is_named_in_a_table() {
        for text in [
            "version = 1\n[locker]\ndriver = 's3'\n[locker.s3]\nbucket = 'evidence'\n",
            "version = 1\n[locker.s3]\nbucket = 'evidence'\n",
        ] {
            let expected = LockerConfig::S3(Box::new(S3Config::new("evidence")));
            assert_eq!(parse(text).unwrap().locker, expected);
        }
    }

    #[test]
    fn a_shared_ledger_is_named_in_a_table() {
        use crate::log::shared::{Address, TilesConfig};
        let shared = |text: &str| {
            let text = format!("version = 1\n[ledger]\ndriver = 'shared'\n{text}");
            match parse(&text).unwrap().ledger {
                LedgerConfig::Shared(shared) => *shared,
                other => panic!("{other:?}"),
            }
        };
        let config = shared("url = 'postgres://writ@db/writ'\n");
        assert_eq!(
            config.address,
            Address::Plain("postgres://writ@db/writ".into())
        );
        assert_eq!(config.schema, "writ_ledger");
        assert_eq!(
            config.tiles,
            TilesConfig::Directory("/etc/writ/tiles".into())
        );
        let config = shared(
            "url_file = 'db'\nschema = 'log_1'\nretention = '2557d'\nlease = '10s'\n[ledger.s3]\nbucket = 'tiles'\n",
        );
        assert_eq!(config.address, Address::File("/etc/writ/db".into()));
        assert_eq!(
            config.tiles,
            TilesConfig::S3(Box::new(S3Config::new("tiles")))
        );
        assert_eq!(config.options.lease, std::time::Duration::from_secs(10));
        // What stands in a file is not repeated where it could be read.
        let hidden = format!("{:?}", shared("url = 'postgres://writ@secret-host/writ'\n"));
        assert!(!hidden.contains("secret-host"), "{hidden}");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, word) in [
            (
                "version = 1\n[ledger]\ndriver = 'shared'\n",
                "[ledger]",
                "url_file",
            ),
            (
                "version = 1\n[ledger]\ndriver = 'shared'\nurl = 'postgres://a:b@c/d'\n",
                "line 4",
                "password",
            ),
            ("version = 1\n[ledger]\nschema = 'x'\n", "line 3", "shared"),
            (
                "version = 1\n[ledger]\ndriver = 'shared'\nurl = 'x'\nschema = 'X y'\n",
                "line 5",
                "schema",
            ),
            (
                "version = 1\n[ledger]\ndriver = 'shared'\nurl = 'x'\nlease = '0s'\n",
                "line 5",
                "lease",
            ),
            (
                "version = 1\n[ledger]\ndriver = 'shared'\nurl = 'x'\nretention = '1d'\n",
                "line 5",
                "bucket",
            ),
            (
                "version = 1\n[ledger]\ndriver = 'shared'\nurl = 'x'\ndirectory = 'x'\n[ledger.s3]\nbucket = 'y'\n",
                "line 6",
                "both",
            ),
            ("version = 1\n[locker]\ndriver = 's3'\n", "line 3", "bucket"),
            (
                "version = 1\n[locker]\ndriver = 'directory'\n[locker.s3]\nbucket = 'x'\n",
                "line 4",
                "driver",
            ),
            (
                "version = 1\n[locker]\ndirectory = 'x'\n[locker.s3]\nbucket = 'x'\n",
                "line 3",
                "directory",
            ),
            (
                "version = 1\n[locker.s3]\nbucket = 'x'\nsecret = 'y'\n",
                "line 4",
                "secret",
            ),
            ("version = 1\nlocke = 1\n", "line 2", "locke"),
            (
                "version = 1\n[locker]\ndriver = 'floppy'\n",
                "line 3",
                "floppy",
            ),
            ("\nversion = 2\n", "line 2", "version 2"),
            ("version = 1\norigin = 'https://x y'\n", "line 2", "origin"),
            ("[locker]\n", "line 1", "version"),
            (
                "version = 1\n[database]\nurl = 'postgres://writ:hunter2@db/writ'\n",
                "line 3",
                "url_file",
            ),
            ("version = 1\n[database]\n", "line 2", "exactly one"),
            (
                "version = 1\n[database]\nurl_env = 'X'\nschema = 'a b'\n",
                "line 4",
                "schema",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(word), "{error}");
            assert!(error.starts_with("/etc/writ/store.toml"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn keys_are_made_in_vault_where_the_file_says_so() {
        let keys = |text: &str| parse(&format!("version = 1\n[keys]\n{text}")).map(|c| c.keys);
        assert_eq!(parse("version = 1\n").unwrap().keys, KeysConfig::default());
        let named = keys(
            "driver = 'vault'\naddress = 'https://vault:8200'\nmount = 'a/b'\nlogin = { method = 'token', file = 'token' }\n",
        )
        .unwrap();
        assert_eq!(
            (named.driver, &*named.mount),
            (Some(KeyDriver::Vault), "a/b")
        );
        let login = named.vault.unwrap().login.unwrap();
        let file = PathBuf::from("/etc/writ/token");
        assert_eq!(login, writ_evidence::key::VaultLogin::Token { file });
        assert_eq!(keys("driver = 'file'\n").unwrap().vault, None);
        for (text, word) in [
            ("driver = 'hsm'\n", "hsm"),
            ("mount = '../x'\n", "line 2"),
            ("token = 'x'\n", "token"),
        ] {
            let error = keys(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_database_is_named_without_its_secret() {
        let config = parse(
            "version = 1\n[database]\nurl_file = 'database.url'\nschema = 'audit'\nconnections = 4\n",
        )
        .unwrap();
        let DatabaseConfig::Postgres(database) = config.database else {
            panic!("{config:?}");
        };
        assert_eq!(
            database.address,
            Address::File("/etc/writ/database.url".into())
        );
        assert_eq!((&*database.prefix, database.connections), ("audit", 4));
    }
}
