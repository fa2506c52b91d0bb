"""Subscribe, change, cancel, and take it back (F075, F076, C26, C29).

The intent is committed, then the provider is asked, then its answer goes through the one door (`settling`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import Account, User
from billing.books import ledger
from billing.errors import AccountSuspended, Conflict, IdempotencyConflict, InvalidRequest, NotFound
from billing.money import from_minor_units, to_minor_units
from billing.payments import flags, topups
from billing.payments.processor import PaymentProcessor, ProcessorUnavailable
from billing.payments.processor_subscriptions import (
    PreviewLine,
    SubscriptionRequest,
)
from subscriptions import dunning, giving_back, settling, standing
from subscriptions.models import PlanChange, PlanVersion, Subscription
from subscriptions.performing import PaymentDeclined as PaymentDeclined
from subscriptions.performing import PreviewExpired as PreviewExpired
from subscriptions.performing import perform as perform
from subscriptions.performing import price_of
from subscriptions.plans import FREE, Terms, current_plans

Status = Subscription.Status
PREVIEW_GOOD_FOR: Final = timedelta(minutes=15)
PAGE_GOOD_FOR: Final = timedelta(hours=23)
"""A checkout page lives for a day; one that is older is not offered again."""


class AlreadySubscribed(Conflict):
    """One paid plan per account; another one is a change (F075)."""

    code = "already_subscribed"
    title = _("This account has a paid plan already. Change it instead of buying a second one.")


class NoSubscription(NotFound):
    """There is nothing to change or cancel."""

    code = "no_subscription"
    title = _("This account has no paid plan.")


class SamePlan(Conflict):
    """The plan in force is the one that was asked for."""

    code = "same_plan"
    title = _("This is the plan that the account has.")


def plan_called(code: object, now: datetime) -> Terms:
    """The plan's version on offer, or `invalid_request` that names the field."""
    try:
        return current_plans().current(str(code), now)
    except KeyError:
        known = ", ".join(plan.code for plan in current_plans().on_offer(now))
        raise InvalidRequest(_("There is no such plan. Choose one of: %(known)s."), field="plan", known=known) from None


def held_by(account_id: UUID, *, now: datetime) -> Subscription | None:
    """The account's paid plan while its time lasts, whether or not the provider has told of its end."""
    rows = Subscription.objects.select_related("account", "plan_version__plan", "next_version__plan")
    found: Subscription | None = rows.filter(account_id=account_id, status__in=Subscription.IN_FORCE).first()
    return None if found is None or _is_over(found, now) else found


def in_force(account_id: UUID, *, now: datetime) -> Subscription:
    """The account's paid plan. Raises NoSubscription."""
    found = held_by(account_id, now=now)
    if found is None:
        raise NoSubscription
    return found


def _is_over(row: Subscription, now: datetime) -> bool:
    assert row.period_end is not None  # noqa: S101  # a constraint: what is in force has a period
    return not standing.gives_plan(row.period_end, row.grace_until, ends=row.cancel_at_period_end, now=now)


# --- subscribe -------------------------------------------------------------------------------------------------------


def subscribe(
    account_id: UUID,
    plan_code: object,
    *,
    client_key: str,
    actor: User | None,
    locale: str,
    processor: PaymentProcessor,
    now: datetime,
) -> Subscription:
    """Open the provider's page for a plan. The same `client_key`, or an open page for the same plan, comes back to the
    same one. `ProcessorUnavailable` leaves the row; the same key goes on where it stopped."""
    plan = plan_called(plan_code, now)
    if plan.free:
        raise InvalidRequest(_("The Free plan needs no subscription."), field="plan")
    _close_one_that_is_over(account_id, processor=processor, now=now)
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        rows = Subscription.objects.filter(account_id=account_id)
        row = rows.filter(client_key=client_key).first()
        if row is not None and row.plan_version_id != plan.id:
            raise IdempotencyConflict(_("This Idempotency-Key was used before with another plan."))
        if rows.filter(status__in=Subscription.IN_FORCE).exists() and (row is None or not row.in_force):
            raise AlreadySubscribed
        if row is None:
            row = rows.filter(
                status=Status.INCOMPLETE, plan_version_id=plan.id, created_at__gt=now - PAGE_GOOD_FOR
            ).first()
        if row is None:
            account = Account.objects.get(pk=account_id)
            if account.status != Account.Status.ACTIVE:
                raise AccountSuspended(_("This account is not active and cannot subscribe."))
            flags.may_buy_plan(account_id)
            row = Subscription.objects.create(
                account=account,
                plan_version_id=plan.id,
                status_at=now,
                created_at=now,
                created_by=actor,
                client_key=client_key,
                locale=locale,
            )
    if row.session_id and row.client_key != client_key:
        # The page was opened before, and may have been paid or have expired since: nobody is sent to a dead page.
        with suppress(ProcessorUnavailable):
            row = settling.settle(row.pk, processor=processor, now=now)
        if row.in_force:
            raise AlreadySubscribed
        if row.status != Status.INCOMPLETE:
            return subscribe(
                account_id, plan_code, client_key=client_key, actor=actor, locale=locale, processor=processor, now=now
            )
    return open_page(row.pk, processor=processor, now=now)


def _close_one_that_is_over(account_id: UUID, *, processor: PaymentProcessor, now: datetime) -> None:
    """A plan whose time is over, and whose end nobody has told of yet, must not keep the account from the next one."""
    row = Subscription.objects.filter(account_id=account_id, status__in=Subscription.IN_FORCE).first()
    if row is not None and _is_over(row, now):
        dunning.look_after(row.pk, processor=processor, now=now)


def open_page(subscription_id: UUID, *, processor: PaymentProcessor, now: datetime) -> Subscription:
    """The provider's page for a subscription that has none. Safe to call again at any point: one key, one page."""
    row = Subscription.objects.select_related("plan_version__plan", "created_by").get(pk=subscription_id)
    if row.status != Status.INCOMPLETE or row.session_id:
        return row
    price_id = price_of(row.plan_version, processor=processor, now=now)
    email = row.created_by.email if row.created_by else ""
    page = f"{settings.PUBLIC_URL}/platform/subscription"
    started = processor.start_subscription(
        SubscriptionRequest(
            subscription=str(row.pk),
            account_id=str(row.account_id),
            customer_id=topups.customer_of(row.account_id, email=email, processor=processor, now=now),
            price_id=price_id,
            success_url=f"{page}/return/{row.pk}?session_id={{CHECKOUT_SESSION_ID}}",
            cancel_url=f"{settings.PUBLIC_URL}/pricing/subscription",
            locale=row.locale,
            idempotency_key=f"subscription:{row.pk}:checkout:v1",
        )
    )
    with transaction.atomic():
        row = settling.locked(subscription_id)
        if not row.session_id:
            row.session_id, row.checkout_url = started.session_id, started.url
            row.save(update_fields=["session_id", "checkout_url"])
        return row


# --- change ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do. An upgrade is charged now and begins now; a smaller plan costs nothing now and begins at
    `effective_at`. `at` must come with the confirmation."""

    kind: str
    current: PlanVersion
    wanted: PlanVersion
    due_usd: Decimal
    lines: tuple[PreviewLine, ...]
    at: datetime
    effective_at: datetime
    renews_at: datetime
    resumes: bool


def preview(account_id: UUID, plan_code: object, *, processor: PaymentProcessor, now: datetime) -> Preview:
    """What changing to this plan would cost and when it would begin. Changes nothing."""
    row, wanted, kind = _wanted(account_id, plan_code, now)
    giving_back.refuse_while_paused(row)
    assert row.period_end is not None  # noqa: S101  # a constraint: what is in force has a period
    now = now.replace(microsecond=0)  # the provider prorates by the second
    if kind == PlanChange.Kind.DOWNGRADE:
        return Preview(
            kind,
            row.plan_version,
            wanted,
            Decimal(0),
            (),
            now,
            row.period_end,
            row.period_end,
            row.cancel_at_period_end,
        )
    price_id = price_of(wanted, processor=processor, now=now)
    told = processor.preview_change(row.provider_id, price_id, at=now)
    return Preview(
        kind, row.plan_version, wanted, from_minor_units(told.due_minor, told.currency), told.lines, told.at, now,
        row.period_end, row.cancel_at_period_end,
    )  # fmt: skip


def change(
    account_id: UUID,
    plan_code: object,
    *,
    at: datetime,
    due_usd: Decimal | None,
    client_key: str,
    actor: User | None,
    processor: PaymentProcessor,
    now: datetime,
    label: str = "",
) -> PlanChange:
    """Change the plan as the preview of `at` said. Raises PaymentDeclined when the proration could not be paid.

    `ProcessorUnavailable` leaves the change asked for: the sweep, or the same key, goes on with it.
    """
    again = PlanChange.objects.filter(account_id=account_id, client_key=client_key).select_related("to_version").first()
    if again is not None:  # also when the plan is in force by now, or the preview too old
        if again.to_version.plan_id != str(plan_code):
            raise IdempotencyConflict(_("This Idempotency-Key was used before with another plan."))
        return perform(again.pk, processor=processor, now=now)
    row, wanted, _shown = _wanted(account_id, plan_code, now)
    if not now - PREVIEW_GOOD_FOR <= at <= now + timedelta(minutes=1) or (row.period_start and at < row.period_start):
        raise PreviewExpired
    with transaction.atomic():
        row = settling.locked(row.pk)
        asked = PlanChange.objects.filter(account_id=account_id, client_key=client_key).first()
        if asked is not None and asked.to_version_id != wanted.pk:
            raise IdempotencyConflict(_("This Idempotency-Key was used before with another plan."))
        if asked is None:
            if not row.in_force:
                raise NoSubscription
            giving_back.refuse_while_paused(row)
            if row.plan_version.plan_id == wanted.plan_id:  # changed in another tab since the preview
                raise SamePlan(plan=wanted.plan_id)
            kind = _kind(row.plan_version, wanted)
            waiting = PlanChange.objects.filter(subscription=row, status__in=PlanChange.WAITING).first()
            if waiting is not None and waiting.status == PlanChange.Status.REQUESTED:
                raise Conflict(_("A change of plan is under way. Wait until it is decided."))
            if waiting is not None:  # the newer wish replaces what was to begin with the next period
                waiting.move_to(PlanChange.Status.WITHDRAWN, now=now)
                waiting.save(update_fields=["status", "status_at"])
            asked = PlanChange.objects.create(
                account=row.account,
                subscription=row,
                kind=kind,
                status_at=now,
                from_version=row.plan_version,
                to_version=wanted,
                at=at,
                due_minor=to_minor_units(due_usd) if due_usd is not None else None,
                created_at=now,
                created_by=actor,
                client_key=client_key,
            )
            audit.record(
                actor=actor, actor_label=label, action=f"plan_{kind}", subject=row, account=row.account, now=now,
                before={"plan": row.plan_version.plan_id}, after={"plan": wanted.plan_id},
            )  # fmt: skip
    return perform(asked.pk, processor=processor, now=now)


def withdraw(
    account_id: UUID, *, actor: User | None, processor: PaymentProcessor, now: datetime, label: str = ""
) -> Subscription:
    """Keep the present plan: what was to begin with the next period does not."""
    row = in_force(account_id, now=now)
    waiting = PlanChange.objects.filter(subscription=row, status=PlanChange.Status.SCHEDULED).first()
    if waiting is None and not row.schedule_id:
        return row
    if row.schedule_id:
        processor.withdraw_change(row.schedule_id)
    with transaction.atomic():
        settling.locked(row.pk)
        if waiting is not None:
            audit.record(
                actor=actor, actor_label=label, action="plan_change_withdrawn", subject=row, account=row.account,
                now=now, before={"plan": waiting.to_version.plan_id}, after={"plan": row.plan_version.plan_id},
            )  # fmt: skip
    return settling.settle(row.pk, processor=processor, now=now)


# --- cancel ----------------------------------------------------------------------------------------------------------


def renew(
    account_id: UUID,
    *,
    on: bool,
    client_key: str,
    actor: User | None,
    processor: PaymentProcessor,
    now: datetime,
    label: str = "",
) -> Subscription:
    """Let the plan end with its period, or go on after it (C29). Flows stay until the end; nothing is paid back."""
    row = in_force(account_id, now=now)
    giving_back.refuse_while_paused(row)
    if row.cancel_at_period_end != on:
        return row
    if on:
        flags.may_buy_plan(account_id)
    if not on and row.schedule_id:
        row = withdraw(account_id, actor=actor, processor=processor, now=now, label=label)
    processor.renew(
        row.provider_id,
        on=on,
        idempotency_key=f"subscription:{row.pk}:renew:{'on' if on else 'off'}:{client_key}"[:200],
    )
    with transaction.atomic():
        held = settling.locked(row.pk)
        audit.record(
            actor=actor, actor_label=label, action="plan_renewal_on" if on else "plan_renewal_off", subject=held,
            account=held.account, now=now, before={"renews": not on}, after={"renews": on},
        )  # fmt: skip
    # Asked again and not taken from the answer: a change of plan may have been made and recorded since.
    return settling.settle(row.pk, processor=processor, now=now)


def _wanted(account_id: UUID, plan_code: object, now: datetime) -> tuple[Subscription, PlanVersion, str]:
    """The subscription in force, the version that is wanted, and which way that is."""
    row = in_force(account_id, now=now)
    plan = plan_called(plan_code, now)
    if plan.code == FREE:
        raise InvalidRequest(_("To go back to the Free plan, cancel the renewal."), field="plan")
    if plan.code == row.plan_version.plan_id:
        raise SamePlan(plan=plan.code)
    wanted = PlanVersion.objects.select_related("plan").get(pk=plan.id)
    kind = _kind(row.plan_version, wanted)
    if kind == PlanChange.Kind.UPGRADE:
        flags.may_buy_plan(account_id)
    return row, wanted, kind


def _kind(current: PlanVersion, wanted: PlanVersion) -> str:
    up = wanted.plan.rank > current.plan.rank
    return PlanChange.Kind.UPGRADE if up else PlanChange.Kind.DOWNGRADE
