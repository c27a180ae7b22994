//! Finds the end of one JSON value without building anything. Resumable at any byte, so a value
//! may be spread over many reads.

/// Why a value cannot be passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// Nested deeper than allowed.
    Depth,
    /// A string longer than allowed.
    LongString,
    /// A bracket that closes another kind, or none.
    Bracket,
    /// A byte that begins no value.
    Unexpected,
}

/// State between two windows.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    /// Kinds of the open brackets, lowest bit innermost: 1 object, 0 array.
    kinds: u128,
    depth: u32,
    max_depth: u32,
    in_string: bool,
    escaped: bool,
    /// Bytes of the current string in earlier windows.
    string_bytes: usize,
    max_string: usize,
    started: bool,
}

/// What a byte means outside strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Quote,
    Open,
    Close,
    Illegal,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Illegal; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = Class::Plain;
        byte += 1;
    }
    table[b'\t' as usize] = Class::Plain;
    table[b'\n' as usize] = Class::Plain;
    table[b'\r' as usize] = Class::Plain;
    table[b'"' as usize] = Class::Quote;
    table[b'{' as usize] = Class::Open;
    table[b'[' as usize] = Class::Open;
    table[b'}' as usize] = Class::Close;
    table[b']' as usize] = Class::Close;
    table
};

impl Scan {
    /// A scan of one value. `outer` brackets are already open around it.
    pub const fn new(outer: u32, max_depth: u32, max_string: usize) -> Self {
        let max_depth = if max_depth > 128 { 128 } else { max_depth };
        Self {
            kinds: 0,
            depth: 0,
            max_depth: max_depth.saturating_sub(outer),
            in_string: false,
            escaped: false,
            string_bytes: 0,
            max_string,
            started: false,
        }
    }

    /// Scans on from `bytes[at..]`. `Some(end)`: the value ends before `bytes[end]`. `None`: all is
    /// scanned and the value goes on. White space before the value must be gone.
    pub fn run(&mut self, bytes: &[u8], mut at: usize) -> Result<Option<usize>, ScanError> {
        if !self.started {
            let Some(&first) = bytes.get(at) else {
                return Ok(None);
            };
            self.started = true;
            if !matches!(CLASS[usize::from(first)], Class::Quote | Class::Open) {
                return self.scalar(bytes, at);
            }
        } else if self.depth == 0 && !self.in_string {
            return self.scalar(bytes, at);
        }
        loop {
            if self.in_string {
                match self.string(bytes, at)? {
                    Some(end) => at = end,
                    None => return Ok(None),
                }
                if self.depth == 0 {
                    return Ok(Some(at));
                }
            }
            loop {
                let Some(&byte) = bytes.get(at) else {
                    return Ok(None);
                };
                at += 1;
                match CLASS[usize::from(byte)] {
                    Class::Plain => {}
                    Class::Quote => {
                        self.in_string = true;
                        self.string_bytes = 0;
                        break;
                    }
                    Class::Open => {
                        if self.depth >= self.max_depth {
                            return Err(ScanError::Depth);
                        }
                        self.depth += 1;
                        self.kinds = (self.kinds << 1) | u128::from(byte == b'{');
                    }
                    Class::Close => {
                        if self.kinds & 1 != u128::from(byte == b'}') {
                            return Err(ScanError::Bracket);
                        }
                        self.kinds >>= 1;
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Ok(Some(at));
                        }
                    }
                    Class::Illegal => return Err(ScanError::Unexpected),
                }
            }
        }
    }

    /// Goes to the end of the open string.
    #[inline]
    fn string(&mut self, bytes: &[u8], mut at: usize) -> Result<Option<usize>, ScanError> {
        let start = at;
        loop {
            if self.escaped {
                if at >= bytes.len() {
                    break;
                }
                self.escaped = false;
                at += 1;
            }
            // Most strings are short: eight bytes at a time without a call, then the vector search.
            let found = match short(bytes, at) {
                Ok(found) => Some(found),
                Err(from) => memchr::memchr2(b'"', b'\\', &bytes[from..]).map(|found| from + found),
            };
            let Some(found) = found else {
                break;
            };
            at = found + 1;
            if bytes[found] == b'"' {
                if self.string_bytes + (found - start) > self.max_string {
                    return Err(ScanError::LongString);
                }
                self.in_string = false;
                return Ok(Some(at));
            }
            self.escaped = true;
        }
        self.string_bytes += bytes.len() - start;
        if self.string_bytes > self.max_string {
            return Err(ScanError::LongString);
        }
        Ok(None)
    }

    /// A number, `true`, `false` or `null`: ends before the next delimiter.
    fn scalar(&mut self, bytes: &[u8], at: usize) -> Result<Option<usize>, ScanError> {
        for (index, &byte) in bytes.iter().enumerate().skip(at) {
            match byte {
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' => {
                    return if index == 0 {
                        Err(ScanError::Unexpected)
                    } else {
                        Ok(Some(index))
                    };
                }
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.' => {}
                _ => return Err(ScanError::Unexpected),
            }
        }
        if bytes.len() > 4_096 {
            return Err(ScanError::LongString);
        }
        Ok(None)
    }
}

/// Looks for a quote or backslash in the next 24 bytes; `Err` says from where to search on.
#[inline]
fn short(bytes: &[u8], at: usize) -> Result<usize, usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut from = at;
    for _ in 0..3 {
        let Some(chunk) = bytes.get(from..from + 8) else {
            return Err(from.min(bytes.len()));
        };
        let mut eight = [0_u8; 8];
        eight.copy_from_slice(chunk);
        let word = u64::from_le_bytes(eight);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        // A zero byte becomes 0x80; false positives only lie above a true one, and the lowest counts.
        let hit =
            ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash)) & HIGHS;
        if hit != 0 {
            return Ok(from + (hit.trailing_zeros() / 8) as usize);
        }
        from += 8;
    }
    Err(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(text: &str) -> Result<Option<usize>, ScanError> {
        Scan::new(0, 128, 1_000).run(text.as_bytes(), 0)
    }

    #[test]
    fn values_end_where_json_says() {
        for (value, rest) in [
            (r#"{"a":"}\"]","b":[1,{"c":"\\"}]}"#, ",x"),
            (r#""a\\""#, "]"),
            ("-12.5e3", ","),
            ("null", "}"),
            ("[]", ""),
        ] {
            assert_eq!(
                end(&format!("{value}{rest}")),
                Ok(Some(value.len())),
                "{value}"
            );
        }
        assert_eq!(end(r#"{"a":[1"#), Ok(None));
        assert_eq!(end("[}"), Err(ScanError::Bracket));
        assert_eq!(end(&"[".repeat(129)), Err(ScanError::Depth));
        assert_eq!(
            end(&format!("\"{}\"", "x".repeat(1_001))),
            Err(ScanError::LongString)
        );
        assert_eq!(end("[\0]"), Err(ScanError::Unexpected));
    }

    proptest! {
        /// Cutting the input anywhere never changes where the value ends.
        #[test]
        fn windows_do_not_matter(text in r#"[a-z"\\\[{]{0,60}"#, cut in 0_usize..200) {
            let value = serde_json::json!({"k": [text, {"n": 1}], "é": "\"\\"}).to_string();
            let whole = format!("{value},");
            let cut = cut % value.len();
            let mut scan = Scan::new(0, 128, 1_000);
            let bytes = whole.as_bytes();
            let first = scan.run(&bytes[..cut], 0);
            prop_assert_eq!(first, Ok(None));
            prop_assert_eq!(scan.run(bytes, cut), Ok(Some(value.len())));
        }
    }
}
