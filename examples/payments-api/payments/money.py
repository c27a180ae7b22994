"""Amounts are whole minor units (cents) with a currency; floats never touch money."""

from dataclasses import dataclass

#: Decimal places of the currencies this service settles.
EXPONENT = {"EUR": 2, "GBP": 2, "USD": 2, "JPY": 0}


class MoneyError(ValueError):
    """An amount that cannot be booked."""


@dataclass(frozen=True, order=True)
class Money:
    """``minor`` units of ``currency``; may be negative (a credit)."""

    currency: str
    minor: int

    def __post_init__(self):
        if self.currency not in EXPONENT:
            raise MoneyError(f"unknown currency {self.currency!r}")
        if not isinstance(self.minor, int) or isinstance(self.minor, bool):
            raise MoneyError("an amount is a whole number of minor units")

    def __add__(self, other):
        if self.currency != other.currency:
            raise MoneyError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.currency, self.minor + other.minor)

    def __neg__(self):
        return Money(self.currency, -self.minor)

    def __str__(self):
        exponent = EXPONENT[self.currency]
        if exponent == 0:
            return f"{self.minor} {self.currency}"
        sign = "-" if self.minor < 0 else ""
        whole, part = divmod(abs(self.minor), 10**exponent)
        return f"{sign}{whole}.{part:0{exponent}d} {self.currency}"


def parse(text):
    """Read ``12.30 EUR``. More decimals than the currency has is an error, not a rounding."""
    number, _, currency = text.strip().partition(" ")
    if currency not in EXPONENT:
        raise MoneyError(f"unknown currency {currency!r} in {text!r}")
    exponent = EXPONENT[currency]
    whole, point, part = number.partition(".")
    if (point and not part) or len(part) > exponent or not (whole.lstrip("-") + part).isdigit():
        raise MoneyError(f"{text!r} is not an amount with {exponent} decimals")
    minor = int(whole.lstrip("-") or "0") * 10**exponent + int(part.ljust(exponent, "0") or "0")
    return Money(currency, -minor if whole.startswith("-") else minor)
