//! The tables and functions of one log in PostgreSQL.
//!
//! Every change is one call of one function, so it is one statement and one transaction that the
//! server carries out alone: a client that is paused or cut off in the middle holds no lock and
//! leaves nothing half-done. The functions run with the rights of their owner; a writer needs no
//! right to change a table, and cannot take back what is recorded.
//!
//! | table | what |
//! |---|---|
//! | `head` | one row: name, number of entries and time of the last one. Locked by an append |
//! | `tree` | one row: who integrates (epoch, lease), the committed tree, the published checkpoint |
//! | `pending` | entries that no published checkpoint covers yet |
//! | `keys` | for every entry ever, what makes it unique: payload and signer, hashed |

/// Version of the tables and functions.
pub(super) const VERSION: i32 = 1;

/// Errors that the functions raise.
pub(super) mod code {
    /// The log has fewer entries than this process has seen.
    pub const ROLLED_BACK: &str = "WR001";
    /// The caller's clock is ahead.
    pub const CLOCK_AHEAD: &str = "WR002";
}

/// Whether `name` can be used as a schema's name, unquoted and without surprises.
pub(super) fn is_schema_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    (1..=63).contains(&name.len())
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with("pg_")
}

/// The statements about one log.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    pub create: String,
    pub begin_head: String,
    pub begin_tree: String,
    pub state: String,
    pub append: String,
    pub pending: String,
    pub lease: String,
    pub commit: String,
    pub settle: String,
}

impl Sql {
    /// For the log in `schema`, which [`is_schema_name`] accepts.
    pub fn new(schema: &str) -> Self {
        let named = |text: &str| text.replace("{s}", schema);
        Self {
            create: named(CREATE),
            begin_head: named(
                "INSERT INTO {s}.head (one, version, origin, size, last_recorded_at) \
                 VALUES (1, $1, $2, 0, 0)",
            ),
            begin_tree: named(
                "INSERT INTO {s}.tree (one, epoch, holder, lease_until, integrated_size, \
                 integrated_root, published_size, note) \
                 VALUES (1, 0, '', clock_timestamp(), 0, $1, 0, $2)",
            ),
            state: named(
                "SELECT h.version, h.origin, h.size, t.epoch, t.holder, \
                 GREATEST(0, EXTRACT(EPOCH FROM t.lease_until - clock_timestamp()) * 1000)::bigint, \
                 t.integrated_size, t.integrated_root, t.published_size, t.note \
                 FROM {s}.head h CROSS JOIN {s}.tree t",
            ),
            append: named("SELECT n, idx, recorded_at, fresh FROM {s}.append($1, $2, $3, $4, $5)"),
            pending: named(
                "SELECT idx, recorded_at, envelope FROM {s}.pending \
                 WHERE idx >= $1 AND idx < $2 ORDER BY idx LIMIT $3",
            ),
            lease: named("SELECT {s}.lease($1, $2)"),
            commit: named("SELECT {s}.commit($1, $2, $3, $4, $5)"),
            settle: named("SELECT {s}.settle($1, $2, $3)"),
        }
    }
}

/// Makes everything but the two rows.
const CREATE: &str = r#"
CREATE TABLE {s}.head (
    one smallint PRIMARY KEY CHECK (one = 1),
    version integer NOT NULL,
    origin text NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    last_recorded_at bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE {s}.tree (
    one smallint PRIMARY KEY CHECK (one = 1),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    lease_until timestamptz NOT NULL,
    integrated_size bigint NOT NULL CHECK (integrated_size >= 0),
    integrated_root bytea NOT NULL CHECK (length(integrated_root) = 32),
    published_size bigint NOT NULL CHECK (published_size <= integrated_size),
    note bytea NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE {s}.pending (
    idx bigint PRIMARY KEY,
    recorded_at bigint NOT NULL,
    envelope bytea NOT NULL
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
-- They stay for less than a second: not worth compressing.
ALTER TABLE {s}.pending ALTER COLUMN envelope SET STORAGE EXTERNAL;

CREATE TABLE {s}.keys (
    key bytea PRIMARY KEY CHECK (length(key) = 32),
    idx bigint NOT NULL,
    recorded_at bigint NOT NULL,
    call bigint NOT NULL
);

-- Appends what is new, in this order, and says of everything where it is. `call` names the call, so
-- that one whose answer was lost can be repeated and still tell its own entries from others'.
CREATE FUNCTION {s}.append(keys bytea[], envelopes bytea[], now_micros bigint, seen bigint, call bigint)
RETURNS TABLE (n bigint, idx bigint, recorded_at bigint, fresh boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
#variable_conflict use_column
DECLARE
    h record;
    stamp bigint;
    added bigint;
    server bigint;
BEGIN
    -- From here on to the commit nobody else appends; each statement below sees all that was.
    SELECT size, last_recorded_at INTO STRICT h FROM {s}.head FOR UPDATE;
    IF h.size < append.seen THEN
        RAISE EXCEPTION USING ERRCODE = 'WR001',
            MESSAGE = format('the log has %s entries, but had at least %s before', h.size, append.seen);
    END IF;
    server := (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint;
    IF append.now_micros > server + 60000000 THEN
        RAISE EXCEPTION USING ERRCODE = 'WR002',
            MESSAGE = format('%s here, %s there, in microseconds since 1970', append.now_micros, server);
    END IF;
    stamp := GREATEST(append.now_micros, h.last_recorded_at);
    WITH given AS (
        SELECT DISTINCT ON (g.key) g.key, g.envelope, g.n
        FROM unnest(append.keys, append.envelopes) WITH ORDINALITY AS g(key, envelope, n)
        ORDER BY g.key, g.n
    ), new AS (
        SELECT g.key, g.envelope, h.size - 1 + row_number() OVER (ORDER BY g.n) AS idx
        FROM given g WHERE NOT EXISTS (SELECT 1 FROM {s}.keys k WHERE k.key = g.key)
    ), kept AS (
        INSERT INTO {s}.pending (idx, recorded_at, envelope)
        SELECT new.idx, stamp, new.envelope FROM new ORDER BY new.idx
    )
    INSERT INTO {s}.keys (key, idx, recorded_at, call)
    SELECT new.key, new.idx, stamp, append.call FROM new ORDER BY new.idx;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF added > 0 THEN
        UPDATE {s}.head SET size = h.size + added, last_recorded_at = stamp;
    END IF;
    RETURN QUERY
        SELECT g.n, k.idx, k.recorded_at, k.call = append.call
        FROM unnest(append.keys) WITH ORDINALITY AS g(key, n) JOIN {s}.keys k ON k.key = g.key
        ORDER BY g.n;
END
$f$;

-- Takes or keeps the right to integrate for some milliseconds, by this server's clock; the epoch, or
-- NULL while another has it. Each new lease has a new epoch, so what an old holder does late is refused.
CREATE FUNCTION {s}.lease(who text, milliseconds bigint) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
    UPDATE {s}.tree SET
        epoch = CASE WHEN holder = lease.who AND lease_until > clock_timestamp() THEN epoch ELSE epoch + 1 END,
        holder = lease.who,
        lease_until = clock_timestamp() + lease.milliseconds * interval '1 millisecond'
    WHERE holder = lease.who OR lease_until <= clock_timestamp()
    RETURNING epoch
$f$;

-- Compare-and-swap of the tree: from one head to a longer one, by the holder of the lease only.
CREATE FUNCTION {s}.commit(by_epoch bigint, from_size bigint, from_root bytea, to_size bigint, to_root bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
    UPDATE {s}.tree SET integrated_size = commit.to_size, integrated_root = commit.to_root
    WHERE epoch = commit.by_epoch
        AND integrated_size = commit.from_size AND integrated_root = commit.from_root
        AND commit.to_size > commit.from_size
        AND commit.to_size <= (SELECT size FROM {s}.head);
    RETURN FOUND;
END
$f$;

-- Notes a published checkpoint, ends the lease of its publisher, and drops the entries it covers:
-- they are in durable tiles under a committed and published head.
CREATE FUNCTION {s}.settle(size bigint, note bytea, who text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
    UPDATE {s}.tree SET published_size = settle.size, note = settle.note
    WHERE published_size < settle.size AND settle.size <= integrated_size;
    UPDATE {s}.tree SET lease_until = clock_timestamp() WHERE holder = settle.who;
    DELETE FROM {s}.pending WHERE idx < (SELECT published_size FROM {s}.tree);
END
$f$;

REVOKE ALL ON FUNCTION {s}.append(bytea[], bytea[], bigint, bigint, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION {s}.lease(text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION {s}.commit(bigint, bigint, bytea, bigint, bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION {s}.settle(bigint, bytea, text) FROM PUBLIC;
"#;
