//! Where a page ended, as a text that programs hand back and do not look into.
//!
//! `w1.LIST.HEX`: the version of this form, the list it belongs to, and the sort key of the last row
//! as JSON in hexadecimal. It is no secret and grants nothing: whatever a caller writes into it is
//! read as a sort key of the right shape, or refused.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{RegistryError, Result};

const VERSION: &str = "w1";

/// Longest cursor, in bytes.
const MAX_BYTES: usize = 1_024;

/// The cursor after the row with this sort key in this list. `list` is a word of the list's own:
/// `runs`, `findings`, ….
#[must_use]
pub fn encode<T: Serialize>(list: &str, key: &T) -> String {
    // Numbers and texts in memory: this cannot fail.
    let key = serde_json::to_vec(key).unwrap_or_default();
    format!("{VERSION}.{list}.{}", hex::encode(key))
}

/// The sort key in a cursor of this list.
///
/// # Errors
/// It is of another version or list, or none at all.
pub fn decode<T: DeserializeOwned>(list: &str, cursor: &str) -> Result<T> {
    let wrong = |problem: String| RegistryError::Cursor { problem };
    let parts: Vec<&str> = cursor.splitn(4, '.').collect();
    match parts[..] {
        _ if cursor.len() > MAX_BYTES => Err(wrong(format!("it is longer than {MAX_BYTES} bytes"))),
        [VERSION, of, key] if of == list => hex::decode(key)
            .ok()
            .and_then(|key| serde_json::from_slice(&key).ok())
            .ok_or_else(|| wrong("it was changed or cut off".to_owned())),
        [VERSION, of, _] if of.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') => Err(wrong(
            format!("it is one of the list of {of}, not of {list}"),
        )),
        [version, _, _] if version.starts_with('w') && version.len() <= 4 => Err(wrong(format!(
            "it is of the form {}, and this Writ reads {VERSION}",
            version.escape_default()
        ))),
        _ => Err(wrong("it is not one that Writ gave".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_in_its_own_list() {
        let cursor = encode("runs", &7_u64);
        assert_eq!(cursor, "w1.runs.37");
        assert_eq!(decode::<u64>("runs", &cursor).unwrap(), 7);
        let pair = encode("changes", &("payments", 7));
        let read: (String, u64) = decode("changes", &pair).unwrap();
        assert_eq!(read, ("payments".to_owned(), 7));
        for (cursor, part) in [
            ("w1.decisions.37", "list of decisions, not of runs"),
            ("w2.runs.37", "form w2"),
            ("w1.runs.3", "changed or cut off"),
            ("w1.runs.2d31", "changed or cut off"),
            ("w1.runs.37.37", "not one that Writ gave"),
            ("7", "not one that Writ gave"),
            ("", "not one that Writ gave"),
        ] {
            let error = decode::<u64>("runs", cursor).unwrap_err().to_string();
            assert!(error.contains(part), "{cursor}: {error}");
        }
        let long = format!("w1.runs.{}", "37".repeat(600));
        assert!(decode::<u64>("runs", &long).is_err());
    }
}
