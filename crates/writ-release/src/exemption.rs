//! Who may answer a request for an exemption, and what may be asked for at all.
//!
//! The registry keeps the order (who asks may not grant, the first answer counts) and the gate judges
//! what a grant covers. Here stands what a person is told before they try: a grant that the gate
//! would not count is not recorded.

use std::fmt;

use writ_gate::{Bundle, Control, Exempt, Floor, PrincipalFacts};
use writ_model::{Assurance, PrincipalId, Span, Timestamp};
use writ_registry::ExemptionRow;

/// How long the grants of one thing may last together, as a multiple of the control's own limit: who
/// renews for ever has decided not to fix it.
pub const RENEWALS: i64 = 3;

/// Longest reason, in characters.
pub const MAX_REASON: usize = 2_000;

/// Why something cannot be asked for or granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// There is no such control.
    NoControl(String),
    /// The control's owner allows no exemption.
    Never {
        /// Control.
        control: String,
        /// Why, in the words of the control.
        why: String,
    },
    /// It would last too long.
    TooLong {
        /// Control.
        control: String,
        /// At most so many days.
        days: u32,
    },
    /// It ends before it begins.
    Past,
    /// The grants for the same thing already lasted as long as they may together.
    Renewed {
        /// Earlier grants.
        earlier: Vec<String>,
        /// So many days may they last together.
        days: i64,
    },
    /// A machine decides nothing.
    Machine,
    /// Nobody knows whose account it is.
    Unresolved,
    /// They do not hold the role or team that the control names.
    Owner {
        /// Control.
        control: String,
        /// Who decides.
        by: String,
    },
    /// They signed in by something weaker than counts.
    Assurance {
        /// How they signed in.
        had: Assurance,
        /// What counts.
        needed: Assurance,
    },
    /// They asked for it, with this or another account.
    Requester,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoControl(control) => write!(f, "there is no control {control}"),
            Self::Never { control, why } => write!(f, "{control} cannot be exempted: {why}"),
            Self::TooLong { control, days } => {
                write!(f, "{control} can be exempted for at most {days} days")
            }
            Self::Past => f.write_str("it ends before it begins"),
            Self::Renewed { earlier, days } => write!(
                f,
                "{} lasted for {days} days together already, which is the most",
                earlier.join(", ")
            ),
            Self::Machine => f.write_str("a machine does not grant exemptions"),
            Self::Unresolved => f.write_str("the account belongs to nobody known"),
            Self::Owner { control, by } => {
                write!(f, "{control} is exempted by {by}, and by nobody else")
            }
            Self::Assurance { had, needed } => write!(
                f,
                "signed in by {}; {} or better counts here",
                had.word(),
                needed.word()
            ),
            Self::Requester => f.write_str("who asks for an exemption cannot grant it"),
        }
    }
}

/// What somebody asks for, as far as its limits go.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// Service.
    pub service: &'a str,
    /// Controls.
    pub controls: &'a [String],
    /// Public names and fingerprints of findings, together; empty: whole checks.
    pub names: Vec<String>,
    /// When it should end.
    pub expires_at: Timestamp,
}

/// Why this cannot be asked for; `None` when it can. `earlier` are the exemptions of the service.
#[must_use]
pub fn may_ask(
    bundle: &Bundle,
    wish: &Wish<'_>,
    earlier: &[ExemptionRow],
    now: Timestamp,
) -> Option<Objection> {
    if wish.expires_at <= now {
        return Some(Objection::Past);
    }
    for id in wish.controls {
        let Some(control) = bundle.controls.get(id) else {
            return Some(Objection::NoControl(id.clone()));
        };
        let most = match limit(control) {
            Ok((_, days)) => days,
            Err(never) => return Some(never),
        };
        let days = Span::from_secs(i64::from(most) * DAY);
        if wish.expires_at > now.plus(days) {
            return Some(Objection::TooLong {
                control: id.clone(),
                days: most,
            });
        }
        let together = i64::from(most) * RENEWALS;
        let same: Vec<&ExemptionRow> = earlier
            .iter()
            .filter(|row| granted(row) && about_the_same(row, id, &wish.names))
            .collect();
        let lasted: i64 = same
            .iter()
            .map(|row| lasted(row, now))
            .sum::<i64>()
            .saturating_add(wish.expires_at.micros() - now.micros());
        if !same.is_empty() && lasted > together * DAY * 1_000_000 {
            return Some(Objection::Renewed {
                earlier: same.iter().map(|row| row.human()).collect(),
                days: together,
            });
        }
    }
    None
}

/// Who decides about a control, and for how many days at most.
///
/// # Errors
/// It cannot be exempted.
pub fn limit(control: &Control) -> Result<(&str, u32), Objection> {
    match &control.exempt {
        Exempt::By { by, max_days } => Ok((by, *max_days)),
        Exempt::Never(_) => Err(Objection::Never {
            control: control.id.clone(),
            why: control.no_exempt.clone().unwrap_or_default(),
        }),
    }
}

const DAY: i64 = 86_400;

fn granted(row: &ExemptionRow) -> bool {
    row.decided_index.is_some() && row.state.word() != "denied"
}

/// How long a grant lasted or will, in microseconds.
fn lasted(row: &ExemptionRow, now: Timestamp) -> i64 {
    let from = row.grant.as_ref().map_or(now, |grant| grant.recorded_at);
    let until = match row.state.word() {
        // When it was taken back the row does not say: counted until now.
        "revoked" => row.expires_at.unwrap_or(now).min(now),
        _ => row.expires_at.unwrap_or(now),
    };
    (until.micros() - from.micros()).max(0)
}

/// Whether an exemption covers the same control and one of the same findings.
fn about_the_same(row: &ExemptionRow, control: &str, names: &[String]) -> bool {
    let list = |name: &str| -> Vec<&str> {
        let list = row.request.facts.get(name).and_then(|list| list.as_array());
        list.into_iter()
            .flatten()
            .filter_map(|value| value.as_str())
            .collect()
    };
    if !list("controls").contains(&control) {
        return false;
    }
    let mut named = list("identifiers");
    named.extend(list("findings"));
    (named.is_empty() && names.is_empty())
        || names.iter().any(|name| named.contains(&name.as_str()))
}

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub struct Answerer<'a> {
    /// Account.
    pub account: &'a PrincipalId,
    /// What is known about it.
    pub facts: Option<&'a PrincipalFacts>,
    /// How they signed in; `None`: not asked.
    pub assurance: Option<Assurance>,
}

/// Why somebody's grant would not count; `None` when it would.
#[must_use]
pub fn may_grant(
    bundle: &Bundle,
    floor: &Floor,
    controls: &[String],
    requester: (&PrincipalId, Option<&PrincipalFacts>),
    answerer: Answerer<'_>,
) -> Option<Objection> {
    let person = |account: &PrincipalId, facts: Option<&PrincipalFacts>| {
        facts
            .and_then(|facts| facts.person.clone())
            .unwrap_or_else(|| account.clone())
    };
    let Answerer {
        account,
        facts,
        assurance,
    } = answerer;
    if facts.is_some_and(|facts| facts.machine) {
        return Some(Objection::Machine);
    }
    if person(account, facts) == person(requester.0, requester.1) {
        return Some(Objection::Requester);
    }
    let lenient = floor.assurance == Assurance::LocalUser;
    let known = |facts: Option<&PrincipalFacts>| facts.is_some_and(|facts| !facts.unresolved);
    let strangers = !known(facts) || !known(requester.1);
    if !lenient && strangers {
        return Some(Objection::Unresolved);
    }
    for id in controls {
        let Some(control) = bundle.controls.get(id) else {
            return Some(Objection::NoControl(id.clone()));
        };
        let by = match limit(control) {
            Ok((by, _)) => by,
            Err(never) => return Some(never),
        };
        let entitled = lenient
            || facts.is_some_and(|facts| {
                facts.teams.iter().any(|team| team == by)
                    || facts
                        .roles
                        .iter()
                        .any(|role| role.word().eq_ignore_ascii_case(by))
            });
        if !entitled {
            return Some(Objection::Owner {
                control: id.clone(),
                by: by.to_owned(),
            });
        }
    }
    assurance
        .filter(|had| *had < floor.assurance)
        .map(|had| Objection::Assurance {
            had,
            needed: floor.assurance,
        })
}
