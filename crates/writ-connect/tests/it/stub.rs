//! A server on the loopback that says what it is told to, and remembers what it was asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does with one connection.
#[derive(Clone)]
pub enum Act {
    /// Answers with a status and a body.
    Say(u16, String),
    /// Answers with these bytes.
    Raw(Vec<u8>),
    /// Closes the connection after reading the request.
    Hang,
    /// Keeps the connection open and says nothing.
    Silent,
}

pub struct Stub {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _kept: Arc<Mutex<Vec<TcpStream>>>,
}

impl Stub {
    /// Does these acts, one per connection; the last one again and again.
    pub fn new(acts: Vec<Act>) -> Self {
        Self::answering(move |number, _| acts[number.min(acts.len() - 1)].clone())
    }

    /// Does what `act` says about the n-th request, which it sees.
    pub fn answering(mut act: impl FnMut(usize, &str) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (log, keep) = (Arc::clone(&asked), Arc::clone(&kept));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&mut stream) else {
                    continue;
                };
                let act = act(number, &request);
                log.lock().unwrap().push(request);
                let bytes = match act {
                    Act::Say(status, body) => format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    )
                    .into_bytes(),
                    Act::Raw(bytes) => bytes,
                    Act::Hang => Vec::new(),
                    Act::Silent => {
                        keep.lock().unwrap().push(stream);
                        continue;
                    }
                };
                let _ = stream.write_all(&bytes);
            }
        });
        Self {
            address,
            asked,
            _kept: kept,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, head and body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>().ok())?
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
    }
}
