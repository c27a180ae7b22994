//! `writ serve` as a process: where it listens, what it refuses, how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use crate::sandbox::{Listening, Sandbox};

#[test]
fn it_answers_says_where_and_ends_on_a_signal() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["serve", "--listen", "127.0.0.1:0", "-f", "json"]);
    let mut server = Listening::start(&mut command, None);
    assert_eq!(server.said["schema"], "writ.serve/1");
    assert_eq!(server.said["demo"], false);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = Command::new("kill")
        .args(["-TERM", &server.child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
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
