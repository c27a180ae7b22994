//! Placeholders of an adapter's argv. The result is an argv: nothing passes through a shell.

use std::collections::BTreeMap;

use super::Argument;

/// Values for placeholders. An absent one and an empty list both mean "not given".
#[derive(Debug, Clone, Default)]
pub struct Values {
    values: BTreeMap<String, Vec<String>>,
}

/// Why an argv cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A placeholder has no value.
    #[error("{{{0}}} has no value{hint}", hint = hint(.0))]
    Missing(String),
    /// A list stands where one value is needed.
    #[error("{{{0}}} is a list, and stands beside other placeholders")]
    List(String),
}

fn hint(name: &str) -> String {
    match name.strip_prefix("with.") {
        Some(key) => format!("; set with = {{ {key} = … }} in the stage"),
        None => String::new(),
    }
}

impl Values {
    /// Sets one value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), vec![value.into()]);
    }

    /// Sets a list.
    pub fn set_list(&mut self, name: &str, values: Vec<String>) {
        self.values.insert(name.to_owned(), values);
    }

    /// Sets `{with.KEY}` from a TOML value: lists become several arguments, `false` means not given.
    ///
    /// # Errors
    /// When the value is a table or a list of lists.
    pub fn set_with(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let plain = |value: &toml::Value| match value {
            toml::Value::String(text) => Ok(text.clone()),
            toml::Value::Integer(number) => Ok(number.to_string()),
            toml::Value::Boolean(yes) => Ok(yes.to_string()),
            toml::Value::Float(number) => Ok(number.to_string()),
            _ => Err(format!(
                "`{key}` must be a text, a number or a list of them"
            )),
        };
        let list = match value {
            toml::Value::Array(items) => items.iter().map(plain).collect::<Result<_, _>>()?,
            toml::Value::Boolean(false) => Vec::new(),
            one => vec![plain(one)?],
        };
        self.values.insert(format!("with.{key}"), list);
        Ok(())
    }

    /// The values of a placeholder.
    #[must_use]
    pub fn get(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Fills one text that must become exactly one.
    ///
    /// # Errors
    /// When a placeholder has no value or several.
    pub fn fill(&self, text: &str) -> Result<String, ExpandError> {
        let mut all = self.fill_many(text)?;
        if all.len() == 1 {
            Ok(all.remove(0))
        } else {
            Err(ExpandError::List(text.to_owned()))
        }
    }

    /// Fills one text; a list placeholder repeats the whole text once per value.
    fn fill_many(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        let mut outs = vec![String::new()];
        let mut listed = false;
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            let close = after.find('}');
            let name = close
                .map(|close| &after[1..close])
                .filter(|name| is_placeholder(name));
            let (Some(close), Some(name)) = (close, name) else {
                // A brace that is no placeholder is itself.
                for out in &mut outs {
                    out.push_str(before);
                    out.push('{');
                }
                rest = &after[1..];
                continue;
            };
            let values = self.get(name);
            if values.is_empty() {
                return Err(ExpandError::Missing(name.to_owned()));
            }
            if values.len() > 1 {
                if listed {
                    return Err(ExpandError::List(name.to_owned()));
                }
                listed = true;
            }
            outs = outs
                .iter()
                .flat_map(|out| {
                    values
                        .iter()
                        .map(move |value| format!("{out}{before}{value}"))
                })
                .collect();
            rest = &after[close + 1..];
        }
        for out in &mut outs {
            out.push_str(rest);
        }
        Ok(outs)
    }
}

fn is_placeholder(name: &str) -> bool {
    !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Makes the argv.
///
/// # Errors
/// When an argument outside a group has a placeholder without a value.
pub fn expand(argv: &[Argument], values: &Values) -> Result<Vec<String>, ExpandError> {
    let mut out = Vec::new();
    for argument in argv {
        match argument {
            Argument::One(text) => out.extend(values.fill_many(text)?),
            Argument::Group(texts) => {
                let group: Result<Vec<Vec<String>>, ExpandError> =
                    texts.iter().map(|text| values.fill_many(text)).collect();
                match group {
                    Ok(filled) => {
                        // `["--dir", "{with.dirs}"]` with two dirs is `--dir a --dir b`.
                        let times = filled.iter().map(Vec::len).max().unwrap_or(0);
                        for turn in 0..times {
                            out.extend(
                                filled
                                    .iter()
                                    .filter_map(|one| one.get(turn).or(one.first()).cloned()),
                            );
                        }
                    }
                    Err(ExpandError::Missing(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Argument {
        Argument::One(text.into())
    }

    #[test]
    fn lists_repeat_groups_vanish_and_nothing_is_split() {
        let mut values = Values::default();
        values.set("bin", "/x y/tool");
        values
            .set_with(
                "dirs",
                &toml::Value::Array(vec!["a b".into(), "c;d".into()]),
            )
            .unwrap();
        values
            .set_with("off", &toml::Value::Boolean(false))
            .unwrap();
        let argv = [
            one("{bin}"),
            one("{not a placeholder}"),
            Argument::Group(vec!["--dir".into(), "{with.dirs}".into()]),
            Argument::Group(vec!["--off={with.off}".into()]),
            one("--in={with.dirs}"),
        ];
        assert_eq!(
            expand(&argv, &values).unwrap(),
            [
                "/x y/tool",
                "{not a placeholder}",
                "--dir",
                "a b",
                "--dir",
                "c;d",
                "--in=a b",
                "--in=c;d"
            ]
        );
    }

    #[test]
    fn a_missing_value_is_an_error_that_says_where_to_set_it() {
        let error = expand(&[one("--url={with.target}")], &Values::default()).unwrap_err();
        assert_eq!(error, ExpandError::Missing("with.target".into()));
        assert!(error.to_string().contains("set with = { target"), "{error}");
    }
}
