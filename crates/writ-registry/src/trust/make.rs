//! A new trust directory with its first keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use writ_evidence::key::{
    Algorithm, EcdsaEncoding, LocalSigner, Purpose, Signer as _, SignerRef, save_private_key,
};

use super::document::{Document, FILE, write_new};
use super::{ACCOUNTS_KEY, KeyEntry, PREVIEW_ENVIRONMENT, wrong};
use crate::durable::sync_dir;
use crate::error::{RegistryError, Result};

/// The first keys: name, algorithm, purpose.
fn first_keys() -> [(&'static str, Algorithm, Purpose); 3] {
    [
        ("log", Algorithm::Ed25519, Purpose::Log),
        ("producer", Algorithm::Ed25519, Purpose::Producer),
        (
            "writ-preview",
            Algorithm::EcdsaP256,
            Purpose::Writ(PREVIEW_ENVIRONMENT.to_owned()),
        ),
    ]
}

/// A key file in a directory that has no `trust.toml`.
pub(super) fn orphan(path: &Path) -> Option<String> {
    first_keys()
        .into_iter()
        .map(|(name, ..)| format!("{name}.key"))
        .find(|name| path.join(name).exists())
}

/// Makes a whole trust directory beside its place and moves it there, so that no half of one is
/// ever seen; when another process was faster, its keys are taken.
pub(super) fn make(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(|e| RegistryError::io("create", parent, e))?;
    let fresh = tempfile::Builder::new()
        .prefix(".trust-")
        .tempdir_in(parent)
        .map_err(|e| RegistryError::io("create a directory in", parent, e))?;
    let inside = fresh.path().join("trust");
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&inside)
        .map_err(|e| RegistryError::io("create", &inside, e))?;
    let mut keys = Vec::new();
    let mut signers = BTreeMap::new();
    for (name, algorithm, purpose) in first_keys() {
        let signer = LocalSigner::generate(algorithm)?;
        let file = PathBuf::from(format!("{name}.key"));
        save_private_key(&signer, &inside.join(&file))?;
        signers.insert(purpose.clone(), name.to_owned());
        keys.push(KeyEntry {
            name: name.to_owned(),
            id: signer.key_id(),
            purposes: vec![purpose],
            encoding: EcdsaEncoding::Der,
            signer: Some(SignerRef::File(file)),
            valid_from: None,
            valid_until: None,
            revoked: None,
            recorded: Vec::new(),
            end_recorded: Vec::new(),
            public: signer.public_key().to_pem()?,
        });
    }
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|e| {
        wrong(
            path,
            format!("the system gave no randomness: {e}"),
            "try again",
        )
    })?;
    let accounts = inside.join(ACCOUNTS_KEY);
    write_new(
        &accounts,
        format!("{}\n", hex::encode(secret)).as_bytes(),
        0o600,
    )?;
    let document = Document {
        version: 1,
        ledgers: Vec::new(),
        signers,
        vault: None,
        keys,
    };
    document.write(&inside)?;
    match fs::rename(&inside, path) {
        Ok(()) => Ok(sync_dir(parent)?),
        // Somebody else made it meanwhile: theirs is as good.
        Err(_) if path.join(FILE).exists() => Ok(()),
        Err(e) => Err(RegistryError::io("move the new keys to", path, e)),
    }
}
