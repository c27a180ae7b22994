//! A list of changes as bytes: lines of canonical JSON, in one order, each once.

use std::collections::BTreeSet;

use writ_evidence::canonical;

use super::{BindingChange, MAX_CHANGES, MAX_TEAM};
use crate::directory::refused;
use crate::error::{RegistryError, Result};

/// Media type of a list in the locker.
pub(super) const MEDIA_TYPE: &str = "application/vnd.writ.bindings+jsonl";

/// Longest list that is read back, in bytes.
pub(super) const MAX_LIST: u64 = 64 << 20;

/// Changes that stand in the entry itself: every gate reads it.
pub(super) const INLINE: usize = 16;

/// The changes as they are recorded: in order, each once.
pub(super) fn checked(changes: Vec<BindingChange>) -> Result<Vec<BindingChange>> {
    let mut accounts = BTreeSet::new();
    let mut sorted: Vec<BindingChange> = changes;
    sorted.sort();
    sorted.dedup();
    if sorted.is_empty() {
        return Err(refused("there is nothing to change"));
    }
    if sorted.len() > MAX_CHANGES {
        return Err(refused(format!(
            "one proposal has at most {MAX_CHANGES} changes; split it"
        )));
    }
    for change in &sorted {
        match change {
            BindingChange::Account { account, owner } => {
                if !accounts.insert(account) {
                    return Err(refused(format!(
                        "the account {account} would get two owners"
                    )));
                }
                let ids = [Some(account), owner.as_ref().map(|owner| &owner.id)];
                if let Some(bad) = ids.into_iter().flatten().find(|id| !is_pseudonym(&id.0)) {
                    return Err(refused(format!("'{}' is not a pseudonym", safe(&bad.0))));
                }
            }
            BindingChange::Profile {
                service,
                environment,
                profile,
                ..
            } => {
                let names = [Some(service), environment.as_ref(), Some(profile)];
                let plain = |name: &String| {
                    (1..=200).contains(&name.len()) && !name.chars().any(char::is_control)
                };
                if !names.into_iter().flatten().all(plain) {
                    return Err(refused(
                        "a service, an environment and a profile have names of 1 to 200 bytes",
                    ));
                }
                if sorted.len() > 1 {
                    return Err(refused("which profile binds is a proposal of its own"));
                }
            }
            BindingChange::Team { person, team, .. } => {
                if !is_pseudonym(&person.0) {
                    return Err(refused(format!("'{}' is not a pseudonym", safe(&person.0))));
                }
                team_name(team)?;
            }
        }
    }
    Ok(sorted)
}

/// A team's name, as controls may name it.
fn team_name(team: &str) -> Result<()> {
    let plain = !team.is_empty()
        && team.len() <= MAX_TEAM
        && team.trim() == team
        && !team.chars().any(char::is_control);
    match plain {
        true => Ok(()),
        false => Err(refused(format!(
            "a team's name has 1 to {MAX_TEAM} bytes and no control characters or outer spaces"
        ))),
    }
}

fn is_pseudonym(text: &str) -> bool {
    text.strip_prefix("p_").is_some_and(|digits| {
        (8..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn safe(text: &str) -> String {
    text.chars()
        .filter(|sign| !sign.is_control())
        .take(80)
        .collect()
}

/// As lines.
pub(super) fn to_bytes(changes: &[BindingChange]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for change in changes {
        let line = canonical::to_vec(change).map_err(|e| RegistryError::refused(0, e))?;
        bytes.extend(line);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// From lines.
pub(super) fn from_bytes(bytes: &[u8]) -> std::result::Result<Vec<BindingChange>, String> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .take(MAX_CHANGES + 1)
        .enumerate()
        .map(|(at, line)| serde_json::from_slice(line).map_err(|e| format!("line {}: {e}", at + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::identity::Owner;
    use writ_model::PrincipalId;

    fn id(text: &str) -> PrincipalId {
        PrincipalId(text.to_owned())
    }

    fn account(account: &str, owner: Option<&str>) -> BindingChange {
        BindingChange::Account {
            account: id(account),
            owner: owner.map(|owner| Owner {
                id: id(owner),
                machine: false,
            }),
        }
    }

    #[test]
    fn lists_come_back_in_one_order() {
        let team = BindingChange::Team {
            person: id("p_11111111"),
            team: "security".to_owned(),
            member: true,
        };
        let given = vec![
            team.clone(),
            account("p_bbbbbbbb", None),
            account("p_aaaaaaaa", Some("p_11111111")),
            team,
        ];
        let sorted = checked(given.clone()).unwrap();
        assert_eq!(sorted.len(), 3);
        let mut other = given;
        other.reverse();
        assert_eq!(sorted, checked(other).unwrap());
        let bytes = to_bytes(&sorted).unwrap();
        assert_eq!(from_bytes(&bytes).unwrap(), sorted);
        assert!(from_bytes(b"{}\n").unwrap_err().starts_with("line 1"));
    }

    #[test]
    fn what_cannot_be_bound() {
        for bad in [
            vec![],
            vec![account("ada@example.org", None)],
            vec![account("p_aaaaaaaa", Some("ada"))],
            vec![
                account("p_aaaaaaaa", Some("p_11111111")),
                account("p_aaaaaaaa", Some("p_22222222")),
            ],
            vec![BindingChange::Team {
                person: id("p_11111111"),
                team: " x".to_owned(),
                member: true,
            }],
        ] {
            assert!(checked(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
