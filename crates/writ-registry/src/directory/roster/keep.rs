//! Names of people and accounts in the ops schema.

use writ_model::{PrincipalId, Timestamp};

use super::{NamedAlias, Person, Plan};
use crate::db::{Row, Value, sql};
use crate::directory::AliasKind;
use crate::error::Result;
use crate::ops::Ops;
use crate::store::Store;

impl Store {
    /// Everybody whom the directory knows, by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn persons(&self) -> Result<Vec<Person>> {
        match &self.ops {
            Some(ops) => ops.persons().await,
            None => Ok(Vec::new()),
        }
    }

    /// Every account that the directory knows by name.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn named_aliases(&self) -> Result<Vec<NamedAlias>> {
        match &self.ops {
            Some(ops) => ops.aliases().await,
            None => Ok(Vec::new()),
        }
    }

    /// The person or machine with this key or pseudonym.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn person(&self, which: &str) -> Result<Option<Person>> {
        let found = self.persons().await?.into_iter();
        let mut found = found.filter(|person| person.key == which || person.id.0 == which);
        Ok(found.next())
    }
}

impl Ops {
    pub(super) async fn persons(&self) -> Result<Vec<Person>> {
        let find = sql(
            "SELECT id, key, name, machine, listed, added_at, disabled_at FROM persons ORDER BY name, id",
        );
        let person = |row: &Row| {
            let disabled: i64 = row.try_get(6)?;
            Ok(Person {
                id: PrincipalId(row.try_get(0)?),
                key: row.try_get(1)?,
                name: row.try_get(2)?,
                machine: row.try_get::<i64>(3)? != 0,
                listed: row.try_get::<i64>(4)? != 0,
                added_at: Timestamp::from_micros(row.try_get(5)?),
                disabled_at: (disabled != 0).then(|| Timestamp::from_micros(disabled)),
            })
        };
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| rows.iter().map(person).collect())
            .map_err(|e| self.failed(e))
    }

    pub(super) async fn aliases(&self) -> Result<Vec<NamedAlias>> {
        let find = sql("SELECT pseudonym, alias, person FROM aliases ORDER BY alias, pseudonym");
        let alias = |row: &Row| {
            Ok(NamedAlias {
                id: PrincipalId(row.try_get(0)?),
                alias: row.try_get(1)?,
                person: PrincipalId(row.try_get(2)?),
            })
        };
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| rows.iter().map(alias).collect())
            .map_err(|e| self.failed(e))
    }

    /// Accounts that may sign in, by pseudonym and name.
    pub(super) async fn enabled_logins(&self) -> Result<Vec<(PrincipalId, String)>> {
        let find =
            sql("SELECT pseudonym, login FROM accounts WHERE disabled_at = 0 ORDER BY login");
        let rows = self.db.fetch_all(find).await;
        rows.and_then(|rows| {
            rows.iter()
                .map(|row| Ok((PrincipalId(row.try_get(0)?), row.try_get(1)?)))
                .collect()
        })
        .map_err(|e| self.failed(e))
    }

    /// Keeps what a plan says of names, and ends what it ends: all or nothing.
    pub(super) async fn keep_roster(&self, plan: &Plan, now: Timestamp) -> Result<()> {
        let keep = async {
            let mut transaction = self.db.begin().await?;
            let mut into = transaction.conn();
            let mut persons: Vec<Value<'_>> = Vec::new();
            let mut names: Vec<Value<'_>> = Vec::new();
            for person in &plan.people {
                persons.extend([
                    Value::from(person.id.0.as_str()),
                    person.key.as_str().into(),
                    person.name.as_str().into(),
                    i64::from(person.machine).into(),
                    i64::from(person.listed).into(),
                    person.added_at.micros().into(),
                    person.disabled_at.map_or(0, Timestamp::micros).into(),
                ]);
                let kind = if person.machine { "bot" } else { "person" };
                names.extend(named(&person.id, &person.name, kind, now));
            }
            let mut aliases: Vec<Value<'_>> = Vec::new();
            for alias in &plan.aliases {
                aliases.extend([
                    Value::from(alias.id.0.as_str()),
                    alias.alias.as_str().into(),
                    alias.person.0.as_str().into(),
                ]);
                // An account of this server keeps the name that it signs in with.
                let local = alias.alias.starts_with(AliasKind::Local.word());
                if !local {
                    names.extend(named(&alias.id, &alias.alias, "alias", now));
                }
            }
            let insert = sql(
                "INSERT INTO persons (id, key, name, machine, listed, added_at, disabled_at) VALUES",
            );
            let update = " ON CONFLICT (id) DO UPDATE SET name = excluded.name, listed = excluded.listed, disabled_at = excluded.disabled_at";
            into.insert_rows(insert.bind_all(persons), update, 7)
                .await?;
            let insert = sql("INSERT INTO aliases (pseudonym, alias, person) VALUES");
            let update = " ON CONFLICT (pseudonym) DO UPDATE SET person = excluded.person";
            into.insert_rows(insert.bind_all(aliases), update, 3)
                .await?;
            let insert = sql("INSERT INTO people (pseudonym, name, kind, added_at) VALUES");
            let update = " ON CONFLICT (pseudonym) DO UPDATE SET name = excluded.name";
            into.insert_rows(insert.bind_all(names), update, 4).await?;
            for login in &plan.logins {
                let disable = sql(
                    "UPDATE accounts SET disabled_at = $1 WHERE pseudonym = $2 AND disabled_at = 0",
                );
                into.execute(disable.bind(now.micros()).bind(&login.0))
                    .await?;
                let revoke = sql(
                    "UPDATE sessions SET revoked_at = $1 WHERE pseudonym = $2 AND revoked_at = 0",
                );
                into.execute(revoke.bind(now.micros()).bind(&login.0))
                    .await?;
            }
            transaction.commit().await
        };
        keep.await.map_err(|e| self.failed(e))
    }
}

fn named<'a>(id: &'a PrincipalId, name: &'a str, kind: &'a str, now: Timestamp) -> [Value<'a>; 4] {
    [
        Value::from(id.0.as_str()),
        name.into(),
        kind.into(),
        now.micros().into(),
    ]
}
