"""How an order is told: a badge, the steps so far, and the failure with its advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.payments.failures import Reason
from billing.payments.models import PaymentAttempt, TopUp

Status = TopUp.Status
_TONES: Final[dict[str, str]] = {
    Status.CREATED: "secondary",
    Status.AWAITING_PAYMENT: "azure",
    Status.PROCESSING: "azure",
    Status.PAID: "azure",
    Status.CREDITED: "green",
    Status.FAILED: "red",
    Status.EXPIRED: "secondary",
    Status.PARTIALLY_REFUNDED: "secondary",
    Status.REFUNDED: "secondary",
    Status.DISPUTED: "red",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An order as pages show it."""

    order: TopUp
    label: str | Promise
    tone: str
    steps: list[dict[str, Any]]
    reason: Reason | None


def shown(order: TopUp) -> Shown:
    """The order's badge, timeline and, when the last try was declined, the reason."""
    attempts = list(order.attempts.order_by("at", "pk"))
    declined = order.status == Status.AWAITING_PAYMENT and bool(order.failure)
    label: str | Promise = order.get_status_display()
    tone = _TONES[order.status]
    if declined:
        label, tone = _("Declined"), "red"
    if order.in_review:
        label, tone = _("In review"), "yellow"
    return Shown(order, label, tone, _steps(order, attempts), order.reason if order.failure else None)


def _steps(order: TopUp, attempts: list[PaymentAttempt]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [_step(_("Order placed"), order.created_at), *map(_attempt, attempts)]
    if order.paid_at and not any(attempt.outcome == PaymentAttempt.Outcome.SUCCEEDED for attempt in attempts):
        steps.append(_step(_("Payment confirmed"), order.paid_at))
    if order.in_review:
        note = _("The payment differs from the order. Our staff check it and will write to you.")
        return [*steps, _step(_("In review"), order.checked_at, "active", note)]
    if order.credited_at:
        steps.append(_step(_("Credited to the balance"), order.credited_at))
    if order.status in (Status.PARTIALLY_REFUNDED, Status.REFUNDED, Status.DISPUTED):
        steps.append(
            _step(order.get_status_display(), order.status_at, "failed" if order.status == Status.DISPUTED else "done")
        )
    elif order.status == Status.CREATED:
        steps.append(
            _step(_("Charging the saved card") if order.automatic else _("Opening the payment page"), None, "active")
        )
    elif order.status == Status.AWAITING_PAYMENT:
        steps.append(_step(_("Waiting for your payment"), None, "active"))
    elif order.status == Status.PROCESSING:
        steps.append(_step(_("Waiting for the payment to be confirmed"), None, "active"))
    elif order.status == Status.FAILED:
        steps.append(_step(_("Failed"), order.status_at, "failed", _("You were not charged.")))
    elif order.status == Status.EXPIRED:
        steps.append(_step(_("Expired without a payment"), order.status_at, "failed", _("You were not charged.")))
    if order.status in TopUp.OPEN:
        steps.append(_step(_("Credited to the balance"), None, "todo"))
    return steps


def _attempt(attempt: PaymentAttempt) -> dict[str, Any]:
    card = f"{attempt.brand.replace('_', ' ').title()} •••• {attempt.last_four}" if attempt.last_four else ""
    if attempt.outcome == PaymentAttempt.Outcome.FAILED:
        reason = attempt.reason
        return _step(reason.title if reason else _("Declined"), attempt.at, "failed", card)
    if attempt.outcome == PaymentAttempt.Outcome.PENDING:
        return _step(_("Payment started"), attempt.at, "done", card)
    return _step(_("Paid"), attempt.at, "done", card)


def _step(title: str | Promise, at: Any, state: str = "done", note: str | Promise = "") -> dict[str, Any]:
    return {"title": title, "at": at, "note": note, "state": state}
