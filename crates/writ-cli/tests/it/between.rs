//! What stands between a client and its server: a forwarder that can lose answers, or answer itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it does with a request.
#[derive(Debug, Clone)]
pub enum Way {
    /// Brings it and its answer.
    Forward,
    /// Brings this many requests that change something, and loses each answer; then forwards.
    LoseAnswers(usize),
    /// Gives this answer this many times to requests that change something; then forwards.
    Answer(usize, String),
}

/// A forwarder at an address that stays.
pub struct Between {
    pub address: SocketAddr,
    way: Arc<Mutex<Way>>,
    behind: Arc<Mutex<Option<SocketAddr>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Between {
    /// Nobody is behind it yet.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Self {
            address: listener.local_addr().unwrap(),
            way: Arc::new(Mutex::new(Way::Forward)),
            behind: Arc::default(),
            seen: Arc::default(),
        };
        let (way, behind, seen) = (
            Arc::clone(&between.way),
            Arc::clone(&between.behind),
            Arc::clone(&between.seen),
        );
        // It ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (way, behind, seen) =
                    (Arc::clone(&way), Arc::clone(&behind), Arc::clone(&seen));
                thread::spawn(move || {
                    let Ok(stream) = stream else { return };
                    // A connection that breaks is what some tests are about.
                    drop(one(stream, &way, &behind, &seen));
                });
            }
        });
        between
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who is behind it.
    pub fn leads_to(&self, address: Option<SocketAddr>) {
        *self.behind.lock().unwrap() = address;
    }

    pub fn set(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    /// Heads of the requests that came, and forgets them.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn one(
    mut client: TcpStream,
    way: &Mutex<Way>,
    behind: &Mutex<Option<SocketAddr>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (head, body) = request(&mut client)?;
    seen.lock().unwrap().push(head.clone());
    let changes = head.starts_with("POST");
    let mut lose = false;
    {
        let mut way = way.lock().unwrap();
        match &mut *way {
            Way::Forward => {}
            Way::LoseAnswers(left) if changes && *left > 0 => {
                *left -= 1;
                lose = true;
            }
            Way::Answer(left, answer) if changes && *left > 0 => {
                *left -= 1;
                let answer = answer.clone();
                drop(way);
                client.write_all(answer.as_bytes())?;
                return client.flush();
            }
            Way::LoseAnswers(_) | Way::Answer(..) => {}
        }
    }
    let Some(behind) = *behind.lock().unwrap() else {
        return Ok(());
    };
    let mut server = TcpStream::connect(behind)?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut sent = format!("{line}\r\nconnection: close\r\n");
    for header in headers.split("\r\n").filter(|header| !header.is_empty()) {
        if !header.to_ascii_lowercase().starts_with("connection:") {
            sent.push_str(header);
            sent.push_str("\r\n");
        }
    }
    sent.push_str("\r\n");
    server.write_all(sent.as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if !lose {
        client.write_all(&answer)?;
        client.flush()?;
    }
    Ok(())
}

/// The head of a request, without its empty line, and its body.
fn request(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8_192];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        body.extend_from_slice(&chunk[..read]);
    }
    Ok((head, body))
}

/// A whole answer as bytes.
pub fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
}
