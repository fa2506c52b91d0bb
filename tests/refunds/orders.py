"""Orders that were paid, without a provider: for what happens on our side only."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from accounts.models import Account, User
from billing.money import round_minor, to_minor_units
from billing.payments import settling, topups
from billing.payments.models import TopUp
from billing.payments.processor import PaymentState, Progress
from tests import factories
from tests.factories import NOON


def placed(usd: str = "20", *, account: Account | None = None, owner: User | None = None, **changes: Any) -> TopUp:
    """An order whose page is open."""
    account = account or factories.account(owner)
    order = topups.place(
        account.pk, Decimal(usd), method="card", client_key=uuid4().hex, actor=None, locale="en", now=NOON
    )
    if changes.get("currency") == "CNY":
        yuan = round_minor(order.amount_usd * order.fx_quote.rate, "CNY")
        changes["amount_minor"] = to_minor_units(yuan, "CNY")
    TopUp.objects.filter(pk=order.pk).update(
        status="awaiting_payment", checkout_session_id=f"cs_test_{order.number}", **changes
    )
    order.refresh_from_db()
    return order


def state_of(paid: TopUp, /, **changes: Any) -> PaymentState:
    """What the provider says when it is paid."""
    said: dict[str, Any] = {
        "session_id": paid.checkout_session_id,
        "order": paid.number,
        "progress": Progress.PAID,
        "amount_minor": paid.amount_minor,
        "received_minor": paid.amount_minor,
        "currency": paid.currency,
        "livemode": False,
        "payment_intent_id": f"pi_{paid.number}",
        **changes,
    }
    return PaymentState(**said)


def credited(usd: str = "20", *, now: datetime = NOON, **terms: Any) -> TopUp:
    """A paid and credited order."""
    order = placed(usd, **terms)
    return settling.record_outcome(order.pk, state_of(order), now=now)


def paid_in_review(usd: str = "20", **terms: Any) -> TopUp:
    """A payment that arrived and is not credited."""
    order = placed(usd, **terms)
    TopUp.objects.filter(pk=order.pk).update(in_review=True, review_reason="risk")
    order = settling.record_outcome(order.pk, state_of(order, order="somebody else's"), now=NOON)
    assert (order.status, order.grant) == ("paid", None)
    return order
