//! Notices to people and programs outside: what is to be said on which channel, and what became of it.
//!
//! They lie in *ops*, keyed by what they are about, so that a rebuilt index or a second process repeats
//! none. What a notice says is fixed when it is queued; a channel that is away gets it later.

use serde::Serialize;
use writ_model::Timestamp;

use crate::db::{Row, Sql, sql};
use crate::error::{RegistryError, Result};
use crate::ops::Ops;
use crate::store::Store;

/// The fact that holds how far the ledger was looked through.
const LOOKED: &str = "notices_looked";

/// Longest reason that is kept, in characters.
const NOTE: usize = 300;

/// Most notices of one answer.
const MOST: usize = 1_000;

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about: said once on each channel.
    pub key: String,
    /// The entry that it follows from; `None`: the time that passed.
    pub position: Option<u64>,
    /// Which kind of event.
    pub event: String,
    /// About which service; empty for none.
    pub service: String,
    /// In a line.
    pub title: String,
    /// The whole message, as its sender reads it.
    pub body: String,
}

/// What became of a notice on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeState {
    /// It is still to be said.
    Waiting,
    /// The channel took it.
    Sent,
    /// It was tried for long enough, or the channel refused it for good.
    GivenUp,
}

impl NoticeState {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given-up",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "sent" => Self::Sent,
            "given-up" => Self::GivenUp,
            _ => Self::Waiting,
        }
    }
}

/// A notice on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// What is said.
    pub notice: Notice,
    /// Where.
    pub channel: String,
    /// What became of it.
    pub state: NoticeState,
    /// How often it was tried.
    pub tries: u64,
    /// When it was queued.
    pub made_at: Timestamp,
    /// When it is tried next, while it waits.
    pub due_at: Timestamp,
    /// When it was sent or given up.
    pub ended_at: Option<Timestamp>,
    /// What the channel said last.
    pub note: String,
}

const COLUMNS: &str = "key, position, event, service, title, body, channel, state, tries, made_at, due_at, ended_at, note";

impl Store {
    /// How far the ledger was looked through for what is to be said; `None`: never yet.
    ///
    /// # Errors
    /// *ops* cannot be read.
    pub async fn notices_looked(&self) -> Result<Option<u64>> {
        let looked = self.notices_ops()?.fact(LOOKED).await?;
        Ok(looked.and_then(|size| size.parse().ok()))
    }

    /// Queues notices, each with its channels, and notes that the ledger was looked through up to `looked`.
    /// What was queued on a channel before is not queued again. How many are new.
    ///
    /// # Errors
    /// *ops* cannot be written; then nothing was queued.
    pub async fn queue_notices(&self, notices: &[(Notice, &str)], looked: u64) -> Result<u64> {
        self.writable()?;
        self.notices_ops()?
            .queue_notices(notices, looked, self.now())
            .await
    }

    /// Notices that are due, the longest waiting first.
    ///
    /// # Errors
    /// *ops* cannot be read.
    pub async fn due_notices(&self, limit: usize) -> Result<Vec<Queued>> {
        let now = self.now().micros();
        let find = format!(
            "SELECT {COLUMNS} FROM notices WHERE state = 'waiting' AND due_at <= $1
             ORDER BY due_at, key, channel LIMIT {}",
            limit.min(MOST)
        );
        let ops = self.notices_ops()?;
        ops.notices(sql(find).bind(now)).await
    }

    /// Notes what became of a try: `next` is when it is tried again, where it still waits.
    ///
    /// # Errors
    /// *ops* cannot be written.
    pub async fn notice_tried(
        &self,
        queued: &Queued,
        state: NoticeState,
        next: Timestamp,
        note: &str,
    ) -> Result<()> {
        self.writable()?;
        let note: String = note.chars().take(NOTE).collect();
        let ended = match state {
            NoticeState::Waiting => 0,
            _ => self.now().micros(),
        };
        let tried = sql(
            "UPDATE notices SET state = $1, tries = tries + 1, due_at = $2, ended_at = $3, note = $4
             WHERE key = $5 AND channel = $6 AND state = 'waiting'",
        );
        let tried = tried
            .bind(state.word())
            .bind(next.micros())
            .bind(ended)
            .bind(&note)
            .bind(&queued.notice.key)
            .bind(&queued.channel);
        let ops = self.notices_ops()?;
        ops.db().execute(tried).await.map_err(|e| ops.failed(e))?;
        Ok(())
    }

    /// The newest notices, of one channel or of all.
    ///
    /// # Errors
    /// *ops* cannot be read.
    pub async fn notices(&self, channel: Option<&str>, limit: usize) -> Result<Vec<Queued>> {
        let one = match channel {
            Some(_) => "WHERE channel = $1",
            None => "",
        };
        let mut find = sql(format!(
            "SELECT {COLUMNS} FROM notices {one} ORDER BY made_at DESC, key, channel LIMIT {}",
            limit.min(MOST)
        ));
        if let Some(channel) = channel {
            find = find.bind(channel);
        }
        match &self.ops {
            Some(ops) => ops.notices(find).await,
            None => Ok(Vec::new()),
        }
    }

    /// Forgets notices that ended before `before`; how many.
    ///
    /// # Errors
    /// *ops* cannot be written.
    pub async fn forget_notices(&self, before: Timestamp) -> Result<u64> {
        self.writable()?;
        let forget = sql("DELETE FROM notices WHERE state <> 'waiting' AND ended_at < $1");
        let ops = self.notices_ops()?;
        let forgotten = ops.db().execute(forget.bind(before.micros())).await;
        forgotten.map_err(|e| ops.failed(e))
    }

    fn notices_ops(&self) -> Result<&Ops> {
        self.ops
            .as_ref()
            .ok_or_else(|| RegistryError::refused(0, "this store was opened without its ops part"))
    }
}

impl Ops {
    async fn queue_notices(
        &self,
        notices: &[(Notice, &str)],
        looked: u64,
        now: Timestamp,
    ) -> Result<u64> {
        let queue = async {
            let mut transaction = self.db.begin().await?;
            let mut connection = transaction.conn();
            let mut new = 0;
            for (notice, channel) in notices {
                let put = sql(
                    "INSERT INTO notices (key, channel, position, event, service, title, body, state, tries, made_at, due_at, ended_at, note)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', 0, $8, $9, 0, '')
                     ON CONFLICT (key, channel) DO NOTHING",
                );
                let put = put
                    .bind(&notice.key)
                    .bind(*channel)
                    .bind(notice.position.map_or(-1, crate::index::signed))
                    .bind(&notice.event)
                    .bind(&notice.service)
                    .bind(&notice.title)
                    .bind(&notice.body)
                    .bind(now.micros())
                    .bind(now.micros());
                new += connection.execute(put).await?;
            }
            let note = sql("INSERT INTO meta (key, value) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value");
            let looked = looked.to_string();
            connection.execute(note.bind(LOOKED).bind(&looked)).await?;
            transaction.commit().await?;
            Ok(new)
        };
        queue.await.map_err(|e| self.failed(e))
    }

    async fn notices(&self, find: Sql<'_>) -> Result<Vec<Queued>> {
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| rows.iter().map(queued).collect())
            .map_err(|e| self.failed(e))
    }

    /// Forgets notices about entries from `position` on: other entries will come there.
    pub(crate) async fn forget_notices_from(&self, position: u64) -> Result<()> {
        let forget = sql("DELETE FROM notices WHERE position >= $1");
        let forget = forget.bind(crate::index::signed(position));
        self.db.execute(forget).await.map_err(|e| self.failed(e))?;
        let looked = self.fact(LOOKED).await?.and_then(|size| size.parse().ok());
        match looked {
            Some(looked) if position < looked => self.put_fact(LOOKED, &position.to_string()).await,
            _ => Ok(()),
        }
    }
}

fn queued(row: &Row) -> sqlx::Result<Queued> {
    let position: i64 = row.try_get(1)?;
    let state: String = row.try_get(7)?;
    let ended: i64 = row.try_get(11)?;
    Ok(Queued {
        notice: Notice {
            key: row.try_get(0)?,
            position: u64::try_from(position).ok(),
            event: row.try_get(2)?,
            service: row.try_get(3)?,
            title: row.try_get(4)?,
            body: row.try_get(5)?,
        },
        channel: row.try_get(6)?,
        state: NoticeState::of(&state),
        tries: row.unsigned(8)?,
        made_at: Timestamp::from_micros(row.try_get(9)?),
        due_at: Timestamp::from_micros(row.try_get(10)?),
        ended_at: (ended != 0).then(|| Timestamp::from_micros(ended)),
        note: row.try_get(12)?,
    })
}
