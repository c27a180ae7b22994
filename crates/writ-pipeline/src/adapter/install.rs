//! Installing tools with the ordinary package clients, pinned and hash-checked, into Writ's own cache.
//!
//! An installation lives in `tools/NAME/VERSION` of the cache and counts only once the file
//! `.complete` is there, which is written last.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::find::is_executable;
use super::{Adapter, Catalogue, Install, InstallKind, ToolFinder};
use crate::environment::scrubbed_with_network;

/// What an installation is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallStep {
    /// A client starts.
    Start {
        /// Tool.
        tool: String,
        /// `pip`, `npm`, `go`.
        client: &'static str,
        /// Package and version.
        package: String,
    },
    /// A line that the client printed.
    Line(String),
    /// The tool is there.
    Done(PathBuf),
}

/// Why a tool could not be installed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No package of it is known.
    #[error(
        "{0} is in no package registry that Writ knows; install it by its own documentation, then `writ tool list`"
    )]
    NoPackage(String),
    /// It is a package of the operating system, which Writ does not change.
    #[error("{tool} is a package of the operating system: sudo apt-get install {package}")]
    System {
        /// Tool.
        tool: String,
        /// Package.
        package: String,
    },
    /// The client is not there.
    #[error("{tool} comes with {client}, which is not installed ({cause})")]
    NoClient {
        /// Tool.
        tool: String,
        /// Client.
        client: String,
        /// What happened.
        cause: String,
    },
    /// The client failed.
    #[error("{tool}: {client} failed: {cause}{}", if *.offline { "; the package registry does not answer: check the network and the proxy variables" } else { "" })]
    Client {
        /// Tool.
        tool: String,
        /// Client.
        client: String,
        /// Its last words.
        cause: String,
        /// Whether it looks like a network problem.
        offline: bool,
    },
    /// A pinned hash is not there or does not match.
    #[error("{tool}: {cause}")]
    Pin {
        /// Tool.
        tool: String,
        /// What is wrong.
        cause: String,
    },
    /// The cache cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// Longest time for one client call.
const LIMIT: Duration = Duration::from_secs(1_200);

/// The executable of a complete installation.
pub(super) fn installed_binary(
    folder: &Path,
    adapter: &Adapter,
    install: &Install,
) -> Option<PathBuf> {
    if !folder.join(".complete").is_file() {
        return None;
    }
    let below = match install.kind {
        InstallKind::Pypi | InstallKind::Go | InstallKind::Apt => "bin",
        InstallKind::Npm => "node_modules/.bin",
    };
    match &install.entry {
        Some(pattern) => find_below(folder, pattern),
        None => adapter
            .file
            .find
            .binaries
            .iter()
            .map(|binary| folder.join(below).join(binary))
            .find(|path| is_executable(path)),
    }
}

/// Follows a relative path whose parts may be globs (`lib/python3.*/site-packages/…`).
fn find_below(folder: &Path, pattern: &str) -> Option<PathBuf> {
    let mut places = vec![folder.to_owned()];
    for part in pattern.split('/') {
        if part.is_empty() || part == ".." {
            return None;
        }
        if !part.contains(['*', '?', '[']) {
            places.iter_mut().for_each(|place| place.push(part));
            continue;
        }
        let glob = globset::Glob::new(part).ok()?.compile_matcher();
        let mut next = Vec::new();
        for place in places {
            let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
            next.extend(
                entries
                    .map(|e| e.path())
                    .filter(|p| p.file_name().is_some_and(|n| glob.is_match(n))),
            );
        }
        next.sort();
        places = next;
    }
    places.into_iter().find(|path| is_executable(path))
}

/// Installs a tool, or answers at once when it is already there.
///
/// # Errors
/// When no package is known, the client is absent or fails, or a hash does not match.
pub async fn install(
    adapter: &Adapter,
    catalogue: &Catalogue,
    finder: &ToolFinder,
    progress: &(dyn Fn(InstallStep) + Send + Sync),
) -> Result<PathBuf, InstallError> {
    let tool = adapter.name().to_owned();
    let mut last = InstallError::NoPackage(tool.clone());
    for install in &adapter.file.install {
        let folder = finder.cache.join(&tool).join(&install.version);
        if let Some(path) = installed_binary(&folder, adapter, install) {
            progress(InstallStep::Done(path.clone()));
            return Ok(path);
        }
        let job = Job {
            adapter,
            catalogue,
            install,
            folder: &folder,
            progress,
        };
        match job.run().await {
            Ok(path) => {
                progress(InstallStep::Done(path.clone()));
                return Ok(path);
            }
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                last = error;
            }
        }
    }
    Err(last)
}

struct Job<'a> {
    adapter: &'a Adapter,
    catalogue: &'a Catalogue,
    install: &'a Install,
    folder: &'a Path,
    progress: &'a (dyn Fn(InstallStep) + Send + Sync),
}

impl Job<'_> {
    fn tool(&self) -> String {
        self.adapter.name().to_owned()
    }

    const fn client(&self) -> &'static str {
        match self.install.kind {
            InstallKind::Pypi => "pip",
            InstallKind::Npm => "npm",
            InstallKind::Go => "go",
            InstallKind::Apt => "apt",
        }
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
        let path = path.display().to_string();
        move |source| InstallError::Io { path, source }
    }

    async fn run(&self) -> Result<PathBuf, InstallError> {
        let parent = self.folder.parent().unwrap_or(self.folder);
        std::fs::create_dir_all(parent).map_err(Self::io(parent))?;
        let _one_at_a_time = self.hold_lock(parent).await?;
        if let Some(path) = installed_binary(self.folder, self.adapter, self.install) {
            return Ok(path);
        }
        if self.folder.exists() {
            std::fs::remove_dir_all(self.folder).map_err(Self::io(self.folder))?;
        }
        std::fs::create_dir_all(self.folder).map_err(Self::io(self.folder))?;
        (self.progress)(InstallStep::Start {
            tool: self.tool(),
            client: self.client(),
            package: format!("{} {}", self.install.package, self.install.version),
        });
        match self.install.kind {
            InstallKind::Pypi => self.pip().await?,
            InstallKind::Npm => self.npm().await?,
            InstallKind::Go => self.go().await?,
            InstallKind::Apt => {
                return Err(InstallError::System {
                    tool: self.tool(),
                    package: self.install.package.clone(),
                });
            }
        }
        let marker = self.folder.join(".complete");
        std::fs::write(&marker, b"").map_err(Self::io(&marker))?;
        installed_binary(self.folder, self.adapter, self.install).ok_or_else(|| InstallError::Pin {
            tool: self.tool(),
            cause: format!(
                "the package {} holds no such executable",
                self.install.package
            ),
        })
    }

    /// Two installations of one tool wait for each other; the kernel frees the lock of a dead one.
    async fn hold_lock(&self, parent: &Path) -> Result<std::fs::File, InstallError> {
        let path = parent.join(".lock");
        let file = std::fs::File::create(&path).map_err(Self::io(&path))?;
        tokio::task::spawn_blocking(move || {
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map(|()| file)
        })
        .await
        .map_err(|error| std::io::Error::other(error.to_string()))
        .and_then(|locked| locked.map_err(std::io::Error::from))
        .map_err(Self::io(&path))
    }

    fn lock_asset(&self) -> Result<(String, std::borrow::Cow<'static, [u8]>), InstallError> {
        let pin = |cause: String| InstallError::Pin {
            tool: self.tool(),
            cause,
        };
        let path = self.install.requires.clone().ok_or_else(|| {
            pin("the adapter names no file of hashes; nothing unpinned is installed".into())
        })?;
        let bytes = self
            .catalogue
            .asset(&path)
            .ok_or_else(|| pin(format!("the file of hashes {path} is not there")))?;
        Ok((path, bytes))
    }

    async fn pip(&self) -> Result<(), InstallError> {
        let (_, hashes) = self.lock_asset()?;
        let requirements = self.folder.join("requirements.txt");
        std::fs::write(&requirements, &hashes).map_err(Self::io(&requirements))?;
        let mut failure = None;
        // Wheels exist per version of Python: try those that are here.
        for python in [
            "python3",
            "python3.13",
            "python3.12",
            "python3.11",
            "python3.14",
            "python3.10",
        ] {
            let made = self
                .call(&[
                    python.into(),
                    "-m".into(),
                    "venv".into(),
                    "--clear".into(),
                    "--without-scm-ignore-files".into(),
                    self.folder.into(),
                ])
                .await;
            let made = match made {
                Err(InstallError::Client { .. }) => {
                    self.call(&[
                        python.into(),
                        "-m".into(),
                        "venv".into(),
                        "--clear".into(),
                        self.folder.into(),
                    ])
                    .await
                }
                other => other,
            };
            if let Err(error) = made {
                failure.get_or_insert(error);
                continue;
            }
            // `--clear` emptied the folder.
            std::fs::write(&requirements, &hashes).map_err(Self::io(&requirements))?;
            let pip = self.folder.join("bin").join("pip");
            let mut argv: Vec<OsString> = vec![pip.into()];
            argv.extend(
                [
                    "install",
                    "--require-hashes",
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "--no-input",
                    "--disable-pip-version-check",
                    "--progress-bar",
                    "off",
                ]
                .map(OsString::from),
            );
            if !self.install.sources.is_empty() {
                argv.extend(
                    [
                        "--no-build-isolation",
                        "--no-binary",
                        &self.install.sources.join(","),
                    ]
                    .map(OsString::from),
                );
            }
            argv.push("-r".into());
            argv.push(requirements.clone().into());
            match self.call(&argv).await {
                Ok(()) => return Ok(()),
                Err(error @ InstallError::Client { offline: true, .. }) => return Err(error),
                // A hash that is missing or wrong is so for every Python.
                Err(error) if error.to_string().to_lowercase().contains("hash") => {
                    return Err(error);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| InstallError::NoPackage(self.tool())))
    }

    async fn npm(&self) -> Result<(), InstallError> {
        let (path, _) = self.lock_asset()?;
        let beside = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for name in ["package.json", "package-lock.json"] {
            let asset = format!("{beside}/{name}");
            let bytes = self
                .catalogue
                .asset(&asset)
                .ok_or_else(|| InstallError::Pin {
                    tool: self.tool(),
                    cause: format!("{asset} is not there"),
                })?;
            let file = self.folder.join(name);
            std::fs::write(&file, bytes).map_err(Self::io(&file))?;
        }
        let argv = [
            "npm",
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ];
        let mut argv: Vec<OsString> = argv.map(OsString::from).into();
        argv.push(self.folder.into());
        self.call(&argv).await
    }

    async fn go(&self) -> Result<(), InstallError> {
        let wanted = self
            .install
            .integrity
            .clone()
            .ok_or_else(|| InstallError::Pin {
                tool: self.tool(),
                cause: "the adapter names no module hash; nothing unpinned is installed".into(),
            })?;
        let (module, _) = self
            .install
            .package
            .split_once("/cmd/")
            .unwrap_or((&self.install.package, ""));
        let output = self
            .output(&[
                "go".into(),
                "mod".into(),
                "download".into(),
                "-json".into(),
                format!("{module}@{}", self.install.version).into(),
            ])
            .await?;
        let sum = serde_json::from_slice::<serde_json::Value>(&output)
            .ok()
            .and_then(|json| {
                json.get("Sum")
                    .and_then(|sum| sum.as_str())
                    .map(str::to_owned)
            });
        if sum.as_deref() != Some(wanted.as_str()) {
            return Err(InstallError::Pin {
                tool: self.tool(),
                cause: format!(
                    "module {module} has the hash {}, pinned is {wanted}",
                    sum.unwrap_or_default()
                ),
            });
        }
        self.call(&[
            "go".into(),
            "install".into(),
            format!("{}@{}", self.install.package, self.install.version).into(),
        ])
        .await
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut env = scrubbed_with_network();
        // The user's own registry settings: indexes, proxies, credentials of package clients.
        env.extend(std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            ["PIP_", "npm_config_", "NPM_CONFIG_", "GO"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        }));
        env.push(("GOBIN".into(), self.folder.join("bin").into()));
        env
    }

    fn command(&self, argv: &[OsString]) -> Result<tokio::process::Child, InstallError> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| InstallError::NoPackage(self.tool()))?;
        tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment())
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| InstallError::NoClient {
                tool: self.tool(),
                client: program.to_string_lossy().into_owned(),
                cause: error.to_string(),
            })
    }

    /// Runs a client, passing its lines on.
    async fn call(&self, argv: &[OsString]) -> Result<(), InstallError> {
        let mut child = self.command(argv)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (_, words) = tokio::join!(self.lines(stdout), self.lines(stderr));
            (child.wait().await, words)
        };
        match tokio::time::timeout(LIMIT, work).await {
            Ok((Ok(status), _)) if status.success() => Ok(()),
            Ok((Ok(status), words)) => Err(self.failed(&format!("{status}: {words}"))),
            Ok((Err(error), _)) => Err(self.failed(&error.to_string())),
            Err(_) => Err(self.failed(&format!("no end within {} s", LIMIT.as_secs()))),
        }
    }

    async fn output(&self, argv: &[OsString]) -> Result<Vec<u8>, InstallError> {
        let child = self.command(argv)?;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .map_err(|_| self.failed("no end"))?
            .map_err(|error| self.failed(&error.to_string()))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(self.failed(String::from_utf8_lossy(&output.stderr).trim()))
        }
    }

    fn failed(&self, words: &str) -> InstallError {
        let offline = [
            "Temporary failure in name resolution",
            "Name or service not known",
            "Connection refused",
            "Network is unreachable",
            "ENOTFOUND",
            "EAI_AGAIN",
            "ECONNREFUSED",
            "dial tcp",
            "Max retries exceeded",
            "No route to host",
            "timed out",
        ]
        .iter()
        .any(|sign| words.contains(sign));
        let cause: String = words
            .chars()
            .rev()
            .take(600)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        InstallError::Client {
            tool: self.tool(),
            client: self.client().into(),
            cause,
            offline,
        }
    }

    /// Passes lines on and returns the last few.
    async fn lines(&self, stream: Option<impl AsyncRead + Unpin>) -> String {
        let Some(stream) = stream else {
            return String::new();
        };
        let mut reader = BufReader::new(stream);
        let mut words = std::collections::VecDeque::new();
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
            let text: String = String::from_utf8_lossy(&line)
                .trim_end()
                .chars()
                .take(400)
                .collect();
            line.clear();
            if !text.is_empty() {
                (self.progress)(InstallStep::Line(text.clone()));
                words.push_back(text);
                if words.len() > 6 {
                    words.pop_front();
                }
            }
        }
        Vec::from(words).join("; ")
    }
}
