//! Deployments: a writ is verified, the version is started beside the one that serves, traffic is
//! shifted, watched, and either stays or goes back by itself.
//!
//! [`machine`] holds the steps and which may follow which: pure, with the time as an argument.
//! [`journal`] keeps them in a file, each before what it says is done, so that a crash in the middle is
//! finished or taken back by whoever comes next. [`engine`] walks the steps over a [`site::Site`]; the
//! sites are a program ([`argv`]) and two proxies ([`proxy`]). [`watch`] says when figures are bad.

pub mod argv;
pub mod engine;
pub mod evidence;
pub mod journal;
pub mod lock;
pub mod machine;
pub mod plan;
pub mod programs;
pub mod proxy;
pub mod site;
pub mod watch;

pub use engine::{Clock, Engine, EngineError, Progress, SystemClock};
pub use journal::{Journal, JournalError, JournalFile};
pub use lock::{Holder, Lock, LockError};
pub use machine::{Ending, Event, Recovery, Step, WrongTurn};
pub use plan::{Plan, Slot};
pub use site::{Site, SiteError, Standing};
pub use watch::{Figures, Limits, Sample};
