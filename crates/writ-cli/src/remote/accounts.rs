//! The server's key for accounts: with it the authors of a change get the pseudonyms that the server knows.
//! It is kept beside the pinned log keys, for work while the server is away.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Remote;
use crate::edge;

/// What the server answers.
#[derive(Deserialize)]
struct AccountKey {
    key: String,
}

impl Remote {
    /// The key: from the server, else as it was last time; `None` where it was never told. Then authors
    /// have pseudonyms of this machine, which the server knows nobody by: a line says so.
    pub async fn account_key(&self) -> Option<[u8; 32]> {
        let file = self.pins.with_extension("accounts");
        let told = match self.known().await {
            Ok(_) => self
                .client
                .get::<AccountKey>("api/v1/people/key", &[])
                .await
                .map_err(|error| edge::chain(&error)),
            Err(fault) => Err(fault.why.message.clone()),
        };
        match told.and_then(|told| parse(&told.key)) {
            Ok(key) => {
                // What cannot be kept is asked for again.
                let _ = keep(&file, &key);
                Some(key)
            }
            Err(why) => {
                let kept = std::fs::read_to_string(&file).ok();
                let kept = kept.and_then(|text| parse(text.trim()).ok());
                if kept.is_none() && !self.quiet {
                    eprintln!(
                        "authors are recorded under pseudonyms of this machine, which {} knows nobody by: {why}",
                        self.address()
                    );
                }
                kept
            }
        }
    }
}

fn parse(text: &str) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key)
        .map_err(|_| "its key for accounts cannot be read".to_owned())?;
    Ok(key)
}

/// For its owner alone.
fn keep(file: &PathBuf, key: &[u8; 32]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(hex::encode(key).as_bytes())?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}
