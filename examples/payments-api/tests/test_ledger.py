import pytest

from payments.ledger import Ledger, LedgerError, Leg
from payments.money import Money, MoneyError, parse


def eur(minor):
    return Money("EUR", minor)


def test_a_posting_moves_money_between_accounts():
    ledger = Ledger()
    ledger.post("p1", [Leg("clearing", eur(1250)), Leg("merchant/acme", eur(-1250))])
    assert ledger.balance("clearing", "EUR") == eur(1250)
    assert ledger.balance("merchant/acme", "EUR") == eur(-1250)
    assert ledger.trial_balance() == {"EUR": 0}


def test_an_unbalanced_posting_is_refused():
    ledger = Ledger()
    with pytest.raises(LedgerError, match="out of balance by 0.01 EUR"):
        ledger.post("p1", [Leg("a", eur(100)), Leg("b", eur(-99))])
    assert ledger.entries == []


def test_the_same_reference_books_once():
    ledger = Ledger()
    legs = [Leg("a", eur(5)), Leg("b", eur(-5))]
    assert ledger.post("p1", legs) is ledger.post("p1", legs)
    with pytest.raises(LedgerError, match="already booked"):
        ledger.post("p1", [Leg("a", eur(6)), Leg("b", eur(-6))])
    assert len(ledger.entries) == 1


def test_currencies_do_not_mix():
    with pytest.raises(LedgerError, match="cannot add USD to EUR"):
        Ledger().post("p1", [Leg("a", eur(5)), Leg("b", Money("USD", -5))])


@pytest.mark.parametrize(
    "text, minor", [("12.30 EUR", 1230), ("12.3 EUR", 1230), ("-0.05 EUR", -5), ("7 JPY", 7), ("1000 USD", 100000)]
)
def test_amounts_are_read(text, minor):
    assert parse(text).minor == minor


@pytest.mark.parametrize("text", ["12.345 EUR", "12. EUR", "1.5 JPY", "twelve EUR", "12 XXX", ""])
def test_bad_amounts_are_refused(text):
    with pytest.raises(MoneyError):
        parse(text)
