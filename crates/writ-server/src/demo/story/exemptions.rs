//! Exemptions of the year.

use writ_model::Span;

use super::{DemoError, Reply, Teller, Wish, say};

impl Teller<'_> {
    /// What was agreed to live with.
    pub(super) async fn exemptions(&self, week: i64) -> Result<(), DemoError> {
        const PLAN: &str = "The package is not reachable from the network in this service; the upgrade breaks the protocol and is planned.";
        let wishes: &[(i64, usize, Wish, Option<Reply>)] = &[
            (
                3,
                0,
                Wish {
                    service: "payments-api",
                    controls: &["VUL-01"],
                    names: &["CVE-2026-90042"],
                    reason: PLAN,
                    compensating: Some("The header is dropped at the edge."),
                    days: 14,
                },
                Some(Reply::Grant(14)),
            ),
            (
                8,
                3,
                Wish {
                    service: "billing-web",
                    controls: &["VUL-02"],
                    names: &["CVE-2026-90105"],
                    reason: "The base image with the fix is not in our registry yet.",
                    compensating: None,
                    days: 14,
                },
                Some(Reply::Grant(10)),
            ),
            (
                15,
                2,
                Wish {
                    service: "gateway",
                    controls: &["VUL-01"],
                    names: &["CVE-2026-90150"],
                    reason: "We check the algorithm ourselves before the library does.",
                    compensating: None,
                    days: 30,
                },
                Some(Reply::Deny(
                    "The check is bypassed on the admin port; the fix is out.",
                )),
            ),
            (
                23,
                5,
                Wish {
                    service: "statements",
                    controls: &["VUL-01"],
                    names: &["CVE-2026-90219"],
                    reason: "Only our own templates are rendered.",
                    compensating: Some("Uploads of fonts are off."),
                    days: 14,
                },
                Some(Reply::Grant(14)),
            ),
            (
                26,
                4,
                Wish {
                    service: "risk-engine",
                    controls: &["VUL-01"],
                    names: &["CVE-2026-90230"],
                    reason: PLAN,
                    compensating: None,
                    days: 14,
                },
                Some(Reply::Revoke(
                    "The upgrade is in; nothing is left to permit.",
                )),
            ),
            (
                33,
                1,
                Wish {
                    service: "ledger",
                    controls: &["VUL-02"],
                    names: &["CVE-2026-90278"],
                    reason: "iconv is not called by this service.",
                    compensating: Some("The character sets are pinned to UTF-8."),
                    days: 14,
                },
                Some(Reply::Grant(14)),
            ),
            (
                50,
                3,
                Wish {
                    service: "billing-web",
                    controls: &["VUL-02"],
                    names: &["CVE-2026-91817"],
                    reason: "The service parses no XML from outside; the fixed base image is built on Thursday.",
                    compensating: Some("The XML endpoint is off."),
                    days: 14,
                },
                Some(Reply::Grant(14)),
            ),
            (
                51,
                2,
                Wish {
                    service: "gateway",
                    controls: &["TST-01"],
                    names: &[],
                    reason: "The new router is covered by end-to-end tests that do not report coverage yet.",
                    compensating: None,
                    days: 30,
                },
                None,
            ),
        ];
        for (number, (_, author, wish, reply)) in
            wishes.iter().enumerate().filter(|(_, wish)| wish.0 == week)
        {
            let at = self.world.at(week, 160);
            let request = say::exemption_request(self.world.person(*author), wish, at)?;
            let id = request.id;
            self.record(at, vec![request]).await?;
            let Some(reply) = reply else { continue };
            let by = self.world.reviewer(&format!("exemption/{number}"));
            let answered = at.plus(Span::from_secs(4 * 3_600));
            let first = match reply {
                Reply::Revoke(_) => &Reply::Grant(14),
                other => other,
            };
            self.record(
                answered,
                vec![say::exemption_answer(by.clone(), id, first, answered)?],
            )
            .await?;
            if matches!(reply, Reply::Revoke(_)) {
                let later = answered.plus(Span::from_secs(20 * 3_600));
                self.record(later, vec![say::exemption_answer(by, id, reply, later)?])
                    .await?;
            }
        }
        Ok(())
    }
}
