//! The people, services, dependencies and weaknesses of the story. All invented.

use writ_gate::PrincipalFacts;
use writ_model::{Digest, PrincipalId, Role, Span, Subject, Timestamp};
use writ_registry::{RegistryError, Store};

use super::random::{below, chance, object_id};

/// Weeks of the story.
pub const WEEKS: i64 = 52;

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

/// A vulnerability: id, package, versions, severity, sentence, week of its publication, services.
#[derive(Debug, Clone, Copy)]
pub struct Flaw {
    /// Public name.
    pub id: &'static str,
    /// Package.
    pub package: &'static str,
    /// Installed version.
    pub version: &'static str,
    /// Version with the fix; empty while there is none.
    pub fixed: &'static str,
    /// The scanner's word.
    pub severity: &'static str,
    /// One sentence.
    pub title: &'static str,
    /// Week in which the scanners' data learned of it.
    pub week: i64,
    /// In images rather than in lock files.
    pub image: bool,
    /// Services that have the package, by position.
    pub services: &'static [usize],
}

/// The vulnerabilities of the year.
pub const FLAWS: [Flaw; 24] = [
    Flaw {
        id: "CVE-2026-90011",
        package: "tiny-xml",
        version: "0.8.1",
        fixed: "0.8.4",
        severity: "MEDIUM",
        title: "tiny-xml: deep nesting exhausts the stack",
        week: 0,
        image: false,
        services: &[0, 5],
    },
    Flaw {
        id: "CVE-2026-90023",
        package: "libexpat",
        version: "2.6.1-1",
        fixed: "2.6.2-1",
        severity: "LOW",
        title: "libexpat: slow parsing of large tokens",
        week: 0,
        image: true,
        services: &[0, 1, 2, 3, 4, 5],
    },
    Flaw {
        id: "CVE-2026-90042",
        package: "http-core",
        version: "1.1.0",
        fixed: "1.1.3",
        severity: "HIGH",
        title: "http-core: a crafted header splits the response",
        week: 3,
        image: false,
        services: &[0, 1, 2],
    },
    Flaw {
        id: "CVE-2026-90077",
        package: "left-align",
        version: "2.0.0",
        fixed: "2.0.1",
        severity: "LOW",
        title: "left-align: quadratic time on long lines",
        week: 5,
        image: false,
        services: &[3],
    },
    Flaw {
        id: "CVE-2026-90105",
        package: "openssl",
        version: "3.0.13-1",
        fixed: "3.0.14-1",
        severity: "HIGH",
        title: "openssl: unbounded growth of the session cache",
        week: 8,
        image: true,
        services: &[0, 1, 2, 3, 4, 5],
    },
    Flaw {
        id: "CVE-2026-90131",
        package: "yaml-load",
        version: "5.3",
        fixed: "5.4",
        severity: "CRITICAL",
        title: "yaml-load: loading a document runs code",
        week: 11,
        image: false,
        services: &[4],
    },
    Flaw {
        id: "CVE-2026-90150",
        package: "jwt-mini",
        version: "3.1.0",
        fixed: "3.1.2",
        severity: "HIGH",
        title: "jwt-mini: the algorithm of the header is trusted",
        week: 14,
        image: false,
        services: &[2, 3],
    },
    Flaw {
        id: "CVE-2026-90166",
        package: "zlib",
        version: "1.2.13-1",
        fixed: "",
        severity: "MEDIUM",
        title: "zlib: a long file name overflows a counter",
        week: 15,
        image: true,
        services: &[0, 1, 2, 3, 4, 5],
    },
    Flaw {
        id: "CVE-2026-90188",
        package: "date-fmt",
        version: "1.4.0",
        fixed: "1.4.2",
        severity: "MEDIUM",
        title: "date-fmt: a hostile locale reads beyond a buffer",
        week: 18,
        image: false,
        services: &[3, 5],
    },
    Flaw {
        id: "CVE-2026-90204",
        package: "curl",
        version: "8.5.0-2",
        fixed: "8.6.0-1",
        severity: "MEDIUM",
        title: "curl: cookies cross between hosts",
        week: 20,
        image: true,
        services: &[1, 4],
    },
    Flaw {
        id: "CVE-2026-90219",
        package: "pdf-write",
        version: "2.2.0",
        fixed: "2.2.5",
        severity: "HIGH",
        title: "pdf-write: a font table writes beyond its end",
        week: 23,
        image: false,
        services: &[5],
    },
    Flaw {
        id: "CVE-2026-90230",
        package: "grpc-lite",
        version: "1.60.0",
        fixed: "1.62.1",
        severity: "HIGH",
        title: "grpc-lite: resets exhaust the connection",
        week: 26,
        image: false,
        services: &[0, 2, 4],
    },
    Flaw {
        id: "CVE-2026-90247",
        package: "tar",
        version: "1.34-1",
        fixed: "",
        severity: "LOW",
        title: "tar: a sparse file is read slowly",
        week: 27,
        image: true,
        services: &[0, 3, 5],
    },
    Flaw {
        id: "CVE-2026-90261",
        package: "sql-bind",
        version: "0.9.2",
        fixed: "0.9.3",
        severity: "CRITICAL",
        title: "sql-bind: arrays are not quoted",
        week: 30,
        image: false,
        services: &[1],
    },
    Flaw {
        id: "CVE-2026-90278",
        package: "glibc",
        version: "2.36-9",
        fixed: "2.36-10",
        severity: "HIGH",
        title: "glibc: iconv writes beyond its buffer",
        week: 33,
        image: true,
        services: &[0, 1, 2, 3, 4, 5],
    },
    Flaw {
        id: "CVE-2026-90290",
        package: "csv-fast",
        version: "1.3.0",
        fixed: "1.3.1",
        severity: "MEDIUM",
        title: "csv-fast: a quote at the end reads beyond it",
        week: 36,
        image: false,
        services: &[4, 5],
    },
    Flaw {
        id: "CVE-2026-90305",
        package: "regex-dfa",
        version: "0.4.1",
        fixed: "0.4.4",
        severity: "LOW",
        title: "regex-dfa: a class of patterns takes exponential space",
        week: 38,
        image: false,
        services: &[0, 1],
    },
    Flaw {
        id: "CVE-2026-90318",
        package: "react-frame",
        version: "18.2.0",
        fixed: "18.2.4",
        severity: "HIGH",
        title: "react-frame: attribute names are not checked",
        week: 41,
        image: false,
        services: &[3],
    },
    Flaw {
        id: "CVE-2026-90333",
        package: "krb5",
        version: "1.20.1-2",
        fixed: "",
        severity: "MEDIUM",
        title: "krb5: a crafted ticket leaks memory",
        week: 43,
        image: true,
        services: &[0, 1, 4],
    },
    Flaw {
        id: "CVE-2026-90349",
        package: "protobuf-rs",
        version: "3.2.0",
        fixed: "3.4.0",
        severity: "MEDIUM",
        title: "protobuf-rs: recursion without a limit",
        week: 45,
        image: false,
        services: &[0, 1],
    },
    Flaw {
        id: "CVE-2026-90361",
        package: "gunzip",
        version: "1.12-1",
        fixed: "1.13-1",
        severity: "LOW",
        title: "gunzip: a trailer is not checked",
        week: 46,
        image: true,
        services: &[2, 3],
    },
    Flaw {
        id: "CVE-2026-90377",
        package: "numeric-py",
        version: "1.24.0",
        fixed: "1.24.3",
        severity: "MEDIUM",
        title: "numeric-py: a negative stride reads before the array",
        week: 47,
        image: false,
        services: &[4],
    },
    Flaw {
        id: "CVE-2026-90390",
        package: "log-shape",
        version: "0.6.0",
        fixed: "0.6.2",
        severity: "MEDIUM",
        title: "log-shape: line breaks forge entries",
        week: 49,
        image: false,
        services: &[0, 2, 3, 5],
    },
    Flaw {
        id: "CVE-2026-91817",
        package: "libexpat",
        version: "2.6.2-1",
        fixed: "2.6.4-1",
        severity: "HIGH",
        title: "libexpat: a crafted document writes beyond the heap",
        week: 51,
        image: true,
        services: &[0, 3],
    },
];

/// A weakness in the code: rule, sentence, CWE, severity, first week, last week, service, line.
pub type Weakness = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    usize,
    u32,
);

/// The weaknesses of the year, as semgrep words severities.
pub const WEAKNESSES: [Weakness; 9] = [
    (
        "rules.sql-string",
        "SQL is built from a request parameter",
        "CWE-89",
        "ERROR",
        6,
        7,
        1,
        88,
    ),
    (
        "rules.weak-hash",
        "SHA-1 can be forged",
        "CWE-327",
        "WARNING",
        0,
        99,
        2,
        41,
    ),
    (
        "rules.open-redirect",
        "The target of the redirect comes from the request",
        "CWE-601",
        "WARNING",
        9,
        16,
        3,
        120,
    ),
    (
        "rules.unchecked-cast",
        "The amount is narrowed without a check",
        "CWE-190",
        "WARNING",
        12,
        99,
        0,
        233,
    ),
    (
        "rules.pickle",
        "Pickled data of a request is loaded",
        "CWE-502",
        "ERROR",
        22,
        22,
        4,
        17,
    ),
    (
        "rules.xxe",
        "The XML reader resolves external entities",
        "CWE-611",
        "ERROR",
        31,
        32,
        5,
        64,
    ),
    (
        "rules.debug-flag",
        "The debug flag is set",
        "CWE-489",
        "INFO",
        35,
        99,
        4,
        9,
    ),
    (
        "rules.regex-dos",
        "The pattern takes exponential time",
        "CWE-1333",
        "WARNING",
        44,
        99,
        3,
        71,
    ),
    (
        "rules.assert",
        "An assertion guards a production path",
        "CWE-617",
        "INFO",
        2,
        99,
        4,
        140,
    ),
];

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

/// Vulnerabilities that a scan of a change finds.
pub fn flaws(change: &Change, image: bool) -> impl Iterator<Item = &'static Flaw> {
    let (service, week) = (change.service, change.week);
    FLAWS.iter().filter(move |flaw| {
        let patience: u64 = match flaw.severity {
            "CRITICAL" | "HIGH" => 1,
            "MEDIUM" => 5,
            _ => 14,
        };
        let key = format!("{}/{}", SERVICES[service].name, flaw.id);
        let lasts = 1 + i64::try_from(below(patience * 2, &key)).unwrap_or(1);
        let open = week >= flaw.week && (flaw.fixed.is_empty() || week < flaw.week + lasts);
        flaw.image == image && flaw.services.contains(&service) && open
    })
}

/// Weaknesses that a scan of a change finds.
pub fn weaknesses(change: &Change) -> impl Iterator<Item = &'static Weakness> {
    let (service, week) = (change.service, change.week);
    WEAKNESSES
        .iter()
        .filter(move |(_, _, _, _, first, last, owner, _)| {
            *owner == service && (*first..=*last).contains(&week)
        })
}
