"""Voucher codes: 16 Crockford base-32 characters, of which the last is a check digit. Pure but for the keyed hash.

Fifteen characters are random (75 bits), so a code cannot be guessed within a campaign's life even by millions of
tries; the sixteenth tells a slip of the pen from a wrong code without asking the database. It is the sum of the
others weighted by powers of a generator of the field with 32 elements: every single wrong character and every pair of
characters that changed places is found (docs/decisions/0025).
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Final

from accounts.secrets import digest
from billing.errors import VoucherMistyped

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: without I, L, O, U
LENGTH: Final = 16
LONGEST_TYPED: Final = 64
_VALUE: Final = {letter: value for value, letter in enumerate(ALPHABET)}
_READ_AS: Final = str.maketrans(ascii_lowercase + "oilOIL", ascii_uppercase + "011011")
_IGNORED: Final = str.maketrans("", "", " \t\r\n\u00a0\u3000-\u2010\u2011\u2012\u2013\u2014\u2212\uff0d_.")
_POLYNOMIAL: Final = 0b100101  # x^5 + x^2 + 1, primitive: 2 generates the field


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was read or made. `text` must not be stored or logged."""

    text: str

    @property
    def shown(self) -> str:
        """In groups of four, as it is printed."""
        return "-".join(self.text[start : start + 4] for start in range(0, LENGTH, 4))

    @property
    def last_four(self) -> str:
        """All of it that is ever kept in clear."""
        return self.text[-4:]

    @property
    def digest(self) -> bytes:
        """The keyed hash under which it is stored and found (I13)."""
        return digest(f"voucher:{self.text}")

    def __repr__(self) -> str:
        return f"Code(…{self.last_four})"


def new() -> Code:
    """A fresh code."""
    body = "".join(ALPHABET[byte & 31] for byte in secrets.token_bytes(LENGTH - 1))  # 32 divides 256: no bias
    return Code(body + check_digit(body))


def check_digit(body: str) -> str:
    """The character that makes the weighted sum of all sixteen zero."""
    total = 0
    for letter in body:
        total = _double(total ^ _VALUE[letter])
    return ALPHABET[total]


def _double(value: int) -> int:
    """Times the generator, in the field with 32 elements."""
    value <<= 1
    return value ^ _POLYNOMIAL if value & 32 else value


def read(typed: str) -> Code:
    """What somebody typed or pasted: case, spaces and dashes do not matter, O is 0, I and L are 1.

    Raises `VoucherMistyped`, which names what is wrong and says nothing about whether any code exists.
    """
    narrow = unicodedata.normalize("NFKC", typed[:LONGEST_TYPED])  # full-width letters of an East Asian keyboard
    text = "".join(narrow.translate(_IGNORED).translate(_READ_AS).split())
    if len(typed) > LONGEST_TYPED or len(text) != LENGTH:
        raise VoucherMistyped(reason="length", expected=LENGTH, typed=min(len(text), LONGEST_TYPED))
    if strange := next((letter for letter in text if letter not in _VALUE), None):
        raise VoucherMistyped(reason="character", character=strange if strange.isprintable() else "?")
    if check_digit(text[:-1]) != text[-1]:
        raise VoucherMistyped(reason="check")
    return Code(text)


def mask(last_four: str) -> str:
    """`…-7K2Q`."""
    return f"\u2026-{last_four}"
