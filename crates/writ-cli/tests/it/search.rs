//! `writ search` as somebody meets it who looks for evidence.

use crate::sandbox::Sandbox;

#[test]
fn evidence_is_found_by_its_words_page_by_page() {
    let report =
        |hits: u32| format!("TN:\nSF:src/shop.py\nDA:1,{hits}\nLF:1\nLH:{hits}\nend_of_record\n");
    let sandbox = Sandbox::with_repository(&[
        ("writ.toml", crate::doctor::PIPELINE),
        ("src/shop.py", "print(1)\n"),
        ("a.info", &report(1)),
        ("b.info", &report(0)),
    ]);
    for file in ["a.info", "b.info"] {
        assert_eq!(sandbox.writ(&["attest", file]).code, 0);
    }
    let first = sandbox.writ(&["search", "coverage", "--limit", "1", "-f", "json"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let first = first.json();
    assert_eq!(first["schema"], "writ.search/1");
    assert_eq!(first["evidence"][0]["index"], 1);
    let next = first["next"].as_str().unwrap();
    let second = sandbox.writ(&["search", "COVER*", "--cursor", next, "-f", "json"]);
    let second = second.json();
    assert_eq!(second["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(second["evidence"][0]["index"], 0);
    assert_eq!(second["next"], serde_json::Value::Null);

    let other = sandbox.writ(&["search", "coverage", "--kind", "sast"]);
    assert_eq!(other.code, 0);
    assert!(
        other.out.contains("nothing holds all of these words"),
        "{}",
        other.out
    );
    for (asked, part) in [
        (&["search", "--", "--"][..], "no letter or digit"),
        (&["search", "a", "--cursor", "w1.runs.37"], "list of runs"),
        (&["search", "a", "--cursor", "37"], "not one that Writ gave"),
        (&["search", "a", "--kind", "tea"], "not a kind of evidence"),
    ] {
        let wrong = sandbox.writ(asked);
        assert_eq!(wrong.code, 2, "{asked:?}");
        let said = wrong.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(part), "{said}");
    }
}
