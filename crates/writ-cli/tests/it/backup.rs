//! Backup and restore as an operator meets them.

use crate::sandbox::Sandbox;

fn store(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.path("home/.local/share/writ/store")
}

#[test]
fn a_lost_disk_is_restored_and_the_gap_is_told() {
    let sandbox = Sandbox::with_repository(&[
        ("writ.toml", crate::doctor::PIPELINE),
        ("src/shop.py", "print(1)\n"),
        (
            "a.info",
            "TN:\nSF:src/shop.py\nDA:1,1\nLF:1\nLH:1\nend_of_record\n",
        ),
        (
            "b.info",
            "TN:\nSF:src/shop.py\nDA:1,0\nLF:1\nLH:0\nend_of_record\n",
        ),
    ]);
    let backup = sandbox.path("backup");
    let backup = backup.to_str().unwrap();
    let place = store(&sandbox);
    let place = place.to_str().unwrap();
    assert_eq!(sandbox.writ(&["server", "backup", "--to", backup]).code, 2);
    assert_eq!(sandbox.writ(&["attest", "a.info"]).code, 0);
    let made = sandbox.writ(&["server", "backup", "--to", backup, "-f", "json"]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(made.json()["made"]["head"]["size"], 1);
    let checked = sandbox.writ(&["verify", "--store", backup]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.err);
    let listed = sandbox.writ(&["server", "restore", backup, "--list"]);
    assert!(listed.out.contains("1 entry"), "{}", listed.out);
    // Nothing is written over.
    let taken = sandbox.writ(&["server", "restore", backup, "--to", place]);
    assert_eq!(taken.code, 2, "{}", taken.err);

    // More is recorded, then the disk is lost.
    assert_eq!(sandbox.writ(&["attest", "b.info"]).code, 0);
    std::fs::remove_dir_all(store(&sandbox)).unwrap();
    let refused = sandbox.writ(&["server", "restore", backup, "--to", place]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    let said = refused.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("entries 1 to 2 are missing"), "{said}");
    assert!(said.contains("--accept-rollback --reason"), "{said}");
    assert!(!store(&sandbox).exists());
    let restored = sandbox.writ(&[
        "server",
        "restore",
        backup,
        "--to",
        place,
        "--accept-rollback",
        "--reason",
        "the disk is gone",
    ]);
    assert_eq!(restored.code, 0, "{}", restored.err);
    assert!(restored.out.contains("the loss is recorded as ev_"));
    assert_eq!(sandbox.writ(&["verify"]).code, 0);
    let nothing = sandbox.writ(&["server", "accept-rollback", "--reason", "again"]);
    assert_eq!(nothing.code, 2, "{}", nothing.out);
}
