//! What may be typed: the command tree, its flags and its help.
//!
//! Verbs for what people do every day, nouns with verbs for what people manage. No flag states a
//! verdict: there is no `--force`, no `--skip` and no `--compliant`.

mod deploy;
mod env;
mod exempt;
mod hold;
mod init;
mod key;
mod ledger;
mod search;
mod serve;
mod server;
mod spool;
mod tool;
mod verify;
mod witness;

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use writ_model::{Digest, Timestamp};
use writ_render::Format;

pub use deploy::{DeployArgs, VerifyArtifactArgs};
pub use env::{EnvCommand, SnapshotArgs};
pub use exempt::{DecideArgs, ExemptCommand, ExemptRequestArgs};
pub use hold::{HoldCommand, PlaceArgs};
pub use init::{CiSystem, InitArgs};
pub use key::{ImportArgs, KeyCommand, KeySource, NewArgs, RotateArgs};
pub use ledger::{CosignArgs, LedgerCommand, MonitorArgs, ProveArgs, PublishArgs};
pub use search::SearchArgs;
pub use serve::ServeArgs;
pub use server::{
    AccountCommand, BackupArgs, BindArgs, PeopleCommand, RematchArgs, RestoreArgs, ServerCommand,
    TokenArgs, TokenCommand,
};
pub use spool::{SpoolCommand, SpoolPlace};
pub use tool::ToolCommand;
pub use verify::VerifyArgs;
pub use witness::WitnessArgs;

const HELP_TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Everyday
  init        write writ.toml, the hook and the CI job of this repository
  check       run stages here, fast; records nothing
  run         run stages and record evidence
  gate        decide for an environment; the answer is the exit code
  deploy      put what a writ authorises there; watch it, or take it back
  why         explain the last block and how to regain compliance
  status      where this commit stands, and who is waited for
  attest      hand in reports that another tool made
  inspect     read any report and show what is in it; records nothing

Decide and prove
  exempt      request, list, show or revoke exemptions
  approve     grant a requested exemption      reject   refuse it
  search      find evidence by its words
  verify      check evidence, a file or the whole store, offline
  replay      run a past decision again and compare

Manage
  env         what runs where, and whether it may: list, show, snapshot or diff
  control     list, show, test or lint the controls of the bundle
  tool        list, install or lock the scanners
  hook        install or uninstall the git hook
  server      back up, restore or reindex a store; accounts
  key         list, make, rotate, revoke, import or export keys
  hold        place, list or release legal holds
  spool       list, deliver, export or import evidence that waits for its store
  ledger      prove entries, gather cosignatures, publish or follow a log
  witness     remember other logs and cosign what extends them
  login       get a token of yours from a server   logout   end it
  serve       the dashboard and the interface for programs; --demo to look around
  doctor      what is wired wrongly here, and the command that fixes it
  completion  man  version  demo

Options
{options}

Exit codes: 0 yes, 1 no, 2 you asked wrongly, 3 cannot tell,
            4 not allowed, 8 not yet.{after-help}";

/// No writ, no release: scan a change, sign the evidence, decide at the gate.
#[derive(Debug, Parser)]
#[command(
    name = "writ",
    version,
    about = "No writ, no release: scan a change, sign the evidence, decide at the gate.",
    help_template = HELP_TEMPLATE,
    after_help = "Examples:\n  writ init && writ run      scan this repository and record evidence\n  writ gate production       may this commit go to production?\n  writ why VUL-01            what is wrong, and how to fix it",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags that mean the same everywhere.
    #[command(flatten)]
    pub global: Global,
    /// The command; without one Writ shows the state of this repository.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that mean the same everywhere.
#[derive(Debug, Args)]
pub struct Global {
    /// Output format of the result.
    #[arg(short, long, value_name = "FORMAT", value_parser = format_parser(), global = true, env = "WRIT_FORMAT")]
    pub format: Option<Format>,
    /// Write the result to a file; repeatable as FORMAT=FILE, so that one run feeds every consumer.
    #[arg(short, long, value_name = "[FORMAT=]FILE", global = true, value_parser = NonEmptyStringValueParser::new())]
    pub output: Vec<String>,
    /// As of this instant (RFC 3339) instead of now.
    #[arg(long, value_name = "TIME", global = true, env = "WRIT_AT")]
    pub at: Option<Timestamp>,
    /// Service, where writ.toml does not say.
    #[arg(long, value_name = "NAME", global = true, env = "WRIT_SERVICE", value_parser = NonEmptyStringValueParser::new())]
    pub service: Option<String>,
    /// Say only the result.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for the commands that run.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colour.
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        global = true,
        env = "WRIT_COLOR"
    )]
    pub color: When,
    /// Never ask; fail where an answer would be needed.
    #[arg(long, global = true, env = "WRIT_NO_INPUT")]
    pub no_input: bool,
    /// Never use the network.
    #[arg(long, global = true, env = "WRIT_OFFLINE")]
    pub offline: bool,
    /// Pipeline definition [default: writ.toml at the repository's root].
    #[arg(long, value_name = "FILE", global = true, env = "WRIT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Store: its directory, or a .toml file that names its parts [default: $XDG_DATA_HOME/writ/store].
    #[arg(long, value_name = "PATH", global = true, env = "WRIT_STORE")]
    pub store: Option<PathBuf>,
    /// Keys and trust roots; never inside the store [default: what the store's file names, else $XDG_DATA_HOME/writ/trust].
    #[arg(long, value_name = "DIR", global = true, env = "WRIT_TRUST")]
    pub trust: Option<PathBuf>,
    /// Server that evidence goes to and decisions come from [default: as writ.toml says; without one
    /// the store is local].
    #[arg(long, value_name = "URL", global = true, env = "WRIT_SERVER", value_parser = NonEmptyStringValueParser::new())]
    pub server: Option<String>,
    /// The spool.
    #[command(flatten)]
    pub spool: SpoolPlace,
    /// Controls bundle in a directory instead of the one that ships.
    #[arg(long, value_name = "DIR", global = true, env = "WRIT_BUNDLE")]
    pub bundle: Option<PathBuf>,
    /// Act as this local identity (recorded with its low assurance) [default: the user of the operating system].
    #[arg(long, value_name = "NAME", global = true, env = "WRIT_IDENTITY", value_parser = NonEmptyStringValueParser::new())]
    pub identity: Option<String>,
}

/// Reads a format by its word; the words come from the one table of the renderers.
fn format_parser() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::word)).try_map(|word| word.parse::<Format>())
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Block or only warn; warn is recorded as warned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The exit code is the answer.
    Block,
    /// Same text, exit 0, for environments whose profile allows it.
    Warn,
}

/// The command tree.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write writ.toml, the hook and the CI job of this repository.
    #[command(
        after_help = "Examples:\n  writ init\n  writ init --ci gitlab\n  writ init --profile soc2 --no-hook"
    )]
    Init(InitArgs),
    /// Run stages here, fast; records nothing.
    #[command(
        after_help = "Examples:\n  writ check\n  writ check secrets sast\n  writ check --staged      what the git hook runs"
    )]
    Check(CheckArgs),
    /// Run stages and record evidence; without a stage all that apply.
    #[command(
        after_help = "Examples:\n  writ run\n  writ run dependencies sast\n  writ run -f jsonl > events.jsonl"
    )]
    Run(RunArgs),
    /// Decide for an environment; the answer is the exit code.
    #[command(
        after_help = "Examples:\n  writ gate production\n  writ gate production --output sarif=writ.sarif --output junit=writ.xml\n  writ gate staging -f markdown"
    )]
    Gate(GateArgs),
    /// Deploy what a writ authorises: start it, watch it, switch or roll back, record it.
    #[command(
        after_help = "Examples:\n  writ deploy production\n  writ deploy production --digest sha256:4f2a… --wait 30m\n  writ deploy production --resume        after an interruption"
    )]
    Deploy(DeployArgs),
    /// May this artefact be deployed there? The answer is the exit code.
    #[command(
        after_help = "Examples:\n  writ verify-artifact sha256:4f2a… --env production\n  writ verify-artifact sha256:4f2a… --env production -f json"
    )]
    VerifyArtifact(VerifyArtifactArgs),
    /// Explain the last block and how to regain compliance.
    #[command(after_help = "Examples:\n  writ why\n  writ why VUL-01\n  writ why dec_5f0c1a2b")]
    Why(WhyArgs),
    /// Where this commit stands, and who is waited for.
    #[command(after_help = "Examples:\n  writ status\n  writ status HEAD~1\n  writ status -f json")]
    Status(StatusArgs),
    /// Hand in reports that another tool made (recorded as handed in, not as observed).
    #[command(
        after_help = "Examples:\n  writ attest target/junit.xml\n  writ attest zap.json --kind dast --artifact sha256:4f2a…\n  writ attest bom.cdx.json --kind sbom"
    )]
    Attest(AttestArgs),
    /// Read any report and show what is in it; records nothing.
    #[command(
        after_help = "Examples:\n  writ inspect trivy.json\n  writ inspect --as sarif results.txt\n  writ inspect report.json -f jsonl | head"
    )]
    Inspect(InspectArgs),
    /// Check evidence, a file or the whole store, offline.
    #[command(
        after_help = "Examples:\n  writ verify                    the whole store\n  writ verify ev_5f0c1a2b        one piece of evidence\n  writ verify receipt.tlog-proof --vkey VKEY    without the store"
    )]
    Verify(VerifyArgs),
    /// Run a past decision again and compare.
    #[command(
        after_help = "Examples:\n  writ replay dec_5f0c1a2b\n  writ replay dec_5f0c1a2b -f json"
    )]
    Replay(ReplayArgs),
    /// Find evidence by its words, newest first.
    #[command(
        after_help = "Examples:\n  writ search payments trivy\n  writ search CVE-2026-31817 --kind dependency-scan\n  writ search 'log4*' --limit 20 -f json"
    )]
    Search(SearchArgs),
    /// Request, list, show or revoke exemptions.
    #[command(subcommand)]
    Exempt(ExemptCommand),
    /// What waits for a person: approvals, exemptions, reviews.
    #[command(after_help = "Examples:\n  writ inbox\n  writ inbox -f json")]
    Inbox,
    /// Grant a requested exemption (never one's own).
    #[command(
        after_help = "Examples:\n  writ approve EX-118 --identity dana --reason \"port is closed, see PAY-2214\""
    )]
    Approve(DecideArgs),
    /// Refuse a requested exemption.
    #[command(
        after_help = "Examples:\n  writ reject EX-118 --identity dana --reason \"the fix is out since Monday\""
    )]
    Reject(DecideArgs),
    /// What runs where, and whether it may: list, show, snapshot or diff.
    #[command(subcommand)]
    Env(EnvCommand),
    /// List, show, test or lint the controls of the bundle.
    #[command(subcommand)]
    Control(ControlCommand),
    /// List, install or lock the scanners.
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Install or uninstall the git hook.
    #[command(subcommand)]
    Hook(HookCommand),
    /// Care for a store: back it up, restore it, accept a loss.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Place, list or release legal holds.
    #[command(subcommand)]
    Hold(HoldCommand),
    /// List, make, rotate, revoke, import or export keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// List, deliver, export or import evidence that waits for its store.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Prove entries, gather cosignatures, publish or follow a log.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Be a witness: remember other logs, and cosign only what extends them.
    #[command(
        after_help = "Examples:\n  writ witness --key w.key --name witness.example/w1 --state /var/lib/writ-witness --log VKEY\n  writ witness --key w.key --name witness.example/w1 --state w --log VKEY --listen 127.0.0.1:8091"
    )]
    Witness(WitnessArgs),
    /// Serve the dashboard and the interface for programs over a store.
    #[command(
        after_help = "Examples:\n  writ serve --demo\n  writ serve --listen 127.0.0.1:8080\n  writ serve --config /etc/writ/server.toml"
    )]
    Serve(ServeArgs),
    /// Get a token of yours from the server: the answer is given in a browser.
    #[command(after_help = "Examples:\n  writ login\n  writ login --server https://writ.example")]
    Login,
    /// End the token of `writ login` and forget it.
    #[command(after_help = "Examples:\n  writ logout\n  writ logout --server https://writ.example")]
    Logout,
    /// What is wired wrongly here, and the command that fixes it.
    #[command(
        after_help = "Examples:\n  writ doctor\n  writ doctor --quiet      only what is wrong\n  writ doctor -f json"
    )]
    Doctor,
    /// Print the completion script of a shell.
    #[command(
        after_help = "Examples:\n  writ completion bash > ~/.local/share/bash-completion/completions/writ\n  writ completion zsh > ~/.zfunc/_writ\n  writ completion fish > ~/.config/fish/completions/writ.fish"
    )]
    Completion {
        /// Shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write all of them into a folder.
    #[command(after_help = "Examples:\n  writ man | man -l -\n  writ man ~/.local/share/man/man1")]
    Man {
        /// Print the reference as Markdown instead.
        #[arg(long, hide = true, conflicts_with = "dir")]
        markdown: bool,
        /// Folder for writ.1, writ-run.1, ….
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Show the versions of Writ, its engine and its bundle.
    #[command(
        after_help = "Examples:\n  writ version\n  writ version -f json\n  writ version --bundle controls/"
    )]
    Version,
    /// From nothing: scan a sample service, see it blocked, fixed and passed, verify the evidence.
    #[command(
        after_help = "Examples:\n  writ demo\n  writ demo --dir /tmp/writ-demo\n  writ demo --no-install"
    )]
    Demo(DemoArgs),
}

/// `writ check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Stages; all that apply where none is named.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Only what is staged for the next commit.
    #[arg(long)]
    pub staged: bool,
}

/// `writ run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stages; all that apply where none is named.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// First commit that is not part of the change [default: from CI, else the merge base].
    #[arg(long, value_name = "COMMIT", env = "WRIT_BASE", value_parser = NonEmptyStringValueParser::new())]
    pub base: Option<String>,
    /// Run every stage even where a cached result would do.
    #[arg(long)]
    pub no_cache: bool,
    /// At most this many stages at a time [default: the cores].
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Stages that belong to this environment (dynamic tests) run too.
    #[arg(long = "env", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub environment: Option<String>,
}

/// `writ gate`
#[derive(Debug, Args)]
pub struct GateArgs {
    /// Environment [default: the only one, else the last of writ.toml].
    #[arg(value_name = "ENVIRONMENT", value_parser = NonEmptyStringValueParser::new())]
    pub environment: Option<String>,
    /// Commit to judge [default: HEAD].
    #[arg(long, value_name = "COMMIT", value_parser = NonEmptyStringValueParser::new())]
    pub commit: Option<String>,
    /// Artefact digest to judge [default: the one the last run made from the commit].
    #[arg(long, value_name = "DIGEST")]
    pub artifact: Option<Digest>,
    /// Block or only warn.
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Show every check, not only what blocks.
    #[arg(long)]
    pub all: bool,
}

/// `writ why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A control, a decision id or an environment [default: the last decision].
    pub what: Option<String>,
}

/// `writ status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Commit [default: HEAD].
    pub commit: Option<String>,
}

/// `writ attest`
#[derive(Debug, Args)]
pub struct AttestArgs {
    /// Reports.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the evidence is for [default: by its format].
    #[arg(long, value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub kind: Option<String>,
    /// Report format [default: detected by content].
    #[arg(long = "as", id = "as_format", value_name = "FORMAT", value_parser = NonEmptyStringValueParser::new())]
    pub as_format: Option<String>,
    /// Commit the report is about [default: HEAD].
    #[arg(long, value_name = "COMMIT", value_parser = NonEmptyStringValueParser::new())]
    pub commit: Option<String>,
    /// Artefact digest the report is about.
    #[arg(long, value_name = "DIGEST")]
    pub artifact: Option<Digest>,
    /// When the tool looked [default: as the report says, else the file's time].
    #[arg(long, value_name = "TIME")]
    pub observed_at: Option<Timestamp>,
}

/// `writ inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Reports; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read as this format instead of detecting it by content.
    #[arg(long = "as", id = "as_format", value_name = "FORMAT", value_parser = NonEmptyStringValueParser::new())]
    pub as_format: Option<String>,
}

/// `writ replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Decision id, at least eight hex digits of it.
    #[arg(value_name = "DECISION", value_parser = NonEmptyStringValueParser::new())]
    pub decision: String,
}

/// `writ control …`
#[derive(Debug, Subcommand)]
pub enum ControlCommand {
    /// List the controls, and which profiles bind them.
    #[command(
        after_help = "Examples:\n  writ control list\n  writ control list --profile sox-production\n  writ control list --framework iso27001 -f csv > controls.csv"
    )]
    List {
        /// Only those that this profile binds.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        profile: Option<String>,
        /// Only those mapped to this framework.
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        framework: Option<String>,
    },
    /// Show one control: text, why, fix, mapping, rule.
    #[command(
        after_help = "Examples:\n  writ control show VUL-02\n  writ control show SEC-01 -f json"
    )]
    Show {
        /// Control id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Run the fixtures of the controls.
    #[command(
        after_help = "Examples:\n  writ control test\n  writ control test VUL-01 VUL-02\n  writ control test --bundle controls/ --output junit=controls.xml"
    )]
    Test {
        /// Controls; all where none is named.
        ids: Vec<String>,
    },
    /// Bind a profile to this service in this store; recorded, and in force from now on.
    #[command(
        after_help = "Examples:\n  writ control bind soc2\n  writ control bind sox-production --env production"
    )]
    Bind {
        /// Profile of the bundle.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        profile: String,
        /// Only in this environment [default: everywhere].
        #[arg(long = "env", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
        environment: Option<String>,
    },
    /// Refuse a control without why, fix, owner, mapping or both kinds of test.
    #[command(
        after_help = "Examples:\n  writ control lint\n  writ control lint --bundle controls/"
    )]
    Lint,
}

/// `writ hook …`
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Install the pre-commit hook (keeps an existing one).
    #[command(after_help = "Examples:\n  writ hook install")]
    Install,
    /// Remove the pre-commit hook that Writ installed.
    #[command(after_help = "Examples:\n  writ hook uninstall")]
    Uninstall,
}

/// `writ demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the sample repository and its store; must not exist [default: a new temporary folder].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Use only the tools that are installed already.
    #[arg(long)]
    pub no_install: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn empty_values_are_refused() {
        assert!(Cli::try_parse_from(["writ", "gate", ""]).is_err());
        assert!(Cli::try_parse_from(["writ", "--service", "", "status"]).is_err());
    }

    #[test]
    fn no_flag_states_a_verdict() {
        for flag in [
            "--force",
            "--skip",
            "--ignore",
            "--exit-zero",
            "--compliant",
        ] {
            for verb in ["run", "gate", "attest", "check"] {
                assert!(
                    Cli::try_parse_from(["writ", verb, flag]).is_err(),
                    "{verb} {flag}"
                );
            }
        }
    }
}
