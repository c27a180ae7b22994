//! Files of the repository that are made from code, and files that code reads.

use std::path::Path;

use writ_pipeline::adapter::Catalogue;
use writ_pipeline::config::{Config, json_schema};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_schema_of_writ_toml_is_fresh() {
    let path = root().join("docs/schemas/writ-1.schema.json");
    let wanted = json_schema().unwrap();
    if std::env::var_os("WRIT_UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "docs/schemas/writ-1.schema.json is stale: WRIT_UPDATE=1 cargo test -p writ-pipeline schema"
    );
}

#[test]
fn every_shipped_adapter_is_valid_and_its_pins_are_there() {
    let catalogue = Catalogue::embedded().unwrap();
    assert!(catalogue.iter().count() >= 18);
    for adapter in catalogue.iter() {
        for install in &adapter.file.install {
            if let Some(lock) = &install.requires {
                let hashes = catalogue
                    .asset(lock)
                    .unwrap_or_else(|| panic!("{lock} is absent"));
                assert!(
                    String::from_utf8_lossy(&hashes).contains("--hash=sha256:"),
                    "{lock}"
                );
            }
        }
        for (name, mode) in &adapter.file.mode {
            assert!(
                mode.looked_at.is_some(),
                "{} {name} does not say what it looked at",
                adapter.name()
            );
        }
    }
}

#[test]
fn the_example_is_a_valid_pipeline() {
    let file = root().join("examples/payments-api/writ.toml");
    let config = Config::load(&file).unwrap();
    let catalogue = Catalogue::embedded().unwrap();
    for (_, stage) in config.stages_in_order() {
        if let Some(uses) = &stage.uses {
            catalogue.resolve(uses.get_ref()).unwrap();
        }
    }
}
