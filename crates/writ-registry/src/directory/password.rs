//! Passwords as argon2id hashes in the [PHC string format](https://github.com/P-H-C/phc-string-format).

use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use tokio::sync::Semaphore;

use super::refused;
use crate::error::{RegistryError, Result};

/// Fewest characters of a password.
pub const MIN_PASSWORD: usize = 12;

/// Most bytes of a password.
pub const MAX_PASSWORD: usize = 1_024;

/// Memory in KiB, passes and lanes: the lower bound that OWASP names for argon2id.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const SALT: usize = 16;
const HASH: usize = 32;

/// Hashes that are computed at once: each takes 19 MiB.
static PLACES: Semaphore = Semaphore::const_new(2);

/// What an unknown account is compared with, so that it costs the same.
pub(super) static NOBODY: LazyLock<String> = LazyLock::new(|| phc(&[0; SALT], &[0; HASH]));

/// Whether a password may be used.
pub(super) fn check(login: &str, password: &str) -> Result<()> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(refused(format!(
            "a password has at least {MIN_PASSWORD} characters"
        )));
    }
    if password.len() > MAX_PASSWORD {
        return Err(refused(format!(
            "a password has at most {MAX_PASSWORD} bytes"
        )));
    }
    let lower = password.to_lowercase();
    if lower.replace(login, "").chars().count() < MIN_PASSWORD / 2 {
        return Err(refused("a password is more than the login name"));
    }
    let first = password.chars().next();
    if password.chars().all(|sign| Some(sign) == first) {
        return Err(refused("a password is more than one character repeated"));
    }
    Ok(())
}

/// Hashes a password with a new salt.
pub(super) async fn hash(password: String) -> Result<String> {
    let mut salt = [0_u8; SALT];
    getrandom::fill(&mut salt).map_err(|e| refused(format!("no random numbers: {e}")))?;
    let hash = derive(password, salt.to_vec()).await?;
    Ok(phc(&salt, &hash))
}

/// Whether a password belongs to a hash. Takes as long for a wrong one.
pub(super) async fn verify(phc: &str, password: String) -> Result<bool> {
    if phc.is_empty() {
        // An account without a password: it costs the same.
        derive(password, vec![0; SALT]).await?;
        return Ok(false);
    }
    let Some((salt, expected)) = parse(phc) else {
        return Err(refused(
            "the stored password cannot be read; set a new one: writ server account password NAME",
        ));
    };
    let found = derive(password, salt).await?;
    let differences = expected
        .iter()
        .zip(&found)
        .fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    Ok(differences == 0 && expected.len() == found.len())
}

async fn derive(password: String, salt: Vec<u8>) -> Result<[u8; HASH]> {
    let place = PLACES
        .acquire()
        .await
        .map_err(|e| RegistryError::Task(e.to_string()))?;
    let derived = tokio::task::spawn_blocking(move || {
        let params = Params::new(MEMORY, PASSES, LANES, Some(HASH))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut hash = [0_u8; HASH];
        argon2.hash_password_into(password.as_bytes(), &salt, &mut hash)?;
        Ok::<_, argon2::Error>(hash)
    });
    let derived = derived.await;
    drop(place);
    derived?.map_err(|e| refused(format!("the password cannot be hashed: {e}")))
}

fn phc(salt: &[u8], hash: &[u8]) -> String {
    format!(
        "$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${}${}",
        BASE64.encode(salt),
        BASE64.encode(hash)
    )
}

/// Salt and hash of a string with the parameters of this version.
fn parse(phc: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let rest = phc.strip_prefix(&format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}$"))?;
    let (salt, hash) = rest.split_once('$')?;
    let salt = BASE64.decode(salt).ok()?;
    let hash = BASE64.decode(hash).ok()?;
    (salt.len() == SALT && hash.len() == HASH).then_some((salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_knows_its_password() {
        let stored = hash("correct horse battery".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(
            stored,
            hash("correct horse battery".to_owned()).await.unwrap()
        );
        assert!(
            verify(&stored, "correct horse battery".to_owned())
                .await
                .unwrap()
        );
        assert!(
            !verify(&stored, "correct horse batterz".to_owned())
                .await
                .unwrap()
        );
        assert!(!verify(&NOBODY, String::new()).await.unwrap());
        assert!(
            verify("$argon2id$v=19$m=1,t=1,p=1$x$y", String::new())
                .await
                .is_err()
        );
    }

    #[test]
    fn weak_passwords_are_refused() {
        assert!(check("ada", "correct horse battery").is_ok());
        for weak in ["short", "aaaaaaaaaaaaaaaa", "adaadaadaada12"] {
            assert!(check("ada", weak).is_err(), "{weak}");
        }
        assert!(check("ada", &"xy".repeat(600)).is_err());
    }
}
