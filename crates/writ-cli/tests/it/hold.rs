//! Legal holds from the command line.

use crate::sandbox::{Answer, SHOP, Sandbox};

fn says(answer: Answer, code: i32, words: &str) {
    assert_eq!(answer.code, code, "{}{}", answer.out, answer.err);
    let all = format!("{}{}", answer.out, answer.err);
    assert!(all.contains(words), "{words}: {all}");
}

#[test]
fn a_second_person_releases_a_hold() {
    let sandbox = Sandbox::with_shop(SHOP);
    says(sandbox.writ(&["run"]), 0, "");
    says(
        sandbox.writ(&["hold", "place", "--reason", "x"]),
        2,
        "--service",
    );
    says(
        sandbox.writ(&["hold", "place", "ev_00000000", "--reason", "x"]),
        2,
        "ev_00000000",
    );
    let placed = sandbox.writ(&[
        "hold",
        "place",
        "--service",
        "shop",
        "--reason",
        "matter 14",
        "-f",
        "json",
    ]);
    assert_eq!(placed.code, 0, "{}", placed.err);
    let placed = placed.json();
    assert_eq!(placed["hold"]["name"], "LH-1");
    assert!(placed["objects"].as_u64().unwrap() > 0);
    says(sandbox.writ(&["hold", "list"]), 0, "placed");
    let release = ["hold", "release", "LH-1", "--reason", "closed"];
    says(sandbox.writ(&release), 8, "Waits for somebody else");
    says(sandbox.writ(&release), 4, "cannot release it");
    says(
        sandbox.writ(&["hold", "release", "LH-7", "--reason", "x"]),
        2,
        "writ hold list",
    );
    let mut second = release.to_vec();
    second.extend(["--identity", "dana"]);
    says(sandbox.writ(&second), 0, "released");
    says(sandbox.writ(&["hold", "list"]), 0, "0 in force");
    says(
        sandbox.writ(&["hold", "list", "--all"]),
        0,
        "by dana: closed",
    );
    says(sandbox.writ(&["verify"]), 0, "");
}
