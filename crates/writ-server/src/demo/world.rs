//! The people, services, dependencies and weaknesses of the story. All invented.

use writ_evidence::predicate::Actor;
use writ_gate::PrincipalFacts;
use writ_model::{Assurance, Digest, Grant, PrincipalId, Role, Span, Subject, Timestamp};
use writ_registry::directory::RoleChange;
use writ_registry::directory::identity::{BindingChange, Owner};
use writ_registry::{RegistryError, Store};

use super::random::{below, chance, object_id};

/// Weeks of the story.
pub const WEEKS: i64 = super::YEAR as i64;

/// Key that the story's releases are signed with.
pub const RELEASE_KEY: &str = "demo-release-2026";

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// When the year begins that ends at `now`.
pub fn begin(now: Timestamp) -> Timestamp {
    now.plus(Span::from_secs(-WEEKS * 7 * DAY - DAY))
}

/// A service.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Name.
    pub name: &'static str,
    /// Profile that binds it.
    pub profile: &'static str,
    /// Chances in a hundred that a week brings a change.
    pub busy: u64,
    /// Who writes it.
    pub authors: [usize; 3],
    /// Language of its inventory.
    pub language: &'static str,
    /// Its lock file.
    pub lockfile: &'static str,
    /// Source file that findings are in.
    pub source: &'static str,
    /// Packages in the lock file and in the image.
    pub packages: (u64, u64),
    /// Lines that tests can reach.
    pub lines: u64,
}

/// The six services.
pub const SERVICES: [Service; 6] = [
    Service {
        name: "payments-api",
        profile: "soc2",
        busy: 100,
        authors: [0, 1, 2],
        language: "rust",
        lockfile: "Cargo.lock",
        source: "src/settle.rs",
        packages: (311, 168),
        lines: 12_840,
    },
    Service {
        name: "ledger",
        profile: "soc2",
        busy: 70,
        authors: [1, 3, 4],
        language: "rust",
        lockfile: "Cargo.lock",
        source: "src/book.rs",
        packages: (204, 96),
        lines: 21_400,
    },
    Service {
        name: "gateway",
        profile: "soc2",
        busy: 80,
        authors: [2, 4, 5],
        language: "go",
        lockfile: "go.sum",
        source: "internal/route.go",
        packages: (142, 88),
        lines: 8_050,
    },
    Service {
        name: "billing-web",
        profile: "soc2",
        busy: 75,
        authors: [0, 3, 5],
        language: "typescript",
        lockfile: "package-lock.json",
        source: "src/invoice.ts",
        packages: (911, 203),
        lines: 15_320,
    },
    Service {
        name: "risk-engine",
        profile: "soc2",
        busy: 60,
        authors: [1, 2, 5],
        language: "python",
        lockfile: "requirements.txt",
        source: "risk/score.py",
        packages: (87, 141),
        lines: 9_760,
    },
    Service {
        name: "statements",
        profile: "iso27001",
        busy: 55,
        authors: [0, 4, 5],
        language: "java",
        lockfile: "pom.xml",
        source: "src/main/java/Render.java",
        packages: (266, 190),
        lines: 6_480,
    },
];

/// Names of the people: authors first, then reviewers, then compliance.
const PEOPLE: [(&str, Role); 11] = [
    ("a.ruiz", Role::Developer),
    ("b.okafor", Role::Developer),
    ("c.lindqvist", Role::Developer),
    ("d.haddad", Role::Developer),
    ("e.novak", Role::Developer),
    ("f.tanaka", Role::Developer),
    ("r.sand", Role::Reviewer),
    ("s.teller", Role::Reviewer),
    ("u.koval", Role::Reviewer),
    ("o.prins", Role::Compliance),
    ("ci-deployer", Role::Service),
];

/// First of the reviewers among the people.
const REVIEWERS: usize = 6;

/// The story's world.
#[derive(Debug)]
pub struct World {
    /// When the story ends.
    pub now: Timestamp,
    people: Vec<PrincipalId>,
}

/// One change on its way.
#[derive(Debug, Clone)]
pub struct Change {
    /// Service, by position.
    pub service: usize,
    /// Week.
    pub week: i64,
    /// Number of the merge request.
    pub number: u64,
    /// Title of the merge request.
    pub title: String,
    /// Ticket.
    pub ticket: String,
    /// Commit and tree.
    pub commit: String,
    /// Tree of the commit.
    pub tree: String,
    /// Digest of the image.
    pub artifact: Digest,
    /// Author, by position.
    pub author: usize,
    /// A second author, sometimes.
    pub second: Option<usize>,
    /// Commits.
    pub commits: u64,
}

impl Change {
    /// The service.
    pub fn service(&self) -> &'static Service {
        &SERVICES[self.service]
    }

    /// What the gate judges.
    pub fn subject(&self) -> Subject {
        Subject {
            commit: Some(self.commit.clone()),
            tree: Some(self.tree.clone()),
            artifact: Some(self.artifact),
            environment: None,
        }
    }

    /// A key for drawn numbers.
    pub fn key(&self, what: &str) -> String {
        format!("{}/{}/{what}", self.service().name, self.week)
    }
}

const TITLES: [&str; 18] = [
    "Retry budget for settlement",
    "Round half to even in statements",
    "Read the limits from configuration",
    "Cache exchange rates for a minute",
    "Close idle connections",
    "Show the fee before confirmation",
    "Move the queue to the shared broker",
    "Log the reference of every payout",
    "Refuse amounts with three decimals",
    "Split the nightly export",
    "Upgrade the base image",
    "Drop the old webhook",
    "Paginate the list of invoices",
    "Verify the signature of callbacks",
    "Store scores with their model version",
    "Send receipts in the user's language",
    "Bound the size of uploads",
    "Measure the time in the risk check",
];

impl World {
    /// The people get their pseudonyms, and the directory their names.
    ///
    /// # Errors
    /// The directory of people cannot be written.
    pub async fn new(store: &Store, now: Timestamp) -> Result<Self, RegistryError> {
        let mut people = Vec::new();
        for (name, _) in PEOPLE {
            people.push(store.local_principal(name).await?);
        }
        Ok(Self { now, people })
    }

    /// Hours before the end of a week.
    pub fn at(&self, week: i64, hours_before_end: i64) -> Timestamp {
        let end = -(WEEKS - 1 - week) * 7 * DAY - 2 * HOUR;
        self.now
            .plus(Span::from_secs(end - hours_before_end * HOUR))
    }

    /// A person.
    pub fn person(&self, position: usize) -> PrincipalId {
        self.people
            .get(position)
            .cloned()
            .unwrap_or_else(|| PrincipalId(String::new()))
    }

    /// A reviewer for this key.
    pub fn reviewer(&self, key: &str) -> PrincipalId {
        let offset = usize::try_from(below(3, key)).unwrap_or(0);
        self.person(REVIEWERS + offset)
    }

    /// Who answers for compliance.
    pub fn compliance(&self) -> PrincipalId {
        self.person(9)
    }

    /// What deploys.
    pub fn deployer(&self) -> PrincipalId {
        self.person(10)
    }

    /// Roles and kinds of everybody, as the approved bindings would say.
    pub fn bindings(&self) -> std::collections::BTreeMap<PrincipalId, PrincipalFacts> {
        self.people
            .iter()
            .zip(PEOPLE)
            .map(|(id, (_, role))| {
                let facts = PrincipalFacts {
                    roles: vec![role],
                    machine: role == Role::Service,
                    ..PrincipalFacts::default()
                };
                (id.clone(), facts)
            })
            .collect()
    }

    /// Records whose the accounts are and which role everybody holds, before anything else happens.
    pub async fn introduce(&self, store: &Store) -> Result<(), RegistryError> {
        let by = self.compliance();
        let everybody = || self.people.iter().zip(PEOPLE);
        let changes = everybody()
            .map(|(id, (_, role))| BindingChange::Account {
                account: id.clone(),
                owner: Some(Owner {
                    id: id.clone(),
                    machine: role == Role::Service,
                }),
            })
            .collect();
        let actor = Actor {
            principal: by.clone(),
            role: None,
            assurance: Assurance::Totp,
            assertion: None,
        };
        store.propose_bindings(changes, &actor).await?;
        for (id, (_, role)) in everybody() {
            let change = RoleChange {
                principal: id,
                grant: Grant::everywhere(role),
                granted: true,
                by: &by,
                bootstrap: true,
            };
            store.change_role(&change).await?;
        }
        Ok(())
    }

    /// The changes of a week.
    pub fn changes(&self, week: i64) -> Vec<Change> {
        (0..SERVICES.len())
            .filter(|position| {
                let service = &SERVICES[*position];
                week >= WEEKS - 2 || chance(service.busy, &format!("{}/{week}/busy", service.name))
            })
            .map(|position| self.change(position, week, ""))
            .collect()
    }

    /// A change of a service in a week; `extra` tells several apart.
    pub fn change(&self, position: usize, week: i64, extra: &str) -> Change {
        let service = &SERVICES[position];
        let key = format!("{}/{week}{extra}", service.name);
        let title = TITLES
            [usize::try_from(below(TITLES.len() as u64, &format!("{key}/title"))).unwrap_or(0)];
        let pick = |what: &str| {
            service.authors[usize::try_from(below(3, &format!("{key}/{what}"))).unwrap_or(0)]
        };
        let author = pick("author");
        let second = pick("second");
        Change {
            service: position,
            week,
            number: 200
                + u64::try_from(week).unwrap_or(0) * 6
                + position as u64
                + if extra.is_empty() { 0 } else { 400 },
            title: title.to_owned(),
            ticket: format!(
                "{}-{}",
                ["PAY", "LED", "GTW", "BIL", "RSK", "STM"][position],
                1_000 + below(3_000, &format!("{key}/ticket"))
            ),
            commit: object_id(&format!("{key}/commit")),
            tree: object_id(&format!("{key}/tree")),
            artifact: Digest::of(format!("{key}/image").as_bytes()),
            author,
            second: (second != author && chance(40, &format!("{key}/two"))).then_some(second),
            commits: 1 + below(9, &format!("{key}/commits")),
        }
    }
}
