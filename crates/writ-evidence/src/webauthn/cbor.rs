//! As much CBOR as authenticators may write (CTAP2 canonical form): definite lengths, whole numbers,
//! texts, bytes, lists and maps, two words. Nothing is allocated by a length that the input states.

/// Deepest nesting that is followed.
const MAX_DEPTH: u32 = 8;

/// Reads one item after the other from a slice.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Number(i64),
    Text(&'a str),
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// Entries of the map that begins here; the caller reads so many keys and values.
    pub(super) fn map(&mut self) -> Result<u64> {
        match self.head()? {
            (5, length) => Ok(length),
            (kind, _) => Err(self.found(kind, "a map")),
        }
    }

    pub(super) fn key(&mut self) -> Result<Key<'a>> {
        match self.head()? {
            (3, length) => self.utf8(length).map(Key::Text),
            (kind @ (0 | 1), value) => number(kind, value).map(Key::Number),
            (kind, _) => Err(self.found(kind, "a number or a text as a key")),
        }
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        match self.head()? {
            (kind @ (0 | 1), value) => number(kind, value),
            (kind, _) => Err(self.found(kind, "a number")),
        }
    }

    pub(super) fn blob(&mut self) -> Result<&'a [u8]> {
        match self.head()? {
            (2, length) => self.take(length),
            (kind, _) => Err(self.found(kind, "bytes")),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        match self.head()? {
            (3, length) => self.utf8(length),
            (kind, _) => Err(self.found(kind, "a text")),
        }
    }

    /// Passes over whatever begins here.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        match self.head()? {
            (0 | 1, _) => Ok(()),
            (2 | 3, length) => self.take(length).map(|_| ()),
            // Each item has a byte at least: a long list ends with the input.
            (4, length) => (0..length).try_for_each(|_| self.skip_at(depth + 1)),
            (5, length) => (0..length).try_for_each(|_| {
                self.skip_at(depth + 1)
                    .and_then(|()| self.skip_at(depth + 1))
            }),
            (7, 20..=22) => Ok(()),
            (kind, _) => Err(self.found(kind, "what authenticators write")),
        }
    }

    /// Major type and argument. Longer forms than needed are read: nothing is written again.
    fn head(&mut self) -> Result<(u8, u64)> {
        let first = self.take(1)?[0];
        let (kind, short) = (first >> 5, first & 0x1f);
        let length = match short {
            0..=23 => return Ok((kind, u64::from(short))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err(format!("byte {} begins an indefinite length", self.at - 1)),
        };
        let value = self
            .take(length)?
            .iter()
            .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        if kind == 7 {
            return Err(format!(
                "before byte {} stands a fraction or an unknown word",
                self.at
            ));
        }
        Ok((kind, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let taken = self
            .at
            .checked_add(length)
            .and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("it ends early, at byte {}", self.bytes.len()))?;
        self.at += length;
        Ok(taken)
    }

    fn utf8(&mut self, length: u64) -> Result<&'a str> {
        std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8".to_owned())
    }

    fn found(&self, kind: u8, wanted: &str) -> String {
        format!(
            "before byte {} stands an item of the kind {kind}, not {wanted}",
            self.at
        )
    }
}

fn number(kind: u8, value: u64) -> Result<i64> {
    let value = i64::try_from(value).map_err(|_| "a number is too large".to_owned())?;
    Ok(if kind == 0 { value } else { -1 - value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_specification() {
        for (bytes, number) in [
            (&[0x00][..], 0),
            (&[0x17], 23),
            (&[0x18, 0x18], 24),
            (&[0x19, 0x01, 0x00], 256),
            (&[0x26], -7),
            (&[0x39, 0x01, 0x00], -257),
        ] {
            assert_eq!(Reader::new(bytes).number(), Ok(number));
        }
        assert_eq!(Reader::new(&[0x62, b'e', b's']).text(), Ok("es"));
        assert_eq!(Reader::new(&[0x42, 1, 2]).blob(), Ok(&[1, 2][..]));
        let mut reader = Reader::new(&[0xa1, 0x63, b'f', b'm', b't', 0xf5]);
        assert_eq!(reader.map(), Ok(1));
        assert_eq!(reader.key(), Ok(Key::Text("fmt")));
        reader.skip().unwrap();
        assert_eq!(reader.position(), 6);
    }

    #[test]
    fn what_is_not_read() {
        let deep: Vec<u8> = std::iter::repeat_n(0x81, 40).chain([0]).collect();
        for bytes in [
            &[][..],
            // Indefinite lengths, tags, floats.
            &[0x9f, 0x00, 0xff],
            &[0x5f, 0x41, 0x00, 0xff],
            &[0xc0, 0x00],
            &[0xf9, 0x3c, 0x00],
            // Lengths that are not there.
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x7a, 0x00, 0x01, 0x00, 0x00],
            &deep,
        ] {
            assert!(Reader::new(bytes).skip().is_err(), "{bytes:x?}");
        }
        assert!(Reader::new(&[0x61, 0xff]).text().is_err());
        assert!(
            Reader::new(&[0x1b, 0xff, 0, 0, 0, 0, 0, 0, 0])
                .number()
                .is_err()
        );
    }
}
