//! The process beside a stage: started, waited for, ended with the stage.

use std::time::Duration;

use crate::config::BackgroundService;
use crate::environment::scrubbed;
use crate::runner::{Cancel, Events, ProcessSpec, Running, StageEvent, run_process};

/// How long to wait for it when nothing is said.
const READY: Duration = Duration::from_secs(30);

/// A process that runs beside a stage. Dropping it ends the process.
pub(super) struct Beside {
    stop: Cancel,
    task: tokio::task::JoinHandle<Running>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Beside {
    /// Starts it and waits until it answers.
    pub async fn start(
        service: &BackgroundService,
        stage: &str,
        folder: &std::path::Path,
        events: &Events,
        cancel: &Cancel,
    ) -> Result<Self, String> {
        let stop = Cancel::new();
        let spec = ProcessSpec {
            stage: stage.to_owned(),
            argv: service.run.iter().map(Into::into).collect(),
            folder: folder.to_owned(),
            env: scrubbed(),
            timeout: None,
            stdout_file: None,
        };
        events.send(StageEvent::Progress {
            stage: stage.to_owned(),
            what: format!("waiting for {}", service.ready),
        });
        let task = tokio::spawn({
            let (events, stop) = (events.clone(), stop.clone());
            async move { run_process(spec, &events, &stop).await }
        });
        let beside = Self { stop, task };
        let limit = service.timeout.map_or(READY, |span| {
            Duration::from_micros(span.micros().unsigned_abs())
        });
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if beside.task.is_finished() {
                return Err(format!(
                    "the service {} ended before it was ready",
                    service.run.join(" ")
                ));
            }
            match super::probe::answers(&service.ready, Duration::from_secs(2)).await {
                Ok(()) => return Ok(beside),
                Err(cause) if tokio::time::Instant::now() >= deadline => {
                    return Err(format!(
                        "the service was not ready at {} within {} s: {cause}",
                        service.ready,
                        limit.as_secs()
                    ));
                }
                Err(_) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return Err("the run was stopped".into()),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }

    /// Ends it and waits for its end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}
