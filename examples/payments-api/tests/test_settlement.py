from payments.ledger import Ledger
from payments.money import Money
from payments.retry import RetryBudget
from payments.settlement import Capture, GatewayError, batch, capture, fee, settle


def eur(minor):
    return Money("EUR", minor)


def test_fee_is_rounded_half_up_and_capped():
    assert fee(eur(10_000), 140) == eur(140)
    assert fee(eur(36), 140) == eur(1)
    assert fee(eur(35), 140) == eur(0)


def test_a_batch_pays_each_merchant_once():
    ledger = Ledger()
    captures = [Capture("c1", "acme", eur(5000)), Capture("c2", "acme", eur(5000)), Capture("c3", "zeta", eur(300))]
    for taken in captures:
        capture(ledger, taken)
    sent = []
    payouts = batch("2026-11-21", captures)
    assert settle(ledger, payouts, sent.append, RetryBudget()) == []
    assert [(p.merchant, p.net) for p in sent] == [("acme", eur(9860)), ("zeta", eur(296))]
    assert ledger.balance("merchant/acme", "EUR") == eur(0)
    assert ledger.trial_balance() == {"EUR": 0}


def test_a_bank_that_recovers_is_retried():
    ledger = Ledger()
    answers = [GatewayError("503"), None]

    def send(payout):
        answer = answers.pop(0)
        if answer:
            raise answer

    assert settle(ledger, batch("d", [Capture("c1", "acme", eur(100))]), send, RetryBudget()) == []
    assert answers == []
