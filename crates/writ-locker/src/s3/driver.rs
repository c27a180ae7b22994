//! The thread on which a bucket's requests run.
//!
//! Callers are synchronous and may stand anywhere: on a plain thread, on a blocking thread of an
//! async runtime, or (unwisely) on one of its workers. `Runtime::block_on` panics on the last of
//! these, and dropping a runtime does too. So the runtime lives and dies on a thread of its own,
//! and callers wait on an ordinary channel, which never panics.

use std::future::Future;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A runtime on its own thread; both end when this is dropped.
pub(super) struct Driver {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Driver {
    /// Starts the thread. The reason of a failure is a sentence.
    pub(super) fn start() -> Result<Self, String> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| format!("the event loop cannot start: {error}"))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("writ-s3".to_owned())
            .spawn(move || {
                // Ends when the sender is dropped; what is still running is dropped with it.
                let _ = runtime.block_on(stopped);
            })
            .map_err(|error| format!("a thread cannot start: {error}"))?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    /// Runs a future to its end; `None` when it panicked.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.send(future.await);
        });
        answered.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_and_ends_inside_and_outside_of_a_runtime() {
        let driver = Driver::start().unwrap();
        assert_eq!(driver.run(async { 1 }), Some(1));
        assert_eq!(driver.run(async { panic!("a test's panic") }), None::<i32>);
        let outer = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        outer.block_on(async move {
            assert_eq!(driver.run(async { 2 }), Some(2));
            drop(driver);
        });
    }
}
