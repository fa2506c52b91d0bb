"""How an order is told: a badge, the steps so far, and the failure with its advice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.money import from_minor_units
from billing.payments import risk
from billing.payments.failures import Reason
from billing.payments.models import PaymentAttempt, TopUp
from billing.payments.models_disputes import Dispute
from billing.payments.models_risk import RiskAssessment
from config.templatetags import ui

State = RiskAssessment.State
LATE_AFTER: Final = timedelta(minutes=10)
"""A credit that took longer than this is told of as late (F009)."""
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
    """An order as pages show it. `hold`: its payment waits for our risk check, or staff did not accept it."""

    order: TopUp
    label: str | Promise
    tone: str
    steps: list[dict[str, Any]]
    reason: Reason | None
    hold: RiskAssessment | None
    hold_hours: int

    @property
    def refused(self) -> bool:
        """Staff did not accept the payment; the money goes back, or is back."""
        return self.hold is not None and self.hold.state in (State.REFUND_WANTED, State.REFUNDED)

    @property
    def frozen(self) -> bool:
        """Credit of this order is frozen after a warning of the card's network."""
        return any(warning.held for warning in self.order.fraud_warnings.all())

    @property
    def lost(self) -> bool:
        """The bank has decided against us: nothing about the dispute is open any more."""
        states = {one.state for one in self.order.disputes.all() if one.state in Dispute.COUNTED}
        return states == {Dispute.State.LOST}


def shown(order: TopUp) -> Shown:
    """The order's badge, timeline and, when the last try was declined, the reason."""
    attempts = list(order.attempts.order_by("at", "pk"))
    check = risk.of(order)
    kept_back = check if check is not None and check.state in _KEPT_BACK else None
    if order.in_review and kept_back is not None and kept_back.on_hold:
        kept_back = None  # whoever looks at the order decides, not the end of the hold
    return Shown(
        order,
        *badge(order, check),
        _steps(order, attempts, check),
        order.reason if order.failure else None,
        kept_back,
        risk.hold_hours(),
    )


def badge(order: TopUp, check: RiskAssessment | None) -> tuple[str | Promise, str]:
    """The order's state in one or two words, and its tone."""
    if order.status == Status.AWAITING_PAYMENT and order.failure:
        return _("Declined"), "red"
    if order.status == Status.PAID and check is not None and check.state == State.REFUND_WANTED:
        return _("Not accepted"), "red"
    if order.in_review:
        return _("In review"), "yellow"
    if order.status == Status.PAID and check is not None and check.on_hold:
        return _("Being checked"), "yellow"
    return order.get_status_display(), _TONES[order.status]


_KEPT_BACK: Final = (State.HELD, State.REFUND_WANTED, State.REFUNDED)


def _steps(order: TopUp, attempts: list[PaymentAttempt], check: RiskAssessment | None) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = [_step(_("Order placed"), order.created_at), *map(_attempt, attempts)]
    if order.paid_at and not any(attempt.outcome == PaymentAttempt.Outcome.SUCCEEDED for attempt in attempts):
        steps.append(_step(_("Payment confirmed"), order.paid_at))
    refused = check is not None and check.state == State.REFUND_WANTED
    if order.in_review and order.refunded_minor and not refused:
        return [*steps, _step(_("The money goes back the way it was paid"), None, "active")]
    if order.in_review and not refused:
        note = _("Our staff check this payment and will write to you.")
        return [*steps, _step(_("In review"), order.checked_at, "active", note)]
    steps += _checked(order, check)
    if order.credited_at:
        late = check is None or check.held_until is None
        late = late and order.paid_at is not None and order.credited_at - order.paid_at > LATE_AFTER
        told = _("later than it should be") if late else ""
        steps.append(_step(_("Credited to the balance"), order.credited_at, "done", told))
    steps += _ending(order)
    if order.status in TopUp.OPEN or (check is not None and check.on_hold):
        steps.append(_step(_("Credited to the balance"), None, "todo"))
    return steps


def _checked(order: TopUp, check: RiskAssessment | None) -> list[dict[str, Any]]:
    """The hold between payment and credit, and its end."""
    if check is None or check.held_until is None:
        return []
    if check.state == State.HELD:
        usual = _("usually within %(hours)s hours") % {"hours": risk.hold_hours()}
        return [_step(_("Being checked"), check.state_at, "active", usual)]
    held = _step(_("Held for a check"), order.paid_at)
    if check.state == State.RELEASED:
        return [held, _step(_("Check passed"), check.state_at)]
    refused = _step(_("Payment not accepted"), check.decided_at, "failed", _("Nothing was credited."))
    if check.state == State.REFUND_WANTED and order.status == Status.PAID:
        return [held, refused, _step(_("The money goes back the way it was paid"), None, "active")]
    return [held, refused]


def _ending(order: TopUp) -> list[dict[str, Any]]:
    """Where the order stands now, after or without a credit."""
    at = order.status_at
    match order.status:
        case Status.CREDITED if order.refunded_minor:
            return [_step(_("Refund on its way"), None, "active", _money(order, order.refunded_minor))]
        case Status.PARTIALLY_REFUNDED | Status.REFUNDED:
            return [_step(order.get_status_display(), at, "done", _money(order, order.refunded_minor))]
        case Status.DISPUTED:
            steps = [_step(_("Partly refunded"), None, "done", _money(order, order.refunded_minor))]
            disputed = _step(_("Disputed"), at, "failed", _money(order, order.disputed_minor))
            return [*(steps if order.refunded_minor else []), disputed]
        case Status.CREATED:
            doing = _("Charging the saved card") if order.automatic else _("Opening the payment page")
            return [_step(doing, None, "active")]
        case Status.AWAITING_PAYMENT:
            return [_step(_("Waiting for your payment"), None, "active")]
        case Status.PROCESSING:
            return [_step(_("Waiting for the payment to be confirmed"), None, "active")]
        case Status.FAILED:
            return [_step(_("Failed"), at, "failed", _("You were not charged."))]
        case Status.EXPIRED:
            return [_step(_("Expired without a payment"), at, "failed", _("You were not charged."))]
    return []


def _money(order: TopUp, minor: int) -> str:
    """An amount in what was paid."""
    if not minor:
        return ""
    amount: Decimal = from_minor_units(minor, order.currency)
    return str(ui.cny(amount) if order.currency == "CNY" else ui.usd_text(amount))


def _attempt(attempt: PaymentAttempt) -> dict[str, Any]:
    card = attempt.card
    if attempt.outcome == PaymentAttempt.Outcome.FAILED:
        reason = attempt.reason
        return _step(reason.title if reason else _("Declined"), attempt.at, "failed", card)
    if attempt.outcome == PaymentAttempt.Outcome.PENDING:
        return _step(_("Payment started"), attempt.at, "done", card)
    return _step(_("Paid"), attempt.at, "done", card)


def _step(title: str | Promise, at: Any, state: str = "done", note: str | Promise = "") -> dict[str, Any]:
    return {"title": title, "at": at, "note": note, "state": state}
