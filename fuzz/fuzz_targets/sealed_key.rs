//! Private key files, open and sealed, and the words that say where one is. Nothing that a file asks for is
//! computed before its costs are found acceptable, so no input is slow.

#![no_main]

use writ_evidence::key::{PublicKey, SealedKey, SignerRef};
use writ_evidence::{LocalSigner, Signer};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(sealed) = SealedKey::parse(text) {
        assert!(SealedKey::is_sealed(text));
        assert!(!format!("{sealed:?}").contains("BEGIN"));
    }
    if let Ok(signer) = LocalSigner::from_pkcs8_pem(text) {
        let again = signer.to_pkcs8_pem().expect("a key that was read");
        let again = LocalSigner::from_pkcs8_pem(&again).expect("a key that was written");
        assert_eq!(again.key_id(), signer.key_id());
    }
    let _ = PublicKey::from_pem(text);
    if let Ok(place) = text.parse::<SignerRef>() {
        assert_eq!(place.to_string().parse::<SignerRef>().ok(), Some(place));
    }
});
