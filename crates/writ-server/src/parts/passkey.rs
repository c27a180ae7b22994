//! The part of a form that is confirmed with a passkey, and what its script needs.

use maud::{Markup, html};
use writ_model::Assurance;

use crate::assets;
use crate::http::confirm::Offer;

/// What a form does with a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// It confirms what the form says; with what the session proves where that counts too.
    Confirm(Option<Assurance>),
    /// It confirms unless this field is filled.
    Instead(&'a str),
    /// One is made.
    Make,
}

/// The fields; empty where the person has no passkey to confirm with.
#[must_use]
pub fn fields(offer: &Offer, id: &str, of: Use<'_>) -> Markup {
    let makes = of == Use::Make;
    if offer.passkeys.is_empty() && !makes {
        return html! {};
    }
    let instead = match of {
        Use::Instead(field) => Some(field),
        _ => None,
    };
    html! {
        div.passkey data-passkey data-passkey-instead=[instead] {
            input type="hidden" name="passkey" value="";
            @match of {
                Use::Confirm(Some(weaker)) => {
                    label.check {
                        input type="checkbox" name="without" value="yes" data-passkey-without;
                        span { "Without my passkey: counts as " (words(weaker)) }
                    }
                }
                Use::Confirm(None) => p.sub { "Your passkey confirms the answer." },
                Use::Instead(_) => p.sub { "With a passkey: leave the password empty." },
                Use::Make => {}
            }
            p.said id=(id) role="alert" data-passkey-said {}
            noscript { p.sub { "A passkey needs JavaScript, which is off in this browser." } }
        }
        (script())
    }
}

/// The script, once in a page.
#[must_use]
pub fn script() -> Markup {
    html! { script src=(assets::href("passkey.js")) defer {} }
}

/// How somebody proved who they are, in words.
#[must_use]
pub const fn words(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::LocalUser => "somebody at this machine",
        Assurance::Password => "signed in by password",
        Assurance::Totp => "signed in by password and code",
        Assurance::Webauthn => "confirmed with a passkey",
    }
}
