//! `writ key …`: the keys that sign and the keys that are believed.

use std::path::Path;

use serde_json::{Map, Value, json};
use writ_evidence::key::passphrase::Environment;
use writ_evidence::key::{PublicKey, Purpose, SignerRef, VaultKey, open_private_key};
use writ_model::Timestamp;
use writ_registry::keys::{KeyChange, KeyEvent, KeyReason, NewKey};
use writ_registry::{KeyEntry, Store, Trust};
use writ_render::{EdgeError, text};
use zeroize::Zeroizing;

use crate::args::{ImportArgs, KeyCommand, KeySource, NewArgs, RotateArgs};
use crate::commands::listing::{self, Column, Listing, Row};
use crate::context::{Context, clock};
use crate::edge::{self, Edge, EdgeResult as _};
use crate::emit::answer;
use crate::remote::Remote;
use crate::repo::Repo;
use crate::{store, ui};

/// Largest public key file, in bytes.
const MAX_PUBLIC: u64 = 64 << 10;

/// Runs the command.
///
/// # Errors
///
/// The store or a key cannot be used, or the change is not possible; then nothing was changed.
pub async fn run(context: &Context, command: &KeyCommand) -> Result<u8, EdgeError> {
    match command {
        KeyCommand::List => list(context).await,
        KeyCommand::Show { key } => show(context, key).await,
        KeyCommand::New(args) => new(context, args).await,
        KeyCommand::Rotate(args) => rotate(context, args).await,
        KeyCommand::Revoke {
            key,
            valid_until,
            reason,
        } => revoke(context, key, *valid_until, reason.as_deref()).await,
        KeyCommand::Import(args) => import(context, args).await,
        KeyCommand::Export { key, vkey } => export(context, key, *vkey).await,
    }?;
    Ok(0)
}

async fn list(context: &Context) -> Result<(), EdgeError> {
    listing::require_formats(context, "writ key list", &listing::FORMATS)?;
    let store = store::open_read_only(context).await?;
    let signing = store.trust().signing_keys();
    let now = context.now();
    let entries = store.trust().entries();
    let mut footer = vec![format!(
        "{}, {} of them sign now",
        ui::counted(entries.len() as u64, "keys"),
        signing.len()
    )];
    let differences = differences(&store).await?;
    footer.extend(
        differences
            .iter()
            .map(|(problem, _)| format!("wrong: {problem}")),
    );
    let rows = entries.iter().map(|key| {
        let signs: Vec<String> = signing
            .iter()
            .filter(|(_, name)| *name == key.name)
            .map(|(purpose, _)| purpose.to_string())
            .collect();
        let word = word(key, !signs.is_empty(), now);
        let time = |time: Option<Timestamp>| time.map(|time| time.to_seconds_text());
        let cells = vec![
            key.name.clone(),
            purposes(key),
            word.to_owned(),
            time(key.valid_from).unwrap_or_else(|| "the beginning".to_owned()),
            time(key.valid_until).unwrap_or_default(),
            place(key),
            short(key),
        ];
        Row {
            cells,
            below: key.revoked.iter().map(|why| text::prose(why)).collect(),
            fields: fields(key, word, &signs),
        }
    });
    let listing = Listing {
        schema: "writ.keys/1",
        line_schema: "writ.key/1",
        key: "keys",
        columns: vec![
            Column::new("key"),
            Column::new("purpose"),
            Column::state("state"),
            Column::new("counts from"),
            Column::new("until"),
            Column::flexible("private half"),
            Column::new("id"),
        ],
        rows: rows.collect(),
        footer,
        fields: Map::from_iter([(
            "disagreements".to_owned(),
            differences
                .iter()
                .map(|(problem, _)| Value::from(problem.as_str()))
                .collect(),
        )]),
    };
    listing::write(context, |sink| listing.render(context, sink))
}

/// Where `trust.toml` and the ledger say different things, each with what to do.
async fn differences(store: &Store) -> Result<Vec<(String, String)>, EdgeError> {
    let found = store.key_disagreements().await.edge()?;
    let say = |one: &writ_registry::keys::Disagreement| (one.to_string(), one.remedy().to_owned());
    Ok(found.iter().map(say).collect())
}

async fn show(context: &Context, which: &str) -> Result<(), EdgeError> {
    let store = store::open_read_only(context).await?;
    let key = store.find_key(which).edge()?;
    let events: Vec<KeyEvent> = store
        .key_history()
        .await
        .edge()?
        .into_iter()
        .filter(|event| {
            let replaced = event.statement.replaces.as_ref();
            event.statement.key_id == key.id || replaced.is_some_and(|old| old.key_id == key.id)
        })
        .collect();
    let signs: Vec<String> = store
        .trust()
        .signing_keys()
        .into_iter()
        .filter(|(_, name)| *name == key.name)
        .map(|(purpose, _)| purpose.to_string())
        .collect();
    let word = word(&key, !signs.is_empty(), context.now());
    let mut value: Map<String, Value> = fields(&key, word, &signs)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    value.insert("schema".to_owned(), "writ.key/1".into());
    value.insert("publicKey".to_owned(), key.public.clone().into());
    value.insert("history".to_owned(), json!(events));
    answer(context, &Value::Object(value), || {
        let mut out = format!("{}  {word}\n", key.name);
        let mut part = |label: &str, content: String| {
            if !content.is_empty() {
                out.push_str(&format!("  {label:<10}{content}\n"));
            }
        };
        part("id", key.id.to_string());
        part("purpose", purposes(&key));
        part("signs", signs.join(" "));
        part("private", place(&key));
        part(
            "from",
            key.valid_from.map_or_else(
                || "the beginning: no entry announces it".to_owned(),
                |from| from.to_string(),
            ),
        );
        part(
            "until",
            key.valid_until
                .map(|until| until.to_string())
                .unwrap_or_default(),
        );
        part(
            "revoked",
            key.revoked.as_deref().map(text::prose).unwrap_or_default(),
        );
        for event in &events {
            out.push_str(&format!("  {}\n", told(event, &key)));
        }
        out.push_str(&key.public);
        out
    })
}

/// An entry about a key, in a line.
fn told(event: &KeyEvent, key: &KeyEntry) -> String {
    use writ_evidence::predicate::KeyAction;
    let said = &event.statement;
    let what = match said.action {
        KeyAction::Trust if said.key_id != key.id => "handed over".to_owned(),
        KeyAction::Trust if said.replaces.is_some() => "took over".to_owned(),
        KeyAction::Trust => "trusted".to_owned(),
        KeyAction::Retire => "retired".to_owned(),
        KeyAction::Revoke => "revoked".to_owned(),
        KeyAction::Bind => "bound to a job".to_owned(),
    };
    let why = said.reason.as_deref().map(text::prose).unwrap_or_default();
    format!(
        "entry {}  {}  {what}  {}  {why}",
        event.index,
        event.recorded_at.to_seconds_text(),
        event.id.short(),
    )
    .trim_end()
    .to_owned()
}

async fn new(context: &Context, args: &NewArgs) -> Result<(), EdgeError> {
    let store = store::open(context).await?;
    let why = why(context, &store, args.reason.clone()).await?;
    let source = source(&store, &args.source)?;
    let change = store
        .new_key(args.purpose.clone(), args.name.clone(), source, why)
        .await
        .map_err(|error| store::registry_error(&error))?;
    changed(context, &store, &change).await
}

async fn rotate(context: &Context, args: &RotateArgs) -> Result<(), EdgeError> {
    let store = store::open(context).await?;
    if args.lost && args.reason.is_none() {
        return Err(edge::usage("a key that is lost needs a reason").try_this("--reason TEXT"));
    }
    let why = why(context, &store, args.reason.clone()).await?;
    let source = match &args.from {
        Some(file) => private(file, args.source.sealed)?,
        None => source(&store, &args.source)?,
    };
    let change = store
        .rotate_key(args.purpose.clone(), source, args.overlap, args.lost, why)
        .await
        .map_err(|error| store::registry_error(&error))?;
    changed(context, &store, &change).await
}

async fn revoke(
    context: &Context,
    which: &str,
    until: Option<Timestamp>,
    reason: Option<&str>,
) -> Result<(), EdgeError> {
    let Some(reason) = reason else {
        return Err(edge::usage("a revocation needs a reason").try_this("--reason TEXT"));
    };
    let store = store::open(context).await?;
    let why = why(context, &store, Some(reason.to_owned())).await?;
    let change = store
        .revoke_key(which, until.unwrap_or_else(clock), why)
        .await
        .map_err(|error| store::registry_error(&error))?;
    changed(context, &store, &change).await
}

async fn import(context: &Context, args: &ImportArgs) -> Result<(), EdgeError> {
    let source = match public(&args.file)? {
        Some(public) if args.sealed => {
            return Err(edge::usage(format!(
                "{} holds a public key ({}), which needs no passphrase",
                args.file.display(),
                public.id()
            ))
            .at("--sealed"));
        }
        Some(public) => NewKey::Public(public),
        None => private(&args.file, args.sealed)?,
    };
    let store = store::open(context).await?;
    let why = why(context, &store, args.reason.clone()).await?;
    let change = store
        .new_key(args.purpose.clone(), args.name.clone(), source, why)
        .await
        .map_err(|error| store::registry_error(&error))?;
    changed(context, &store, &change).await
}

/// Where the store is a server's, this machine has keys and no store: its producer key must be handed
/// to the operator before the first evidence counts.
async fn export_of_client(context: &Context, which: &str) -> Result<Option<KeyEntry>, EdgeError> {
    let there = context.store.is_file() || context.store.join("ledger").exists();
    let repo = Repo::open(context).ok();
    if there || Remote::find(context, repo.as_ref()).await?.is_none() {
        return Ok(None);
    }
    let trust = Trust::open(&context.trust, true).edge()?;
    trust.find_key(which).edge().map(Some)
}

async fn export(context: &Context, which: &str, vkey: bool) -> Result<(), EdgeError> {
    if !vkey && let Some(key) = export_of_client(context, which).await? {
        let value = json!({
            "schema": "writ.key-export/1", "name": key.name, "keyId": key.id, "publicKey": key.public, "vkey": null,
        });
        return answer(context, &value, || key.public.clone());
    }
    let store = store::open_read_only(context).await?;
    let key = store.find_key(which).edge()?;
    let verifier = match vkey {
        false => None,
        true if !key.purposes.contains(&Purpose::Log) => {
            return Err(edge::usage(format!(
                "key '{}' does not sign for log, so it has no verifier key",
                key.name
            ))
            .at("--vkey"));
        }
        true => Some(store.trust().log_vkey(&key, store.origin()).edge()?),
    };
    let value = json!({
        "schema": "writ.key-export/1",
        "name": key.name,
        "keyId": key.id,
        "publicKey": key.public,
        "vkey": verifier,
    });
    answer(context, &value, || match &verifier {
        Some(verifier) => format!("{verifier}\n"),
        None => key.public.clone(),
    })
}

/// The public key in a file; `None` where it holds something else.
fn public(file: &Path) -> Result<Option<PublicKey>, EdgeError> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        edge::usage("the key cannot be read")
            .at(file.display())
            .because(error)
    };
    let mut pem = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).map_err(failed)?;
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(edge::usage("a key is a regular file").at(file.display()));
    }
    opened
        .take(MAX_PUBLIC)
        .read_to_string(&mut pem)
        .map_err(failed)?;
    if !pem.contains("-----BEGIN PUBLIC KEY-----") {
        return Ok(None);
    }
    PublicKey::from_pem(&pem).map(Some).map_err(|error| {
        edge::usage("the public key cannot be used")
            .at(file.display())
            .because(edge::chain(&error))
    })
}

/// The private key in a file, open or sealed.
fn private(file: &Path, sealed: bool) -> Result<NewKey, EdgeError> {
    let pem = open_private_key(file, &Environment)
        .and_then(|signer| signer.to_pkcs8_pem())
        .map_err(|error| {
            edge::usage("the private key cannot be used")
                .at(file.display())
                .because(edge::chain(&error))
        })?;
    Ok(NewKey::Private { pem, sealed })
}

fn source(store: &Store, source: &KeySource) -> Result<NewKey, EdgeError> {
    let algorithm = source.algorithm.map(Into::into);
    let Some(named) = &source.vault else {
        return Ok(match source.file {
            true => NewKey::File {
                sealed: source.sealed,
                algorithm,
            },
            false => NewKey::Configured {
                sealed: source.sealed,
                algorithm,
            },
        });
    };
    let (mount, name) = match named.rsplit_once('/') {
        Some((mount, name)) => (mount, name),
        None => (store.config().keys.mount.as_str(), named.as_str()),
    };
    match format!("vault://{mount}/keys/{name}").parse() {
        Ok(SignerRef::Vault(key)) => Ok(NewKey::Vault {
            key: VaultKey {
                version: None,
                ..key
            },
            algorithm,
        }),
        Ok(SignerRef::File(_)) => Err(edge::usage("this is no key of Vault").at("--vault")),
        Err(error) => Err(edge::usage(error.to_string()).at("--vault")),
    }
}

async fn why(
    context: &Context,
    store: &Store,
    reason: Option<String>,
) -> Result<KeyReason, EdgeError> {
    let by = store.local_principal(&context.identity).await.edge()?;
    Ok(KeyReason {
        by: Some(by),
        reason,
    })
}

/// Says what was changed, and signs the head over it.
async fn changed(context: &Context, store: &Store, change: &KeyChange) -> Result<(), EdgeError> {
    store::settle(store).await;
    let now = context.now();
    let entry = |key: &Option<KeyEntry>| {
        key.as_ref().map(|key| {
            let signs = store.trust().signing_keys();
            let purposes: Vec<String> = signs
                .iter()
                .filter(|(_, name)| *name == key.name)
                .map(|(purpose, _)| purpose.to_string())
                .collect();
            let word = word(key, !purposes.is_empty(), now);
            let fields = fields(key, word, &purposes);
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
        })
    };
    let recorded: Vec<Value> = change
        .recorded
        .iter()
        .map(|one| json!({"id": one.id, "index": one.index, "recordedAt": one.recorded_at}))
        .collect();
    let value = json!({
        "schema": "writ.key-change/1",
        "new": entry(&change.new),
        "ended": entry(&change.ended),
        "recorded": recorded,
        "retracted": change.retracted,
    });
    answer(context, &value, || {
        let mut out = String::new();
        if let Some(key) = &change.new {
            out.push_str(&format!(
                "{}  for {}, {}, {}\n",
                key.name,
                purposes(key),
                place(key),
                short(key)
            ));
        }
        if let Some(key) = &change.ended
            && let Some(until) = key.valid_until
        {
            let what = if key.revoked.is_some() {
                "revoked: counts"
            } else {
                "counts"
            };
            out.push_str(&format!("{}  {what} until {until}\n", key.name));
        }
        if change.retracted > 0 {
            out.push_str(&format!(
                "{} judged anew: what a revoked key signed too late is no evidence any more\n",
                ui::counted(change.retracted, "entries")
            ));
        }
        for one in &change.recorded {
            out.push_str(&format!(
                "recorded as {}, entry {}\n",
                one.id.short(),
                one.index
            ));
        }
        out
    })
}

/// The state of a key in a word.
fn word(key: &KeyEntry, signs: bool, now: Timestamp) -> &'static str {
    match key.state(now) {
        "valid" if signs => "signs",
        state => state,
    }
}

fn purposes(key: &KeyEntry) -> String {
    let words: Vec<String> = key.purposes.iter().map(Purpose::to_string).collect();
    text::clean(&words.join(" ")).into_owned()
}

/// Where the private half is.
fn place(key: &KeyEntry) -> String {
    match &key.signer {
        Some(place) => text::clean(&place.to_string()).into_owned(),
        None => "not here".to_owned(),
    }
}

fn short(key: &KeyEntry) -> String {
    key.id.to_string().chars().take(12).collect()
}

fn fields(key: &KeyEntry, state: &str, signs: &[String]) -> Vec<(&'static str, Value)> {
    vec![
        ("name", key.name.clone().into()),
        ("keyId", json!(key.id)),
        ("purposes", json!(key.purposes)),
        ("state", state.into()),
        ("signs", json!(signs)),
        ("validFrom", json!(key.valid_from)),
        ("validUntil", json!(key.valid_until)),
        ("revoked", json!(key.revoked)),
        ("privateHalf", json!(key.signer)),
    ]
}
