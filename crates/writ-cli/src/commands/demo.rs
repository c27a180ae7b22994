//! `writ demo`: from nothing to a blocked gate, a fix, a passing gate and a store that verifies.
//!
//! Every step is a command that a person would type, run by this same binary in a folder of its
//! own; nothing here knows what the answer will be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rust_embed::RustEmbed;
use writ_pipeline::trivydb;
use writ_render::EdgeError;

use crate::args::DemoArgs;
use crate::context::{Context, clock};
use crate::edge::{self, Edge};

#[derive(RustEmbed)]
#[folder = "../../examples"]
#[exclude = "*/build/*"]
#[exclude = "*/__pycache__/*"]
struct Examples;

/// Facts about the example's own dependencies, for where trivy's database cannot be fetched.
const ADVISORIES: &str = include_str!("../../../../demo/advisories.json");

/// Tools that the example's stages use.
const TOOLS: [&str; 7] = [
    "gitleaks", "semgrep", "trivy", "syft", "checkov", "hadolint", "wapiti",
];

/// Runs the demonstration: 0 when it came to its end as told, 3 when a step could not be done.
///
/// # Errors
///
/// The folder cannot be made, or git or Python is absent.
pub fn run(context: &Context, args: &DemoArgs) -> Result<u8, EdgeError> {
    let root = folder(args)?;
    let demo = Demo {
        writ: std::env::current_exe()
            .map_err(|error| edge::cannot_tell("cannot find this program").because(error))?,
        repository: root.join("payments-api"),
        cache: context.cache.clone(),
        root,
        color: context.color,
        begin: Instant::now(),
    };
    for program in ["git", "python3"] {
        if Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            return Err(edge::usage(format!("the demonstration needs {program}"))
                .try_this(format!("sudo apt-get install {program}")));
        }
    }
    demo.play(args)
}

fn folder(args: &DemoArgs) -> Result<PathBuf, EdgeError> {
    let cannot = |path: &Path, error: std::io::Error| {
        edge::usage("cannot make the folder of the demonstration")
            .at(path.display())
            .because(error)
            .try_this("writ demo --dir NEW-FOLDER")
    };
    let root = match &args.dir {
        Some(dir) => {
            std::fs::create_dir(dir).map_err(|error| cannot(dir, error))?;
            dir.clone()
        }
        None => tempfile::Builder::new()
            .prefix("writ-demo-")
            .tempdir()
            .map(tempfile::TempDir::keep)
            .map_err(|error| cannot(&std::env::temp_dir(), error))?,
    };
    std::fs::canonicalize(&root).map_err(|error| cannot(&root, error))
}

struct Demo {
    writ: PathBuf,
    root: PathBuf,
    repository: PathBuf,
    cache: PathBuf,
    color: bool,
    begin: Instant,
}

impl Demo {
    fn play(&self, args: &DemoArgs) -> Result<u8, EdgeError> {
        self.title(
            "1",
            "A service with planted problems, in a repository of its own",
        );
        self.unpack()?;
        self.story(None)?;
        self.say(&format!("   {}", self.repository.display()));
        self.git(&["log", "--oneline", "--all"])?;

        self.title("2", "The scanners, pinned and hash-checked, in your cache");
        if args.no_install {
            self.say("   skipped: only tools that are here already are used");
        } else {
            let mut install = vec!["tool", "install"];
            install.extend(TOOLS);
            if self.step(&install)? != 0 {
                self.say("   What could not be had is left out; its checks will say *missing*.");
            }
        }
        self.advisories()?;

        self.title(
            "3",
            "The change is scanned, and its evidence is signed and logged",
        );
        self.step(&["run"])?;

        self.title("4", "May it go to production?");
        let blocked = self.step(&["gate", "production"])?;

        self.title(
            "5",
            "The developer fixes it: the secrets leave the branch, which was never pushed",
        );
        self.story(Some("fix"))?;
        self.step(&["tool", "lock"])?;
        self.git(&["add", "writ.lock"])?;
        self.git(&[
            "-c",
            "user.name=Ada Dev",
            "-c",
            "user.email=ada.dev@payments.example",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
            "commit",
            "--quiet",
            "-m",
            "Pin the bundle and the tools",
        ])?;
        self.git(&["log", "--oneline", "-3"])?;
        self.step(&["run"])?;

        self.title("6", "The same question again");
        let compliant = self.step(&["gate", "production"])?;

        self.title("7", "Nothing changed, so a second run costs nothing");
        self.step(&["run"])?;

        self.title(
            "8",
            "Everything that happened verifies, without trusting Writ",
        );
        let verified = self.step(&["verify"])?;

        self.title("9", "What to look at next");
        self.next();
        self.say(&format!("\nDone in {} s.", self.begin.elapsed().as_secs()));
        if (blocked, compliant, verified) == (1, 0, 0) {
            return Ok(0);
        }
        self.say("The story did not end as it should: see above which tool was missing.");
        Ok(edge::CANNOT_TELL)
    }

    fn unpack(&self) -> Result<(), EdgeError> {
        for path in Examples::iter() {
            let Some(file) = Examples::get(&path) else {
                continue;
            };
            let target = self.root.join("examples").join(path.as_ref());
            let written = target
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&target, &file.data));
            written.map_err(|error| {
                edge::cannot_tell("cannot write the example")
                    .at(target.display())
                    .because(error)
            })?;
        }
        Ok(())
    }

    /// Plays the example's own script: the commits of the change, or the fixing one.
    fn story(&self, step: Option<&str>) -> Result<(), EdgeError> {
        let script = self.root.join("examples/payments-api.story/replay.sh");
        let mut command = Command::new("sh");
        command.arg(&script).arg(&self.repository).args(step);
        let status = self.quietly(&mut command)?;
        if status {
            return Ok(());
        }
        Err(edge::cannot_tell("the example's story could not be played").at(script.display()))
    }

    /// A database about the example's dependencies, labelled as such; the official one is used
    /// where it can be had: trivy replaces this folder's content then.
    fn advisories(&self) -> Result<(), EdgeError> {
        let database = self.tool_data().join("trivy/db");
        let failed = |cause: String| {
            edge::cannot_tell("cannot write the demonstration's database").because(cause)
        };
        let mut advisories: serde_json::Value =
            serde_json::from_str(ADVISORIES).map_err(|error| failed(error.to_string()))?;
        if let Some(object) = advisories.as_object_mut() {
            object.entry("label").or_insert_with(|| {
                serde_json::Value::from(
                    "Writ demo advisories: facts about the example's dependencies only",
                )
            });
        }
        trivydb::write(&database, &advisories, clock())
            .map_err(|error| failed(error.to_string()))?;
        self.say("   trivy judges with a small database about the example's dependencies only.");
        self.say("   It is no vulnerability database, and the evidence says so.");
        Ok(())
    }

    fn tool_data(&self) -> PathBuf {
        self.root.join("tool-data")
    }

    /// Types a command of Writ: shows it, runs it, and gives its exit code.
    fn step(&self, arguments: &[&str]) -> Result<u8, EdgeError> {
        let bold = if self.color {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.say(&format!(
            "\n{}$ writ {}{}",
            bold.0,
            arguments.join(" "),
            bold.1
        ));
        let mut command = Command::new(&self.writ);
        command.args(arguments).current_dir(&self.repository);
        for (name, _) in std::env::vars_os() {
            // What a person has set for their own work must not steer the demonstration.
            if name.to_string_lossy().starts_with("WRIT_") {
                command.env_remove(&name);
            }
        }
        let status = command
            .env("XDG_DATA_HOME", self.root.join("data"))
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .env("XDG_STATE_HOME", self.root.join("state"))
            .env("XDG_CACHE_HOME", self.cache.parent().unwrap_or(&self.cache))
            .env("WRIT_TOOL_DATA", self.tool_data())
            .env("WRIT_COLOR", if self.color { "always" } else { "auto" })
            .env("WRIT_NO_INPUT", "true")
            .env(
                "WRIT_OFFLINE",
                if arguments.first() == Some(&"tool") {
                    "false"
                } else {
                    "true"
                },
            )
            .stdin(Stdio::null())
            .status()
            .map_err(|error| edge::cannot_tell("cannot start this program again").because(error))?;
        let code = status.code().unwrap_or(i32::from(edge::CANNOT_TELL));
        Ok(u8::try_from(code).unwrap_or(edge::CANNOT_TELL))
    }

    fn git(&self, arguments: &[&str]) -> Result<(), EdgeError> {
        let mut command = Command::new("git");
        command
            .args(["--no-pager", "-c", "color.ui=never"])
            .args(arguments);
        command.current_dir(&self.repository);
        let status = command.stdin(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(edge::cannot_tell(format!(
                "git {} failed with {status}",
                arguments[0]
            ))),
            Err(error) => Err(edge::cannot_tell("cannot run git").because(error)),
        }
    }

    fn quietly(&self, command: &mut Command) -> Result<bool, EdgeError> {
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            edge::cannot_tell("cannot run a step of the demonstration").because(error)
        })?;
        if !output.status.success() {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.status.success())
    }

    fn title(&self, number: &str, text: &str) {
        let bold = if self.color {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.say(&format!("\n{}{number}  {text}{}", bold.0, bold.1));
    }

    fn next(&self) {
        let data = self.root.join("data/writ");
        self.say(&format!("   cd {}", self.repository.display()));
        self.say(&format!(
            "   export XDG_DATA_HOME={}",
            self.root.join("data").display()
        ));
        self.say("   writ status                    where the commit stands");
        self.say("   writ why SAST-01               one control in depth");
        self.say("   writ gate staging -f markdown  the note of a merge request");
        self.say("   writ control show VUL-01       what the controls ask for, and why");
        self.say(&format!(
            "   {}  the ledger: files that anybody can audit",
            data.join("store/ledger").display()
        ));
        self.say(&format!(
            "   chmod -R u+w {0} && rm -r {0}   when you are done",
            self.root.display()
        ));
    }

    /// Output of steps goes straight to the screen, so this one must too.
    fn say(&self, text: &str) {
        crate::emit::print(&format!("{text}\n"));
    }
}
