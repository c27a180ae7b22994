//! Which logs and witnesses are believed, and how many witnesses must have
//! cosigned, as in [C2SP tlog-policy](https://c2sp.org/tlog-policy).
//!
//! In scope: the file format, and counting the cosignatures of a checkpoint.
//! Out of scope: ML-DSA-44 witness keys (type `0x06`), which are refused with
//! their line, because a witness that cannot be counted must not look counted.

mod parse;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::keys::LogKeys;
use crate::note::{NoteError, NoteVerifier};

/// Longest policy file that is read, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 << 10;

/// Most logs, witnesses and groups each; the format asks for at least 32.
pub const MAX_DEFINITIONS: usize = 256;

/// A line of a policy that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the policy: {problem}")]
pub struct PolicyError {
    /// Line number, from 1; one after the last where something is missing.
    pub line: usize,
    /// What is wrong with it, and what belongs there.
    pub problem: String,
}

/// A log that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub key: NoteVerifier,
    /// Where it can be read, if the policy says so.
    pub url: Option<String>,
}

/// A witness that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within the policy.
    pub name: String,
    /// Its key, of cosigning type.
    pub key: NoteVerifier,
    /// Its submission prefix, if the policy says so.
    pub url: Option<String>,
}

/// Something that can witness a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// A policy that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// Name of the group that holds the witnesses outside the administration of whoever operates the
/// log. The format gives group names no meaning; this one has it for Writ.
pub const INDEPENDENT: &str = "independent";

/// One cosignature that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness's name within the policy.
    pub witness: String,
    /// When it cosigned, in seconds since 1970; its latest where there are several.
    pub time: u64,
    /// Whether the policy lists it in the group [`INDEPENDENT`].
    pub independent: bool,
}

/// How a checkpoint stands to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// Witnesses of the policy that cosigned, in the policy's order.
    pub cosigned: Vec<Cosigned>,
    /// The fewest cosignatures with which the quorum can be reached.
    pub required: usize,
    /// The fewest further cosignatures with which it would be reached now.
    pub missing: usize,
}

impl Quorum {
    /// Whether the policy's quorum has cosigned.
    pub fn is_reached(&self) -> bool {
        self.missing == 0
    }

    /// How many of the required cosignatures are there: `counted of required`.
    /// Cosignatures beyond what the quorum can use do not count.
    pub fn counted(&self) -> usize {
        self.required - self.missing
    }
}

impl std::fmt::Display for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (counted, required) = (self.counted(), self.required);
        if required == 0 {
            return write!(f, "no cosignatures required");
        }
        write!(f, "{counted} of {required} required cosignatures")
    }
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first line that is not as the format demands.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::policy(bytes)
    }

    /// The logs that are believed.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses that are known.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The names of the witnesses in a group, and in the groups within it; none where no group has
    /// that name.
    pub fn witnesses_in(&self, group: &str) -> Vec<&str> {
        let Some(found) = self.groups.iter().find(|g| g.name == group) else {
            return Vec::new();
        };
        let mut names = Vec::new();
        let mut open: Vec<Member> = found.members.clone();
        // A group's members were defined before it, so this ends.
        while let Some(member) = open.pop() {
            match member {
                Member::Witness(at) => names.push(self.witnesses[at].name.as_str()),
                Member::Group(at) => open.extend(&self.groups[at].members),
            }
        }
        names.sort_unstable();
        names
    }

    /// Whether any cosignature is required at all.
    pub fn requires_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// The listed keys of the log `origin`.
    pub fn log_keys(&self, origin: &str) -> LogKeys {
        let keys = self.logs.iter().map(|log| &log.key);
        LogKeys::new(keys.filter(|key| key.name() == origin).cloned())
    }

    /// Counts the cosignatures of a checkpoint. The log's own signature is not
    /// looked at: see [`Policy::verify`].
    ///
    /// # Errors
    /// A line of a known witness that does not fit: the checkpoint was changed.
    pub fn count(&self, signed: &SignedCheckpoint) -> Result<Quorum, NoteError> {
        let keys: Vec<&NoteVerifier> = self.witnesses.iter().map(|w| &w.key).collect();
        let mut times: Vec<Option<u64>> = vec![None; keys.len()];
        for line in signed.cosignatures(&keys)? {
            let at = keys
                .iter()
                .position(|key| key.id() == line.id && key.name() == line.name);
            if let (Some(at), Some(time)) = (at, line.time) {
                times[at] = Some(times[at].map_or(time, |known| known.max(time)));
            }
        }
        let independent = self.witnesses_in(INDEPENDENT);
        let cosigned = self.witnesses.iter().zip(&times);
        let cosigned = cosigned.filter_map(|(witness, time)| {
            Some(Cosigned {
                witness: witness.name.clone(),
                time: (*time)?,
                independent: independent.contains(&witness.name.as_str()),
            })
        });
        let nobody = vec![None; keys.len()];
        Ok(Quorum {
            cosigned: cosigned.collect(),
            required: self.needed(&nobody),
            missing: self.needed(&times),
        })
    }

    /// Checks that a listed log signed `signed`, and counts its cosignatures.
    ///
    /// # Errors
    /// No listed log signed, or a line of a known key does not fit.
    pub fn verify<'s>(
        &self,
        signed: &'s SignedCheckpoint,
    ) -> Result<(&'s Checkpoint, Quorum), NoteError> {
        let keys = self.log_keys(&signed.unverified().origin);
        let checkpoint = signed.verify_any(&keys)?;
        Ok((checkpoint, self.count(signed)?))
    }

    /// The fewest cosignatures that are still needed.
    fn needed(&self, cosigned: &[Option<u64>]) -> usize {
        // A group's members were defined before it, so each is known when asked for.
        let mut groups: Vec<usize> = Vec::with_capacity(self.groups.len());
        let need = |member: &Member, groups: &[usize]| match *member {
            Member::Witness(at) => usize::from(cosigned[at].is_none()),
            Member::Group(at) => groups[at],
        };
        for group in &self.groups {
            let mut needs: Vec<usize> = group.members.iter().map(|m| need(m, &groups)).collect();
            needs.sort_unstable();
            groups.push(needs.iter().take(group.threshold).sum());
        }
        self.quorum
            .as_ref()
            .map_or(0, |quorum| need(quorum, &groups))
    }
}

#[cfg(test)]
mod tests;
