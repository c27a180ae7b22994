//! The client behind blocking calls, for signers.
//!
//! A signer is asked from ordinary code and from the threads that an async runtime keeps for blocking
//! work. So the client has a thread of its own with a small runtime in it, and a caller waits for its
//! answer on a channel: nothing depends on which runtime the caller lives in, or whether on any.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use writ_evidence::key::{
    Algorithm, KeyError, KeyService, PublicKey, ServiceKey, Signer, VaultConnector, VaultKey,
    VaultSettings,
};

use super::transit::pinned;
use super::{Vault, VaultError};
use crate::http::HttpError;

/// Requests that one call makes at most: log in, ask, log in again, ask again, look up.
const REQUESTS: u32 = 5;

type Work = Pin<Box<dyn Future<Output = ()>>>;
type Job = Box<dyn FnOnce(Arc<Vault>) -> Work + Send>;

/// A Vault for callers that block.
#[derive(Clone)]
pub struct VaultService {
    shared: Arc<Shared>,
}

struct Shared {
    vault: Arc<Vault>,
    /// The thread's letter-box, once there is a thread.
    jobs: Mutex<Option<UnboundedSender<Job>>>,
    patience: Duration,
}

impl VaultService {
    /// Puts a client behind blocking calls. Its thread begins with the first call and ends when the
    /// last copy of this value and of its signers is gone.
    pub fn new(vault: Vault) -> Self {
        let patience = vault.timeout() * REQUESTS;
        Self {
            shared: Arc::new(Shared {
                vault: Arc::new(vault),
                jobs: Mutex::new(None),
                patience,
            }),
        }
    }

    /// Does `work` on the client's thread and waits for its result, for a bounded time.
    fn call<T, F>(
        &self,
        work: impl FnOnce(Arc<Vault>) -> F + Send + 'static,
    ) -> Result<T, VaultError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, VaultError>> + 'static,
    {
        let (answer, answered) = sync_channel(1);
        let job: Job = Box::new(move |vault| {
            let work = work(vault);
            Box::pin(async move {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(work.await);
            })
        });
        self.send(job)?;
        match answered.recv_timeout(self.shared.patience) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(VaultError::Http(HttpError::Timeout {
                address: self.shared.vault.address().to_owned(),
                limit: self.shared.patience,
                tries: 1,
            })),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    fn send(&self, job: Job) -> Result<(), VaultError> {
        let mut jobs = self
            .shared
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let job = match jobs.as_ref() {
            None => job,
            Some(sender) => match sender.send(job) {
                Ok(()) => return Ok(()),
                // Its thread ended: begin another.
                Err(returned) => returned.0,
            },
        };
        let (sender, receiver) = unbounded_channel();
        let vault = Arc::clone(&self.shared.vault);
        std::thread::Builder::new()
            .name("vault".to_owned())
            .spawn(move || serve(vault, receiver))
            .map_err(|error| VaultError::Settings(format!("no thread for Vault: {error}")))?;
        sender.send(job).map_err(|_| ended())?;
        *jobs = Some(sender);
        Ok(())
    }
}

fn ended() -> VaultError {
    VaultError::Settings("the client of Vault ended early; run the command again".to_owned())
}

/// The client's thread: jobs run beside each other until nobody can send any more.
fn serve(vault: Arc<Vault>, mut jobs: UnboundedReceiver<Job>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return; // The waiting caller sees its channel close.
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        while let Some(job) = jobs.recv().await {
            tokio::task::spawn_local(job(Arc::clone(&vault)));
        }
    });
}

impl fmt::Debug for VaultService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VaultService({})", self.shared.vault.address())
    }
}

impl KeyService for VaultService {
    fn look_up(&self, key: &VaultKey) -> Result<ServiceKey, KeyError> {
        let asked = key.clone();
        self.call(move |vault| async move { vault.look_up(&asked).await })
            .map_err(|error| error.of(key))
    }

    fn create(&self, key: &VaultKey, algorithm: Algorithm) -> Result<ServiceKey, KeyError> {
        let asked = key.clone();
        self.call(move |vault| async move { vault.create(&asked, algorithm).await })
            .map_err(|error| error.of(key))
    }

    fn rotate(&self, key: &VaultKey) -> Result<ServiceKey, KeyError> {
        let asked = key.clone();
        self.call(move |vault| async move { vault.rotate(&asked).await })
            .map_err(|error| error.of(key))
    }

    fn signer(&self, key: &VaultKey, public: &PublicKey) -> Result<Arc<dyn Signer>, KeyError> {
        pinned(key).map_err(|error| error.of(key))?;
        Ok(Arc::new(TransitSigner {
            service: self.clone(),
            key: key.clone(),
            public: public.clone(),
        }))
    }
}

/// One version of one key.
struct TransitSigner {
    service: VaultService,
    key: VaultKey,
    public: PublicKey,
}

impl Signer for TransitSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (key, public, message) = (self.key.clone(), self.public.clone(), message.to_vec());
        self.service
            .call(move |vault| async move { vault.sign(&key, &public, &message).await })
            .map_err(|error| error.of(&self.key))
    }
}

/// Makes clients of Vault by the settings of a trust directory and the process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connector;

impl VaultConnector for Connector {
    fn connect(&self, settings: &VaultSettings) -> Result<Arc<dyn KeyService>, KeyError> {
        let vault = Vault::new(settings, &|name| std::env::var(name).ok())
            .map_err(|error| error.of(&"vault"))?;
        Ok(Arc::new(VaultService::new(vault)))
    }
}
