//! Passkeys: from adding one to a writ that rests on an approval that it signed, with an authenticator
//! in software.

use p256::ecdsa::signature::Signer as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use writ_evidence::predicate::Actor;
use writ_evidence::webauthn::text as base64url;
use writ_gate::Release;
use writ_gate::evaluate::replay_recorded;
use writ_model::{Assurance, PrincipalId, Span, Subject};
use writ_registry::NewRecord;
use writ_release::approval::{self, Reply, Shown};

use super::guarded::{PASSWORD, Signed};
use super::releases::{COMMIT, World, refused};

/// An authenticator: a key, and how often it signed.
struct Device {
    key: p256::ecdsa::SigningKey,
    id: Vec<u8>,
    count: u32,
    origin: String,
}

impl Device {
    fn new(number: u8, origin: &str) -> Self {
        Self {
            key: p256::ecdsa::SigningKey::from_slice(&[number; 32]).unwrap(),
            id: vec![number; 24],
            count: 0,
            origin: origin.to_owned(),
        }
    }

    fn data(&mut self, site: &str, flags: u8) -> Vec<u8> {
        self.count += 1;
        let mut data = Sha256::digest(site.as_bytes()).to_vec();
        data.push(flags);
        data.extend(self.count.to_be_bytes());
        data
    }

    fn client(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let client = json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false});
        serde_json::to_vec(&client).unwrap()
    }

    fn make(&mut self, asked: &Value) -> String {
        let create = &asked["create"];
        let mut data = self.data(create["rpId"].as_str().unwrap(), 0b100_0101);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        let point = self.key.verifying_key().to_sec1_point(false);
        data.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        data.extend(&point.as_bytes()[1..33]);
        data.extend([0x22, 0x58, 32]);
        data.extend(&point.as_bytes()[33..]);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        json!({
            "mark": asked["mark"],
            "clientDataJson": base64url(&self.client("webauthn.create", &create["challenge"])),
            "attestationObject": base64url(&object),
        })
        .to_string()
    }

    fn sign(&mut self, asked: &Value) -> String {
        let get = &asked["get"];
        assert!(
            get["allow"]
                .as_array()
                .unwrap()
                .contains(&json!(base64url(&self.id))),
            "{get}"
        );
        let client = self.client("webauthn.get", &get["challenge"]);
        let data = self.data(get["rpId"].as_str().unwrap(), 0b101);
        let message = [data.as_slice(), &Sha256::digest(&client)].concat();
        let signature: p256::ecdsa::Signature = self.key.sign(&message);
        json!({
            "mark": asked["mark"],
            "credentialId": base64url(&self.id),
            "clientDataJson": base64url(&client),
            "authenticatorData": base64url(&data),
            "signature": base64url(signature.to_der().as_bytes()),
        })
        .to_string()
    }
}

impl World {
    /// With browsers that come to the name under which passkeys work.
    async fn named(assurance: &str) -> (Self, String) {
        let mut world = Self::with(assurance).await;
        let origin = format!("http://localhost:{}", world.guarded.server.address().port());
        world.guarded.server.base = origin.clone();
        (world, origin)
    }

    async fn send(
        &self,
        who: &Signed,
        path: &str,
        fields: &[(&str, &str)],
        passkey: &str,
    ) -> Response {
        let mut fields = fields.to_vec();
        fields.push(("passkey", passkey));
        self.guarded.post(path, who, &fields).await
    }

    /// What the server wants signed.
    async fn asked(&self, who: &Signed, path: &str, fields: &[(&str, &str)]) -> Value {
        let answer = self.send(who, path, fields, "prepare").await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn add(&self, who: &Signed, device: &mut Device, name: &str) {
        let fields = [("name", name), ("current", PASSWORD)];
        let asked = self.asked(who, "/settings/passkeys", &fields).await;
        let made = device.make(&asked);
        let kept = self
            .send(who, "/settings/passkeys", &[("name", name)], &made)
            .await;
        assert_eq!(kept.status(), 303, "{}", kept.text().await.unwrap());
    }

    /// Asks, signs and sends.
    async fn confirm(
        &self,
        who: &Signed,
        device: &mut Device,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        let asked = self.asked(who, path, fields).await;
        let signed = device.sign(&asked);
        self.send(who, path, fields, &signed).await
    }

    /// The one check of a blocked gate that only an exemption satisfies is exempted, with a passkey.
    async fn exempt(&self, dev: &Signed, eva: &Signed, device: &mut Device) {
        self.gate(dev, &self.artifact).await;
        let wish = [
            ("service", "pay"),
            ("environment", "production"),
            ("control", "TST-01"),
            ("findings", ""),
            ("reason", "The suite is being moved"),
            ("category", "deferred"),
            ("days", "7"),
        ];
        assert_eq!(
            self.guarded.post("/exemptions", dev, &wish).await.status(),
            303
        );
        let grant = [("answer", "grant"), ("reason", "fine until then")];
        let place = "/exemptions/EX-1/answer";
        let text = refused(self.guarded.post(place, eva, &grant).await, 403).await;
        assert!(text.contains("webauthn or better"), "{text}");
        let granted = self.confirm(eva, device, place, &grant).await;
        assert_eq!(granted.status(), 303, "{}", granted.text().await.unwrap());
    }
}

const PLACE: &str = "/releases/R-2026-0001/answer";

#[tokio::test]
async fn a_passkey_approves_what_counts_nothing_weaker() {
    let (world, origin) = World::named("webauthn").await;
    let guarded = &world.guarded;
    let store = &guarded.server.app.store;
    let (dev, eva, rev) = (
        guarded.sign_in("dev").await,
        guarded.sign_in("eva").await,
        guarded.sign_in("rev").await,
    );
    let (mut of_eva, mut of_rev) = (Device::new(3, &origin), Device::new(5, &origin));
    world.add(&eva, &mut of_eva, "laptop of eva").await;
    world.exempt(&dev, &eva, &mut of_eva).await;

    // Without a passkey the page says what is missing, and the answer would not count.
    let page = world.page(&rev, "/releases/R-2026-0001").await;
    assert!(
        page.contains("webauthn or better") && page.contains("Add a passkey"),
        "{page}"
    );
    let seen = world.seen(&rev, "R-2026-0001").await;
    let yes = [
        ("answer", "approve"),
        ("seen", seen.as_str()),
        ("note", "looked at it"),
    ];
    refused(guarded.post(PLACE, &rev, &yes).await, 403).await;
    refused(world.send(&rev, PLACE, &yes, "prepare").await, 403).await;

    world.add(&rev, &mut of_rev, "key of rev").await;
    let page = world.page(&rev, "/releases/R-2026-0001").await;
    assert!(
        page.contains("data-passkey") && page.contains("Your passkey confirms"),
        "{page}"
    );

    // A statement that says so without a proof counts as nothing of the kind.
    let account = world.account("rev").await;
    forged(&world, &account).await;
    assert_eq!(
        world.gate(&dev, &world.artifact).await.1["CHG-03"],
        "waiting"
    );

    let asked = world.asked(&rev, PLACE, &yes).await;
    let good = of_rev.sign(&asked);
    // Another note, another answer: not what was confirmed.
    let other = [yes[0], yes[1], ("note", "something else")];
    let text = refused(world.send(&rev, PLACE, &other, &good).await, 409).await;
    assert!(text.contains("not what you confirmed"), "{text}");
    let other = [("answer", "reject"), yes[1], yes[2]];
    refused(world.send(&rev, PLACE, &other, &good).await, 409).await;
    // Another site.
    of_rev.origin = "https://evil.example".to_owned();
    let signed = of_rev.sign(&asked);
    let text = refused(world.send(&rev, PLACE, &yes, &signed).await, 403).await;
    assert!(text.contains("made at https://evil.example"), "{text}");
    of_rev.origin.clone_from(&origin);
    // Another challenge.
    let mut changed = asked.clone();
    changed["get"]["challenge"] = json!(text_of([9; 32]));
    let signed = of_rev.sign(&changed);
    let text = refused(world.send(&rev, PLACE, &yes, &signed).await, 403).await;
    assert!(text.contains("signs the challenge"), "{text}");
    // Somebody else's passkey, and another session of the same person.
    let mut theirs = asked.clone();
    theirs["get"]["allow"] = json!([base64url(&of_eva.id)]);
    let signed = of_eva.sign(&theirs);
    let text = refused(world.send(&rev, PLACE, &yes, &signed).await, 403).await;
    assert!(
        text.contains("somebody else&#39;s") || text.contains("somebody else's"),
        "{text}"
    );
    let again = guarded.sign_in("rev").await;
    refused(world.send(&again, PLACE, &yes, &good).await, 409).await;
    // Too late.
    guarded.clock.pass(Span::from_secs(301));
    let text = refused(world.send(&rev, PLACE, &yes, &good).await, 409).await;
    assert!(text.contains("came after"), "{text}");
    for bad in ["{}", "nonsense", "{\"mark\":\"1.2.3\"}"] {
        refused(world.send(&rev, PLACE, &yes, bad).await, 400).await;
    }

    // What was confirmed counts, once.
    let answered = world.confirm(&rev, &mut of_rev, PLACE, &yes).await;
    assert_eq!(answered.status(), 303, "{}", answered.text().await.unwrap());
    let (exit, states) = world.gate(&dev, &world.artifact).await;
    assert_eq!((exit, states["CHG-03"].as_str()), (0, "pass"), "{states:?}");
    let page = world.page(&rev, "/releases/R-2026-0001").await;
    assert!(page.contains("webauthn"), "{page}");

    // From the ledger alone: three acts claim a passkey, one has no proof.
    let report = store.verify(Vec::new(), &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_good(), "{:?}", report.failures);
    assert_eq!((report.passkeys.bound, report.passkeys.proven), (2, 2));
    assert_eq!(report.passkeys.unproven.len(), 1, "{:?}", report.passkeys);
    assert_eq!(report.passkeys.unproven[0].counts_as, Assurance::LocalUser);

    // The passkey ends: what it signed before stands, and the decision is repeated to the same bytes.
    let id = base64url(&of_rev.id);
    let gone = [("id", id.as_str()), ("current", PASSWORD)];
    let wrong = [("id", id.as_str()), ("current", "guess")];
    refused(
        guarded.post("/settings/passkeys/end", &rev, &wrong).await,
        422,
    )
    .await;
    assert_eq!(
        guarded
            .post("/settings/passkeys/end", &rev, &gone)
            .await
            .status(),
        303
    );
    assert_eq!(world.gate(&dev, &world.artifact).await.0, 0);
    let decisions = store.decisions(None, None, 1).await.unwrap();
    let replayed = replay_recorded(store, &decisions[0].id.to_string())
        .await
        .unwrap();
    assert!(replayed.same);
    guarded.server.app.refresh_head().await.unwrap();
}

fn text_of(bytes: [u8; 32]) -> String {
    base64url(&bytes)
}

/// An approval that claims a passkey and embeds nothing, recorded past every page.
async fn forged(world: &World, account: &PrincipalId) {
    let (store, bundle) = (
        &world.guarded.server.app.store,
        &world.guarded.server.app.bundle,
    );
    let release = Release {
        service: "pay".to_owned(),
        environment: "production".to_owned(),
        requested_profile: "small".to_owned(),
        subject: Subject {
            commit: Some(COMMIT.to_owned()),
            artifact: Some(world.artifact),
            ..Subject::default()
        },
    };
    let people = [account.clone()].into();
    let (case, _) = approval::case(store, bundle, &release, &people)
        .await
        .unwrap();
    let shown = Shown {
        checks: case.shown,
        at: store.now(),
    };
    let actor = Actor {
        principal: account.clone(),
        role: None,
        assurance: Assurance::Webauthn,
        assertion: None,
    };
    let reply = Reply::Approve { note: None };
    let draft = approval::draft(store, bundle, &release, reply, shown, actor, store.now())
        .await
        .unwrap();
    store.record(NewRecord::payload(draft)).await.unwrap();
    world.guarded.server.app.refresh_head().await.unwrap();
}

#[tokio::test]
async fn adding_and_losing_passkeys() {
    let (world, origin) = World::named("password").await;
    let guarded = &world.guarded;
    let (dev, op) = (guarded.sign_in("dev").await, guarded.sign_in("op").await);
    let path = "/settings/passkeys";
    let mut device = Device::new(7, &origin);

    // Not without the password, not without a passkey, not under an address.
    let text = refused(
        world
            .send(
                &dev,
                path,
                &[("name", "a"), ("current", "guess")],
                "prepare",
            )
            .await,
        422,
    )
    .await;
    assert!(text.contains("not right"), "{text}");
    let bare = [("name", "a"), ("current", PASSWORD)];
    let text = refused(world.send(&dev, path, &bare, "").await, 422).await;
    assert!(text.contains("JavaScript"), "{text}");
    let address = guarded.server.address();
    let at = guarded
        .server
        .request(Method::GET, "/settings")
        .header("host", address.to_string())
        .header("cookie", &dev.cookie);
    let page = at.send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("under a name") && page.contains(&origin),
        "{page}"
    );

    // Made over another challenge, at another site, by another session: nothing is kept.
    let asked = world.asked(&dev, path, &bare).await;
    let mut other = asked.clone();
    other["create"]["challenge"] = json!(text_of([1; 32]));
    refused(
        world.send(&dev, path, &bare, &device.make(&other)).await,
        422,
    )
    .await;
    device.origin = "https://evil.example".to_owned();
    refused(
        world.send(&dev, path, &bare, &device.make(&asked)).await,
        422,
    )
    .await;
    device.origin.clone_from(&origin);
    let good = device.make(&asked);
    refused(world.send(&op, path, &bare, &good).await, 409).await;
    assert_eq!(world.send(&dev, path, &bare, &good).await.status(), 303);
    let text = refused(world.send(&dev, path, &bare, &good).await, 422).await;
    assert!(text.contains("before"), "{text}");
    let page = world.page(&dev, "/settings").await;
    assert!(page.contains("Your passkeys"), "{page}");

    // A second one: by the first, without the password. It is refused for anybody else.
    let bare = [("name", "b")];
    let asked = world.asked(&dev, path, &bare).await;
    assert_eq!(asked["last"], false);
    let signed = device.sign(&asked);
    let answer = world.send(&dev, path, &bare, &signed).await;
    assert_eq!(answer.status(), 200);
    let asked: Value = answer.json().await.unwrap();
    let mut second = Device::new(8, &origin);
    assert_eq!(
        world
            .send(&dev, path, &bare, &second.make(&asked))
            .await
            .status(),
        303
    );
    let asked = world
        .asked(&op, path, &[("name", "mine"), ("current", PASSWORD)])
        .await;
    let text = refused(
        world
            .send(&op, path, &[("name", "mine")], &second.make(&asked))
            .await,
        422,
    )
    .await;
    assert!(text.contains("in use already"), "{text}");

    // Where nothing strong is asked for a passkey may stay in the pocket; an emergency takes it instead
    // of the password. A counter that goes back is a copy.
    world.gate(&dev, &world.artifact).await;
    let open = [
        ("release", "R-2026-0001"),
        ("reason", "Payments are down"),
        ("incident", "INC-7"),
        ("minutes", "60"),
    ];
    refused(guarded.post("/break-glass", &dev, &open).await, 403).await;
    let asked = world.asked(&dev, "/break-glass", &open).await;
    second.count = 0;
    let text = refused(
        world
            .send(&dev, "/break-glass", &open, &second.sign(&asked))
            .await,
        403,
    )
    .await;
    assert!(text.contains("counts backwards"), "{text}");
    // The same statement at the same instant would be the same challenge, which is used up.
    guarded.clock.pass(Span::from_secs(1));
    assert_eq!(
        world
            .confirm(&dev, &mut device, "/break-glass", &open)
            .await
            .status(),
        303
    );
    guarded.clock.pass(Span::from_secs(3_601));
    let rev = guarded.sign_in("rev").await;
    let mut of_rev = Device::new(11, &origin);
    world.add(&rev, &mut of_rev, "rev's").await;
    let review = [("outcome", "justified"), ("reason", "The outage was real")];
    let place = "/break-glass/BG-1/review";
    assert_eq!(
        world
            .confirm(&rev, &mut of_rev, place, &review)
            .await
            .status(),
        303
    );
    let report = guarded
        .server
        .app
        .store
        .verify(Vec::new(), &mut |_, _, _| {})
        .await
        .unwrap();
    assert_eq!(
        (report.passkeys.bound, report.passkeys.proven),
        (3, 2),
        "{:?}",
        report.passkeys
    );
    assert_eq!(report.passkeys.unproven, []);

    // They are lost: an operator ends them, nobody else can.
    refused(
        guarded
            .post("/admin/people/passkeys", &dev, &[("name", "dev")])
            .await,
        403,
    )
    .await;
    let page = world.page(&op, "/admin/people").await;
    assert!(page.contains("2 passkeys"), "{page}");
    assert_eq!(
        guarded
            .post("/admin/people/passkeys", &op, &[("name", "dev")])
            .await
            .status(),
        303
    );
    refused(
        guarded
            .post("/admin/people/passkeys", &op, &[("name", "dev")])
            .await,
        422,
    )
    .await;
    let text = refused(
        world.send(&dev, "/break-glass", &open, "prepare").await,
        403,
    )
    .await;
    assert!(text.contains("you have no passkey"), "{text}");
}
