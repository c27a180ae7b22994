//! What the formats write to: fingerprints, counts and bounds in one place.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use writ_model::finding::Component;
use writ_model::{Category, Digest, Finding, Location, Severity};

use crate::error::{IngestError, RAISE};
use crate::fingerprint::{AsIs, Basis, ContentHash, Recipe, family};
use crate::options::Options;
use crate::report::{ProblemKind, Report, TestTotals};
use crate::sink::{FileCoverage, Sink, TestCase, TestOutcome};
use crate::source::SourceLines;

/// Most different findings whose equal siblings are told apart. Bounds memory to about 32 MiB.
const MAX_ORDINALS: usize = 1_000_000;

/// Prefix of a keyed hash in a redacted report.
pub const KEYED_PREFIX: &str = "keyed-hash:";

/// Hex HMAC-SHA256 of a secret under the organisation's key: equal secrets can be recognised,
/// without the key nobody can test a guess.
#[must_use]
pub fn keyed_hash(secret_key: &[u8; 32], secret: &[u8]) -> String {
    // HMAC pads a key of 32 bytes with zeros to the block of 64 (RFC 2104).
    let mut block = [0_u8; 64];
    block[..32].copy_from_slice(secret_key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(secret);
    hex::encode(mac.finalize().into_bytes())
}

/// Hash of a secret as a report holds it: plain, or already replaced by a redaction. `None` when the
/// tool itself hid it.
pub fn secret_hash(secret_key: &[u8; 32], secret: &str) -> Option<String> {
    if let Some(hash) = secret.strip_prefix(KEYED_PREFIX)
        && hash.len() == 64
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Some(hash.to_owned());
    }
    let hidden = secret.is_empty()
        || secret == "REDACTED"
        || secret.bytes().all(|b| b == b'*')
        || secret == crate::redact::MASK;
    (!hidden).then(|| keyed_hash(secret_key, secret.as_bytes()))
}

type Ordinals = HashMap<u64, u32, BuildHasherDefault<AsIs>>;

/// The receiver.
pub struct Out<'s> {
    sink: &'s mut dyn Sink,
    pub(crate) report: Report,
    pub(crate) options: Options<'s>,
    family: String,
    recipe: Recipe,
    ordinals: Ordinals,
    secrets: Ordinals,
    /// The last severity word and its meaning: most findings repeat it.
    last_word: (String, Severity),
    source: SourceLines,
    items: u64,
}

impl<'s> Out<'s> {
    pub(crate) fn new(format: &'static str, options: Options<'s>, sink: &'s mut dyn Sink) -> Self {
        let mut report = Report::new(format);
        if let Some(tool) = options.tool {
            tool.clone_into(&mut report.tool.name);
        }
        Self {
            sink,
            family: family(options.tool.unwrap_or_default()),
            report,
            options,
            recipe: Recipe::default(),
            ordinals: Ordinals::default(),
            secrets: Ordinals::default(),
            last_word: (String::new(), Severity::Unknown),
            source: SourceLines::new(options.root),
            items: 0,
        }
    }

    /// States the tool, unless the caller overrode its name.
    pub(crate) fn tool(&mut self, name: &str, version: &str) {
        if self.options.tool.is_none() && !name.is_empty() {
            self.report.tool.name = crate::text::one_line(name, 100);
            self.family = family(name);
        }
        if !version.is_empty() {
            self.report.tool.version = crate::text::one_line(version, 100);
        }
    }

    pub(crate) fn family(&self) -> &str {
        &self.family
    }

    fn count_item(&mut self) -> Result<(), IngestError> {
        self.items += 1;
        let limit = self.options.limits.max_findings;
        if self.items > limit {
            return Err(IngestError::Limit {
                format: self.report.format,
                position: crate::Position {
                    offset: self.report.bytes,
                    line: 1,
                    column: 1,
                },
                what: "items",
                limit,
                remedy: RAISE,
            });
        }
        Ok(())
    }

    /// A path of the report, relative to the scanned tree where it lies inside.
    pub(crate) fn path(&self, path: &str) -> String {
        let path = crate::text::path(path);
        if path.starts_with('/')
            && let Some(root) = self.source.root()
            && let Ok(inside) = std::path::Path::new(&path).strip_prefix(root)
        {
            return inside.to_string_lossy().into_owned();
        }
        path
    }

    /// Content of the lines of a finding: from the work tree, else from the report's own snippet.
    pub(crate) fn content(
        &mut self,
        path: &str,
        first: Option<u32>,
        last: Option<u32>,
        snippet: &str,
    ) -> Option<ContentHash> {
        first
            .and_then(|first| self.source.content(path, first, last))
            .or_else(|| {
                let hidden = snippet == crate::redact::MASK || snippet == "requires login";
                (!hidden).then(|| crate::fingerprint::content(snippet))?
            })
    }

    /// Severity from the tool's word; a word nobody knows is noted.
    pub(crate) fn severity(&mut self, word: &str) -> Severity {
        if self.last_word.0 == word {
            return self.last_word.1;
        }
        let severity = Severity::from_word(word).unwrap_or_else(|| {
            let word = crate::text::one_line(word, 40);
            self.report.note(&format!(
                "unknown severity word '{word}', counted as unknown"
            ));
            Severity::Unknown
        });
        word.clone_into(&mut self.last_word.0);
        self.last_word.1 = severity;
        severity
    }

    /// Completes a finding with its fingerprint, counts it and hands it on.
    pub(crate) fn finding(
        &mut self,
        mut finding: Finding,
        basis: &Basis<'_>,
    ) -> Result<(), IngestError> {
        self.count_item()?;
        self.recipe.begin(finding.category, &self.family, basis);
        let (ordinal, state) = match basis {
            // The same vulnerability of the same package is one finding wherever it shows.
            Basis::Package { .. } | Basis::Url { .. } => (0, self.recipe.state()),
            Basis::Secret {
                secret: Some(secret),
                ..
            } => {
                let exact = self.recipe.key_with(secret);
                match self.secrets.get(&exact) {
                    Some(ordinal) => (*ordinal, self.recipe.state()),
                    None => {
                        let (key, state) = self.recipe.key();
                        let ordinal = self.next_ordinal(key);
                        if self.secrets.len() < MAX_ORDINALS {
                            self.secrets.insert(exact, ordinal);
                        }
                        (ordinal, state)
                    }
                }
            }
            _ => {
                let (key, state) = self.recipe.key();
                (self.next_ordinal(key), state)
            }
        };
        finding.fingerprint = Recipe::finish(state, ordinal);
        if finding.suppression.is_some() {
            self.report.suppressed += 1;
            self.report.suppressed_counts.add(finding.severity);
        } else {
            self.report.findings += 1;
            self.report.counts.add(finding.severity);
        }
        self.sink.finding(finding).map_err(IngestError::Sink)
    }

    fn next_ordinal(&mut self, key: u64) -> u32 {
        if let Some(next) = self.ordinals.get_mut(&key) {
            let ordinal = *next;
            *next = next.saturating_add(1);
            return ordinal;
        }
        if self.ordinals.len() < MAX_ORDINALS {
            self.ordinals.insert(key, 1);
        } else {
            self.report.note(
                "more than 1,000,000 different findings: equal ones among the later share a fingerprint",
            );
        }
        0
    }

    pub(crate) fn component(&mut self, component: Component) -> Result<(), IngestError> {
        self.count_item()?;
        self.report.components += 1;
        self.sink.component(component).map_err(IngestError::Sink)
    }

    pub(crate) fn test_case(&mut self, case: TestCase) -> Result<(), IngestError> {
        self.count_item()?;
        let totals = self.report.tests.get_or_insert_with(TestTotals::default);
        totals.total += 1;
        match case.outcome {
            TestOutcome::Passed => totals.passed += 1,
            TestOutcome::Failed => totals.failed += 1,
            TestOutcome::Error => totals.errors += 1,
            TestOutcome::Skipped => totals.skipped += 1,
        }
        self.sink.test_case(case).map_err(IngestError::Sink)
    }

    /// Hands a file on; `add_lines` and `add_branches` say whether it counts towards the totals.
    pub(crate) fn covered_file(
        &mut self,
        file: FileCoverage,
        add_lines: bool,
        add_branches: bool,
    ) -> Result<(), IngestError> {
        self.count_item()?;
        let totals = self.report.coverage.get_or_insert_default();
        totals.files += 1;
        if add_lines {
            totals.lines_covered += file.lines_covered;
            totals.lines_total += file.lines_total;
        }
        if add_branches {
            totals.branches_covered += file.branches_covered;
            totals.branches_total += file.branches_total;
        }
        self.sink.file_coverage(file).map_err(IngestError::Sink)
    }

    /// Takes over the entries that a reader could not understand.
    pub(crate) fn bad_entries(&mut self, bad: &crate::json::BadEntries) {
        for (position, cause) in &bad.first {
            self.report.problem(
                ProblemKind::BadEntry,
                &format!("entry not understood at {position}: {cause}"),
                None,
            );
        }
        self.report.problem_count += bad.count - bad.first.len() as u64;
    }
}

/// A finding with nothing but the fields every format has; formats fill in the rest.
pub fn blank(category: Category, rule: &str, title: &str, severity: Severity) -> Finding {
    let title = if title.is_empty() { rule } else { title };
    Finding {
        fingerprint: Digest::from_bytes([0; 32]),
        category,
        rule: crate::text::one_line(rule, 200),
        title: crate::text::one_line(title, 200),
        severity,
        raw_severity: String::new(),
        cvss_tenths: None,
        identifiers: Vec::new(),
        location: Location::None,
        fix: None,
        message: None,
        suppression: None,
        aliases: Vec::new(),
        secret_hash: None,
    }
}
