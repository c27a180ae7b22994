//! Addresses of pages, made in one place so that every link is spelled and escaped the same way.

use std::fmt;

use writ_model::{Digest, EvidenceId};

/// An address on this server: path, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    path: String,
    query: String,
    fragment: Option<String>,
}

impl Path {
    /// A path that is escaped already.
    #[must_use]
    pub fn raw(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            query: String::new(),
            fragment: None,
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        self.query.push(separator);
        self.query.push_str(&format!(
            "{}={}",
            escape(name, ""),
            escape(&value.to_string(), ":/!@,")
        ));
        self
    }

    /// With a parameter where there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a place inside the page.
    #[must_use]
    pub fn at_place(mut self, id: &str) -> Self {
        self.fragment = Some(escape(id, ""));
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(&self.query)?;
        match &self.fragment {
            Some(fragment) => write!(f, "#{fragment}"),
            None => Ok(()),
        }
    }
}

/// Percent-encodes everything but letters, digits, `-._~` and the signs in `also`.
fn escape(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || also.as_bytes().contains(&byte)
        {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A name as one segment. A dot is escaped where the segment would look like another form of a page
/// or like a step up.
fn segment(name: &str) -> String {
    let text = escape(name, "!@:");
    let looks_special = [".json", ".csv", ".md"]
        .iter()
        .any(|end| text.ends_with(end))
        || text.chars().all(|sign| sign == '.');
    if looks_special {
        text.replace('.', "%2E")
    } else {
        text
    }
}

/// `/`
#[must_use]
pub fn overview() -> Path {
    Path::raw("/")
}

/// `/changes`
#[must_use]
pub fn changes() -> Path {
    Path::raw("/changes")
}

/// `/changes/payments-api!487`, or `/changes/payments-api@4f2a9c1e…` where the change has no number.
#[must_use]
pub fn change(service: &str, name: &str) -> Path {
    let numbered = name.strip_prefix('!').is_some_and(is_number);
    let between = if numbered { "" } else { "@" };
    Path::raw(format!(
        "/changes/{}",
        segment(&format!("{service}{between}{name}"))
    ))
}

/// Service and name of a change's address.
#[must_use]
pub fn read_change(text: &str) -> Option<(String, String)> {
    let pair = match text.rsplit_once('!') {
        Some((service, number)) if is_number(number) && !service.ends_with('@') => {
            (service.to_owned(), format!("!{number}"))
        }
        _ => {
            let (service, name) = text.split_once('@')?;
            (service.to_owned(), name.to_owned())
        }
    };
    (!pair.0.is_empty() && !pair.1.is_empty()).then_some(pair)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `/runs`
#[must_use]
pub fn runs() -> Path {
    Path::raw("/runs")
}

/// `/runs/ev_…`
#[must_use]
pub fn run(id: &EvidenceId) -> Path {
    Path::raw(format!("/runs/{id}"))
}

/// `/findings`
#[must_use]
pub fn findings() -> Path {
    Path::raw("/findings")
}

/// `/findings/9f8e7d…`
#[must_use]
pub fn finding(fingerprint: &Digest) -> Path {
    Path::raw(format!("/findings/{}", fingerprint.to_hex()))
}

/// `/inbox`
#[must_use]
pub fn inbox() -> Path {
    Path::raw("/inbox")
}

/// `/releases`
#[must_use]
pub fn releases() -> Path {
    Path::raw("/releases")
}

/// `/releases/R-2026-0931`
#[must_use]
pub fn release(name: &str) -> Path {
    Path::raw(format!("/releases/{}", segment(name)))
}

/// `/break-glass`
#[must_use]
pub fn emergencies() -> Path {
    Path::raw("/break-glass")
}

/// `/break-glass/BG-7`
#[must_use]
pub fn emergency(name: &str) -> Path {
    Path::raw(format!("/break-glass/{}", segment(name)))
}

/// `/break-glass/new`
#[must_use]
pub fn break_glass() -> Path {
    Path::raw("/break-glass/new")
}

/// `/exemptions/new`
#[must_use]
pub fn ask_exemption() -> Path {
    Path::raw("/exemptions/new")
}

/// `/exemptions`
#[must_use]
pub fn exemptions() -> Path {
    Path::raw("/exemptions")
}

/// `/exemptions/EX-118`
#[must_use]
pub fn exemption(number: &str) -> Path {
    Path::raw(format!("/exemptions/{}", segment(number)))
}

/// `/controls`
#[must_use]
pub fn controls() -> Path {
    Path::raw("/controls")
}

/// `/controls/VUL-02`
#[must_use]
pub fn control(id: &str) -> Path {
    Path::raw(format!("/controls/{}", segment(id)))
}

/// `/evidence`
#[must_use]
pub fn evidence_list() -> Path {
    Path::raw("/evidence")
}

/// `/e/ev_…`
#[must_use]
pub fn evidence(id: &EvidenceId) -> Path {
    Path::raw(format!("/e/{id}"))
}

/// `/d/dec_…`
#[must_use]
pub fn decision(id: &EvidenceId) -> Path {
    Path::raw(format!("/d/dec_{}", id.digest().to_hex()))
}

/// `/environments`
#[must_use]
pub fn environments() -> Path {
    Path::raw("/environments")
}

/// `/environments/production`
#[must_use]
pub fn environment(name: &str) -> Path {
    Path::raw(format!("/environments/{}", segment(name)))
}

/// `/admin/keys`
#[must_use]
pub fn keys() -> Path {
    Path::raw("/admin/keys")
}

/// `/admin/integrations`
#[must_use]
pub fn integrations() -> Path {
    Path::raw("/admin/integrations")
}

/// `/admin/health`
#[must_use]
pub fn health() -> Path {
    Path::raw("/admin/health")
}

/// `/search`
#[must_use]
pub fn search() -> Path {
    Path::raw("/search")
}

/// Where to sign in, and come back from.
#[must_use]
pub fn sign_in(next: &str) -> Path {
    match local(next) {
        "/" => Path::raw("/sign-in"),
        next => Path::raw("/sign-in").with("next", next),
    }
}

/// Where a sign-in at a provider begins.
#[must_use]
pub fn sign_in_with(provider: &str, next: &str) -> Path {
    let path = Path::raw(format!("/sign-in/with/{}", segment(provider)));
    match local(next) {
        "/" => path,
        next => path.with("next", next),
    }
}

/// Where a provider sends people back to.
#[must_use]
pub fn sign_in_back(provider: &str) -> Path {
    Path::raw(format!("/sign-in/with/{}/back", segment(provider)))
}

/// Where a person answers a program that asks for a token, with its code where it is known.
#[must_use]
pub fn device(code: &str) -> Path {
    let path = Path::raw("/device");
    match code {
        "" => path,
        code => path.with("code", code),
    }
}

/// One's own settings.
#[must_use]
pub fn settings() -> Path {
    Path::raw("/settings")
}

/// Accounts and roles.
#[must_use]
pub fn people() -> Path {
    Path::raw("/admin/people")
}

/// Who read what.
#[must_use]
pub fn reads() -> Path {
    Path::raw("/admin/reads")
}

/// An address of this server, whatever was asked for.
#[must_use]
pub fn local(next: &str) -> &str {
    let inside = next.starts_with('/')
        && !next.starts_with("//")
        && !next.starts_with("/sign-in")
        && next.len() <= 2_000
        && next
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if inside { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let id = EvidenceId::from_digest(Digest::from_bytes([0xab; 32]));
        let all = [
            overview(),
            changes(),
            change("org/payments-api", "!487"),
            change("payments-api", "4f2a9c1e"),
            change("payments-api", "#12"),
            change("notes.md", "!1"),
            change("a", "b.json"),
            runs(),
            run(&id),
            findings().with("severity", "high").with("q", "a&b=c d"),
            finding(&id.digest()),
            exemptions(),
            exemption("EX-118"),
            controls().with("framework", "soc2"),
            control("../x"),
            evidence_list().with_some("service", None::<&str>),
            evidence(&id),
            decision(&id).at_place("VUL-02"),
            environments(),
            environment(".."),
            environment("<script>"),
            health(),
            keys(),
            search(),
        ];
        let text: Vec<String> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn a_change_is_found_by_its_address() {
        for (service, name) in [("payments-api", "!487"), ("a", "4f2a"), ("a", "#12")] {
            let path = change(service, name).to_string();
            let last = path.rsplit('/').next().unwrap();
            let decoded = last.replace("%23", "#");
            assert_eq!(
                read_change(&decoded),
                Some((service.to_owned(), name.to_owned())),
                "{path}"
            );
        }
        for bad in ["", "payments", "@", "!7", "a@"] {
            assert_eq!(read_change(bad), None, "{bad}");
        }
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(local("/findings?severity=high"), "/findings?severity=high");
        for away in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "/\t/evil.example",
            "evil",
            "/sign-in?next=/sign-in",
        ] {
            assert_eq!(local(away), "/", "{away}");
        }
    }
}
