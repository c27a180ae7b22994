//! Signs a sample of every kind of predicate that has no envelope in `tests/corpus/` yet:
//! `cargo run -p writ-evidence --example corpus`. Existing envelopes are never written anew: they
//! stand for what is in ledgers already, and must be read for ever.

use std::path::Path;

use serde_json::Value;
use writ_evidence::predicate::PREDICATES;
use writ_evidence::statement::STATEMENT_V1;
use writ_evidence::{Algorithm, LocalSigner, Signer, canonical, dsse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    // A key that everybody knows: it must never be trusted for anything.
    let signer = LocalSigner::from_seed(Algorithm::Ed25519, &[0x42; 32])?;
    let samples = std::fs::read_to_string(tests.join("data/samples.json"))?
        .replace("@KEYID", &signer.key_id().to_string())
        .replace("@PEM", &signer.public_key().to_pem()?.replace('\n', "\\n"));
    let samples: Value = serde_json::from_str(&samples)?;
    for row in PREDICATES {
        let path = tests.join("corpus").join(format!("{}.json", row.name));
        if path.exists() {
            continue;
        }
        let predicate = samples
            .get(row.name)
            .ok_or_else(|| format!("samples.json has no {}", row.name))?;
        (row.check)(predicate).map_err(|reason| format!("{}: {reason}", row.name))?;
        let statement = serde_json::json!({
            "_type": STATEMENT_V1,
            "subject": [{
                "name": "payments-api",
                "digest": {"gitCommit": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "gitTree": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
            }],
            "predicateType": row.uri,
            "predicate": predicate,
        });
        let envelope = dsse::sign(
            dsse::IN_TOTO_PAYLOAD_TYPE,
            canonical::to_vec(&statement)?,
            &signer,
        )?;
        std::fs::write(path, envelope.to_canonical_json())?;
    }
    Ok(())
}
