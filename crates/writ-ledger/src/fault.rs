//! Named stopping points inside append and integrate, for crash tests.
//!
//! Without the feature `fault-injection` a point is an empty function and
//! nothing can be armed. Arming is per thread, so that tests running side by
//! side do not disturb each other.

#[cfg(feature = "fault-injection")]
/// Every point, in the order in which an append, an integration, a segment
/// removal and the writing of cosignatures pass them.
pub const POINTS: &[&str] = &[
    "append.start",
    "journal.rotate.create",
    "journal.rotate.sync",
    "journal.rotate.dir",
    "journal.write",
    "journal.write.torn",
    "journal.sync",
    "journal.synced",
    "append.publish",
    "integrate.start",
    "integrate.tiles",
    "store.temp",
    "store.temp.torn",
    "checkpoint.temp",
    "store.temp.sync",
    "store.rename",
    "store.dir.sync",
    "checkpoint.rename",
    "checkpoint.dir.sync",
    "integrate.checkpoint",
    "journal.remove",
    "partial.remove",
    "integrate.end",
    "cosigned.temp",
    "cosigned.rename",
];

/// A failed sync after which the written bytes are gone: not a step of its own, so not among
/// [`POINTS`].
#[cfg(feature = "fault-injection")]
pub const LOST_SYNC: &str = "journal.sync.lost";

/// Every point of a witness that stores what it is about to cosign, in order.
#[cfg(feature = "fault-injection")]
pub const WITNESS_POINTS: &[&str] = &[
    "witness.temp",
    "witness.temp.torn",
    "witness.sync",
    "witness.rename",
    "witness.dir.sync",
    "witness.stored",
];

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
pub(crate) use armed::point;
#[cfg(feature = "fault-injection")]
pub use armed::{Action, arm, arm_everywhere, disarm};

#[cfg(feature = "fault-injection")]
mod armed {
    use std::cell::RefCell;
    use std::io;
    use std::sync::{Mutex, PoisonError};

    /// What happens at an armed point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// The process ends at once, as by a power cut; nothing is unwound.
        Kill,
        /// The step fails with this error of the operating system.
        Fail(io::ErrorKind),
    }

    struct Armed {
        point: String,
        passes: u32,
        action: Action,
    }

    /// For every thread: only in a process that does nothing else.
    static EVERYWHERE: Mutex<Option<Armed>> = Mutex::new(None);

    thread_local! {
        static ARMED: RefCell<Option<Armed>> = const { RefCell::new(None) };
    }

    /// Lets `action` happen on this thread when `point` is passed for the
    /// `pass`-th time (from 1), and for failures at every later pass too.
    pub fn arm(point: &str, pass: u32, action: Action) {
        ARMED.set(Some(Armed {
            point: point.to_owned(),
            passes: pass,
            action,
        }));
    }

    /// As [`arm`], on whatever thread the point is passed: for a process of its own, whose runtime
    /// chooses the threads.
    pub fn arm_everywhere(point: &str, pass: u32, action: Action) {
        *EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Armed {
            point: point.to_owned(),
            passes: pass,
            action,
        });
    }

    /// Lets nothing happen any more on this thread, nor everywhere.
    pub fn disarm() {
        ARMED.set(None);
        *EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn point(name: &'static str) -> io::Result<()> {
        ARMED.with_borrow_mut(|armed| pass(armed, name))?;
        pass(
            &mut EVERYWHERE.lock().unwrap_or_else(PoisonError::into_inner),
            name,
        )
    }

    fn pass(armed: &mut Option<Armed>, name: &str) -> io::Result<()> {
        let Some(armed) = armed.as_mut().filter(|a| a.point == name) else {
            return Ok(());
        };
        armed.passes = armed.passes.saturating_sub(1);
        if armed.passes > 0 {
            return Ok(());
        }
        match armed.action {
            Action::Kill => std::process::abort(),
            Action::Fail(kind) => Err(io::Error::from(kind)),
        }
    }
}
