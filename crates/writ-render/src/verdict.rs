//! The verdict in one line, and the counts behind it: one place, so that no two formats differ.

use writ_model::{Answer, Check, Decision, State};

use crate::context::Context;
use crate::text::{clean, plural};

/// States that get a card of their own, the most urgent first.
pub const SHOWN: [State; 6] = [
    State::Fail,
    State::Missing,
    State::Expired,
    State::Error,
    State::Waiting,
    State::Warned,
];

/// Checks that need a reader, failures first, else in the order of the profile.
pub fn shown(decision: &Decision) -> Vec<&Check> {
    let mut checks: Vec<&Check> = decision
        .checks
        .iter()
        .filter(|check| SHOWN.contains(&check.state))
        .collect();
    checks.sort_by_key(|check| check.state);
    checks
}

/// `payments-api 4f2a9c1`: what is judged.
pub fn change(decision: &Decision, context: &Context) -> String {
    if let Some(change) = &context.change {
        return clean(change).into_owned();
    }
    let service = clean(&decision.service);
    match (&decision.subject.commit, decision.subject.artifact) {
        (Some(commit), _) => {
            let short: String = commit.chars().take(7).collect();
            format!("{service} {}", clean(&short))
        }
        (None, Some(artifact)) => format!("{service} sha256:{}", artifact.short()),
        (None, None) => service.into_owned(),
    }
}

/// `1 of 19 checks fails`, `3 of 19 checks are not satisfied: 1 fail, 1 missing, 1 waiting`.
pub fn reason(decision: &Decision) -> String {
    let counts = &decision.counts;
    let scope = counts.in_scope();
    if scope == 0 {
        return "no check is in scope".to_owned();
    }
    let open = scope - counts.satisfied();
    let checks = plural(u64::from(scope), "check");
    if open == 0 {
        return format!("{} of {checks} satisfied", counts.satisfied());
    }
    let states: Vec<(State, u32)> = SHOWN
        .into_iter()
        .filter(|state| !state.is_satisfied() && counts.get(*state) > 0)
        .map(|state| (state, counts.get(state)))
        .collect();
    if let [(state, count)] = states[..] {
        let one = count == 1;
        let verb = match state {
            State::Fail if one => "fails",
            State::Fail => "fail",
            State::Missing if one => "is missing",
            State::Missing => "are missing",
            State::Expired if one => "has expired",
            State::Expired => "have expired",
            State::Error if one => "is in error",
            State::Error => "are in error",
            _ if one => "is waiting",
            _ => "are waiting",
        };
        return format!("{count} of {checks} {verb}");
    }
    let list: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    format!("{open} of {checks} are not satisfied: {}", list.join(", "))
}

/// `Blocked for production: 1 of 19 checks fails`.
pub fn sentence(decision: &Decision) -> String {
    let word = match decision.answer {
        Answer::Yes => "Compliant",
        Answer::No => "Blocked",
        Answer::CannotTell => "Cannot tell",
        Answer::NotYet => "Not yet",
    };
    format!(
        "{word} for {}: {}",
        clean(&decision.environment),
        reason(decision)
    )
}

/// `17 pass, 1 exempt`: the satisfied ones by state; warned only where asked for.
pub fn satisfied(decision: &Decision, with_warned: bool) -> String {
    let mut list = vec![];
    for state in [State::Pass, State::Exempt, State::Warned] {
        let count = decision.counts.get(state);
        if count > 0 && (state != State::Warned || with_warned) {
            list.push(format!("{count} {state}"));
        }
    }
    list.join(", ")
}

/// Checks owed later that are not satisfied now, in words; `None` when there are none at all.
pub fn later(decision: &Decision) -> Option<String> {
    if decision.later.is_empty() {
        return None;
    }
    let mut list = vec![];
    for state in State::ALL {
        let ids: Vec<String> = decision
            .later
            .iter()
            .filter(|check| check.state == state)
            .map(|check| clean(&check.control).into_owned())
            .collect();
        if ids.is_empty() {
            continue;
        }
        list.push(if state.is_satisfied() || state == State::NotApplicable {
            format!("{} {state}", ids.len())
        } else {
            format!("{} {state} ({})", ids.len(), ids.join(", "))
        });
    }
    Some(format!(
        "After deployment and continuous, not blocking: {}.",
        list.join(", ")
    ))
}
