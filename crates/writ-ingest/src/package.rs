//! Package URLs and ecosystems: one spelling for the same package from every scanner.

/// Ecosystem (as in package URLs) and normalised name of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageKey {
    /// `pypi`, `npm`, `cargo`, `golang`, `maven`, `deb`, …
    pub ecosystem: String,
    /// Name with namespace: `@scope/name`, `group:artifact`, `github.com/x/y`.
    pub name: String,
}

impl PackageKey {
    /// From a package URL if it is one, else from the tool's word for the ecosystem and the name.
    pub fn new(purl: &str, ecosystem: &str, name: &str) -> Self {
        if let Some(key) = Self::from_purl(purl) {
            return key;
        }
        let ecosystem = ecosystem_of(ecosystem);
        Self {
            name: normal_name(&ecosystem, name),
            ecosystem,
        }
    }

    /// From a package URL: `pkg:type/namespace/name@version?qualifiers#subpath`.
    pub fn from_purl(purl: &str) -> Option<Self> {
        let rest = purl.strip_prefix("pkg:")?.trim_start_matches('/');
        let rest = rest.split(['?', '#']).next()?;
        let (ecosystem, rest) = rest.split_once('/')?;
        // The version begins at the last `@`; a scope's `@` is the first byte of its segment.
        let path = match rest.rfind('@') {
            Some(at) if at > 0 && rest.as_bytes()[at - 1] != b'/' => &rest[..at],
            _ => rest,
        };
        let ecosystem = ecosystem.to_ascii_lowercase();
        let path = percent_decode(path.trim_matches('/'));
        if path.is_empty() {
            return None;
        }
        let name = match ecosystem.as_str() {
            // A distribution's name is a namespace that the ecosystem already implies.
            "deb" | "rpm" | "apk" | "alpm" => path.rsplit('/').next().unwrap_or(&path).to_owned(),
            "maven" => path.replacen('/', ":", 1),
            _ => path,
        };
        Some(Self {
            name: normal_name(&ecosystem, &name),
            ecosystem,
        })
    }

    /// A package URL for reports that give none.
    pub fn to_purl(&self, version: &str) -> Option<String> {
        let known = [
            "pypi", "npm", "cargo", "golang", "maven", "gem", "nuget", "composer",
        ];
        if !known.contains(&&*self.ecosystem) || self.name.is_empty() {
            return None;
        }
        let name = self.name.replacen(':', "/", 1).replace('@', "%40");
        let version = if version.is_empty() {
            String::new()
        } else {
            format!("@{version}")
        };
        Some(format!("pkg:{}/{name}{version}", self.ecosystem))
    }
}

/// The package URL type for a scanner's word.
pub fn ecosystem_of(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase();
    let word = word.split(':').next().unwrap_or_default();
    match word {
        "pip" | "pipenv" | "poetry" | "uv" | "python" | "python-pkg" | "pypi" | "pylock"
        | "conda-pkg" => "pypi",
        "npm" | "yarn" | "pnpm" | "bun" | "node-pkg" | "nodejs" | "javascript" => "npm",
        "cargo" | "rustbinary" | "rust" | "rust-crate" | "crates.io" => "cargo",
        "gomod" | "gobinary" | "go" | "go-module" | "golang" => "golang",
        "jar" | "pom" | "gradle" | "gradle-lockfile" | "sbt" | "sbt-lockfile" | "java"
        | "java-archive" | "maven" => "maven",
        "bundler" | "gemspec" | "rubygems" | "ruby" | "gem" => "gem",
        "composer" | "composer-vendor" | "packagist" | "php-composer" => "composer",
        "nuget" | "dotnet-core" | "packages-props" | "packages-config" | "dotnet" => "nuget",
        "debian" | "ubuntu" | "deb" => "deb",
        "alpine" | "wolfi" | "chainguard" | "apk" => "apk",
        "redhat" | "centos" | "rocky" | "alma" | "fedora" | "amazon" | "oracle" | "photon"
        | "suse" | "opensuse" | "cbl-mariner" | "azurelinux" | "rpm" => "rpm",
        other => other,
    }
    .to_owned()
}

fn normal_name(ecosystem: &str, name: &str) -> String {
    let name = name.trim();
    match ecosystem {
        "pypi" => {
            // PEP 503: runs of `-`, `_`, `.` are one dash.
            let mut normal = String::with_capacity(name.len());
            for character in name.chars() {
                if matches!(character, '-' | '_' | '.') {
                    if !normal.ends_with('-') {
                        normal.push('-');
                    }
                } else {
                    normal.push(character.to_ascii_lowercase());
                }
            }
            normal
        }
        "npm" | "golang" | "nuget" | "composer" | "deb" => name.to_ascii_lowercase(),
        _ => name.to_owned(),
    }
}

/// Resolves `%41`; anything malformed stays.
pub fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3);
        let value = (bytes[at] == b'%')
            .then(|| digits.and_then(|d| std::str::from_utf8(d).ok()))
            .flatten()
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        match value {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_package_are_one() {
        let same = [
            [
                PackageKey::new("pkg:pypi/Flask_Login@1.0", "", ""),
                PackageKey::new("", "pip", "flask-login"),
            ],
            [
                PackageKey::new("pkg:npm/%40babel/core@7.0.0", "", ""),
                PackageKey::new("", "yarn", "@babel/core"),
            ],
            [
                PackageKey::new("pkg:npm/@babel/core@7.0.0", "", ""),
                PackageKey::new("", "npm", "@babel/core"),
            ],
            [
                PackageKey::new("pkg:maven/org.x/y@1?type=jar", "", ""),
                PackageKey::new("", "Maven", "org.x:y"),
            ],
            [
                PackageKey::new("pkg:deb/debian/libssl3@3.0?arch=amd64", "", ""),
                PackageKey::new("", "Debian:12", "libssl3"),
            ],
            [
                PackageKey::new("pkg:golang/github.com/X/y@v1", "", ""),
                PackageKey::new("", "gomod", "github.com/x/y"),
            ],
        ];
        for [left, right] in same {
            assert_eq!(left, right);
        }
        assert_eq!(PackageKey::from_purl("pkg:"), None);
        assert_eq!(
            PackageKey::new("", "npm", "@babel/core")
                .to_purl("7.0.0")
                .unwrap(),
            "pkg:npm/%40babel/core@7.0.0"
        );
    }
}
