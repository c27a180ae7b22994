//! `writ deploy` and `writ verify-artifact`: real proxies, real load, versions that are bad, and a
//! process that is killed in the middle.

use std::process::{Child, Stdio};

use crate::deploy_site::{Kind, Load, Site, until};
use crate::sandbox::{SHOP, Sandbox};

/// An artefact by a letter, and how its version calls itself.
fn artifact(letter: char) -> (String, String) {
    let hex: String = std::iter::repeat_n(letter, 64).collect();
    (format!("sha256:{hex}"), hex[..8].to_owned())
}

fn deployed(site: &Site, letter: char) {
    let answer = site.deploy(&artifact(letter).0);
    assert_eq!(answer.code, 0, "{}{}", answer.out, answer.err);
    assert_eq!(answer.json()["outcome"], "succeeded");
}

/// Blue-green under load: not one request fails.
fn no_request_fails(kind: Kind) {
    let Some(site) = Site::new(kind) else { return };
    deployed(&site, 'a');
    let (_, first) = artifact('a');
    let (_, second) = artifact('b');
    assert_eq!(site.get("/").unwrap(), (200, first.clone()));
    let load = site.load();
    load.answered_by(&first);
    deployed(&site, 'b');
    load.answered_by(&second);
    deployed(&site, 'a');
    deployed(&site, 'b');
    let seen = load.end();
    assert_eq!(seen.bad, Vec::<String>::new(), "{:?}", seen.good);
    assert!(
        seen.good.len() == 2 && seen.good.values().all(|count| *count > 50),
        "{seen:?}"
    );
    assert_eq!(site.get("/").unwrap().1, second);
    assert_eq!(site.listening().len(), 1, "the previous version is stopped");
}

#[test]
fn no_request_fails_behind_haproxy() {
    no_request_fails(Kind::Haproxy);
}

#[test]
fn no_request_fails_behind_caddy() {
    no_request_fails(Kind::Caddy);
}

/// A version that answers 500 once it has traffic goes back by itself.
fn a_bad_version_goes_back(kind: Kind, share: &str) {
    let Some(site) = Site::new(kind) else { return };
    deployed(&site, 'a');
    let (bad, _) = artifact('b');
    let (_, good) = artifact('a');
    site.sandbox.write(&format!("bad-{}", &bad[7..]), "");
    site.settle(&format!("bake = \"30s\"\n{share}"));
    let load = site.load();
    load.answered_by(&good);
    let answer = site.deploy(&bad);
    assert_eq!(answer.code, 1, "{}{}", answer.out, answer.err);
    let told = answer.json();
    assert_eq!(told["outcome"], "rolled-back");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("requests failed"), "{reason}");
    assert!(told["figures"]["failed"].as_u64().unwrap() > 0);
    assert_eq!(told["previous"], artifact('a').0);
    // From here on nobody is refused any more.
    let before = load.so_far();
    until("good answers", || {
        load.so_far().good[&good] > before.good[&good] + 200
    });
    let after = load.end();
    assert_eq!(after.bad.len(), before.bad.len(), "{:?}", after.bad.last());
    assert_eq!(site.listening(), ["blue"], "the bad version is stopped");
    // The ledger has all of it, with the figures.
    let listed = site.writ(&["search", "deployment", "-f", "json"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    let found = listed
        .out
        .matches("urn:writ:predicate:deployment:v1")
        .count();
    assert_eq!(found, 4, "{}", listed.out);
    assert_eq!(site.writ(&["verify"]).code, 0);
    // What is good again is deployed again, into the slot that was left.
    std::fs::remove_file(site.sandbox.path("work").join(format!("bad-{}", &bad[7..]))).unwrap();
    site.settle("bake = \"1s\"");
    let again = site.writ(&["deploy", "production", "--digest", &bad, "-f", "json"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
}

#[test]
fn a_bad_version_goes_back_behind_haproxy() {
    a_bad_version_goes_back(Kind::Haproxy, "share = 20\n");
}

#[test]
fn a_bad_version_goes_back_behind_caddy() {
    a_bad_version_goes_back(Kind::Caddy, "");
}

fn begin(site: &Site, letter: char) -> Child {
    let (artifact, _) = artifact(letter);
    site.gate(&artifact);
    site.command(&["deploy", "production", "--digest", &artifact])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn killed(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn resumed(site: &Site, outcome: &str) {
    let answer = site.writ(&["deploy", "production", "--resume", "-f", "json"]);
    assert_eq!(
        answer.json()["outcome"],
        outcome,
        "{}{}",
        answer.out,
        answer.err
    );
    assert_eq!(answer.code, i32::from(outcome != "succeeded"));
    assert_eq!(site.step(), "recorded");
    assert_eq!(site.listening().len(), 1);
}

fn good(load: Load) {
    let seen = load.end();
    assert_eq!(seen.bad, Vec::<String>::new(), "{:?}", seen.good);
}

#[test]
fn a_deployment_that_is_killed_is_finished_or_taken_back() {
    let Some(site) = Site::new(Kind::Haproxy) else {
        return;
    };
    deployed(&site, 'a');
    let (first, second) = (artifact('a').1, artifact('b').1);
    let load = site.load();
    load.answered_by(&first);

    // While the version is being started: it goes back.
    site.sandbox.write("hold-start", "");
    std::fs::remove_file(site.sandbox.path("work/starting")).unwrap();
    let child = begin(&site, 'b');
    until("the program that starts", || {
        site.sandbox.path("work/starting").exists()
    });
    assert_eq!(site.step(), "starting");
    // Somebody else is told who deploys.
    let other = site.writ(&["deploy", "production", "--digest", &artifact('a').0]);
    assert_eq!(other.code, 8, "{}{}", other.out, other.err);
    assert!(
        other.err.contains("being deployed to by ada"),
        "{}",
        other.err
    );
    killed(child);
    std::fs::remove_file(site.sandbox.path("work/hold-start")).unwrap();
    until("the version that was being started", || {
        site.listening().len() == 2
    });
    resumed(&site, "rolled-back");
    assert_eq!(site.get("/").unwrap().1, first);

    // While it is watched: it is watched again, and stays.
    site.settle("bake = \"10m\"");
    let child = begin(&site, 'b');
    until("baking", || site.step() == "baking");
    load.answered_by(&second);
    killed(child);
    site.settle("bake = \"1s\"\ndrain = \"50s\"");
    resumed(&site, "succeeded");
    assert_eq!(site.get("/").unwrap().1, second);

    // While somebody is still at the previous version: it is waited for.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.get("/slow"));
        std::thread::sleep(std::time::Duration::from_millis(100));
        let child = begin(&site, 'a');
        until("draining", || site.step() == "draining");
        killed(child);
        let resuming = scope.spawn(|| resumed(&site, "succeeded"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(site.step(), "draining");
        site.sandbox.write("release-slow", "");
        resuming.join().unwrap();
        assert_eq!(slow.join().unwrap().unwrap(), (200, second.clone()));
    });
    assert_eq!(site.get("/").unwrap().1, first);
    good(load);
    let nothing = site.writ(&["deploy", "production", "--resume"]);
    assert_eq!(nothing.code, 0, "{}", nothing.err);
    assert_eq!(
        nothing.out,
        "No deployment to production was interrupted.\n"
    );
}

#[test]
fn nothing_is_deployed_without_a_writ_that_counts() {
    let Some(site) = Site::new(Kind::Haproxy) else {
        return;
    };
    let (wanted, _) = artifact('c');
    let check = |environment: &str| {
        site.writ(&[
            "verify-artifact",
            &wanted,
            "--env",
            environment,
            "-f",
            "json",
        ])
    };
    let code = |environment: &str| {
        let answer = check(environment);
        assert_eq!(answer.code, 1, "{}{}", answer.out, answer.err);
        answer.json()["refused"][0]["code"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(code("production"), "no-writ");
    let refused = site.writ(&["deploy", "production", "--digest", &wanted]);
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("NOT AUTHORISED"), "{}", refused.out);
    assert_eq!(site.listening().len(), 0);
    // A writ of another environment, and a preview, which no key of staging signed.
    let staging = site.writ(&["gate", "staging", "--artifact", &wanted]);
    assert_eq!(staging.code, 0, "{}{}", staging.out, staging.err);
    assert_eq!(code("production"), "other-environment");
    assert_eq!(code("staging"), "preview");
    site.gate(&wanted);
    let good = check("production");
    assert_eq!(good.code, 0, "{}", good.out);
    assert_eq!(good.json()["authorised"]["service"], "shop");
    let other = site.writ(&[
        "verify-artifact",
        &wanted,
        "--env",
        "production",
        "--service",
        "till",
        "-f",
        "json",
    ]);
    assert_eq!(other.code, 1);
    assert_eq!(other.json()["refused"][0]["code"], "other-service");
    // Its time ends.
    let later = site.writ(&[
        "verify-artifact",
        &wanted,
        "--env",
        "production",
        "--at",
        "2099-01-01T00:00:00Z",
        "-f",
        "json",
    ]);
    assert_eq!(
        later.json()["refused"][0]["code"],
        "expired",
        "{}",
        later.err
    );
    // The key that signed it is found to be stolen.
    for arguments in [
        &["key", "rotate", "writ:production", "--reason", "stolen"][..],
        &["key", "revoke", "writ-production", "--reason", "stolen"],
    ] {
        let answer = site.writ(arguments);
        assert_eq!(answer.code, 0, "{}", answer.err);
    }
    assert_eq!(code("production"), "key");
}

#[test]
fn a_program_deploys_and_another_one_takes_it_back() {
    let pipeline = format!(
        "{SHOP}\n[environment.local.deploy]\ndriver = \"argv\"\n\
         start = [\"/bin/sh\", \"put.sh\", \"{{digest}}\"]\nrollback = [\"/bin/sh\", \"back.sh\", \"{{previous}}\"]\n"
    );
    let sandbox = Sandbox::with_shop(&pipeline);
    sandbox.write(
        "put.sh",
        "test ! -e broken || { echo no disk >&2; exit 1; }\necho $1 > live\n",
    );
    sandbox.write("back.sh", "echo back to $1 > live\n");
    sandbox.git(&["add", "-A"]);
    sandbox.git(&["commit", "-q", "-m", "deploy"]);
    let bundle = sandbox.path("bundle");
    crate::sandbox::copy_bundle(&bundle);
    let file = bundle.join("profiles/startup.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("[environment.default]").unwrap();
    std::fs::write(
        &file,
        format!("{head}[environment.default]\ncontrols = [\"TST-01\"]\n"),
    )
    .unwrap();
    let writ = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("WRIT_BUNDLE", &bundle);
        crate::sandbox::answer(command.output().unwrap())
    };
    assert_eq!(writ(&["run"]).code, 0);
    let (first, second) = (artifact('a').0, artifact('b').0);
    for digest in [&first, &second] {
        let gate = writ(&["gate", "local", "--artifact", digest]);
        assert_eq!(gate.code, 0, "{}{}", gate.out, gate.err);
    }
    let put = writ(&["deploy", "local", "--digest", &first]);
    assert_eq!(put.code, 0, "{}{}", put.out, put.err);
    assert!(
        put.out.starts_with("DEPLOYED  shop aaaaaaaa to local\n"),
        "{}",
        put.out
    );
    let live = || std::fs::read_to_string(sandbox.path("work/live")).unwrap();
    assert_eq!(live(), format!("{first}\n"));
    sandbox.write("broken", "");
    let back = writ(&["deploy", "local", "--digest", &second]);
    assert_eq!(back.code, 1, "{}{}", back.out, back.err);
    assert!(back.out.starts_with("ROLLED BACK  shop"), "{}", back.out);
    assert!(back.out.contains("no disk"), "{}", back.out);
    assert_eq!(live(), format!("back to {first}\n"));
    // What is not written there says so, with the nearest name.
    let typo = writ(&["deploy", "locall", "--digest", &first]);
    assert_eq!(typo.code, 2);
    assert!(typo.err.contains("did you mean local?"), "{}", typo.err);
    let none = writ(&["deploy", "production", "--digest", &first]);
    assert_eq!(none.code, 2, "{}", none.err);
    assert!(
        none.err.contains("does not say how to deploy"),
        "{}",
        none.err
    );
}
