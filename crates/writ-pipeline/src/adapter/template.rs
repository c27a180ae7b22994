//! Placeholders of an adapter's argv. The result is an argv: nothing passes through a shell.

use std::collections::BTreeMap;

/// Values for placeholders.
#[derive(Debug, Clone, Default)]
pub struct Values {
    values: BTreeMap<String, Vec<String>>,
}

/// Why an argv cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A placeholder has no value.
    #[error("{{{0}}} has no value; set with = {{ {0} = … }} in the stage")]
    Missing(String),
    /// A list stands where one value is needed.
    #[error("{{{0}}} must be one value, and is a list")]
    List(String),
    /// A `{name...}` without a rule how to repeat it.
    #[error("{{{0}...}} has no `repeat` in the adapter")]
    Repeat(String),
}

impl Values {
    /// Sets one value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), vec![value.into()]);
    }

    /// Sets a parameter from a TOML value; placeholders inside are filled with what is set already.
    ///
    /// # Errors
    /// When the value is a table or a list of lists, or a placeholder in it has no value.
    pub fn set_parameter(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let plain = |value: &toml::Value| {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                toml::Value::Float(number) => number.to_string(),
                _ => {
                    return Err(format!(
                        "`{key}` must be a text, a number or a list of them"
                    ));
                }
            };
            self.fill(&text).map_err(|error| error.to_string())
        };
        let list = match value {
            toml::Value::Array(items) => items.iter().map(plain).collect::<Result<_, _>>()?,
            one => vec![plain(one)?],
        };
        self.values.insert(key.to_owned(), list);
        Ok(())
    }

    /// The values of a placeholder; empty when it has none.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Fills a text in which every placeholder has one value.
    ///
    /// # Errors
    /// When a placeholder has no value or several.
    pub fn fill(&self, text: &str) -> Result<String, ExpandError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_placeholder(rest) {
            out.push_str(before);
            match self.values.get(name).map(Vec::as_slice) {
                Some([value]) => out.push_str(value),
                Some(_) => return Err(ExpandError::List(name.to_owned())),
                None => return Err(ExpandError::Missing(name.to_owned())),
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Fills a text that may be one placeholder of a list: then it becomes as many as the list has.
    ///
    /// # Errors
    /// When a placeholder has no value.
    pub fn fill_each(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        match next_placeholder(text) {
            Some(("", name, "")) => self
                .values
                .get(name)
                .cloned()
                .ok_or_else(|| ExpandError::Missing(name.to_owned())),
            _ => Ok(vec![self.fill(text)?]),
        }
    }

    /// Replaces values back by their placeholders, so that a text means the same on every machine.
    #[must_use]
    pub fn neutral(&self, text: &str, names: &[&str]) -> String {
        let mut pairs: Vec<(&str, &String)> = names
            .iter()
            .filter_map(|name| self.get(name).first().map(|value| (*name, value)))
            .collect();
        pairs.retain(|(_, value)| value.len() > 1);
        pairs.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        pairs
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(value.as_str(), &format!("{{{name}}}"))
            })
    }
}

/// The first placeholder of a text with what stands before and after it. Other braces are themselves.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let close = text[open..].find('}').map(|at| open + at)?;
        let name = &text[open + 1..close];
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// Makes the argv: `{list}` alone spreads, `{list...}` repeats the adapter's pattern per element.
///
/// # Errors
/// When a placeholder has no value.
pub fn expand(
    argv: &[String],
    values: &Values,
    repeat: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<String>, ExpandError> {
    let mut out = Vec::new();
    for argument in argv {
        let repeated = argument
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix("...}"));
        if let Some(name) = repeated {
            let pattern = repeat
                .get(name)
                .ok_or_else(|| ExpandError::Repeat(name.to_owned()))?;
            let elements = values
                .values
                .get(name)
                .ok_or_else(|| ExpandError::Missing(name.to_owned()))?;
            for element in elements {
                out.extend(pattern.iter().map(|part| part.replace("{}", element)));
            }
        } else {
            out.extend(values.fill_each(argument)?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> toml::Value {
        toml::Value::Array(items.iter().map(|item| (*item).into()).collect())
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn lists_spread_or_repeat_and_nothing_is_split() {
        let mut values = Values::default();
        values.set("bin", "/x y/tool");
        values.set("rules", "/r");
        values
            .set_parameter("dirs", &list(&["a b", "c;d"]))
            .unwrap();
        values
            .set_parameter("packs", &list(&["{rules}/p"]))
            .unwrap();
        let repeat = [
            ("dirs".to_owned(), texts(&["-d", "{}"])),
            ("packs".to_owned(), texts(&["--config={}"])),
        ]
        .into();
        let argv = texts(&[
            "{bin}",
            "{not a placeholder}",
            "{dirs...}",
            "{packs...}",
            "{dirs}",
            "--one={bin}",
        ]);
        assert_eq!(
            expand(&argv, &values, &repeat).unwrap(),
            [
                "/x y/tool",
                "{not a placeholder}",
                "-d",
                "a b",
                "-d",
                "c;d",
                "--config=/r/p",
                "a b",
                "c;d",
                "--one=/x y/tool"
            ]
        );
        assert_eq!(
            values.neutral("/r/p /x y/tool", &["bin", "rules"]),
            "{rules}/p {bin}"
        );
    }

    #[test]
    fn what_has_no_value_says_where_to_set_it() {
        let values = Values::default();
        let error = expand(&texts(&["--url={target}"]), &values, &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("set with = { target"), "{error}");
        let mut values = Values::default();
        values.set_parameter("dirs", &list(&["a", "b"])).unwrap();
        assert_eq!(
            values.fill("-{dirs}"),
            Err(ExpandError::List("dirs".into()))
        );
        assert!(
            values
                .set_parameter("x", &toml::Value::Table(toml::Table::new()))
                .is_err()
        );
    }
}
