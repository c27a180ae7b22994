//! A proxy between the driver and the server that does what networks and servers do on bad days.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    Pass,
    /// The server is not asked; this answer is given, head and body.
    Answer(String),
    /// The connection ends before the server is asked.
    Refuse,
    /// The server does what it is asked, and its answer is lost.
    LoseAnswer,
    /// The connection ends after this many bytes of the answer's body.
    Cut(usize),
    /// Nobody answers until the proxy ends.
    Hang,
    /// The answer begins byte by byte.
    Drip,
    /// One bit of the answer's body is another.
    Flip,
}

/// An answer without a body.
pub fn status(line: &str) -> Fault {
    Fault::Answer(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"))
}

/// An answer of S3's kind for errors.
pub fn error(line: &str, headers: &str, code: &str, message: &str) -> Fault {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    Fault::Answer(format!(
        "HTTP/1.1 {line}\r\n{headers}x-amz-request-id: REQ-1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

type Plan = dyn FnMut(usize, &str) -> Fault + Send;

/// Runs until it is dropped.
pub struct Proxy {
    pub address: String,
    plan: Arc<Mutex<Box<Plan>>>,
    count: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(server: &str) -> Self {
        let upstream = server
            .strip_prefix("http://")
            .unwrap()
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let plan: Arc<Mutex<Box<Plan>>> = Arc::new(Mutex::new(Box::new(|_, _| Fault::Pass)));
        let count = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            address,
            plan: Arc::clone(&plan),
            count: Arc::clone(&count),
            ended: Arc::clone(&ended),
        };
        thread::spawn(move || {
            // Connections that nobody answers stay open here.
            let hanging = Arc::new(Mutex::new(Vec::new()));
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (plan, count) = (Arc::clone(&plan), Arc::clone(&count));
                let (upstream, hanging) = (upstream.clone(), Arc::clone(&hanging));
                thread::spawn(move || {
                    if let Some(open) = serve(client, &upstream, &plan, &count) {
                        hanging.lock().unwrap().push(open);
                    }
                });
            }
        });
        proxy
    }

    /// What happens from now on: a function of the number of the request, from 0 on, and its first
    /// line.
    pub fn plan(&self, plan: impl FnMut(usize, &str) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
        self.count.store(0, Ordering::SeqCst);
    }

    /// This fault for one request, the others go through.
    pub fn once(&self, number: usize, fault: Fault) {
        self.plan(move |at, _| {
            if at == number {
                fault.clone()
            } else {
                Fault::Pass
            }
        });
    }

    pub fn pass(&self) {
        self.plan(|_, _| Fault::Pass);
    }

    /// Requests since the plan was made.
    pub fn requests(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener wakes up and sees it.
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

/// One request of one connection. Gives the connection back when it is to stay open unanswered.
fn serve(
    mut client: TcpStream,
    upstream: &str,
    plan: &Mutex<Box<Plan>>,
    count: &AtomicUsize,
) -> Option<TcpStream> {
    let (head, body) = read_message(&mut client)?;
    let line = head.lines().next()?.to_owned();
    let number = count.fetch_add(1, Ordering::SeqCst);
    let fault = (plan.lock().unwrap())(number, &line);
    match &fault {
        Fault::Answer(answer) => {
            let closing = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            let _ = client.write_all(closing.as_bytes());
            let _ = client.shutdown(Shutdown::Write);
            return None;
        }
        Fault::Refuse => return None,
        Fault::Hang => return Some(client),
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).ok()?;
    let head: String = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .flat_map(|line| [line, "\r\n"])
        .collect();
    let mut request = format!("{head}Connection: close\r\n\r\n").into_bytes();
    request.extend_from_slice(&body);
    server.write_all(&request).ok()?;
    let mut answer = Vec::new();
    let _ = server.read_to_end(&mut answer);
    let body_at = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    match fault {
        Fault::LoseAnswer => return None,
        Fault::Cut(bytes) => answer.truncate(body_at + bytes),
        Fault::Flip => {
            if let Some(byte) = answer.get_mut(body_at) {
                *byte ^= 1;
            }
        }
        Fault::Drip => {
            let bytewise = answer.len().min(2000);
            for byte in answer.drain(..bytewise) {
                if client.write_all(&[byte]).is_err() {
                    return None;
                }
                thread::yield_now();
            }
        }
        _ => {}
    }
    let _ = client.write_all(&answer);
    let _ = client.shutdown(Shutdown::Write);
    None
}

/// Head (without the empty line) and body of a request.
fn read_message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let head_end = loop {
        let count = stream.read(&mut buffer).ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })
        .unwrap_or(0);
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        let count = stream.read(&mut buffer).ok()?;
        if count == 0 {
            return None;
        }
        body.extend_from_slice(&buffer[..count]);
    }
    Some((head, body))
}
