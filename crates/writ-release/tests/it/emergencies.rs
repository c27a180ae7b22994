//! Emergencies over generated histories: what is open ends, and only somebody else's review counts.

use proptest::prelude::*;
use serde_json::{Value, json};
use writ_model::{EvidenceId, EvidenceItem, PrincipalId, Span, Timestamp};
use writ_release::breakglass::{OPEN_AT_MOST, Standing, book, strictness};

const START: i64 = 1_790_000_000_000_000;
const HOUR: i64 = 3_600_000_000;

fn item(index: u64, at: i64, facts: Value) -> EvidenceItem {
    let prepared = writ_gate::prepare(
        &json!({
            "about": "one", "environment": "production", "profile": "soc2", "bindings": {},
            "evidence": [{
                "predicateType": "urn:writ:predicate:break-glass:v1", "evidenceType": "break-glass", "facts": facts,
            }],
        })
        .to_string(),
    )
    .unwrap();
    let mut item = prepared.inputs.evidence.into_iter().next().unwrap();
    item.index = index;
    item.id = EvidenceId::of_payload(&index.to_be_bytes());
    item.recorded_at = Timestamp::from_micros(at);
    item
}

fn actor(who: u8) -> Value {
    json!({"principal": format!("p_{who}"), "assurance": "totp"})
}

/// Even accounts belong to the person before them: 0 and 1 are one person. 6 is nobody's.
fn person(account: &PrincipalId) -> Option<PrincipalId> {
    let number: u8 = account.0.strip_prefix("p_")?.parse().ok()?;
    (number < 6).then(|| PrincipalId(format!("person{}", number / 2)))
}

proptest! {
    #[test]
    fn only_somebody_else_reviews(opener in 0_u8..6, second in proptest::option::of(0_u8..6), reviewer in 0_u8..7, hours in 0_i64..60) {
        let at = Timestamp::from_micros(START);
        let opening = item(1, START, json!({
            "form": "open", "by": actor(opener), "authorisedBy": second.map(actor), "reason": "down",
            "release": {"service": "pay", "environment": "production"},
            "observedAt": at, "expiresAt": at.plus(Span::from_secs(3_600 * 9)),
            "reviewDueAt": at.plus(Span::from_secs(24 * 3_600)),
        }));
        let review = item(2, START + HOUR, json!({
            "form": "review", "opening": opening.id, "by": actor(reviewer), "outcome": "justified",
            "reason": "it was down", "observedAt": at,
        }));
        let found = book(&[review.clone(), opening.clone()], &person);
        prop_assert_eq!(found.len(), 1);
        let same = |one: u8| reviewer / 2 == one / 2;
        let counts = reviewer < 6 && !same(opener) && !second.is_some_and(same);
        prop_assert_eq!(found[0].review.is_some(), counts);

        let now = Timestamp::from_micros(START + hours * HOUR);
        let unreviewed = book(&[opening], &person);
        let expected = match hours {
            hours if hours * 3_600 < OPEN_AT_MOST.secs() => Standing::Open,
            hours if hours < 24 => Standing::Owed,
            _ => Standing::Overdue,
        };
        prop_assert_eq!(unreviewed[0].standing(now), expected);
        // A late review asks for a second authoriser, until it is given.
        prop_assert_eq!(strictness(&unreviewed, 100, now).second.is_some(), hours >= 24);
        if counts {
            prop_assert!(strictness(&found, 100, now).second.is_none());
        }
    }
}

#[test]
fn many_emergencies_ask_for_a_second_authoriser() {
    let now = Timestamp::from_micros(START);
    let all: Vec<EvidenceItem> = (0..3)
        .map(|index| {
            item(
                index,
                START,
                json!({
                    "form": "open", "by": actor(0), "reason": "down",
                    "release": {"service": "pay", "environment": "production"},
                    "observedAt": now, "reviewDueAt": now.plus(Span::from_secs(86_400)),
                }),
            )
        })
        .collect();
    let found = book(&all, &person);
    assert_eq!(
        found.iter().map(|one| one.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    // Of few deployments a share says nothing.
    assert_eq!(strictness(&found, 9, now).second, None);
    assert_eq!(strictness(&found, 30, now).second, None);
    let strict = strictness(&found, 29, now).second.unwrap();
    assert!(strict.starts_with("3 of 29 deployments"), "{strict}");
}
