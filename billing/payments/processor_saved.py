"""Saved cards at the provider, and charging one while the customer is away, in our own nouns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from billing.payments.processor import CheckoutStarted, PaymentState, Progress


@dataclass(frozen=True, slots=True)
class CardSetupRequest:
    """A page on which a customer gives a card to be kept. Made from the stored row alone."""

    setup: str
    account_id: str
    customer_id: str
    success_url: str
    cancel_url: str
    locale: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class SavedCard:
    """A card as the provider keeps it. The fingerprint is the same for one number, whoever gives it."""

    provider_id: str
    customer_id: str
    brand: str
    last_four: str
    exp_month: int
    exp_year: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CardSetupState:
    """What is true of the page now; with the card once it is kept."""

    session_id: str
    setup: str
    progress: Progress
    livemode: bool
    card: SavedCard | None
    statuses: str = ""


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """An order to be paid with a saved card, without the customer. Made from stored rows alone."""

    order: str
    account_id: str
    customer_id: str
    card_id: str
    amount_minor: int
    currency: str
    idempotency_key: str


class SavedCards(Protocol):
    """Every call that makes something carries a key that was stored before it."""

    def start_card_setup(self, request: CardSetupRequest) -> CheckoutStarted:
        """Open a page on which a card can be given."""
        ...

    def card_setup(self, session_id: str) -> CardSetupState:
        """What is true of such a page now."""
        ...

    def card(self, provider_id: str) -> SavedCard | None:
        """A card as it is now; None when it is kept for nobody any more."""
        ...

    def forget_card(self, provider_id: str) -> None:
        """Keep the card no longer. Doing it again changes nothing."""
        ...

    def charge(self, request: ChargeRequest) -> PaymentState:
        """Take the money. A refusal by the bank is a state, not an error."""
        ...

    def payment(self, payment_id: str) -> PaymentState:
        """What is true of a payment now."""
        ...

    def find_payment(self, customer_id: str, order: str, *, since: datetime) -> PaymentState | None:
        """The customer's payment that carries the order's number, when the answer that named it was lost."""
        ...
