//! What an ID token must say before it is believed
//! ([OpenID Connect Core 1.0, 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)),
//! and what is taken from it.

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use writ_model::{Assurance, Grant, Timestamp};
use writ_registry::directory::{MAX_SUBJECT, Provenance};

use super::refusal::refused;
use super::settings::OidcSettings;
use crate::access::workload::Refusal;
use crate::access::workload::token::{self, LEEWAY};
use crate::http::problem::shown;
use crate::http::{Code, Problem};

/// How old an ID token may be, in seconds: it was made when the code was exchanged.
const MAX_AGE: i64 = 600;

/// Most methods that are kept.
const MAX_METHODS: usize = 10;

/// Who somebody is, as a provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) subject: String,
    /// What they are called, for screens.
    pub(crate) name: String,
    /// What their login name is made of.
    pub(crate) wished: String,
    pub(crate) assurance: Assurance,
    pub(crate) provenance: Provenance,
    /// Roles that follow from the claims.
    pub(crate) roles: Vec<Grant>,
}

/// A refusal of the token itself, in the words of a sign-in.
pub(super) fn unbelievable(refusal: Refusal) -> Problem {
    let word = refusal.word();
    let said = Problem::from(refusal);
    tracing::warn!(
        reason = word,
        detail = said.detail,
        "an ID token was refused"
    );
    let mut problem = match said.status {
        503 => Problem::new(
            Code::ProviderAway,
            "the keys of the provider cannot be read now",
        ),
        _ => refused(format!(
            "the provider's ID token is not believed: {}",
            said.detail
        )),
    };
    problem.found.clone_from(&said.found);
    problem.required.clone_from(&said.required);
    problem
}

/// Whether the claims of a token with a good signature are meant for this sign-in, now.
pub(super) fn check(
    settings: &OidcSettings,
    claims: &Map<String, Value>,
    nonce: &str,
    now: Timestamp,
) -> Result<(), Problem> {
    let wrong = |what: &str, found: String, required: String| {
        tracing::warn!(provider = settings.key, what, "an ID token was refused");
        Err(refused(format!("the provider's ID token is {what}"))
            .found(found)
            .required(required))
    };
    let issuer = claims
        .get("iss")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if issuer != settings.issuer {
        let found = format!("iss {}", shown(issuer));
        return wrong(
            "of another issuer",
            found,
            format!("iss {}", settings.issuer),
        );
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let ours = settings.client_id.as_str();
    let party = claims
        .get("azp")
        .map(|party| party.as_str().unwrap_or_default());
    let meant = audience.contains(&ours)
        && party.is_none_or(|party| party == ours)
        && (audience == [ours] || party.is_some());
    if !meant {
        let found = format!("aud {}", shown(&audience.join(", ")));
        return wrong("not meant for this server", found, format!("aud {ours}"));
    }
    times(claims, now)?;
    let said = claims
        .get("nonce")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !bool::from(said.as_bytes().ct_eq(nonce.as_bytes())) {
        return wrong(
            "of another sign-in",
            "another nonce".to_owned(),
            "the nonce of this sign-in".to_owned(),
        );
    }
    Ok(())
}

fn times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Problem> {
    let time = |name: &str| token::time(claims, name).map_err(unbelievable);
    let needed = |name: &str| {
        time(name)?.ok_or_else(|| refused(format!("the provider's ID token has no claim {name}")))
    };
    let (end, issued) = (needed("exp")?, needed("iat")?);
    let from = time("nbf")?.unwrap_or(issued);
    let clocks = "Set the clocks of this server and of the provider right";
    if end.since(now).secs() <= -LEEWAY {
        return Err(refused("the provider's ID token has expired")
            .found(format!("it ended at {end}; here it is {now}"))
            .fix(clocks));
    }
    if from.since(now).secs() > LEEWAY || issued.since(now).secs() > LEEWAY {
        return Err(refused("the provider's ID token does not count yet")
            .found(format!("it counts from {from} on; here it is {now}"))
            .fix(clocks));
    }
    if now.since(issued).secs() > MAX_AGE {
        return Err(refused("the provider's ID token is too old")
            .found(format!("it was made at {issued}; here it is {now}"))
            .fix(clocks));
    }
    Ok(())
}

/// What the claims say about somebody.
pub(super) fn person(
    settings: &OidcSettings,
    claims: Map<String, Value>,
) -> Result<Person, Problem> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let subject = text("sub").to_owned();
    if !(1..=MAX_SUBJECT).contains(&subject.len()) || subject.chars().any(char::is_control) {
        return Err(
            refused("the provider's ID token does not say who somebody is")
                .required(format!("a claim sub of 1 to {MAX_SUBJECT} bytes")),
        );
    }
    let first = |names: &[&str]| {
        let mut all = names.iter().map(|name| text(name));
        all.find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let methods: Vec<&str> = match claims.get("amr") {
        Some(Value::Array(all)) => {
            let words = all.iter().filter_map(Value::as_str);
            words
                .filter(|word| is_word(word))
                .take(MAX_METHODS)
                .collect()
        }
        _ => Vec::new(),
    };
    let acr = Some(text("acr"))
        .filter(|acr| is_word(acr))
        .unwrap_or_default();
    let strong = settings.strong_acr.iter().any(|known| known == acr)
        || methods
            .iter()
            .any(|method| settings.strong_amr.iter().any(|known| known == method));
    let has = |claim: &str, value: &str| match claims.get(claim) {
        Some(Value::String(one)) => one == value,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(value)),
        _ => false,
    };
    let roles = settings
        .roles
        .iter()
        .filter(|rule| has(&rule.claim, &rule.value))
        .map(super::settings::RoleRule::grant)
        .collect();
    Ok(Person {
        name: first(&["name", "preferred_username", "email", "sub"]),
        wished: first(&["preferred_username", "nickname", "email", "name"]),
        // Never more than a code: an assertion over what is approved does not come from a provider.
        assurance: if strong {
            Assurance::Totp
        } else {
            Assurance::Password
        },
        provenance: Provenance {
            issuer: settings.issuer.clone(),
            acr: acr.to_owned(),
            amr: methods.join(" "),
        },
        roles,
        subject,
    })
}

/// A name of a class or method: visible characters, not too many.
fn is_word(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> OidcSettings {
        toml::from_str(
            "key = \"corp\"\nname = \"Corp\"\nissuer = \"https://id.example\"\nclient_id = \"writ\"
             strong_acr = [\"gold\"]
             [[roles]]\nclaim = \"groups\"\nvalue = \"dev\"\nrole = \"developer\"\nfor = \"payments\"\n",
        )
        .unwrap()
    }

    fn claims(change: Value) -> Map<String, Value> {
        let mut all = json!({
            "iss": "https://id.example", "aud": "writ", "sub": "1", "nonce": "n",
            "iat": 1_000, "exp": 1_300,
        });
        for (name, value) in change.as_object().unwrap() {
            all[name] = value.clone();
        }
        all.as_object().unwrap().clone()
    }

    #[test]
    fn only_a_token_for_this_sign_in_is_believed() {
        let now = Timestamp::from_micros(1_010 * 1_000_000);
        let of = |change| {
            check(&settings(), &claims(change), "n", now).map_err(|problem| problem.detail.clone())
        };
        for good in [
            json!({}),
            json!({"aud": ["writ"]}),
            json!({"aud": ["writ", "other"], "azp": "writ"}),
            json!({"exp": 1_000.5}),
            json!({"nbf": 1_030}),
        ] {
            assert_eq!(of(good.clone()), Ok(()), "{good}");
        }
        for (bad, reason) in [
            (json!({"iss": "https://id.example/"}), "another issuer"),
            (json!({"iss": null}), "another issuer"),
            (json!({"aud": "other"}), "not meant"),
            (json!({"aud": ["writ", "other"]}), "not meant"),
            (
                json!({"aud": ["writ", "other"], "azp": "other"}),
                "not meant",
            ),
            (json!({"azp": "other"}), "not meant"),
            (json!({"azp": 7}), "not meant"),
            (json!({"aud": []}), "not meant"),
            (json!({"exp": 980}), "expired"),
            (json!({"exp": null}), "not a time"),
            (json!({"iat": 1_041}), "does not count yet"),
            (json!({"nbf": 1_041}), "does not count yet"),
            (json!({"iat": 100}), "too old"),
            (json!({"iat": "soon"}), "not a time"),
            (json!({"exp": 1e300}), "not a time"),
            (json!({"nonce": "m"}), "another sign-in"),
            (json!({"nonce": null}), "another sign-in"),
        ] {
            let problem = of(bad.clone()).unwrap_err();
            assert!(problem.contains(reason), "{bad}: {problem}");
        }
    }

    #[test]
    fn what_is_taken_from_claims() {
        let of = |change| person(&settings(), claims(change)).unwrap();
        let plain = of(json!({}));
        assert_eq!((plain.name.as_str(), plain.wished.as_str()), ("1", ""));
        assert_eq!(plain.assurance, Assurance::Password);
        let ada = of(json!({
            "name": "Ada L.", "email": "ada@id.example", "groups": ["dev", 7], "acr": "gold",
            "amr": ["pwd", "a b", "otp"],
        }));
        assert_eq!(
            (ada.name.as_str(), ada.wished.as_str()),
            ("Ada L.", "ada@id.example")
        );
        assert_eq!(ada.assurance, Assurance::Totp);
        assert_eq!(ada.provenance.amr, "pwd otp");
        assert_eq!(ada.roles.len(), 1);
        assert_eq!(of(json!({"amr": ["mfa"]})).assurance, Assurance::Totp);
        assert_eq!(of(json!({"amr": "mfa"})).assurance, Assurance::Password);
        assert_eq!(of(json!({"groups": "developers"})).roles, []);
        for sub in [json!(""), json!(7), json!("a\nb"), json!("x".repeat(256))] {
            assert!(person(&settings(), claims(json!({"sub": sub}))).is_err());
        }
    }
}
