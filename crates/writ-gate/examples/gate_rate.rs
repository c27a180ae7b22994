//! Measures a decision over 40 controls and 5,000 findings, and a backtest on all cores.
//!
//! Prints CPU time: `cargo run --release -p writ-gate --example gate_rate`.

use std::time::{Duration, Instant};

use writ_gate::{BundleSource, Gate, load_bundle};

#[path = "../benches/sample/mod.rs"]
mod sample;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
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

    let cold = median(
        (0..15)
            .map(|_| {
                let start = Instant::now();
                let bundle =
                    load_bundle(&BundleSource::Embedded).expect("the shipped bundle loads");
                Gate::new(&bundle)
                    .decide(&inputs, &findings)
                    .expect("it decides");
                start.elapsed()
            })
            .collect(),
    );
    println!("cold (load the bundle, decide once): {cold:?}");

    let mut gate = Gate::new(&bundle);
    let warm = median(
        (0..50)
            .map(|_| {
                gate.forget();
                let start = Instant::now();
                gate.decide(&inputs, &findings).expect("it decides");
                start.elapsed()
            })
            .collect(),
    );
    println!("warm (no remembered answers): {warm:?}");

    // A backtest: many releases, most of them alike, one gate per core.
    let small: Vec<_> = (0..200).map(|n| sample::history(n, 40)).collect();
    let cores = std::thread::available_parallelism()?.get();
    let rounds = 20;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for core in 0..cores {
            let (bundle, small) = (&bundle, &small);
            scope.spawn(move || {
                let mut gate = Gate::new(bundle);
                for _ in 0..rounds {
                    for (inputs, findings) in small.iter().skip(core).step_by(cores) {
                        gate.decide(inputs, findings).expect("it decides");
                    }
                }
            });
        }
    });
    let decisions = rounds * small.len();
    let rate = decisions as u128 * 1_000_000 / start.elapsed().as_micros().max(1);
    println!("backtest: {decisions} decisions on {cores} cores, {rate}/s");
    Ok(())
}
