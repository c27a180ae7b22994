//! Which roles one person must not hold together, and why.

use writ_model::Role;

use super::roles::{Binding, role_word};

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
#[must_use]
pub fn overlap(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

/// Why a role cannot be added to those that are held.
#[must_use]
pub fn conflict(held: &[Binding], role: Role, service: Option<&str>) -> Option<String> {
    held.iter().find_map(|binding| {
        let duty = TOXIC.iter().find(|duty| {
            let pair = (duty.one == role && duty.other == binding.role)
                || (duty.other == role && duty.one == binding.role);
            pair && (!duty.same_service || overlap(binding.service.as_deref(), service))
        })?;
        let place = match &binding.service {
            Some(service) => format!(" for {service}"),
            None => String::new(),
        };
        Some(format!(
            "{} cannot be held together with {}{place}: {}",
            role_word(role),
            role_word(binding.role),
            duty.why
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(role: Role, service: Option<&str>) -> Vec<Binding> {
        vec![Binding {
            role,
            service: service.map(str::to_owned),
        }]
    }

    #[test]
    fn what_cannot_be_held_together() {
        let refused = conflict(&held(Role::Operator, None), Role::Auditor, None);
        assert_eq!(
            refused.as_deref(),
            Some(
                "auditor cannot be held together with operator: an auditor judges a record that he had no hand in"
            )
        );
        assert!(conflict(&held(Role::Auditor, Some("a")), Role::Developer, Some("b")).is_some());
        assert!(
            conflict(
                &held(Role::Developer, Some("a")),
                Role::Compliance,
                Some("b")
            )
            .is_none()
        );
        assert!(
            conflict(
                &held(Role::Developer, Some("a")),
                Role::Compliance,
                Some("a")
            )
            .is_some()
        );
        assert!(conflict(&held(Role::Developer, Some("a")), Role::Compliance, None).is_some());
        assert!(conflict(&held(Role::Developer, None), Role::Reviewer, None).is_none());
        assert!(conflict(&held(Role::Developer, None), Role::Service, None).is_some());
    }
}
