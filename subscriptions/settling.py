"""The one door by which the provider's word on a subscription comes in (04-payments 4.2, cases 21-23).

Webhook, return page, the answer to a change and the sweep all enter by `settle` or `record`: what is true at the
provider now is applied under the wallet's lock, and repeats, delays and any order of events change nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from billing import notices
from billing.books import ledger
from billing.errors import NotFound
from billing.payments.processor import (
    PaymentProcessor,
    PaymentState,
    ProcessorUnavailable,
    Progress,
    UnknownAtProcessor,
    UnrecognisedStatus,
)
from billing.payments.processor_subscriptions import (
    InvoiceProgress,
    InvoiceState,
    SubscriptionProgress,
    SubscriptionState,
)
from config import turns
from subscriptions import classes, invoices, periods
from subscriptions.models import Invoice, PlanChange, PlanPrice, PlanVersion, Subscription

log = logging.getLogger(__name__)

Status = Subscription.Status
ASKING_TAKES: Final = 5.0
"""Seconds after which nobody waits any longer for somebody else's question to the provider."""
TRIES: Final = 4
RENEWAL: Final = "subscription_cycle"
REFUNDED: Final = "refunded"
"""Why a subscription ended whose payment went back: here first, and then at the provider."""
_ALIVE: Final = frozenset({SubscriptionProgress.ACTIVE, SubscriptionProgress.PAST_DUE})


@dataclass(frozen=True, slots=True)
class Told:
    """What the provider said: of the page, of the subscription, of its invoices and of the payments behind them.

    `scheduled` are the changes of plan that it had been given before it was asked: an answer knows of no later ones.
    `after` is how many answers had been recorded by then; None: said in answer to an order, and final.
    """

    expired: bool = False
    state: SubscriptionState | None = None
    invoices: tuple[InvoiceState, ...] = ()
    payments: dict[str, PaymentState] = field(default_factory=dict)
    scheduled: frozenset[UUID] = frozenset()
    after: int | None = None


class Overtaken(Exception):  # not a refusal: the question has to be asked again
    """Another answer was recorded since this question was asked: which of the two is newer, nobody can tell."""


def settle(subscription_id: UUID, *, processor: PaymentProcessor, now: datetime, session_id: str = "") -> Subscription:
    """Ask the provider what is true of this subscription now, and record it. Repeats change nothing.

    `session_id` is what a returning customer names; one that does not belong to the row is `NotFound`.
    """
    row = Subscription.objects.get(pk=subscription_id)
    if session_id and row.session_id and session_id != row.session_id:
        raise NotFound
    for _try in range(TRIES):
        with turns.turn(f"subscription:{subscription_id}", wait=ASKING_TAKES, lasts=ASKING_TAKES):
            row = Subscription.objects.get(pk=subscription_id)
            told = ask(row, processor)
            _settle_the_one_before(row, told, processor=processor, now=now)
            try:
                return record(subscription_id, told, now=now)
            except Overtaken:
                log.info("Subscription %s was answered meanwhile; it is asked about again", subscription_id)
    raise ProcessorUnavailable


def _settle_the_one_before(row: Subscription, told: Told, *, processor: PaymentProcessor, now: datetime) -> None:
    """Before a paid one is taken for a second one: the one in force may have ended, and nobody told us yet."""
    if told.state is None or row.in_force or told.state.progress not in _ALIVE:
        return
    other = Subscription.objects.filter(account_id=row.account_id, status__in=Subscription.IN_FORCE).first()
    if other is not None:
        settle(other.pk, processor=processor, now=now)


def ask(row: Subscription, processor: PaymentProcessor) -> Told:
    """What is true at the provider, for a row as it was just read. No lock may be held."""
    return replace(_ask(row, processor), after=row.answers)


def _ask(row: Subscription, processor: PaymentProcessor) -> Told:
    provider_id = row.provider_id
    if not provider_id:
        if not row.session_id:
            return Told()
        page = processor.subscription_checkout(row.session_id)
        if page.subscription != str(row.pk):
            raise NotFound
        if not page.provider_id:
            return Told(expired=page.progress == Progress.EXPIRED)
        provider_id = page.provider_id
    return ask_about(provider_id, processor)


def ask_about(provider_id: str, processor: PaymentProcessor) -> Told:
    """The subscription, its invoices, and each payment that we do not know to the end yet."""
    given = PlanChange.objects.filter(subscription__provider_id=provider_id, status=PlanChange.Status.SCHEDULED)
    scheduled = frozenset(given.values_list("pk", flat=True))
    state = processor.subscription(provider_id)
    found = processor.invoices_of(provider_id)
    settled = set(
        Invoice.objects.filter(provider_id__in=[one.provider_id for one in found], status="paid").values_list(
            "provider_id", flat=True
        )
    )
    payments = {}
    for one in found:
        if one.payment_intent_id and one.provider_id not in settled and one.progress != InvoiceProgress.DRAFT:
            try:
                payments[one.payment_intent_id] = processor.payment(one.payment_intent_id)
            except UnknownAtProcessor:
                log.warning("Invoice %s names a payment that the provider does not know", one.provider_id)
    return Told(state=state, invoices=found, payments=payments, scheduled=scheduled)


def record(subscription_id: UUID, told: Told, *, now: datetime) -> Subscription:
    """Apply what the provider said, under the wallet's lock. A status that we do not know is `UnrecognisedStatus`.

    Answers are applied in the order in which they were asked for: one that another overtook is `Overtaken`, and applies
    nothing. It could be the older one, and take back a plan that was paid for.
    """
    state = told.state
    if state is not None and state.livemode != settings.STRIPE_LIVEMODE:
        raise UnrecognisedStatus(subscription=state.provider_id, statuses=f"livemode is {state.livemode}")
    if state is not None and state.progress == SubscriptionProgress.UNKNOWN:
        raise UnrecognisedStatus(subscription=state.provider_id, statuses=f"subscription.status {state.status!r}")
    with transaction.atomic():
        row = locked(subscription_id)
        if told.after is not None and told.after != row.answers:
            raise Overtaken
        row.checked_at, row.answers = now, row.answers + 1
        if state is None:
            if told.expired and row.status == Status.INCOMPLETE:
                row.move_to(Status.EXPIRED, now=now)
            row.save()
            return row
        row.provider_id = state.provider_id
        version = _version(row, state)
        if state.progress in _ALIVE:
            _in_force(row, state, version, told, now=now)
        elif state.progress == SubscriptionProgress.ENDED:
            if row.status in (Status.INCOMPLETE, Status.EXPIRED) and _paid(told):
                _ended_unseen(row, state, version, told, now=now)
            _end(row, state, now=now)
        elif state.progress == SubscriptionProgress.EXPIRED and row.status == Status.INCOMPLETE:
            row.move_to(Status.EXPIRED, now=now)
        row.save()
        invoices.keep(row, told.invoices, told.payments, now=now)
        return row


def locked(subscription_id: UUID) -> Subscription:
    """The wallet first, then everything that belongs to it."""
    account_id = Subscription.objects.values_list("account_id", flat=True).get(pk=subscription_id)
    ledger.lock_wallet(account_id)
    rows = Subscription.objects.select_related("account", "plan_version", "next_version", "created_by")
    return rows.get(pk=subscription_id)


def _version(row: Subscription, state: SubscriptionState) -> PlanVersion:
    """The plan version that the price stands for. A price that is not ours leaves the plan as it is and calls staff."""
    found = PlanPrice.objects.filter(price_id=state.price_id).select_related("version").first()
    if found is not None:
        if row.review_reason.startswith(_UNKNOWN_PRICE):
            row.review_reason = ""
        return found.version
    reason = f"{_UNKNOWN_PRICE} {state.price_id}"
    if row.review_reason != reason:
        row.review_reason = reason[:300]
        log.error("ALERT subscription %s has the price %s, which is none of ours", state.provider_id, state.price_id)
    return row.plan_version


_UNKNOWN_PRICE: Final = "the provider has another price for it:"


def _in_force(row: Subscription, state: SubscriptionState, version: PlanVersion, told: Told, *, now: datetime) -> None:
    if row.status in (Status.ENDED, Status.DUPLICATE):
        if row.status == Status.ENDED and row.end_reason != REFUNDED and not row.review_reason:
            row.review_reason = "ended here, and still alive at the provider"
            log.error("ALERT subscription %s has ended here and is %s there", state.provider_id, state.status)
        return
    if not row.in_force:
        if _is_second(row, now=now):
            return
        _activate(row, state, version, told, now=now)
        fell_behind = _dunning(row, state, told, now=now)
        if fell_behind:
            periods.move_end(row, now=now)
    elif row.period_start is not None and state.period_start < row.period_start:
        return  # an older answer takes no step back
    else:
        fell_behind = _dunning(row, state, told, now=now)
        _follow(row, state, version, now=now)
    if fell_behind:
        _tell(row, "renewal_failed", key=f"subscription:{row.pk}:past_due:{state.period_start:%Y%m%d}", now=now)
    row.cancel_at_period_end = state.cancel_at_period_end
    row.schedule_id = state.schedule_id
    upcoming = PlanPrice.objects.filter(price_id=state.next_price_id).select_related("version").first()
    row.next_version = upcoming.version if upcoming and upcoming.version_id != version.pk else None
    _finish_changes(row, state, told.scheduled, now=now)


def _is_second(row: Subscription, *, now: datetime) -> bool:
    """Another one of the account is in force: this one is undone, and paid back (case 23)."""
    other = Subscription.objects.filter(account_id=row.account_id, status__in=Subscription.IN_FORCE).first()
    if other is None:
        return False
    row.move_to(Status.DUPLICATE, now=now)
    row.review_reason = f"a second subscription beside {other.provider_id}"
    log.error("ALERT subscription %s is a second one beside %s", row.provider_id, other.provider_id)
    return True


def _paid(told: Told) -> list[datetime]:
    """When its invoices were paid."""
    return [one.paid_at for one in told.invoices if one.progress == InvoiceProgress.PAID and one.paid_at]


def _ended_unseen(
    row: Subscription, state: SubscriptionState, version: PlanVersion, told: Told, *, now: datetime
) -> None:
    """Paid, and ended at the provider before we heard of either: nobody had the plan, and somebody has to look."""
    if _is_second(row, now=now):
        return
    row.plan_version, row.activated_at = version, min(_paid(told))
    row.period_start, row.period_end = state.period_start, state.period_end
    row.move_to(Status.ACTIVE, now=now)
    row.review_reason = "paid, and ended at the provider before it began here"
    log.error("ALERT subscription %s was paid and has ended before it began here", state.provider_id)


def _activate(row: Subscription, state: SubscriptionState, version: PlanVersion, told: Told, *, now: datetime) -> None:
    """The plan comes into force with the first payment; its windows begin now."""
    row.plan_version = version
    row.activated_at = min([*_paid(told), now])  # the provider's clock may be ahead of ours
    row.period_start, row.period_end = state.period_start, state.period_end
    row.move_to(Status.ACTIVE, now=now)
    row.save()
    periods.begin(row.account_id, version, row, start=now, end=max(state.period_end, now), now=now)
    _tell(row, "subscription_started", key=f"subscription:{row.pk}:started", now=now)


def _follow(row: Subscription, state: SubscriptionState, version: PlanVersion, *, now: datetime) -> None:
    """A new period, another plan within it, or neither."""
    before, was = row.period_start, row.plan_version
    renewed = before is not None and state.period_start > before
    row.plan_version = version
    row.period_start, row.period_end = state.period_start, state.period_end
    row.save()
    if renewed:
        periods.follow_renewal(row, now=now)
    elif version.pk != was.pk:
        periods.begin(
            row.account_id, version, row, start=now, end=max(periods.served_until(row), now), now=now, carry=True
        )
    else:
        periods.move_end(row, now=now)
    if version.pk != was.pk:
        _tell(row, "plan_changed", key=f"subscription:{row.pk}:plan:{version.pk}:{state.period_start:%Y%m%d}", now=now)


def _dunning(row: Subscription, state: SubscriptionState, told: Told, *, now: datetime) -> bool:
    """Past due with grace, and back (C25: the grace is a part of the paid time). Whether it fell behind now."""
    if state.progress == SubscriptionProgress.PAST_DUE and row.status == Status.ACTIVE:
        row.move_to(Status.PAST_DUE, now=now)
        # A renewal is due with its period; an invoice that somebody makes within it, when it was made.
        others = [one.at for one in told.invoices if one.progress == InvoiceProgress.OPEN and one.reason != RENEWAL]
        row.grace_until = max([state.period_start, *others]) + periods.grace()
        return True
    if state.progress == SubscriptionProgress.ACTIVE and row.status == Status.PAST_DUE:
        row.move_to(Status.ACTIVE, now=now)
        if row.grace_until is not None and row.grace_until <= max(_paid(told), default=now):
            classes.end_insider(row.account_id, at=row.grace_until, now=now)  # there was a break, however short
        row.grace_until = None
    return False


def _finish_changes(row: Subscription, state: SubscriptionState, scheduled: frozenset[UUID], *, now: datetime) -> None:
    for change in PlanChange.objects.filter(subscription=row).exclude(status=PlanChange.Status.DONE):
        wanted = change.to_version_id == row.plan_version_id and change.created_at >= (row.activated_at or now)
        newest = not PlanChange.objects.filter(subscription=row, created_at__gt=change.created_at).exists()
        if wanted and newest:
            change.move_to(PlanChange.Status.DONE, now=now)
        elif change.pk in scheduled and row.next_version_id != change.to_version_id:
            change.move_to(PlanChange.Status.WITHDRAWN, now=now)
        elif change.status == PlanChange.Status.REQUESTED and change.kind == PlanChange.Kind.UPGRADE:
            if not state.pending_price_id:
                continue
            change.move_to(PlanChange.Status.DECLINED, now=now)
        else:
            continue
        change.save(update_fields=["status", "status_at"])


def _end(row: Subscription, state: SubscriptionState, *, now: datetime) -> None:
    if row.status == Status.INCOMPLETE:
        row.move_to(Status.EXPIRED, now=now)
    if not row.in_force:
        return
    if row.status == Status.PAST_DUE:
        reason = "unpaid"
    else:  # what the customer did not ask for must not be told as a wish
        reason = "cancelled" if row.cancel_at_period_end or state.cancel_at_period_end else "ended"
    end_here(row, at=min(state.ended_at or now, now, row.grace_until or now), reason=reason, now=now)
    _tell(row, "subscription_ended", key=f"subscription:{row.pk}:ended", now=now)


def end_here(row: Subscription, *, at: datetime, reason: str, now: datetime) -> None:
    """The plan ended at this moment: Free from now on. The caller holds the wallet's lock, and tells the customer."""
    row.move_to(Status.ENDED, now=now)
    row.ended_at = at
    row.end_reason = row.end_reason or reason
    row.grace_until = row.next_version = row.paused_at = None
    row.schedule_id = ""
    row.save()
    periods.end_open(row.account_id, at=now, by="end", subscription=row)
    PlanChange.objects.filter(subscription=row, status__in=PlanChange.WAITING).update(
        status=PlanChange.Status.WITHDRAWN, status_at=now
    )
    classes.end_insider(row.account_id, at=at, now=now)


def _tell(row: Subscription, kind: str, *, key: str, now: datetime) -> None:
    notices.tell(
        row.account_id,
        kind,
        key=key,
        now=now,
        context={
            "plan": row.plan_version.plan.name,
            "price_usd": f"{row.plan_version.price_usd:f}",
            "period_end_at": (row.period_end or now).isoformat(),
            "grace_end_at": (row.grace_until or now).isoformat(),
            "why": row.end_reason,
        },
    )
