//! The vulnerabilities and weaknesses of the story. All invented.

use super::random::below;
use super::world::{Change, SERVICES};

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
        severity: "LOW",
        title: "zlib: a long file name overflows a counter",
        week: 29,
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

/// Vulnerabilities that a scan of a change finds.
pub fn flaws(change: &Change, image: bool) -> impl Iterator<Item = &'static Flaw> {
    let (service, week) = (change.service, change.week);
    FLAWS.iter().filter(move |flaw| {
        let patience: u64 = match flaw.severity {
            "CRITICAL" | "HIGH" => 1,
            "MEDIUM" => 5,
            _ => 12,
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
