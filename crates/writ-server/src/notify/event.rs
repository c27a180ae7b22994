//! What people are told of.

use serde::Deserialize;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The gate said no to a release.
    GateBlocked,
    /// A release waits for somebody's yes.
    ApprovalWanted,
    /// Somebody asks for an exemption.
    ExemptionRequested,
    /// A request was granted or denied, or an exemption was taken back.
    ExemptionAnswered,
    /// An exemption ends within a week.
    ExemptionExpiring,
    /// Somebody went past the gate.
    BreakGlassOpened,
    /// The review of an emergency is late.
    ReviewOverdue,
    /// What runs is not what was authorised.
    Drift,
    /// A version was taken back, or a deployment failed.
    DeploymentFailed,
    /// What runs has a vulnerability that was not known when it was released.
    NewVulnerability,
    /// The verification of the store failed.
    VerificationFailed,
}

impl Event {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::GateBlocked,
        Self::ApprovalWanted,
        Self::ExemptionRequested,
        Self::ExemptionAnswered,
        Self::ExemptionExpiring,
        Self::BreakGlassOpened,
        Self::ReviewOverdue,
        Self::Drift,
        Self::DeploymentFailed,
        Self::NewVulnerability,
        Self::VerificationFailed,
    ];

    /// The word of settings, messages and the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::GateBlocked => "gate-blocked",
            Self::ApprovalWanted => "approval-wanted",
            Self::ExemptionRequested => "exemption-requested",
            Self::ExemptionAnswered => "exemption-answered",
            Self::ExemptionExpiring => "exemption-expiring",
            Self::BreakGlassOpened => "break-glass-opened",
            Self::ReviewOverdue => "review-overdue",
            Self::Drift => "drift",
            Self::DeploymentFailed => "deployment-failed",
            Self::NewVulnerability => "new-vulnerability",
            Self::VerificationFailed => "verification-failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_messages_have_the_same_words() {
        for event in Event::ALL {
            let read: Event = serde_json::from_value(event.word().into()).unwrap();
            assert_eq!(read, event);
        }
    }
}
