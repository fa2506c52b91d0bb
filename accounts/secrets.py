"""Secrets: how they are made, recognised, hashed and compared (07-reliability). Pure but for the settings.

A secret is `prefix` + 43 base-62 characters (256 random bits) + 6 characters of checksum, so that a leaked-secret
scanner, and our own redactor, can tell one of ours from a random string without asking the database.
"""

import hashlib
import hmac
import re
import secrets as random_source
import zlib
from dataclasses import dataclass

from django.conf import settings

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY, _CHECK = 43, 6
PREFIXES = ("sk-pg-v1-", "sk-ss-v1-", "mk-", "gw-")
PATTERN = re.compile(rf"(?:{'|'.join(PREFIXES)})[0-9A-Za-z]{{{_BODY + _CHECK}}}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A new secret: `text` is shown once, the rest is stored."""

    text: str
    prefix: str
    last_four: str
    hash: bytes


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def digest(text: str) -> bytes:
    """The keyed hash under which a secret is stored and found (HMAC-SHA-256, 32 bytes)."""
    return hmac.digest(settings.KEY_HASH_SECRET.encode(), text.encode(), hashlib.sha256)


def new(prefix: str) -> Secret:
    """A fresh secret with this prefix."""
    body = prefix + _base62(random_source.randbits(256), _BODY)
    text = body + _base62(zlib.crc32(body.encode()), _CHECK)
    return Secret(text, prefix, text[-4:], digest(text))


def is_well_formed(text: str) -> bool:
    """True when the text has one of our prefixes, the length, and a checksum that fits."""
    return bool(PATTERN.fullmatch(text)) and hmac.compare_digest(
        text[-_CHECK:], _base62(zlib.crc32(text[:-_CHECK].encode()), _CHECK)
    )


def mask(text: str) -> str:
    """`sk-pg-v1-…9f3a`; anything that is not one of ours shows nothing of itself."""
    prefix = next((p for p in PREFIXES if text.startswith(p)), None)
    return f"{prefix}…{text[-4:]}" if prefix and len(text) >= len(prefix) + 8 else "…"
