//! What all requests share: the store, the bundle, the newest head, names of people, figures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{Notify, watch};
use writ_gate::Bundle;
use writ_model::{Assurance, Digest, Grant, PrincipalId, Role};
use writ_registry::Store;
use writ_render::GateDocument;

use crate::access::oidc::Providers;
use crate::access::workload::Workloads;
use crate::access::{People, Principal, Via};
use crate::collect::Collectors;
use crate::config::Config;
use crate::figures::tally::Tally;
use crate::figures::waiting::Waiting;
use crate::hooks::Hooks;
use crate::http::repeated::Repeated;
use crate::metrics::Metrics;
use crate::notify::Channels;
use crate::schedule::Rematch;
use crate::serve::ServeError;

/// The state of the server.
pub type Shared = Arc<App>;

/// The newest signed head, as pages cite it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Entries below it.
    pub size: u64,
    /// Root of its tree.
    pub root: Digest,
    /// Whether a trusted log key signed it; why not, otherwise.
    pub verified: Result<(), String>,
}

/// Everything that requests share.
pub struct App {
    /// The store.
    pub store: Arc<Store>,
    /// The bundle that ships or was given: texts of controls and catalogues.
    pub bundle: Arc<Bundle>,
    /// Settings.
    pub config: Config,
    /// Whether this is the demonstration: every page says so.
    pub demo: bool,
    /// Who acts from this machine.
    pub operator: Principal,
    /// Accounts, roles and sessions.
    pub people: People,
    /// Identity providers.
    pub(crate) providers: Providers,
    /// Systems that may deliver events.
    pub hooks: Hooks,
    /// Git hosts that are read.
    pub collectors: Collectors,
    /// Who is told of what.
    pub channels: Channels,
    /// Figures for `/metrics`.
    pub metrics: Metrics,
    /// When the server began.
    pub began: Instant,
    head: watch::Sender<Head>,
    /// Wakes whoever follows the head.
    pub(crate) recorded: Notify,
    names: RwLock<HashMap<PrincipalId, Option<String>>>,
    /// Counts of the rail per ledger size.
    pub(crate) waiting: Mutex<Vec<(u64, Waiting)>>,
    /// How much the index holds.
    pub(crate) tally: Tally,
    /// Where evidence is handed in.
    pub(crate) intake: crate::intake::Queue,
    /// CI jobs that are let in.
    pub(crate) workloads: Workloads,
    /// Keys of requests that may be repeated.
    pub(crate) keys: Repeated<()>,
    /// Decisions of requests that may be repeated.
    pub(crate) answers: Repeated<GateDocument>,
    /// Places for decisions that are computed.
    pub(crate) deciding: tokio::sync::Semaphore,
    /// Matches the SBOMs of what runs, where the program brought it along.
    pub(crate) rematch: OnceLock<Arc<dyn Rematch>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("store", &self.store)
            .field("demo", &self.demo)
            .finish_non_exhaustive()
    }
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The store, open for writing.
    pub store: Arc<Store>,
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// Settings.
    pub config: Config,
    /// Local account that acts from this machine.
    pub operator: String,
    /// Whether this is the demonstration.
    pub demo: bool,
}

impl App {
    /// Makes the state and reads the newest head.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn new(parts: Parts) -> Result<Shared, ServeError> {
        let Parts {
            store,
            bundle,
            config,
            operator,
            demo,
        } = parts;
        let operator = Principal {
            id: store.local_principal(&operator).await?,
            name: operator,
            grants: vec![Grant::everywhere(Role::Operator)],
            assurance: Assurance::LocalUser,
            only: None,
            via: Via::Local,
            browser: None,
        };
        let people = People::new(&store).await?;
        let providers = Providers::new(&config.oidc, &store)?;
        let hooks = Hooks::read(&config.webhook)?;
        let collectors = Collectors::read(&config.collector)?;
        let channels = Channels::read(&config.notify)?;
        let head = newest_head(&store).await?;
        let workloads = Workloads::new(&config.workload, &store)?;
        let (intake, work) = crate::intake::Queue::new(&config.limits);
        let app = Arc::new(Self {
            store,
            bundle,
            config,
            demo,
            operator,
            people,
            providers,
            hooks,
            collectors,
            channels,
            metrics: Metrics::new(),
            began: Instant::now(),
            head: watch::Sender::new(head),
            recorded: Notify::new(),
            names: RwLock::default(),
            waiting: Mutex::default(),
            tally: Tally::default(),
            intake,
            workloads,
            keys: Repeated::new(crate::api::intake::REMEMBERED),
            answers: Repeated::new(crate::api::decide::REMEMBERED),
            deciding: tokio::sync::Semaphore::new(crate::api::decide::AT_ONCE),
            rematch: OnceLock::new(),
        });
        work.begin(&app);
        Ok(app)
    }

    /// Brings along what matches the SBOMs of what runs; the first counts. To be called before the
    /// server begins.
    pub fn rematching(&self, rematch: Arc<dyn Rematch>) {
        let _ = self.rematch.set(rematch);
    }

    /// The newest signed head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Tells about every new head.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Puts everything recorded under a signed head and makes it the newest.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn refresh_head(&self) -> Result<Head, ServeError> {
        let head = newest_head(&self.store).await?;
        self.head.send_if_modified(|known| {
            // Two that refresh at once must not go back.
            let newer = head.size > known.size || (head.size == known.size && head != *known);
            if newer {
                known.clone_from(&head);
            }
            newer
        });
        Ok(head)
    }

    /// The names behind pseudonyms, as far as the directory of people has them.
    pub async fn load_names(&self, people: &[PrincipalId]) {
        for id in people {
            let known = self
                .names
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(id);
            if known {
                continue;
            }
            // A directory that cannot be read leaves the pseudonym on the page.
            let name = self.store.person_name(id).await.ok().flatten();
            self.names
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(id.clone(), name);
        }
    }

    /// Asks the directory for names anew.
    pub fn forget_names(&self) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.clear();
    }

    /// The name of a person for a screen: the pseudonym where the directory has none.
    #[must_use]
    pub fn name(&self, id: &PrincipalId) -> String {
        self.names
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
            .flatten()
            .unwrap_or_else(|| id.0.clone())
    }
}

async fn newest_head(store: &Store) -> Result<Head, ServeError> {
    let head = store.head(None).await?;
    let verified = match store.verified_head().await {
        // Another process may have signed a newer one between the two reads.
        Ok(verified) if verified.size >= head.size => Ok(()),
        Ok(verified) => Err(format!(
            "the head at {} is not signed yet; {} is",
            head.size, verified.size
        )),
        Err(error) => {
            tracing::error!(%error, "the head of the ledger is not signed by a trusted key");
            Err("no trusted log key signed it".to_owned())
        }
    };
    Ok(Head {
        size: head.size,
        root: head.root,
        verified,
    })
}
