//! Types that accept what real reports contain: numbers as strings, `null` for empty, one object for a list.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Text borrowed from the report where it has no escapes. Numbers and words become text, `null`,
/// lists and objects become empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// `None` when empty.
    pub fn some(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.to_string())
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(if value { "true" } else { "false" })))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A count or line number: a JSON number or a number in a string; absent, negative or unreadable is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Int(pub Option<u64>);

impl Int {
    /// As a line or column: `None` when absent, zero or beyond 32 bits.
    pub fn line(self) -> Option<u32> {
        self.0
            .and_then(|number| u32::try_from(number).ok())
            .filter(|line| *line > 0)
    }

    /// The number, or zero.
    pub fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let whole = text.trim().split('.').next().unwrap_or_default();
        Ok(Self(whole.parse().ok()))
    }
}

/// A list; `null` is empty, and a single value stands for a list of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items<T>(pub Vec<T>);

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Items<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

struct ItemsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsVisitor<T> {
    type Value = Items<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Items<T>, E> {
        Ok(Items::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Items<T>, A::Error> {
        let item = T::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Items(vec![item]))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Items<T>, E> {
        let item = T::deserialize(de::value::BorrowedStrDeserializer::new(text))?;
        Ok(Items(vec![item]))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Items<T>, E> {
        let item = T::deserialize(de::value::StrDeserializer::new(text))?;
        Ok(Items(vec![item]))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemsVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_shapes_are_read() {
        #[derive(Deserialize)]
        struct Row<'a> {
            #[serde(borrow, default)]
            text: Text<'a>,
            #[serde(default)]
            number: Int,
            #[serde(borrow, default)]
            list: Items<Text<'a>>,
        }
        let row: Row<'_> =
            serde_json::from_str(r#"{"text":7.5,"number":"12","list":"one"}"#).unwrap();
        assert_eq!(
            (&*row.text, row.number.0, row.list.len()),
            ("7.5", Some(12), 1)
        );
        let row: Row<'_> =
            serde_json::from_str(r#"{"text":null,"number":-1,"list":null}"#).unwrap();
        assert_eq!((&*row.text, row.number.0, row.list.len()), ("", None, 0));
        let row: Row<'_> = serde_json::from_str(r#"{"text":"plain"}"#).unwrap();
        assert!(matches!(row.text.0, Cow::Borrowed("plain")));
    }
}
