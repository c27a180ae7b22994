//! `writ server reindex` as an operator meets it.

use crate::sandbox::Sandbox;

#[test]
fn a_damaged_index_is_named_and_replaced() {
    let sandbox = Sandbox::with_repository(&[
        ("writ.toml", crate::doctor::PIPELINE),
        ("src/shop.py", "print(1)\n"),
        (
            "a.info",
            "TN:\nSF:src/shop.py\nDA:1,1\nLF:1\nLH:1\nend_of_record\n",
        ),
    ]);
    assert_eq!(sandbox.writ(&["server", "reindex"]).code, 2);
    assert_eq!(sandbox.writ(&["attest", "a.info"]).code, 0);
    let same = sandbox.writ(&["server", "reindex", "--verify", "-f", "json"]);
    assert_eq!(same.code, 0, "{}", same.err);
    let same = same.json();
    assert_eq!(same["schema"], "writ.reindex/1");
    assert_eq!(same["rebuilt"]["entries"], 1);
    assert_eq!(same["rebuilt"]["compared"]["answer"], "same");

    // What is no database any more is replaced, and says so.
    let store = sandbox.path("home/.local/share/writ/store");
    let index = std::fs::canonicalize(store.join("index.db")).unwrap();
    std::fs::write(&index, b"nothing").unwrap();
    let damaged = sandbox.writ(&["server", "reindex", "--verify"]);
    assert_eq!(damaged.code, 0, "{}", damaged.err);
    assert!(
        damaged
            .out
            .contains("there was no index that could be compared"),
        "{}",
        damaged.out
    );
    assert!(
        damaged.out.contains("index rebuilt: 1 entry"),
        "{}",
        damaged.out
    );
    assert_eq!(sandbox.writ(&["verify"]).code, 0);
}
