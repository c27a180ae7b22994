//! Processes of a Linux host, and the bytes that they execute.
//!
//! `/proc/PID/exe` leads to the file that is executed, also when it was deleted or replaced on disk
//! since: what is hashed is what runs. A file on disk that differs from what runs is told beside it,
//! because the next start takes that one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use writ_evidence::predicate::Running;
use writ_model::{Digest, Timestamp};

use super::Names;
use crate::config::Observe;

/// Most processes that are looked at.
const MAX_PROCESSES: usize = 200_000;
/// Most processes of one service.
const MAX_MATCHES: usize = 10_000;
/// Largest file of `/proc` that is read, in bytes.
const MAX_TEXT: u64 = 64 << 10;
/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, 100 on every architecture that Writ is built for.
const TICKS: i64 = 100;
/// What the kernel writes behind the path of a file that is gone.
const DELETED: &str = " (deleted)";

/// Where a host tells of its processes.
#[derive(Debug, Clone)]
pub struct Host {
    proc: PathBuf,
}

impl Host {
    /// Of a `/proc`.
    #[must_use]
    pub const fn new(proc: PathBuf) -> Self {
        Self { proc }
    }

    fn of(&self, pid: u32) -> PathBuf {
        self.proc.join(pid.to_string())
    }

    /// The numbers of all processes.
    fn pids(&self) -> Result<Vec<u32>, String> {
        let unreadable =
            |error: io::Error| format!("{} cannot be read: {error}", self.proc.display());
        let mut pids = Vec::new();
        for entry in fs::read_dir(&self.proc).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
                pids.push(pid);
            }
            if pids.len() > MAX_PROCESSES {
                return Err(format!("more than {MAX_PROCESSES} processes run"));
            }
        }
        pids.sort_unstable();
        Ok(pids)
    }

    fn text(&self, pid: u32, name: &str) -> io::Result<String> {
        read(&self.of(pid).join(name))
    }

    /// Since when a process runs, where the host tells.
    fn since(&self, pid: u32) -> Option<Timestamp> {
        let stat = self.text(pid, "stat").ok()?;
        // The name of the program stands in parentheses and may hold any character.
        let rest = stat.rsplit_once(')')?.1;
        let ticks: i64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
        let boot: i64 = read(&self.proc.join("stat"))
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
        Some(Timestamp::from_micros(
            boot.saturating_mul(1_000_000)
                .saturating_add(ticks.saturating_mul(1_000_000 / TICKS)),
        ))
    }
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_TEXT)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A process that is gone by now is nobody's error.
fn is_gone(error: &io::Error) -> bool {
    // ESRCH: it ended while it was looked at.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

/// The processes of a service, as rows of a snapshot.
pub(super) fn seen(host: &Host, observe: &Observe, names: &Names) -> Result<Vec<Running>, String> {
    let pids = found(host, observe)?;
    let mut rows: BTreeMap<Digest, Running> = BTreeMap::new();
    let mut on_disk: BTreeMap<PathBuf, Vec<(PathBuf, Digest)>> = BTreeMap::new();
    for pid in pids {
        let exe = host.of(pid).join("exe");
        let digest = match &observe.file {
            Some(file) => writ_registry::file_digest(file).map_err(|error| error.to_string())?,
            None => match digest(&exe) {
                Ok(digest) => digest,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    return Err(format!(
                        "what process {pid} executes cannot be read: {error}"
                    ));
                }
            },
        };
        if observe.file.is_none()
            && let Ok(path) = fs::read_link(&exe)
        {
            let path = without_mark(&path);
            // Where it runs in a container the path is one of the container's.
            let root = host.of(pid).join("root");
            let there = root.join(path.strip_prefix("/").unwrap_or(&path));
            on_disk.entry(path).or_default().push((there, digest));
        }
        let row = rows.entry(digest).or_insert_with(|| Running {
            service: names.service.clone(),
            name: names.name.clone(),
            artifact: Some(digest),
            also: Vec::new(),
            replicas: 0,
            since: None,
        });
        row.replicas += 1;
        let since = host.since(pid);
        row.since = match (row.since, since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
    }
    let mut rows: Vec<Running> = rows.into_values().collect();
    for (path, running) in on_disk {
        let Some((there, _)) = running.first() else {
            continue;
        };
        match digest(there) {
            Ok(digest) if running.iter().all(|(_, runs)| *runs != digest) => rows.push(Running {
                service: names.service.clone(),
                name: format!(
                    "{} (the file {}, at the next start)",
                    names.name,
                    path.display()
                ),
                artifact: Some(digest),
                also: Vec::new(),
                replicas: 0,
                since: None,
            }),
            // It is what runs; or it is gone or unreadable, and then nothing starts from it.
            _ => {}
        }
    }
    Ok(rows)
}

fn digest(path: &Path) -> io::Result<Digest> {
    // Opened first, so that its kind of error is known.
    drop(fs::File::open(path)?);
    writ_registry::file_digest(path).map_err(|error| io::Error::other(error.to_string()))
}

/// The path of an executable without what the kernel writes behind it.
fn without_mark(path: &Path) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(DELETED)) {
        Some(text) => PathBuf::from(text),
        None => path.to_owned(),
    }
}

/// The processes that are meant.
fn found(host: &Host, observe: &Observe) -> Result<Vec<u32>, String> {
    if let Some(file) = &observe.pid_file {
        return by_file(host, file);
    }
    let mut unknown = 0_u64;
    let mut found = Vec::new();
    for pid in host.pids()? {
        let is = match (&observe.exe, &observe.unit) {
            (Some(exe), _) => {
                fs::read_link(host.of(pid).join("exe")).map(|path| without_mark(&path) == *exe)
            }
            (None, Some(unit)) => host.text(pid, "cgroup").map(|text| in_group(&text, unit)),
            (None, None) => {
                return Err("neither exe, unit nor pid_file says which process".to_owned());
            }
        };
        match is {
            Ok(true) => found.push(pid),
            Ok(false) => {}
            Err(error) if is_gone(&error) => {}
            Err(_) => unknown += 1,
        }
        if found.len() > MAX_MATCHES {
            return Err(format!("more than {MAX_MATCHES} processes match"));
        }
    }
    if found.is_empty() && unknown > 0 {
        return Err(format!(
            "no process that may be looked at matches, and {unknown} may not be looked at: run as the user of the service, or as root"
        ));
    }
    Ok(found)
}

/// Whether a control group lies in one of this name: `0::/system.slice/orders.service`.
fn in_group(text: &str, unit: &str) -> bool {
    let dotted = format!("{unit}.service");
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| path.split('/').any(|part| part == unit || part == dotted))
}

fn by_file(host: &Host, file: &Path) -> Result<Vec<u32>, String> {
    let text = match read(file) {
        Ok(text) => text,
        // Services take the file away when they end.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
    };
    let pid: u32 = text
        .trim()
        .parse()
        .map_err(|_| format!("{} does not hold the number of a process", file.display()))?;
    Ok(if host.of(pid).exists() {
        vec![pid]
    } else {
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_deleted_files() {
        let text = "0::/system.slice/orders.service\n";
        assert!(in_group(text, "orders.service"));
        assert!(in_group(text, "orders"));
        assert!(!in_group(text, "order"));
        assert!(!in_group("0::/user.slice/orders.service.d/x", "orders"));
        assert!(in_group("1:name=systemd:/a/b\n0::/kube/pod1/web", "web"));
        assert_eq!(
            without_mark(Path::new("/bin/a (deleted)")),
            Path::new("/bin/a")
        );
        assert_eq!(without_mark(Path::new("/bin/a")), Path::new("/bin/a"));
    }

    #[test]
    fn a_host_without_processes_or_without_proc() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names {
            service: None,
            name: "orders".to_owned(),
        };
        let mut observe = Observe::of(crate::config::ObserveKind::Process);
        observe.exe = Some("/nowhere/orders".into());
        let host = Host::new(folder.path().to_owned());
        assert_eq!(seen(&host, &observe, &names), Ok(Vec::new()));
        let host = Host::new(folder.path().join("absent"));
        assert!(
            seen(&host, &observe, &names)
                .unwrap_err()
                .contains("cannot be read")
        );
        observe.exe = None;
        observe.pid_file = Some(folder.path().join("orders.pid"));
        let host = Host::new(folder.path().to_owned());
        assert_eq!(seen(&host, &observe, &names), Ok(Vec::new()));
        fs::write(folder.path().join("orders.pid"), "soon").unwrap();
        assert!(
            seen(&host, &observe, &names)
                .unwrap_err()
                .contains("number of a process")
        );
    }
}
