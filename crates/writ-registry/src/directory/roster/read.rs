//! Reading a list: SCIM, the simple JSON form, or CSV.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{Entry, MAX_BYTES, MAX_EACH, MAX_NAME, MAX_PEOPLE, Roster, RosterError, scim};
use crate::directory::Alias;

/// Reads a list, whatever its form, and checks it as a whole.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(bytes: &[u8]) -> Result<Roster, RosterError> {
    let whole = |problem: String| RosterError::new("the list", problem);
    if bytes.len() > MAX_BYTES {
        return Err(whole(format!("is larger than {MAX_BYTES} bytes")));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| whole(format!("is not UTF-8 at byte {}", error.valid_up_to())))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let entries = match text.as_bytes().first() {
        None => {
            return Err(whole(
                "is empty; an empty list would disable everybody".to_owned(),
            ));
        }
        Some(b'{') => {
            #[derive(Deserialize)]
            struct Shape {
                #[serde(rename = "Resources")]
                resources: Option<serde::de::IgnoredAny>,
            }
            let shape: Shape = serde_json::from_str(text).map_err(json)?;
            match shape.resources {
                Some(_) => scim::entries(text)?,
                None => simple(text)?,
            }
        }
        Some(b'[') => {
            return Err(whole(
                "is a JSON array; write an object with `people`, or a SCIM ListResponse".to_owned(),
            ));
        }
        Some(_) => csv(text)?,
    };
    checked(entries)
}

pub(super) fn json(error: serde_json::Error) -> RosterError {
    let place = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
    RosterError::new(place, problem)
}

/// A list that ends with an error as soon as it is too long.
#[derive(Debug)]
pub(super) struct Bounded<T, const MOST: usize>(pub Vec<T>);

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counting<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Counting<T, MOST> {
            type Value = Bounded<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    if items.len() == MOST {
                        return Err(serde::de::Error::custom(format_args!(
                            "there are more than {MOST} of them"
                        )));
                    }
                    items.push(item);
                }
                Ok(Bounded(items))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Bounded(Vec::new()))
            }
        }
        from.deserialize_any(Counting(PhantomData))
    }
}

/// The simple form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Simple {
    people: Bounded<SimpleEntry, MAX_PEOPLE>,
    #[serde(default)]
    bots: Option<Bounded<SimpleEntry, MAX_PEOPLE>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SimpleEntry {
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    accounts: Option<Bounded<String, MAX_EACH>>,
    #[serde(default)]
    teams: Option<Bounded<String, MAX_EACH>>,
    #[serde(default = "yes")]
    active: bool,
}

const fn yes() -> bool {
    true
}

fn simple(text: &str) -> Result<Vec<Entry>, RosterError> {
    let list: Simple = serde_json::from_str(text).map_err(json)?;
    let people = list.people.0.into_iter().map(|entry| (entry, false));
    let bots = list.bots.unwrap_or(Bounded(Vec::new())).0.into_iter();
    let mut counts = [0, 0];
    people
        .chain(bots.map(|entry| (entry, true)))
        .map(|(entry, machine)| {
            let what = if machine { "bots" } else { "people" };
            let count = &mut counts[usize::from(machine)];
            let place = format!("{what}[{count}]");
            *count += 1;
            let accounts = entry.accounts.map(|list| list.0).unwrap_or_default();
            Ok(Entry {
                accounts: aliases(&place, "accounts", &accounts)?,
                teams: entry.teams.map(|list| list.0).unwrap_or_default(),
                name: entry.name.unwrap_or_else(|| entry.id.clone()),
                key: entry.id,
                machine,
                active: entry.active,
                place,
            })
        })
        .collect()
}

fn aliases(place: &str, field: &str, texts: &[String]) -> Result<Vec<Alias>, RosterError> {
    texts
        .iter()
        .enumerate()
        .map(|(at, text)| {
            Alias::parse(text)
                .map_err(|problem| RosterError::new(format!("{place}.{field}[{at}]"), problem))
        })
        .collect()
}

/// `id,name,accounts,teams,active,bot`; several accounts or teams are separated by `;`.
fn csv(text: &str) -> Result<Vec<Entry>, RosterError> {
    let mut rows = rows(text)?.into_iter();
    let (_, head) = rows.next().unwrap_or_default();
    let head: Vec<String> = head
        .iter()
        .map(|cell| cell.trim().to_ascii_lowercase())
        .collect();
    const KNOWN: [&str; 6] = ["id", "name", "accounts", "teams", "active", "bot"];
    let strange = head.iter().find(|name| !KNOWN.contains(&name.as_str()));
    if strange.is_some() || !head.iter().any(|name| name == "id") {
        return Err(RosterError::new(
            "line 1",
            "a CSV list begins with the names of its columns: id,name,accounts,teams,active,bot",
        ));
    }
    rows.map(|(line, cells)| {
        let place = format!("line {line}");
        if cells.len() != head.len() {
            return Err(RosterError::new(
                place,
                format!(
                    "has {} cells, the first line has {}",
                    cells.len(),
                    head.len()
                ),
            ));
        }
        let cell = |name: &str| {
            let at = head.iter().position(|known| known == name)?;
            cells
                .get(at)
                .map(|cell| cell.trim())
                .filter(|cell| !cell.is_empty())
        };
        let list = |name: &str| -> Vec<String> {
            let parts = cell(name).unwrap_or_default().split(';').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let truth = |name: &str, otherwise: bool| match cell(name)
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None => Ok(otherwise),
            Some("true" | "yes" | "1") => Ok(true),
            Some("false" | "no" | "0") => Ok(false),
            Some(_) => Err(RosterError::new(
                place.clone(),
                format!("`{name}` is true or false"),
            )),
        };
        let key = cell("id").unwrap_or_default().to_owned();
        Ok(Entry {
            name: cell("name").unwrap_or(&key).to_owned(),
            machine: truth("bot", false)?,
            active: truth("active", true)?,
            accounts: aliases(&place, "accounts", &list("accounts"))?,
            teams: list("teams"),
            key,
            place,
        })
    })
    .collect()
}

/// Lines of cells after RFC 4180, each with the number of its first line.
fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, RosterError> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut first, mut quoted) = (1, 1, false);
    let mut signs = text.chars().peekable();
    let mut end = |row: &mut Vec<String>, cell: &mut String, first: usize| {
        row.push(std::mem::take(cell));
        let row = std::mem::take(row);
        if row.iter().any(|cell| !cell.trim().is_empty()) {
            rows.push((first, row));
        }
        rows.len() <= MAX_PEOPLE + 1
    };
    while let Some(sign) = signs.next() {
        if sign == '\n' {
            line += 1;
        }
        match (sign, quoted) {
            ('"', true) if signs.peek() == Some(&'"') => {
                signs.next();
                cell.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if cell.trim().is_empty() => {
                cell.clear();
                quoted = true;
            }
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {}
            ('\n', false) => {
                if !end(&mut row, &mut cell, first) {
                    return Err(RosterError::new(
                        format!("line {line}"),
                        format!("there are more than {MAX_PEOPLE} of them"),
                    ));
                }
                first = line;
            }
            (sign, _) => cell.push(sign),
        }
    }
    if quoted {
        return Err(RosterError::new(
            format!("line {first}"),
            "a quote is not closed",
        ));
    }
    end(&mut row, &mut cell, first);
    Ok(rows)
}

/// What must hold of the whole: keys and accounts belong to one each.
fn checked(mut entries: Vec<Entry>) -> Result<Roster, RosterError> {
    if entries.len() > MAX_PEOPLE {
        return Err(RosterError::new(
            "the list",
            format!("has more than {MAX_PEOPLE} people and machines"),
        ));
    }
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let mut owners: BTreeMap<Alias, String> = BTreeMap::new();
    for entry in &mut entries {
        plain(&entry.place, "the id", &entry.key)?;
        plain(&entry.place, "the name", &entry.name)?;
        if let Some(other) = keys.insert(entry.key.clone(), entry.place.clone()) {
            return Err(RosterError::new(
                &entry.place,
                format!("has the same id as {other}"),
            ));
        }
        entry.accounts.sort();
        entry.accounts.dedup();
        entry.teams.sort();
        entry.teams.dedup();
        for (what, count) in [
            ("accounts", entry.accounts.len()),
            ("teams", entry.teams.len()),
        ] {
            if count > MAX_EACH {
                return Err(RosterError::new(
                    &entry.place,
                    format!("has more than {MAX_EACH} {what}"),
                ));
            }
        }
        for team in &entry.teams {
            plain(&entry.place, "a team's name", team)?;
        }
        for account in &entry.accounts {
            if let Some(other) = owners.insert(account.clone(), entry.place.clone()) {
                return Err(RosterError::new(
                    &entry.place,
                    format!(
                        "claims the account {account}, and so does {other}; it can be one person's only"
                    ),
                ));
            }
        }
    }
    Ok(Roster { entries })
}

/// A name that can stand on a screen as it is.
fn plain(place: &str, what: &str, text: &str) -> Result<(), RosterError> {
    let turns = |sign: char| matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fits = !text.trim().is_empty()
        && text.trim() == text
        && text.len() <= MAX_NAME
        && !text.chars().any(|sign| sign.is_control() || turns(sign));
    match fits {
        true => Ok(()),
        false => Err(RosterError::new(
            place,
            format!(
                "{what} must have 1 to {MAX_NAME} bytes, without control characters and outer spaces"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_simple_forms_say_the_same() {
        let json = r#"{"people": [
            {"id": "u-1", "name": "Ada \"L\", Countess", "accounts": ["ADA@example.org", "gitlab:ada"], "teams": ["security"]},
            {"id": "u-2", "name": "u-2", "active": false}],
            "bots": [{"id": "renovate", "accounts": ["gitlab:renovate"]}]}"#;
        let csv = "id,name,accounts,teams,active,bot\r\n\
            u-1,\"Ada \"\"L\"\", Countess\",gitlab:ada; mail:ada@example.org,security,,\n\n\
            u-2,,,,false,\nrenovate,,gitlab:renovate,,,yes\n";
        let mut from_json = parse(json.as_bytes()).unwrap();
        let mut from_csv = parse(csv.as_bytes()).unwrap();
        assert_eq!(from_csv.entries[1].place, "line 4");
        assert_eq!(from_json.entries[2].place, "bots[0]");
        for entry in from_json.entries.iter_mut().chain(&mut from_csv.entries) {
            entry.place.clear();
        }
        assert_eq!(from_json, from_csv);
        assert!(from_json.entries[2].machine && !from_json.entries[1].active);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, says) in [
            ("", "the list: is empty"),
            ("[]", "the list: is a JSON array"),
            ("{", "line 1, column 1: EOF"),
            (
                r#"{"people": 3}"#,
                "line 1, column 12: invalid type: integer",
            ),
            (
                r#"{"people": [{"id": "a", "nam": "b"}]}"#,
                "unknown field `nam`",
            ),
            (r#"{"people": [{"id": ""}]}"#, "people[0]: the id must have"),
            (
                r#"{"people": [{"id": "a", "name": "x\u202ey"}]}"#,
                "people[0]: the name must have",
            ),
            (
                r#"{"people": [{"id": "a"}, {"id": "a"}]}"#,
                "people[1]: has the same id as people[0]",
            ),
            (
                r#"{"people": [{"id": "a", "accounts": ["a@x.org"]}, {"id": "b", "accounts": ["mail:A@X.org"]}]}"#,
                "people[1]: claims the account mail:a@x.org, and so does people[0]",
            ),
            (
                r#"{"people": [{"id": "a", "accounts": ["a@x.org", "\u0430b@x.org"]}]}"#,
                "people[0].accounts[1]: the account",
            ),
            ("name\nada\n", "line 1: a CSV list begins"),
            ("id,name\nu-1\n", "line 2: has 1 cells"),
            ("id,name\nu-1,\"x\n", "line 2: a quote is not closed"),
            (
                "id,active\nu-1,maybe\n",
                "line 2: `active` is true or false",
            ),
        ] {
            assert!(wrong(text).contains(says), "{text:?}: {}", wrong(text));
        }
    }

    #[test]
    fn long_and_deep_lists_end_early() {
        let many = format!(
            "{{\"people\": [{}]}}",
            vec![r#"{"id":"a"}"#; MAX_PEOPLE + 1].join(",")
        );
        assert!(
            wrong(&many).contains("more than 100000"),
            "{}",
            wrong(&many)
        );
        let many = format!("id\n{}", "a\n".repeat(1_000_000));
        assert!(
            wrong(&many).contains("more than 100000"),
            "{}",
            wrong(&many)
        );
        let deep = format!("{{\"people\": {}", "[".repeat(100_000));
        assert!(wrong(&deep).contains("EOF"), "{}", wrong(&deep));
        let each = vec!["\"x\""; MAX_EACH + 1].join(",");
        let each = format!("{{\"people\": [{{\"id\": \"a\", \"teams\": [{each}]}}]}}");
        assert!(wrong(&each).contains("more than 200"), "{}", wrong(&each));
    }
}
