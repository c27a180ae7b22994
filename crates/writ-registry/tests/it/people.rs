//! Accounts, sessions and roles.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::common::Place;
use writ_ledger::Clock;
use writ_model::{Assurance, Grant, PrincipalId, Role, Span};
use writ_registry::directory::{
    ATTEMPT_LIFE, ATTEMPTS, Account, Attempt, DeviceAnswer, IDLE, LIFETIME, LOCK, NewSession,
    Provenance, RoleBook, RoleChange, SignIn, Subject,
};
use writ_registry::{NewRecord, RegistryError, Store, StoreOptions, TokenCheck};

#[derive(Debug)]
struct Hand(AtomicI64);

impl Hand {
    fn pass(&self, span: Span) {
        self.0.fetch_add(span.micros(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

const PASSWORD: &str = "correct horse battery";

async fn store(place: &std::path::Path) -> (Store, Arc<Hand>) {
    let clock = Arc::new(Hand(AtomicI64::new(1_790_000_000_000_000)));
    let options = StoreOptions::new(place.join("trust"))
        .create()
        .clock(clock.clone());
    (
        Store::open(place.join("store"), options).await.unwrap(),
        clock,
    )
}

async fn known(store: &Store, name: &str, password: &str) -> bool {
    matches!(
        store.sign_in(name, password, "").await.unwrap(),
        SignIn::Known(..)
    )
}

#[tokio::test]
async fn an_account_waits_after_too_many_attempts() {
    let place = tempfile::tempdir().unwrap();
    let (store, clock) = store(place.path()).await;
    assert!(!store.has_accounts().await.unwrap());
    store.add_account("Ada", PASSWORD).await.unwrap();
    assert!(store.has_accounts().await.unwrap());
    assert!(matches!(
        store.add_account("ada", PASSWORD).await,
        Err(RegistryError::People { .. })
    ));
    assert!(known(&store, "ADA ", PASSWORD).await);
    assert!(!known(&store, "bob", PASSWORD).await);
    for _ in 0..ATTEMPTS {
        assert!(!known(&store, "ada", "wrong horse battery").await);
    }
    assert!(!known(&store, "ada", PASSWORD).await);
    clock.pass(LOCK);
    assert!(known(&store, "ada", PASSWORD).await);
    let account = store.account("ada").await.unwrap();
    store.disable_account(&account, true).await.unwrap();
    assert!(!known(&store, "ada", PASSWORD).await);
    store.disable_account(&account, false).await.unwrap();
    assert!(known(&store, "ada", PASSWORD).await);
    assert!(!known(&store, "", "").await);
    assert!(!known(&store, "ada", &"x".repeat(1 << 20)).await);
}

#[tokio::test]
async fn a_session_ends_when_it_should() {
    let place = tempfile::tempdir().unwrap();
    let (store, clock) = store(place.path()).await;
    let id = store.add_account("ada", PASSWORD).await.unwrap();
    let begin = async || {
        let new = NewSession {
            account: &id,
            assurance: Assurance::Password,
            agent: "browser\n",
            provenance: None,
        };
        store.begin_session(&new).await.unwrap()
    };
    let open = async |token: &str| store.session(token).await.unwrap();
    let token = begin().await;
    let (session, account) = open(token.reveal()).await.unwrap();
    assert_eq!(
        (account.login.as_str(), session.agent.as_str()),
        ("ada", "browser")
    );
    assert_ne!(session.id, token.reveal());
    assert!(open(&session.id).await.is_none(), "the digest is no token");
    for bad in ["", "x", "../..", &"0".repeat(64)] {
        assert!(open(bad).await.is_none());
    }
    // Used again and again, it ends at the latest after its lifetime.
    let mut passed = Span::from_secs(0);
    while passed < LIFETIME {
        assert!(open(token.reveal()).await.is_some(), "{passed:?}");
        clock.pass(Span::from_secs(3_600));
        passed = Span::from_micros(passed.micros() + 3_600_000_000);
    }
    assert!(open(token.reveal()).await.is_none());
    // Not used, it ends sooner.
    let idle = begin().await;
    clock.pass(IDLE);
    assert!(open(idle.reveal()).await.is_none());
    // Revoked, it ends at once; of somebody else it cannot be revoked.
    let (one, other) = (begin().await, begin().await);
    let (session, _) = open(one.reveal()).await.unwrap();
    let stranger = PrincipalId("p_stranger".to_owned());
    assert_eq!(
        store
            .revoke_session(&session.id, Some(&stranger))
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        store.revoke_session(&session.id, Some(&id)).await.unwrap(),
        1
    );
    assert!(open(one.reveal()).await.is_none());
    assert!(open(other.reveal()).await.is_some());
    let account = store.account("ada").await.unwrap();
    store
        .set_password(&account, "another horse battery")
        .await
        .unwrap();
    assert!(
        open(other.reveal()).await.is_none(),
        "a new password ends all"
    );
    // A copy of the ops schema keeps accounts, and no session comes back.
    let last = begin().await;
    let backup = place.path().join("backup");
    // A backup that recorded itself would be one entry behind the head that this machine has seen.
    let unrecorded = writ_registry::backup::BackupOptions {
        record: false,
        ..writ_registry::backup::BackupOptions::default()
    };
    store
        .backup(&backup, unrecorded, &mut |_, _, _| {})
        .await
        .unwrap();
    assert!(open(last.reveal()).await.is_some());
    let options = writ_registry::backup::RestoreOptions {
        clock: clock.clone(),
        ..writ_registry::backup::RestoreOptions::new(place.path().join("trust"))
    };
    let to = place.path().join("restored");
    writ_registry::backup::restore(&backup, &to, &options, &mut |_, _, _| {})
        .await
        .unwrap();
    let restored = Store::open(
        &to,
        StoreOptions::new(place.path().join("trust")).clock(clock),
    )
    .await
    .unwrap();
    assert_eq!(restored.accounts().await.unwrap().len(), 1);
    assert!(restored.session(last.reveal()).await.unwrap().is_none());
}

#[tokio::test]
async fn one_time_codes_are_asked_for_once_they_are_confirmed() {
    let place = tempfile::tempdir().unwrap();
    let (store, _clock) = store(place.path()).await;
    let id = store.add_account("ada", PASSWORD).await.unwrap();
    assert_eq!(store.totp_enrolment(&id, "ada").await.unwrap(), None);
    store.begin_totp(&id).await.unwrap();
    let waiting = store.totp_enrolment(&id, "ada").await.unwrap().unwrap();
    assert!(waiting.uri.contains(&waiting.secret) && waiting.secret.len() == 32);
    assert!(!store.confirm_totp(&id, "000000x").await.unwrap());
    assert!(known(&store, "ada", PASSWORD).await, "not confirmed yet");
    // The secret never lies in the database as it is.
    let ops = std::fs::read(place.path().join("store").join("ops.sqlite")).unwrap_or_default();
    let text = String::from_utf8_lossy(&ops);
    assert!(!text.contains(&waiting.secret));
}

#[tokio::test]
async fn roles_are_what_the_ledger_says() {
    let place = tempfile::tempdir().unwrap();
    let (store, clock) = store(place.path()).await;
    let ada = store.add_account("ada", PASSWORD).await.unwrap();
    let bob = store.add_account("bob", PASSWORD).await.unwrap();
    let everywhere = Grant::everywhere;
    let change = async |principal, grant: Grant, granted| {
        let change = RoleChange {
            principal,
            grant,
            granted,
            by: &ada,
            bootstrap: false,
        };
        store.change_role(&change).await
    };
    let mut kept = RoleBook::default();
    store.read_roles(&mut kept).await.unwrap();
    assert!(kept.is_empty());
    let granted = change(&bob, everywhere(Role::Operator), true)
        .await
        .unwrap();
    store.read_roles(&mut kept).await.unwrap();
    assert_eq!(kept.of(&bob), [everywhere(Role::Operator)]);
    assert_eq!(kept.of(&ada), []);
    let refused = change(&bob, everywhere(Role::Auditor), true)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("no hand in"), "{refused}");
    assert!(
        change(&bob, everywhere(Role::Operator), true)
            .await
            .is_err()
    );
    clock.pass(Span::from_secs(1));
    change(&bob, everywhere(Role::Operator), false)
        .await
        .unwrap();
    assert!(
        change(&bob, everywhere(Role::Operator), false)
            .await
            .is_err()
    );
    store.read_roles(&mut kept).await.unwrap();
    assert_eq!(kept.of(&bob), []);
    // What granted it once, signed and recorded anew, grants nothing.
    let record = store.get(&granted.id.to_string()).await.unwrap();
    let mut statement = serde_json::to_value(&record.statement).unwrap();
    let again = |statement: &serde_json::Value| {
        NewRecord::payload(writ_evidence::canonical::to_vec(statement).unwrap())
    };
    statement["predicate"]["observedAt"] = "2026-01-01T00:00:00Z".into();
    store.record(again(&statement)).await.unwrap();
    // Nor does one with another principal or without a seal.
    statement["predicate"]["content"]["principal"] = ada.0.clone().into();
    store.record(again(&statement)).await.unwrap();
    statement["predicate"]["content"]["seal"] = "".into();
    store.record(again(&statement)).await.unwrap();
    for i in 0..70 {
        let service = Some(format!("service-{i}"));
        change(
            &ada,
            Grant {
                role: Role::Developer,
                service,
            },
            true,
        )
        .await
        .unwrap();
    }
    store.read_roles(&mut kept).await.unwrap();
    let mut fresh = RoleBook::default();
    store.read_roles(&mut fresh).await.unwrap();
    for book in [&kept, &fresh] {
        assert_eq!(book.of(&bob), []);
        assert_eq!(book.of(&ada).len(), 70);
    }
}

/// Everything that is asked about people, on whichever database.
pub async fn accounts_sessions_and_codes(place: Place) {
    let store = place.create().await;
    assert!(!store.has_accounts().await.unwrap());
    let id = store.add_account("ada", PASSWORD).await.unwrap();
    assert!(store.has_accounts().await.unwrap());
    assert!(!known(&store, "bob", PASSWORD).await);
    assert!(!known(&store, "ada", "wrong horse battery").await);
    assert!(known(&store, "ada", PASSWORD).await);
    let new = NewSession {
        account: &id,
        assurance: Assurance::Password,
        agent: "browser",
        provenance: None,
    };
    let (one, other) = (
        store.begin_session(&new).await.unwrap(),
        store.begin_session(&new).await.unwrap(),
    );
    place.clock.advance(600);
    let (session, _) = store.session(one.reveal()).await.unwrap().unwrap();
    assert_eq!(store.sessions(Some(&id)).await.unwrap().len(), 2);
    assert_eq!(store.sessions(None).await.unwrap().len(), 2);
    store.revoke_other_sessions(&id, &session.id).await.unwrap();
    assert!(store.session(other.reveal()).await.unwrap().is_none());
    store.revoke_session(&session.id, None).await.unwrap();
    assert!(store.session(one.reveal()).await.unwrap().is_none());
    store.begin_totp(&id).await.unwrap();
    assert!(store.totp_enrolment(&id, "ada").await.unwrap().is_some());
    store.remove_totp(&id).await.unwrap();
    assert!(store.totp_enrolment(&id, "ada").await.unwrap().is_none());
    let account = store.account("ada").await.unwrap();
    store
        .set_password(&account, "another horse battery")
        .await
        .unwrap();
    store.disable_account(&account, true).await.unwrap();
    assert!(!known(&store, "ada", "another horse battery").await);
    assert_eq!(store.accounts().await.unwrap().len(), 1);
    people_of_a_provider(&place, &store).await;
}

async fn people_of_a_provider(place: &Place, store: &Store) {
    let of = |subject| Subject {
        issuer: "https://id.example",
        subject,
        name: "Ada\n of id.example",
    };
    let ada = store.account("ada").await.unwrap();
    store.link(&ada, &of("1")).await.unwrap();
    // Nobody else becomes ada, and ada nobody else.
    assert!(store.link(&ada, &of("2")).await.is_err());
    let bob = store.add_linked_account(&of("2"), "bob@x", "corp").await;
    let bob = bob.unwrap();
    assert_eq!(bob.login, "bob@corp");
    assert!(store.link(&bob, &of("1")).await.is_err());
    let again = store.add_linked_account(&of("2"), "else", "corp").await;
    assert_eq!(again.unwrap(), bob);
    let other = store.add_linked_account(&of("3"), "BOB", "corp").await;
    assert_eq!(other.unwrap().login, "bob-2@corp");
    store.link_used(&of("1")).await.unwrap();
    let found = store.linked(of("1").issuer, "1").await.unwrap().unwrap();
    assert_eq!(found.login, "ada");
    let links = store.links(Some(&ada.id)).await.unwrap();
    assert_eq!(
        (links.len(), links[0].name.as_str()),
        (1, "Ada of id.example")
    );
    assert!(links[0].used_at.is_some());
    assert_eq!(store.links(None).await.unwrap().len(), 3);
    // Without a password there must be a link.
    assert!(store.unlink(&bob, "https://id.example").await.is_err());
    assert!(store.unlink(&ada, "https://id.example").await.unwrap());
    assert!(!store.unlink(&ada, "https://id.example").await.unwrap());
    assert!(store.linked(of("1").issuer, "1").await.unwrap().is_none());
    assert!(!store.password_is(&bob.id, "").await.unwrap());
    for bad in ["", "a\nb"] {
        assert!(store.link(&ada, &of(bad)).await.is_err());
    }
    let said = Provenance {
        issuer: "https://id.example".to_owned(),
        acr: "gold".to_owned(),
        amr: "pwd mfa".to_owned(),
    };
    let new = NewSession {
        account: &bob.id,
        assurance: Assurance::Totp,
        agent: "browser",
        provenance: Some(said.clone()),
    };
    let token = store.begin_session(&new).await.unwrap();
    let (session, _) = store.session(token.reveal()).await.unwrap().unwrap();
    assert_eq!(session.provenance, Some(said));
    let id = store.provider_principal("https://id.example").await;
    assert_ne!(id.unwrap(), bob.id);
    // A sign-in is taken once, and in time.
    let attempt = Attempt {
        provider: "corp".to_owned(),
        next: "/changes".to_owned(),
        account: Some(ada.id),
    };
    let token = store.begin_attempt(&attempt).await.unwrap();
    assert_eq!(store.take_attempt("x").await.unwrap(), None);
    let taken = store.take_attempt(token.reveal()).await.unwrap();
    assert_eq!(taken, Some(attempt.clone()));
    assert_eq!(store.take_attempt(token.reveal()).await.unwrap(), None);
    let late = store.begin_attempt(&attempt).await.unwrap();
    place.clock.advance(ATTEMPT_LIFE.secs());
    assert_eq!(store.take_attempt(late.reveal()).await.unwrap(), None);
    programs(place, store, &bob).await;
}

async fn programs(place: &Place, store: &Store, bob: &Account) {
    let actions = ["read-records".to_owned()];
    let poll = async |device: &str| store.poll_device(device, &actions).await.unwrap();
    let codes = store.ask_for_token("writ", "127.0.0.1").await.unwrap();
    let device = codes.device.reveal();
    assert!(matches!(poll(device).await, DeviceAnswer::Waiting));
    assert!(matches!(poll(device).await, DeviceAnswer::SlowDown(_)));
    place.clock.advance(60);
    let ask = store.device(&codes.user).await.unwrap().unwrap();
    assert_eq!(
        (ask.label.as_str(), ask.address.as_str()),
        ("writ", "127.0.0.1")
    );
    assert!(store.answer_device(&ask.user, &bob.id, true).await.unwrap());
    assert!(
        !store
            .answer_device(&ask.user, &bob.id, false)
            .await
            .unwrap()
    );
    let DeviceAnswer::Given(token, account, text) = poll(device).await else {
        panic!("no token");
    };
    assert_eq!(
        (account.id, token.owner.clone()),
        (bob.id.clone(), Some(bob.id.clone()))
    );
    assert!(matches!(poll(device).await, DeviceAnswer::Expired));
    let TokenCheck::Good(found, _) = store.check_token(&text).await.unwrap() else {
        panic!("the token does not count");
    };
    assert_eq!(
        (found.owner.clone(), found.actions.as_slice()),
        (Some(bob.id.clone()), &actions[..])
    );
    assert_eq!(store.tokens_of(&bob.id).await.unwrap().len(), 1);
    store.disable_account(bob, true).await.unwrap();
    assert_eq!(store.tokens_of(&bob.id).await.unwrap(), []);
    assert!(matches!(
        store.check_token(&text).await.unwrap(),
        TokenCheck::Revoked(_)
    ));
}
