//! A decision with a check in every state, a compliant one, an empty one, and a report.

use writ_model::{
    Answer, BundleRef, Category, Check, CheckItem, Decision, DecisionId, Digest, EvidenceId,
    EvidenceRef, ExemptionRef, Finding, Fix, Identifier, LedgerHead, Location, LookedAt, MapsTo,
    Severity, SeverityCounts, State, StateCounts, Subject, Suppression, Timestamp, ToolInfo,
    WritId, check::WayOut,
};
use writ_render::{Context, CoverageTotals, EdgeError, InspectView, TestTotals, Try, WritNote};

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn evidence(seed: &str, summary: &str) -> EvidenceRef {
    EvidenceRef {
        id: EvidenceId::of_payload(seed.as_bytes()),
        summary: summary.to_owned(),
    }
}

fn maps(pairs: &[(&str, &[&str])]) -> Vec<MapsTo> {
    pairs
        .iter()
        .map(|(framework, requirements)| MapsTo {
            framework: (*framework).to_owned(),
            requirements: requirements.iter().map(|r| (*r).to_owned()).collect(),
        })
        .collect()
}

pub fn check(control: &str, state: State, title: &str) -> Check {
    Check {
        control: control.to_owned(),
        version: 1,
        code: format!("{control}/{}", state.word().replace('/', "")),
        state,
        title: title.to_owned(),
        found: vec![],
        required: "what the control requires".to_owned(),
        why: "Auditors test this control every quarter.".to_owned(),
        owner: "quality-guild".to_owned(),
        fix: vec![],
        or: None,
        evidence: vec![],
        items: vec![],
        items_total: 0,
        exemptions: vec![],
        maps: maps(&[("soc2", &["CC8.1"])]),
    }
}

fn vulnerable_image() -> Check {
    Check {
        version: 4,
        code: "VUL-02/fixable".to_owned(),
        found: vec![
            "CVE-2026-31817  HIGH 8.1  libexpat 2.6.2-1".to_owned(),
            "layer 3, from base image debian:12.7-slim  (Dockerfile:1)".to_owned(),
        ],
        required: "0 HIGH or CRITICAL with a fix available".to_owned(),
        why: "A known, fixable flaw in production counts as our finding.".to_owned(),
        owner: "product-security".to_owned(),
        fix: vec![
            "Dockerfile:1   FROM debian:12.8-slim    (ships 2.6.4-1)".to_owned(),
            "writ check container                    (about 40 s)".to_owned(),
        ],
        or: Some(WayOut {
            command: Some("writ exempt request VUL-02 --finding CVE-2026-31817".to_owned()),
            text: "up to 14 days, decided by product-security, median 4 h".to_owned(),
        }),
        evidence: vec![evidence("trivy", "trivy, 168 packages, database 2 h old")],
        items: vec![CheckItem {
            fingerprint: Some(Digest::of(b"CVE-2026-31817 libexpat")),
            name: "CVE-2026-31817".to_owned(),
            severity: Some(Severity::High),
            text: "libexpat 2.6.2-1".to_owned(),
            location: Some(Location::File {
                path: "Dockerfile".to_owned(),
                line: Some(1),
                end_line: None,
                column: None,
                commit: None,
                resource: None,
            }),
            fix: Some("use debian:12.8-slim".to_owned()),
            exempted_by: None,
        }],
        items_total: 1,
        maps: maps(&[("soc2", &["CC7.1"]), ("iso27001", &["A.8.8"])]),
        ..check(
            "VUL-02",
            State::Fail,
            "Image contains 1 HIGH vulnerability that has a fix",
        )
    }
}

fn code_findings() -> Check {
    let item = |n: u32| CheckItem {
        fingerprint: Some(Digest::of(format!("sql {n}").as_bytes())),
        name: "python.sql-injection".to_owned(),
        severity: Some(if n == 0 {
            Severity::Critical
        } else {
            Severity::High
        }),
        text: format!(
            "Query number {n} is built from the request's own text and is then run as it is"
        ),
        location: Some(Location::File {
            path: "src/payments/ledger/reconciliation.py".to_owned(),
            line: Some(40 + n),
            end_line: Some(42 + n),
            column: Some(9),
            commit: None,
            resource: None,
        }),
        fix: Some("bind the value as a parameter".to_owned()),
        exempted_by: (n == 6).then(|| "EX-121".to_owned()),
    };
    Check {
        found: vec!["9 HIGH or CRITICAL code findings in 212 files, 7 of them listed".to_owned()],
        required: "0 new HIGH or CRITICAL code findings".to_owned(),
        fix: vec!["Bind values as parameters instead of building the query from text; the rule's page shows both forms, and the test suite of the service has an example.".to_owned()],
        evidence: vec![evidence("semgrep", "semgrep, 212 files, 34 rules")],
        items: (0..7).map(item).collect(),
        items_total: 9,
        exemptions: vec![ExemptionRef {
            id: EvidenceId::of_payload(b"EX-121"),
            number: "EX-121".to_owned(),
            expires_at: time("2026-12-01T00:00:00Z"),
            covers: 1,
        }],
        ..check("SAST-01", State::Fail, "9 new HIGH or CRITICAL code findings")
    }
}

/// All nine states.
pub fn blocked() -> Decision {
    let checks = vec![
        check("SEC-01", State::Pass, "No secrets in 14 commits"),
        code_findings(),
        Check {
            found: vec![
                "looked for target/lcov.info (stage test, produces.coverage)".to_owned(),
                "there is target/coverage/lcov.info, 2 min old".to_owned(),
            ],
            required: "80.0 % of lines".to_owned(),
            fix: vec![
                "writ.toml:24   produces = { coverage = \"target/coverage/lcov.info\" }".to_owned(),
            ],
            ..check("TST-01", State::Missing, "No coverage report arrived")
        },
        vulnerable_image(),
        Check {
            found: vec!["database of 2026-11-13, 9 days old".to_owned()],
            required: "data at most 24 h old".to_owned(),
            fix: vec!["writ run dependencies".to_owned()],
            evidence: vec![evidence("deps", "trivy, 311 packages, database 9 days old")],
            ..check(
                "VUL-01",
                State::Expired,
                "Dependencies were judged with old data",
            )
        },
        Check {
            found: vec!["the rule stopped: checkov could not read 2 of 41 files".to_owned()],
            required: "0 failed checks in infrastructure code".to_owned(),
            fix: vec!["writ check iac".to_owned()],
            evidence: vec![evidence("checkov", "checkov, 39 of 41 files")],
            ..check(
                "IAC-01",
                State::Error,
                "Infrastructure code could not be judged",
            )
        },
        Check {
            found: vec!["0 of 1 approvals".to_owned()],
            required: "1 approval from security by somebody who wrote none of the commits"
                .to_owned(),
            fix: vec!["ask one of: r.sec, t.sec, u.sec".to_owned()],
            or: Some(WayOut {
                command: None,
                text: "no exemption exists for CHG-03".to_owned(),
            }),
            maps: maps(&[("sox-itgc", &["CM-02", "CM-03"]), ("soc2", &["CC8.1"])]),
            ..check("CHG-03", State::Waiting, "An approval is due")
        },
        Check {
            found: vec!["FROM node:22 has no digest  (web/Dockerfile:3)".to_owned()],
            required: "base images pinned by digest".to_owned(),
            fix: vec!["web/Dockerfile:3   FROM node:22@sha256:…".to_owned()],
            ..check("IMG-01", State::Warned, "A base image is not pinned")
        },
        Check {
            exemptions: vec![ExemptionRef {
                id: EvidenceId::of_payload(b"EX-118"),
                number: "EX-118".to_owned(),
                expires_at: time("2026-11-28T10:15:00Z"),
                covers: 2,
            }],
            items: vec![CheckItem {
                fingerprint: None,
                name: "GPL-3.0-only".to_owned(),
                severity: None,
                text: "readline 8.2".to_owned(),
                location: Some(Location::Package {
                    purl: Some("pkg:deb/debian/readline@8.2".to_owned()),
                    name: "readline".to_owned(),
                    version: Some("8.2".to_owned()),
                    path: None,
                }),
                fix: None,
                exempted_by: Some("EX-118".to_owned()),
            }],
            items_total: 1,
            ..check(
                "LIC-01",
                State::Exempt,
                "2 components have a licence that is not allowed",
            )
        },
        check("TST-02", State::Pass, "1,204 tests passed"),
        check(
            "DST-01",
            State::NotApplicable,
            "The service answers no network",
        ),
    ];
    let later = vec![
        check("ENV-01", State::Missing, "No snapshot of the environment"),
        check("RET-01", State::Pass, "Retention is locked"),
    ];
    decision(checks, later)
}

/// 3 of 3 satisfied.
pub fn compliant() -> Decision {
    let mut checks = blocked().checks;
    checks.retain(|check| check.state.is_satisfied());
    checks.retain(|check| check.state != State::Warned);
    decision(checks, vec![])
}

/// No check in scope.
pub fn empty() -> Decision {
    let mut decision = decision(vec![], vec![]);
    decision.not_covered.clear();
    decision
}

pub fn decision(checks: Vec<Check>, later: Vec<Check>) -> Decision {
    let counts = StateCounts::of(checks.iter().map(|check| check.state));
    let answer: Answer = counts.answer();
    Decision {
        service: "payments-api".to_owned(),
        environment: "production".to_owned(),
        subject: Subject {
            commit: Some("4f2a9c1e0b7d4f2a9c1e0b7d4f2a9c1e0b7d4f2a".to_owned()),
            artifact: Some(Digest::of(b"image")),
            ..Subject::default()
        },
        profile: "startup".to_owned(),
        bundle: BundleRef {
            name: "writ-standard".to_owned(),
            version: "v2026.11".to_owned(),
            digest: Digest::of(b"bundle"),
        },
        as_of: time("2026-11-22T10:15:00Z"),
        answer,
        counts,
        checks,
        later,
        not_covered: [
            "approval by a second person",
            "drift of the running environment",
            "retention that an administrator cannot shorten",
            "runtime monitoring",
        ]
        .map(str::to_owned)
        .to_vec(),
        ledger: LedgerHead {
            size: 184_231,
            root: Digest::of(b"root"),
        },
        inputs: Digest::of(b"inputs"),
        engine: "writ-gate 0.1.0".to_owned(),
    }
}

pub fn context() -> Context {
    Context {
        decision_id: Some(DecisionId::of_payload(b"decision")),
        log_index: Some(184_231),
        links: Some("https://writ.example".to_owned()),
        sources: Some("https://git.example/payments/api/-/blob/4f2a9c1".to_owned()),
        now: Some(time("2026-11-22T10:20:00Z")),
        exit_line: true,
        version: "0.1.0".to_owned(),
        ..Context::default()
    }
}

pub fn with_writ() -> Context {
    Context {
        writ: Some(WritNote {
            id: WritId::of_payload(b"writ"),
            expires_at: time("2026-11-29T10:15:00Z"),
            preview: true,
        }),
        ..context()
    }
}

pub fn report() -> InspectView {
    let findings = vec![
        Finding {
            fingerprint: Digest::of(b"expat"),
            category: Category::Vulnerability,
            rule: "CVE-2026-31817".to_owned(),
            title: "expat: heap overflow while parsing a document type".to_owned(),
            severity: Severity::High,
            raw_severity: "HIGH".to_owned(),
            cvss_tenths: Some(81),
            identifiers: vec![
                Identifier {
                    kind: "CVE".to_owned(),
                    value: "CVE-2026-31817".to_owned(),
                },
                Identifier {
                    kind: "CWE".to_owned(),
                    value: "CWE-122".to_owned(),
                },
            ],
            location: Location::Package {
                purl: Some("pkg:deb/debian/libexpat1@2.6.2-1".to_owned()),
                name: "libexpat1".to_owned(),
                version: Some("2.6.2-1".to_owned()),
                path: Some("var/lib/dpkg/status".to_owned()),
            },
            fix: Some(Fix {
                versions: vec!["2.6.4-1".to_owned()],
                text: None,
            }),
            message: Some("A crafted document overflows a heap buffer.".to_owned()),
            suppression: None,
            aliases: vec![],
            secret_hash: None,
        },
        Finding {
            fingerprint: Digest::of(b"sql"),
            category: Category::Code,
            rule: "python.sql-injection".to_owned(),
            title: "Query built from request data".to_owned(),
            severity: Severity::Critical,
            raw_severity: "ERROR".to_owned(),
            cvss_tenths: None,
            identifiers: vec![],
            location: Location::File {
                path: "src/pay ments.py".to_owned(),
                line: Some(42),
                end_line: Some(44),
                column: Some(5),
                commit: None,
                resource: None,
            },
            fix: Some(Fix {
                versions: vec![],
                text: Some("Bind the value as a parameter.".to_owned()),
            }),
            message: None,
            suppression: None,
            aliases: vec![],
            secret_hash: None,
        },
        Finding {
            fingerprint: Digest::of(b"key"),
            category: Category::Secret,
            rule: "aws-access-key".to_owned(),
            title: "AWS access key".to_owned(),
            severity: Severity::High,
            raw_severity: String::new(),
            cvss_tenths: None,
            identifiers: vec![],
            location: Location::File {
                path: "deploy/.env".to_owned(),
                line: Some(3),
                end_line: None,
                column: None,
                commit: Some("9f8e7d6c5b4a39281706f5e4d3c2b1a098765432".to_owned()),
                resource: None,
            },
            fix: None,
            message: None,
            suppression: Some(Suppression {
                kind: "in-source".to_owned(),
                status: None,
                justification: Some("test key".to_owned()),
            }),
            aliases: vec![],
            secret_hash: Some("00ff".to_owned()),
        },
    ];
    let mut counts = SeverityCounts::default();
    for finding in findings.iter().filter(|f| f.suppression.is_none()) {
        counts.add(finding.severity);
    }
    InspectView {
        file: "reports/mixed.json".to_owned(),
        format: "sarif".to_owned(),
        tool: ToolInfo {
            name: "scanner".to_owned(),
            version: "1.2.3".to_owned(),
            ..ToolInfo::default()
        },
        looked_at: vec![
            LookedAt::new("packages", 168),
            LookedAt::new("files", 2_412),
        ],
        counts,
        suppressed: 1,
        notes: vec!["1 finding gives no severity".to_owned()],
        findings,
        ..InspectView::default()
    }
}

/// Looked at nothing.
pub fn blank_report() -> InspectView {
    InspectView {
        file: "empty.json".to_owned(),
        format: "gitleaks".to_owned(),
        tool: ToolInfo {
            name: "gitleaks".to_owned(),
            ..ToolInfo::default()
        },
        problems: vec!["the repository is shallow: 1 of 240 commits is there".to_owned()],
        ..InspectView::default()
    }
}

/// Tests and coverage.
pub fn test_report() -> InspectView {
    InspectView {
        format: "junit".to_owned(),
        tool: ToolInfo {
            name: "junit".to_owned(),
            ..ToolInfo::default()
        },
        looked_at: vec![LookedAt::new("tests", 1_204)],
        tests: Some(TestTotals {
            passed: 1_200,
            failed: 3,
            errors: 0,
            skipped: 1,
        }),
        coverage: Some(CoverageTotals {
            lines_covered: 6_439,
            lines_total: 8_050,
            branches_covered: 1,
            branches_total: 3,
        }),
        ..InspectView::default()
    }
}

pub fn edge_error() -> EdgeError {
    EdgeError {
        place: vec!["stage container, trivy database cache/trivy".to_owned()],
        cause: vec![
            "download failed 3 times: connect timeout to mirror.corp.example:443".to_owned(),
        ],
        remedy: vec![
            Try {
                action: "writ doctor network".to_owned(),
                note: String::new(),
            },
            Try {
                action: "writ run container".to_owned(),
                note: "when the mirror answers again".to_owned(),
            },
        ],
        ..EdgeError::new(
            "cannot decide: the vulnerability database is 9 days old (limit 24 h)",
            3,
        )
    }
}
