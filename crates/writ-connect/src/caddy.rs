//! Caddy's [admin API]: the upstreams of one `reverse_proxy` handler, and what Caddy counts.
//!
//! The handler is found by its `@id`. In scope: its upstreams, requests that are going on, figures of
//! requests. Out of scope: every other part of the configuration.
//!
//! [admin API]: https://caddyserver.com/docs/api

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{AddressRule, Client, ClientOptions, HttpError, Reply, Request, encoded};

/// Longest wait for one call.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer, in bytes.
const MAX_ANSWER: usize = 8 << 20;

/// Why Caddy did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaddyError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// No part of the configuration has the id.
    #[error("Caddy has no handler with the id '{0}'")]
    NoHandler(String),
    /// It refused.
    #[error("Caddy refused ({status}): {said}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its own words.
        said: String,
    },
    /// It counts no requests.
    #[error("Caddy counts no requests of the handler")]
    NoFigures,
}

impl CaddyError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Http(_) => {
                "see that Caddy runs and that `admin` of writ.toml is its admin address"
            }
            Self::NoHandler(_) => {
                "give the reverse_proxy handler an \"@id\" in Caddy's configuration"
            }
            Self::Refused { .. } => "see what Caddy's own log says",
            Self::NoFigures => "put \"metrics\": {} into the server of Caddy's configuration",
        }
    }
}

/// Requests of a server's proxy handlers so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// All.
    pub count: u64,
    /// Of these, those with a status of 5xx.
    pub failed: u64,
    /// Time that they took together, in microseconds.
    pub micros: u64,
}

/// A client of one Caddy's admin address.
#[derive(Debug, Clone)]
pub struct Caddy {
    client: Client,
}

#[derive(Deserialize)]
struct Upstream {
    dial: String,
}

#[derive(Deserialize)]
struct Busy {
    address: String,
    num_requests: u64,
}

impl Caddy {
    /// Of the admin address, such as `http://127.0.0.1:2019`; nothing is sent yet.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn new(address: &str) -> Result<Self, CaddyError> {
        let options = ClientOptions {
            timeout: TIMEOUT,
            tries: 3,
            max_body: MAX_ANSWER,
            rule: AddressRule::default(),
            authorities: None,
            unix_socket: None,
        };
        Ok(Self {
            client: Client::new(address, options)?,
        })
    }

    /// Where it speaks to.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// The addresses that a handler gives requests to.
    ///
    /// # Errors
    /// There is no such handler, or Caddy does not answer.
    pub async fn upstreams(&self, id: &str) -> Result<Vec<String>, CaddyError> {
        let reply = self
            .client
            .send(&Request::get(format!("id/{}/upstreams", encoded(id))))
            .await?;
        let list: Option<Vec<Upstream>> = self.good(reply, id)?.json()?;
        Ok(list
            .unwrap_or_default()
            .into_iter()
            .map(|upstream| upstream.dial)
            .collect())
    }

    /// Sets the addresses that a handler gives requests to. Caddy takes up the change at once;
    /// requests that are going on are not disturbed.
    ///
    /// # Errors
    /// There is no such handler, or Caddy refuses or does not answer.
    pub async fn set_upstreams(&self, id: &str, addresses: &[&str]) -> Result<(), CaddyError> {
        let list: Vec<Value> = addresses.iter().map(|dial| json!({"dial": dial})).collect();
        // Setting it twice is as good as once.
        let mut request =
            Request::post(format!("id/{}/upstreams", encoded(id)), &Value::Array(list))
                .repeatable();
        request.method = reqwest::Method::PATCH;
        let reply = self.client.send(&request).await?;
        self.good(reply, id).map(|_| ())
    }

    /// How many requests are going on at an address; `None` when Caddy does not list it: it lists what
    /// its configuration names.
    ///
    /// # Errors
    /// Caddy does not answer.
    pub async fn busy(&self, address: &str) -> Result<Option<u64>, CaddyError> {
        let reply = self
            .client
            .send(&Request::get("reverse_proxy/upstreams"))
            .await?;
        let list: Vec<Busy> = self.good(reply, "")?.json()?;
        Ok(list
            .iter()
            .find(|busy| busy.address == address)
            .map(|busy| busy.num_requests))
    }

    /// What the proxy handlers of a server answered so far; of all servers when none is named.
    ///
    /// # Errors
    /// Caddy does not answer.
    pub async fn requests(&self, server: Option<&str>) -> Result<Requests, CaddyError> {
        let reply = self.client.send(&Request::get("metrics")).await?;
        let reply = self.good(reply, "")?;
        let text = String::from_utf8_lossy(&reply.body);
        // Before its first request there is nothing to read; whether it counts, `counts` tells.
        Ok(counted(&text, server))
    }

    /// Whether Caddy is told to count requests of a server.
    ///
    /// # Errors
    /// Caddy does not answer.
    pub async fn counts(&self, server: Option<&str>) -> Result<bool, CaddyError> {
        let reply = self.client.send(&Request::get("config/apps/http")).await?;
        let settings: Value = self.good(reply, "")?.json()?;
        let counting = |part: &Value| part.get("metrics").is_some_and(|value| !value.is_null());
        Ok(match (server, settings["servers"].as_object()) {
            // Newer versions count all servers or none.
            _ if counting(&settings) => true,
            (_, None) => false,
            (Some(name), Some(all)) => all.get(name).is_some_and(counting),
            (None, Some(all)) => all.values().any(counting),
        })
    }

    fn good(&self, reply: Reply, id: &str) -> Result<Reply, CaddyError> {
        if reply.is_success() {
            return Ok(reply);
        }
        let said = String::from_utf8_lossy(&reply.body);
        if reply.status == 404 && !id.is_empty() || said.contains("unknown object ID") {
            return Err(CaddyError::NoHandler(id.to_owned()));
        }
        let said: String = said.trim().chars().take(300).collect();
        Err(CaddyError::Refused {
            status: reply.status,
            said: said.replace(|c: char| c.is_control(), " "),
        })
    }
}

/// Sums `caddy_http_request_duration_seconds` over the handlers that proxy.
fn counted(text: &str, server: Option<&str>) -> Requests {
    const NAME: &str = "caddy_http_request_duration_seconds_";
    let mut found = Requests::default();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(NAME) else {
            continue;
        };
        let Some((kind, rest)) = rest.split_once('{') else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once('}') else {
            continue;
        };
        let is = |name: &str, wanted: &str| labels.contains(&format!("{name}=\"{wanted}\""));
        if !is("handler", "reverse_proxy") || server.is_some_and(|server| !is("server", server)) {
            continue;
        }
        let Ok(value) = value.trim().parse::<f64>() else {
            continue;
        };
        if !value.is_finite() || value < 0.0 {
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a finite number that is not negative; the cast saturates"
        )]
        match kind {
            "count" => {
                found.count += value as u64;
                if labels.contains("code=\"5") {
                    found.failed += value as u64;
                }
            }
            "sum" => found.micros += (value * 1e6) as u64,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_summed_over_the_handlers_that_proxy() {
        let text = "\
# TYPE caddy_http_requests_in_flight gauge
caddy_http_requests_in_flight{handler=\"reverse_proxy\",server=\"srv0\"} 1
caddy_http_request_duration_seconds_bucket{code=\"200\",handler=\"reverse_proxy\",method=\"GET\",server=\"srv0\",le=\"1\"} 9
caddy_http_request_duration_seconds_sum{code=\"200\",handler=\"reverse_proxy\",method=\"GET\",server=\"srv0\"} 0.5
caddy_http_request_duration_seconds_count{code=\"200\",handler=\"reverse_proxy\",method=\"GET\",server=\"srv0\"} 9
caddy_http_request_duration_seconds_sum{code=\"502\",handler=\"reverse_proxy\",method=\"GET\",server=\"srv0\"} 0.25
caddy_http_request_duration_seconds_count{code=\"502\",handler=\"reverse_proxy\",method=\"GET\",server=\"srv0\"} 2
caddy_http_request_duration_seconds_count{code=\"200\",handler=\"subroute\",method=\"GET\",server=\"srv0\"} 9
caddy_http_request_duration_seconds_count{code=\"200\",handler=\"reverse_proxy\",method=\"GET\",server=\"other\"} 100
";
        let of_one = counted(text, Some("srv0"));
        assert_eq!(
            (of_one.count, of_one.failed, of_one.micros),
            (11, 2, 750_000)
        );
        assert_eq!(counted(text, None).count, 111);
        assert_eq!(counted("go_goroutines 7\n", None), Requests::default());
    }
}
