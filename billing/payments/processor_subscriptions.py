"""Subscriptions and their invoices at the provider: what we ask and what it tells us, in our own nouns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from billing.payments.processor import CheckoutStarted, Progress


class SubscriptionProgress(StrEnum):
    """How a subscription stands. UNKNOWN is a status that this version does not know."""

    INCOMPLETE = "incomplete"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    ENDED = "ended"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class InvoiceProgress(StrEnum):
    """How an invoice stands. DRAFT may still change and is nobody's business yet."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    FAILED = "failed"
    VOID = "void"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PlanPriceRequest:
    """A plan version that the provider shall know as a monthly price. Made from the stored row alone."""

    lookup_key: str
    name: str
    plan: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A page on which a plan is subscribed to. Made from the stored row alone: a retry must be the same."""

    subscription: str
    account_id: str
    customer_id: str
    price_id: str
    success_url: str
    cancel_url: str
    locale: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class SubscriptionCheckout:
    """What is true of such a page now; with the provider's subscription once there is one."""

    session_id: str
    subscription: str
    provider_id: str
    progress: Progress
    livemode: bool
    url: str = ""


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What is true of a subscription now. `subscription` is our row's id, from its marks. The price is the first
    item's; `next_price_id` the one that a schedule puts in its place at the period's end."""

    provider_id: str
    subscription: str
    customer_id: str
    progress: SubscriptionProgress
    status: str
    price_id: str
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    livemode: bool
    created_at: datetime
    ended_at: datetime | None = None
    schedule_id: str = ""
    next_price_id: str = ""
    pending_price_id: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line of an invoice, in minor units; below zero is a credit. A proration is for a part of a period."""

    text: str
    amount_minor: int
    proration: bool
    price_id: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """What is true of an invoice now; amounts in minor units, tax included in `amount_minor`. `lines` are the first
    ones, as many as the provider tells with the invoice."""

    provider_id: str
    subscription_id: str
    number: str
    progress: InvoiceProgress
    status: str
    reason: str
    amount_minor: int
    tax_minor: int
    paid_minor: int
    currency: str
    at: datetime
    livemode: bool
    period_start: datetime | None = None
    period_end: datetime | None = None
    paid_at: datetime | None = None
    payment_intent_id: str = ""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    lines: tuple[InvoiceLine, ...] = ()


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """One line of a preview, as the provider computes it: minor units; below zero is a credit."""

    text: str
    amount_minor: int
    proration: bool


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What a change of plan would cost now. `due_minor` is charged at once; `at` must come with the change."""

    due_minor: int
    currency: str
    at: datetime
    lines: tuple[PreviewLine, ...]


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """An upgrade with proration, paid at once or not made. Made from the stored row alone."""

    provider_id: str
    price_id: str
    at: datetime
    change: str
    idempotency_key: str


class SubscriptionProcessor(Protocol):
    """Every call that makes something carries a key that was stored before it."""

    def plan_price(self, request: PlanPriceRequest) -> tuple[str, str]:
        """The price and the product of a plan version at the provider; made when there is none yet."""
        ...

    def start_subscription(self, request: SubscriptionRequest) -> CheckoutStarted:
        """Open a page on which the plan can be subscribed to and its first month paid."""
        ...

    def subscription_checkout(self, session_id: str) -> SubscriptionCheckout:
        """What is true of such a page now."""
        ...

    def subscription(self, provider_id: str) -> SubscriptionState:
        """What is true of a subscription now."""
        ...

    def subscriptions_of(self, customer_id: str) -> tuple[SubscriptionState, ...]:
        """Every subscription of a customer, ended ones too, newest first."""
        ...

    def invoices_of(self, provider_id: str) -> tuple[InvoiceState, ...]:
        """The newest invoices of a subscription, oldest first."""
        ...

    def preview_change(self, provider_id: str, price_id: str, *, at: datetime) -> ChangePreview:
        """What changing to this price at this moment would cost. Changes nothing."""
        ...

    def change_now(self, request: ChangeRequest) -> SubscriptionState:
        """Change the price with proration; a payment that is declined leaves the old price in force."""
        ...

    def change_at_period_end(self, provider_id: str, price_id: str, *, change: str, idempotency_key: str) -> str:
        """Let another price begin with the next period; the id of the schedule."""
        ...

    def withdraw_change(self, schedule_id: str) -> None:
        """Forget what was to begin with the next period. Doing it again changes nothing."""
        ...

    def renew(self, provider_id: str, *, on: bool, idempotency_key: str) -> SubscriptionState:
        """Let the subscription go on after its period, or end with it (C29)."""
        ...

    def end_subscription(self, provider_id: str, *, idempotency_key: str) -> SubscriptionState:
        """End it at once, without a refund. Doing it again changes nothing."""
        ...

    def invoice_page(self, provider_id: str) -> str:
        """The address of the provider's page of one invoice: its receipt, or where it is paid; "" without one."""
        ...

    def billing_page(self, customer_id: str, *, return_url: str) -> str:
        """The address of the provider's own page for cards and invoices; good for some minutes."""
        ...
