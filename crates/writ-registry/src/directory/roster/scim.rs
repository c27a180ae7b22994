//! SCIM 2.0 (RFC 7643, RFC 7644): a ListResponse of Users and Groups.
//!
//! Users have their mail addresses (`emails`) and their `userName` as accounts: as a mail address
//! where it is one, else as the name of an account of this server. Other accounts stand in an
//! extension of Writ: `"urn:writ:scim:User": {"accounts": ["gitlab:ada"], "bot": false}`. Groups are
//! teams, by `displayName`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::read::{Bounded, json};
use super::{Entry, MAX_EACH, MAX_PEOPLE, RosterError};
use crate::directory::{Alias, AliasKind};

/// Users and groups of one list.
const MAX_RESOURCES: usize = 2 * MAX_PEOPLE;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    schemas: Option<Bounded<String, 16>>,
    #[serde(rename = "totalResults", default)]
    total: Option<u64>,
    #[serde(rename = "Resources")]
    resources: Bounded<Resource, MAX_RESOURCES>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(default)]
    schemas: Option<Bounded<String, 16>>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    user_name: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    name: Option<Name>,
    #[serde(default)]
    emails: Option<Bounded<Email, MAX_EACH>>,
    #[serde(default)]
    active: Option<bool>,
    #[serde(default)]
    members: Option<Bounded<Member, MAX_PEOPLE>>,
    #[serde(rename = "urn:writ:scim:User", default)]
    more: Option<More>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    #[serde(default)]
    formatted: Option<String>,
    #[serde(default)]
    given_name: Option<String>,
    #[serde(default)]
    family_name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    value: String,
}

#[derive(Deserialize)]
struct Member {
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    #[serde(default)]
    accounts: Option<Bounded<String, MAX_EACH>>,
    #[serde(default)]
    bot: bool,
}

/// The people and machines of a list.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, RosterError> {
    let list: List = serde_json::from_str(text).map_err(json)?;
    let schemas = list.schemas.map(|list| list.0).unwrap_or_default();
    if !schemas
        .iter()
        .any(|schema| schema.ends_with(":ListResponse"))
    {
        return Err(RosterError::new(
            "schemas",
            "must name urn:ietf:params:scim:api:messages:2.0:ListResponse",
        ));
    }
    let resources = list.resources.0;
    let count = resources.len() as u64;
    if let Some(total) = list.total
        && total != count
    {
        return Err(RosterError::new(
            "totalResults",
            format!(
                "says {total}, but the list has {count}; fetch all pages into one list, because who is not listed is disabled"
            ),
        ));
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups = Vec::new();
    for (at, resource) in resources.into_iter().enumerate() {
        let place = format!("Resources[{at}]");
        let schemas = resource.schemas.as_ref().map_or(&[][..], |list| &list.0);
        let is = |kind: &str| schemas.iter().any(|schema| schema.ends_with(kind));
        match (is(":User"), is(":Group")) {
            (true, false) => {
                let entry = user(place, resource)?;
                if let Some(other) = known.insert(entry.key.clone(), entries.len()) {
                    return Err(RosterError::new(
                        &entry.place,
                        format!("has the same id as {}", entries[other].place),
                    ));
                }
                entries.push(entry);
            }
            (false, true) => groups.push((place, resource)),
            _ => {
                return Err(RosterError::new(
                    place,
                    "is neither a User nor a Group by its `schemas`",
                ));
            }
        }
    }
    for (place, group) in groups {
        let team = group.display_name.unwrap_or_default();
        for (at, member) in group.members.unwrap_or_default().0.iter().enumerate() {
            let Some(entry) = known.get(&member.value).and_then(|at| entries.get_mut(*at)) else {
                return Err(RosterError::new(
                    format!("{place}.members[{at}]"),
                    "is no User of this list; groups within groups are not followed",
                ));
            };
            entry.teams.push(team.clone());
        }
    }
    Ok(entries)
}

fn user(place: String, user: Resource) -> Result<Entry, RosterError> {
    let within = |field: String| {
        let place = format!("{place}.{field}");
        move |problem: String| RosterError::new(place, problem)
    };
    let mut accounts = Vec::new();
    if let Some(name) = &user.user_name {
        let kind = match name.contains('@') {
            true => AliasKind::Mail,
            false => AliasKind::Local,
        };
        let name = match kind {
            AliasKind::Local => name.to_ascii_lowercase(),
            _ => name.clone(),
        };
        accounts.push(Alias::new(kind, &name).map_err(within("userName".to_owned()))?);
    }
    for (at, email) in user.emails.unwrap_or_default().0.iter().enumerate() {
        let alias = Alias::new(AliasKind::Mail, &email.value);
        accounts.push(alias.map_err(within(format!("emails[{at}]")))?);
    }
    let (more, machine) = match user.more {
        Some(more) => (more.accounts.unwrap_or_default().0, more.bot),
        None => (Vec::new(), false),
    };
    for (at, text) in more.iter().enumerate() {
        let alias = Alias::parse(text);
        accounts.push(alias.map_err(within(format!("urn:writ:scim:User.accounts[{at}]")))?);
    }
    let name = user.display_name.or_else(|| {
        let name = user.name?;
        name.formatted.or_else(|| {
            let parts: Vec<String> = [name.given_name, name.family_name]
                .into_iter()
                .flatten()
                .collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        })
    });
    let key = user.id.unwrap_or_default();
    Ok(Entry {
        name: name.or(user.user_name).unwrap_or_else(|| key.clone()),
        key,
        machine,
        active: user.active.unwrap_or(true),
        accounts,
        teams: Vec::new(),
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const LIST: &str = r#"{
      "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
      "totalResults": 4, "startIndex": 1, "itemsPerPage": 4,
      "Resources": [
        {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:writ:scim:User"], "id": "2819c223",
         "externalId": "hr-1", "userName": "Ada", "name": {"formatted": "Ada Lovelace"}, "active": true,
         "emails": [{"value": "Ada@Example.org", "type": "work", "primary": true}],
         "urn:writ:scim:User": {"accounts": ["gitlab:ada"]}, "meta": {"resourceType": "User"}},
        {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "c75ad752",
         "userName": "bob@example.org", "name": {"givenName": "Bob", "familyName": "Ops"}, "active": false},
        {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:writ:scim:User"], "id": "b0",
         "userName": "renovate", "urn:writ:scim:User": {"bot": true}},
        {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "g1", "displayName": "security",
         "members": [{"value": "2819c223", "$ref": "../Users/2819c223", "type": "User"}]}
      ]}"#;

    #[test]
    fn users_and_groups() {
        let roster = parse(LIST.as_bytes()).unwrap();
        let said: Vec<String> = roster
            .entries
            .iter()
            .map(|entry| {
                let accounts: Vec<String> =
                    entry.accounts.iter().map(ToString::to_string).collect();
                format!(
                    "{} {} {} {} [{}] [{}]",
                    entry.key,
                    entry.name,
                    entry.machine,
                    entry.active,
                    accounts.join(" "),
                    entry.teams.join(" ")
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "2819c223 Ada Lovelace false true [mail:ada@example.org local:ada gitlab:ada] [security]",
                "c75ad752 Bob Ops false false [mail:bob@example.org] []",
                "b0 renovate true true [local:renovate] []",
            ]
        );
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (from, to, says) in [
            (
                "\"totalResults\": 4",
                "\"totalResults\": 40",
                "totalResults: says 40, but the list has 4",
            ),
            (
                "messages:2.0:ListResponse",
                "messages:2.0:Error",
                "schemas: must name",
            ),
            (
                "core:2.0:Group",
                "core:2.0:Thing",
                "Resources[3]: is neither",
            ),
            (
                "\"value\": \"2819c223\"",
                "\"value\": \"g1\"",
                "Resources[3].members[0]: is no User",
            ),
            (
                "\"c75ad752\"",
                "\"2819c223\"",
                "Resources[1]: has the same id as Resources[0]",
            ),
            (
                "bob@example.org",
                "ada@example.org",
                "Resources[1]: claims the account mail:ada@example.org, and so does Resources[0]",
            ),
            (
                "Ada@Example.org",
                "ada",
                "Resources[0].emails[0]: the account 'ada' is not a mail address",
            ),
            (
                "gitlab:ada",
                "forge:ada",
                "Resources[0].urn:writ:scim:User.accounts[0]: there is no kind",
            ),
            ("\"b0\"", "\"\"", "Resources[2]: the id must have"),
        ] {
            assert!(LIST.contains(from), "{from}");
            let error = parse(LIST.replacen(from, to, 1).as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
