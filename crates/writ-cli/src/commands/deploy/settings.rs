//! What `writ.toml` says of an environment, as a site and its limits.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use writ_connect::{Caddy, Haproxy, Prometheus};
use writ_model::Span;
use writ_pipeline::config::{Deploy, DeployConfig, Driver, EnvironmentConfig};
use writ_pipeline::environment::scrubbed_with_network;
use writ_release::deploy::Slot;
use writ_release::deploy::argv::ArgvSite;
use writ_release::deploy::engine::Pace;
use writ_release::deploy::programs::Programs;
use writ_release::deploy::proxy::{Alarm, BlueGreen, Health, Proxy};
use writ_release::deploy::watch::{Limits, MILLION};
use writ_render::EdgeError;

use crate::edge::{self, Edge};

/// Longest time of a program where nothing is said.
const PROGRAM: Span = Span::from_secs(300);

/// Caddy's admin address where nothing is said.
const CADDY: &str = "http://127.0.0.1:2019";

/// Where versions run.
pub enum AnySite {
    /// A program deploys.
    Argv(Box<ArgvSite>),
    /// Two slots behind a proxy.
    BlueGreen(Box<BlueGreen>),
}

/// How an environment is deployed to.
pub struct Settings {
    /// Where.
    pub site: AnySite,
    /// How long things may take.
    pub pace: Pace,
    /// When figures are bad.
    pub limits: Limits,
    /// `argv`, `blue-green`.
    pub strategy: &'static str,
    /// Which site, in words.
    pub target: String,
}

/// The settings of an environment.
///
/// # Errors
///
/// It has none, or names what cannot be used.
pub fn read(
    environment: &str,
    config: &EnvironmentConfig,
    folder: &Path,
) -> Result<Settings, EdgeError> {
    let programs = |limit: Span, env: Vec<(OsString, OsString)>| Programs {
        folder: folder.to_owned(),
        env,
        limit: Duration::from_micros(limit.micros().unsigned_abs()),
    };
    match &config.deploy {
        None => Err(edge::usage(format!(
            "writ.toml does not say how to deploy to {environment}"
        ))
        .at(format!("[environment.{environment}]"))
        .try_this("deploy = [\"./deploy.sh\", \"{digest}\"]")
        .try_this("[environment.NAME.deploy] driver = \"haproxy\"        docs/deploy.md")),
        Some(Deploy::Argv(start)) => Ok(Settings {
            site: AnySite::Argv(Box::new(ArgvSite {
                start: start.clone(),
                rollback: config.rollback.clone(),
                health: None,
                alarm: None,
                programs: programs(PROGRAM, scrubbed_with_network()),
            })),
            pace: Pace {
                bake: Span::from_secs(0),
                ..Pace::default()
            },
            limits: Limits::default(),
            strategy: "argv",
            target: "argv".to_owned(),
        }),
        Some(Deploy::Driver(driver)) => {
            let place = format!("[environment.{environment}.deploy]");
            let mut env = scrubbed_with_network();
            env.extend(variables(driver, &place)?);
            let limit = driver
                .timeout
                .as_ref()
                .map_or(PROGRAM, |span| *span.get_ref());
            of_driver(driver, config, programs(limit, env), &place)
        }
    }
}

fn of_driver(
    driver: &DeployConfig,
    config: &EnvironmentConfig,
    programs: Programs,
    place: &str,
) -> Result<Settings, EdgeError> {
    let words = |program: &toml::Spanned<Vec<toml::Spanned<String>>>| {
        let words = program.get_ref().iter();
        words.map(|word| word.get_ref().clone()).collect::<Vec<_>>()
    };
    let text =
        |value: &Option<toml::Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    let default = Pace::default();
    let is_argv = *driver.driver.get_ref() == Driver::Argv;
    let watches = driver.health.is_some() || driver.prometheus.is_some();
    let usual_bake = if is_argv && !watches {
        Span::from_secs(0)
    } else {
        default.bake
    };
    let pace = Pace {
        bake: driver.bake.unwrap_or(usual_bake),
        healthy_within: driver.healthy_within.unwrap_or(default.healthy_within),
        drain: driver.drain.unwrap_or(default.drain),
    };
    let usual = Limits::default();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the file was checked: 0 to 100"
    )]
    let limits = Limits {
        max_failed: driver
            .max_failed_percent
            .as_ref()
            .map_or(usual.max_failed, |percent| {
                (percent.get_ref() / 100.0 * MILLION as f64).round() as u64
            }),
        max_millis: driver.max_latency_ms,
        min_requests: driver.min_requests.unwrap_or(usual.min_requests),
    };
    let alarm = driver
        .prometheus
        .as_ref()
        .map(|settings| {
            Prometheus::new(&settings.url)
                .map(|prometheus| Alarm {
                    prometheus,
                    query: settings.query.clone(),
                    max: settings.max,
                })
                .map_err(|error| edge::usage(edge::chain(&error)).at(format!("{place} prometheus")))
        })
        .transpose()?;
    let health = text(&driver.health).map(|url| Health { url });
    let proxy = match *driver.driver.get_ref() {
        Driver::Argv => {
            let rollback = driver.rollback.as_ref().map(words);
            return Ok(Settings {
                site: AnySite::Argv(Box::new(ArgvSite {
                    start: words(&driver.start),
                    rollback: rollback.or_else(|| config.rollback.clone()),
                    health,
                    alarm,
                    programs,
                })),
                pace,
                limits,
                strategy: "argv",
                target: "argv".to_owned(),
            });
        }
        Driver::Haproxy => Proxy::Haproxy {
            client: Haproxy::new(text(&driver.socket).unwrap_or_default()),
            backend: text(&driver.backend).unwrap_or_default(),
        },
        Driver::Caddy => {
            let admin = text(&driver.admin).unwrap_or_else(|| CADDY.to_owned());
            Proxy::Caddy {
                client: Caddy::new(&admin).map_err(|error| {
                    edge::usage(edge::chain(&error)).at(format!("{place} admin"))
                })?,
                id: text(&driver.id).unwrap_or_default(),
                server: text(&driver.server),
            }
        }
    };
    let mut slots: Vec<(usize, Slot)> = driver
        .slots
        .iter()
        .map(|(name, address)| {
            let slot = Slot {
                name: name.get_ref().clone(),
                address: address.get_ref().clone(),
            };
            (name.span().start, slot)
        })
        .collect();
    // The first of the file is the first that is deployed to.
    slots.sort_by_key(|(at, _)| *at);
    let slots: Vec<Slot> = slots.into_iter().map(|(_, slot)| slot).collect();
    let missing = |what: &str| edge::usage(format!("the driver needs `{what}`")).at(place);
    let slots: [Slot; 2] = slots.try_into().map_err(|_| missing("slots"))?;
    let target = match &proxy {
        Proxy::Haproxy { backend, .. } => format!("haproxy {backend}"),
        Proxy::Caddy { id, .. } => format!("caddy {id}"),
    };
    Ok(Settings {
        site: AnySite::BlueGreen(Box::new(BlueGreen {
            proxy,
            slots,
            share: driver.share.as_ref().map_or(100, |share| *share.get_ref()),
            start: words(&driver.start),
            stop: driver.stop.as_ref().map(words),
            health: health.ok_or_else(|| missing("health"))?,
            alarm,
            programs,
        })),
        pace,
        limits,
        strategy: "blue-green",
        target,
    })
}

/// The programs' own variables; `env:NAME` passes one of Writ's on.
fn variables(driver: &DeployConfig, place: &str) -> Result<Vec<(OsString, OsString)>, EdgeError> {
    driver
        .env
        .iter()
        .map(|(name, value)| {
            let value = match value.strip_prefix("env:") {
                Some(from) => std::env::var_os(from).ok_or_else(|| {
                    edge::usage(format!("the variable {from} is not set"))
                        .at(format!("{place} env"))
                        .because(format!("it is passed on as {name}"))
                })?,
                None => value.into(),
            };
            Ok((name.into(), value))
        })
        .collect()
}
