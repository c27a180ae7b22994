//! Small text helpers: everything shown to people is cut to a length and cleaned first.

/// One line of at most `limit` characters: white space runs become one blank, control characters go.
pub fn one_line(text: &str, limit: usize) -> String {
    let text = text.trim_ascii();
    if text.len() <= limit && is_clean_line(text.as_bytes()) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len().min(limit + 8));
    let mut left = limit;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() && left > 0 {
            line.push(' ');
            left -= 1;
        }
        if word.len() <= left {
            line.push_str(word);
            left -= if word.is_ascii() {
                word.len()
            } else {
                word.chars().count()
            };
            continue;
        }
        match word.char_indices().nth(left) {
            Some((end, _)) => {
                line.push_str(&word[..end]);
                line.push('…');
                return line;
            }
            None => {
                line.push_str(word);
                left -= word.chars().count();
            }
        }
    }
    line
}

/// True for ASCII without control characters and without two blanks in a row.
fn is_clean_line(bytes: &[u8]) -> bool {
    // Folds without an early exit: the compiler turns them into vector instructions.
    let unclean = bytes
        .iter()
        .fold(false, |any, &byte| any | !(b' '..0x7f).contains(&byte));
    let doubled = bytes
        .iter()
        .zip(bytes.get(1..).unwrap_or_default())
        .fold(false, |any, (&left, &right)| {
            any | ((left == b' ') & (right == b' '))
        });
    !unclean && !doubled
}

/// At most `limit` characters, line breaks kept, other control characters dropped.
pub fn block(text: &str, limit: usize) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    // Most text is plain ASCII, of which a byte is a character.
    let plain = |bytes: &[u8]| {
        !bytes.iter().fold(false, |any, &b| {
            any | (!(b' '..0x7f).contains(&b) & (b != b'\n') & (b != b'\t'))
        })
    };
    let head = &text.as_bytes()[..text.len().min(limit)];
    if plain(head) {
        let mut kept = text[..head.len()].to_owned();
        if head.len() < text.len() {
            kept.push('…');
        }
        return Some(kept);
    }
    let clean = |c: &char| !c.is_control() || *c == '\n' || *c == '\t';
    let mut characters = text.chars().filter(clean);
    let mut kept: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() {
        kept.push('…');
    }
    Some(kept)
}

/// The normalised path of a report: forward slashes, no `./`, no `file://`, no repeated slash.
pub fn path(path: &str) -> String {
    let path = path.trim();
    let path = path.strip_prefix("file://").unwrap_or(path);
    if is_normal_path(path.as_bytes()) {
        return path.to_owned();
    }
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

/// True for a path that needs no change: ASCII, no empty or `.` segment, no backslash.
fn is_normal_path(bytes: &[u8]) -> bool {
    let mut last = b'x';
    let inside = bytes.iter().all(|&byte| {
        let plain = (b' '..0x7f).contains(&byte) && byte != b'\\';
        // A dot segment begins after a slash; names such as `.env` take the longer way.
        let clean = plain && !(last == b'/' && matches!(byte, b'/' | b'.'));
        last = byte;
        clean
    });
    inside && bytes.first() != Some(&b'.') && last != b'/'
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
