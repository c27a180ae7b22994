//! Public names of problems, with aliases folded to one preferred name.

use writ_model::Identifier;

/// Kind of a public id by its spelling; `None` for words that are no public id.
pub fn kind_of(id: &str) -> Option<&'static str> {
    // Most tags are no ids: one look at the first letter spares the comparisons.
    if !id
        .as_bytes()
        .first()
        .is_some_and(|first| b"ACDEGMOPRSTUacdegmoprstu".contains(first))
    {
        return None;
    }
    let prefixes = [
        ("CVE-", "CVE"),
        ("GHSA-", "GHSA"),
        ("CWE-", "CWE"),
        ("RUSTSEC-", "RUSTSEC"),
        ("PYSEC-", "PYSEC"),
        ("GO-", "GO"),
        ("OSV-", "OSV"),
        ("MAL-", "MAL"),
        ("DSA-", "DSA"),
        ("DLA-", "DLA"),
        ("USN-", "USN"),
        ("RHSA-", "RHSA"),
        ("ALAS", "ALAS"),
        ("ELSA-", "ELSA"),
        ("TEMP-", "TEMP"),
        ("SNYK-", "SNYK"),
        ("AVD-", "AVD"),
        ("CKV", "CKV"),
    ];
    prefixes
        .iter()
        .find(|(prefix, _)| {
            id.len() > prefix.len()
                && id.is_char_boundary(prefix.len())
                && id[..prefix.len()].eq_ignore_ascii_case(prefix)
        })
        .map(|(_, kind)| *kind)
}

/// Identifiers of one finding, collected, then sorted and without doubles.
#[derive(Debug, Default)]
pub struct Identifiers(Vec<Identifier>);

/// No report has more names for one problem than this; the rest is dropped.
const MAX: usize = 64;

impl Identifiers {
    /// Adds a public id of any kind; other words are ignored.
    pub fn add(&mut self, id: &str) {
        let id = id.trim();
        if let Some(kind) = kind_of(id) {
            self.push(kind, id);
        }
    }

    /// Adds `CWE-89`, `cwe:89`, `89`, `CWE-89: SQL injection`.
    pub fn add_cwe(&mut self, text: &str) {
        let digits: String = text
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .take(6)
            .collect();
        let named = text.len() > 2 && text.to_ascii_lowercase().contains("cwe");
        let bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        // ZAP writes -1 and 0 for "none".
        if (named || bare) && !digits.is_empty() && digits.bytes().any(|b| b != b'0') {
            self.push("CWE", &format!("CWE-{}", digits.trim_start_matches('0')));
        }
    }

    /// Adds an id of a given kind.
    pub fn push(&mut self, kind: &str, value: &str) {
        if self.0.len() >= MAX || value.is_empty() || value.len() > 120 {
            return;
        }
        let known = |have: &Identifier| have.kind == kind && have.value.eq_ignore_ascii_case(value);
        if !self.0.iter().any(known) {
            let value = match kind {
                "CVE" | "CWE" | "RUSTSEC" | "PYSEC" => value.to_ascii_uppercase(),
                // GHSA ids are lower-case behind the prefix.
                "GHSA" => format!("GHSA-{}", value[5..].to_ascii_lowercase()),
                _ => value.to_owned(),
            };
            self.0.push(Identifier {
                kind: kind.to_owned(),
                value,
            });
        }
    }

    /// The preferred name among all: smallest CVE, else GHSA, else the ecosystem's own, else `rule`.
    pub fn preferred<'a>(&'a self, rule: &'a str) -> &'a str {
        for kind in ["CVE", "GHSA", "RUSTSEC", "PYSEC", "GO", "MAL", "OSV"] {
            let smallest = self.0.iter().filter(|id| id.kind == kind).min();
            if let Some(id) = smallest {
                return &id.value;
            }
        }
        rule
    }

    /// Sorted.
    pub fn finish(mut self) -> Vec<Identifier> {
        if self.0.len() > 1 {
            self.0.sort_unstable();
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_fold_to_the_cve() {
        let mut ids = Identifiers::default();
        for id in [
            "GHSA-ABCD-efgh-1234",
            "PYSEC-2024-1",
            "cve-2024-2",
            "CVE-2024-1",
            "CVE-2024-1",
            "junk",
        ] {
            ids.add(id);
        }
        ids.add_cwe("CWE-089: SQL");
        ids.add_cwe("-1");
        ids.add_cwe("0");
        assert_eq!(ids.preferred("x"), "CVE-2024-1");
        let all = ids.finish();
        let values: Vec<&str> = all.iter().map(|id| &*id.value).collect();
        assert_eq!(
            values,
            [
                "CVE-2024-1",
                "CVE-2024-2",
                "CWE-89",
                "GHSA-abcd-efgh-1234",
                "PYSEC-2024-1"
            ]
        );
    }
}
