//! What can be wrong with a bundle, always with a place, a cause and a remedy.

use std::fmt;

/// One thing wrong at one place of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Path inside the bundle, with forward slashes.
    pub file: String,
    /// 1-based line; 0 when the problem is about the whole file.
    pub line: u32,
    /// 1-based column; 0 when unknown.
    pub column: u32,
    /// What is wrong.
    pub cause: String,
    /// What to do about it; empty when the cause says it.
    pub remedy: String,
}

impl Problem {
    /// A problem of a whole file.
    #[must_use]
    pub fn of_file(file: &str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            cause: cause.into(),
            remedy: remedy.into(),
        }
    }

    /// A problem at the line of `text` that starts with `key`, or of the whole file when there is none.
    #[must_use]
    pub fn at_key(
        file: &str,
        text: &str,
        key: &str,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let mut problem = Self::of_file(file, cause, remedy);
        let starts_here = |line: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        if let Some(index) = text.lines().position(starts_here) {
            problem.line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            problem.column = 1;
        }
        problem
    }

    /// A problem at a byte offset of `text`.
    #[must_use]
    pub fn at_offset(
        file: &str,
        text: &str,
        offset: usize,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            ..Self::of_file(file, cause, remedy)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        write!(f, ": {}", self.cause)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// A bundle that cannot be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BundleError {
    /// Where the bundle was read from.
    pub source_name: String,
    /// Every problem, sorted by file and line; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the controls bundle {} cannot be used", self.source_name)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// The candidate nearest to `word`, when one is near enough to be a slip of the finger.
#[must_use]
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| {
            let distance =
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The remedy text for a wrong word among known ones.
#[must_use]
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match did_you_mean(word, candidates.clone()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => {
            let known: Vec<&str> = candidates.into_iter().take(40).collect();
            format!("known: {}", known.join(", "))
        }
    }
}

/// Parses a TOML file of the bundle; unknown keys get a did-you-mean.
pub(crate) fn parse_toml<T: serde::de::DeserializeOwned>(
    file: &str,
    text: &str,
) -> Result<T, Problem> {
    toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let remedy = quoted_words(&message)
            .split_first()
            .filter(|(_, known)| message.starts_with("unknown") && !known.is_empty())
            .map(|(word, known)| suggestion(word, known.iter().copied()))
            .unwrap_or_default();
        let cause = match message.split_once(", expected ") {
            Some((first, _)) => first.to_owned(),
            None => message.replace('\n', " "),
        };
        match error.span() {
            Some(span) => Problem::at_offset(file, text, span.start, cause, remedy),
            None => Problem::of_file(file, cause, remedy),
        }
    })
}

/// The words between backticks of serde's "unknown field `x`, expected one of `a`, `b`".
fn quoted_words(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "owner")]
        _owner: String,
    }

    #[test]
    fn unknown_keys_get_a_place_and_a_suggestion() {
        let problem = parse_toml::<Sample>("controls/X-01.toml", "\nowmer = 'x'\n").unwrap_err();
        assert_eq!((problem.line, problem.column), (2, 1));
        assert!(
            problem.to_string().contains("unknown field `owmer`"),
            "{problem}"
        );
    }

    #[test]
    fn far_words_get_no_suggestion() {
        assert_eq!(did_you_mean("VUL-20", ["VUL-02", "SEC-01"]), Some("VUL-02"));
        assert_eq!(did_you_mean("zebra", ["VUL-02", "SEC-01"]), None);
    }
}
