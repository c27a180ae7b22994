//! Which roles one person must not hold together, and why.

use writ_model::{Grant, Role};

/// Two roles that exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    /// One role.
    pub one: Role,
    /// The other.
    pub other: Role,
    /// Only where both reach the same service; else anywhere in the store.
    pub same_service: bool,
    /// Why.
    pub why: &'static str,
}

const fn duty(one: Role, other: Role, same_service: bool, why: &'static str) -> Duty {
    Duty {
        one,
        other,
        same_service,
        why,
    }
}

const INDEPENDENT: &str = "an auditor judges a record that he had no hand in";
const MACHINE: &str = "a machine's account is nobody's: what it does is not a person's act";

/// The table. What is not in it may be held together.
pub const TOXIC: &[Duty] = &[
    duty(Role::Auditor, Role::Operator, false, INDEPENDENT),
    duty(Role::Auditor, Role::Developer, false, INDEPENDENT),
    duty(Role::Auditor, Role::Reviewer, false, INDEPENDENT),
    duty(Role::Auditor, Role::Compliance, false, INDEPENDENT),
    duty(
        Role::Compliance,
        Role::Developer,
        true,
        "who writes a change must not own the controls that judge it",
    ),
    duty(
        Role::Compliance,
        Role::Operator,
        false,
        "who runs the platform must not own the controls that it enforces",
    ),
    duty(Role::Service, Role::Developer, false, MACHINE),
    duty(Role::Service, Role::Reviewer, false, MACHINE),
    duty(Role::Service, Role::Compliance, false, MACHINE),
    duty(Role::Service, Role::Auditor, false, MACHINE),
    duty(Role::Service, Role::Operator, false, MACHINE),
];

/// Whether two limits reach the same service; no limit reaches all.
fn overlap(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

/// Why a role cannot be added to those that are held.
#[must_use]
pub fn conflict(held: &[Grant], new: &Grant) -> Option<String> {
    held.iter().find_map(|held| {
        let duty = TOXIC.iter().find(|duty| {
            let pair = (duty.one == new.role && duty.other == held.role)
                || (duty.other == new.role && duty.one == held.role);
            pair && (!duty.same_service || overlap(held.service.as_deref(), new.service.as_deref()))
        })?;
        Some(format!(
            "{} cannot be held together with {held}: {}",
            new.role.word(),
            duty.why
        ))
    })
}

#[cfg(test)]
mod tests {
    use Role::{Auditor, Compliance, Developer, Operator, Reviewer, Service};

    use super::*;

    fn grant(role: Role, service: Option<&str>) -> Grant {
        Grant {
            role,
            service: service.map(str::to_owned),
        }
    }

    #[test]
    fn what_cannot_be_held_together() {
        let refused = conflict(&[Grant::everywhere(Operator)], &Grant::everywhere(Auditor));
        assert_eq!(
            refused.as_deref(),
            Some(
                "auditor cannot be held together with operator: an auditor judges a record that he had no hand in"
            )
        );
        for (held, new, toxic) in [
            ((Auditor, Some("a")), (Developer, Some("b")), true),
            ((Developer, Some("a")), (Compliance, Some("b")), false),
            ((Developer, Some("a")), (Compliance, Some("a")), true),
            ((Developer, Some("a")), (Compliance, None), true),
            ((Developer, None), (Reviewer, None), false),
            ((Developer, None), (Service, None), true),
        ] {
            let found = conflict(&[grant(held.0, held.1)], &grant(new.0, new.1));
            assert_eq!(found.is_some(), toxic, "{held:?} {new:?}");
        }
    }
}
