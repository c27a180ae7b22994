//! `writ hook install | uninstall`: the git pre-commit hook.
//!
//! The hook is found through `git rev-parse --git-path hooks`, so `core.hooksPath` is respected. An
//! existing hook of somebody else is kept: Writ's part is a marked block that is added or removed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::HookCommand;
use writ_render::EdgeError;

use crate::edge::{self, Edge};

const BEGIN: &str = "# >>> writ pre-commit >>>";
const END: &str = "# <<< writ pre-commit <<<";

/// Runs the command.
///
/// # Errors
///
/// No repository, or a hook that cannot be written.
pub fn run(command: &HookCommand, directory: &Path) -> Result<u8, EdgeError> {
    match command {
        HookCommand::Install => {
            let (path, changed) = install(directory)?;
            let word = if changed {
                "installed"
            } else {
                "already installed"
            };
            println!("{word}  {}", path.display());
            println!("Every commit now runs: writ check --staged");
        }
        HookCommand::Uninstall => match uninstall(directory)? {
            Some(path) => println!("removed  {}", path.display()),
            None => println!("no hook of Writ is installed here"),
        },
    }
    Ok(0)
}

/// Installs the hook; returns its path and whether anything changed.
///
/// # Errors
///
/// No repository, or a hook that cannot be written.
pub fn install(directory: &Path) -> Result<(PathBuf, bool), EdgeError> {
    let path = hook_path(directory)?;
    let old = read(&path)?;
    if old.contains(BEGIN) {
        return Ok((path, false));
    }
    let mut text = if old.is_empty() {
        "#!/bin/sh\n".to_owned()
    } else {
        old
    };
    if !text.starts_with("#!") {
        return Err(
            edge::usage("the existing hook is not a script, so Writ cannot add its lines")
                .at(path.display())
                .try_this("call `writ check --staged` from it yourself"),
        );
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // After the shebang line, so that an early `exit` of the existing hook does not skip the check.
    let after_shebang = text.find('\n').map_or(text.len(), |at| at + 1);
    text.insert_str(after_shebang, &block());
    write(&path, &text)?;
    Ok((path, true))
}

/// Removes Writ's lines; returns the path where there were some.
///
/// # Errors
///
/// No repository, or a hook that cannot be written.
pub fn uninstall(directory: &Path) -> Result<Option<PathBuf>, EdgeError> {
    let path = hook_path(directory)?;
    let old = read(&path)?;
    let (Some(begin), Some(end)) = (old.find(BEGIN), old.find(END)) else {
        return Ok(None);
    };
    let after = old[end..].find('\n').map_or(old.len(), |at| end + at + 1);
    let mut text = String::from(&old[..begin]);
    text.push_str(&old[after..]);
    if text.trim() == "#!/bin/sh" {
        std::fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
    } else {
        write(&path, &text)?;
    }
    Ok(Some(path))
}

/// Whether Writ's lines are in the hook.
///
/// # Errors
///
/// No repository, or a hook that cannot be read.
pub fn installed(directory: &Path) -> Result<bool, EdgeError> {
    Ok(read(&hook_path(directory)?)?.contains(BEGIN))
}

fn block() -> String {
    [
        BEGIN,
        "# Looks for secrets in what you are about to commit. The server repeats the scan, so",
        "# `git commit --no-verify` only delays the answer.",
        "if command -v writ >/dev/null 2>&1; then",
        "    writ check --staged --quiet || exit $?",
        "else",
        "    echo \"writ is not on the PATH: this commit was not checked\" >&2",
        "fi",
        END,
        "",
    ]
    .join("\n")
}

fn hook_path(directory: &Path) -> Result<PathBuf, EdgeError> {
    let output = Command::new("git")
        .args(["rev-parse", "--git-path", "hooks"])
        .current_dir(directory)
        .output()
        .map_err(|error| {
            edge::cannot_tell("cannot run git")
                .because(error)
                .try_this("install git")
        })?;
    if !output.status.success() {
        return Err(edge::usage("this is no git repository")
            .at(directory.display())
            .because(String::from_utf8_lossy(&output.stderr).trim())
            .try_this("git init"));
    }
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(directory.join(folder).join("pre-commit"))
}

fn read(path: &Path) -> Result<String, EdgeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(cannot("read", path, &error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), EdgeError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
    }
    crate::context::write_file(path, text.as_bytes())?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| cannot("make executable", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> EdgeError {
    edge::cannot_tell(format!("cannot {verb} the git hook"))
        .at(path.display())
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("git")
            .args(["init", "-q"])
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        folder
    }

    #[test]
    fn installs_once_and_leaves_nothing_behind() {
        let folder = repository();
        let (path, changed) = install(folder.path()).unwrap();
        assert!(changed);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_ne!(mode & 0o111, 0);
        assert!(!install(folder.path()).unwrap().1);
        assert_eq!(uninstall(folder.path()).unwrap(), Some(path.clone()));
        assert!(!path.exists());
        assert_eq!(uninstall(folder.path()).unwrap(), None);
    }

    #[test]
    fn keeps_the_hook_of_somebody_else() {
        let folder = repository();
        let path = hook_path(folder.path()).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let theirs = "#!/bin/bash\necho theirs\nexit 0\n";
        std::fs::write(&path, theirs).unwrap();
        install(folder.path()).unwrap();
        let both = std::fs::read_to_string(&path).unwrap();
        assert!(both.starts_with("#!/bin/bash\n# >>> writ"));
        assert!(both.ends_with("echo theirs\nexit 0\n"));
        uninstall(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), theirs);
    }

    #[test]
    fn outside_a_repository_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = install(folder.path()).unwrap_err();
        assert_eq!(error.exit_code, 2);
        assert!(error.message.contains("no git repository"));
    }
}
