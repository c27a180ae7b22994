//! Writ's own fingerprint of a finding.
//!
//! SHA-256 over length-prefixed fields: a version tag, the category, the tool's family, the rule, the
//! normalised place, a content hash and an ordinal. Left out on purpose: line numbers, severity,
//! titles, tool versions, and everything that a tool upgrade or a moved line changes.
//!
//! | category | fields |
//! |---|---|
//! | code, quality | family, rule, path, hash of the white-space-normalised lines, ordinal among equal ones |
//! | misconfiguration | family, rule, path, resource address (else the lines), ordinal |
//! | secret | family, rule, path, hash of the match without the secret, ordinal among different secrets; never the secret or its hash |
//! | vulnerability | ecosystem, package name, preferred id. No tool, path or **version**: an upgrade that stays vulnerable keeps its age, and every scanner gives the same fingerprint |
//! | license | ecosystem, package name, licence |
//! | dynamic | family, rule, host, path, parameter |

use sha2::{Digest as _, Sha256};
use writ_model::{Category, Digest};

/// Version of the recipe: a change of any field above is a new tag.
const TAG: &str = "writ-finding-1";

/// Hash of content, first 16 bytes: enough against accidents, short in memory.
pub type ContentHash = [u8; 16];

/// What a finding's identity rests on.
#[derive(Debug, Clone, Copy)]
pub enum Basis<'a> {
    /// A place in code.
    Code {
        /// Rule id.
        rule: &'a str,
        /// Normalised path.
        path: &'a str,
        /// Content of the lines.
        content: Option<ContentHash>,
    },
    /// A resource of infrastructure code.
    Resource {
        /// Rule id.
        rule: &'a str,
        /// Normalised path.
        path: &'a str,
        /// Address; may be empty.
        resource: &'a str,
        /// Content of the lines, used when there is no address.
        content: Option<ContentHash>,
    },
    /// A secret.
    Secret {
        /// Rule id.
        rule: &'a str,
        /// Normalised path.
        path: &'a str,
        /// What stands around the secret.
        context: Option<ContentHash>,
        /// Keyed hash of the secret: only tells different secrets apart within this report.
        secret: Option<&'a str>,
    },
    /// A vulnerable component, or one with a licence in question.
    Package {
        /// Ecosystem, as in package URLs.
        ecosystem: &'a str,
        /// Normalised name.
        name: &'a str,
        /// Preferred id or licence.
        id: &'a str,
    },
    /// A place in a running service.
    Url {
        /// Rule id.
        rule: &'a str,
        /// URL; host and path are used.
        url: &'a str,
        /// Parameter; may be empty.
        parameter: &'a str,
    },
    /// No place: rule and title only.
    Bare {
        /// Rule id.
        rule: &'a str,
        /// Whatever tells two findings of one rule apart.
        detail: &'a str,
    },
}

/// The family of a tool: all its spellings and report formats give one word.
pub fn family(tool: &str) -> String {
    let first = tool
        .split(|c: char| c.is_whitespace() || c == '/')
        .find(|word| !word.is_empty() && !word.eq_ignore_ascii_case("owasp"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    match first.as_str() {
        "@programname" | "zed" => "zap".to_owned(),
        _ => first,
    }
}

/// The part of a rule id that does not depend on how the tool was called: semgrep puts the rule
/// file's path before the id, trivy renamed `AVD-DS-0002` to `DS-0002`.
pub fn stable_rule<'a>(family: &str, rule: &'a str) -> &'a str {
    match family {
        "semgrep" => rule.rsplit('.').next().unwrap_or(rule),
        "trivy" => rule.strip_prefix("AVD-").unwrap_or(rule),
        _ => rule,
    }
}

/// Hash of lines with white space normalised, so that indentation and line ends do not matter.
/// `None` when nothing but white space is there.
pub fn content(text: &str) -> Option<ContentHash> {
    let mut hasher = Sha256::new();
    let mut any = false;
    for word in text.split_whitespace() {
        if any {
            hasher.update(b" ");
        }
        hasher.update(word.as_bytes());
        any = true;
    }
    any.then(|| shorten(hasher.finalize().into()))
}

fn shorten(hash: [u8; 32]) -> ContentHash {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// Host and path of a URL, lower-case host, no trailing slash.
fn host_and_path(url: &str) -> (String, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.rsplit('@').next().unwrap_or(host);
    (host.to_ascii_lowercase(), path.trim_end_matches('/'))
}

/// A reusable buffer for the recipe.
#[derive(Debug, Default)]
pub struct Recipe {
    bytes: Vec<u8>,
}

impl Recipe {
    fn field(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the fields of a basis, without the ordinal.
    pub fn begin(&mut self, category: Category, family: &str, basis: &Basis<'_>) {
        self.bytes.clear();
        self.field(TAG.as_bytes());
        self.bytes.push(category as u8);
        match *basis {
            Basis::Code {
                rule,
                path,
                content,
            } => {
                self.field(family.as_bytes());
                self.field(stable_rule(family, rule).as_bytes());
                self.field(path.as_bytes());
                self.field(content.as_ref().map_or(&[], |hash| &hash[..]));
            }
            Basis::Resource {
                rule,
                path,
                resource,
                content,
            } => {
                self.field(family.as_bytes());
                self.field(stable_rule(family, rule).as_bytes());
                self.field(path.as_bytes());
                self.field(resource.as_bytes());
                let content = content.filter(|_| resource.is_empty());
                self.field(content.as_ref().map_or(&[], |hash| &hash[..]));
            }
            Basis::Secret {
                rule,
                path,
                context,
                secret: _,
            } => {
                self.field(family.as_bytes());
                self.field(rule.as_bytes());
                self.field(path.as_bytes());
                self.field(context.as_ref().map_or(&[], |hash| &hash[..]));
            }
            Basis::Package {
                ecosystem,
                name,
                id,
            } => {
                self.field(ecosystem.as_bytes());
                self.field(name.as_bytes());
                self.field(id.as_bytes());
            }
            Basis::Url {
                rule,
                url,
                parameter,
            } => {
                let (host, path) = host_and_path(url);
                self.field(family.as_bytes());
                self.field(rule.as_bytes());
                self.field(host.as_bytes());
                self.field(path.as_bytes());
                self.field(parameter.as_bytes());
            }
            Basis::Bare { rule, detail } => {
                self.field(family.as_bytes());
                self.field(stable_rule(family, rule).as_bytes());
                self.field(detail.as_bytes());
            }
        }
    }

    /// Key that tells occurrences apart, and the state from which [`Recipe::finish`] goes on.
    pub fn key(&self) -> (u64, Sha256) {
        let state = Sha256::new_with_prefix(&self.bytes);
        (eight(&state.clone().finalize().into()), state)
    }

    /// Key of the fields so far and a secret's keyed hash.
    pub fn key_with(&self, secret: &str) -> u64 {
        let mut hasher = Sha256::new_with_prefix(&self.bytes);
        hasher.update(b"\0secret\0");
        hasher.update(secret.as_bytes());
        eight(&hasher.finalize().into())
    }

    /// The fingerprint: the fields and the ordinal of the occurrence.
    pub fn finish(mut state: Sha256, ordinal: u32) -> Digest {
        state.update(ordinal.to_le_bytes());
        Digest::from_bytes(state.finalize().into())
    }

    /// The state for findings that need no key.
    pub fn state(&self) -> Sha256 {
        Sha256::new_with_prefix(&self.bytes)
    }
}

/// Keys are hashes already: the map takes them as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsIs(u64);

impl std::hash::Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

fn eight(hash: &[u8; 32]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_tool_are_one_family() {
        assert_eq!(family("Semgrep OSS"), family("semgrep"));
        assert_eq!(family("OWASP ZAP"), family("ZAP"));
        assert_eq!(stable_rule("semgrep", "cfg.rules.sql"), "sql");
    }

    #[test]
    fn fields_cannot_run_into_each_other() {
        let print = |rule, path| {
            let mut recipe = Recipe::default();
            let content = None;
            recipe.begin(
                Category::Code,
                "t",
                &Basis::Code {
                    rule,
                    path,
                    content,
                },
            );
            Recipe::finish(recipe.state(), 0)
        };
        assert_ne!(print("ab", "c"), print("a", "bc"));
    }

    #[test]
    fn white_space_is_no_content() {
        assert_eq!(content("  a =  1\r\n"), content("\ta = 1"));
        assert_eq!(content(" \n"), None);
    }
}
