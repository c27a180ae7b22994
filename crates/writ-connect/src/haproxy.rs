//! HAProxy's [runtime API]: commands over its admin socket.
//!
//! In scope: the state, weight, address and figures of the servers of one backend. Out of scope: its
//! configuration file, which belongs to its operator.
//!
//! [runtime API]: https://docs.haproxy.org/2.6/management.html#9.3

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Longest wait for one command.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer, in bytes: some thousands of servers.
const MAX_ANSWER: u64 = 4 << 20;

/// Longest name of a backend or server.
const MAX_NAME: usize = 120;

/// Largest weight that HAProxy knows.
pub const MAX_WEIGHT: u32 = 256;

/// Why HAProxy did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HaproxyError {
    /// The socket cannot be spoken to.
    #[error("HAProxy's socket {} cannot be used: {source}", .socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("HAProxy did not answer '{command}' on {} within {} s", .socket.display(), .limit.as_secs())]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The answer is longer than any should be.
    #[error("HAProxy answered '{command}' with more than {MAX_ANSWER} bytes")]
    TooLong {
        /// What was asked.
        command: String,
    },
    /// It refused.
    #[error("HAProxy refused '{command}': {said}")]
    Refused {
        /// What was asked.
        command: String,
        /// Its own words.
        said: String,
    },
    /// There is no such backend or server.
    #[error("HAProxy has no server '{0}'")]
    NoServer(String),
    /// A name that would be more than a name in a command.
    #[error("'{0}' is not a name of HAProxy's")]
    Name(String),
    /// The answer is not what it should be.
    #[error("HAProxy answered '{command}' with what cannot be understood: {reason}")]
    Strange {
        /// What was asked.
        command: String,
        /// Why.
        reason: String,
    },
}

impl HaproxyError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Socket { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "let this user write the socket: `stats socket PATH group GROUP mode 660 level admin`"
            }
            Self::Socket { .. } | Self::Timeout { .. } => {
                "see that HAProxy runs, and that its configuration has `stats socket PATH level admin`"
            }
            Self::Refused { said, .. } if said.contains("ermission") => {
                "the socket needs `level admin`"
            }
            Self::Refused { said, .. } if said.contains("static LB") => {
                "use `balance roundrobin` or `leastconn`, or share = 100"
            }
            Self::Refused { .. } | Self::TooLong { .. } | Self::Strange { .. } => {
                "see what HAProxy's own log says; it must be 2.2 or newer"
            }
            Self::NoServer(_) => "name the backend and its servers as haproxy.cfg does",
            Self::Name(_) => "letters, digits, `-`, `_`, `.` and `:`",
        }
    }
}

/// Whether a server gets traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// It gets traffic when it is up.
    Ready,
    /// It gets no new traffic; what goes on there goes on.
    Drain,
    /// It gets none, and is not checked.
    Maint,
}

impl AdminState {
    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

/// A server as `show stat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// `UP`, `DOWN`, `MAINT`, `DRAIN`, `no check`, `UP 1/3`, ….
    pub status: String,
    /// Its weight now.
    pub weight: u64,
    /// Its address, where HAProxy tells.
    pub address: Option<String>,
    /// Sessions that are going on.
    pub sessions: u64,
    /// Requests that wait for it.
    pub queued: u64,
    /// Answers by the first digit of their status, 1 to 5, and others.
    pub answers: [u64; 6],
    /// Requests to which no connection could be made.
    pub no_connection: u64,
    /// Requests that it did not answer in full.
    pub no_answer: u64,
    /// Mean time of the latest 1,024 answers in milliseconds.
    pub mean_millis: Option<u64>,
}

impl Server {
    /// Whether it gets new requests.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.weight > 0 && (self.status.starts_with("UP") || self.status == "no check")
    }

    /// Requests that were answered or failed.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.answers.iter().sum::<u64>() + self.no_connection + self.no_answer
    }

    /// Requests that failed: 5xx, no connection, no answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.answers[4] + self.no_connection + self.no_answer
    }
}

/// A client of one HAProxy's admin socket. Each command is a connection of its own.
#[derive(Debug, Clone)]
pub struct Haproxy {
    socket: PathBuf,
    timeout: Duration,
}

impl Haproxy {
    /// Of a Unix socket; nothing is sent yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            timeout: TIMEOUT,
        }
    }

    /// With another limit for one command.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where it speaks to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The servers of a backend, in the order of the configuration.
    ///
    /// # Errors
    /// There is no such backend, or HAProxy does not answer.
    pub async fn servers(&self, backend: &str) -> Result<Vec<Server>, HaproxyError> {
        let command = format!("show stat {} 4 -1", name(backend)?);
        let text = self.ask(&command).await?;
        if !text.starts_with("# ") {
            if text.contains("No such proxy") || text.contains("Can't find") {
                return Err(HaproxyError::NoServer(format!("{backend}/…")));
            }
            return Err(refused(&command, &text));
        }
        let servers = parse(&text).map_err(|reason| HaproxyError::Strange { command, reason })?;
        if servers.is_empty() {
            return Err(HaproxyError::NoServer(format!("{backend}/…")));
        }
        Ok(servers)
    }

    /// One server.
    ///
    /// # Errors
    /// There is none, or HAProxy does not answer.
    pub async fn server(&self, backend: &str, server: &str) -> Result<Server, HaproxyError> {
        self.servers(backend)
            .await?
            .into_iter()
            .find(|found| found.name == server)
            .ok_or_else(|| HaproxyError::NoServer(format!("{backend}/{server}")))
    }

    /// Sets whether a server gets traffic.
    ///
    /// # Errors
    /// HAProxy refuses or does not answer.
    pub async fn set_state(
        &self,
        backend: &str,
        server: &str,
        state: AdminState,
    ) -> Result<(), HaproxyError> {
        self.set(backend, server, &format!("state {}", state.word()), &[])
            .await
    }

    /// Sets a server's part of the traffic, 0 to 256, against the weights of the others.
    ///
    /// # Errors
    /// The weight is too large, the backend's algorithm takes none, or HAProxy does not answer.
    pub async fn set_weight(
        &self,
        backend: &str,
        server: &str,
        weight: u32,
    ) -> Result<(), HaproxyError> {
        self.set(backend, server, &format!("weight {weight}"), &[])
            .await
    }

    /// Sets a server's address: an IP address and a port.
    ///
    /// # Errors
    /// HAProxy refuses or does not answer.
    pub async fn set_address(
        &self,
        backend: &str,
        server: &str,
        address: std::net::SocketAddr,
    ) -> Result<(), HaproxyError> {
        let what = format!("addr {} port {}", address.ip(), address.port());
        // It tells what it changed, or that there was nothing to change.
        self.set(backend, server, &what, &["changed", "no need to change"])
            .await
    }

    async fn set(
        &self,
        backend: &str,
        server: &str,
        what: &str,
        good: &[&str],
    ) -> Result<(), HaproxyError> {
        let command = format!("set server {}/{} {what}", name(backend)?, name(server)?);
        let said = self.ask(&command).await?;
        let said = said.trim();
        if said.is_empty() || good.iter().any(|good| said.contains(good)) {
            return Ok(());
        }
        if said.contains("No such") {
            return Err(HaproxyError::NoServer(format!("{backend}/{server}")));
        }
        Err(refused(&command, said))
    }

    /// One command and its answer.
    async fn ask(&self, command: &str) -> Result<String, HaproxyError> {
        let socket = |source| HaproxyError::Socket {
            socket: self.socket.clone(),
            source,
        };
        let talk = async {
            let mut stream = UnixStream::connect(&self.socket).await.map_err(socket)?;
            stream
                .write_all(format!("{command}\n").as_bytes())
                .await
                .map_err(socket)?;
            let mut answer = Vec::new();
            stream
                .take(MAX_ANSWER + 1)
                .read_to_end(&mut answer)
                .await
                .map_err(socket)?;
            if answer.len() as u64 > MAX_ANSWER {
                return Err(HaproxyError::TooLong {
                    command: command.to_owned(),
                });
            }
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        tokio::time::timeout(self.timeout, talk)
            .await
            .map_err(|_| HaproxyError::Timeout {
                socket: self.socket.clone(),
                command: command.to_owned(),
                limit: self.timeout,
            })?
    }
}

/// A name that ends neither the word nor the command.
fn name(text: &str) -> Result<&str, HaproxyError> {
    let good = !text.is_empty()
        && text.len() <= MAX_NAME
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if good {
        Ok(text)
    } else {
        Err(HaproxyError::Name(text.chars().take(80).collect()))
    }
}

fn refused(command: &str, said: &str) -> HaproxyError {
    let said: String = said.trim().chars().take(300).collect();
    HaproxyError::Refused {
        command: command.to_owned(),
        said: said.replace(|c: char| c.is_control(), " "),
    }
}

/// The table of `show stat`: a line of names after `# `, then a line per server.
fn parse(text: &str) -> Result<Vec<Server>, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let head = lines
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .ok_or("it has no head")?;
    let names: Vec<&str> = head.split(',').collect();
    let column = |wanted: &str| {
        names
            .iter()
            .position(|name| *name == wanted)
            .ok_or_else(|| format!("it has no column {wanted}"))
    };
    let place = |wanted: &str| names.iter().position(|name| *name == wanted);
    let (svname, status, weight) = (column("svname")?, column("status")?, column("weight")?);
    let (scur, qcur) = (column("scur")?, column("qcur")?);
    let (econ, eresp) = (column("econ")?, column("eresp")?);
    let (rtime, address) = (place("rtime"), place("addr"));
    let answers = [
        column("hrsp_1xx")?,
        column("hrsp_2xx")?,
        column("hrsp_3xx")?,
        column("hrsp_4xx")?,
        column("hrsp_5xx")?,
        column("hrsp_other")?,
    ];
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
            let number = |at: usize| -> Result<u64, String> {
                match cell(at) {
                    // What does not apply is empty.
                    "" => Ok(0),
                    text => text.parse().map_err(|_| {
                        format!(
                            "'{}' is not a number",
                            &text.chars().take(20).collect::<String>()
                        )
                    }),
                }
            };
            let mut counted = [0; 6];
            for (into, at) in counted.iter_mut().zip(answers) {
                *into = number(at)?;
            }
            Ok(Server {
                name: cell(svname).to_owned(),
                status: cell(status).to_owned(),
                weight: number(weight)?,
                address: address
                    .map(cell)
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned),
                sessions: number(scur)?,
                queued: number(qcur)?,
                answers: counted,
                no_connection: number(econ)?,
                no_answer: number(eresp)?,
                mean_millis: rtime.and_then(|at| cell(at).parse().ok()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "# pxname,svname,qcur,qmax,scur,status,weight,econ,eresp,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,rtime,addr,\n\
        shop,blue,0,0,3,UP,1,1,2,0,100,1,5,7,0,12,127.0.0.1:8001,\n\
        shop,green,0,,0,MAINT,1,0,0,0,0,0,0,0,0,,,\n\n";

    #[test]
    fn a_table_is_read_by_the_names_of_its_columns() {
        let servers = parse(STAT).unwrap();
        assert_eq!(servers.len(), 2);
        let blue = &servers[0];
        assert_eq!((blue.requests(), blue.failed()), (116, 10));
        assert_eq!((blue.sessions, blue.mean_millis), (3, Some(12)));
        assert_eq!(blue.address.as_deref(), Some("127.0.0.1:8001"));
        assert!(blue.serves() && !servers[1].serves());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        assert!(parse("").is_err());
        assert!(
            parse("# pxname,svname\na,b\n")
                .unwrap_err()
                .contains("status")
        );
        let broken = STAT.replace(",3,UP", ",three,UP");
        assert!(parse(&broken).unwrap_err().contains("'three'"));
    }

    #[test]
    fn a_name_is_never_more_than_a_name() {
        for bad in ["", "a b", "a;b", "a\nshow info", "a/b", "ä"] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(name("shop-1.api:x_y").unwrap(), "shop-1.api:x_y");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_says_so() {
        let gone = Haproxy::new("/nonexistent/admin.sock");
        let error = gone.servers("shop").await.unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/admin.sock"),
            "{error}"
        );
        assert!(error.remedy().contains("level admin"));
    }
}
