//! Lists of people: compared, taken over, and the same again changes nothing.

use writ_evidence::predicate::Actor;
use writ_model::{Assurance, Grant, PrincipalId, Role};
use writ_registry::directory::identity::Answer;
use writ_registry::directory::{AccountRef, NewSession, RoleChange, roster};
use writ_registry::{RegistryError, Store};

use crate::common::Place;

const PASSWORD: &str = "correct horse battery";

fn actor(principal: &PrincipalId) -> Actor {
    Actor {
        principal: principal.clone(),
        role: None,
        assurance: Assurance::Password,
        assertion: None,
    }
}

fn list(people: &str) -> roster::Roster {
    roster::parse(format!(r#"{{"people": [{people}]}}"#).as_bytes()).unwrap()
}

fn said(plan: &roster::Plan) -> Vec<String> {
    let line = |d: &roster::Difference| format!("{} {} {}", d.change, d.key, d.about);
    let lines = plan.differences.iter().map(line);
    lines.map(|line| line.trim_end().to_owned()).collect()
}

async fn account(store: &Store, name: &str, role: Role) -> PrincipalId {
    let id = store.add_account(name, PASSWORD).await.unwrap();
    let change = RoleChange {
        principal: &id,
        grant: Grant::everywhere(role),
        granted: true,
        by: &id,
        bootstrap: false,
    };
    store.change_role(&change).await.unwrap();
    id
}

#[tokio::test]
async fn a_list_is_taken_over() {
    people_come_and_go(Place::new()).await;
}

/// On every database.
pub async fn people_come_and_go(place: Place) {
    let store = place.create().await;
    let ada = account(&store, "ada", Role::Operator).await;
    let cleo = account(&store, "cleo", Role::Compliance).await;
    let bob = account(&store, "bob", Role::Developer).await;
    let new = NewSession {
        account: &bob,
        assurance: Assurance::Password,
        agent: "browser",
        provenance: None,
    };
    let session = store.begin_session(&new).await.unwrap();

    let first = list(
        r#"{"id": "u-1", "name": "Ada Lovelace", "accounts": ["local:ada", "ada@example.org"], "teams": ["security"]},
           {"id": "u-2", "name": "Bob Ops", "accounts": ["local:bob", "gitlab:bob"], "teams": ["platform-team"]}"#,
    );
    let plan = store.plan_roster(&first).await.unwrap();
    let begin = [
        "add-person u-1",
        "bind-account u-1 mail:ada@example.org",
        "bind-account u-1 local:ada",
        "join-team u-1 security",
        "add-person u-2",
        "bind-account u-2 local:bob",
        "bind-account u-2 gitlab:bob",
        "join-team u-2 platform-team",
    ];
    assert_eq!(said(&plan), begin);
    assert!(
        store.persons().await.unwrap().is_empty(),
        "a plan changes nothing"
    );
    let imported = store.import_roster(&first, &actor(&ada)).await.unwrap();
    assert_eq!(said(&imported.plan), begin);
    let proposed = imported.proposed.unwrap();
    assert!(!proposed.bootstrap && proposed.changes == 6);
    // What waits is not proposed twice.
    let again = store.import_roster(&first, &actor(&ada)).await.unwrap();
    assert!(said(&again.plan).is_empty() && again.proposed.is_none());
    let yes = Answer::Approve;
    store
        .answer_bindings(&proposed.digest, &yes, &actor(&cleo))
        .await
        .unwrap();
    assert!(said(&store.plan_roster(&first).await.unwrap()).is_empty());
    let mail = store.named_aliases().await.unwrap();
    let mail = mail
        .iter()
        .find(|alias| alias.alias == "mail:ada@example.org")
        .unwrap();
    assert_eq!(
        store.person_name(&mail.id).await.unwrap().as_deref(),
        Some("mail:ada@example.org")
    );
    let bindings = store.bindings(None).await.unwrap();
    let person = bindings.owner(&mail.id).unwrap().id.clone();
    assert_eq!(
        store.person_name(&person).await.unwrap().as_deref(),
        Some("Ada Lovelace")
    );

    // Bob has left: disabled with his sessions, his accounts stay his. Ada has another name.
    let second = list(
        r#"{"id": "u-1", "name": "Ada King", "accounts": ["local:ada", "ada@example.org"], "teams": ["security"]}"#,
    );
    let imported = store.import_roster(&second, &actor(&ada)).await.unwrap();
    assert_eq!(
        said(&imported.plan),
        [
            "rename-person u-1 Ada Lovelace",
            "disable-person u-2",
            "leave-team u-2 platform-team",
            "disable-account u-2 local:bob",
        ]
    );
    assert!(store.session(session.reveal()).await.unwrap().is_none());
    assert!(store.account("bob").await.unwrap().disabled_at.is_some());
    let people = store.persons().await.unwrap();
    assert_eq!(people.len(), 2);
    assert!(
        people
            .iter()
            .any(|one| one.key == "u-2" && one.disabled_at.is_some())
    );
    let bindings = store.bindings(None).await.unwrap();
    assert_eq!(
        bindings
            .accounts(&store.owner_id("u-2", false).unwrap())
            .count(),
        2
    );
    let again = store.plan_roster(&second).await.unwrap();
    assert!(said(&again).is_empty(), "{:?}", said(&again));

    // By hand: a machine, and one account more; what a list does not name is not disabled by it.
    let renovate = [roster_alias("gitlab:renovate")];
    store
        .bind_accounts("renovate", None, true, &renovate, &actor(&ada))
        .await
        .unwrap();
    let wrong = store
        .bind_accounts("renovate", None, false, &renovate, &actor(&ada))
        .await;
    let reason = wrong.unwrap_err().to_string();
    assert_eq!(reason, "'renovate' is a machine");
    assert!(said(&store.plan_roster(&second).await.unwrap()).is_empty());
    // Back again, by the list; signing in stays closed until an operator opens it.
    let third = list(
        r#"{"id": "u-1", "name": "Ada King", "accounts": ["local:ada", "ada@example.org"], "teams": ["security"]},
           {"id": "u-2", "name": "Bob Ops"}"#,
    );
    let plan = store.plan_roster(&third).await.unwrap();
    assert_eq!(said(&plan), ["enable-person u-2"]);
    // Somebody without the role takes over nothing, and nothing is half done.
    for more in [
        r#"{"id": "u-9"}"#,
        r#"{"id": "u-9", "accounts": ["gitlab:new"]}"#,
    ] {
        let refused = store.import_roster(&list(more), &actor(&cleo)).await;
        assert!(
            matches!(refused, Err(RegistryError::People { .. })),
            "{more}"
        );
    }
    assert_eq!(store.persons().await.unwrap().len(), 3);
    // Who read what is kept for a time.
    let read = |at: i64, request: &str| writ_registry::reads::Read {
        at: writ_model::Timestamp::from_micros(at),
        principal: cleo.clone(),
        path: "/evidence?service=payments-api".to_owned(),
        request: request.to_owned(),
    };
    for one in [read(10, "a"), read(20, "b"), read(20, "b"), read(30, "c")] {
        store.note_read(&one).await.unwrap();
    }
    let all = store.reads(None, 9).await.unwrap();
    assert_eq!(all, [read(30, "c"), read(20, "b"), read(10, "a")]);
    let before = writ_model::Timestamp::from_micros(30);
    assert_eq!(store.reads(Some(before), 1).await.unwrap(), [read(20, "b")]);
    assert_eq!(store.forget_reads(before).await.unwrap(), 2);
    assert_eq!(store.reads(None, 9).await.unwrap(), [read(30, "c")]);
    // A copy has the names.
    let to = place.dir.path().join("people-backup");
    let options = writ_registry::backup::BackupOptions::default();
    store.backup(&to, options, &mut |_, _, _| {}).await.unwrap();
}

fn roster_alias(text: &str) -> AccountRef {
    AccountRef::parse(text).unwrap()
}
