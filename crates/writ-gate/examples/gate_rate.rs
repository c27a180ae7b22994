//! Measures a decision over 40 controls and 5,000 findings, and a backtest on all cores.
//!
//! Prints CPU time beside wall time, because machines are noisy: `cargo run --release -p writ-gate --example gate_rate`.

use std::time::{Duration, Instant};

use writ_gate::{BundleSource, Gate, Manifest, load_bundle};

#[path = "../benches/sample/mod.rs"]
mod sample;

/// Medians of wall and CPU time of one piece of work.
struct Timed(Vec<Duration>, Vec<Duration>);

impl Timed {
    fn run<T>(times: usize, mut work: impl FnMut() -> T) -> Self {
        let mut timed = Self(Vec::new(), Vec::new());
        for _ in 0..times {
            let (wall, cpu) = (Instant::now(), cpu_time());
            std::hint::black_box(work());
            timed.0.push(wall.elapsed());
            timed.1.push(cpu_time().saturating_sub(cpu));
        }
        timed.0.sort();
        timed.1.sort();
        timed
    }
}

impl std::fmt::Display for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let median = |times: &[Duration]| times[times.len() / 2];
        write!(f, "{:?} CPU, {:?} wall", median(&self.1), median(&self.0))
    }
}

/// CPU time of this thread, as the kernel counts it; zero where it does not say.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (inputs, findings) = sample::release(5_000);
    let bundle = load_bundle(&BundleSource::Embedded)?;
    let bound = bundle.profiles["iso27001"].controls_for("production").len();
    println!(
        "{bound} controls, {} findings, {} items of evidence",
        5_000,
        inputs.evidence.len()
    );

    let cold = Timed::run(15, || {
        let bundle = load_bundle(&BundleSource::Embedded).expect("the shipped bundle loads");
        Gate::new(&bundle)
            .decide(&inputs, &findings)
            .expect("it decides")
    });
    println!("cold (load the bundle, decide once): {cold}");

    let mut gate = Gate::new(&bundle);
    let warm = Timed::run(50, || {
        gate.forget();
        gate.decide(&inputs, &findings).expect("it decides")
    });
    println!("warm (no remembered answers): {warm}");
    let manifest = Timed::run(20, || Manifest::of(&bundle, &inputs).digest());
    println!("of which the inputs manifest: {manifest}");

    // A backtest: many releases, most of them alike, one gate per core.
    let small: Vec<_> = (0..200).map(|n| sample::history(n, 40)).collect();
    let cores = std::thread::available_parallelism()?.get();
    let rounds = 20;
    let start = Instant::now();
    let cpu: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let (bundle, small) = (&bundle, &small);
                scope.spawn(move || {
                    let cpu = cpu_time();
                    let mut gate = Gate::new(bundle);
                    for _ in 0..rounds {
                        for (inputs, findings) in small.iter().skip(core).step_by(cores) {
                            gate.decide(inputs, findings).expect("it decides");
                        }
                    }
                    cpu_time().saturating_sub(cpu)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum()
    });
    let decisions = rounds * small.len();
    let per_second = |time: Duration| decisions as u128 * 1_000_000 / time.as_micros().max(1);
    println!(
        "backtest: {decisions} decisions on {cores} cores, {}/s wall, {}/s if no core was shared",
        per_second(start.elapsed()),
        per_second(cpu / u32::try_from(cores)?),
    );
    Ok(())
}
