use proptest::prelude::*;

use super::*;
use crate::merkle::empty_root;
use crate::note::{KeyKind, NoteSigner};

fn log() -> NoteSigner {
    NoteSigner::from_seed("log.example", KeyKind::Ed25519, &[200; 32]).unwrap()
}

fn witness(number: u8) -> NoteSigner {
    let name = format!("w{number}.example");
    NoteSigner::from_seed(&name, KeyKind::Cosignature, &[number + 1; 32]).unwrap()
}

fn vkey(number: u8) -> String {
    witness(number).verifier().to_vkey()
}

fn head(cosigners: &[u8]) -> SignedCheckpoint {
    let head = Checkpoint {
        origin: "log.example".into(),
        size: 0,
        root: empty_root(),
    };
    let mut signed = head.sign(&[&log()], 0);
    for number in cosigners {
        let line = witness(*number).sign_line(&head.body(), 100 + u64::from(*number));
        signed = signed.with_line(&line).unwrap();
    }
    signed
}

/// The example of the specification.
fn example() -> String {
    let mut text = format!(
        "# ours\n\nlog {} https://log.example/\n",
        log().verifier().to_vkey()
    );
    for (number, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().enumerate() {
        text.push_str(&format!("\t witness  {name} {} \n", vkey(number as u8)));
    }
    text.push_str("group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n");
    text.push_str("group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n");
    text
}

#[test]
fn the_example_of_the_specification_counts() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(
        policy.logs()[0].url.as_deref(),
        Some("https://log.example/")
    );
    for (cosigners, counted, reached) in [
        (&[][..], 0, false),
        (&[0], 1, false),
        (&[0, 1], 2, false),
        (&[0, 1, 2], 2, false),
        (&[3, 4, 5], 1, false),
        (&[0, 3], 2, false),
        (&[1, 2, 5], 3, true),
        (&[0, 1, 2, 3, 4, 5], 3, true),
    ] {
        let signed = head(cosigners);
        let (checkpoint, quorum) = policy.verify(&signed).unwrap();
        assert_eq!(checkpoint.origin, "log.example");
        assert_eq!(
            (quorum.counted(), quorum.required, quorum.is_reached()),
            (counted, 3, reached),
            "{cosigners:?}"
        );
        assert_eq!(quorum.cosigned.len(), cosigners.len());
        assert_eq!(
            quorum.to_string(),
            format!("{counted} of 3 required cosignatures")
        );
    }
}

#[test]
fn a_repeated_cosignature_counts_once_and_a_wrong_one_refuses() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let twice = head(&[0, 0]);
    let again = witness(0).sign_line(&twice.unverified().body(), 777);
    let quorum = policy.count(&twice.with_line(&again).unwrap()).unwrap();
    assert_eq!((quorum.counted(), quorum.cosigned[0].time), (1, 777));
    let other = witness(1).sign_line("another text\n", 5);
    assert!(matches!(
        policy.verify(&head(&[0]).with_line(&other).unwrap()),
        Err(NoteError::WrongSignature { .. })
    ));
}

#[test]
fn only_a_listed_log_is_believed_under_its_own_name() {
    let text = format!("log {}\nquorum none\n", log().verifier().to_vkey());
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let quorum = policy.verify(&head(&[])).unwrap().1;
    assert!(quorum.is_reached() && !policy.requires_witnesses());
    assert_eq!(quorum.to_string(), "no cosignatures required");
    let other = Checkpoint {
        origin: "other.example".into(),
        size: 0,
        root: empty_root(),
    };
    assert!(policy.verify(&other.sign(&[&log()], 0)).is_err());
    assert!(
        Policy::parse(b"quorum none")
            .unwrap()
            .verify(&head(&[]))
            .is_err()
    );
}

#[test]
fn a_single_witness_can_be_the_quorum() {
    let text = format!("witness w {}\nquorum w\n", vkey(0));
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(!policy.count(&head(&[1])).unwrap().is_reached());
    assert!(policy.count(&head(&[0])).unwrap().is_reached());
}

#[test]
fn what_the_format_forbids_is_refused_with_its_line() {
    let w = |name: &str, number| format!("witness {name} {}\n", vkey(number));
    let two = format!("{}{}", w("a", 0), w("b", 1));
    let log_line = format!("log {}\n", log().verifier().to_vkey());
    for (text, line, word) in [
        (String::new(), 1, "quorum"),
        ("log\nquorum none\n".into(), 1, "expected"),
        (format!("{log_line}{log_line}quorum none\n"), 2, "twice"),
        (
            format!("{}{}quorum a\n", w("a", 0), w("b", 0)),
            2,
            "same key",
        ),
        (
            format!("{}{}quorum a\n", w("a", 0), w("a", 1)),
            2,
            "already",
        ),
        (w("none", 0), 1, "none"),
        (format!("log {}\n", vkey(0)), 1, "another type"),
        (
            format!("witness x {}\n", log().verifier().to_vkey()),
            1,
            "another type",
        ),
        (format!("{two}group g 0 a b\n"), 3, "number from 1 to 2"),
        (format!("{two}group g 3 a b\n"), 3, "number from 1 to 2"),
        (format!("{two}group g 01 a b\n"), 3, "number from 1 to 2"),
        (format!("{two}group g any\n"), 3, "no members"),
        (format!("{two}group g\n"), 3, "expected"),
        (format!("{two}group g any a a\n"), 3, "twice"),
        (format!("{two}group g any a\ngroup h any a\n"), 4, "twice"),
        (format!("{two}group g any none\n"), 3, "not defined"),
        (format!("{two}group g any g\n"), 3, "not defined"),
        (format!("{two}group a any b\n"), 3, "already"),
        ("quorum a\n".into(), 1, "not defined"),
        ("quorum none\nquorum none\n".into(), 2, "already"),
        ("quorum none x\n".into(), 1, "expected"),
        ("quorum\u{b}none\n".into(), 1, "control character"),
        ("quorum none\r\n".into(), 1, "control character"),
        ("witnesses a\n".into(), 1, "is not `log`"),
    ] {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.problem.contains(word), "{text:?}: {error}");
    }
    let long = vec![b'#'; MAX_POLICY_BYTES + 1];
    assert!(Policy::parse(&long).is_err());
    let many: String = (0..=MAX_DEFINITIONS)
        .map(|n| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
            let key = NoteSigner::from_seed("w", KeyKind::Cosignature, &seed).unwrap();
            format!("witness w{n} {}\n", key.verifier().to_vkey())
        })
        .collect();
    let error = Policy::parse(many.as_bytes()).unwrap_err();
    assert_eq!(error.line, MAX_DEFINITIONS + 1);
}

#[test]
fn names_are_octets() {
    let mut text = b"witness \xff\xfe ".to_vec();
    text.extend(vkey(0).bytes());
    text.extend(b"\nwitness K ");
    text.extend(vkey(1).bytes());
    text.extend(b"\ngroup \xe2\x84\xaa all \xff\xfe K\nquorum \xe2\x84\xaa");
    assert_eq!(
        Policy::parse(&text)
            .unwrap()
            .count(&head(&[]))
            .unwrap()
            .required,
        2
    );
}

/// A tree of groups over six witnesses: each level groups what is left.
fn groups() -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((1usize..4, 1usize..4), 1..5)
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Policy::parse(&bytes);
    }

    /// More cosignatures never take a quorum away, and what is said to be
    /// missing really is the fewest: some set of so many reaches it, none of fewer.
    #[test]
    fn counting_is_monotone_and_exact(shape in groups(), cosigned in 0u8..64) {
        let mut text: String = (0..6).map(|n| format!("witness w{n} {}\n", vkey(n))).collect();
        let mut free: Vec<String> = (0..6).map(|n| format!("w{n}")).collect();
        for (number, (width, threshold)) in shape.iter().enumerate() {
            let width = (*width).min(free.len());
            let members: Vec<String> = free.drain(..width).collect();
            let threshold = (*threshold).min(members.len());
            text.push_str(&format!("group g{number} {threshold} {}\n", members.join(" ")));
            free.push(format!("g{number}"));
        }
        text.push_str(&format!("quorum g{}\n", shape.len() - 1));
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let need = |set: u8| {
            let times: Vec<Option<u64>> = (0..6).map(|n| (set >> n & 1 == 1).then_some(1)).collect();
            policy.needed(&times)
        };
        let now = need(cosigned);
        let fewest = (0u8..64)
            .filter(|set| set & cosigned == cosigned && need(*set) == 0)
            .map(|set| (set.count_ones() - cosigned.count_ones()) as usize)
            .min()
            .unwrap();
        prop_assert_eq!(now, fewest);
        for more in 0..6 {
            prop_assert!(need(cosigned | 1 << more) <= now);
        }
    }
}
