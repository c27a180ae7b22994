//! Pages for people: one file per page. A page loads its data, which is also what its JSON, CSV and
//! Markdown forms give, and draws it with the components of [`crate::parts`].

pub mod ask_exemption;
pub mod break_glass;
pub mod change;
pub mod changes;
pub mod control;
pub mod controls;
pub mod decision;
pub mod device;
pub mod emergencies;
pub mod emergency;
pub mod environment;
pub mod environments;
pub mod evidence;
pub mod exemption;
pub mod exemptions;
pub mod finding;
pub mod findings;
pub mod health;
pub mod inbox;
pub mod integrations;
pub mod item;
pub mod keys;
pub mod oidc;
pub mod overview;
pub mod passkeys;
pub mod people;
pub mod persons;
pub mod problem;
pub mod profiles;
pub mod reads;
pub mod release;
pub mod releases;
pub mod run;
pub mod runs;
pub mod search;
pub mod settings;
pub mod sign_in;
pub mod theme;

/// Rows of one part of a list on a page.
pub const ROWS: usize = 50;

/// Declares the query struct of a page: its own parameters and `at`, `after`, `limit` and `table`.
#[macro_export]
macro_rules! page_query {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $kind:ty),* $(,)? }) => {
        $crate::list_query! {
            $(#[$doc])*
            $name {
                $($(#[$field_doc])* $field : $kind,)*
                /// The table that the CSV form gives.
                table: Option<String>,
            }
        }
    };
}
