"""What we ask of a payment provider and what it tells us, in our own nouns. The provider's SDK is not known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol

from django.utils.translation import gettext_lazy as _

from billing.errors import BillingError
from billing.payments.processor_books import ProviderBooks
from billing.payments.processor_disputes import Disputes
from billing.payments.processor_refunds import RefundProcessor
from billing.payments.processor_saved import SavedCards
from billing.payments.processor_subscriptions import SubscriptionProcessor


class ProcessorUnavailable(BillingError):
    """Silence: whether the call took effect is not known. Ask again with the same key."""

    code = "processor_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = _("The payment provider does not answer. You were not charged; please try again in a moment.")


class ProcessorRefused(BillingError):
    """A definite no: nothing happened, and asking again will not help."""

    code = "processor_refused"
    status = HTTPStatus.BAD_GATEWAY
    title = _("The payment provider refused the request.")


class UnknownAtProcessor(BillingError):
    """The provider has no object with this id."""

    code = "unknown_at_processor"
    status = HTTPStatus.NOT_FOUND
    title = _("The payment provider does not know this payment.")


class UnrecognisedStatus(BillingError):
    """A status that this version does not know: kept and flagged, nothing changed. Every enum of theirs is open."""

    code = "unrecognised_status"
    status = HTTPStatus.BAD_GATEWAY
    title = _("The payment provider answered in a way that we do not understand yet. Support will look at it.")


class SecondCheckout(UnrecognisedStatus):
    """Another checkout than the order's own names the order."""


class SignatureInvalid(BillingError):
    """A webhook that was not signed with one of our secrets, or too long ago."""

    code = "signature_invalid"
    status = HTTPStatus.BAD_REQUEST
    title = _("The signature of this event is not valid.")


class Progress(StrEnum):
    """How far a checkout is. UNKNOWN is a status that this version does not know."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """An order to be paid on the provider's page. Made from the stored order alone: a retry must be the same."""

    order: str
    account_id: str
    customer_id: str
    description: str
    amount_minor: int
    currency: str
    methods: tuple[str, ...]
    success_url: str
    cancel_url: str
    expires_at: datetime
    locale: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class CheckoutStarted:
    """The provider's page for an order."""

    session_id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to pay. `reference` names it for ever."""

    reference: str
    at: datetime
    outcome: str  # succeeded, pending, failed
    code: str = ""
    decline_code: str = ""
    blocked: bool = False
    risk: str = ""
    rule: str = ""
    brand: str = ""
    last_four: str = ""
    fingerprint: str = ""  # names the card at the provider, whoever uses it
    holder: str = ""
    risk_level: str = ""


@dataclass(frozen=True, slots=True)
class PaymentState:
    """What is true of a checkout now. The amounts are what was asked and, when paid, what was received."""

    session_id: str
    order: str
    progress: Progress
    amount_minor: int | None
    received_minor: int | None
    currency: str
    livemode: bool
    url: str = ""
    payment_intent_id: str = ""
    statuses: str = ""
    attempts: tuple[Attempt, ...] = field(default=())
    paid_at: datetime | None = None
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A verified event: only that something happened to an object, and the body as it came."""

    event_id: str
    type: str
    api_version: str
    livemode: bool
    object_id: str
    body: dict[str, Any]


class PaymentProcessor(Disputes, ProviderBooks, RefundProcessor, SavedCards, SubscriptionProcessor, Protocol):
    """Every call that makes something carries a key that was stored before it."""

    def create_customer(self, *, account_id: str, email: str, idempotency_key: str) -> str:
        """The provider's id of a customer."""
        ...

    def start_checkout(self, request: CheckoutRequest) -> CheckoutStarted:
        """Open a page on which the order can be paid."""
        ...

    def checkout(self, session_id: str) -> PaymentState:
        """What is true of a checkout now."""
        ...
