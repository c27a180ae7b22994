//! `writ server account …`: people who may sign in.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use serde_json::{Value, json};
use writ_model::{EvidenceId, Grant, Role};
use writ_registry::directory::{Account, Link, RoleBook, RoleChange, Session, Subject};
use writ_registry::{RegistryError, Store};
use writ_render::{EdgeError, text};
use zeroize::Zeroizing;

use super::answer;
use crate::args::AccountCommand;
use crate::context::Context;
use crate::edge::{self, Edge};
use crate::{store, ui};

/// Longest line that is read as a password, in bytes.
const MAX_LINE: u64 = 4_096;

/// Runs the command.
///
/// # Errors
///
/// What is asked for is not possible, or the store cannot be used; then nothing was changed.
pub(super) async fn run(context: &Context, command: &AccountCommand) -> Result<(), EdgeError> {
    let store = store::open(context).await?;
    match command {
        AccountCommand::Add { name, role, limit } => {
            add(context, &store, name, grant_of(*role, limit.as_ref())).await?
        }
        AccountCommand::List => list(context, &store).await?,
        AccountCommand::Role {
            name,
            grant,
            revoke,
            limit,
        } => {
            let Some(role) = grant.or(*revoke) else {
                return Err(edge::usage("--grant ROLE or --revoke ROLE says what to do"));
            };
            let changed = grant_of(role, limit.as_ref());
            change(context, &store, name, changed, grant.is_some()).await?;
        }
        AccountCommand::Disable { name, undo } => disable(context, &store, name, *undo).await?,
        AccountCommand::Password { name, reset_codes } => {
            password(context, &store, name, *reset_codes).await?;
        }
        AccountCommand::Link {
            name,
            issuer,
            subject,
            remove,
        } => {
            let change = match (issuer, subject) {
                (Some(issuer), subject) => Some((issuer.as_str(), subject.as_deref())),
                (None, _) => None,
            };
            if matches!(change, Some((_, None))) && !remove {
                return Err(edge::usage(
                    "--subject SUBJECT says who it is there, or --remove takes the link away",
                ));
            }
            link(context, &store, name, change).await?;
        }
    }
    store::settle(&store).await;
    Ok(())
}

fn failed(error: RegistryError) -> EdgeError {
    store::registry_error(&error)
}

async fn add(context: &Context, store: &Store, name: &str, grant: Grant) -> Result<(), EdgeError> {
    let first = !store.has_accounts().await.map_err(failed)?;
    if first && grant != Grant::everywhere(Role::Operator) {
        return Err(edge::usage("the first account of a store is its operator")
            .because("somebody must be able to give roles to the others")
            .try_this("writ server account add NAME --role operator"));
    }
    let password = ask(name)?;
    let id = store.add_account(name, &password).await.map_err(failed)?;
    let by = store
        .local_principal(&context.identity)
        .await
        .map_err(failed)?;
    let change = RoleChange {
        principal: &id,
        grant: grant.clone(),
        granted: true,
        by: &by,
        bootstrap: first,
    };
    let recorded = store.change_role(&change).await.map_err(failed)?;
    let account = store.account(name).await.map_err(failed)?;
    let value = json!({
        "schema": "writ.account/1", "account": shown(&account),
        "role": grant, "recorded": recorded.id, "bootstrap": first,
    });
    answer(context, &value, || {
        let mut out = format!(
            "account {} ({})\n  {} recorded as {}\n",
            account.login,
            account.id,
            words(&grant),
            recorded.id.short()
        );
        if first {
            out.push_str("  the first account: from now on every request to `writ serve` needs somebody to sign in\n");
        }
        out
    })
}

async fn list(context: &Context, store: &Store) -> Result<(), EdgeError> {
    let mut book = RoleBook::default();
    store.read_roles(&mut book).await.map_err(failed)?;
    let accounts = store.accounts().await.map_err(failed)?;
    let sessions = store.sessions(None).await.map_err(failed)?;
    let open = |account: &Account| {
        sessions
            .iter()
            .filter(|session: &&Session| session.account == account.id)
            .count()
    };
    let rows: Vec<Value> = accounts
        .iter()
        .map(|account| {
            let mut row = shown(account);
            row["roles"] = json!(book.of(&account.id));
            row["sessions"] = json!(open(account));
            row
        })
        .collect();
    let value = json!({"schema": "writ.accounts/1", "accounts": rows});
    answer(context, &value, || {
        if accounts.is_empty() {
            return "no account: whoever reaches `writ serve` on this machine is its operator\n"
                .to_owned();
        }
        accounts
            .iter()
            .map(|account| {
                let held: Vec<String> = book.of(&account.id).iter().map(words).collect();
                format!(
                    "{}  {}  {}{}{}  {}\n",
                    account.login,
                    account.id,
                    if held.is_empty() {
                        "no role".to_owned()
                    } else {
                        held.join(", ")
                    },
                    if account.totp { "  one-time codes" } else { "" },
                    match account.disabled_at {
                        Some(at) => format!("  disabled since {at}"),
                        None => String::new(),
                    },
                    ui::counted(open(account) as u64, "sessions"),
                )
            })
            .collect()
    })
}

async fn change(
    context: &Context,
    store: &Store,
    name: &str,
    grant: Grant,
    granted: bool,
) -> Result<(), EdgeError> {
    let account = store.account(name).await.map_err(failed)?;
    let by = store
        .local_principal(&context.identity)
        .await
        .map_err(failed)?;
    let change = RoleChange {
        principal: &account.id,
        grant: grant.clone(),
        granted,
        by: &by,
        bootstrap: false,
    };
    let recorded = store
        .change_role(&change)
        .await
        .map_err(|error| match error {
            RegistryError::People { reason } => {
                edge::not_allowed(format!("{}: {reason}", account.login))
            }
            other => failed(other),
        })?;
    let value = json!({
        "schema": "writ.account/1", "account": shown(&account),
        "role": grant, "granted": granted, "recorded": recorded.id,
    });
    answer(context, &value, || {
        said(&account, &grant, granted, recorded.id)
    })
}

fn said(account: &Account, grant: &Grant, granted: bool, id: EvidenceId) -> String {
    format!(
        "{} {} {}, recorded as {}\n",
        account.login,
        if granted { "has" } else { "no longer has" },
        words(grant),
        id.short()
    )
}

async fn disable(
    context: &Context,
    store: &Store,
    name: &str,
    undo: bool,
) -> Result<(), EdgeError> {
    let account = store.account(name).await.map_err(failed)?;
    store
        .disable_account(&account, !undo)
        .await
        .map_err(failed)?;
    let account = store.account(name).await.map_err(failed)?;
    let value = json!({"schema": "writ.account/1", "account": shown(&account)});
    answer(context, &value, || match undo {
        true => format!("{} may sign in again\n", account.login),
        false => format!("{} is disabled; its sessions have ended\n", account.login),
    })
}

async fn password(
    context: &Context,
    store: &Store,
    name: &str,
    reset_codes: bool,
) -> Result<(), EdgeError> {
    let account = store.account(name).await.map_err(failed)?;
    let password = ask(&account.login)?;
    store
        .set_password(&account, &password)
        .await
        .map_err(failed)?;
    if reset_codes {
        store.remove_totp(&account.id).await.map_err(failed)?;
    }
    let account = store.account(name).await.map_err(failed)?;
    let value = json!({"schema": "writ.account/1", "account": shown(&account)});
    answer(context, &value, || {
        format!(
            "new password of {}; its sessions have ended{}\n",
            account.login,
            if reset_codes {
                ", and no one-time code is asked for"
            } else {
                ""
            }
        )
    })
}

/// Links an account (with a subject), takes a link away (without one), and shows what there is.
async fn link(
    context: &Context,
    store: &Store,
    name: &str,
    change: Option<(&str, Option<&str>)>,
) -> Result<(), EdgeError> {
    let account = store.account(name).await.map_err(failed)?;
    match change {
        Some((issuer, Some(subject))) => {
            let of = Subject {
                issuer,
                subject,
                name: "",
            };
            store.link(&account, &of).await.map_err(failed)?;
        }
        Some((issuer, None)) => {
            let taken = store.unlink(&account, issuer).await.map_err(failed)?;
            if !taken {
                let problem = format!("'{}' has no link with {issuer}", account.login);
                return Err(edge::usage(problem).try_this("writ server account link NAME"));
            }
        }
        None => {}
    }
    let links = store.links(Some(&account.id)).await.map_err(failed)?;
    let rows: Vec<Value> = links
        .iter()
        .map(|link| {
            json!({
                "issuer": link.issuer, "subject": link.subject, "name": link.name,
                "linkedAt": link.linked_at, "usedAt": link.used_at,
            })
        })
        .collect();
    let value = json!({"schema": "writ.account/1", "account": shown(&account), "links": rows});
    answer(context, &value, || {
        if links.is_empty() {
            return format!("{} is linked with nobody at a provider\n", account.login);
        }
        let line = |link: &Link| {
            format!(
                "{}  {}  {}{}\n",
                account.login,
                text::clean(&link.issuer),
                text::clean(&link.subject),
                match link.name.as_str() {
                    "" => String::new(),
                    name => format!("  {}", text::clean(name)),
                }
            )
        };
        links.iter().map(line).collect()
    })
}

fn grant_of(role: Role, service: Option<&String>) -> Grant {
    Grant {
        role,
        service: service.cloned(),
    }
}

fn words(grant: &Grant) -> String {
    text::clean(&grant.to_string()).into_owned()
}

fn shown(account: &Account) -> Value {
    json!({
        "id": account.id, "name": account.login, "oneTimeCodes": account.totp,
        "addedAt": account.added_at, "passwordAt": account.password_at,
        "disabledAt": account.disabled_at, "lockedUntil": account.locked_until,
    })
}

/// The password: typed twice unseen at a terminal, else the first line of standard input.
fn ask(name: &str) -> Result<Zeroizing<String>, EdgeError> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let name = text::clean(name).into_owned();
    let first = unseen(&format!("New password of {name}: "))?;
    let second = unseen("Once more: ")?;
    if first != second {
        return Err(edge::usage("the two passwords differ; nothing was changed"));
    }
    Ok(first)
}

fn line() -> Result<Zeroizing<String>, EdgeError> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .take(MAX_LINE)
        .read_line(&mut line)
        .map_err(|error| edge::usage("no password on standard input").because(error))?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

fn unseen(prompt: &str) -> Result<Zeroizing<String>, EdgeError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |error: std::io::Error| edge::usage("the terminal cannot be used").because(error);
    let stdin = std::io::stdin();
    eprint!("{prompt}");
    std::io::stderr().flush().map_err(failed)?;
    let before = tcgetattr(&stdin).map_err(|error| failed(error.into()))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &quiet).map_err(|error| failed(error.into()))?;
    let read = line();
    tcsetattr(&stdin, OptionalActions::Now, &before).map_err(|error| failed(error.into()))?;
    eprintln!();
    read
}
