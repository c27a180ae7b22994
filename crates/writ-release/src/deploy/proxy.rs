//! Blue-green: two slots behind a proxy, one of which serves while the version is started in the other.

use std::net::SocketAddr;
use std::time::Duration;

use writ_connect::haproxy::AdminState;
use writ_connect::http::{AddressRule, Request};
use writ_connect::{
    Caddy, CaddyError, Client, ClientOptions, Haproxy, HaproxyError, Prometheus, PrometheusError,
};

use super::plan::{Plan, Slot};
use super::programs::{Programs, filled};
use super::site::{Restored, Site, SiteError, Standing};
use super::watch::Sample;

/// Longest wait for one health check.
const HEALTH: Duration = Duration::from_secs(2);

/// Weight of a server that has all traffic.
const WHOLE: u32 = 100;

/// How a version is asked whether it is well: a GET that answers 2xx.
#[derive(Debug, Clone)]
pub struct Health {
    /// `http://{address}/healthz`.
    pub url: String,
}

impl Health {
    /// Asks once.
    ///
    /// # Errors
    /// No answer, or another than 2xx.
    pub async fn ask(&self, plan: &Plan, slot: Option<&Slot>) -> Result<(), SiteError> {
        let fault = |cause: String| SiteError::new("the health check fails", cause);
        let url =
            filled(&self.url, plan, slot).map_err(|name| fault(format!("{name} is not known")))?;
        let (base, path) = split(&url);
        let options = ClientOptions {
            timeout: HEALTH,
            tries: 1,
            max_body: 1 << 20,
            // It sends no secret.
            rule: AddressRule {
                allow_http: true,
                ..AddressRule::default()
            },
            authorities: None,
            unix_socket: None,
        };
        let client = Client::new(base, options).map_err(|error| fault(error.to_string()))?;
        let reply = client
            .send(&Request::get(path))
            .await
            .map_err(|error| fault(error.to_string()))?;
        if reply.is_success() {
            return Ok(());
        }
        Err(fault(format!("{url} answers {}", reply.status)))
    }
}

/// The base of an address, and what is below it.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    match url[host..].find('/') {
        Some(at) => (&url[..host + at], &url[host + at + 1..]),
        None => (url, ""),
    }
}

/// A number that must stay below a limit.
#[derive(Debug, Clone)]
pub struct Alarm {
    /// Who tells it.
    pub prometheus: Prometheus,
    /// The query.
    pub query: String,
    /// Its limit.
    pub max: f64,
}

impl Alarm {
    /// Asks once. A query that gives nothing is no reason.
    ///
    /// # Errors
    /// It cannot be asked; the inner error is a number that is too high.
    pub async fn ask(&self) -> Result<Result<(), String>, SiteError> {
        let number =
            self.prometheus
                .number(&self.query)
                .await
                .map_err(|error: PrometheusError| {
                    SiteError::new("Prometheus cannot be asked", error)
                })?;
        Ok(match number {
            Some(number) if number > self.max => Err(format!(
                "Prometheus says {number} for `{}`; at most {} is allowed",
                self.query, self.max
            )),
            _ => Ok(()),
        })
    }
}

/// Which proxy.
#[derive(Debug, Clone)]
pub enum Proxy {
    /// HAProxy: the slots are the names of two servers of a backend.
    Haproxy {
        /// Its admin socket.
        client: Haproxy,
        /// The backend.
        backend: String,
    },
    /// Caddy: the slots are addresses of a reverse proxy's upstreams.
    Caddy {
        /// Its admin interface.
        client: Caddy,
        /// The `@id` of the handler.
        id: String,
        /// The server whose requests are counted; all when none is named.
        server: Option<String>,
    },
}

/// Two slots behind a proxy.
#[derive(Debug)]
pub struct BlueGreen {
    /// The proxy.
    pub proxy: Proxy,
    /// The slots.
    pub slots: [Slot; 2],
    /// Part of the traffic that a version gets while it is watched, in per cent.
    pub share: u32,
    /// Starts a version in a slot, and ends while it runs on.
    pub start: Vec<String>,
    /// Ends what runs in a slot; also when nothing does.
    pub stop: Option<Vec<String>>,
    /// How a version is asked whether it is well.
    pub health: Health,
    /// What else is watched.
    pub alarm: Option<Alarm>,
    /// Where and how programs run.
    pub programs: Programs,
}

fn haproxy_error(error: &HaproxyError) -> SiteError {
    SiteError::new("HAProxy does not do it", error).try_this(error.remedy())
}

fn caddy_error(error: &CaddyError) -> SiteError {
    SiteError::new("Caddy does not do it", error).try_this(error.remedy())
}

/// The slot of a plan that a version is started in.
fn new_slot(plan: &Plan) -> Result<&Slot, SiteError> {
    plan.to
        .as_ref()
        .ok_or_else(|| SiteError::new("the plan names no slot", "it was made for another driver"))
}

impl BlueGreen {
    fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// Which of the slots have traffic.
    async fn serving(&self) -> Result<Vec<&Slot>, SiteError> {
        match &self.proxy {
            Proxy::Haproxy { client, backend } => {
                let servers = client
                    .servers(backend)
                    .await
                    .map_err(|error| haproxy_error(&error))?;
                for slot in &self.slots {
                    if !servers.iter().any(|server| server.name == slot.name) {
                        let missing = HaproxyError::NoServer(format!("{backend}/{}", slot.name));
                        return Err(haproxy_error(&missing));
                    }
                }
                Ok(self
                    .slots
                    .iter()
                    .filter(|slot| {
                        servers
                            .iter()
                            .any(|server| server.name == slot.name && server.serves())
                    })
                    .collect())
            }
            Proxy::Caddy { client, id, .. } => {
                let upstreams = client
                    .upstreams(id)
                    .await
                    .map_err(|error| caddy_error(&error))?;
                Ok(self
                    .slots
                    .iter()
                    .filter(|slot| upstreams.contains(&slot.address))
                    .collect())
            }
        }
    }

    /// Gives a slot all traffic and the other one none.
    async fn give(&self, to: &Slot, other: Option<&Slot>) -> Result<(), SiteError> {
        match &self.proxy {
            Proxy::Haproxy { client, backend } => {
                let done = async {
                    // First another one that serves, then the one that no longer does.
                    if self.share < WHOLE {
                        client.set_weight(backend, &to.name, WHOLE).await?;
                    }
                    client
                        .set_state(backend, &to.name, AdminState::Ready)
                        .await?;
                    if let Some(other) = other {
                        client
                            .set_state(backend, &other.name, AdminState::Drain)
                            .await?;
                        if self.share < WHOLE {
                            client.set_weight(backend, &other.name, WHOLE).await?;
                        }
                    }
                    Ok(())
                };
                done.await.map_err(|error| haproxy_error(&error))
            }
            Proxy::Caddy { client, id, .. } => client
                .set_upstreams(id, &[&to.address])
                .await
                .map_err(|error| caddy_error(&error)),
        }
    }
}

impl Site for BlueGreen {
    async fn standing(&self, remembered: Option<&str>) -> Result<Standing, SiteError> {
        if let Proxy::Caddy { client, server, .. } = &self.proxy
            && !client
                .counts(server.as_deref())
                .await
                .map_err(|error| caddy_error(&error))?
        {
            return Err(caddy_error(&CaddyError::NoFigures));
        }
        let serving = self.serving().await?;
        let live = match serving.as_slice() {
            [] => None,
            [one] => Some((*one).clone()),
            [first, second, ..] => Some(
                remembered
                    .and_then(|name| self.slot(name))
                    .cloned()
                    .ok_or_else(|| {
                        SiteError::new(
                            "it is not known which version serves",
                            format!("{} and {} both have traffic", first.name, second.name),
                        )
                        .try_this("take the one that is not to serve out of the proxy, once")
                    })?,
            ),
        };
        let idle = self
            .slots
            .iter()
            .find(|slot| live.as_ref().is_none_or(|live| live.name != slot.name))
            .cloned();
        Ok(Standing { live, idle })
    }

    async fn start(&self, plan: &Plan) -> Result<(), SiteError> {
        let slot = new_slot(plan)?;
        if let Proxy::Haproxy { client, backend } = &self.proxy {
            let done = async {
                // A slot that HAProxy would take as soon as it answers gets nothing before it is well.
                client
                    .set_state(backend, &slot.name, AdminState::Maint)
                    .await?;
                if let Ok(address) = slot.address.parse::<SocketAddr>() {
                    client.set_address(backend, &slot.name, address).await?;
                }
                Ok(())
            };
            done.await.map_err(|error| haproxy_error(&error))?;
        }
        self.programs.run(&self.start, plan, Some(slot)).await
    }

    async fn healthy(&self, plan: &Plan) -> Result<(), SiteError> {
        self.health.ask(plan, plan.to.as_ref()).await
    }

    async fn shift(&self, plan: &Plan) -> Result<(), SiteError> {
        let slot = new_slot(plan)?;
        match (&self.proxy, &plan.from) {
            (Proxy::Haproxy { client, backend }, Some(old)) if self.share < WHOLE => {
                let done = async {
                    client.set_weight(backend, &slot.name, self.share).await?;
                    client
                        .set_weight(backend, &old.name, WHOLE - self.share)
                        .await?;
                    client
                        .set_state(backend, &slot.name, AdminState::Ready)
                        .await
                };
                done.await.map_err(|error| haproxy_error(&error))
            }
            (_, old) => self.give(slot, old.as_ref()).await,
        }
    }

    async fn sample(&self, plan: &Plan) -> Result<Option<Sample>, SiteError> {
        let slot = new_slot(plan)?;
        match &self.proxy {
            Proxy::Haproxy { client, backend } => {
                let server = client
                    .server(backend, &slot.name)
                    .await
                    .map_err(|error| haproxy_error(&error))?;
                Ok(Some(Sample {
                    requests: server.requests(),
                    failed: server.failed(),
                    micros: None,
                    recent_millis: server.mean_millis,
                }))
            }
            Proxy::Caddy { client, server, .. } => {
                let requests = client
                    .requests(server.as_deref())
                    .await
                    .map_err(|error| caddy_error(&error))?;
                Ok(Some(Sample {
                    requests: requests.count,
                    failed: requests.failed,
                    micros: Some(requests.micros),
                    recent_millis: None,
                }))
            }
        }
    }

    async fn alarm(&self) -> Result<Result<(), String>, SiteError> {
        match &self.alarm {
            Some(alarm) => alarm.ask().await,
            None => Ok(Ok(())),
        }
    }

    async fn switch(&self, plan: &Plan) -> Result<(), SiteError> {
        self.give(new_slot(plan)?, plan.from.as_ref()).await
    }

    async fn restore(&self, plan: &Plan) -> Result<Restored, SiteError> {
        let slot = new_slot(plan)?;
        if let Some(old) = &plan.from {
            self.give(old, Some(slot)).await?;
            return Ok(Restored {
                serves: true,
                note: None,
            });
        }
        match &self.proxy {
            Proxy::Haproxy { client, backend } => client
                .set_state(backend, &slot.name, AdminState::Drain)
                .await
                .map_err(|error| haproxy_error(&error))?,
            Proxy::Caddy { client, id, .. } => client
                .set_upstreams(id, &[])
                .await
                .map_err(|error| caddy_error(&error))?,
        }
        Ok(Restored {
            serves: false,
            note: Some("there was no version before that could serve".to_owned()),
        })
    }

    async fn busy(&self, slot: &Slot) -> Result<Option<u64>, SiteError> {
        match &self.proxy {
            Proxy::Haproxy { client, backend } => {
                let server = client
                    .server(backend, &slot.name)
                    .await
                    .map_err(|error| haproxy_error(&error))?;
                Ok(Some(server.sessions + server.queued))
            }
            Proxy::Caddy { client, .. } => client
                .busy(&slot.address)
                .await
                .map_err(|error| caddy_error(&error)),
        }
    }

    async fn stop(&self, plan: &Plan, slot: &Slot) -> Result<(), SiteError> {
        if let Proxy::Haproxy { client, backend } = &self.proxy {
            client
                .set_state(backend, &slot.name, AdminState::Maint)
                .await
                .map_err(|error| haproxy_error(&error))?;
        }
        match &self.stop {
            Some(stop) => self.programs.run(stop, plan, Some(slot)).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_into_base_and_path() {
        for (url, base, path) in [
            (
                "http://127.0.0.1:80/a/b?c=d",
                "http://127.0.0.1:80",
                "a/b?c=d",
            ),
            ("http://host", "http://host", ""),
            ("http://host/", "http://host", ""),
        ] {
            assert_eq!(split(url), (base, path));
        }
    }
}
