//! Where a PostgreSQL database is, and how its schemas are made and found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use writ_model::Digest;

use crate::error::{RegistryError, Result};

/// Longest statement that a page may cause.
const STATEMENT_TIMEOUT: &str = "120s";

/// A PostgreSQL database and the schemas in it that belong to a store.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Where its address stands.
    pub address: Address,
    /// What the names of the schemas begin with.
    pub prefix: String,
    /// Most connections that one process opens for the index.
    pub connections: u32,
}

/// Where the address of a database stands, `postgres://user@host/database`.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// Here, without a password.
    Plain(String),
    /// In a file that only its owner should read.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("in the configuration"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Variable(name) => write!(f, "in ${name}"),
        }
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("address", &self.address)
            .field("prefix", &self.prefix)
            .field("connections", &self.connections)
            .finish()
    }
}

impl Address {
    /// Whether an address carries what must not stand in a file that everybody may read.
    pub(crate) fn holds_password(address: &str) -> bool {
        let account = address
            .split_once("://")
            .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
            .and_then(|authority| authority.rsplit_once('@'))
            .map_or("", |(account, _)| account);
        account.contains(':') || address.contains("password=")
    }

    /// How connections are made. Reads the file or the variable now; the address is never part of
    /// a message. `key` is where a plain one stands.
    ///
    /// # Errors
    /// The address cannot be read or understood.
    pub fn options(&self, key: &str) -> Result<PgConnectOptions> {
        let wrong = |path: PathBuf, problem: &str| RegistryError::Config {
            path,
            problem: problem.to_owned(),
        };
        let (place, address) = match self {
            Self::Plain(address) => (PathBuf::from(key), address.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| RegistryError::io("read", path, e))?;
                (path.clone(), text)
            }
            Self::Variable(name) => {
                let place = PathBuf::from(format!("${name}"));
                match std::env::var(name) {
                    Ok(text) => (place, text),
                    Err(_) => {
                        return Err(wrong(
                            place,
                            "the store's file takes the database's address from this variable, which is not set",
                        ));
                    }
                }
            }
        };
        let address = address.trim();
        let known = address.starts_with("postgres://") || address.starts_with("postgresql://");
        match PgConnectOptions::from_str(address) {
            Ok(options) if known => Ok(options),
            _ => Err(wrong(
                place,
                "it does not hold an address of the form postgres://user@host/database",
            )),
        }
    }
}

impl PostgresConfig {
    /// How connections are made.
    ///
    /// # Errors
    /// As [`Address::options`].
    pub fn options(&self) -> Result<PgConnectOptions> {
        let options = self.address.options("database.url")?;
        Ok(options.application_name("writ"))
    }

    /// Host, database and schema for messages, without secrets.
    pub(crate) fn place(&self, options: &PgConnectOptions, schema: &str) -> PathBuf {
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let database = options
            .get_database()
            .unwrap_or_else(|| options.get_username());
        Path::new("postgres://")
            .join(host)
            .join(database)
            .join(schema)
    }

    /// A schema's name: the prefix and what it is for.
    pub(crate) fn schema(&self, of: &str) -> String {
        format!("{}_{of}", self.prefix)
    }

    /// Connections that see one schema.
    pub(crate) async fn pool(&self, schema: &str, role: Role) -> Result<(PgPool, PathBuf)> {
        let options = self.options()?;
        let place = self.place(&options, schema);
        let mut settings = vec![("search_path", schema), ("client_min_messages", "warning")];
        let most = match role {
            Role::Index => {
                settings.push(("statement_timeout", STATEMENT_TIMEOUT));
                // What a crash of the server loses of the index is projected again.
                settings.push(("synchronous_commit", "off"));
                self.connections.max(2)
            }
            Role::Build => {
                settings.push(("synchronous_commit", "off"));
                2
            }
            Role::Ops => {
                settings.push(("statement_timeout", STATEMENT_TIMEOUT));
                settings.push(("synchronous_commit", "on"));
                2
            }
        };
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(15))
            .connect_with(options.options(settings))
            .await
            .map_err(|e| RegistryError::database(&place, e))?;
        Ok((pool, place))
    }
}

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The index in use.
    Index,
    /// An index that is being built; its statements may take long.
    Build,
    /// What cannot be rebuilt.
    Ops,
}

/// Whether a schema is there.
pub(crate) async fn has_schema(pool: &PgPool, schema: &str) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1")
        .bind(schema)
        .fetch_optional(pool)
        .await?;
    Ok(found.is_some())
}

/// Takes a lock until the end of the transaction.
pub(crate) async fn lock_in(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(lock_number(name))
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a lock until the connection ends; `false` when somebody else has it.
pub(crate) async fn try_lock(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(lock_number(name))
        .fetch_one(connection)
        .await
}

/// Locks of a database are numbers; schemas are named once per database, so their names tell
/// stores apart.
fn lock_number(name: &str) -> i64 {
    let digest = Digest::of(format!("writ lock {name}").as_bytes());
    let mut eight = [0_u8; 8];
    eight.copy_from_slice(&digest.as_bytes()[..8]);
    i64::from_be_bytes(eight)
}
