//! New keys: made or fetched, and nothing written yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use writ_evidence::key::{
    Algorithm, EcdsaEncoding, LocalSigner, PrivateKeyFile, PublicKey, Purpose, Signer, SignerRef,
    VaultKey, read_private_key, sealed_pem,
};
use zeroize::Zeroizing;

use super::NewKey;
use crate::error::{RegistryError, Result};
use crate::trust::{KeyEntry, Trust};

/// A key that is ready to be taken into use.
pub(super) struct Made {
    /// Its name; empty for no key at all.
    name: String,
    public: Option<PublicKey>,
    place: Option<SignerRef>,
    /// Its private half, where this machine can sign with it.
    pub signer: Option<Arc<dyn Signer>>,
    /// The key file to write, and its content.
    pub file: Option<String>,
    pub pem: Option<Zeroizing<String>>,
    /// Where its private half is, in the words of the statement.
    pub held: String,
}

impl Made {
    /// No new key.
    pub(super) fn nothing() -> Self {
        Self {
            name: String::new(),
            public: None,
            place: None,
            signer: None,
            file: None,
            pem: None,
            held: String::new(),
        }
    }

    /// What `trust.toml` will say of it. When it counts from is said by the ledger.
    pub(super) fn entry(&self, purpose: &Purpose) -> Result<KeyEntry> {
        let public = self
            .public
            .as_ref()
            .ok_or_else(|| RegistryError::Task("no key was made".to_owned()))?;
        Ok(KeyEntry {
            name: self.name.clone(),
            id: public.id(),
            purposes: vec![purpose.clone()],
            encoding: EcdsaEncoding::Der,
            signer: self.place.clone(),
            valid_from: None,
            valid_until: None,
            revoked: None,
            recorded: Vec::new(),
            end_recorded: Vec::new(),
            public: public.to_pem()?,
        })
    }
}

/// Where the private half of a known key is, in the words of the statement.
pub(super) fn held_of(entry: &KeyEntry) -> &'static str {
    match &entry.signer {
        Some(SignerRef::File(_)) => "file",
        Some(SignerRef::Vault(_)) => "vault",
        None => "elsewhere",
    }
}

/// Makes a key. Blocks: it may ask a key service, or somebody for a passphrase.
pub(super) fn make(
    trust: &Trust,
    purpose: &Purpose,
    name: Option<&str>,
    takes_over: Option<&KeyEntry>,
    source: NewKey,
) -> Result<Made> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => free_name(trust, purpose, takes_over),
    };
    let made = match source {
        NewKey::File { sealed, algorithm } => {
            let signer = LocalSigner::generate(algorithm.unwrap_or(fitting(purpose)))?;
            in_file(trust, &name, signer, sealed)?
        }
        // Whoever asks has put it somewhere by now.
        NewKey::Configured { sealed, algorithm } => {
            let signer = LocalSigner::generate(algorithm.unwrap_or(fitting(purpose)))?;
            in_file(trust, &name, signer, sealed)?
        }
        NewKey::Private { pem, sealed } => {
            in_file(trust, &name, LocalSigner::from_pkcs8_pem(&pem)?, sealed)?
        }
        NewKey::Vault { key, algorithm } => in_vault(
            trust,
            &name,
            takes_over,
            &key,
            algorithm.unwrap_or(fitting(purpose)),
        )?,
        NewKey::Public(public) => Made {
            name,
            public: Some(public),
            held: "elsewhere".to_owned(),
            ..Made::nothing()
        },
    };
    let algorithm = made.public.as_ref().map(PublicKey::algorithm);
    if *purpose == Purpose::Log && algorithm != Some(Algorithm::Ed25519) {
        return Err(RegistryError::KeyChange {
            problem: "checkpoints are signed by Ed25519 keys only".to_owned(),
            remedy: "make an Ed25519 key for the log",
        });
    }
    Ok(made)
}

/// Whether a key file is sealed; what cannot be read is met again where it is used.
pub(super) fn is_sealed(path: &Path) -> bool {
    matches!(read_private_key(path), Ok(PrivateKeyFile::Sealed(_)))
}

/// The name of a ledger's key in Vault: no other ledger's key has it.
pub(super) fn vault_name(origin: &str, purpose: &Purpose) -> String {
    plain(&format!("{origin}-{purpose}"))
}

/// What can name a key everywhere.
fn plain(text: &str) -> String {
    let safe = text.chars().map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '-',
    });
    safe.collect()
}

/// Writs are ECDSA P-256, so that cosign's users verify them with what they have.
fn fitting(purpose: &Purpose) -> Algorithm {
    match purpose {
        Purpose::Log | Purpose::Producer => Algorithm::Ed25519,
        Purpose::Writ(_) => Algorithm::EcdsaP256,
    }
}

fn in_file(trust: &Trust, name: &str, signer: LocalSigner, sealed: bool) -> Result<Made> {
    let file = format!("{name}.key");
    let path = trust.path().join(&file);
    if path.exists() {
        return Err(RegistryError::KeyChange {
            problem: format!("there is a file {} already", path.display()),
            remedy: "a key is never overwritten: choose another name, or move the file away",
        });
    }
    let pem = match sealed {
        true => sealed_pem(&signer, &path, trust.passphrases())?,
        false => signer.to_pkcs8_pem()?,
    };
    Ok(Made {
        name: name.to_owned(),
        public: Some(signer.public_key().clone()),
        place: Some(SignerRef::File(PathBuf::from(&file))),
        signer: Some(Arc::new(signer)),
        file: Some(file),
        pem: Some(pem),
        held: if sealed { "sealed-file" } else { "file" }.to_owned(),
    })
}

fn in_vault(
    trust: &Trust,
    name: &str,
    takes_over: Option<&KeyEntry>,
    key: &VaultKey,
    algorithm: Algorithm,
) -> Result<Made> {
    let service = trust.key_service()?;
    let same = takes_over.is_some_and(|old| match &old.signer {
        Some(SignerRef::Vault(old)) => (&old.mount, &old.name) == (&key.mount, &key.name),
        _ => false,
    });
    let found = match (key.version, same) {
        (Some(_), _) => service.look_up(key)?,
        (None, true) => service.rotate(key)?,
        (None, false) => match service.look_up(key) {
            Ok(found) => found,
            // The one error that making it cures; any other is met again here, and said.
            Err(_) => service.create(key, algorithm)?,
        },
    };
    let signer = service.signer(&found.key, &found.public)?;
    Ok(Made {
        name: name.to_owned(),
        held: found.key.to_string(),
        public: Some(found.public),
        place: Some(SignerRef::Vault(found.key)),
        signer: Some(signer),
        ..Made::nothing()
    })
}

/// A name that no key has: of the key that hands over, or by the purpose, with the next number.
fn free_name(trust: &Trust, purpose: &Purpose, takes_over: Option<&KeyEntry>) -> String {
    let base = match (takes_over, purpose) {
        (Some(old), _) => match old.name.rsplit_once('-') {
            Some((base, number)) if number.parse::<u32>().is_ok() => base.to_owned(),
            _ => old.name.clone(),
        },
        (None, Purpose::Log) => "log".to_owned(),
        (None, Purpose::Producer) => "producer".to_owned(),
        (None, Purpose::Writ(environment)) => {
            let short: String = environment.chars().take(60).collect();
            format!("writ-{}", plain(&short))
        }
    };
    let taken = trust.entries();
    let is_free = |name: &str| {
        taken.iter().all(|key| key.name != name)
            && !trust.path().join(format!("{name}.key")).exists()
    };
    std::iter::once(base.clone())
        .chain((2_u32..).map(|number| format!("{base}-{number}")))
        .find(|name| is_free(name))
        .unwrap_or(base)
}
