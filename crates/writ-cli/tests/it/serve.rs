//! `writ serve` as a process: where it listens, what it refuses, how it ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

#[test]
fn it_answers_says_where_and_ends_on_a_signal() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["serve", "--listen", "127.0.0.1:0", "-f", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["schema"], "writ.serve/1");
    assert_eq!(said["demo"], false);
    let mut stream = TcpStream::connect(said["address"].as_str().unwrap()).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_listens_to_no_other_machine_and_says_why() {
    let sandbox = Sandbox::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let answer = sandbox.writ(&["serve", "--listen", address]);
        assert_eq!(answer.code, 2, "{}{}", answer.out, answer.err);
        assert!(answer.err.contains("will not listen on"), "{}", answer.err);
    }
    sandbox.write("server.toml", "listen = \"127.0.0.1:0\"\nlisen = 1\n");
    let answer = sandbox.writ(&["serve", "--config", "server.toml"]);
    assert_eq!(answer.code, 2, "{}{}", answer.out, answer.err);
    assert!(
        answer.err.contains("line 2") && answer.err.contains("lisen"),
        "{}",
        answer.err
    );
}
