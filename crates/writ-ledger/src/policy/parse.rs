//! Reading the lines of a policy.

use std::collections::HashMap;

use super::{
    Group, MAX_DEFINITIONS, MAX_POLICY_BYTES, Member, Policy, PolicyError, PolicyLog, PolicyWitness,
};
use crate::note::{KeyKind, NoteVerifier};

/// What a name stands for, and whether a group has it already.
struct Named {
    member: Member,
    taken: bool,
}

#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    names: HashMap<Vec<u8>, Named>,
}

pub(super) fn policy(bytes: &[u8]) -> Result<Policy, PolicyError> {
    let at = |line: usize| move |problem: String| PolicyError { line, problem };
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(at(1)(format!("it is longer than {MAX_POLICY_BYTES} bytes")));
    }
    let mut reader = Reader::default();
    let mut last = 0;
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        last = number + 1;
        reader.line(line).map_err(at(last))?;
    }
    let quorum = reader.quorum.ok_or_else(|| {
        at(last)("no `quorum` line; `quorum none` says that no witness is required".to_owned())
    })?;
    Ok(Policy {
        logs: reader.logs,
        witnesses: reader.witnesses,
        groups: reader.groups,
        quorum,
    })
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(byte) = line
            .iter()
            .find(|b| (**b < 0x20 && **b != b'\t') || **b == 0x7f)
        {
            return Err(format!("the control character 0x{byte:02x} is not allowed"));
        }
        let mut words = line
            .split(|b| *b == b' ' || *b == b'\t')
            .filter(|word| !word.is_empty());
        let Some(kind) = words.next().filter(|word| word[0] != b'#') else {
            return Ok(());
        };
        let words: Vec<&[u8]> = words.collect();
        match kind {
            b"log" => self.log(&words),
            b"witness" => self.witness(&words),
            b"group" => self.group(&words),
            b"quorum" => self.set_quorum(&words),
            other => Err(format!(
                "`{}` is not `log`, `witness`, `group` or `quorum`",
                shown(other)
            )),
        }
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let (vkey, url) = match words {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(shown(url))),
            _ => return Err("expected `log <vkey> [<url>]`".to_owned()),
        };
        let key = parse_key(vkey, KeyKind::Ed25519, "a log signs with type 0x01")?;
        let mut known = self.logs.iter().map(|log| &log.key);
        if known.any(|other| other.public_key() == key.public_key()) {
            return Err(format!("the key of log `{}` is there twice", key.name()));
        }
        room(self.logs.len())?;
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let (name, vkey, url) = match words {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(shown(url))),
            _ => return Err("expected `witness <name> <vkey> [<url>]`".to_owned()),
        };
        let key = parse_key(
            vkey,
            KeyKind::Cosignature,
            "a witness cosigns with type 0x04",
        )?;
        let mut known = self.witnesses.iter();
        if let Some(other) = known.find(|w| w.key.public_key() == key.public_key()) {
            return Err(format!(
                "witness `{}` has the same key as `{}`: one witness would count twice",
                shown(name),
                other.name
            ));
        }
        room(self.witnesses.len())?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness {
            name: shown(name),
            key,
            url,
        });
        Ok(())
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let [name, threshold, names @ ..] = words else {
            return Err("expected `group <name> all|any|<k> <name>...`".to_owned());
        };
        if names.is_empty() {
            return Err(format!("group `{}` has no members", shown(name)));
        }
        let threshold = match *threshold {
            b"all" => names.len(),
            b"any" => 1,
            digits => decimal(digits)
                .filter(|k| (1..=names.len()).contains(k))
                .ok_or_else(|| {
                    format!(
                        "`{}` is not `all`, `any` or a number from 1 to {}",
                        shown(digits),
                        names.len()
                    )
                })?,
        };
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let named = self
                .names
                .get_mut(*member)
                .ok_or_else(|| format!("`{}` is not defined on a line before", shown(member)))?;
            if named.taken {
                return Err(format!(
                    "`{}` is a member of a group already: it would count twice",
                    shown(member)
                ));
            }
            named.taken = true;
            members.push(named.member);
        }
        room(self.groups.len())?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group {
            name: shown(name),
            threshold,
            members,
        });
        Ok(())
    }

    fn set_quorum(&mut self, words: &[&[u8]]) -> Result<(), String> {
        let [name] = words else {
            return Err("expected `quorum <name>` or `quorum none`".to_owned());
        };
        if self.quorum.is_some() {
            return Err("there is a `quorum` line already".to_owned());
        }
        self.quorum = Some(match *name {
            b"none" => None,
            name => Some(
                self.names
                    .get(name)
                    .ok_or_else(|| format!("`{}` is not defined on a line before", shown(name)))?
                    .member,
            ),
        });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), String> {
        if name == b"none" {
            return Err("`none` cannot be defined: `quorum none` has its own meaning".to_owned());
        }
        let named = Named {
            member,
            taken: false,
        };
        match self.names.insert(name.to_vec(), named) {
            None => Ok(()),
            Some(_) => Err(format!("`{}` is defined already", shown(name))),
        }
    }
}

fn room(defined: usize) -> Result<(), String> {
    if defined < MAX_DEFINITIONS {
        return Ok(());
    }
    Err(format!("more than {MAX_DEFINITIONS} of a kind"))
}

fn parse_key(vkey: &[u8], kind: KeyKind, expected: &str) -> Result<NoteVerifier, String> {
    let text = std::str::from_utf8(vkey).map_err(|_| "the vkey is not UTF-8".to_owned())?;
    let key = NoteVerifier::parse(text).map_err(|e| e.to_string())?;
    if key.kind() == kind {
        Ok(key)
    } else {
        Err(format!(
            "the key `{}` is of another type: {expected}",
            key.name()
        ))
    }
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
