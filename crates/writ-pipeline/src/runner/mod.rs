//! Running processes and stages: bounded output, time limits, groups that are killed whole, cancellation.

mod cancel;
mod capture;
mod event;
mod process;
mod schedule;

pub use cancel::Cancel;
pub use capture::Captured;
pub use event::{Events, Level, StageEvent, Stream};
pub use process::{Ended, ProcessSpec, Running, Stopped, run_process};
pub use schedule::{Node, NodeOutcome, Turn, schedule};
