"""What a card's brand is called."""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    "amex": "American Express",
    "american_express": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "diners": "Diners Club",
    "diners_club": "Diners Club",
    "eftpos_au": "eftpos",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "unknown": "",
}


def brand_name(brand: str) -> str:
    """The provider's word for a brand as its holder knows it; empty when the provider does not know it either."""
    return _NAMES.get(brand, brand.replace("_", " ").title())


def card_text(brand: str, last_four: str) -> str:
    """`Visa •••• 4242`; empty without digits."""
    return f"{brand_name(brand)} •••• {last_four}".strip() if last_four else ""
