//! Tokens and other secrets on their way to an outside system.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

/// Longest secret, in bytes. Tokens of workloads may carry many claims.
const MAX_BYTES: usize = 64 * 1024;

/// A secret text. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// This text, without white space around it; nothing when it is empty, too long, or has control
    /// characters inside, which no header may carry.
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        let usable = !trimmed.is_empty()
            && trimmed.len() <= MAX_BYTES
            && !trimmed.chars().any(char::is_control);
        usable.then(|| Self(Zeroizing::new(trimmed.to_owned())))
    }

    /// The content of a file, which may be a symbolic link: mounted secrets are.
    ///
    /// # Errors
    /// It cannot be read, or does not hold one secret; the text says why and names the file.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text))
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Self::new(text)
            .ok_or_else(|| format!("{} does not hold one secret on one line", path.display()))
    }

    /// The text, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without this secret in it.
    pub fn redact(&self, text: &str) -> String {
        text.replace(self.0.as_str(), "(redacted)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}
