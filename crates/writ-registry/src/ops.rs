//! The ops schema: what is not evidence and cannot be rebuilt from the ledger.
//!
//! The directory of people (pseudonym and display name), the checkpoints that this store has
//! verified (so that a rolled-back ledger is noticed), and what was said outside, so that a rebuilt
//! index repeats nothing. Back this file up.

mod tokens;

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use writ_model::{Digest, LedgerHead, PrincipalId, Timestamp};

use crate::config::PostgresConfig;
use crate::db::postgres::{self, Role};
use crate::db::{Access, Conn, Db, Durability, Row, Value, sql};
use crate::error::{RegistryError, Result};

/// `{text}` as in the index.
const CREATE: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS meta (key {text} NOT NULL PRIMARY KEY, value {text} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS people (
        pseudonym {text} NOT NULL PRIMARY KEY,
        name {text} NOT NULL,
        kind {text} NOT NULL,
        added_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS held_checkpoints (
        origin {text} NOT NULL,
        size BIGINT NOT NULL,
        root {text} NOT NULL,
        note {text} NOT NULL,
        held_at BIGINT NOT NULL,
        PRIMARY KEY (origin, size, root))",
    // Since version 2. Times are microseconds, 0 for never; absent texts are empty.
    "CREATE TABLE IF NOT EXISTS accounts (
        pseudonym {text} NOT NULL PRIMARY KEY,
        login {text} NOT NULL UNIQUE,
        password {text} NOT NULL,
        totp {text} NOT NULL,
        totp_new {text} NOT NULL,
        totp_step BIGINT NOT NULL,
        failed BIGINT NOT NULL,
        locked_until BIGINT NOT NULL,
        disabled_at BIGINT NOT NULL,
        added_at BIGINT NOT NULL,
        password_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sessions (
        id {text} NOT NULL PRIMARY KEY,
        pseudonym {text} NOT NULL,
        began_at BIGINT NOT NULL,
        seen_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        assurance {text} NOT NULL,
        agent {text} NOT NULL,
        revoked_at BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS sessions_account ON sessions (pseudonym, began_at)",
    "CREATE TABLE IF NOT EXISTS account_links (
        issuer {text} NOT NULL,
        subject {text} NOT NULL,
        name {text} NOT NULL,
        pseudonym {text} NOT NULL,
        linked_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (issuer, subject))",
    "CREATE TABLE IF NOT EXISTS sign_in_attempts (
        id {text} NOT NULL PRIMARY KEY,
        provider {text} NOT NULL,
        next {text} NOT NULL,
        pseudonym {text} NOT NULL,
        expires_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS session_provenance (
        session {text} NOT NULL PRIMARY KEY,
        issuer {text} NOT NULL,
        acr {text} NOT NULL,
        amr {text} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS jobs (
        name {text} NOT NULL PRIMARY KEY,
        due_at BIGINT NOT NULL,
        lease_until BIGINT NOT NULL,
        holder {text} NOT NULL,
        begun_at BIGINT NOT NULL,
        ended_at BIGINT NOT NULL,
        succeeded_at BIGINT NOT NULL,
        note {text} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS job_tokens (
        token {text} NOT NULL PRIMARY KEY,
        key_id {text} NOT NULL,
        ends_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS api_tokens (
        id {text} NOT NULL PRIMARY KEY,
        hash {text} NOT NULL UNIQUE,
        name {text} NOT NULL,
        services {text} NOT NULL,
        actions {text} NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        revoked_at BIGINT NOT NULL)",
    // What webhooks brought, with what was answered.
    "CREATE TABLE IF NOT EXISTS hook_deliveries (
        hook {text} NOT NULL,
        id {text} NOT NULL,
        body {text} NOT NULL,
        answer {text} NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (hook, id))",
    "CREATE INDEX IF NOT EXISTS hook_deliveries_body ON hook_deliveries (hook, body)",
    "CREATE INDEX IF NOT EXISTS hook_deliveries_at ON hook_deliveries (at)",
    // Since version 3. People and machines as lists name them, and the names of their accounts.
    "CREATE TABLE IF NOT EXISTS persons (
        id {text} NOT NULL PRIMARY KEY,
        key {text} NOT NULL,
        name {text} NOT NULL,
        machine BIGINT NOT NULL,
        listed BIGINT NOT NULL,
        added_at BIGINT NOT NULL,
        disabled_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS aliases (
        pseudonym {text} NOT NULL PRIMARY KEY,
        alias {text} NOT NULL,
        person {text} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS token_owners (
        token {text} NOT NULL PRIMARY KEY,
        pseudonym {text} NOT NULL)",
    "CREATE TABLE IF NOT EXISTS device_codes (
        id {text} NOT NULL PRIMARY KEY,
        user_code {text} NOT NULL UNIQUE,
        label {text} NOT NULL,
        address {text} NOT NULL,
        asked_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        polled_at BIGINT NOT NULL,
        pause BIGINT NOT NULL,
        state {text} NOT NULL,
        pseudonym {text} NOT NULL)",
    // What is said outside, see `notices`.
    "CREATE TABLE IF NOT EXISTS notices (
        key {text} NOT NULL,
        channel {text} NOT NULL,
        position BIGINT NOT NULL,
        event {text} NOT NULL,
        service {text} NOT NULL,
        title {text} NOT NULL,
        body {text} NOT NULL,
        state {text} NOT NULL,
        tries BIGINT NOT NULL,
        made_at BIGINT NOT NULL,
        due_at BIGINT NOT NULL,
        ended_at BIGINT NOT NULL,
        note {text} NOT NULL,
        PRIMARY KEY (key, channel))",
    "CREATE INDEX IF NOT EXISTS notices_due ON notices (state, due_at)",
    "CREATE INDEX IF NOT EXISTS notices_made ON notices (made_at)",
    // What passkeys are called and how far they counted; which there are, the ledger says.
    "CREATE TABLE IF NOT EXISTS passkeys (
        id {text} NOT NULL PRIMARY KEY,
        pseudonym {text} NOT NULL,
        name {text} NOT NULL,
        added_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        sign_count BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS passkeys_account ON passkeys (pseudonym, id)",
    "CREATE TABLE IF NOT EXISTS passkey_challenges (
        challenge {text} NOT NULL PRIMARY KEY,
        used_at BIGINT NOT NULL)",
    // Who read what, see `reads`.
    "CREATE TABLE IF NOT EXISTS reads (
        at BIGINT NOT NULL,
        request {text} NOT NULL,
        principal {text} NOT NULL,
        path {text} NOT NULL,
        PRIMARY KEY (at, request))",
    "INSERT INTO meta (key, value) VALUES ('schema_version', '1') ON CONFLICT (key) DO NOTHING",
    "UPDATE meta SET value = '3' WHERE key = 'schema_version' AND value IN ('1', '2')",
];

/// What a copy takes: every table, and which of its columns are numbers. Not sessions and tokens of
/// people: a restored store signs everybody out, because what was revoked since must not come back.
const TABLES: &[(&str, &str, &[bool])] = &[
    (
        "SELECT pseudonym, name, kind, added_at FROM people ORDER BY pseudonym",
        "INSERT INTO people (pseudonym, name, kind, added_at) VALUES",
        &[false, false, false, true],
    ),
    (
        "SELECT pseudonym, login, password, totp, totp_new, totp_step, failed, locked_until, disabled_at, added_at, password_at FROM accounts ORDER BY pseudonym",
        "INSERT INTO accounts (pseudonym, login, password, totp, totp_new, totp_step, failed, locked_until, disabled_at, added_at, password_at) VALUES",
        &[
            false, false, false, false, false, true, true, true, true, true, true,
        ],
    ),
    (
        "SELECT issuer, subject, name, pseudonym, linked_at, used_at FROM account_links ORDER BY issuer, subject",
        "INSERT INTO account_links (issuer, subject, name, pseudonym, linked_at, used_at) VALUES",
        &[false, false, false, false, true, true],
    ),
    (
        "SELECT id, key, name, machine, listed, added_at, disabled_at FROM persons ORDER BY id",
        "INSERT INTO persons (id, key, name, machine, listed, added_at, disabled_at) VALUES",
        &[false, false, false, true, true, true, true],
    ),
    (
        "SELECT id, pseudonym, name, added_at, used_at, sign_count FROM passkeys ORDER BY id",
        "INSERT INTO passkeys (id, pseudonym, name, added_at, used_at, sign_count) VALUES",
        &[false, false, false, true, true, true],
    ),
    (
        "SELECT at, request, principal, path FROM reads ORDER BY at, request",
        "INSERT INTO reads (at, request, principal, path) VALUES",
        &[true, false, false, false],
    ),
    (
        "SELECT pseudonym, alias, person FROM aliases ORDER BY pseudonym",
        "INSERT INTO aliases (pseudonym, alias, person) VALUES",
        &[false, false, false],
    ),
    (
        "SELECT origin, size, root, note, held_at FROM held_checkpoints ORDER BY origin, size, root",
        "INSERT INTO held_checkpoints (origin, size, root, note, held_at) VALUES",
        &[false, true, false, false, true],
    ),
    (
        "SELECT key, channel, position, event, service, title, body, state, tries, made_at, due_at, ended_at, note FROM notices ORDER BY key, channel",
        "INSERT INTO notices (key, channel, position, event, service, title, body, state, tries, made_at, due_at, ended_at, note) VALUES",
        &[
            false, false, true, false, false, false, false, false, true, true, true, true, false,
        ],
    ),
    (
        "SELECT token, key_id, ends_at FROM job_tokens ORDER BY token",
        "INSERT INTO job_tokens (token, key_id, ends_at) VALUES",
        &[false, false, true],
    ),
    (
        "SELECT id, hash, name, services, actions, created_at, expires_at, used_at, revoked_at FROM api_tokens WHERE id NOT IN (SELECT token FROM token_owners) ORDER BY id",
        "INSERT INTO api_tokens (id, hash, name, services, actions, created_at, expires_at, used_at, revoked_at) VALUES",
        &[false, false, false, false, false, true, true, true, true],
    ),
    (
        "SELECT hook, id, body, answer, at FROM hook_deliveries ORDER BY hook, id",
        "INSERT INTO hook_deliveries (hook, id, body, answer, at) VALUES",
        &[false, false, false, false, true],
    ),
];

/// Values that are copied at once.
const COPY: usize = 5_000;

/// A checkpoint that was verified here once: the ledger must contain it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCheckpoint {
    /// Ledger size and root.
    pub head: LedgerHead,
    /// The signed note as it was.
    pub note: String,
    /// When it was verified.
    pub held_at: Timestamp,
}

/// The ops database of a store.
#[derive(Debug, Clone)]
pub(crate) struct Ops {
    pub(crate) db: Db,
    path: PathBuf,
}

impl Ops {
    /// Opens the file, creating what is missing when writable.
    pub(crate) async fn open(path: &Path, access: Access) -> Result<Self> {
        let db = Db::open(path, access, Durability::Full)
            .await
            .map_err(|e| RegistryError::ops(path, e))?;
        let ops = Self {
            db,
            path: path.to_owned(),
        };
        if access != Access::Immutable {
            ops.create(None).await?;
        }
        Ok(ops)
    }

    /// Opens the schema of a store in PostgreSQL, creating what is missing when writable; `None`
    /// when there is nothing to read.
    pub(crate) async fn open_schema(
        config: &PostgresConfig,
        read_only: bool,
    ) -> Result<Option<Self>> {
        let schema = config.schema("ops");
        let (pool, path) = config.pool(&schema, Role::Ops).await?;
        let ops = Self {
            db: Db::Postgres(pool.clone()),
            path,
        };
        if !read_only {
            ops.create(Some(&schema)).await?;
        } else if !postgres::has_schema(&pool, &schema)
            .await
            .map_err(|e| ops.failed(e))?
        {
            return Ok(None);
        }
        Ok(Some(ops))
    }

    pub(crate) fn db(&self) -> &Db {
        &self.db
    }

    async fn create(&self, schema: Option<&str>) -> Result<()> {
        let create = async {
            let mut transaction = self.db.begin().await?;
            let mut connection = transaction.conn();
            if let (Conn::Postgres(connection), Some(schema)) = (&mut connection, schema) {
                // Two that make the same table at once would be an error.
                postgres::lock_in(connection, schema).await?;
            }
            if let Some(schema) = schema {
                connection
                    .script(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
                    .await?;
            }
            let text = match connection {
                Conn::Sqlite(_) => "TEXT",
                Conn::Postgres(_) => "TEXT COLLATE \"C\"",
            };
            let script = CREATE.join(";\n").replace("{text}", text);
            connection.script(script).await?;
            transaction.commit().await
        };
        create.await.map_err(|e| self.failed(e))
    }

    pub(crate) fn failed(&self, source: sqlx::Error) -> RegistryError {
        RegistryError::ops(&self.path, source)
    }

    /// A fact about the store that is no evidence.
    pub(crate) async fn fact(&self, key: &str) -> Result<Option<String>> {
        let find = sql("SELECT value FROM meta WHERE key = $1").bind(key);
        let row = self.db.fetch_optional(find).await;
        row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|e| self.failed(e))
    }

    /// Notes such a fact.
    pub(crate) async fn put_fact(&self, key: &str, value: &str) -> Result<()> {
        let put = sql("INSERT INTO meta (key, value) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value");
        let put = put.bind(key).bind(value);
        self.db.execute(put).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Notes a person's name beside the pseudonym.
    pub(crate) async fn put_person(
        &self,
        id: &PrincipalId,
        name: &str,
        kind: &str,
        now: Timestamp,
    ) -> Result<()> {
        let put = sql(
            "INSERT INTO people (pseudonym, name, kind, added_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (pseudonym) DO UPDATE SET name = excluded.name",
        );
        let put = put.bind(&id.0).bind(name).bind(kind).bind(now.micros());
        self.db.execute(put).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// The name behind a pseudonym, where the directory has it.
    pub(crate) async fn person(&self, id: &PrincipalId) -> Result<Option<String>> {
        let find = sql("SELECT name FROM people WHERE pseudonym = $1").bind(&id.0);
        let row = self.db.fetch_optional(find).await;
        row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(|e| self.failed(e))
    }

    /// Keeps a verified checkpoint.
    pub(crate) async fn hold(
        &self,
        origin: &str,
        head: &LedgerHead,
        note: &str,
        now: Timestamp,
    ) -> Result<()> {
        let hold = sql(
            "INSERT INTO held_checkpoints (origin, size, root, note, held_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (origin, size, root) DO NOTHING",
        );
        let hold = hold
            .bind(origin)
            .bind(crate::index::signed(head.size))
            .bind(head.root.to_hex())
            .bind(note)
            .bind(now.micros());
        self.db.execute(hold).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// The newest held checkpoints of a ledger, largest first.
    pub(crate) async fn held(&self, origin: &str, limit: i64) -> Result<Vec<HeldCheckpoint>> {
        let find = sql(
            "SELECT size, root, note, held_at FROM held_checkpoints WHERE origin = $1
             ORDER BY size DESC, root LIMIT $2",
        );
        let rows = self.db.fetch_all(find.bind(origin).bind(limit)).await;
        let held = |row: &Row| {
            let root: &str = row.try_get(1)?;
            let root: Digest = root.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            Ok(HeldCheckpoint {
                head: LedgerHead {
                    size: row.unsigned(0)?,
                    root,
                },
                note: row.try_get(2)?,
                held_at: Timestamp::from_micros(row.try_get(3)?),
            })
        };
        rows.and_then(|rows| rows.iter().map(held).collect())
            .map_err(|e| self.failed(e))
    }

    /// Gives a CI job's token to a key, unless another key has it; says which key has it. Tokens that
    /// ended are forgotten.
    pub(crate) async fn claim_token(
        &self,
        token: &Digest,
        key_id: &str,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<String> {
        let forget = sql("DELETE FROM job_tokens WHERE ends_at < $1").bind(now.micros());
        self.db.execute(forget).await.map_err(|e| self.failed(e))?;
        let token = token.to_hex();
        let claim = sql(
            "INSERT INTO job_tokens (token, key_id, ends_at) VALUES ($1, $2, $3)
             ON CONFLICT (token) DO NOTHING",
        );
        let claim = claim.bind(&token).bind(key_id).bind(ends_at.micros());
        self.db.execute(claim).await.map_err(|e| self.failed(e))?;
        let find = sql("SELECT key_id FROM job_tokens WHERE token = $1").bind(&token);
        let row = self.db.fetch_optional(find).await;
        row.and_then(|row| row.ok_or(sqlx::Error::RowNotFound)?.try_get(0))
            .map_err(|e| self.failed(e))
    }

    /// Marks a held checkpoint as one that nobody holds the ledger to any more.
    pub(crate) async fn abandon(&self, origin: &str, head: &LedgerHead) -> Result<()> {
        let abandoned = format!("abandoned:{origin}");
        let update = sql(
            "UPDATE held_checkpoints SET origin = $1 WHERE origin = $2 AND size = $3 AND root = $4",
        );
        let update = update
            .bind(&abandoned)
            .bind(origin)
            .bind(crate::index::signed(head.size))
            .bind(head.root.to_hex());
        self.db.execute(update).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Writes the database as it is at one moment into a new SQLite file, while others write.
    pub(crate) async fn snapshot(&self, to: &Path) -> Result<()> {
        let copy = Self::open(to, Access::Create).await?;
        let copied = self.copy_to(&copy).await;
        copy.close().await;
        copied.map_err(|e| self.failed(e))
    }

    async fn copy_to(&self, copy: &Self) -> sqlx::Result<()> {
        let mut from = self.db.snapshot().await?;
        let mut into = copy.db.begin().await?;
        let (mut from, mut to) = (from.conn(), into.conn());
        for (select, insert, numbers) in TABLES {
            let mut rows = from.stream(sql(*select));
            let mut more = true;
            while more {
                let mut values: Vec<Value<'_>> = Vec::new();
                while more && values.len() < COPY {
                    let row = rows.try_next().await?;
                    more = row.is_some();
                    for (at, number) in numbers.iter().enumerate() {
                        values.extend(match (&row, number) {
                            (Some(row), true) => Some(row.try_get::<i64>(at)?.into()),
                            (Some(row), false) => Some(row.try_get::<String>(at)?.into()),
                            (None, _) => None,
                        });
                    }
                }
                let insert = sql(*insert).bind_all(values);
                to.insert_rows(insert, "", numbers.len()).await?;
            }
        }
        into.commit().await
    }

    pub(crate) async fn close(&self) {
        self.db.close().await;
    }
}

/// HMAC-SHA256 of a purpose under the store's secret.
pub(crate) fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    // HMAC takes keys of any length: the fallback is never taken, and is no usable key of anybody.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return [0; 32];
    };
    mac.update(b"writ:derive:");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The pseudonym of an account: a keyed hash, so that the ledger alone does not tell who it is,
/// and the same account always has the same one.
pub(crate) fn pseudonym(accounts_key: &[u8], kind: &str, account: &str) -> PrincipalId {
    // HMAC takes keys of any length: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(accounts_key) else {
        return PrincipalId(String::new());
    };
    mac.update(kind.as_bytes());
    mac.update(b":");
    mac.update(account.as_bytes());
    PrincipalId(format!(
        "p_{}",
        &hex::encode(mac.finalize().into_bytes())[..20]
    ))
}
