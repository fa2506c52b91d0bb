"""Money, the ledger's scale and its one way of rounding (02-domain: NUMERIC(24,10), ROUND_HALF_UP). Pure.

A float is refused everywhere: it has already lost the digit that somebody will ask about.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Final

__all__ = [
    "CNY",
    "FLOW_QUANTUM",
    "LEDGER_QUANTUM",
    "MINOR_DIGITS",
    "USD",
    "ZERO",
    "Money",
    "from_minor_units",
    "minor_text",
    "parse_decimal",
    "round_charge",
    "round_flows",
    "round_minor",
    "text",
    "to_minor_units",
]

LEDGER_QUANTUM: Final = Decimal("0.0000000001")  # 1e-10: per-token prices survive
FLOW_QUANTUM: Final = Decimal("0.000001")
ZERO: Final = Decimal("0.0000000000")
USD: Final = "USD"
CNY: Final = "CNY"

# ISO 4217 minor units of the currencies that a card network may send us.
MINOR_DIGITS: Final[dict[str, int]] = {"USD": 2, "CNY": 2, "EUR": 2, "GBP": 2, "HKD": 2, "SGD": 2, "JPY": 0, "KRW": 0}

# The default context has 28 digits; NUMERIC(24,10) products need more before they are rounded.
EXACT: Final = Context(prec=80, rounding=ROUND_HALF_UP)


def round_charge(raw: Decimal) -> Decimal:
    """The one place where a computed price becomes ledger money: 1e-10, half up."""
    return _decimal(raw).quantize(LEDGER_QUANTUM, context=EXACT)


def round_flows(raw: Decimal) -> Decimal:
    """Flows are kept to six places, half up."""
    return _decimal(raw).quantize(FLOW_QUANTUM, context=EXACT)


def round_minor(raw: Decimal, currency: str = USD) -> Decimal:
    """An amount that may leave or enter through a payment provider: whole minor units, half up (J11)."""
    return _decimal(raw).quantize(Decimal(1).scaleb(-_digits(currency)), context=EXACT)


def to_minor_units(amount: Decimal, currency: str = USD) -> int:
    """Whole cents (fen, yen) for a payment provider. Refuses to lose a fraction: round first, on purpose."""
    minor = _decimal(amount).scaleb(_digits(currency), context=EXACT)
    if minor != minor.to_integral_value():
        raise ValueError(f"{amount} {currency} is not a whole minor unit")
    return int(minor)


def from_minor_units(minor: int, currency: str = USD) -> Decimal:
    """What a payment provider said, as ledger money."""
    if isinstance(minor, bool) or not isinstance(minor, int):
        raise TypeError(f"minor units are an int, not {type(minor).__name__}")
    return Decimal(minor).scaleb(-_digits(currency), context=EXACT).quantize(LEDGER_QUANTUM, context=EXACT)


def minor_text(minor: int | None, currency: str) -> str:
    """What a payment provider said, for people: `34.00 USD`. A currency that we do not sell in: as it was told."""
    if minor is None:
        return "no amount"
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        return f"{minor} {currency} (smallest units)"
    return f"{Decimal(minor).scaleb(-digits, context=EXACT):,.{digits}f} {currency}".replace("-", "\N{MINUS SIGN}")


def parse_decimal(value: object) -> Decimal:
    """A decimal string, int or Decimal from an edge; floats, blanks, NaN and infinities raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ValueError(f"write a decimal string, not {type(value).__name__}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    return number


def text(amount: Decimal) -> str:
    """An amount as the API says it: "0.0000000000", where `str` would say 0E-10."""
    return format(_decimal(amount), "f")


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount that the ledger can hold, with its currency."""

    amount: Decimal
    currency: str = USD

    def __post_init__(self) -> None:
        _decimal(self.amount)
        if self.amount != self.amount.quantize(LEDGER_QUANTUM, context=EXACT):
            raise ValueError(f"{self.amount} is finer than {LEDGER_QUANTUM}")

    @classmethod
    def rounded(cls, raw: Decimal, currency: str = USD) -> Money:
        return cls(round_charge(raw), currency)

    @classmethod
    def from_minor_units(cls, minor: int, currency: str = USD) -> Money:
        return cls(from_minor_units(minor, currency), currency)

    def to_minor_units(self) -> int:
        return to_minor_units(self.amount, self.currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)

    def __bool__(self) -> bool:
        return bool(self.amount)

    def __str__(self) -> str:
        return f"{text(self.amount)} {self.currency}"

    def _same(self, other: Money) -> Decimal:
        if not isinstance(other, Money):
            raise TypeError(f"Money meets Money, not {type(other).__name__}")
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other.amount


def _decimal(value: Decimal) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"money is a Decimal, not {type(value).__name__}")
    if not value.is_finite():
        raise ValueError(f"{value} is not an amount")
    return value


def _digits(currency: str) -> int:
    try:
        return MINOR_DIGITS[currency]
    except KeyError:
        raise ValueError(f"unknown currency {currency}") from None
