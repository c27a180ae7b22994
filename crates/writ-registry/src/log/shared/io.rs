//! The thread on which all talk with PostgreSQL happens.
//!
//! Connections belong to the runtime that opened them, and the log is read from async and from
//! blocking code alike. With a thread of its own both can wait for an answer, and a caller's
//! runtime that ends takes no connection with it.

use std::future::Future;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::error::{Result, SharedError};

/// The thread; it ends when this is dropped.
pub(super) struct Io {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
}

impl Io {
    pub fn start() -> Result<Self> {
        let failed = |e: std::io::Error| SharedError::Thread(e.to_string());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("writ-postgres".to_owned())
            .spawn(move || {
                // Ends by the message, or because nobody can send it any more.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self {
            handle,
            stop: Some(stop),
        })
    }

    /// Runs `work` as if on the thread, so that what it makes belongs to it.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _guard = self.handle.enter();
        work()
    }

    /// Begins work that nobody waits for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Waits for work without blocking a thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = self.handle.spawn(work).await;
        done.map_err(|e| SharedError::Thread(e.to_string()))?
    }

    /// Waits for work, blocking this thread.
    pub fn block<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (tell, told) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // The caller waits below.
            let _ = tell.send(work.await);
        });
        told.recv()
            .map_err(|_| SharedError::Thread("it ended before it answered".to_owned()))?
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
