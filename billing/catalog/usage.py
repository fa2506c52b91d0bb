"""Canonical usage (03-http-api 3.4): what one call consumed, in the one shape that rating reads. Pure.

A `Usage` that exists is valid: whole, finite, not negative, not absurd, and its special tokens fit into their base
(C17). `input_tokens` and `output_tokens` include their special tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, Self

from django.utils.translation import gettext_lazy as _

from billing.errors import InvalidUsage

# Billing items (F050) in the order of the usage's fields.
INPUT_COMPONENTS: Final = ("cache", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image")
OUTPUT_COMPONENTS: Final = ("output_audio", "output_image", "reasoning")
COMPONENTS: Final = INPUT_COMPONENTS + OUTPUT_COMPONENTS
ITEMS: Final = ("input", *INPUT_COMPONENTS, "output", *OUTPUT_COMPONENTS)

LIMIT: Final = 2**53  # beyond it JSON numbers lose digits on the way; nobody uses so many tokens
SECOND_PLACES: Final = 9
TICK: Final = Decimal("0.000000001")


class _Row(NamedTuple):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    reasoning_tokens: int = 0
    requests: int | None = None
    images: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: Decimal | None = None


class Usage(_Row):
    """One call's quantities. Token counts default to 0; the others to None, "not told", which is not the same as 0."""

    __slots__ = ()

    def __new__(cls, **quantities: Any) -> Self:
        return tuple.__new__(cls, _checked(quantities))

    def counts(self) -> tuple[int, ...]:
        """How many tokens each of ITEMS has; every token is counted once."""
        i, o, auto, read, w5, w1, ia, ii, oa, oi, re = self[:11]
        return (i - auto - read - w5 - w1 - ia - ii, auto, read, w5, w1, ia, ii, o - oa - oi - re, oa, oi, re)

    def parts(self) -> dict[str, int]:
        """The same by name: plain input, its special tokens, plain output, its special tokens."""
        return dict(zip(ITEMS, self.counts(), strict=True))

    @property
    def total_tokens(self) -> int:
        return self[0] + self[1]

    def as_dict(self) -> dict[str, int | str]:
        """What was told, for storing; `parse_usage` reads it back unchanged."""
        told: dict[str, int | str] = {
            name: value for name, value in zip(self._fields[:11], self[:11], strict=True) if value
        }
        told |= {name: value for name, value in zip(self._fields[11:15], self[11:15], strict=True) if value is not None}
        if self.seconds is not None:
            told["seconds"] = format(self.seconds, "f")
        return told


_INDEX: Final = {name: position for position, name in enumerate(_Row._fields)}
_EMPTY: Final[list[Any]] = list(_Row())
_SECONDS: Final = _INDEX["seconds"]


def parse_usage(quantities: Mapping[str, Any]) -> Usage:
    """Usage from an edge: ints or decimal strings, null for "not told"; else InvalidUsage naming the field."""
    return tuple.__new__(Usage, _checked(quantities))


def seconds_ticks(seconds: Decimal) -> int:
    """Seconds as whole nanoseconds."""
    return int(seconds.scaleb(SECOND_PLACES))


def _checked(quantities: Mapping[str, Any]) -> list[Any]:
    """One row of valid quantities. This is walked for every call there is, so the good case stays short."""
    if type(quantities) is not dict and not isinstance(quantities, Mapping):
        raise InvalidUsage(_("%(field)s must be an object."), field="usage")
    row = _EMPTY[:]
    special = False
    for name, value in quantities.items():
        position = _INDEX.get(name)
        if position is None:
            raise InvalidUsage(_("%(field)s is not a known quantity."), field=str(name)[:64])
        if type(value) is not int or not 0 <= value < LIMIT or position == _SECONDS:
            if value is None:
                continue
            value = _seconds(value) if position == _SECONDS else _count(name, value)
        row[position] = value
        if 1 < position < 11:
            special = True
    if special:
        if row[2] + row[3] + row[4] + row[5] + row[6] + row[7] > row[0]:
            raise InvalidUsage(_("%(field)s must include its cache, audio and image tokens."), field="input_tokens")
        if row[8] + row[9] + row[10] > row[1]:
            raise InvalidUsage(
                _("%(field)s must include its reasoning, audio and image tokens."), field="output_tokens"
            )
    return row


def _count(name: str, value: Any) -> int:
    number = _number(name, value)
    if number != number.to_integral_value():
        raise InvalidUsage(_("%(field)s must be a whole number."), field=name)
    return int(number)


def _seconds(value: Any) -> Decimal:
    number = _number("seconds", value)
    if number != number.quantize(TICK):
        raise InvalidUsage(_("%(field)s has too many decimal places."), field="seconds")
    return number


def _number(name: str, value: Any) -> Decimal:
    if isinstance(value, float):
        raise InvalidUsage(_("%(field)s: send an integer or a decimal string, not a float."), field=name)
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise InvalidUsage(_("%(field)s must be a number."), field=name)
    if isinstance(value, str) and len(value) > 40:
        raise InvalidUsage(_("%(field)s is absurdly large."), field=name)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise InvalidUsage(_("%(field)s must be a number."), field=name) from None
    if not number.is_finite():
        raise InvalidUsage(_("%(field)s must be finite."), field=name)
    if number < 0:
        raise InvalidUsage(_("%(field)s must not be negative."), field=name)
    if number >= LIMIT:
        raise InvalidUsage(_("%(field)s is absurdly large."), field=name)
    return number
