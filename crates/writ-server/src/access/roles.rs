//! The table: which role may do what. There is no second place that decides it.

use writ_model::Role;

use super::Action;

/// All roles, in the order of the tables.
pub const ROLES: [Role; 6] = [
    Role::Developer,
    Role::Reviewer,
    Role::Compliance,
    Role::Auditor,
    Role::Operator,
    Role::Service,
];

/// The roles that may do something. [`Action::Public`] needs none.
#[must_use]
pub const fn allowed(action: Action) -> &'static [Role] {
    use Role::{Auditor, Compliance, Developer, Operator, Reviewer, Service};
    match action {
        Action::Public => &ROLES,
        Action::ReadRecords | Action::ReadControls | Action::ReadLedger => &ROLES,
        Action::ReadEntries => &[Compliance, Auditor, Operator],
        Action::RecordEvidence => &[Developer, Operator, Service],
        Action::ReadServer => &[Operator],
        Action::ReadMetrics => &[Operator, Service],
        Action::OwnSettings => &[Developer, Reviewer, Compliance, Auditor, Operator],
    }
}

/// The word of a role, as accounts, tables and messages write it.
#[must_use]
pub const fn word(role: Role) -> &'static str {
    match role {
        Role::Developer => "developer",
        Role::Reviewer => "reviewer",
        Role::Compliance => "compliance",
        Role::Auditor => "auditor",
        Role::Operator => "operator",
        Role::Service => "service",
    }
}
