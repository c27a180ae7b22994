//! Who may approve, over generated histories: what [`Case`] says before anybody tries is what the
//! gate's rule says afterwards, and no author ever counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use writ_gate::{Bundle, BundleSource, Judged, decide, load_bundle, prepare};
use writ_model::{Assurance, PrincipalId, State};
use writ_release::approval::{Case, Objection};

/// The shipped bundle with a profile that asks for approvals and nothing else.
static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let shipped = load_bundle(&BundleSource::Embedded).unwrap();
    let mut files = shipped.files.0;
    let profile = "name = \"small\"\ntitle = \"Approvals\"\n[floor]\norigin = \"handed-in\"\nproducer = \"laptop\"\n\
        assurance = \"totp\"\napprovals = { role = \"reviewer\", count = 1 }\n\
        [environment.default]\ncontrols = [\"CHG-03\", \"CHG-04\"]\n";
    files.insert(
        "profiles/small.toml".to_owned(),
        profile.as_bytes().to_vec(),
    );
    load_bundle(&BundleSource::Files(files)).unwrap()
});

const COMMIT: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";
const LEVELS: [&str; 4] = ["local-user", "password", "totp", "webauthn"];

/// An account: whose it is (or nobody knows), whether it is a machine's, whether it holds the role.
#[derive(Debug, Clone)]
struct Account {
    owner: Option<u8>,
    listed: bool,
    machine: bool,
    reviewer: bool,
}

#[derive(Debug, Clone)]
struct History {
    accounts: Vec<Account>,
    authors: BTreeSet<usize>,
    shallow: bool,
    /// Who said what: account, yes, level.
    said: Vec<(usize, bool, usize)>,
}

fn history() -> impl Strategy<Value = History> {
    let account = (
        proptest::option::weighted(0.8, 0_u8..3),
        proptest::bool::weighted(0.9),
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.6),
    )
        .prop_map(|(owner, listed, machine, reviewer)| Account {
            owner,
            listed,
            machine,
            reviewer,
        });
    (
        proptest::collection::vec(account, 2..6),
        proptest::collection::btree_set(0_usize..6, 0..3),
        proptest::bool::weighted(0.1),
        proptest::collection::vec(
            (0_usize..6, proptest::bool::weighted(0.8), 0_usize..4),
            0..3,
        ),
    )
        .prop_map(|(accounts, authors, shallow, said)| {
            let count = accounts.len();
            History {
                authors: authors.into_iter().map(|at| at % count).collect(),
                said: said
                    .into_iter()
                    .map(|(at, yes, level)| (at % count, yes, level))
                    .collect(),
                accounts,
                shallow,
            }
        })
}

fn id(at: usize) -> String {
    format!("p_account{at:08}")
}

fn judged(history: &History, more: &[(usize, bool, usize)]) -> Judged {
    let bindings: BTreeMap<String, Value> = history
        .accounts
        .iter()
        .enumerate()
        .filter(|(_, account)| account.listed)
        .map(|(at, account)| {
            let roles: &[&str] = if account.reviewer { &["reviewer"] } else { &[] };
            let mut facts = json!({"roles": roles, "machine": account.machine});
            match account.owner {
                Some(owner) => facts["person"] = json!(format!("p_person{owner:08}")),
                None => facts["unresolved"] = json!(true),
            }
            (id(at), facts)
        })
        .collect();
    let authors: Vec<String> = history.authors.iter().map(|at| id(*at)).collect();
    let mut evidence = vec![json!({
        "predicateType": "urn:writ:predicate:run:v1", "evidenceType": "pipeline-definition", "scope": "run",
        "facts": {"inventory": {"files": 1}, "authors": authors, "range": {"head": COMMIT, "count": 2}, "shallow": history.shallow},
    })];
    for (at, yes, level) in history.said.iter().chain(more) {
        let predicate = if *yes { "approval" } else { "rejection" };
        evidence.push(json!({
            "evidenceType": "approval", "service": "",
            "predicateType": format!("urn:writ:predicate:{predicate}:v1"),
            "subject": {"artifact": format!("sha256:{}", "4f2a9c1e".repeat(8))},
            "facts": {
                "about": "release", "bundleDigest": BUNDLE.reference.digest,
                "release": {"service": "payments-api", "environment": "production", "artifact": format!("sha256:{}", "4f2a9c1e".repeat(8))},
                "by": {"principal": id(*at), "role": "reviewer", "assurance": LEVELS[*level]},
                "reason": "no",
            },
        }));
    }
    let fixture = json!({
        "about": "generated", "environment": "production", "profile": "small",
        "bindings": bindings, "evidence": evidence,
    });
    let prepared = prepare(&fixture.to_string()).unwrap();
    let decision = decide(&BUNDLE, &prepared.inputs, &prepared.findings).unwrap();
    Judged {
        inputs: prepared.inputs,
        decision,
    }
}

fn state(judged: &Judged, control: &str) -> State {
    let mut checks = judged.decision.checks.iter();
    checks.find(|check| check.control == control).unwrap().state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_said_before_is_what_counts_after(history in history(), who in 0_usize..6, level in 0_usize..4) {
        let who = who % history.accounts.len();
        let before = judged(&history, &[]);
        let case = Case::of(&BUNDLE, &before, BTreeMap::new());
        let account = PrincipalId(id(who));
        let assurance: Assurance = serde_json::from_value(json!(LEVELS[level])).unwrap();
        let objection = case.person_objects(&account, Some(assurance));

        // The gate hears their yes, after which nobody says no.
        let quiet = History {
            said: Vec::new(),
            ..history.clone()
        };
        let after = judged(&quiet, &[(who, true, level)]);
        prop_assert_eq!(
            state(&after, "CHG-03") == State::Pass,
            objection.is_none(),
            "{:?}", objection
        );
        let mirrored = Case::of(&BUNDLE, &after, BTreeMap::new());
        prop_assert_eq!(mirrored.counted(), usize::from(objection.is_none()));

        // What the case counts of all that was said is what the gate counts.
        let rejected = case.rejections().next().is_some();
        let enough = case.lacking() == 0 && !rejected;
        prop_assert_eq!(state(&before, "CHG-03") == State::Pass, enough);

        // Separation of duties: nobody who is, or may be, an author is let through.
        let person = |at: usize| history.accounts[at].owner;
        let own = history.authors.iter().any(|author| {
            *author == who || (person(*author).is_some() && person(*author) == person(who))
        });
        if own || history.shallow || history.authors.is_empty() {
            prop_assert!(objection.is_some());
        }
        if own && objection.as_ref().is_some_and(|known| matches!(known, Objection::Author { .. })) {
            prop_assert_eq!(state(&after, "CHG-04"), State::Fail);
        }
        if !history.accounts[who].listed || history.accounts[who].owner.is_none() {
            prop_assert!(objection.is_some(), "an account that is nobody's");
        }
    }
}
