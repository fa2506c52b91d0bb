"""A top-up's refund is asked for, and held out of its grant at once (F019-F022, 02-domain 2.8).

The row is the job: the intent is committed, then the provider is asked, then the outcome is recorded (`outcomes`).
Every function takes the wallet's lock first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.books import ledger
from billing.books.models import Wallet
from billing.errors import IdempotencyConflict, InvalidRequest, InvalidTransition
from billing.payments import topups
from billing.payments.models import TopUp
from billing.payments.models_disputes import EarlyFraudWarning
from config.ids import uuid7
from refunds import booking, confirming, models_policy, quote, telling
from refunds.errors import NotRefundable
from refunds.models import Refund
from refunds.models_plan import PlanRefund
from refunds.outcomes import FIRST_CHECK, book_new, number_of

Status = Refund.Status


@dataclass(frozen=True, slots=True)
class Offer:
    """What of a payment can go back at this moment, and on which terms."""

    order: TopUp
    unused_usd: Decimal
    fee_rate: Decimal

    def sums(self, amount_usd: Decimal) -> quote.Quote:
        """What a request for this many dollars comes to. Raises NotRefundable for an amount that is none."""
        if amount_usd > self.unused_usd:
            raise NotRefundable(
                _("Only $%(refundable)s of this payment is unused and can be refunded."),
                reason="more_than_unused",
                refundable=f"{self.unused_usd:.2f}",
            )
        return _sums(self.order, amount_usd, self.fee_rate, _left(self.order))

    def lines(self, amount_usd: Decimal) -> quote.Lines:
        """From the payment down to what arrives, in minor units of what was paid."""
        order = self.order
        whole = self.sums(self.unused_usd)
        return quote.lines(order.amount_minor, order.refunded_minor, order.disputed_minor, whole, self.sums(amount_usd))


def offer(order: TopUp, wallet: Wallet, *, now: datetime) -> Offer:
    """What can be asked for; raises NotRefundable with every reason against it. Exact under the wallet's lock only."""
    if order.status not in TopUp.SETTLED or order.grant is None:
        raise NotRefundable(_("This order was not credited."), reason="not_credited", order=order.number)
    against = _against(order, now=now)
    spendable = wallet.balance - wallet.overdraft - wallet.held
    unused = quote.refundable(order.grant.remaining, spendable)
    unused = quote.most(unused, _paid(order), _left(order))
    if unused <= 0 and "disputed" not in [one.evidence["reason"] for one in against]:
        against.append(_nothing_left(order))
    if against:
        raise NotRefundable.of(against)
    return Offer(order, unused, fee_rate(order))


def request(
    top_up_id: UUID,
    amount_usd: Decimal | None,
    *,
    reason: str,
    actor: User | None,
    client_key: str,
    now: datetime,
    category: str = "",
    confirmed_by: User | None = None,
    label: str = "",
) -> Refund:
    """Ask for some of a top-up back (None: all that is unused) and hold it out of that payment's grant at once.

    The same `client_key` comes back to the same refund. Refused with `NotRefundable` before anything is written.
    `confirmed_by`: a finance member of a company who confirms the original payment method with the request; without
    one its finance is asked by mail (F022).
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why you want the money back."), field="reason")
    if category not in ("", *Refund.Category.values):
        raise InvalidRequest(_("Choose a kind of reason."), field="category")
    with transaction.atomic():
        order = topups.locked(top_up_id)
        wallet = ledger.lock_wallet(order.account_id)
        before: Refund | None = Refund.objects.filter(account_id=order.account_id, client_key=client_key).first()
        if before is not None:
            asked = None if before.asked_all else before.asked_usd or before.requested_usd
            if (before.top_up_id, asked) != (top_up_id, amount_usd):
                raise IdempotencyConflict(refund=before.number)
            return before
        if PlanRefund.objects.filter(account_id=order.account_id, client_key=client_key).exists():
            raise IdempotencyConflict  # the same key, for a plan
        found = offer(order, wallet, now=now)
        sums = found.sums(found.unused_usd if amount_usd is None else amount_usd)
        refund = _new(order, sums, reason=reason, actor=actor, key=client_key, now=now)
        refund.category, refund.asked_all = category, amount_usd is None
        book_new(refund, now=now)
        telling.record("refund_request", refund, actor=actor, reason=reason, before="", label=label, now=now)
        if refund.needs_confirmation:
            if confirmed_by is None:
                confirming.ask_for(refund, now=now)
            else:
                confirming.confirm(refund.pk, actor=confirmed_by, now=now)
                refund.refresh_from_db()
    return refund


def reduce(refund: Refund, wallet: Wallet, amount_usd: Decimal, *, reason: str, now: datetime) -> None:
    """Make a request that staff approve in part as small as that; the rest is credit again at once.

    In memory and in the books: the caller holds the lock, saves the row with `REDUCED` and recounts the order.
    """
    order = refund.top_up
    if order is None or refund.status != Status.REQUESTED:
        raise InvalidTransition(refund=refund.number, current=str(refund.status), wanted="approved")
    if not 0 < amount_usd < refund.requested_usd:
        raise InvalidRequest(
            _("A part is above zero and less than the $%(requested)s that were asked for."),
            field="amount",
            requested=f"{refund.requested_usd:.2f}",
        )
    sums = _sums(order, amount_usd, refund.fee_rate, _left(order) + refund.requested_minor)
    rest = refund.requested_usd - sums.requested_usd
    if refund.asked_usd is None:
        refund.asked_usd, refund.asked_minor = refund.requested_usd, refund.requested_minor
    refund.part_reason = reason.strip()[:500]
    for name in _SUMS:
        setattr(refund, name, getattr(sums, name))
    booking.give_rest(refund, rest, wallet, now=now)


def return_uncredited(order_id: UUID, *, reason: str, actor: User | None, now: datetime) -> Refund:
    """Send back in full, without a fee, a payment that arrived and was never credited (a refusal by risk rules).

    It needs no approval: nothing was given for the money. Again: the refund that is on its way already.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        order = topups.locked(order_id)
        ledger.lock_wallet(order.account_id)
        on_its_way: Refund | None = Refund.objects.live().filter(top_up=order).order_by("pk").first()
        if order.grant_id is None and on_its_way is not None:
            return on_its_way
        if order.status != TopUp.Status.PAID or order.grant_id is not None:
            raise NotRefundable(_("This is not a payment that waits for its credit."), reason="not_uncredited")
        check_possible(order, now=now)
        key = f"uncredited:{order.number}:{Refund.objects.filter(top_up=order).count() + 1}"
        sums = _sums(order, order.amount_usd, Decimal(0), _left(order))
        refund = _new(order, sums, reason=reason, actor=actor, key=key, now=now)
        refund.move_to(Status.APPROVED, now=now)
        refund.decided_by, refund.decided_at, refund.answer = actor, now, reason.strip()
        refund.check_at = now + FIRST_CHECK
        book_new(refund, now=now)
        telling.record("refund_return", refund, actor=actor, reason=reason, before="", now=now)
    return refund


def check_possible(order: TopUp, *, now: datetime) -> None:
    """Refuse what the provider would refuse, with all reasons and before any call."""
    against = _against(order, now=now)
    if against:
        raise NotRefundable.of(against)


def _against(order: TopUp, *, now: datetime) -> list[NotRefundable]:
    """What is against any refund of this payment."""
    if not order.payment_intent_id:
        return [NotRefundable(_("There is no payment to refund."), reason="no_payment")]
    found = []
    if order.status == TopUp.Status.DISPUTED or 0 < order.disputed_minor >= order.amount_minor - order.refunded_minor:
        found.append(
            NotRefundable(_("This payment is disputed at the bank and cannot be refunded."), reason="disputed")
        )
    limit = models_policy.in_force(now).too_old(order.method, order.paid_at or order.created_at, now)
    if limit is not None:
        found.append(
            NotRefundable(
                _("%(method)s payments can be refunded for %(days)s days; this one is older."),
                reason="too_old",
                method=str(order.get_method_display()),
                days=limit.days,
            )
        )
    return found


def _nothing_left(order: TopUp) -> NotRefundable:
    """Why there is no credit to take back."""
    if order.fraud_warnings.filter(state=EarlyFraudWarning.State.FROZEN).exists():
        return NotRefundable(_("What is left of this payment is frozen while the payment is checked."), reason="frozen")
    return NotRefundable(_("Nothing of this payment is left to refund."), reason="nothing_left")


def fee_rate(order: TopUp) -> Decimal:
    """The share that is kept, under the terms on which it was paid."""
    found: Decimal = models_policy.in_force(order.paid_at or order.created_at).fee_rate
    return found


def refundable_until(order: TopUp, *, now: datetime) -> datetime | None:
    """When the provider takes no refund of this payment any more; None where it sets no end."""
    days = models_policy.in_force(now).days_by_method.get(order.method)
    return None if days is None else (order.paid_at or order.created_at) + timedelta(days=int(days))


def _paid(order: TopUp) -> quote.Paid:
    return quote.Paid(order.amount_usd, order.amount_minor, order.currency, order.fx_quote.rate)


def _left(order: TopUp) -> int:
    """Minor units of the payment that neither refunds nor disputes have taken."""
    return max(0, order.amount_minor - order.refunded_minor - order.disputed_minor)


def _sums(order: TopUp, asked: Decimal, rate: Decimal, left_minor: int) -> quote.Quote:
    try:
        return quote.quote(asked, _paid(order), left_minor=left_minor, fee_rate=rate)
    except ValueError as wrong:
        raise NotRefundable(
            _("That amount cannot be refunded: %(why)s."), reason="amount", why=str(wrong), field="amount"
        ) from wrong


_SUMS: Final = (
    "requested_usd",
    "fee_usd",
    "sent_usd",
    "currency",
    "requested_minor",
    "fee_minor",
    "sent_minor",
    "fee_rate",
)
REDUCED: Final = (*_SUMS, "asked_usd", "asked_minor", "part_reason")
"""What `reduce` changes."""


def _new(order: TopUp, sums: quote.Quote, *, reason: str, actor: User | None, key: str, now: datetime) -> Refund:
    row_id = uuid7()
    return Refund(
        id=row_id,
        number=number_of(row_id),
        account=order.account,
        top_up=order,
        created_at=now,
        requested_by=actor,
        reason=reason.strip()[:500],
        status_at=now,
        client_key=key,
        idempotency_key=f"refund:{row_id}:v1",
        **{name: getattr(sums, name) for name in _SUMS},
    )
