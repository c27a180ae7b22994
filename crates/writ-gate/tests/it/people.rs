//! Who counts as somebody else, over the shipped bundle and a real store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use writ_evidence::Statement;
use writ_evidence::predicate::{
    Actor, Approval, ApprovalAbout, CommitRange, Inventory, ReleaseRef, Run,
};
use writ_evidence::statement::ResourceDescriptor;
use writ_gate::evaluate::{Options, adopt, bind_profile, evaluate, recorded_decision};
use writ_gate::{Release, replay_recorded};
use writ_ledger::Clock;
use writ_model::{
    Assurance, Check, Digest, Grant, Origin, PrincipalId, ProducerClass, Role, Span, State,
    Subject, Timestamp,
};
use writ_registry::directory::identity::{Answer, BindingChange, Owner};
use writ_registry::directory::{Alias, RoleChange};
use writ_registry::{ExemptionAsk, ExemptionReply, NewRecord, Store, StoreOptions};

use crate::shipped::bundle;

#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_micros(&self) -> i64 {
        // Every look is later than the one before.
        self.0.fetch_add(1_000, Ordering::SeqCst)
    }
}

const PASSWORD: &str = "correct horse battery";
const COMMIT: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";

struct World {
    store: Store,
    _place: tempfile::TempDir,
    artifact: Digest,
    ada: PrincipalId,
    cleo: PrincipalId,
}

impl World {
    /// A store with an operator and a compliance officer, where `soc2` binds payments-api.
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(AtomicI64::new(1_790_000_000_000_000)));
        let options = StoreOptions::new(place.path().join("trust"))
            .create()
            .clock(clock);
        let store = Store::open(place.path().join("store"), options)
            .await
            .unwrap();
        let ada = account(&store, "ada", &[Role::Operator]).await;
        let cleo = account(&store, "cleo", &[Role::Compliance]).await;
        let now = store.now();
        bind_profile(&store, "payments-api", None, "soc2", now, true)
            .await
            .unwrap();
        adopt(&store, bundle(), now).await.unwrap();
        Self {
            store,
            _place: place,
            artifact: Digest::of(b"the image"),
            ada,
            cleo,
        }
    }

    fn alias(&self, text: &str) -> PrincipalId {
        self.store.alias_id(&Alias::parse(text).unwrap()).unwrap()
    }

    fn owner(&self, name: &str) -> PrincipalId {
        self.store.owner_id(name, false).unwrap()
    }

    /// Binds accounts to a person; another person approves.
    async fn bind(&self, owner: &str, accounts: &[&PrincipalId]) {
        let owner = Owner {
            id: self.owner(owner),
            machine: owner.ends_with("-bot"),
        };
        let changes = accounts
            .iter()
            .map(|account| BindingChange::Account {
                account: (*account).clone(),
                owner: Some(owner.clone()),
            })
            .collect();
        let asked = self
            .store
            .propose_bindings(changes, &actor(&self.ada))
            .await
            .unwrap();
        self.store
            .answer_bindings(&asked.digest, &Answer::Approve, &actor(&self.cleo))
            .await
            .unwrap();
    }

    async fn ran(&self, authors: &[&PrincipalId]) {
        let now = self.store.now();
        let run = Run {
            run_id: format!("run-{}", now.micros()),
            service: "payments-api".to_owned(),
            repository: None,
            stages: Vec::new(),
            inventory: Inventory::default(),
            range: Some(CommitRange {
                base: None,
                head: COMMIT.to_owned(),
                count: 1,
            }),
            authorship: Vec::new(),
            authors: authors.iter().map(|author| (*author).clone()).collect(),
            head_tree: None,
            merge_commit: None,
            merge_tree: None,
            definition: None,
            lock: None,
            lock_differences: None,
            definition_findings: Vec::new(),
            executed: Vec::new(),
            requested_profile: None,
            shallow: false,
            dirty: false,
            started_at: now,
            finished_at: now,
            observed_at: now,
            interrupted: false,
            origin: Origin::Observed,
            producer_class: ProducerClass::CiProtected,
            notes: Vec::new(),
        };
        let subjects = vec![
            ResourceDescriptor::git_commit("payments-api", COMMIT),
            ResourceDescriptor::sha256("payments-api", self.artifact),
        ];
        self.record(Statement::new(subjects, run).to_payload().unwrap())
            .await;
    }

    async fn approve(&self, by: &PrincipalId) {
        let approval = Approval {
            about: ApprovalAbout::Release,
            release: Some(ReleaseRef {
                service: "payments-api".to_owned(),
                environment: "production".to_owned(),
                artifact: Some(self.artifact),
                commit: Some(COMMIT.to_owned()),
            }),
            definition: None,
            bundle_digest: Some(bundle().reference.digest),
            checks_hash: None,
            shown_at: None,
            by: actor(by),
            comment: None,
            observed_at: self.store.now(),
            expires_at: None,
        };
        let subject = ResourceDescriptor::sha256("payments-api", self.artifact);
        self.record(
            Statement::new(vec![subject], approval)
                .to_payload()
                .unwrap(),
        )
        .await;
    }

    async fn record(&self, payload: Vec<u8>) {
        self.store
            .record(NewRecord::payload(payload))
            .await
            .unwrap();
    }

    /// The check of a control, after a decision that replays to the same bytes.
    async fn check(&self, control: &str) -> Check {
        let release = Release {
            service: "payments-api".to_owned(),
            environment: "production".to_owned(),
            requested_profile: "soc2".to_owned(),
            subject: Subject {
                commit: Some(COMMIT.to_owned()),
                artifact: Some(self.artifact),
                ..Subject::default()
            },
        };
        let options = Options {
            as_of: self.store.now(),
            strict: false,
            record: true,
        };
        let evaluated = evaluate(&self.store, bundle(), &release, options)
            .await
            .unwrap();
        let (id, _) = evaluated.recorded.unwrap();
        let replayed = replay_recorded(&self.store, &id.to_string()).await.unwrap();
        assert!(replayed.same);
        let decision = recorded_decision(&self.store, &id.to_string())
            .await
            .unwrap();
        let mut checks = decision.checks.into_iter();
        checks.find(|check| check.control == control).unwrap()
    }
}

async fn account(store: &Store, name: &str, roles: &[Role]) -> PrincipalId {
    let first = !store.has_accounts().await.unwrap();
    let id = store.add_account(name, PASSWORD).await.unwrap();
    for role in roles {
        let change = RoleChange {
            principal: &id,
            grant: Grant::everywhere(*role),
            granted: true,
            by: &id,
            bootstrap: first,
        };
        store.change_role(&change).await.unwrap();
    }
    id
}

fn actor(principal: &PrincipalId) -> Actor {
    Actor {
        principal: principal.clone(),
        role: None,
        assurance: Assurance::Totp,
        assertion: None,
    }
}

#[tokio::test]
async fn an_author_cannot_approve_through_a_second_account() {
    let world = World::new().await;
    let mail = world.alias("mail:dev@example.org");
    let second = account(&world.store, "dev-review", &[Role::Reviewer]).await;
    world.ran(&[&mail]).await;
    world.approve(&second).await;

    // Nobody knows whose the accounts are: no yes counts as somebody else's.
    let check = world.check("CHG-03").await;
    assert_eq!(
        (check.state, check.code.as_str()),
        (State::Error, "CHG-03/authors-unknown")
    );
    assert!(check.found[0].contains(&mail.0), "{:?}", check.found);

    world.bind("dev", &[&mail]).await;
    let check = world.check("CHG-03").await;
    assert_eq!(check.state, State::Waiting);
    assert!(
        check.found[1].ends_with("the account belongs to nobody known"),
        "{:?}",
        check.found
    );

    world.bind("dev", &[&second]).await;
    let check = world.check("CHG-03").await;
    assert_eq!(check.state, State::Waiting);
    assert!(
        check.found[1].ends_with("wrote part of the change"),
        "{:?}",
        check.found
    );
    let check = world.check("CHG-04").await;
    assert_eq!(
        (check.state, check.code.as_str()),
        (State::Fail, "CHG-04/author-approved")
    );

    // Somebody else's yes counts, once it is known that they are somebody else.
    let reviewer = account(&world.store, "rosa", &[Role::Reviewer]).await;
    world.approve(&reviewer).await;
    assert_eq!(world.check("CHG-03").await.state, State::Waiting);
    world.bind("rosa", &[&reviewer]).await;
    let check = world.check("CHG-03").await;
    assert_eq!(check.state, State::Pass, "{:?}", check.found);

    // A machine's never does.
    let robot = account(&world.store, "robot", &[Role::Reviewer]).await;
    world.bind("renovate-bot", &[&robot]).await;
    world.ran(&[&mail, &reviewer]).await;
    world.approve(&robot).await;
    let check = world.check("CHG-03").await;
    assert_eq!(check.state, State::Waiting);
    assert!(
        check
            .found
            .iter()
            .any(|line| line.ends_with("a machine does not approve")),
        "{:?}",
        check.found
    );
}

#[tokio::test]
async fn a_role_for_another_service_approves_nothing_here() {
    let world = World::new().await;
    let mail = world.alias("mail:dev@example.org");
    world.bind("dev", &[&mail]).await;
    let rosa = account(&world.store, "rosa", &[]).await;
    let change = RoleChange {
        principal: &rosa,
        grant: Grant {
            role: Role::Reviewer,
            service: Some("ledger".to_owned()),
        },
        granted: true,
        by: &world.ada,
        bootstrap: false,
    };
    world.store.change_role(&change).await.unwrap();
    world.bind("rosa", &[&rosa]).await;
    world.ran(&[&mail]).await;
    world.approve(&rosa).await;
    let check = world.check("CHG-03").await;
    assert!(
        check.found[1].ends_with("does not hold role reviewer"),
        "{:?}",
        check.found
    );
}

#[tokio::test]
async fn an_exemption_takes_a_second_person_who_is_known() {
    let world = World::new().await;
    let requester = account(&world.store, "dev", &[Role::Developer]).await;
    let second = account(&world.store, "dev-too", &[Role::Reviewer]).await;
    let granter = account(&world.store, "sam", &[Role::Reviewer]).await;
    let control = bundle()
        .controls
        .values()
        .find_map(|control| match &control.exempt {
            writ_gate::Exempt::By { by, .. } if control.id.starts_with("SAST") => {
                Some((control.id.clone(), by.clone()))
            }
            _ => None,
        })
        .unwrap();
    let (control, team) = control;
    for (owner, account) in [("dev", &requester), ("dev", &second), ("sam", &granter)] {
        world.bind(owner, &[account]).await;
    }
    // Both are in the team that decides: only who they are is different.
    let teams = ["dev", "sam"].map(|owner| BindingChange::Team {
        person: world.owner(owner),
        team: team.clone(),
        member: true,
    });
    let asked = world
        .store
        .propose_bindings(teams.into(), &actor(&world.ada))
        .await
        .unwrap();
    let yes = Answer::Approve;
    world
        .store
        .answer_bindings(&asked.digest, &yes, &actor(&world.cleo))
        .await
        .unwrap();

    let ask = |until: Timestamp| ExemptionAsk {
        service: "payments-api".to_owned(),
        environments: Vec::new(),
        controls: vec![control.clone()],
        findings: Vec::new(),
        identifiers: Vec::new(),
        reason: "the scanner cannot read this language yet".to_owned(),
        category: None,
        compensating: None,
        ticket: None,
        expires_at: until,
    };
    let until = world.store.now().plus(Span::from_secs(86_400));
    let asker = actor(&requester);
    let grant = async |granter: &Actor| {
        let asked = world.store.request_exemption_as(ask(until), &asker).await;
        let (row, _) = asked.unwrap();
        let grant = ExemptionReply::Grant {
            expires_at: None,
            reason: None,
        };
        world
            .store
            .answer_exemption_as(&row.human(), grant, granter)
            .await
            .map(|_| ())
    };
    // At the door the same person is told; the gate does not count it either, were it recorded.
    let own = grant(&actor(&second)).await.unwrap_err().to_string();
    assert!(own.contains("cannot"), "{own}");
    let weak = Actor {
        assurance: Assurance::LocalUser,
        ..actor(&granter)
    };
    grant(&weak).await.unwrap();
    assert_ne!(
        world.check(&control).await.state,
        State::Exempt,
        "the profile wants a password"
    );
    grant(&actor(&granter)).await.unwrap();
    let check = world.check(&control).await;
    assert_eq!(check.state, State::Exempt, "{:?}", check.found);
}
