//! `cargo bench -p writ-gate`: a decision over a large release, cold and warm.

use writ_gate::{BundleSource, Gate, load_bundle};

mod sample;

fn main() {
    divan::main();
}

#[divan::bench]
fn cold(bencher: divan::Bencher<'_, '_>) {
    let (inputs, findings) = sample::release(5_000);
    bencher.bench_local(|| {
        let bundle = load_bundle(&BundleSource::Embedded).expect("the shipped bundle loads");
        Gate::new(&bundle).decide(&inputs, &findings)
    });
}

#[divan::bench]
fn warm(bencher: divan::Bencher<'_, '_>) {
    let (inputs, findings) = sample::release(5_000);
    let bundle = load_bundle(&BundleSource::Embedded).expect("the shipped bundle loads");
    let mut gate = Gate::new(&bundle);
    bencher.bench_local(|| {
        gate.forget();
        gate.decide(&inputs, &findings)
    });
}

#[divan::bench]
fn remembered(bencher: divan::Bencher<'_, '_>) {
    let (inputs, findings) = sample::history(1, 40);
    let bundle = load_bundle(&BundleSource::Embedded).expect("the shipped bundle loads");
    let mut gate = Gate::new(&bundle);
    bencher.bench_local(|| gate.decide(&inputs, &findings));
}
