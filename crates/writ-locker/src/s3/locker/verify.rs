//! Reading and checking everything in the bucket.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use writ_model::Digest;

use super::super::Version;
use super::find::{Look, compliance};
use super::{OBJECTS, S3Locker, WORKERS, digest_of};
use crate::{LockerError, Problem, ProblemKind, Progress, Report};

/// Keys that were listed and wait to be read.
const QUEUE: usize = 64;

/// One key with all that lies under it.
type Job = (String, Vec<Version>);

impl S3Locker {
    pub(super) fn verify_everything(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Report, LockerError> {
        let (to_workers, queue) = sync_channel::<Job>(QUEUE);
        let queue = Mutex::new(queue);
        let (to_report, checked) = channel::<Report>();
        let mut report = Report::default();
        let listed = thread::scope(|scope| {
            for _ in 0..WORKERS {
                let to_report = to_report.clone();
                let queue = &queue;
                scope.spawn(move || {
                    while let Some((key, versions)) = next(queue) {
                        if to_report.send(self.check_key(&key, versions)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(to_report);
            let lister = scope.spawn(move || {
                let mut current: Option<Job> = None;
                for version in self.bucket.list_versions(OBJECTS) {
                    let version = version?;
                    match &mut current {
                        Some((key, versions)) if *key == version.key => versions.push(version),
                        _ => {
                            let job = (version.key.clone(), vec![version]);
                            if let Some(done) = current.replace(job)
                                && to_workers.send(done).is_err()
                            {
                                return Ok(());
                            }
                        }
                    }
                }
                if let Some(last) = current {
                    // Only fails when all workers are gone, which then is in the report.
                    let _ = to_workers.send(last);
                }
                Ok::<_, LockerError>(())
            });
            for one in checked {
                report.objects += one.objects;
                report.bytes += one.bytes;
                report.problems.extend(one.problems);
                report.quarantined.extend(one.quarantined);
                progress(Progress {
                    objects: report.objects,
                    bytes: report.bytes,
                });
            }
            lister.join()
        });
        match listed {
            Ok(result) => result?,
            Err(_) => {
                return Err(LockerError::Io {
                    action: "list",
                    path: self.bucket.place(OBJECTS).into(),
                    source: std::io::Error::other("a thread panicked"),
                });
            }
        }
        report.problems.sort();
        report.quarantined.sort();
        Ok(report)
    }

    fn check_key(&self, key: &str, versions: Vec<Version>) -> Report {
        let path = PathBuf::from(self.bucket.place(key));
        let mut report = Report::default();
        let problem = |kind| Problem {
            path: path.clone(),
            kind,
        };
        if versions.iter().all(|version| version.delete_marker) {
            // What a deletion after its time leaves; a lost object is missed by who names it.
            return report;
        }
        let Some(digest) = digest_of(key) else {
            report.problems.push(problem(ProblemKind::Stray));
            return report;
        };
        report.objects = 1;
        match self.check_object(digest, versions, &mut report) {
            Ok(kinds) => report.problems.extend(kinds.into_iter().map(problem)),
            Err(error) => report
                .problems
                .push(problem(ProblemKind::Unreadable(error.to_string()))),
        }
        report
    }

    fn check_object(
        &self,
        digest: Digest,
        versions: Vec<Version>,
        report: &mut Report,
    ) -> Result<Vec<ProblemKind>, LockerError> {
        let survey = self.examine(digest, versions, Look::Reading)?;
        let wrong_bytes: u64 = survey.wrong.iter().map(|(version, _)| version.size).sum();
        let good_bytes: u64 = survey.good.iter().map(|good| good.head.size).sum();
        report.bytes = wrong_bytes + good_bytes;
        let mut kinds = Vec::new();
        let Some(best) = survey.best() else {
            let newest = survey.wrong.iter().find(|(version, _)| version.latest);
            if let Some((_, actual)) = newest.or(survey.wrong.first()) {
                kinds.push(ProblemKind::Corrupt {
                    expected: digest,
                    actual: *actual,
                });
            }
            return Ok(kinds);
        };
        if !survey.is_found() {
            kinds.push(
                match survey.wrong.iter().find(|(version, _)| version.latest) {
                    Some((_, actual)) => ProblemKind::Overwritten { actual: *actual },
                    None => ProblemKind::Hidden,
                },
            );
        }
        if compliance(best.head.retention.as_ref()).is_none() {
            kinds.push(ProblemKind::Unlocked(
                match best.head.retention {
                    Some(_) => "its lock is of mode GOVERNANCE, which can be taken away",
                    None => "it has no retention",
                }
                .to_owned(),
            ));
        }
        let place = self.object_place(digest);
        report.quarantined = survey
            .wrong
            .iter()
            .map(|(version, _)| format!("{}?versionId={}", place.display(), version.version).into())
            .collect();
        Ok(kinds)
    }
}

fn next(queue: &Mutex<std::sync::mpsc::Receiver<Job>>) -> Option<Job> {
    queue.lock().ok()?.recv().ok()
}
