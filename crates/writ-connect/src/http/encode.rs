//! Texts as parts of addresses and forms.

use reqwest::Url;

/// A text as one part of a path, or as a value of a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    // The values of a query encode what a part may not hold, a slash among it; only dots are left, and a part
    // that is nothing but dots would climb, encoded or not. There is no such branch or project.
    let Ok(mut url) = Url::parse("http://host/") else {
        return String::new();
    };
    url.query_pairs_mut().append_pair("", text);
    let value = url.query().unwrap_or("=")[1..].replace('+', "%20");
    match value.as_str() {
        "." | ".." => "_".to_owned(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_part() {
        for (text, expected) in [
            ("main", "main"),
            ("acme/pay ments", "acme%2Fpay%20ments"),
            ("a?b=c&d#e", "a%3Fb%3Dc%26d%23e"),
            ("a+b", "a%2Bb"),
        ] {
            assert_eq!(encoded(text), expected);
        }
        assert!(!encoded("..").contains(".."));
    }
}
