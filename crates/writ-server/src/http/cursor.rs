//! Where a part of a list ended, as an opaque text in a query string.
//!
//! It only says where to go on: it grants nothing, so it needs no signature, and a text that was
//! made up is refused or shows another part of what the asker may read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// Longest cursor, in characters.
const MAX_CURSOR: usize = 512;

/// The text of a cursor.
#[must_use]
pub fn write<T: Serialize>(cursor: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

/// The cursor of a text.
///
/// # Errors
/// The text did not come from here.
pub fn read<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let refused = || {
        Problem::new(Code::Query, "'after' is not the end of a part of this list")
            .required("the `next` of the previous part, unchanged")
    };
    if text.len() > MAX_CURSOR {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_inventions_do_not() {
        let text = write(&(7_u64, "a".to_owned()));
        assert_eq!(
            read::<(u64, String)>(Some(&text)).unwrap(),
            Some((7, "a".to_owned()))
        );
        assert_eq!(read::<u64>(None).unwrap(), None);
        for bad in ["", "%", "e30", "AAAA", &"A".repeat(600)] {
            assert_eq!(read::<u64>(Some(bad)).unwrap_err().status, 400, "{bad}");
        }
    }
}
