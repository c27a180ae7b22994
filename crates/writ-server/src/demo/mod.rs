//! `writ serve --demo`: an isolated store with an invented year of six services.
//!
//! Everything goes through the same door as everybody's evidence: statements are signed, recorded,
//! judged by the real gate over the shipped controls, and every page says that it is a demonstration.
//! The story is the same every time; only its end is moved to now.

mod clock;
mod flaws;
mod judge;
mod random;
mod reports;
mod statements;
mod story;
mod world;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use writ_gate::evaluate::{self, EvaluateError};
use writ_gate::{Bundle, BundleError, BundleFiles, BundleSource, load_bundle};
use writ_model::Timestamp;
use writ_registry::{RegistryError, Store, StoreOptions};

use crate::config::{Config, ConfigError};
use clock::DemoClock;
use world::World;

/// Name of the account that acts in the demonstration.
pub const OPERATOR: &str = "demo-operator";

/// Why the demonstration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No place for the store.
    #[error(
        "cannot make a temporary directory for the demonstration: {0}; set TMPDIR to a directory that can be written"
    )]
    Place(#[source] std::io::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] RegistryError),
    /// The gate could not judge.
    #[error(transparent)]
    Gate(#[from] EvaluateError),
    /// What runs could not be compared.
    #[error(transparent)]
    Observe(#[from] writ_release::observe::ObserveError),
    /// The shipped controls cannot be loaded.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A report of the story cannot be read.
    #[error("a report of the demonstration cannot be read: {0}")]
    Report(#[from] writ_ingest::IngestError),
    /// A statement of the story is not one.
    #[error("a statement of the demonstration is wrong: {0}")]
    Statement(#[from] writ_evidence::statement::StatementError),
    /// The settings of the story cannot be used.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// A part of the work ended early.
    #[error("the demonstration was not finished: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A filled store, and the directory that vanishes with it.
#[derive(Debug)]
pub struct Demo {
    /// The store.
    pub store: Arc<Store>,
    /// The shipped controls, with the release key of the story trusted.
    pub bundle: Arc<Bundle>,
    /// What was recorded.
    pub entries: u64,
    place: TempDir,
}

impl Demo {
    /// Names the systems that the story's company has set up, behind a secret that nobody knows.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub fn connect(&self, config: &mut Config) -> Result<(), DemoError> {
        let path = self.place.path().join("secret");
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).map_err(|e| DemoError::Place(e.into()))?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(hex::encode(secret).as_bytes()))
            .map_err(DemoError::Place)?;
        let text = include_str!("settings.toml").replace("SECRET", &path.display().to_string());
        let own = Config::parse(Path::new("settings.toml"), &text)?;
        config.webhook.extend(own.webhook);
        config.workload.extend(own.workload);
        Ok(())
    }
}

/// Weeks of the whole story.
pub const YEAR: u32 = 52;

/// Makes a store and fills it with the last `weeks` of the year that ends at `now`.
///
/// # Errors
/// See [`DemoError`].
pub async fn fill(now: Timestamp, weeks: u32) -> Result<Demo, DemoError> {
    let place = tempfile::Builder::new()
        .prefix("writ-demo-")
        .tempdir()
        .map_err(DemoError::Place)?;
    let clock = Arc::new(DemoClock::at(world::begin(now)));
    let options = StoreOptions::new(place.path().join("trust"))
        .create()
        .clock(Arc::clone(&clock) as Arc<dyn writ_ledger::Clock>);
    let store = Arc::new(Store::open(place.path().join("store"), options).await?);
    let bundle = Arc::new(bundle()?);
    let world = World::new(&store, now).await?;
    evaluate::adopt(&store, &bundle, clock.now()).await?;
    world.introduce(&store).await?;
    story::tell(&store, &bundle, &clock, &world, weeks).await?;
    clock.go_live();
    let entries = store.head(None).await?.size;
    Ok(Demo {
        store,
        bundle,
        entries,
        place,
    })
}

/// The shipped bundle, as an organisation would adapt it: with its own release key.
fn bundle() -> Result<Bundle, DemoError> {
    let mut files = BundleFiles::read(&BundleSource::Embedded)?;
    if let Some(bytes) = files.0.get_mut("controls/SGN-01.toml") {
        let text = String::from_utf8_lossy(bytes).replace(
            "trusted_keys = []",
            &format!("trusted_keys = [\"{}\"]", world::RELEASE_KEY),
        );
        *bytes = text.into_bytes();
    }
    Ok(load_bundle(&BundleSource::Files(files.0))?)
}
