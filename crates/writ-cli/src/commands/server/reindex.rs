//! `writ server reindex`: the index from ledger and locker, with its progress.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use writ_registry::{Compared, RegistryError, Store, StoreOptions};
use writ_render::{EdgeError, text};

use super::{answer, entries};
use crate::context::Context;
use crate::store;

/// How often a terminal is told, and how often a log.
const LIVE: Duration = Duration::from_millis(200);
const LOGGED: Duration = Duration::from_secs(10);

/// Rebuilds the index. Answers 0; 1 when `verify` asks and the index that was in use said
/// something else than ledger and locker.
///
/// # Errors
///
/// The store cannot be used, or another process rebuilds the index (3); the index in use stays.
pub(super) async fn run(context: &Context, verify: bool) -> Result<u8, EdgeError> {
    let failed = |error: RegistryError| store::registry_error(&error);
    let options = StoreOptions::new(&context.trust)
        .keys(store::key_access(context))
        .rebuilding();
    let store = Store::open(&context.store, options).await.map_err(failed)?;
    let start = Instant::now();
    let mut meter = Meter::new(context, start);
    let rebuilt = store
        .rebuild(verify, &mut |done, total| meter.tell(done, total))
        .await;
    meter.end();
    let rebuilt = rebuilt.map_err(failed)?;
    store.close().await.map_err(failed)?;
    let taken = start.elapsed();
    let fresh = rebuilt.entries.saturating_sub(rebuilt.resumed);
    let value = json!({
        "schema": "writ.reindex/1",
        "rebuilt": rebuilt,
        "milliseconds": u64::try_from(taken.as_millis()).unwrap_or(u64::MAX),
    });
    answer(context, &value, || {
        let mut out = format!(
            "index rebuilt: {} in {:.1} s ({}/s)\n",
            entries(fresh),
            taken.as_secs_f64(),
            text::number(per_second(fresh, taken)),
        );
        if rebuilt.resumed > 0 {
            out.push_str(&format!(
                "  {} were there from a rebuild that was interrupted\n",
                entries(rebuilt.resumed)
            ));
        }
        match &rebuilt.compared {
            None => {}
            Some(Compared::Same) => out.push_str("  the index in use said the same\n"),
            Some(Compared::Absent) => {
                out.push_str("  there was no index that could be compared\n");
            }
            Some(Compared::Differs { line }) => out.push_str(&format!(
                "  the index in use differed, first in: {}\n  it is replaced; decisions made by it: writ replay\n",
                text::clean(line)
            )),
        }
        out
    })?;
    Ok(u8::from(matches!(
        rebuilt.compared,
        Some(Compared::Differs { .. })
    )))
}

fn per_second(count: u64, taken: Duration) -> u64 {
    let milliseconds = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1_000) / milliseconds
}

/// Says on standard error how far it is: one line that changes, or a line now and then.
struct Meter {
    live: bool,
    silent: bool,
    start: Instant,
    told: Option<Instant>,
    /// Where this rebuild began.
    from: Option<u64>,
}

impl Meter {
    fn new(context: &Context, start: Instant) -> Self {
        Self {
            live: context.stderr_tty && context.ci.is_none(),
            silent: context.quiet,
            start,
            told: None,
            from: None,
        }
    }

    fn tell(&mut self, done: u64, total: u64) {
        let from = *self.from.get_or_insert(done);
        let pause = if self.live { LIVE } else { LOGGED };
        let recent = self.told.unwrap_or(self.start).elapsed() < pause;
        if self.silent || recent {
            return;
        }
        self.told = Some(Instant::now());
        let line = line(done, total, from, self.start.elapsed());
        let mut out = std::io::stderr().lock();
        // Who does not listen is not told.
        let _ = match self.live {
            true => write!(out, "\r\x1b[2K{line}"),
            false => writeln!(out, "{line}"),
        };
        let _ = out.flush();
    }

    fn end(&self) {
        if self.live && self.told.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

/// `index: 120,000 of 200,000 entries, 51,200/s, 2 s left`
fn line(done: u64, total: u64, from: u64, taken: Duration) -> String {
    let rate = per_second(done.saturating_sub(from), taken);
    let left = match total.saturating_sub(done).checked_div(rate) {
        Some(seconds) => format!(", {} left", duration(seconds)),
        None => String::new(),
    };
    format!(
        "index: {} of {}, {}/s{left}",
        text::number(done),
        entries(total),
        text::number(rate),
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rate_and_time_left() {
        let line =
            |done, total, from, seconds| line(done, total, from, Duration::from_secs(seconds));
        assert_eq!(
            line(150_000, 1_000_000, 100_000, 1),
            "index: 150,000 of 1,000,000 entries, 50,000/s, 17 s left"
        );
        assert_eq!(
            line(1_000, 10_000_000, 0, 1),
            "index: 1,000 of 10,000,000 entries, 1,000/s, 2 h 46 min left"
        );
        // Nothing done yet: no rate to reckon with.
        assert_eq!(line(5, 10, 5, 3), "index: 5 of 10 entries, 0/s");
        assert_eq!(line(1, 1, 0, 1), "index: 1 of 1 entry, 1/s, 0 s left");
    }
}
