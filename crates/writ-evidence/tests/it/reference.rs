//! Statements too large for a ledger entry.

use writ_evidence::predicate::Run;
use writ_evidence::reference::{self, MAX_ENTRY_BYTES, Reference};
use writ_evidence::{
    Algorithm, LocalSigner, Predicate, Purpose, ResourceDescriptor, Signer, Statement, TrustedKey,
    TrustedKeys, dsse,
};
use writ_model::{EvidenceId, Timestamp};

fn run(notes: usize) -> Statement<Run> {
    let mut run: Statement<Run> = Statement::parse(&crate::predicates::corpus("run")).unwrap();
    run.predicate.notes = (0..notes)
        .map(|number| format!("note number {number}"))
        .collect();
    run
}

fn signer() -> LocalSigner {
    LocalSigner::from_seed(Algorithm::Ed25519, &[1; 32]).unwrap()
}

fn verified(envelope: &writ_evidence::Envelope) -> writ_evidence::Verified<Vec<u8>> {
    let keys: TrustedKeys = [TrustedKey::new(
        signer().public_key().clone(),
        Purpose::Producer,
    )]
    .into_iter()
    .collect();
    dsse::verify(
        envelope,
        &keys.select(&Purpose::Producer, Timestamp::from_micros(0)),
        1,
    )
    .unwrap()
}

#[test]
fn a_small_statement_is_logged_as_it_is() {
    let signed = reference::sign_for_ledger(&run(3), &signer()).unwrap();
    assert!(signed.whole.is_none());
    let verified = verified(&signed.envelope);
    assert_eq!(verified.evidence_id(), signed.id);
    assert_eq!(verified.statement::<Run>().unwrap().content(), &run(3));
}

#[test]
fn a_large_one_is_logged_by_reference_and_keeps_its_id() {
    let large = run(20_000);
    let signed = reference::sign_for_ledger(&large, &signer()).unwrap();
    let whole = signed.whole.unwrap();
    assert_eq!(
        signed.id,
        EvidenceId::of_payload(&large.to_payload().unwrap())
    );
    assert!(signed.envelope.to_canonical_json().len() < 4096);
    let logged = verified(&signed.envelope)
        .statement::<Reference>()
        .unwrap()
        .into_content();
    assert_eq!(logged.predicate.digest, signed.id.digest());
    assert_eq!(logged.predicate.predicate_type, Run::URI);
    assert_eq!(logged.predicate.size, whole.len() as u64);
    assert_eq!(
        logged.predicate.observed_at,
        Some(large.predicate.observed_at)
    );
    assert_eq!(logged.subject, large.subject);
    assert_eq!(
        reference::resolve(&logged, &whole)
            .unwrap()
            .into_typed::<Run>()
            .unwrap(),
        large
    );

    // Other bytes, other subjects, another kind: refused.
    let other = run(20_001).to_payload().unwrap();
    assert!(
        reference::resolve(&logged, &other)
            .unwrap_err()
            .to_string()
            .contains("the bytes are")
    );
    let mut elsewhere = logged.clone();
    elsewhere.subject = vec![ResourceDescriptor::git_commit("x", "ab".repeat(20))];
    assert!(
        reference::resolve(&elsewhere, &whole)
            .unwrap_err()
            .to_string()
            .contains("other subjects")
    );
    let mut mistaken = logged;
    mistaken.predicate.predicate_type = "urn:other".to_owned();
    assert!(reference::resolve(&mistaken, &whole).is_err());
}

/// Whatever the size, the entry fits with room for what the ledger adds and two more signatures.
#[test]
fn the_boundary_is_on_the_safe_side() {
    let mut seen = [false; 2];
    for notes in (1500..2600).step_by(50) {
        let signed = reference::sign_for_ledger(&run(notes), &signer()).unwrap();
        seen[usize::from(signed.whole.is_some())] = true;
        let mut envelope = signed.envelope;
        dsse::countersign(&mut envelope, &signer()).unwrap();
        dsse::countersign(&mut envelope, &signer()).unwrap();
        assert!(
            envelope.to_canonical_json().len() + 100 < MAX_ENTRY_BYTES,
            "{notes}"
        );
    }
    assert_eq!(seen, [true, true], "the range does not cross the boundary");
}

#[test]
fn too_many_subjects_are_an_error_not_an_oversized_entry() {
    let mut large = run(20_000);
    large.subject = (0..1000)
        .map(|number| ResourceDescriptor::git_commit(format!("{number:0>60}"), "ab".repeat(20)))
        .collect();
    let error = reference::sign_for_ledger(&large, &signer()).unwrap_err();
    assert!(error.to_string().contains("split the statement"), "{error}");
}
