"""Settlement: what was captured during a day is paid out to each merchant, less the fee."""

from dataclasses import dataclass

from .ledger import Leg
from .money import Money
from .retry import call

CLEARING = "clearing"
FEES = "fees"
BANK = "bank"


class GatewayError(Exception):
    """The bank did not take the payout; it may be tried again."""


@dataclass(frozen=True)
class Capture:
    """Money taken from a card for a merchant."""

    id: str
    merchant: str
    amount: Money


@dataclass(frozen=True)
class Payout:
    """What one merchant is owed in one currency."""

    reference: str
    merchant: str
    gross: Money
    fee: Money
    net: Money


def capture(ledger, taken):
    """Book a capture: clearing owes us, we owe the merchant."""
    return ledger.post(
        f"capture/{taken.id}",
        [Leg(CLEARING, taken.amount), Leg(f"merchant/{taken.merchant}", -taken.amount)],
    )


def fee(gross, basis_points):
    """The fee in whole minor units, rounded half up, never more than the gross amount."""
    return Money(gross.currency, min(gross.minor, (gross.minor * basis_points + 5_000) // 10_000))


def batch(day, captures, basis_points=140):
    """Group captures by merchant and currency into payouts, in a fixed order."""
    totals = {}
    for taken in captures:
        key = (taken.merchant, taken.amount.currency)
        totals[key] = totals[key] + taken.amount if key in totals else taken.amount
    payouts = []
    for (merchant, currency), gross in sorted(totals.items()):
        if gross.minor <= 0:
            continue
        charged = fee(gross, basis_points)
        payouts.append(Payout(f"payout/{day}/{merchant}/{currency}", merchant, gross, charged, gross + -charged))
    return payouts


def settle(ledger, payouts, send, budget, attempts=3, pause=lambda attempt: None):
    """Send each payout and book it. One merchant's failure does not stop the others."""
    failed = []
    for payout in payouts:
        try:
            call(budget, attempts, lambda: send(payout), GatewayError, pause)
        except GatewayError as error:
            failed.append((payout.reference, str(error)))
            continue
        ledger.post(
            payout.reference,
            [Leg(f"merchant/{payout.merchant}", payout.gross), Leg(FEES, -payout.fee), Leg(BANK, -payout.net)],
        )
    return failed
