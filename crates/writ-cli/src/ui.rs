//! Draws a run while it goes on: live lines on a terminal, plain lines in a log.
//!
//! Everything here goes to standard error; results go to standard output. No carriage return ever
//! reaches a log.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;
use writ_model::{LookedAt, Outcome, SeverityCounts};
use writ_pipeline::runner::{Level, StageEvent};
use writ_render::text;

use crate::context::Context;

/// How often a log hears that a stage still runs.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Draws events until the run's end.
pub async fn draw(context: &Context, mut events: UnboundedReceiver<StageEvent>) {
    if context.quiet {
        while events.recv().await.is_some() {}
        return;
    }
    let mut screen = Screen::new(context);
    loop {
        match tokio::time::timeout(HEARTBEAT, events.recv()).await {
            Ok(Some(event)) => screen.show(event),
            Ok(None) => break,
            Err(_) => screen.heartbeat(),
        }
    }
    screen.end();
}

struct Running {
    since: Instant,
    tool: String,
    bar: Option<ProgressBar>,
    output: Vec<String>,
}

struct Screen {
    live: Option<MultiProgress>,
    color: bool,
    verbose: u8,
    ci: Option<&'static str>,
    width: usize,
    running: BTreeMap<String, Running>,
}

impl Screen {
    fn new(context: &Context) -> Self {
        let live = (context.stderr_tty && context.ci.is_none()).then(MultiProgress::new);
        Self {
            live,
            color: context.color && context.stderr_tty,
            verbose: context.verbose,
            ci: context.ci,
            width: context.width,
            running: BTreeMap::new(),
        }
    }

    fn show(&mut self, event: StageEvent) {
        match event {
            StageEvent::Started { stage, tool } => self.started(stage, tool),
            StageEvent::Output { stage, line, .. } => {
                if let Some(running) = self.running.get_mut(&stage) {
                    // A stage's last words matter when it fails; the runner bounds each line.
                    if running.output.len() >= 2_000 {
                        running.output.remove(0);
                    }
                    running.output.push(text::clean(&line).into_owned());
                }
            }
            StageEvent::Progress { stage, what } => {
                if let Some(Running { bar: Some(bar), .. }) = self.running.get(&stage) {
                    bar.set_message(text::clean(&what).into_owned());
                }
            }
            StageEvent::Skipped { stage, reason } => {
                self.line(&row("-", &stage, "", &text::prose(&reason), "", self.width));
            }
            StageEvent::Finished {
                stage,
                tool,
                outcome,
                reason,
                looked_at,
                counts,
                cached,
                took,
                ..
            } => self.finished(&Finished {
                stage,
                tool,
                outcome,
                reason,
                looked_at,
                counts,
                cached,
                took,
            }),
            StageEvent::Remark { level, text } => {
                let word = match level {
                    Level::Note => "note",
                    Level::Warning => "warning",
                };
                self.line(&format!("{word}: {}", text::prose(&text)));
            }
        }
    }

    fn started(&mut self, stage: String, tool: String) {
        let bar = self.live.as_ref().map(|live| {
            let bar = live.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner} {prefix} {msg} {elapsed}");
            if let Ok(style) = style {
                bar.set_style(style.tick_strings(&[".   ", "..  ", "... ", "....", "done"]));
            }
            bar.set_prefix(format!("{stage:<13} {tool:<12}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() && self.verbose > 0 {
            self.line(&row("start", &stage, &tool, "", "", self.width));
        }
        self.running.insert(
            stage,
            Running {
                since: Instant::now(),
                tool,
                bar,
                output: Vec::new(),
            },
        );
    }

    fn finished(&mut self, end: &Finished) {
        let output = match self.running.remove(&end.stage) {
            Some(running) => {
                if let Some(bar) = running.bar {
                    bar.finish_and_clear();
                }
                running.output
            }
            None => Vec::new(),
        };
        let (word, good) = word(end.outcome);
        let mut detail = summary(&end.looked_at, &end.counts, end.outcome);
        if let Some(reason) = &end.reason {
            detail = text::prose(reason);
        }
        let time = if end.cached {
            "cached".to_owned()
        } else {
            format!("{:.1}s", end.took.as_secs_f64())
        };
        let line = row(word, &end.stage, &end.tool, &detail, &time, self.width);
        self.line(&self.paint(word, good, &line));
        if !output.is_empty() && (self.verbose > 0 || !good) {
            self.group(&end.stage, &output);
        }
    }

    /// The tool's own words: in a foldable section where the CI system has one.
    fn group(&self, stage: &str, output: &[String]) {
        let shown = if self.verbose > 0 { output.len() } else { 20 };
        let tail = &output[output.len().saturating_sub(shown)..];
        let name: String = stage
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        match self.ci {
            Some("github") => self.line(&format!("::group::output of {stage}")),
            Some("gitlab") => self.line(&format!(
                "section_start:{}:writ_{name}[collapsed=true] output of {stage}",
                crate::context::clock().micros() / 1_000_000
            )),
            _ => {}
        }
        for line in tail {
            self.line(&format!("    | {line}"));
        }
        match self.ci {
            Some("github") => self.line("::endgroup::"),
            Some("gitlab") => self.line(&format!(
                "section_end:{}:writ_{name}",
                crate::context::clock().micros() / 1_000_000
            )),
            _ => {}
        }
    }

    fn heartbeat(&self) {
        if self.live.is_some() {
            return;
        }
        for (stage, running) in &self.running {
            let time = format!("{}s", running.since.elapsed().as_secs());
            self.line(&row(
                "....",
                stage,
                &running.tool,
                "still running",
                &time,
                self.width,
            ));
        }
    }

    fn paint(&self, word: &str, good: bool, line: &str) -> String {
        if !self.color {
            return line.to_owned();
        }
        let color = if good {
            anstyle::AnsiColor::Green
        } else {
            anstyle::AnsiColor::Red
        };
        let style = anstyle::Style::new().bold().fg_color(Some(color.into()));
        line.replacen(word, &format!("{style}{word}{style:#}"), 1)
    }

    fn line(&self, line: &str) {
        match &self.live {
            Some(live) => {
                let _ = live.println(line);
            }
            None => {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    fn end(&self) {
        if let Some(live) = &self.live {
            let _ = live.clear();
        }
    }
}

struct Finished {
    stage: String,
    tool: String,
    outcome: Outcome,
    reason: Option<String>,
    looked_at: Vec<LookedAt>,
    counts: SeverityCounts,
    cached: bool,
    took: Duration,
}

/// The word of an outcome, and whether it is what was hoped for. It says whether the stage could
/// look; what it saw is the gate's to judge.
fn word(outcome: Outcome) -> (&'static str, bool) {
    match outcome {
        Outcome::Completed => ("done", true),
        Outcome::Empty => ("empty", false),
        Outcome::NotRun => ("not run", false),
        Outcome::Failed => ("failed", false),
        Outcome::TimedOut => ("timeout", false),
        Outcome::Cancelled => ("stopped", false),
    }
}

/// `1 commit`, `14 commits` from the plural noun of a denominator.
pub fn counted(count: u64, what: &str) -> String {
    let noun = text::clean(what);
    text::plural(count, noun.strip_suffix('s').unwrap_or(&noun))
}

/// `14 commits, 2 findings (1 high)`.
pub fn summary(looked_at: &[LookedAt], counts: &SeverityCounts, outcome: Outcome) -> String {
    let mut parts: Vec<String> = looked_at
        .iter()
        .take(2)
        .map(|item| counted(item.count, &item.what))
        .collect();
    if counts.total() > 0 {
        let severe = [(counts.critical, "critical"), (counts.high, "high")];
        let severe: Vec<String> = severe
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let mut found = counted(counts.total(), "findings");
        if !severe.is_empty() {
            found.push_str(&format!(" ({})", severe.join(", ")));
        }
        parts.push(found);
    } else if outcome == Outcome::Completed && parts.is_empty() {
        parts.push("completed".to_owned());
    }
    parts.join(", ")
}

fn row(word: &str, stage: &str, tool: &str, detail: &str, time: &str, width: usize) -> String {
    let head = format!(
        "  {} {} {} ",
        text::pad(word, 7),
        text::pad(&text::cut(&text::clean(stage), 13), 13),
        text::pad(&text::cut(&text::clean(tool), 12), 12),
    );
    let indent = text::columns(&head);
    let room = width.saturating_sub(indent + 9).max(20);
    let mut lines = text::wrap(detail, room).into_iter();
    let first = lines.next().unwrap_or_default();
    let mut out = if time.is_empty() {
        format!("{head}{first}")
    } else {
        format!("{head}{} {time:>8}", text::pad(&first, room))
    };
    for line in lines {
        out.push('\n');
        out.push_str(&" ".repeat(indent));
        out.push_str(&line);
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_bounded() {
        let first = row("done", "secrets", "gitleaks", "14 commits", "1.2s", 80);
        let second = row(
            "not run",
            "container",
            "trivy-image",
            "waits for image",
            "",
            80,
        );
        assert_eq!(first.find("secrets"), second.find("container"));
        assert!(first.lines().all(|line| line.len() <= 80), "{first}");
        let long = "x ".repeat(200);
        let wrapped = row("failed", "sast", "semgrep", &long, "9.9s", 80);
        assert!(wrapped.lines().all(|line| line.len() <= 80), "{wrapped}");
    }

    #[test]
    fn what_was_found_is_never_a_verdict() {
        let counts = SeverityCounts {
            high: 2,
            ..SeverityCounts::default()
        };
        let text = summary(
            &[LookedAt::new("packages", 168)],
            &counts,
            Outcome::Completed,
        );
        assert_eq!(text, "168 packages, 2 findings (2 high)");
    }
}
