//! Jobs of CI systems, known by the token that their CI system signed: no stored secret.
//!
//! A token is believed when a key of its issuer signed it, when it is meant for this server, and when
//! it counts now; the job is let in when a `[[workload]]` of the settings pins its project and the
//! rest of its claims. It may then record evidence of the services that the rule names.
//!
//! One token may be shown many times while it counts, since a job makes many requests. But one token
//! binds one key (see `api::workload`): who takes a token away from a job cannot sign with a
//! key of his own any more, or the job itself is refused and somebody notices.

pub(super) mod keys;
mod refusal;
mod settings;
pub(super) mod token;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use writ_connect::{KeySource, jwks::KeySourceOptions};
use writ_model::{Assurance, Digest, PrincipalId, Role, Span, Timestamp};
use writ_registry::Store;
use writ_registry::keys::job::{JOB_CLAIM, MAX_CLAIM_BYTES, PROTECTED_CLAIM};

pub use refusal::Refusal;
pub use settings::{Algorithm, Kind, Pin, WorkloadSettings};
pub use token::{LEEWAY, MAX_TOKEN};

use super::{Grant, Principal, Via};
use crate::config::ConfigError;
use crate::http::problem::shown;
use keys::Keys;

/// A rule with the keys of its issuer.
#[derive(Debug)]
struct Rule {
    settings: WorkloadSettings,
    principal: PrincipalId,
    keys: Arc<Keys>,
}

/// The rules by which jobs are let in.
#[derive(Debug, Default)]
pub struct Workloads {
    rules: Vec<Rule>,
}

/// A job that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The rule that let it in.
    pub rule: String,
    /// Pseudonym of the rule.
    pub principal: PrincipalId,
    /// Services that it may record evidence of.
    pub services: Vec<String>,
    /// What is recorded of it: the claims of the CI system, the rule and the job's name.
    pub claims: BTreeMap<String, String>,
    /// Names the token: the same for every request that shows it.
    pub token: Digest,
    /// When a key of the job ends: the token's end and the rule's grace.
    pub until: Timestamp,
}

impl Job {
    /// The job in words.
    #[must_use]
    pub fn name(&self) -> String {
        self.claims.get(JOB_CLAIM).cloned().unwrap_or_default()
    }

    /// The job as somebody who asks.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let grant = |service: &String| Grant {
            role: Role::Service,
            service: Some(service.clone()),
        };
        Principal {
            id: self.principal.clone(),
            name: self.name(),
            grants: self.services.iter().map(grant).collect(),
            only: None,
            assurance: Assurance::LocalUser,
            via: Via::Workload,
            browser: None,
        }
    }
}

impl Workloads {
    /// The rules of the settings; nothing is fetched yet.
    ///
    /// # Errors
    /// An address may not be spoken to, or a file cannot be read.
    pub fn new(settings: &[WorkloadSettings], store: &Store) -> Result<Self, ConfigError> {
        let wrong = |key, problem: String| ConfigError::Value {
            path: Path::new(crate::config::DEFAULT_FILE).to_owned(),
            key,
            problem,
        };
        let mut rules: Vec<Rule> = Vec::with_capacity(settings.len());
        for rule in settings {
            let place = |known: &&Rule| {
                let known = &known.settings;
                (&known.issuer, &known.jwks, &known.ca, known.allow_loopback)
                    == (&rule.issuer, &rule.jwks, &rule.ca, rule.allow_loopback)
            };
            let keys = match rules.iter().find(place) {
                // One issuer is asked once for all its rules.
                Some(same) => Arc::clone(&same.keys),
                None => {
                    let authorities = match &rule.ca {
                        Some(path) => Some(std::fs::read(path).map_err(|error| {
                            wrong("workload.ca", format!("{}: {error}", path.display()))
                        })?),
                        None => None,
                    };
                    let options = KeySourceOptions {
                        allow_loopback: rule.allow_loopback,
                        authorities,
                        timeout: Some(Duration::from_secs(rule.timeout_seconds.into())),
                    };
                    let source = match &rule.jwks {
                        Some(place) => KeySource::at(place, &options),
                        None => KeySource::of_issuer(&rule.issuer, &options),
                    };
                    let source = source.map_err(|error| {
                        wrong("workload.jwks", format!("of '{}': {error}", rule.name))
                    })?;
                    Arc::new(Keys::new(source))
                }
            };
            let principal = store
                .machine_principal("workload", &rule.name)
                .map_err(|error| wrong("workload.name", error.to_string()))?;
            rules.push(Rule {
                settings: rule.clone(),
                principal,
                keys,
            });
        }
        Ok(Self { rules })
    }

    /// Whether there is any rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Finds out whose token this is.
    ///
    /// # Errors
    /// The token cannot be believed, or no rule lets the job in.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Job, Refusal> {
        let unverified = token::parse(token)?;
        let claims = &unverified.claims;
        let issuer = token::text(claims, "iss").unwrap_or_default();
        let candidates: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.settings.issuer == issuer)
            .collect();
        let Some(kind) = candidates.first().map(|rule| rule.settings.kind) else {
            return Err(
                Refusal::token("issuer", "nothing here believes the issuer of this token")
                    .found(format!("iss {}", shown(&issuer)))
                    .required("the issuer of a [[workload]] in the server's settings")
                    .fix("The operator adds a [[workload]] for this CI system"),
            );
        };
        // The signature first: what follows speaks of what the issuer said, not of what somebody wrote.
        let mut checked: Option<Refusal> = None;
        let mut genuine: Vec<&Rule> = Vec::new();
        let mut asked: Vec<(&Arc<Keys>, bool)> = Vec::new();
        for rule in candidates {
            let before = asked.iter().find(|(keys, _)| Arc::ptr_eq(keys, &rule.keys));
            let good = match before {
                Some((_, good)) => *good,
                None => {
                    let result = rule.keys.check(&unverified, now).await;
                    let good = result.is_ok();
                    asked.push((&rule.keys, good));
                    if let Err(refusal) = result {
                        checked.get_or_insert(refusal);
                    }
                    good
                }
            };
            if good {
                genuine.push(rule);
            }
        }
        if let (true, Some(refusal)) = (genuine.is_empty(), checked) {
            return Err(refusal);
        }
        let rule = chosen(kind, &genuine, claims)?;
        let settings = &rule.settings;
        if !settings.algorithms.contains(&unverified.algorithm) {
            return Err(Refusal::token(
                "algorithm",
                "the token is signed in a way that is not allowed",
            )
            .found(format!("alg {}", unverified.algorithm.word()))
            .required(words(&settings.algorithms))
            .fix(format!(
                "The operator names it in algorithms of [[workload]] '{}'",
                settings.name
            )));
        }
        let end = token::end(claims, now, settings.max_lifetime_seconds)?;
        audience(settings, claims)?;
        pinned(settings, claims)?;
        Ok(Job {
            rule: settings.name.clone(),
            principal: rule.principal.clone(),
            services: settings.services.clone(),
            claims: recorded(settings, claims),
            token: named(&issuer, claims, token),
            until: end.plus(Span::from_secs(i64::from(settings.grace_seconds))),
        })
    }
}

fn words(algorithms: &[Algorithm]) -> String {
    let words: Vec<&str> = algorithms.iter().map(|one| one.word()).collect();
    words.join(" or ")
}

/// The rule that is for the token's project; of several the first that lets it in.
fn chosen<'a>(
    kind: Kind,
    rules: &[&'a Rule],
    claims: &Map<String, Value>,
) -> Result<&'a Rule, Refusal> {
    let of_project = |rule: &&&Rule| {
        rule.settings.kind.project_claims().iter().all(|name| {
            match rule.settings.claims.get(*name) {
                Some(pin) => token::text(claims, name).is_some_and(|value| pin.fits(&value)),
                None => true,
            }
        })
    };
    let fitting: Vec<&&Rule> = rules.iter().filter(of_project).collect();
    let lets_in = |rule: &&&&Rule| {
        audience(&rule.settings, claims).is_ok() && pinned(&rule.settings, claims).is_ok()
    };
    if let Some(rule) = fitting.iter().find(lets_in).or(fitting.first()) {
        return Ok(rule);
    }
    let [path, id] = kind.project_claims();
    let found = token::text(claims, path).unwrap_or_else(|| "no project".to_owned());
    let mut allowed: Vec<String> = Vec::new();
    for rule in rules {
        let settings = &rule.settings;
        let pin = settings.claims.get(path).map(Pin::shown);
        let by_id = || {
            settings
                .claims
                .get(id)
                .map(|pin| format!("{id} {}", pin.shown()))
        };
        allowed.extend(pin.or_else(by_id));
    }
    let more = allowed.len().saturating_sub(5);
    allowed.truncate(5);
    let mut allowed = allowed.join(", ");
    if more > 0 {
        allowed.push_str(&format!(" and {more} more"));
    }
    let project = match kind {
        Kind::Gitlab => "project",
        Kind::Github => "repository",
    };
    let verb = if rules.len() == 1 {
        "this binding allows"
    } else {
        "the bindings allow"
    };
    // The path fits, the number does not: somebody made a new project of an old name.
    let number = token::text(claims, id).filter(|_| {
        let pin = rules
            .first()
            .and_then(|rule| rule.settings.claims.get(path));
        rules.len() == 1 && pin.is_some_and(|pin| pin.fits(&found))
    });
    let both = match number {
        Some(number) => {
            let pin = rules.first().and_then(|rule| rule.settings.claims.get(id));
            allowed = format!(
                "{allowed} with {id} {}",
                pin.map(Pin::shown).unwrap_or_default()
            );
            format!(
                "token is for {project} {} with {id} {}",
                shown(&found),
                shown(&number)
            )
        }
        None => format!("token is for {project} {}", shown(&found)),
    };
    Err(Refusal::job("project", format!("{both}; {verb} {allowed}"))
        .found(format!("{path} {found}"))
        .required(allowed)
        .why("Whoever can run a job anywhere on this CI system has a token of it")
        .fix(format!(
            "The operator adds a [[workload]] for this {project}"
        )))
}

/// Whether the token is meant for this server, and for nobody else.
fn audience(settings: &WorkloadSettings, claims: &Map<String, Value>) -> Result<(), Refusal> {
    let said: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if said == [settings.audience.as_str()] {
        return Ok(());
    }
    let refusal = match said.contains(&settings.audience.as_str()) {
        true => Refusal::token("audience", "the token is meant for others too"),
        false => Refusal::token("audience", "the token is not meant for this server"),
    };
    Err(refusal
        .found(match said.is_empty() {
            true => "no aud".to_owned(),
            false => format!("aud {}", said.join(", ")),
        })
        .required(format!("aud {}", settings.audience))
        .why("Who receives a token that is meant for somebody else could use it here")
        .fix(match settings.kind {
            Kind::Gitlab => format!("id_tokens: WRIT_ID_TOKEN: aud: {}", settings.audience),
            Kind::Github => format!("Ask for the token with audience={}", settings.audience),
        }))
}

/// Whether every pinned claim is what it must be.
fn pinned(settings: &WorkloadSettings, claims: &Map<String, Value>) -> Result<(), Refusal> {
    if settings.protected_only {
        let said = token::text(claims, PROTECTED_CLAIM);
        if said.as_deref() != Some("true") {
            let branch = token::text(claims, "ref").unwrap_or_default();
            return Err(Refusal::job(
                "protected",
                format!("token is for the unprotected ref {}", shown(&branch)),
            )
            .found(match said {
                Some(said) => format!("{PROTECTED_CLAIM} {said}"),
                None => format!("no claim {PROTECTED_CLAIM}"),
            })
            .required(format!("{PROTECTED_CLAIM} true"))
            .why("Who may push to an unprotected branch may write the job that makes the evidence")
            .fix(format!(
                "Protect the branch, or let the operator set protected_only = false in [[workload]] '{}'",
                settings.name
            )));
        }
    }
    for (name, pin) in &settings.claims {
        let said = token::text(claims, name);
        if said.as_ref().is_some_and(|said| pin.fits(said)) {
            continue;
        }
        let found = match &said {
            Some(said) => format!("{name} {}", shown(said)),
            None => format!("no claim {name}"),
        };
        return Err(Refusal::job(
            "claims",
            format!("token has {found}; this binding allows {}", pin.shown()),
        )
        .found(found)
        .required(format!("{name} {}", pin.shown()))
        .fix(format!(
            "Run the job where the rule wants it, or let the operator change claims in [[workload]] '{}'",
            settings.name
        )));
    }
    Ok(())
}

/// What is recorded of a job: no person is named in it.
fn recorded(settings: &WorkloadSettings, claims: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let known = settings
        .kind
        .claims()
        .iter()
        .chain(&["iss", PROTECTED_CLAIM]);
    for name in known {
        if let Some(value) = token::text(claims, name).filter(|text| text.len() <= MAX_CLAIM_BYTES)
        {
            found.insert((*name).to_owned(), value);
        }
    }
    let get = |name: &str| found.get(name).map_or("?", String::as_str);
    let job = match settings.kind {
        Kind::Gitlab => format!(
            "job {} of {} at {}",
            get("job_id"),
            get("project_path"),
            get("ref")
        ),
        Kind::Github => format!(
            "run {}.{} of {} at {}",
            get("run_id"),
            get("run_attempt"),
            get("repository"),
            get("ref")
        ),
    };
    found.insert(
        JOB_CLAIM.to_owned(),
        job.chars().take(MAX_CLAIM_BYTES / 4).collect(),
    );
    found.insert("workload".to_owned(), settings.name.clone());
    found
}

/// The name of a token: its `jti` where the issuer gives one, else its bytes.
fn named(issuer: &str, claims: &Map<String, Value>, token: &str) -> Digest {
    match token::text(claims, "jti").filter(|jti| !jti.is_empty()) {
        Some(jti) => Digest::of(format!("jti\n{issuer}\n{jti}").as_bytes()),
        None => Digest::of(token.as_bytes()),
    }
}

#[cfg(test)]
mod tests;
