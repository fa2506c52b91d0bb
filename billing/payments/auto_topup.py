"""Topping up by itself: a saved card is charged when the balance falls below a threshold (02-domain 2.5).

One door, `run`. Under the wallet's lock it decides (is it on, is the balance below, is nothing under way, do the limits
leave room) and places an order; then, without a lock, the card is charged; and the outcome comes in through
`settling`, like that of every other order. `auto_rules` says how much is charged. The balance is what the customer
sees: credit less overdraft. Holds of calls that are still running do not lower it, as they end within minutes and
mostly cost less.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, Sum

from accounts.models import Account
from billing import notices
from billing.books import ledger
from billing.books.models import Wallet
from billing.payments import auto_rules, auto_state, risk, settling, topups
from billing.payments.auto_rules import Spent
from billing.payments.models import TopUp
from billing.payments.models_saved import AutoTopUp, AutoTopUpRun, PaymentMethod
from billing.payments.processor import PaymentProcessor, PaymentState, ProcessorRefused
from billing.payments.processor_saved import ChargeRequest
from config.ids import uuid7

log = logging.getLogger(__name__)

Status = TopUp.Status
LEASE: Final = timedelta(minutes=1)
"""How long the worker that was woken for an account has, before the sweep takes it again."""
ASK_AGAIN_WITHIN: Final = timedelta(minutes=60)
"""How long a charge that was never answered is sent again under its key, which the provider remembers for 24 hours.
Later nobody expects it any more: then we look for a payment with our number, and give up when there is none."""
SUSPENDED_WAIT: Final = timedelta(minutes=10)


# --- What happens by itself -----------------------------------------------------------------------------------------


def run(account_id: UUID, *, processor: PaymentProcessor, now: datetime) -> TopUp | None:
    """The one door: charge the card if the account's balance asks for it. Safe to call at any point, by anybody.

    Returns the order that was placed or gone on with. Two callers at once make one order and one charge.
    """
    order = decide(account_id, now=now)
    return None if order is None else charge(order.pk, processor=processor, now=now)


def decide(account_id: UUID, *, now: datetime) -> TopUp | None:
    """Under the wallet's lock: the order to charge now, new or never answered; None when nothing is to be done."""
    with transaction.atomic():
        wallet = ledger.lock_wallet(account_id)
        row = AutoTopUp.objects.select_related("payment_method", "pending_order").filter(pk=account_id).first()
        if row is None:
            return None
        if row.pending_order is not None:
            order = row.pending_order
            if order.status not in auto_state.ENDED or order.in_review:
                return order if order.status == Status.CREATED else None
            auto_state.follow(order, now=now)  # it ended by another door
            row.refresh_from_db()
        if not row.running or row.payment_method is None or wallet.net >= row.threshold_usd:
            return None
        if Account.objects.get(pk=account_id).status != Account.Status.ACTIVE:
            _look_later(row, now + SUSPENDED_WAIT)
            return None
        if stop := _obstacle(row, row.payment_method, now=now):
            auto_state.stop(row, stop, now=now)
            return None
        decision = auto_rules.decide(
            row.terms, balance=wallet.net, spent=spent(account_id, now=now), most=settings.TOPUP_MAX_USD
        )
        if decision.capped_by:
            _capped(row, decision.capped_by, now=now)
        return _place(row, row.payment_method, wallet, decision.amount, now=now) if decision.amount else None


def _obstacle(row: AutoTopUp, card: PaymentMethod, *, now: datetime) -> str:
    """Why nothing may be charged until the customer has done something."""
    if card.state == PaymentMethod.State.REMOVED:
        return AutoTopUp.Stop.CARD_REMOVED
    if card.state == PaymentMethod.State.EXPIRED or card.ends_on <= now.date():
        return AutoTopUp.Stop.CARD_EXPIRED
    # Who disputes an automatic charge must not get another one; resuming says that the matter is settled.
    disputed = TopUp.objects.filter(
        account_id=row.account_id, automatic=True, status=Status.DISPUTED, status_at__gt=row.changed_at
    )
    return AutoTopUp.Stop.DISPUTED if disputed.exists() else ""


def spent(account_id: UUID, *, now: datetime) -> Spent:
    """What counts towards the limits of this UTC day and month. The caller decides under the wallet's lock."""
    today = now.date()
    runs = AutoTopUpRun.objects.filter(account_id=account_id)
    money = runs.exclude(order__status=Status.FAILED)
    month = money.filter(day__gte=today.replace(day=1), day__lte=today).aggregate(
        month=Sum("amount_usd"), today=Sum("amount_usd", filter=Q(day=today))
    )
    return Spent(runs.filter(day=today).count(), month["today"] or Decimal(0), month["month"] or Decimal(0))


def _place(row: AutoTopUp, card: PaymentMethod, wallet: Wallet, amount: Decimal, *, now: datetime) -> TopUp:
    order = topups.place(
        row.account_id,
        amount,
        method=TopUp.Method.CARD,
        client_key=f"auto:{uuid7().hex}",
        actor=row.consent.user if row.consent else None,
        locale=row.consent.locale if row.consent else "",
        now=now,
        device=risk.UNATTENDED,
    )
    order.automatic, order.idempotency_key = True, f"topup:{order.number}:auto:v1"
    order.save(update_fields=["automatic", "idempotency_key"])
    AutoTopUpRun.objects.create(
        order=order,
        account_id=row.account_id,
        at=now,
        day=now.date(),
        balance_usd=wallet.net,
        threshold_usd=row.threshold_usd,
        amount_usd=order.amount_usd,
        payment_method=card,
    )
    row.pending_order, row.last_run_at, row.capped_by, row.look_at = order, now, "", now + LEASE
    row.save(update_fields=["pending_order", "last_run_at", "capped_by", "look_at"])
    auto_state.follow(order, now=now)  # our own rules may have refused it
    return order


def _look_later(row: AutoTopUp, at: datetime) -> None:
    row.look_at = at
    row.save(update_fields=["look_at"])


def _capped(row: AutoTopUp, by: str, *, now: datetime) -> None:
    """A limit is reached: nothing before it leaves room again, and one mail a day says so."""
    row.capped_by, row.look_at = AutoTopUp.Cap(by), auto_rules.free_again(by, now)
    row.save(update_fields=["capped_by", "look_at"])
    notices.tell(
        row.account_id,
        "auto_top_up_capped",
        key=f"auto_top_up:capped:{by}:{now.date()}",
        context={
            "cap": by,
            "daily_count": str(row.daily_count),
            "daily_usd": f"{row.daily_usd:.2f}",
            "monthly_usd": f"{row.monthly_usd:.2f}",
            "again_at": row.look_at.isoformat(),
        },
        now=now,
    )


def charge(order_id: UUID, *, processor: PaymentProcessor, now: datetime) -> TopUp:
    """Charge the card for an order that was placed, once. After silence call it again.

    `ProcessorUnavailable` means that it is not known whether the money was taken.
    """
    run_: AutoTopUpRun = AutoTopUpRun.objects.select_related("order", "payment_method").get(pk=order_id)
    order, card = run_.order, run_.payment_method
    if order.status != Status.CREATED:
        return order
    state: PaymentState | None
    if _may_charge(run_, now=now):
        try:
            state = processor.charge(_request(order, card))
        except ProcessorRefused as refusal:
            return _refused(order_id, refusal, now=now)
    else:
        state = processor.find_payment(card.customer_id, order.number, since=order.created_at - timedelta(minutes=5))
    return _gave_up(order_id, now=now) if state is None else settling.record_outcome(order_id, state, now=now)


def _may_charge(run_: AutoTopUpRun, *, now: datetime) -> bool:
    """Whether the customer still expects this charge; turning off and removing the card come before or after this."""
    with transaction.atomic():
        ledger.lock_wallet(run_.account_id)
        row = AutoTopUp.objects.filter(pk=run_.account_id, pending_order=run_.order_id).first()
        kept = PaymentMethod.objects.filter(pk=run_.payment_method_id).exclude(state=PaymentMethod.State.REMOVED)
        active = Account.objects.filter(pk=run_.account_id, status=Account.Status.ACTIVE).exists()
        return row is not None and row.running and active and kept.exists() and now < run_.at + ASK_AGAIN_WITHIN


def _request(order: TopUp, card: PaymentMethod) -> ChargeRequest:
    return ChargeRequest(
        order=order.number,
        account_id=str(order.account_id),
        customer_id=card.customer_id,
        card_id=card.provider_id,
        amount_minor=order.amount_minor,
        currency=order.currency,
        idempotency_key=order.idempotency_key,
    )


def _refused(order_id: UUID, refusal: ProcessorRefused, *, now: datetime) -> TopUp:
    """The provider would not even try: the card or the customer is unknown there, or the request is wrong."""
    with transaction.atomic():
        if refusal.evidence.get("provider_param") == "customer":
            topups._forget_customer(TopUp.objects.values_list("account_id", flat=True).get(pk=order_id))
        order = topups._record_refusal(order_id, refusal, now=now)
        auto_state.follow(order, now=now)
    return order


def _gave_up(order_id: UUID, *, now: datetime) -> TopUp:
    """The provider knows no payment of this order, and nobody expects one any more."""
    with transaction.atomic():
        order = settling._give_up(order_id, now=now)
        auto_state.follow(order, now=now)
    return order


# --- The sweep ------------------------------------------------------------------------------------------------------

_BELOW: Final = """
  WITH found AS (
    SELECT a.account_id FROM billing_autotopup a JOIN billing_wallet w ON w.account_id = a.account_id
    WHERE a.enabled AND a.stopped_reason = '' AND a.pending_order_id IS NULL AND a.look_at <= %(now)s
      AND w.balance - w.overdraft < a.threshold_usd
    ORDER BY a.look_at LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED)
  UPDATE billing_autotopup a SET look_at = %(lease)s FROM found WHERE a.account_id = found.account_id
  RETURNING a.account_id
"""
_UNANSWERED: Final = """
  WITH found AS (
    SELECT a.account_id FROM billing_autotopup a JOIN billing_topup t ON t.id = a.pending_order_id
    WHERE a.pending_order_id IS NOT NULL AND a.look_at <= %(now)s
      AND t.status NOT IN ('awaiting_payment', 'processing', 'paid') AND NOT t.in_review
    ORDER BY a.look_at LIMIT %(limit)s FOR NO KEY UPDATE OF a SKIP LOCKED)
  UPDATE billing_autotopup a SET look_at = %(lease)s FROM found WHERE a.account_id = found.account_id
  RETURNING a.account_id
"""


def claim_due(*, now: datetime, limit: int = 500) -> list[UUID]:
    """Accounts below their threshold, and charges that were never answered; each is claimed for a minute.

    It reads the rows that are on and their wallets, so that the calls which lower a balance know nothing of this.
    """
    told: dict[str, datetime | int] = {"now": now, "limit": limit, "lease": now + LEASE}
    with connection.cursor() as cursor:
        cursor.execute(_UNANSWERED, told)
        found = [row[0] for row in cursor.fetchall()]
        cursor.execute(_BELOW, told)
        return found + [row[0] for row in cursor.fetchall()]
