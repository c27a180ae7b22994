//! The table: which role may do what. There is no second place that decides it.

use writ_model::Role;

use super::Action;

/// The roles that may do something. What [`Action::is_open`] needs none.
#[must_use]
pub const fn allowed(action: Action) -> &'static [Role] {
    use Role::{Auditor, Compliance, Developer, Operator, Reviewer, Service};
    match action {
        Action::Public
        | Action::DeliverEvents
        | Action::ReadRecords
        | Action::ReadControls
        | Action::ReadLedger => &Role::ALL,
        Action::ReadEntries => &[Compliance, Auditor, Operator],
        Action::RecordEvidence => &[Developer, Operator, Service],
        Action::Decide => &[Developer, Operator, Service],
        Action::ReadServer | Action::ManagePeople => &[Operator],
        Action::ReadPeople
        | Action::AnswerBindings
        | Action::ProposeProfiles
        | Action::ReadReads => &[Compliance, Operator],
        Action::ReadMetrics => &[Operator, Service],
        // A role lets somebody try; profile and control say whose yes counts.
        Action::AnswerReleases | Action::AnswerExemptions | Action::RequestExemptions => {
            &[Developer, Reviewer, Compliance, Operator]
        }
        Action::OpenEmergencies => &[Developer, Operator],
        Action::ReviewEmergencies => &[Reviewer, Compliance],
        Action::OwnSettings => &[Developer, Reviewer, Compliance, Auditor, Operator],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use writ_model::Grant;

    use crate::access::{Principal, Via, may};
    use crate::routes::ROUTES;

    fn holder(role: Option<Role>) -> Principal {
        let mut principal = Principal::nobody();
        if let Some(role) = role {
            principal.grants = vec![Grant::everywhere(role)];
            principal.via = Via::Session;
        }
        principal
    }

    /// Who may what, route by route: a change here is a change of what people may do.
    #[test]
    fn the_matrix_of_roles_and_routes() {
        let mut lines = vec![format!(
            "{:<5} {:<40} {:<16} dev rev com aud ope ser nobody",
            "", "", ""
        )];
        for route in ROUTES {
            let mut line = format!(
                "{:<5} {:<40} {:<16}",
                route.method,
                route.path,
                route.action.word()
            );
            for role in Role::ALL.map(Some).into_iter().chain([None]) {
                let allowed = may(&holder(role), route.action).is_ok();
                line.push_str(if allowed { " yes" } else { "  - " });
            }
            lines.push(line.trim_end().to_owned());
        }
        insta::assert_snapshot!(lines.join("\n"));
    }

    fn table() -> String {
        let names = Role::ALL.map(Role::word);
        let mut text = format!(
            "| | {} |\n|---|{}\n",
            names.join(" | "),
            "---|".repeat(Role::ALL.len())
        );
        for action in Action::ALL.iter().filter(|action| !action.is_open()) {
            let cells = Role::ALL.map(|role| {
                let yes = allowed(*action).contains(&role);
                if yes { "yes" } else { "" }
            });
            text.push_str(&format!(
                "| {} (`{}`) | {} |\n",
                action.about().trim_end_matches('.'),
                action.word(),
                cells.join(" | ")
            ));
        }
        text
    }

    fn duties() -> String {
        let mut text = "| | | why |\n|---|---|---|\n".to_owned();
        for duty in writ_registry::directory::TOXIC {
            let place = if duty.same_service {
                ", same service"
            } else {
                ""
            };
            text.push_str(&format!(
                "| {} | {}{place} | {} |\n",
                duty.one.word(),
                duty.other.word(),
                duty.why
            ));
        }
        text
    }

    #[test]
    fn the_manual_has_the_tables() {
        let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let manual = std::fs::read_to_string(manual).unwrap();
        for text in [table(), duties()] {
            assert!(manual.contains(&text), "docs/server.md needs:\n{text}");
        }
    }
}
