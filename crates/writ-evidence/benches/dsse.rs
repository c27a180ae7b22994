//! How many envelopes one core signs and verifies per second: `cargo bench -p writ-evidence`.
//!
//! `raw` rows are the bare signature operations over the same bytes: what the envelope costs is
//! the difference.

use divan::Bencher;
use divan::counter::ItemsCount;
use writ_evidence::dsse::{self, IN_TOTO_PAYLOAD_TYPE};
use writ_evidence::key::EcdsaEncoding;
use writ_evidence::{
    Algorithm, Envelope, KeySet, LocalSigner, Purpose, Signer, TrustedKey, TrustedKeys,
};
use writ_model::Timestamp;

/// A typical scan statement.
const PAYLOAD_BYTES: usize = 1500;

fn main() {
    divan::main();
}

fn setup(algorithm: Algorithm) -> (LocalSigner, KeySet, Vec<u8>) {
    let signer = LocalSigner::from_seed(algorithm, &[7; 32]).expect("a fixed seed");
    let keys: TrustedKeys = [TrustedKey::new(
        signer.public_key().clone(),
        Purpose::Producer,
    )]
    .into_iter()
    .collect();
    let keys = keys.select(&Purpose::Producer, Timestamp::from_micros(0));
    (signer, keys, vec![b'x'; PAYLOAD_BYTES])
}

#[divan::bench(args = [Algorithm::Ed25519, Algorithm::EcdsaP256])]
fn sign(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (signer, _, payload) = setup(algorithm);
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| payload.clone())
        .bench_values(|payload| {
            dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, &signer).expect("a local key signs")
        });
}

#[divan::bench(args = [Algorithm::Ed25519, Algorithm::EcdsaP256])]
fn parse_and_verify(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (signer, keys, payload) = setup(algorithm);
    let json = dsse::sign(IN_TOTO_PAYLOAD_TYPE, payload, &signer)
        .expect("a local key signs")
        .to_canonical_json();
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let envelope = Envelope::parse(&json).expect("an own envelope");
        dsse::verify(&envelope, &keys, 1).expect("a good signature")
    });
}

#[divan::bench(args = [Algorithm::Ed25519, Algorithm::EcdsaP256])]
fn raw_verify(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (signer, _, payload) = setup(algorithm);
    let message = dsse::pre_authentication_encoding(IN_TOTO_PAYLOAD_TYPE, &payload);
    let signature = signer.sign(&message).expect("a local key signs");
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        assert!(
            signer
                .public_key()
                .verifies(&message, &signature, EcdsaEncoding::Der)
        )
    });
}
