//! `.json`, `.csv` and `.md` behind a page's address: the same data in another form.
//!
//! The ending is taken off before the route is chosen, so that every page has all forms without
//! naming them. A name that itself ends so is written with `%2E` by `paths`.

use axum::http::Uri;
use axum::http::request::Parts;

use super::ask::Form;

/// Address spaces that have no other forms.
const PLAIN: [&str; 6] = [
    "/api/", "/ledger/", "/assets/", "/healthz", "/readyz", "/metrics",
];

/// Whether an address belongs to a page.
#[must_use]
pub fn is_page(path: &str) -> bool {
    !PLAIN.iter().any(|prefix| path.starts_with(prefix))
}

/// Takes the ending off and notes the form that it asks for.
pub fn take(parts: &mut Parts) {
    let path = parts.uri.path();
    if !is_page(path) {
        return;
    }
    for form in [Form::Json, Form::Csv, Form::Markdown] {
        let Some(rest) = path.strip_suffix(form.suffix()) else {
            continue;
        };
        // The overview stands at `/`; its other forms are `/overview.json` and so on.
        let rest = match rest {
            "/overview" | "" | "/" => "/",
            rest => rest,
        };
        let query = parts
            .uri
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        if let Ok(uri) = format!("{rest}{query}").parse::<Uri>() {
            parts.uri = uri;
            parts.extensions.insert(form);
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(uri: &str) -> (String, Option<Form>) {
        let (mut parts, ()) = axum::http::Request::builder()
            .uri(uri)
            .body(())
            .unwrap()
            .into_parts();
        take(&mut parts);
        (
            parts.uri.to_string(),
            parts.extensions.get::<Form>().copied(),
        )
    }

    #[test]
    fn endings_are_taken_from_pages_only() {
        let cases = [
            (
                "/findings.csv?severity=high",
                "/findings?severity=high",
                Some(Form::Csv),
            ),
            ("/overview.json", "/", Some(Form::Json)),
            (
                "/changes/payments-api!487.md",
                "/changes/payments-api!487",
                Some(Form::Markdown),
            ),
            ("/changes/notes%2Emd", "/changes/notes%2Emd", None),
            ("/findings", "/findings", None),
            ("/api/openapi.json", "/api/openapi.json", None),
            ("/findings.xml", "/findings.xml", None),
        ];
        for (uri, rest, form) in cases {
            assert_eq!(taken(uri), (rest.to_owned(), form), "{uri}");
        }
    }
}
