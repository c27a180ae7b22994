use proptest::prelude::*;

use super::*;
use crate::merkle::{consistency_proof, leaf_hash, root_of};
use crate::note::{KeyKind, NoteSigner};

const ORIGIN: &str = "log.example/one";

fn log() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn leaves(size: u64, history: u8) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(&[n as u8, history])).collect()
}

fn head(size: u64, history: u8) -> SignedCheckpoint {
    let head = Checkpoint {
        origin: ORIGIN.into(),
        size,
        root: root_of(&leaves(size, history)),
    };
    head.sign(&[&log()], 0)
}

fn request(old: u64, new: u64, history: u8) -> AddCheckpoint {
    let all = leaves(new, history);
    let Ok(proof) = consistency_proof(old.min(new), new, |level, index| {
        let width = 1u64 << level;
        let range = (index * width) as usize..((index + 1) * width) as usize;
        Ok::<_, std::convert::Infallible>(root_of(&all[range]))
    });
    AddCheckpoint {
        old,
        proof: if old == 0 { Vec::new() } else { proof },
        checkpoint: head(new, history),
    }
}

fn decide(known: u64, request: &AddCheckpoint) -> Result<u64, Refusal> {
    let keys = LogKeys::from(log().verifier());
    let known = head(known, 0).unverified().clone();
    judge(request, Some(&keys), Some(&known)).map(|new| new.size)
}

#[test]
fn a_request_round_trips() {
    let request = request(5, 13, 0);
    assert!(!request.proof.is_empty());
    let again = AddCheckpoint::parse(request.to_text().as_bytes()).unwrap();
    assert_eq!(again, request);
}

#[test]
fn each_case_of_the_protocol_has_its_answer() {
    assert_eq!(decide(0, &request(0, 0, 0)), Ok(0));
    assert_eq!(decide(0, &request(0, 7, 0)), Ok(7));
    assert_eq!(decide(5, &request(5, 5, 0)), Ok(5));
    assert_eq!(decide(5, &request(5, 13, 0)), Ok(13));
    let status = |outcome: Result<u64, Refusal>| outcome.unwrap_err().status();
    // Stale, ahead, and the size that the client must learn.
    let stale = decide(5, &request(4, 13, 0)).unwrap_err();
    assert_eq!(
        (stale.status(), stale.body()),
        (409, ("5\n".into(), SIZE_CONTENT_TYPE))
    );
    assert_eq!(status(decide(5, &request(0, 3, 0))), 409);
    // Another history: of the same size, and of a larger one.
    let fork = decide(5, &request(5, 5, 1)).unwrap_err();
    assert_eq!((fork.status(), fork.body().0.as_str()), (409, "5\n"));
    assert!(matches!(fork, Refusal::Fork { known: 5 }));
    assert_eq!(status(decide(5, &request(5, 13, 1))), 422);
    // A proof where none belongs, too short, too long.
    let mut odd = request(5, 13, 0);
    odd.proof.pop();
    assert_eq!(status(decide(5, &odd)), 422);
    odd.proof.extend([odd.proof[0]; 3]);
    assert_eq!(status(decide(5, &odd)), 422);
    let mut odd = request(0, 7, 0);
    odd.proof.push(leaf_hash(b"x"));
    assert_eq!(status(decide(0, &odd)), 422);
    // An empty tree has one root.
    let mut odd = request(0, 0, 0);
    let other = Checkpoint {
        root: leaf_hash(b"x"),
        ..odd.checkpoint.unverified().clone()
    };
    odd.checkpoint = other.sign(&[&log()], 0);
    assert_eq!(status(decide(0, &odd)), 409);
    // The old size is larger than the new one.
    let mut odd = request(5, 13, 0);
    odd.old = 14;
    assert_eq!(status(decide(14, &odd)), 400);
    // A key of nobody, a log of nobody.
    let known = head(5, 0).unverified().clone();
    let other = NoteSigner::from_seed(ORIGIN, KeyKind::Ed25519, &[9; 32]).unwrap();
    let keys = LogKeys::from(other.verifier());
    let refused = judge(&request(5, 13, 0), Some(&keys), Some(&known)).map(|_| ());
    assert_eq!(refused.unwrap_err().status(), 403);
    let refused = judge(&request(5, 13, 0), None, None).map(|_| ());
    assert_eq!(refused.unwrap_err().status(), 404);
}

#[test]
fn malformed_requests_are_refused() {
    let good = request(5, 13, 0).to_text();
    for bad in [
        String::new(),
        good.replacen("old 5", "old 05", 1),
        good.replacen("old 5", "old +5", 1),
        good.replacen("old 5", "new 5", 1),
        good.replacen("old 5\n", "old 5\nAAAA\n", 1),
        good.replacen("\n\n", "\n", 1),
        good.trim_end().to_owned(),
        good.replacen(
            "old 5\n",
            &format!(
                "old 5\n{}",
                format!("{}\n", leaf_hash(b"").to_base64()).repeat(64)
            ),
            1,
        ),
        good.clone() + &"x".repeat(MAX_REQUEST_BYTES),
    ] {
        assert!(
            matches!(
                AddCheckpoint::parse(bad.as_bytes()),
                Err(Refusal::Malformed(_))
            ),
            "{bad:.60}"
        );
    }
}

#[test]
fn only_the_line_of_the_witness_is_taken_from_an_answer() {
    let witness = NoteSigner::from_seed("w.example", KeyKind::Cosignature, &[4; 32]).unwrap();
    let other = NoteSigner::from_seed("v.example", KeyKind::Cosignature, &[5; 32]).unwrap();
    let sent = head(7, 0);
    let body = sent.unverified().body();
    let line = witness.sign_line(&body, 99);
    let read = |answer: &str| read_cosignature(answer.as_bytes(), &sent, witness.verifier());
    assert_eq!(read(&line).unwrap(), (line.clone(), 99));
    let mixed = format!("{}{line}", other.sign_line(&body, 3));
    assert_eq!(read(&mixed).unwrap(), (line.clone(), 99));
    assert!(read(&other.sign_line(&body, 3)).is_err());
    assert!(read(&witness.sign_line("x\n", 99)).is_err());
    assert!(read("").is_err());
    assert!(read(line.trim_end()).is_err());
    assert!(read(&format!("evil\n\n{line}")).is_err());
    assert!(read(&line.repeat(2000)).is_err());
}

proptest! {
    #[test]
    fn any_request_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = AddCheckpoint::parse(&bytes);
    }

    /// Whatever is asked in whatever order, what a witness cosigned is always
    /// one history: each size is the beginning of the next.
    #[test]
    fn a_witness_signs_one_history(asks in proptest::collection::vec((0u64..20, 0u64..20, 0u8..3), 1..40)) {
        let keys = LogKeys::from(log().verifier());
        let mut known: Option<(Checkpoint, u8)> = None;
        for (old, new, history) in asks {
            let mut request = request(old.min(new), new, history);
            request.old = old;
            let verdict = judge(&request, Some(&keys), known.as_ref().map(|k| &k.0)).cloned();
            if let Ok(accepted) = verdict {
                if let Some((before, _)) = &known {
                    prop_assert!(accepted.size >= before.size);
                    prop_assert_eq!(before.root, root_of(&leaves(before.size, history)));
                }
                known = Some((accepted, history));
            }
        }
    }
}
