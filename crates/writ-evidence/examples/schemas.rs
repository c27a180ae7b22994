//! Writes the JSON schemas of Writ's own predicates to `docs/schemas/`:
//! `cargo run -p writ-evidence --example schemas`. A test fails while they are stale.

use std::path::Path;

use writ_evidence::predicate::{PREDICATES, schema_json};

fn main() -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    std::fs::create_dir_all(&directory)?;
    for row in PREDICATES.iter().filter(|row| row.is_own()) {
        std::fs::write(
            directory.join(format!("{}-v1.schema.json", row.name)),
            schema_json(row),
        )?;
    }
    Ok(())
}
