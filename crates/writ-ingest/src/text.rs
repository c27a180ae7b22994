//! Small text helpers: everything shown to people is cut to a length and cleaned first.

/// One line of at most `limit` characters: white space runs become one blank, control characters go.
pub fn one_line(text: &str, limit: usize) -> String {
    // Most titles are short and clean already: copy them at once.
    let text = text.trim();
    if text.len() <= limit && !text.bytes().any(|b| b < b' ' || b == 0x7f) && !text.contains("  ") {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len().min(limit * 4));
    let mut characters = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if characters > 0 {
            line.push(' ');
            characters += 1;
        }
        for character in word.chars() {
            if characters >= limit {
                line.push('…');
                return line;
            }
            line.push(character);
            characters += 1;
        }
    }
    line
}

/// At most `limit` characters, line breaks kept, other control characters dropped.
pub fn block(text: &str, limit: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let clean = |c: &char| !c.is_control() || *c == '\n' || *c == '\t';
    if text.len() <= limit && text.chars().all(|c| clean(&c)) {
        return Some(text.to_owned());
    }
    let mut kept: String = text.chars().filter(clean).take(limit).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    Some(kept)
}

/// The normalised path of a report: forward slashes, no `./`, no `file://`, no repeated slash.
pub fn path(path: &str) -> String {
    let path = path.trim();
    let path = path.strip_prefix("file://").unwrap_or(path);
    let mut kept = String::with_capacity(path.len());
    if path.starts_with(['/', '\\']) {
        kept.push('/');
    }
    for part in path.split(['/', '\\']) {
        if part.is_empty() || part == "." {
            continue;
        }
        if !kept.is_empty() && !kept.ends_with('/') {
            kept.push('/');
        }
        kept.extend(part.chars().filter(|c| !c.is_control()));
    }
    kept
}

/// Text of HTML: tags dropped, the five entities resolved. Good enough for alert descriptions.
pub fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(character),
            _ => {}
        }
    }
    for (entity, plain) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        if text.contains(entity) {
            text = text.replace(entity, plain);
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An absolute URL without user information, query values and fragment.
pub fn url(url: &str) -> String {
    let url = url.trim().split('#').next().unwrap_or_default();
    let (address, query) = url
        .split_once('?')
        .map_or((url, None), |(a, q)| (a, Some(q)));
    let mut clean = match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{path}")
        }
        None => address.to_owned(),
    };
    if let Some(query) = query {
        let names: Vec<&str> = query
            .split('&')
            .map(|pair| pair.split('=').next().unwrap_or_default())
            .collect();
        clean.push('?');
        clean.push_str(&names.join("&"));
    }
    one_line(&clean, 2_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_blocks_are_cut_at_characters() {
        assert_eq!(one_line("  a\n\tb\u{1b}[31m c ", 80), "a b [31m c");
        assert_eq!(one_line("äöü", 2), "äö…");
        assert_eq!(block("  ", 5), None);
        assert_eq!(block("äöüß", 3).unwrap(), "äöü…");
    }

    #[test]
    fn paths_are_one_spelling() {
        for spelling in ["./src//a.rs", "src\\a.rs", "src/./a.rs"] {
            assert_eq!(path(spelling), "src/a.rs");
        }
        assert_eq!(path("file:///work/a.rs"), "/work/a.rs");
    }

    #[test]
    fn urls_lose_credentials_and_values() {
        assert_eq!(
            url("https://me:pw@host:8443/a?token=s3cret&b=1#x"),
            "https://host:8443/a?token&b"
        );
    }
}
