//! A release from a blocked gate to its writ, through the people who may and may not say yes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use writ_evidence::predicate::{Actor, Authorship, CommitRange, Inventory, Run};
use writ_evidence::statement::ResourceDescriptor;
use writ_evidence::{Statement, dsse};
use writ_gate::evaluate::{adopt, bind_profile};
use writ_gate::{BundleSource, load_bundle};
use writ_model::{Assurance, Digest, Origin, PrincipalId, ProducerClass, Role, Span};
use writ_registry::NewRecord;
use writ_registry::directory::Alias;
use writ_registry::directory::identity::{Answer, BindingChange, Owner};

use super::Server;
use super::guarded::{Guarded, PASSWORD, Signed, between, parts};

pub const COMMIT: &str = "4f2a9c1e8b7d6a5f4e3d2c1b0a9f8e7d6c5b4a39";

/// dev wrote the change, also as dev-review; rev is somebody else; eva decides about coverage.
const PEOPLE: [(&str, Role); 7] = [
    ("op", Role::Operator),
    ("cleo", Role::Compliance),
    ("dev", Role::Developer),
    ("dev-review", Role::Reviewer),
    ("rev", Role::Reviewer),
    ("eva", Role::Developer),
    ("stranger", Role::Reviewer),
];

pub struct World {
    pub guarded: Guarded,
    pub artifact: Digest,
}

impl World {
    async fn new() -> Self {
        Self::with("password").await
    }

    /// Where approvals count from this sign-in on.
    pub async fn with(assurance: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (mut parts, clock) = parts(&place, &PEOPLE, |_| {}).await;
        let mut files = load_bundle(&BundleSource::Embedded).unwrap().files.0;
        let profile = format!(
            "name = \"small\"\ntitle = \"Approvals and coverage\"\n[floor]\norigin = \"handed-in\"\n\
            producer = \"laptop\"\nassurance = \"{assurance}\"\napprovals = {{ role = \"reviewer\", count = 1 }}\n\
            [environment.default]\ncontrols = [\"TST-01\", \"CHG-03\", \"CHG-04\"]\n"
        );
        files.insert(
            "profiles/small.toml".to_owned(),
            profile.as_bytes().to_vec(),
        );
        let bundle = load_bundle(&BundleSource::Files(files)).unwrap();
        parts.bundle = std::sync::Arc::new(bundle);
        let world = Self {
            guarded: Guarded {
                server: Server::over(parts, Some(place)).await,
                clock,
            },
            artifact: Digest::of(b"the image"),
        };
        let store = &world.guarded.server.app.store;
        let bundle = &world.guarded.server.app.bundle;
        bind_profile(store, "pay", None, "small", store.now(), true)
            .await
            .unwrap();
        adopt(store, bundle, store.now()).await.unwrap();
        let mail = store
            .alias_id(&Alias::parse("mail:dev@example.org").unwrap())
            .unwrap();
        world.know(&mail).await;
        world.ran(&mail, &world.artifact).await;
        world
    }

    pub async fn account(&self, name: &str) -> PrincipalId {
        self.guarded
            .server
            .app
            .store
            .account(name)
            .await
            .unwrap()
            .id
    }

    /// Whose accounts these are, and who is in the team that decides about coverage.
    async fn know(&self, mail: &PrincipalId) {
        let store = &self.guarded.server.app.store;
        let mut changes = Vec::new();
        for (account, owner) in [
            ("dev", "dev"),
            ("dev-review", "dev"),
            ("rev", "rev"),
            ("eva", "eva"),
            ("op", "op"),
            ("cleo", "cleo"),
        ] {
            changes.push(BindingChange::Account {
                account: self.account(account).await,
                owner: Some(Owner {
                    id: store.owner_id(owner, false).unwrap(),
                    machine: false,
                }),
            });
        }
        changes.push(BindingChange::Account {
            account: mail.clone(),
            owner: Some(Owner {
                id: store.owner_id("dev", false).unwrap(),
                machine: false,
            }),
        });
        changes.push(BindingChange::Team {
            person: store.owner_id("eva", false).unwrap(),
            team: "quality-guild".to_owned(),
            member: true,
        });
        let by = |principal: PrincipalId| Actor {
            principal,
            role: None,
            assurance: Assurance::Password,
            assertion: None,
        };
        let asked = store
            .propose_bindings(changes, &by(self.account("op").await))
            .await
            .unwrap();
        store
            .answer_bindings(
                &asked.digest,
                &Answer::Approve,
                &by(self.account("cleo").await),
            )
            .await
            .unwrap();
    }

    /// A run of the change that built this image.
    async fn ran(&self, author: &PrincipalId, artifact: &Digest) {
        let store = &self.guarded.server.app.store;
        let now = store.now();
        let run = Run {
            run_id: format!("run-{}", artifact.short()),
            service: "pay".to_owned(),
            repository: None,
            stages: Vec::new(),
            inventory: Inventory {
                files: 12,
                languages: [("rust".to_owned(), 10)].into(),
                ..Inventory::default()
            },
            range: Some(CommitRange {
                base: None,
                head: COMMIT.to_owned(),
                count: 3,
            }),
            authors: vec![author.clone()],
            authorship: vec![Authorship {
                principal: author.clone(),
                commits: vec![COMMIT.to_owned(), "a1b2c3d4".repeat(5)],
                count: 2,
            }],
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
            ResourceDescriptor::git_commit("pay", COMMIT),
            ResourceDescriptor::sha256("pay", *artifact),
        ];
        let payload = Statement::new(subjects, run).to_payload().unwrap();
        store.record(NewRecord::payload(payload)).await.unwrap();
        self.guarded.server.app.refresh_head().await.unwrap();
    }

    /// What the gate says to a developer: exit code and the states of the checks.
    pub async fn gate(&self, who: &Signed, artifact: &Digest) -> (u64, BTreeMap<String, String>) {
        let answer = self
            .guarded
            .server
            .request(Method::POST, "/api/v1/decisions")
            .header("cookie", &who.cookie)
            .header("x-writ-form-token", &who.token)
            .json(&json!({"service": "pay", "environment": "production", "commit": COMMIT, "artifact": artifact}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        let value: Value = answer.json().await.unwrap();
        let states = value["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| {
                let text = |name: &str| check[name].as_str().unwrap().to_owned();
                (text("control"), text("state"))
            })
            .collect();
        (value["exitCode"].as_u64().unwrap(), states)
    }

    pub async fn page(&self, who: &Signed, path: &str) -> String {
        let answer = self.guarded.get(path, &who.cookie).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn say(&self, who: &Signed, release: &str, answer: &str, seen: &str) -> Response {
        let fields = [("answer", answer), ("seen", seen), ("note", "looked at it")];
        self.guarded
            .post(&format!("/releases/{release}/answer"), who, &fields)
            .await
    }

    pub async fn seen(&self, who: &Signed, release: &str) -> String {
        let page = self.page(who, &format!("/releases/{release}")).await;
        between(&page, "name=\"seen\" value=\"", "\"")
    }
}

/// Refused with this status; the reason.
pub async fn refused(answer: Response, status: u16) -> String {
    let got = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    text
}

#[tokio::test]
async fn from_a_blocked_gate_to_a_writ() {
    let world = World::new().await;
    let guarded = &world.guarded;
    let dev = guarded.sign_in("dev").await;
    let second = guarded.sign_in("dev-review").await;
    let rev = guarded.sign_in("rev").await;
    let eva = guarded.sign_in("eva").await;
    let stranger = guarded.sign_in("stranger").await;
    let image = world.artifact;

    // Blocked: no coverage. The developer asks, and cannot grant, by any account.
    let (exit, states) = world.gate(&dev, &image).await;
    assert_eq!(
        (exit, states["TST-01"].as_str()),
        (1, "missing"),
        "{states:?}"
    );
    assert_eq!(states["CHG-03"], "waiting");
    let wish = [
        ("service", "pay"),
        ("environment", "production"),
        ("control", "TST-01"),
        ("findings", ""),
        (
            "reason",
            "The suite is being moved; <script>alert(1)</script>",
        ),
        ("category", "deferred"),
        ("days", "7"),
    ];
    let filed = guarded.post("/exemptions", &dev, &wish).await;
    assert_eq!(filed.status(), 303);
    assert_eq!(filed.headers()["location"], "/exemptions/EX-1");
    let mut long = wish;
    long[6] = ("days", "31");
    let text = refused(guarded.post("/exemptions", &dev, &long).await, 422).await;
    assert!(text.contains("at most 30 days"), "{text}");
    long[2] = ("control", "CHG-02");
    let text = refused(guarded.post("/exemptions", &dev, &long).await, 422).await;
    assert!(text.contains("cannot be exempted"), "{text}");
    let grant = [("answer", "grant"), ("reason", "fine until then")];
    let place = "/exemptions/EX-1/answer";
    for (who, why) in [
        (&dev, "cannot grant it"),
        (&second, "cannot grant it"),
        (&rev, "exempted by quality-guild"),
    ] {
        let text = refused(guarded.post(place, who, &grant).await, 403).await;
        assert!(text.contains(why), "{text}");
    }
    let page = world.page(&eva, "/exemptions/EX-1").await;
    assert!(
        page.contains("Grant EX-1") && !page.contains("<script>alert(1)"),
        "{page}"
    );
    assert_eq!(guarded.post(place, &eva, &grant).await.status(), 303);
    refused(guarded.post(place, &eva, &grant).await, 422).await;

    // Now it waits for an approval, which no author gives.
    let (exit, states) = world.gate(&dev, &image).await;
    assert_eq!(
        (exit, states["TST-01"].as_str()),
        (8, "exempt"),
        "{states:?}"
    );
    let name = "R-2026-0001";
    let inbox = world.page(&rev, "/inbox").await;
    assert!(
        inbox.contains(name) && inbox.contains("can answer"),
        "{inbox}"
    );
    let inbox = world.page(&second, "/inbox").await;
    assert!(inbox.contains("you wrote part of the change"), "{inbox}");
    let page = world.page(&second, &format!("/releases/{name}")).await;
    assert!(
        page.contains("wrote 2 of the 3 commits (4f2a9c1, a1b2c3d)")
            && page.contains("Eligible now"),
        "{page}"
    );
    let mark = world.seen(&second, name).await;
    let text = refused(world.say(&second, name, "approve", &mark).await, 403).await;
    assert!(text.contains("4f2a9c1, a1b2c3d"), "{text}");
    for (who, why) in [
        (&stranger, "belongs to nobody known"),
        (&eva, "does not hold role reviewer"),
    ] {
        let mark = world.seen(who, name).await;
        let text = refused(world.say(who, name, "approve", &mark).await, 403).await;
        assert!(text.contains(why), "{text}");
    }

    // What somebody else was shown is not what this person was shown.
    let theirs = world.seen(&second, name).await;
    refused(world.say(&rev, name, "approve", &theirs).await, 400).await;
    refused(world.say(&rev, name, "perhaps", &theirs).await, 400).await;
    let text = refused(world.say(&rev, name, "reject", "1.2.3").await, 400).await;
    assert!(text.contains("shown"), "{text}");

    // The reviewer looks for a minute and says yes: the gate issues the writ.
    let mark = world.seen(&rev, name).await;
    guarded.clock.pass(Span::from_secs(60));
    assert_eq!(world.say(&rev, name, "approve", &mark).await.status(), 303);
    let (status, writs) = {
        let answer = guarded.get("/api/v1/writs?service=pay", &rev.cookie).await;
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(status, 200);
    assert_eq!(writs["total"]["count"], 1, "{writs}");
    assert_eq!(world.gate(&dev, &image).await.0, 0);
    let page = world.page(&rev, &format!("/releases/{name}")).await;
    assert!(
        page.contains("60 s") && page.contains("approved it already"),
        "{page}"
    );
    let again = world.seen(&rev, name).await;
    let text = refused(world.say(&rev, name, "approve", &again).await, 403).await;
    assert!(text.contains("approved it already"), "{text}");

    // Another digest: the approval is void for it.
    let mail = guarded
        .server
        .app
        .store
        .alias_id(&Alias::parse("mail:dev@example.org").unwrap())
        .unwrap();
    let other = Digest::of(b"another image");
    world.ran(&mail, &other).await;
    let (exit, states) = world.gate(&dev, &other).await;
    assert_eq!((exit, states["CHG-03"].as_str()), (8, "waiting"));

    // The exemption is taken back: what was approved no longer stands as it was shown.
    let mark = world.seen(&rev, "R-2026-0002").await;
    let revoke = [("answer", "revoke"), ("reason", "the suite is back")];
    assert_eq!(guarded.post(place, &eva, &revoke).await.status(), 303);
    let text = refused(world.say(&rev, "R-2026-0002", "approve", &mark).await, 409).await;
    assert!(text.contains("TST-01"), "{text}");
    let (exit, states) = world.gate(&dev, &image).await;
    assert_eq!(
        (exit, states["CHG-03"].as_str()),
        (1, "waiting"),
        "{states:?}"
    );

    // A no is heard, with its reason.
    let mark = world.seen(&rev, "R-2026-0002").await;
    let bare = [("answer", "reject"), ("seen", mark.as_str()), ("note", " ")];
    refused(
        guarded
            .post("/releases/R-2026-0002/answer", &rev, &bare)
            .await,
        400,
    )
    .await;
    assert_eq!(
        world
            .say(&rev, "R-2026-0002", "reject", &mark)
            .await
            .status(),
        303
    );
    assert_eq!(world.gate(&dev, &other).await.1["CHG-03"], "fail");
    for path in [
        "/releases",
        "/releases?service=pay",
        "/api/v1/releases",
        "/api/v1/inbox",
        "/releases/R-2026-0001.json",
        "/releases.csv",
    ] {
        let answer = guarded.get(path, &rev.cookie).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    refused(guarded.get("/releases/R-2026-0009", &rev.cookie).await, 404).await;
}

#[tokio::test]
async fn decisions_are_not_handed_in() {
    let world = World::new().await;
    let server = &world.guarded.server;
    let dev = world.guarded.sign_in("dev").await;
    for name in [
        "approval",
        "rejection",
        "exemption",
        "break-glass",
        "decision",
    ] {
        let path = format!(
            "{}/../writ-evidence/tests/corpus/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let envelope: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let payload = STANDARD
            .decode(envelope["payload"].as_str().unwrap())
            .unwrap();
        let store = &server.app.store;
        let signer = store.trust().producer(store.now()).unwrap();
        let body = dsse::sign(dsse::IN_TOTO_PAYLOAD_TYPE, payload, signer.as_ref())
            .unwrap()
            .to_canonical_json();
        let answer = server
            .request(Method::POST, "/api/v1/evidence")
            .header("cookie", &dev.cookie)
            .header("x-writ-form-token", &dev.token)
            .header("content-type", "application/vnd.dsse.envelope.v1+json")
            .body(body)
            .send()
            .await
            .unwrap();
        let text = refused(answer, 422).await;
        assert!(text.contains("decision was handed in"), "{name}: {text}");
    }
}

#[tokio::test]
async fn an_emergency_is_owed_a_review() {
    let world = World::new().await;
    let guarded = &world.guarded;
    let dev = guarded.sign_in("dev").await;
    let second = guarded.sign_in("dev-review").await;
    let rev = guarded.sign_in("rev").await;
    world.gate(&dev, &world.artifact).await;
    let open = [
        ("release", "R-2026-0001"),
        ("reason", "Payments are down"),
        ("incident", "INC-7"),
        ("minutes", "60"),
        ("password", PASSWORD),
    ];
    // It is opened by somebody who may, who proves it again, for a short time.
    refused(guarded.post("/break-glass", &rev, &open).await, 403).await;
    let mut wrong = open;
    wrong[4] = ("password", "guess");
    refused(guarded.post("/break-glass", &dev, &wrong).await, 403).await;
    wrong = open;
    wrong[3] = ("minutes", "600");
    refused(guarded.post("/break-glass", &dev, &wrong).await, 422).await;
    wrong = open;
    wrong[1] = ("reason", " ");
    refused(guarded.post("/break-glass", &dev, &wrong).await, 422).await;
    assert_eq!(
        guarded.post("/break-glass", &dev, &open).await.status(),
        303
    );
    let page = world.page(&rev, "/break-glass/BG-1").await;
    assert!(
        page.contains("INC-7") && page.contains("it is still open"),
        "{page}"
    );
    refused(guarded.get("/break-glass/BG-2", &rev.cookie).await, 404).await;

    // It ends by itself, and its review is not the opener's, by any account.
    guarded.clock.pass(Span::from_secs(3_601));
    let review = [("outcome", "justified"), ("reason", "The outage was real")];
    let place = "/break-glass/BG-1/review";
    refused(guarded.post(place, &dev, &review).await, 403).await;
    let text = refused(guarded.post(place, &second, &review).await, 422).await;
    assert!(text.contains("opened it"), "{text}");
    let inbox = world.page(&rev, "/inbox").await;
    assert!(
        inbox.contains("BG-1") && inbox.contains("break-glass review"),
        "{inbox}"
    );

    // A late review: the next emergency needs a second authoriser, another person.
    guarded.clock.pass(Span::from_secs(24 * 3_600));
    let dev = guarded.sign_in("dev").await;
    let rev = guarded.sign_in("rev").await;
    let text = refused(guarded.post("/break-glass", &dev, &open).await, 422).await;
    assert!(text.contains("BG-1 is overdue"), "{text}");
    let with = |second: &'static str, password: &'static str| {
        let mut fields = open.to_vec();
        fields.extend([("second", second), ("second_password", password)]);
        fields
    };
    refused(
        guarded
            .post("/break-glass", &dev, &with("rev", "guess"))
            .await,
        403,
    )
    .await;
    let text = refused(
        guarded
            .post("/break-glass", &dev, &with("dev-review", PASSWORD))
            .await,
        422,
    )
    .await;
    assert!(text.contains("the person who opens it"), "{text}");
    assert_eq!(
        guarded
            .post("/break-glass", &dev, &with("rev", PASSWORD))
            .await
            .status(),
        303
    );
    assert_eq!(
        guarded
            .post("/break-glass/BG-2/close", &dev, &[])
            .await
            .status(),
        303
    );
    refused(
        guarded.post("/break-glass/BG-2/close", &dev, &[]).await,
        422,
    )
    .await;

    assert_eq!(guarded.post(place, &rev, &review).await.status(), 303);
    refused(guarded.post(place, &rev, &review).await, 422).await;
    // Who authorised does not review either.
    let text = refused(
        guarded
            .post("/break-glass/BG-2/review", &rev, &review)
            .await,
        422,
    )
    .await;
    assert!(text.contains("authorised it"), "{text}");
    let (status, listed) = {
        let answer = guarded.get("/api/v1/break-glass", &rev.cookie).await;
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(
        (status.as_u16(), &listed["items"][1]["standing"]),
        (200, &json!("reviewed"))
    );
    world.page(&rev, "/break-glass").await;
    world
        .page(&rev, "/break-glass/new?release=R-2026-0001")
        .await;
}
