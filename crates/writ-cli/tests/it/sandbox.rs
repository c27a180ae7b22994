//! A machine of its own for each test: home, cache, store, keys, and a search path of chosen programs.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The pipeline of a small service whose one test makes a coverage report.
pub const SHOP: &str = "\
version = 1
service = \"shop\"
profile = \"startup\"

[stage.test]
run = [\"/bin/sh\", \"test.sh\"]
produces = { coverage = \"lcov.info\" }

[environment.production]
gate = \"block\"
";

const SHOP_TEST: &str = "\
printf 'TN:\\nSF:src/shop.py\\nDA:1,1\\nDA:2,1\\nLF:2\\nLH:2\\nend_of_record\\n' > lcov.info
";

/// Folders that vanish with the value.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

impl Sandbox {
    /// An empty machine on which only git is installed.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "bin", "work"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let sandbox = Self { folder };
        let git = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join("git"))
            .find(|path| path.is_file())
            .expect("the tests need git");
        std::os::unix::fs::symlink(git, sandbox.path("bin/git")).unwrap();
        sandbox
    }

    /// A machine with a repository of one commit whose id is always the same.
    pub fn with_repository(files: &[(&str, &str)]) -> Self {
        let sandbox = Self::new();
        sandbox.git(&["init", "-q", "-b", "main"]);
        for (name, text) in files {
            sandbox.write(name, text);
        }
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "--allow-empty", "-m", "first"]);
        sandbox
    }

    /// A machine with the repository of a small service; `pipeline` is [`SHOP`] or made from it.
    pub fn with_shop(pipeline: &str) -> Self {
        Self::with_repository(&[
            ("writ.toml", pipeline),
            ("test.sh", SHOP_TEST),
            ("src/shop.py", "print(1)\nprint(2)\n"),
            (".gitignore", "lcov.info\nproducer.pub\n"),
        ])
    }

    /// A path of the machine.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Writes a file of the work folder.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path("work").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Puts a program on the search path that prints `text` whatever it is asked.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs git in the work folder.
    pub fn git(&self, arguments: &[&str]) {
        let status = self.clean(Command::new("git")).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    }

    /// The binary, ready to be given arguments and variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.clean(Command::new(env!("CARGO_BIN_EXE_writ")));
        command.args(arguments);
        command
    }

    /// Runs the binary.
    pub fn writ(&self, arguments: &[&str]) -> Answer {
        answer(self.command(arguments).output().unwrap())
    }

    /// Text with the paths of this machine replaced by words.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.folder.path().display().to_string(), "[machine]")
    }

    fn clean(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("USER", "ada")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .current_dir(self.path("work"));
        command
    }
}

/// An answer as text.
pub fn answer(output: Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Copies the bundle that ships, so that a test can damage it.
pub fn copy_bundle(to: &Path) {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundle"),
        to,
    );
}

/// A process of the binary that listens, and what it said when it began. Killed when the value goes.
pub struct Listening {
    pub child: Child,
    pub said: serde_json::Value,
}

impl Listening {
    /// Starts it, and waits for its first line. `command` prints JSON, and its errors where `log` is.
    pub fn start(command: &mut Command, log: Option<&Path>) -> Self {
        let errors = log.map_or_else(Stdio::null, |log| {
            std::fs::File::create(log).unwrap().into()
        });
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if !said["address"].is_string() {
            let log = log.map(|log| std::fs::read_to_string(log).unwrap_or_default());
            panic!("{line:?}\n{}", log.unwrap_or_default());
        }
        Self { child, said }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.said["address"].as_str().unwrap()
    }

    /// What a power cut leaves.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
