"""What becomes of an account's auto top-up when an order ends, a card goes away, or somebody stops it.

Imported by the door through which outcomes come in, so that the end of an order and its consequence are one
transaction. Every function is called under the wallet's lock.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from billing import notices
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, PaymentMethod

log = logging.getLogger(__name__)

Stop = AutoTopUp.Stop
_ASKED: Final = frozenset({"authentication_required", "authentication_not_handled"})
ENDED: Final = TopUp.SETTLED | {TopUp.Status.FAILED, TopUp.Status.EXPIRED}
_STOP: Final = ("stopped_reason", "stopped_at", "stopped_order")


def follow(order: TopUp, *, now: datetime) -> None:
    """After an outcome of an automatic order: the next one may come, or a failure stops it with one mail.

    While the outcome is open, or the payment is held or a person has to look at it, the order stays under way and
    nothing else is charged.
    """
    if order.status not in ENDED or order.in_review:
        return
    row = AutoTopUp.objects.select_related("payment_method").filter(pk=order.account_id, pending_order=order).first()
    if row is None:
        return
    row.pending_order, row.look_at = None, now
    row.save(update_fields=["pending_order", "look_at"])
    if order.status == TopUp.Status.FAILED:
        # The notice is this order's failure mail; there must not be another one.
        TopUp.objects.filter(pk=order.pk).update(failure_mailed_at=now)
        stop(row, _reason(order), order=order, now=now)
    elif order.credited_at is None and order.status == TopUp.Status.REFUNDED:
        stop(row, Stop.STAFF, now=now)  # a held payment that our staff did not accept


def not_accepted(order: TopUp, *, now: datetime) -> None:
    """Staff refused a held payment of this order: it is no longer under way, and no further one is made."""
    row = AutoTopUp.objects.select_related("payment_method").filter(pk=order.account_id, pending_order=order).first()
    if row is None:
        return
    row.pending_order, row.look_at = None, now
    row.save(update_fields=["pending_order", "look_at"])
    stop(row, Stop.REFUSED, order=order, now=now)


def _reason(order: TopUp) -> str:
    if order.failure == "refused_by_us":
        return Stop.REFUSED
    return Stop.AUTHENTICATION if order.failure_code in _ASKED else Stop.DECLINED


def stop(row: AutoTopUp, reason: str, *, now: datetime, order: TopUp | None = None) -> bool:
    """No further charge until the customer resumes. One mail, with what happened and what to do."""
    if not row.running:
        return False
    row.stopped_reason, row.stopped_at, row.stopped_order = Stop(reason), now, order
    row.capped_by = ""
    row.save(update_fields=[*_STOP, "capped_by"])
    notices.tell(
        row.account_id,
        "auto_top_up_stopped",
        key=f"auto_top_up:stopped:{now.isoformat()}",
        context={
            "reason": str(reason),
            "card": row.payment_method.name if row.payment_method else "",
            "threshold_usd": f"{row.threshold_usd:.2f}",
            "amount_usd": f"{(order.amount_usd if order else row.amount_usd):.2f}",
            "order": order.number if order else "",
            "failure": order.failure if order else "",
            "stopped_at": now.isoformat(),
        },
        now=now,
    )
    log.info("Auto top-up of %s stopped: %s", row.account_id, reason)
    return True


def card_gone(card: PaymentMethod, reason: str, *, now: datetime) -> None:
    """A card was removed or has expired: whatever was to be charged to it stops."""
    row = AutoTopUp.objects.select_related("payment_method").filter(pk=card.account_id, payment_method=card).first()
    if row is not None:
        stop(row, reason, now=now)
