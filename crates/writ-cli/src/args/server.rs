//! `writ server …`: care for a store.

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use writ_model::{Role, Span};

/// `writ server …`
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Add a set to a backup while the store is written; only what is new is copied.
    #[command(
        after_help = "Examples:\n  writ server backup --to /mnt/backup/writ\n  writ server backup --to /mnt/backup/writ --full-check\n  writ verify --store /mnt/backup/writ        checks a backup at any time"
    )]
    Backup(BackupArgs),
    /// Restore a backup into a new directory: everything verified, all or nothing.
    #[command(
        after_help = "Examples:\n  writ server restore /mnt/backup/writ --list\n  writ server restore /mnt/backup/writ --to /var/lib/writ/store\n  writ server restore /mnt/backup/writ --to /var/lib/writ/store --accept-rollback --reason \"disk lost, newest backup\""
    )]
    Restore(RestoreArgs),
    /// Rebuild the index from ledger and locker while everybody goes on; interrupted, it goes on where it was.
    #[command(
        after_help = "Examples:\n  writ server reindex\n  writ server reindex --verify        answers 1 when the index in use said something else"
    )]
    Reindex {
        /// Compare the index that was in use with the new one, row for row.
        #[arg(long)]
        verify: bool,
    },
    /// Match the SBOMs of what runs again, where scanner, data or SBOM changed; new flaws become findings.
    #[command(
        after_help = "Examples:\n  writ server rematch\n  writ server rematch --environment production --service payments-api\n  writ server rematch --force        also where nothing changed"
    )]
    Rematch(RematchArgs),
    /// Make, list or revoke tokens for programs; CI jobs need none.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Record that entries of this store are lost for good, and go on without them.
    #[command(
        name = "accept-rollback",
        after_help = "Examples:\n  writ server accept-rollback --reason \"the volume was put back to Monday's snapshot\""
    )]
    AcceptRollback {
        /// Why, in a sentence that an auditor will read.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// People who may sign in: accounts, passwords, roles.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Show what auditors read, and who read whole ledger entries.
    #[command(
        after_help = "Examples:\n  writ server reads\n  writ server reads --limit 1000 -f jsonl"
    )]
    Reads {
        /// How many, the newest first.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Who is whom: people, their accounts elsewhere, teams and machines.
    #[command(subcommand)]
    People(PeopleCommand),
}

/// `writ server people …`
#[derive(Debug, Subcommand)]
pub enum PeopleCommand {
    /// Take a list of people over: SCIM, JSON or CSV; all of it or nothing.
    #[command(
        after_help = "Examples:\n  writ server people import people.json --dry-run\n  writ server people import scim.json --identity ada\n  writ server people import - < people.csv"
    )]
    Import {
        /// The list; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// List people with their accounts and teams, and the bindings that wait.
    #[command(
        after_help = "Examples:\n  writ server people list\n  writ server people list -f json"
    )]
    List,
    /// Show one person, or what is known about an account.
    #[command(
        after_help = "Examples:\n  writ server people show u-1042\n  writ server people show mail:ada@example.org\n  writ server people show p_5f0c2e8a9d3b4c7e"
    )]
    Show {
        /// Id of a person, a pseudonym, or an account as KIND:NAME.
        #[arg(value_name = "WHO", value_parser = NonEmptyStringValueParser::new())]
        who: String,
    },
    /// Propose that accounts belong to a person; somebody else approves.
    #[command(
        after_help = "Examples:\n  writ server people bind ada mail:ada@example.org gitlab:ada --identity olga\n  writ server people bind ada local:ada --name \"Ada Lovelace\""
    )]
    Bind(BindArgs),
    /// Propose that accounts belong to a machine: nothing that it says is a person's act.
    #[command(
        after_help = "Examples:\n  writ server people bot renovate gitlab:renovate mail:renovate@example.org"
    )]
    Bot(BindArgs),
    /// Propose that accounts belong to nobody.
    #[command(after_help = "Examples:\n  writ server people unbind gitlab:ada")]
    Unbind {
        /// Accounts as KIND:NAME, or their pseudonyms.
        #[arg(value_name = "ACCOUNT", required = true, value_parser = NonEmptyStringValueParser::new())]
        accounts: Vec<String>,
    },
    /// Approve bindings that somebody else proposed.
    #[command(after_help = "Examples:\n  writ server people approve 4f2a9c1e8b --identity cleo")]
    Approve {
        /// The proposal: its digest, or the beginning of it.
        #[arg(value_name = "PROPOSAL", value_parser = NonEmptyStringValueParser::new())]
        proposal: String,
    },
    /// Reject bindings that somebody else proposed.
    #[command(
        after_help = "Examples:\n  writ server people reject 4f2a9c1e8b --identity cleo --reason \"this is another Ada\""
    )]
    Reject {
        /// The proposal: its digest, or the beginning of it.
        #[arg(value_name = "PROPOSAL", value_parser = NonEmptyStringValueParser::new())]
        proposal: String,
        /// Why.
        #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
        reason: String,
    },
}

/// `writ server people bind` and `bot`
#[derive(Debug, Args)]
pub struct BindArgs {
    /// Id of the person or machine; made when there is none.
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// Accounts as KIND:NAME: mail, local, gitlab, github, oidc.
    #[arg(value_name = "ACCOUNT", required = true, value_parser = NonEmptyStringValueParser::new())]
    pub accounts: Vec<String>,
    /// Name for screens; never in the ledger.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub name: Option<String>,
}

/// `writ server account …`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account; the password comes from the terminal or from standard input.
    #[command(
        after_help = "Examples:\n  writ server account add ada --role operator        the first account of a store\n  writ server account add bob --role developer --for payments-api < password.txt"
    )]
    Add {
        /// Name to sign in with.
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Its first role.
        #[arg(long, value_name = "ROLE", value_parser = role())]
        role: Role,
        /// Limit the role to one service.
        #[arg(long = "for", value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
        limit: Option<String>,
    },
    /// List accounts with their roles and sessions.
    #[command(
        after_help = "Examples:\n  writ server account list\n  writ server account list -f json"
    )]
    List,
    /// Grant or revoke a role; recorded in the ledger.
    #[command(
        after_help = "Examples:\n  writ server account role ada --grant reviewer\n  writ server account role bob --revoke developer --for payments-api"
    )]
    Role {
        /// The account.
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Role to give.
        #[arg(
            long,
            value_name = "ROLE",
            value_parser = role(),
            required_unless_present = "revoke",
            conflicts_with = "revoke"
        )]
        grant: Option<Role>,
        /// Role to take away.
        #[arg(long, value_name = "ROLE", value_parser = role())]
        revoke: Option<Role>,
        /// The service that the role is limited to.
        #[arg(long = "for", value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
        limit: Option<String>,
    },
    /// Disable an account and end its sessions at once.
    #[command(after_help = "Examples:\n  writ server account disable bob")]
    Disable {
        /// The account.
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Let it sign in again instead.
        #[arg(long)]
        undo: bool,
    },
    /// Set a new password and end all sessions; it comes from the terminal or from standard input.
    #[command(
        after_help = "Examples:\n  writ server account password ada\n  writ server account password bob < password.txt"
    )]
    Password {
        /// The account.
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Take one-time codes away too, for a lost telephone.
        #[arg(long)]
        reset_codes: bool,
    },
    /// Link an account with a person at an identity provider, or show its links.
    #[command(
        after_help = "Examples:\n  writ server account link ada        shows its links\n  writ server account link ada --issuer https://login.example --subject 248289761001\n  writ server account link ada --issuer https://login.example --remove"
    )]
    Link {
        /// The account.
        #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// The provider, as `issuer` in the settings.
        #[arg(long, value_name = "ISSUER", value_parser = NonEmptyStringValueParser::new())]
        issuer: Option<String>,
        /// The person there: the claim `sub`.
        #[arg(long, value_name = "SUBJECT", requires = "issuer", value_parser = NonEmptyStringValueParser::new())]
        subject: Option<String>,
        /// Take the link with this provider away.
        #[arg(long, requires = "issuer", conflicts_with = "subject")]
        remove: bool,
    },
}

/// A role by its word.
fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::word))
        .try_map(|word| Role::of_word(&word).ok_or("there is no such role"))
}

/// `writ server token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, once.
    #[command(
        after_help = "Examples:\n  writ server token new --name jenkins --service payments-api --expires 30d\n  writ server token new --name prometheus --action read-metrics --expires 366d"
    )]
    New(TokenArgs),
    /// Which tokens there are, what they may do, until when, and when they were used.
    #[command(after_help = "Examples:\n  writ server token list\n  writ server token list -f json")]
    List,
    /// End a token now.
    #[command(
        after_help = "Examples:\n  writ server token revoke jenkins\n  writ server token revoke tok_5f0c2a917e44"
    )]
    Revoke {
        /// Its id or its name.
        #[arg(value_name = "TOKEN")]
        token: String,
    },
}

/// `writ server token new`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What people call it.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Role. Tokens are for machines: people sign in.
    #[arg(long, value_name = "ROLE", default_value = "service", value_parser = ["service"])]
    pub role: String,
    /// Service that it is limited to; repeat it for several. Absent: all.
    #[arg(long, value_name = "SERVICE")]
    pub service: Vec<String>,
    /// Action that it is limited to, such as record-evidence or read-metrics; repeat it for several.
    #[arg(long, value_name = "ACTION")]
    pub action: Vec<String>,
    /// How long it counts, from 1m to 366d.
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    pub expires: Span,
}

/// `writ server rematch`
#[derive(Debug, Args)]
pub struct RematchArgs {
    /// Only what runs in this environment.
    #[arg(long, value_name = "ENV", value_parser = NonEmptyStringValueParser::new())]
    pub environment: Option<String>,
    /// Match also where neither scanner, data nor SBOM changed.
    #[arg(long)]
    pub force: bool,
}

/// `writ server backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Directory of the backup, on another disk; made when there is none.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Verify everything in the backup, not only what was added.
    #[arg(long)]
    pub full_check: bool,
}

/// `writ server restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Directory of the backup.
    #[arg(value_name = "FROM")]
    pub from: PathBuf,
    /// Directory of the new store; must be absent or empty.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    pub to: Option<PathBuf>,
    /// Show the sets of the backup and restore nothing.
    #[arg(long, conflicts_with_all = ["to", "set", "accept_rollback"])]
    pub list: bool,
    /// Beginning of the name of a set [default: the newest].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub set: Option<String>,
    /// Where no trust directory is left: make one with the public keys of the backup.
    #[arg(long)]
    pub trust_from_backup: bool,
    /// Restore although entries that were seen here are not in it; recorded with the range.
    #[arg(long, requires = "reason")]
    pub accept_rollback: bool,
    /// Why entries are given up, in a sentence that an auditor will read.
    #[arg(long, value_name = "TEXT", requires = "accept_rollback", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,
}
