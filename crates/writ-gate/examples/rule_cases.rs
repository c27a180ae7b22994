//! Writes every evaluation of a rule that the shipped fixtures need, one JSON object per line:
//! `{"rule", "input", "answer"}`. `scripts/opa-differential.py` compares them with OPA.

use std::io::Write as _;

use writ_gate::{BundleSource, load_bundle, rule_cases};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bundle = load_bundle(&BundleSource::Embedded)?;
    let mut out = std::io::stdout().lock();
    for case in rule_cases(&bundle) {
        serde_json::to_writer(&mut out, &case)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
