//! What can be done: the words that the table of routes and the table of roles share.

macro_rules! actions {
    ($($variant:ident = $word:literal : $about:literal),+ $(,)?) => {
        /// What can be done, as the table of routes names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = $about] $variant),+
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in tables and messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Whether no role is asked for: open to all, or proven in another way.
            #[must_use]
            pub const fn is_open(self) -> bool {
                matches!(self, Self::Public | Self::DeliverEvents)
            }

            /// Whether it is about the whole store: a role for one service is not enough.
            #[must_use]
            pub const fn is_whole(self) -> bool {
                matches!(self, Self::ManagePeople | Self::AnswerBindings | Self::ProposeProfiles | Self::ReadPeople | Self::ReadReads)
            }

            /// What it means.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about),+ }
            }

            /// The action of a word.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

actions! {
    Public = "public": "Open to everybody who reaches the server.",
    ReadRecords = "read-records": "Read evidence, findings, decisions and everything made from them.",
    ReadControls = "read-controls": "Read controls and frameworks.",
    ReadLedger = "read-ledger": "Read the ledger's checkpoint, tiles and proofs.",
    ReadEntries = "read-entries": "Read whole ledger entries of all services.",
    RecordEvidence = "record-evidence": "Hand in signed evidence.",
    DeliverEvents = "deliver-events": "Deliver events to a webhook, proven by its secret and not by a role.",
    Decide = "decide": "Ask the gate for a decision.",
    ReadServer = "read-server": "Read the state of the server.",
    ReadMetrics = "read-metrics": "Read the server's figures.",
    ReadPeople = "read-people": "Read whose an account is, and which bindings wait.",
    ManagePeople = "manage-people": "Give and take roles, propose bindings, disable accounts and end sessions.",
    AnswerBindings = "answer-bindings": "Approve or reject bindings that somebody else proposed.",
    ProposeProfiles = "propose-profiles": "Propose which profile binds a service; compliance approves it.",
    ReadReads = "read-reads": "Read what auditors read, and who read whole ledger entries.",
    AnswerReleases = "answer-releases": "Approve or reject releases.",
    RequestExemptions = "request-exemptions": "Ask for exemptions.",
    AnswerExemptions = "answer-exemptions": "Grant, deny and revoke exemptions.",
    OpenEmergencies = "open-emergencies": "Break the glass, and close it again.",
    ReviewEmergencies = "review-emergencies": "Review emergencies that somebody else opened.",
    OwnSettings = "own-settings": "Change their own settings.",
}
