//! Asking whether something answers on the network, without speaking more than needed.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Host, port and path of `http://HOST[:PORT]/PATH`, `https://…` or `HOST:PORT`.
pub(super) fn address(text: &str) -> Option<(String, u16, Option<String>)> {
    let (rest, port, http) = if let Some(rest) = text.strip_prefix("http://") {
        (rest, 80, true)
    } else if let Some(rest) = text.strip_prefix("https://") {
        // The handshake is the tool's; that the port answers is all that is asked here.
        (rest, 443, false)
    } else {
        (text, 0, false)
    };
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(authority, path)| (authority, path));
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()?),
        _ => (authority, port),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    (port != 0 && !host.is_empty()).then(|| (host, port, http.then(|| format!("/{path}"))))
}

/// Whether the address answers: a connection, and for `http://` a status below 500.
pub(super) async fn answers(text: &str, limit: Duration) -> Result<(), String> {
    let (host, port, path) = address(text)
        .ok_or_else(|| format!("'{text}' is no address: http://HOST:PORT/PATH or HOST:PORT"))?;
    let ask = async {
        let mut stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|error| error.to_string())?;
        let Some(path) = path else { return Ok(()) };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nUser-Agent: writ\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|error| error.to_string())?;
        let mut head = [0_u8; 12];
        stream
            .read_exact(&mut head)
            .await
            .map_err(|error| error.to_string())?;
        match std::str::from_utf8(&head[9..12])
            .ok()
            .and_then(|code| code.parse::<u16>().ok())
        {
            Some(code) if code < 500 => Ok(()),
            Some(code) => Err(format!("it answers {code}")),
            None => Err("it does not speak HTTP".into()),
        }
    };
    tokio::time::timeout(limit, ask)
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|cause: String| cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            address("http://127.0.0.1:8000/healthz"),
            Some(("127.0.0.1".into(), 8000, Some("/healthz".into())))
        );
        assert_eq!(
            address("https://x.example"),
            Some(("x.example".into(), 443, None))
        );
        assert_eq!(address("[::1]:80"), Some(("::1".into(), 80, None)));
        assert_eq!(address("host"), None);
        assert_eq!(address("http://u:p@h:x/"), None);
    }
}
