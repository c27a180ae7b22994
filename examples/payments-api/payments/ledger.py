"""Double-entry ledger: every posting has legs that add up to nothing."""

from collections import defaultdict
from dataclasses import dataclass

from .money import Money, MoneyError


@dataclass(frozen=True)
class Leg:
    """One side of a posting: a positive amount debits the account, a negative one credits it."""

    account: str
    amount: Money


@dataclass(frozen=True)
class Entry:
    """A posting that has happened. Entries are never changed; a mistake is reversed."""

    id: int
    reference: str
    legs: tuple


class LedgerError(ValueError):
    """A posting that would break the books."""


class Ledger:
    """Entries in order, with the balance of each account."""

    def __init__(self):
        self.entries = []
        self._balances = defaultdict(dict)
        self._references = {}

    def post(self, reference, legs):
        """Book ``legs`` once: the same reference again returns the first entry (idempotent)."""
        legs = tuple(legs)
        if reference in self._references:
            first = self._references[reference]
            if first.legs != legs:
                raise LedgerError(f"{reference} was already booked with other amounts")
            return first
        if len(legs) < 2:
            raise LedgerError("a posting needs at least two legs")
        total = legs[0].amount
        try:
            for leg in legs[1:]:
                total = total + leg.amount
        except MoneyError as error:
            raise LedgerError(str(error)) from error
        if total.minor != 0:
            raise LedgerError(f"{reference} is out of balance by {total}")
        entry = Entry(len(self.entries) + 1, reference, legs)
        self.entries.append(entry)
        self._references[reference] = entry
        for leg in legs:
            held = self._balances[leg.account].get(leg.amount.currency)
            self._balances[leg.account][leg.amount.currency] = leg.amount if held is None else held + leg.amount
        return entry

    def reverse(self, reference):
        """Undo a posting by booking its opposite."""
        if reference not in self._references:
            raise LedgerError(f"nothing is booked under {reference}")
        entry = self._references[reference]
        return self.post(f"{reference}/reversal", [Leg(leg.account, -leg.amount) for leg in entry.legs])

    def balance(self, account, currency):
        """What the account holds in ``currency``; nothing booked is zero."""
        return self._balances[account].get(currency, Money(currency, 0))

    def trial_balance(self):
        """Sum over all accounts per currency: zero each, or the books are broken."""
        totals = defaultdict(int)
        for held in self._balances.values():
            for currency, amount in held.items():
                totals[currency] += amount.minor
        return dict(totals)
