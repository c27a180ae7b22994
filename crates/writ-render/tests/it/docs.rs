//! The examples of `docs/output-formats.md` are lines of golden files, in their order.

use std::path::Path;

#[test]
fn examples_are_golden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let doc = std::fs::read_to_string(root.join("../../docs/output-formats.md")).unwrap();
    let mut examples = 0;
    let mut lines = doc.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line
            .strip_prefix("<!-- golden: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let file = root.join(format!("tests/it/snapshots/it__golden__{name}.snap"));
        let golden = std::fs::read_to_string(&file).unwrap();
        let mut golden = golden.lines();
        let fence: String = lines.next().unwrap().matches('`').collect();
        assert!(fence.len() >= 3, "{name}: no block follows");
        for line in lines.by_ref().take_while(|line| *line != fence) {
            if line != "…" {
                assert!(
                    golden.any(|g| g == line),
                    "{name}: not in its golden file: {line}"
                );
            }
        }
        examples += 1;
    }
    assert!(examples >= 15, "only {examples} examples");
}
