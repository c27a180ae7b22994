//! `writ server people`: lists, bindings, and the second person.

use crate::account::with_input;
use crate::sandbox::{SHOP, Sandbox};

const PASSWORD: &str = "correct horse battery\n";

const LIST: &str = "id,name,accounts,teams,active,bot\n\
    u-1,Ada Lovelace,local:ada;mail:ada@example.org,security,,\n\
    u-2,Cleo,local:cleo,,,\nrenovate,,gitlab:renovate,,,yes\n";

#[test]
fn a_list_is_imported_and_a_second_person_approves() {
    let sandbox = Sandbox::new();
    for (name, role) in [("ada", "operator"), ("cleo", "compliance")] {
        let add = ["server", "account", "add", name, "--role", role];
        assert_eq!(with_input(&sandbox, &add, PASSWORD).code, 0);
    }
    let import = |who: &str, more: &[&str], list: &str| {
        let mut arguments = vec![
            "server",
            "people",
            "import",
            "-",
            "--identity",
            who,
            "-f",
            "json",
        ];
        arguments.extend(more);
        with_input(&sandbox, &arguments, list)
    };
    let people = |who: &str, arguments: &[&str]| {
        let mut all = vec!["server", "people"];
        all.extend(arguments);
        all.extend(["--identity", who]);
        sandbox.writ(&all)
    };
    let dry = import("ada", &["--dry-run"], LIST);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(dry.json()["counts"]["bindings"], 5);
    assert!(dry.json()["proposed"].is_null());
    let twice = LIST.replace("gitlab:renovate", "mail:ADA@example.org");
    let refused = import("ada", &[], &twice);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.err.contains("and so does line 2"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("line 4"), "{}", refused.err);
    let refused = import("cleo", &[], LIST);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.err.contains("has the role operator"),
        "{}",
        refused.err
    );

    let done = import("ada", &[], LIST);
    assert_eq!(done.code, 0, "{done:?}");
    let proposed = done.json()["proposed"].clone();
    assert_eq!(
        (&proposed["changes"], &proposed["bootstrap"]),
        (&5.into(), &false.into())
    );
    let digest = proposed["digest"].as_str().unwrap()["sha256:".len()..][..12].to_owned();
    let own = people("ada", &["approve", &digest]);
    assert_eq!(own.code, 4, "{own:?}");
    assert!(
        own.err.contains("who proposed it does not answer it"),
        "{}",
        own.err
    );
    let list = people("ada", &["list"]);
    assert!(
        list.out.contains(&format!("waits  {digest}")),
        "{}",
        list.out
    );
    assert!(!list.out.contains("accounts"), "{}", list.out);
    let yes = people("cleo", &["approve", &digest]);
    assert_eq!(yes.code, 0, "{yes:?}");
    let list = people("ada", &["list"]);
    assert!(list.out.contains("u-1  Ada Lovelace"), "{}", list.out);
    assert!(list.out.contains("mail:ada@example.org"), "{}", list.out);
    assert!(
        list.out.contains("renovate  renovate  machine"),
        "{}",
        list.out
    );
    let show = people("ada", &["show", "ADA@example.org"]);
    assert!(
        show.out.contains("u-1  Ada Lovelace") && show.out.contains("security"),
        "{}",
        show.out
    );

    // By hand, and no.
    let bound = people("ada", &["bind", "u-1", "gitlab:bob", "-f", "json"]);
    assert_eq!(bound.code, 0, "{bound:?}");
    let digest = bound.json()["proposed"]["digest"].as_str().unwrap()[7..19].to_owned();
    let no = people(
        "cleo",
        &["reject", &digest, "--reason", "bob is somebody else"],
    );
    assert_eq!(no.code, 0, "{no:?}");
    assert_eq!(people("cleo", &["approve", &digest]).code, 4);
    assert_eq!(
        people("ada", &["unbind", "gitlab:bob"]).code,
        4,
        "it is nobody's"
    );
    assert_eq!(people("ada", &["bind", "u-1", "jira:ada"]).code, 2);
    assert_eq!(people("ada", &["show", "nobody"]).code, 2);
    assert_eq!(import("ada", &[], LIST).json()["counts"]["bindings"], 0);
    let reads = sandbox.writ(&["server", "reads"]);
    assert_eq!((reads.code, reads.out.as_str()), (0, "no read is noted\n"));
    // The ledger knows pseudonyms only, and verifies.
    assert_eq!(sandbox.writ(&["verify"]).code, 0);
}

#[test]
fn compliance_approves_which_profile_binds() {
    let sandbox = Sandbox::with_shop(SHOP);
    let add = ["server", "account", "add", "ada", "--role", "operator"];
    assert_eq!(with_input(&sandbox, &add, PASSWORD).code, 0);
    let add = ["server", "account", "add", "cleo", "--role", "compliance"];
    assert_eq!(with_input(&sandbox, &add, PASSWORD).code, 0);
    let bind = |profile: &str, who: &str| {
        sandbox.writ(&[
            "control",
            "bind",
            profile,
            "--service",
            "shop",
            "--identity",
            who,
        ])
    };
    let stranger = bind("soc2", "mallory");
    assert_eq!(stranger.code, 4, "{stranger:?}");
    assert!(
        stranger.err.contains("has the role compliance or operator"),
        "{}",
        stranger.err
    );
    let proposed = bind("soc2", "ada");
    assert_eq!(proposed.code, 0, "{proposed:?}");
    assert!(
        proposed.out.starts_with("proposed  soc2"),
        "{}",
        proposed.out
    );
    let digest = proposed.out.trim_end().rsplit(' ').next().unwrap();
    let approve =
        |who: &str| sandbox.writ(&["server", "people", "approve", digest, "--identity", who]);
    assert_eq!(approve("ada").code, 4);
    let done = approve("cleo");
    assert_eq!(done.code, 0, "{done:?}");
    // What the repository asks for does not count any more.
    let gate = sandbox.writ(&["gate", "production"]);
    assert!(
        gate.err.contains("soc2") && gate.err.contains("startup"),
        "{gate:?}"
    );
}
