"""Order numbers that a customer can read aloud: `product_` and a time-ordered id (02-domain 2.5, F009). Pure."""

from typing import Final
from uuid import UUID

PREFIX: Final = "product_"
ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32: no i, l, o, u
_LOOKALIKES: Final = str.maketrans("ilo", "110")


def order_number(row_id: UUID) -> str:
    """`product_` and 26 lower-case characters; numbers of later orders sort later."""
    value, digits = row_id.int, []
    for _ in range(26):
        value, digit = divmod(value, 32)
        digits.append(ALPHABET[digit])
    return PREFIX + "".join(reversed(digits))


def tidy(text: str) -> str:
    """What somebody typed, as we write it: lower case, and Crockford's look-alikes read as meant."""
    prefix, _, rest = text.strip().lower().partition("_")
    return f"{prefix}_{rest.translate(_LOOKALIKES)}" if rest else prefix
