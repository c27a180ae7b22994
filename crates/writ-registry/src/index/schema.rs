//! The tables of the index.
//!
//! One text serves every database: TEXT, BIGINT, digests as 64 hex digits, times as BIGINT
//! microseconds, truth as BIGINT 0 or 1. `{text}` stands for text that compares by bytes, `{key}` for
//! a BIGINT that names a row. A change here raises [`VERSION`]: the index is then rebuilt beside the
//! old one and swapped.

use crate::db::Conn;

/// Version of the tables and of the projection that fills them.
pub(crate) const VERSION: &str = "6";

/// What makes the tables of an empty index, with what filling them needs.
pub(crate) fn tables(connection: &Conn<'_>) -> String {
    let (text, key) = match connection {
        // A row is stored under this key; another kind of key would be an index of its own.
        Conn::Sqlite(_) => ("TEXT COLLATE BINARY", "INTEGER NOT NULL PRIMARY KEY"),
        Conn::Postgres(_) => ("TEXT COLLATE \"C\"", "BIGINT NOT NULL PRIMARY KEY"),
    };
    let mut script = TABLES_TEXT.join(";\n");
    script.push_str(";\n");
    script.replace("{text}", text).replace("{key}", key)
}

/// What only questions need: made when an index is filled for the first time, because that is
/// faster.
pub(crate) fn indexes() -> String {
    let mut script = INDEXES.join(";\n");
    script.push_str(";\n");
    script
}

/// The unique key of entries: the same payload by the same signer counts once.
pub(crate) const UNIQUE: &str = "CREATE UNIQUE INDEX evidence_id ON evidence (id, signer);";

/// What empties every table but `meta` and `belief`.
pub(crate) fn empty(connection: &Conn<'_>) -> String {
    let mut script: String = TABLES
        .iter()
        .filter(|(table, _)| *table != "meta")
        .map(|(table, _)| format!("DELETE FROM {table};\n"))
        .collect();
    script.push_str(match connection {
        // A table without content knows no rows to delete.
        Conn::Sqlite(_) => "INSERT INTO words (words) VALUES ('delete-all');",
        Conn::Postgres(_) => "DELETE FROM words;",
    });
    script
}

/// Every table with the unique key that orders its dump.
pub(crate) const TABLES: &[(&str, &str)] = &[
    ("meta", "key"),
    ("evidence", "idx"),
    ("subjects", "idx, position"),
    ("blobs", "digest, idx, role"),
    ("streams", "id"),
    ("findings", "stream, fingerprint"),
    ("finding_days", "service, standing, severity, day, fixable"),
    ("finding_names", "name"),
    ("exemptions", "number"),
    ("approvals", "idx"),
    ("decisions", "idx"),
    ("writs", "idx"),
    ("runs", "idx"),
    ("changes", "service, name"),
    ("change_commits", "service, commit_id"),
    ("cache", "key, idx"),
    ("problems", "idx, problem"),
];

/// The tables, and the indexes that filling them needs.
const TABLES_TEXT: &[&str] = &[
    "CREATE TABLE meta (key {text} NOT NULL PRIMARY KEY, value {text} NOT NULL)",
    // The keys by which entries were judged. Not computed from the ledger, so no part of the dump.
    "CREATE TABLE belief (line {text} NOT NULL PRIMARY KEY)",
    "CREATE TABLE evidence (
        idx {key},
        id {text} NOT NULL,
        signer {text} NOT NULL,
        predicate_type {text} NOT NULL,
        evidence_type {text} NOT NULL,
        service {text} NOT NULL,
        commit_id {text},
        tree {text},
        artifact {text},
        environment {text},
        scope {text} NOT NULL,
        tool {text} NOT NULL,
        observed_at BIGINT NOT NULL,
        recorded_at BIGINT NOT NULL,
        origin {text} NOT NULL,
        producer_class {text} NOT NULL,
        outcome {text} NOT NULL,
        dirty BIGINT NOT NULL,
        findings {text},
        statement {text},
        item {text} NOT NULL)",
    "CREATE TABLE subjects (
        idx BIGINT NOT NULL,
        position BIGINT NOT NULL,
        algorithm {text} NOT NULL,
        value {text} NOT NULL,
        name {text} NOT NULL,
        PRIMARY KEY (idx, position))",
    "CREATE TABLE blobs (
        digest {text} NOT NULL,
        idx BIGINT NOT NULL,
        role {text} NOT NULL,
        PRIMARY KEY (digest, idx, role))",
    "CREATE TABLE streams (
        id {key},
        service {text} NOT NULL,
        evidence_type {text} NOT NULL,
        tool {text} NOT NULL,
        scope {text} NOT NULL,
        last_index BIGINT NOT NULL,
        last_observed BIGINT NOT NULL,
        last_findings {text} NOT NULL,
        changed_index BIGINT NOT NULL,
        scans BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX streams_key ON streams (service, evidence_type, tool, scope)",
    "CREATE TABLE findings (
        stream BIGINT NOT NULL,
        fingerprint {text} NOT NULL,
        state {text} NOT NULL,
        first_seen BIGINT NOT NULL,
        first_index BIGINT NOT NULL,
        last_seen BIGINT,
        fixed_at BIGINT,
        fixed_index BIGINT,
        reopened BIGINT NOT NULL,
        reopened_at BIGINT,
        severity BIGINT NOT NULL,
        category {text} NOT NULL,
        rule {text} NOT NULL,
        name {text} NOT NULL,
        title {text} NOT NULL,
        place {text} NOT NULL,
        fixable BIGINT NOT NULL,
        suppressed BIGINT NOT NULL,
        content BIGINT NOT NULL,
        voice BIGINT NOT NULL,
        leads BIGINT NOT NULL,
        PRIMARY KEY (stream, fingerprint))",
    // Asked while findings change. All keys of findings begin with what a scan has in common: its rows lie
    // together, and millions of rows of other scans are left alone.
    "CREATE INDEX findings_name ON findings (stream, name, voice)",
    "CREATE TABLE finding_days (
        service {text} NOT NULL,
        standing BIGINT NOT NULL,
        severity BIGINT NOT NULL,
        day BIGINT NOT NULL,
        fixable BIGINT NOT NULL,
        findings BIGINT NOT NULL,
        PRIMARY KEY (service, standing, severity, day, fixable))",
    "CREATE TABLE finding_names (
        name {text} NOT NULL PRIMARY KEY,
        first_seen BIGINT NOT NULL,
        category {text} NOT NULL,
        title {text} NOT NULL,
        unknown BIGINT NOT NULL,
        info BIGINT NOT NULL,
        low BIGINT NOT NULL,
        medium BIGINT NOT NULL,
        high BIGINT NOT NULL,
        critical BIGINT NOT NULL,
        severity BIGINT NOT NULL,
        services BIGINT NOT NULL,
        findings BIGINT NOT NULL,
        fixable BIGINT NOT NULL)",
    "CREATE TABLE exemptions (
        number {key},
        id {text} NOT NULL,
        idx BIGINT NOT NULL,
        service {text} NOT NULL,
        environment {text},
        state {text} NOT NULL,
        requester {text} NOT NULL,
        decided_by {text},
        decided_id {text},
        decided_index BIGINT,
        decided_at BIGINT,
        expires_at BIGINT,
        revoked_index BIGINT,
        reason {text} NOT NULL,
        request {text} NOT NULL,
        grant_item {text})",
    "CREATE UNIQUE INDEX exemptions_id ON exemptions (id)",
    "CREATE TABLE approvals (
        idx {key},
        id {text} NOT NULL,
        service {text} NOT NULL,
        environment {text},
        artifact {text},
        commit_id {text},
        person {text} NOT NULL,
        answer {text} NOT NULL)",
    "CREATE TABLE decisions (
        idx {key},
        id {text} NOT NULL,
        service {text} NOT NULL,
        environment {text} NOT NULL,
        artifact {text},
        commit_id {text},
        profile {text} NOT NULL,
        answer {text} NOT NULL,
        as_of BIGINT NOT NULL,
        counts {text} NOT NULL,
        states {text} NOT NULL)",
    "CREATE TABLE writs (
        idx {key},
        id {text} NOT NULL,
        service {text} NOT NULL,
        environment {text},
        artifact {text},
        commit_id {text},
        expires_at BIGINT)",
    "CREATE TABLE runs (
        idx {key},
        id {text} NOT NULL,
        service {text} NOT NULL,
        commit_id {text},
        outcome {text} NOT NULL,
        observed_at BIGINT NOT NULL)",
    "CREATE TABLE changes (
        service {text} NOT NULL,
        name {text} NOT NULL,
        first_index BIGINT NOT NULL,
        PRIMARY KEY (service, name))",
    "CREATE TABLE change_commits (
        service {text} NOT NULL,
        commit_id {text} NOT NULL,
        name {text} NOT NULL,
        first_index BIGINT NOT NULL,
        PRIMARY KEY (service, commit_id))",
    "CREATE TABLE cache (
        key {text} NOT NULL,
        idx BIGINT NOT NULL,
        PRIMARY KEY (key, idx))",
    "CREATE TABLE problems (
        idx BIGINT NOT NULL,
        problem {text} NOT NULL,
        PRIMARY KEY (idx, problem))",
];

/// The other indexes.
const INDEXES: &[&str] = &[
    "CREATE INDEX evidence_service ON evidence (service, idx)",
    "CREATE INDEX evidence_commit ON evidence (commit_id, idx)",
    "CREATE INDEX evidence_tree ON evidence (tree, idx)",
    "CREATE INDEX evidence_artifact ON evidence (artifact, idx)",
    "CREATE INDEX evidence_predicate ON evidence (predicate_type, idx)",
    "CREATE INDEX evidence_kind ON evidence (evidence_type, idx)",
    "CREATE INDEX evidence_environment ON evidence (environment, idx) WHERE environment IS NOT NULL",
    "CREATE INDEX subjects_value ON subjects (value, idx)",
    "CREATE INDEX streams_changed ON streams (changed_index)",
    "CREATE INDEX findings_order ON findings (voice, severity, first_seen, fingerprint, stream)",
    "CREATE INDEX findings_stream ON findings (stream, voice, severity, first_seen, fingerprint)",
    "CREATE INDEX finding_names_order ON finding_names (severity DESC, services DESC, findings DESC, name) WHERE findings > 0",
    "CREATE INDEX exemptions_service ON exemptions (service, number)",
    "CREATE INDEX approvals_service ON approvals (service, idx)",
    "CREATE INDEX decisions_service ON decisions (service, environment, idx)",
    "CREATE INDEX decisions_all ON decisions (service, idx)",
    "CREATE INDEX decisions_commit ON decisions (commit_id, idx)",
    "CREATE INDEX decisions_artifact ON decisions (artifact, idx)",
    "CREATE INDEX writs_service ON writs (service, environment, idx)",
    "CREATE INDEX writs_all ON writs (service, idx)",
    "CREATE INDEX runs_service ON runs (service, idx)",
    "CREATE INDEX runs_commit ON runs (commit_id, idx)",
    "CREATE INDEX changes_all ON changes (service, first_index DESC, name)",
    "CREATE INDEX changes_first ON changes (first_index DESC, service, name)",
    "CREATE INDEX change_commits_name ON change_commits (service, name, first_index)",
];
