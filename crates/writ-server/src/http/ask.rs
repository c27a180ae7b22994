//! One request, understood once: who asks, for which form, as of when, and how far the ledger had
//! grown. Everything that a page or an interface shows lies below [`Ask::size`].

use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use writ_model::Timestamp;

use super::problem::{Code, Problem};
use crate::access::Principal;
use crate::paths::Path;
use crate::state::{Head, Shared};

/// The form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// A page for people.
    #[default]
    Html,
    /// JSON.
    Json,
    /// Comma-separated values.
    Csv,
    /// Markdown.
    Markdown,
}

impl Form {
    /// The ending of the address.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Html => "",
            Self::Json => ".json",
            Self::Csv => ".csv",
            Self::Markdown => ".md",
        }
    }

    /// Media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }
}

/// Light or dark, when the person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// The word of the cookie and of the attribute.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "light" => Some(Self::Light),
            "dark" => Some(Self::Dark),
            _ => None,
        }
    }
}

/// Name of the cookie that keeps the theme.
pub const THEME_COOKIE: &str = "writ_theme";

/// The id of a request, as answers and logs name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// When a request came in, for its duration.
#[derive(Debug, Clone, Copy)]
pub struct Began(pub Instant);

/// One request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The server.
    pub app: Shared,
    /// Who asks.
    pub principal: Principal,
    /// Id of the request.
    pub request: RequestId,
    /// Form of the answer.
    pub form: Form,
    /// The past instant that was asked for.
    pub at: Option<Timestamp>,
    /// The store's clock when the request came.
    pub clock: Timestamp,
    /// The instant that ages are counted to: `at`, else the clock.
    pub now: Timestamp,
    /// Everything shown lies below this ledger size.
    pub size: u64,
    /// The newest signed head.
    pub head: Head,
    /// The theme that the person chose.
    pub theme: Option<Theme>,
    /// Address without ending and query.
    pub path: String,
    /// Query string without empty fields.
    pub query: String,
}

impl Ask {
    /// A link that keeps the instant that is looked at.
    #[must_use]
    pub fn href(&self, path: &Path) -> String {
        match self.at {
            Some(at) => path.clone().with("at", at).to_string(),
            None => path.to_string(),
        }
    }

    /// This address with other forms or parameters: `None` takes a parameter away.
    #[must_use]
    pub fn here(&self, form: Form, change: &[(&str, Option<&str>)]) -> String {
        let mut path = Path::raw(match (form, self.path.as_str()) {
            (Form::Html, path) => path.to_owned(),
            (form, "/") => format!("/overview{}", form.suffix()),
            (form, path) => format!("{path}{}", form.suffix()),
        });
        for (name, value) in pairs(&self.query) {
            if !change.iter().any(|(changed, _)| *changed == name) {
                path = path.with(&name, value);
            }
        }
        for (name, value) in change {
            if let Some(value) = value {
                path = path.with(name, value);
            }
        }
        path.to_string()
    }

    /// The value of a parameter of this request.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<String> {
        pairs(&self.query)
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }
}

/// The decoded parameters of a query string.
#[must_use]
pub fn pairs(query: &str) -> Vec<(String, String)> {
    serde_html_form::from_str(query).unwrap_or_default()
}

impl FromRequestParts<Shared> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let form = parts.extensions.get::<Form>().copied().unwrap_or_default();
        let request = parts
            .extensions
            .get::<RequestId>()
            .cloned()
            .unwrap_or_else(|| RequestId(String::new()));
        let given = pairs(parts.uri.query().unwrap_or_default());
        let kept: Vec<(String, String)> = given
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let clock = state.store.now();
        let at = match kept.iter().find(|(name, _)| name == "at") {
            Some((_, text)) => Some(instant(text, clock)?),
            None => None,
        };
        let head = state.head();
        let size = match at {
            Some(at) => state.store.size_at(at).await?.min(head.size),
            None => head.size,
        };
        Ok(Self {
            app: state.clone(),
            principal,
            request,
            form,
            at,
            clock,
            now: at.unwrap_or(clock),
            size,
            head,
            theme: theme(&parts.headers),
            path: parts.uri.path().to_owned(),
            query: serde_html_form::to_string(&kept).unwrap_or_default(),
        })
    }
}

/// A past instant; a day alone means its end.
fn instant(text: &str, clock: Timestamp) -> Result<Timestamp, Problem> {
    let refused = |detail: String| {
        Problem::new(Code::Query, detail)
            .required("an instant such as 2026-09-30T23:59:59Z, or a day such as 2026-09-30")
    };
    let at: Timestamp = text
        .parse()
        .or_else(|_| format!("{text}T23:59:59Z").parse())
        .or_else(|_| format!("{text}:00Z").parse())
        .map_err(|_| refused(format!("'{}' is not a time", super::problem::shown(text))))?;
    // The day that has not ended yet is now.
    if at > clock && text.len() == 10 && clock.to_string().starts_with(text) {
        return Ok(clock);
    }
    if at > clock {
        return Err(
            refused(format!("{at} lies in the future")).why("A page shows what is recorded")
        );
    }
    Ok(at)
}

/// The theme of a request.
#[must_use]
pub fn theme(headers: &HeaderMap) -> Option<Theme> {
    cookie(headers, THEME_COOKIE).and_then(Theme::of)
}

/// The value of a cookie: the first of its name.
#[must_use]
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_as_people_and_programs_write_them() {
        let clock: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let cases = [
            ("2026-09-30T23:59:59Z", Some("2026-09-30T23:59:59Z")),
            ("2026-09-30", Some("2026-09-30T23:59:59Z")),
            ("2026-09-30T14:02", Some("2026-09-30T14:02:00Z")),
            ("2026-11-22", Some("2026-11-22T10:00:00Z")),
            ("2026-11-23", None),
            ("2027-01-01T00:00:00Z", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            let got = instant(text, clock).ok().map(|at| at.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn the_theme_is_one_of_two_words() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=b; writ_theme=dark".parse().unwrap());
        assert_eq!(theme(&headers), Some(Theme::Dark));
        headers.insert(header::COOKIE, "writ_theme=\"><script>".parse().unwrap());
        assert_eq!(theme(&headers), None);
    }
}
