//! Who is whom: bindings are proposed, approved by somebody else, and read back as of any size.

use std::collections::BTreeSet;

use writ_evidence::predicate::{Actor, Definition, DefinitionKind};
use writ_evidence::statement::{ResourceDescriptor, Statement};
use writ_model::{Assurance, Digest, Grant, PrincipalId, Role};
use writ_registry::directory::identity::{Answer, BindingChange, Owner, Standing};
use writ_registry::directory::{Alias, RoleChange};
use writ_registry::{NewRecord, Query, RegistryError, Store, StoreOptions};

const PASSWORD: &str = "correct horse battery";

async fn store(place: &std::path::Path) -> Store {
    let options = StoreOptions::new(place.join("trust")).create();
    Store::open(place.join("store"), options).await.unwrap()
}

fn actor(principal: &PrincipalId) -> Actor {
    Actor {
        principal: principal.clone(),
        role: None,
        assurance: Assurance::Password,
        assertion: None,
    }
}

fn alias(store: &Store, text: &str) -> PrincipalId {
    store.alias_id(&Alias::parse(text).unwrap()).unwrap()
}

fn account(account: &PrincipalId, owner: &PrincipalId) -> BindingChange {
    BindingChange::Account {
        account: account.clone(),
        owner: Some(Owner {
            id: owner.clone(),
            machine: false,
        }),
    }
}

async fn person(store: &Store, name: &str, role: Role) -> PrincipalId {
    let first = !store.has_accounts().await.unwrap();
    let id = store.add_account(name, PASSWORD).await.unwrap();
    let change = RoleChange {
        principal: &id,
        grant: Grant::everywhere(role),
        granted: true,
        by: &id,
        bootstrap: first,
    };
    store.change_role(&change).await.unwrap();
    id
}

fn refusal<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> String {
    match result.unwrap_err() {
        RegistryError::People { reason } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_second_person_puts_bindings_in_force() {
    let place = tempfile::tempdir().unwrap();
    let store = store(place.path()).await;
    let ada = person(&store, "ada", Role::Operator).await;
    let mail = alias(&store, "mail:ada@example.org");
    let owner = store.owner_id("u-1", false).unwrap();

    // Alone, the first operator begins: recorded as such.
    let own = vec![account(&ada, &owner), account(&mail, &owner)];
    let begun = store.propose_bindings(own, &actor(&ada)).await.unwrap();
    assert!(begun.bootstrap && begun.changes == 2);
    assert_eq!(
        refusal(
            store
                .propose_bindings(vec![account(&ada, &owner)], &actor(&ada))
                .await
        ),
        "there is nothing to change"
    );

    // From the second person on, it takes two.
    let cleo = person(&store, "cleo", Role::Compliance).await;
    let bob = person(&store, "bob", Role::Developer).await;
    let second = alias(&store, "gitlab:ada");
    let team = BindingChange::Team {
        person: owner.clone(),
        team: "security".to_owned(),
        member: true,
    };
    let asked = store
        .propose_bindings(vec![account(&second, &owner), team], &actor(&ada))
        .await
        .unwrap();
    assert!(!asked.bootstrap);
    assert!(store.bindings(None).await.unwrap().owner(&second).is_none());
    let proposal = store
        .binding_proposal(&asked.digest.to_hex()[..10])
        .await
        .unwrap();
    assert_eq!(proposal.standing, Standing::Waiting);
    assert!(
        refusal(
            store
                .answer_bindings(&asked.digest, &Answer::Approve, &actor(&ada))
                .await
        )
        .contains("who proposed it")
    );
    assert!(
        refusal(
            store
                .answer_bindings(&asked.digest, &Answer::Approve, &actor(&bob))
                .await
        )
        .contains("one of the roles compliance, operator")
    );
    assert!(
        refusal(
            store
                .propose_bindings(vec![account(&second, &bob)], &actor(&bob))
                .await
        )
        .contains("who proposes this has the role operator")
    );
    let before = store.indexed().await.unwrap();
    store
        .answer_bindings(&asked.digest, &Answer::Approve, &actor(&cleo))
        .await
        .unwrap();
    let now = store.bindings(None).await.unwrap();
    assert_eq!(now.owner(&second).unwrap().id, owner);
    assert_eq!(now.teams(&owner).collect::<Vec<_>>(), ["security"]);
    let then = store.bindings(Some(before)).await.unwrap();
    assert!(then.owner(&second).is_none() && then.owner(&mail).is_some());
    assert!(
        refusal(
            store
                .answer_bindings(&asked.digest, &Answer::Approve, &actor(&cleo))
                .await
        )
        .contains("approved already")
    );

    // What is known: the account's person, with the roles of all their accounts.
    let asked: BTreeSet<PrincipalId> = [&mail, &bob, &PrincipalId("p_stranger".to_owned())]
        .into_iter()
        .cloned()
        .collect();
    let known = store
        .known_people(&asked, store.indexed().await.unwrap())
        .await
        .unwrap();
    assert_eq!(known.len(), 3, "the mail, its person, and bob");
    assert_eq!(known[&mail].owner.as_ref(), Some(&owner));
    assert!(
        known[&mail]
            .roles
            .contains(&Grant::everywhere(Role::Operator))
    );
    assert_eq!(known[&owner].teams, ["security"]);
    assert!(known[&owner].resolved && !known[&bob].resolved);

    // No, with a reason; and never by a second account of the proposer.
    let dan = person(&store, "dan", Role::Operator).await;
    let bind = vec![account(&dan, &owner)];
    let asked = store.propose_bindings(bind, &actor(&dan)).await.unwrap();
    store
        .answer_bindings(&asked.digest, &Answer::Approve, &actor(&ada))
        .await
        .unwrap();
    let asked = store
        .propose_bindings(vec![account(&bob, &owner)], &actor(&dan))
        .await
        .unwrap();
    assert!(
        refusal(
            store
                .answer_bindings(&asked.digest, &Answer::Approve, &actor(&ada))
                .await
        )
        .contains("another account of the same person")
    );
    let empty = Answer::Reject {
        reason: " ".to_owned(),
    };
    assert!(
        store
            .answer_bindings(&asked.digest, &empty, &actor(&cleo))
            .await
            .is_err()
    );
    let no = Answer::Reject {
        reason: "bob is somebody else".to_owned(),
    };
    store
        .answer_bindings(&asked.digest, &no, &actor(&cleo))
        .await
        .unwrap();
    assert!(store.bindings(None).await.unwrap().owner(&bob).is_none());

    // A rebuilt index and a store that is opened again say the same.
    let said = (
        store.bindings(None).await.unwrap(),
        store.binding_proposals().await.unwrap(),
    );
    store.reindex(&mut |_, _| {}).await.unwrap();
    store.close().await.unwrap();
    let store = Store::open(
        place.path().join("store"),
        StoreOptions::new(place.path().join("trust")),
    )
    .await
    .unwrap();
    let again = (
        store.bindings(None).await.unwrap(),
        store.binding_proposals().await.unwrap(),
    );
    assert_eq!(said, again);
}

#[tokio::test]
async fn compliance_approves_which_profile_binds() {
    let place = tempfile::tempdir().unwrap();
    let store = store(place.path()).await;
    let ada = person(&store, "ada", Role::Operator).await;
    let cleo = person(&store, "cleo", Role::Compliance).await;
    let dan = person(&store, "dan", Role::Operator).await;
    let bind = |profile: &str, effective_at| BindingChange::Profile {
        service: "payments-api".to_owned(),
        environment: Some("production".to_owned()),
        profile: profile.to_owned(),
        effective_at,
    };
    let far = writ_model::Timestamp::from_micros(4_000_000_000_000_000);
    let bound = async |at| {
        let bindings = store.bindings(None).await.unwrap();
        let found = bindings.profile("payments-api", "production", at);
        found.map(|found| found.profile.clone())
    };
    for (profile, from) in [("soc2", None), ("sox-production", Some(far))] {
        let asked = store
            .propose_bindings(vec![bind(profile, from)], &actor(&ada))
            .await
            .unwrap();
        assert!(!asked.bootstrap);
        let yes = Answer::Approve;
        let refused = refusal(
            store
                .answer_bindings(&asked.digest, &yes, &actor(&dan))
                .await,
        );
        assert_eq!(refused, "it takes the role compliance");
        store
            .answer_bindings(&asked.digest, &yes, &actor(&cleo))
            .await
            .unwrap();
    }
    assert_eq!(bound(store.now()).await.as_deref(), Some("soc2"));
    assert_eq!(bound(far).await.as_deref(), Some("sox-production"));
    assert_eq!(bound(writ_model::Timestamp::from_micros(5)).await, None);
    let staging = store.bindings(None).await.unwrap();
    assert!(staging.profile("payments-api", "staging", far).is_none());
    let two = vec![bind("soc2", None), bind("startup", None)];
    let refused = refusal(store.propose_bindings(two, &actor(&ada)).await);
    assert_eq!(refused, "which profile binds is a proposal of its own");
}

#[tokio::test]
async fn what_other_systems_and_git_say_is_what_bindings_find() {
    let place = tempfile::tempdir().unwrap();
    let store = store(place.path()).await;
    for (system, account, name) in [
        ("github", "Octo-Cat", "github:octo-cat"),
        ("gitlab", " Ada", "gitlab:@ada"),
        ("mail", "Ada@Example.org", "mail:ada@example.org"),
    ] {
        let said = store.outside_principal(system, account).unwrap();
        assert_eq!(said, alias(&store, name));
    }
    let purpose = writ_registry::directory::PrincipalKey::PURPOSE;
    let key = store.trust().derived_key(purpose).unwrap();
    let key = writ_registry::directory::PrincipalKey::new(key);
    let author = key.principal("Ada <ada@example.org>".split(' ').nth(1).unwrap());
    assert_eq!(author, alias(&store, "ada@example.org"));
}

#[tokio::test]
async fn a_long_list_lies_in_the_locker() {
    let place = tempfile::tempdir().unwrap();
    let store = store(place.path()).await;
    let owner = store.owner_id("u-1", false).unwrap();
    let by = store.local_principal("root").await.unwrap();
    let changes: Vec<BindingChange> = (0..5_000)
        .map(|at| account(&alias(&store, &format!("mail:m{at}@example.org")), &owner))
        .collect();
    let proposed = store.propose_bindings(changes, &actor(&by)).await.unwrap();
    assert!(proposed.bootstrap, "nobody has an account");
    assert_eq!(store.bindings(None).await.unwrap().len(), 5_000);
    let page = store.evidence(&Query::default()).await.unwrap();
    let entry = page
        .items
        .iter()
        .find(|item| item.index == proposed.recorded.index)
        .unwrap();
    assert!(serde_json::to_vec(entry).unwrap().len() < 4_096);
    store.close().await.unwrap();
    let options = StoreOptions::new(place.path().join("trust"));
    let store = Store::open(place.path().join("store"), options)
        .await
        .unwrap();
    assert_eq!(store.bindings(None).await.unwrap().len(), 5_000);
}

#[tokio::test]
async fn who_may_hand_in_evidence_cannot_say_who_is_whom() {
    let place = tempfile::tempdir().unwrap();
    let store = store(place.path()).await;
    let by = store.local_principal("root").await.unwrap();
    let owner = store.owner_id("u-1", false).unwrap();
    let (mail, other) = (
        alias(&store, "mail:a@example.org"),
        alias(&store, "mail:b@example.org"),
    );
    let bound = store
        .propose_bindings(vec![account(&mail, &owner)], &actor(&by))
        .await
        .unwrap();
    let taken = vec![BindingChange::Account {
        account: mail.clone(),
        owner: None,
    }];
    store.propose_bindings(taken, &actor(&by)).await.unwrap();
    let page = store.evidence(&Query::default()).await.unwrap();
    let first = page
        .items
        .iter()
        .find(|item| item.index == bound.recorded.index)
        .unwrap();
    let content = first.facts["content"].clone();
    let mut forged = content.clone();
    forged["changes"][0]["account"] = other.0.clone().into();
    let mut unsealed = content.clone();
    unsealed["changes"][0]["account"] = other.0.clone().into();
    unsealed["seal"] = "".into();
    // The store's own entry once more, one with another account, one without a seal.
    for (at, content) in [content, forged, unsealed].into_iter().enumerate() {
        let digest = Digest::of(at.to_string().as_bytes());
        let definition = Definition {
            kind: DefinitionKind::Identity,
            name: format!("handed in {at}"),
            digest,
            previous: None,
            service: None,
            environment: None,
            author: Some(by.clone()),
            approvals: Vec::new(),
            effective_at: Some(store.now()),
            content: Some(content),
            file: None,
            bootstrap: true,
            observed_at: store.now(),
        };
        let subject = ResourceDescriptor::sha256("identity", digest);
        let payload = Statement::new(vec![subject], definition)
            .to_payload()
            .unwrap();
        store.record(NewRecord::payload(payload)).await.unwrap();
    }
    assert!(store.bindings(None).await.unwrap().is_empty());
    assert_eq!(store.binding_proposals().await.unwrap().len(), 2);
}
