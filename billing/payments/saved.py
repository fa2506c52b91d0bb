"""Saved cards: keep one (with the owner's consent), make it the default, forget it, notice that it expires.

The provider's page, its event and the return page all end in `finish`; repeats change nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit, secrets
from accounts.models import Account, User
from billing import notices
from billing.books import ledger
from billing.errors import AccountSuspended, InvalidRequest, NotFound
from billing.payments import auto_state, topups
from billing.payments.models_saved import AutoTopUp, CardSetup, Consent, PaymentMethod, ends_on
from billing.payments.processor import (
    PaymentProcessor,
    ProcessorRefused,
    Progress,
    UnknownAtProcessor,
    UnrecognisedStatus,
)
from billing.payments.processor_saved import CardSetupRequest, SavedCard

log = logging.getLogger(__name__)

State = PaymentMethod.State
MOST_CARDS: Final = 10
MOST_TRIES: Final = 20
FIRST_CHECK: Final = timedelta(minutes=10)
NEXT_CHECK: Final = timedelta(hours=1)
PAGE_LIVES: Final = timedelta(hours=25)
"""The provider closes a page after 24 hours; its last word may come a little later."""
TELL_BEFORE: Final = timedelta(days=30)
DETACH_AFTER: Final = timedelta(minutes=1)


def cards(account_id: UUID) -> list[PaymentMethod]:
    """The cards that are kept, newest first."""
    rows = PaymentMethod.objects.filter(account_id=account_id).exclude(state=State.REMOVED)
    return list(rows.order_by("-id")[: MOST_CARDS * 2])


def agree(
    account_id: UUID,
    *,
    purpose: str,
    text: str,
    version: str,
    locale: str,
    actor: User | None,
    label: str,
    now: datetime,
) -> Consent:
    """Keep what somebody agreed to, in the words that were shown."""
    return Consent.objects.create(
        account_id=account_id,
        user=actor,
        label=label[:200],
        at=now,
        purpose=purpose,
        version=version,
        locale=locale,
        text=text,
    )


# --- Keeping a card -------------------------------------------------------------------------------------------------


def begin(
    account_id: UUID,
    *,
    client_key: str,
    text: str,
    version: str,
    locale: str,
    actor: User,
    processor: PaymentProcessor,
    now: datetime,
) -> CardSetup:
    """Keep the consent and open the provider's page. The same `client_key` comes back to the same page."""
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        row = CardSetup.objects.filter(account_id=account_id, client_key=client_key).first()
        if row is None:
            if Account.objects.get(pk=account_id).status != Account.Status.ACTIVE:
                raise AccountSuspended
            if len(cards(account_id)) >= MOST_CARDS:
                raise InvalidRequest(_("An account keeps %(most)s cards at most. Remove one first."), most=MOST_CARDS)
            tried = CardSetup.objects.filter(account_id=account_id, created_at__gt=now - timedelta(days=1))
            if tried.count() >= MOST_TRIES:  # pages for saving cards are where stolen ones are tried
                raise InvalidRequest(_("Too many cards were tried today. Please try again tomorrow."))
            consent = agree(
                account_id,
                purpose=Consent.Purpose.SAVE_CARD,
                text=text,
                version=version,
                locale=locale,
                actor=actor,
                label=actor.email,
                now=now,
            )
            row = CardSetup(
                account_id=account_id,
                consent=consent,
                created_by=actor,
                created_at=now,
                locale=locale,
                client_key=client_key,
                state_at=now,
                check_at=now + FIRST_CHECK,
            )
            row.idempotency_key = f"card_setup:{row.pk}:v1"
            row.save(force_insert=True)
    return _open(row, processor=processor, now=now)


def _open(row: CardSetup, *, processor: PaymentProcessor, now: datetime) -> CardSetup:
    if row.session_id or row.state != CardSetup.State.OPEN:
        return row
    email = row.created_by.email if row.created_by else ""
    customer = topups.customer_of(row.account_id, email=email, processor=processor, now=now)
    page = f"{settings.PUBLIC_URL}/billing/auto-top-up/cards/{row.pk}"
    request = CardSetupRequest(
        setup=str(row.pk),
        account_id=str(row.account_id),
        customer_id=customer,
        success_url=f"{page}?session_id={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{page}?left=1",
        locale=row.locale,
        idempotency_key=row.idempotency_key,
    )
    try:
        started = processor.start_card_setup(request)
    except ProcessorRefused as refusal:
        if refusal.evidence.get("provider_param") == "customer":
            topups._forget_customer(row.account_id)
        CardSetup.objects.filter(pk=row.pk, state=CardSetup.State.OPEN).update(
            state=CardSetup.State.ENDED, state_at=now, check_at=None
        )
        raise
    CardSetup.objects.filter(pk=row.pk, session_id=None).update(session_id=started.session_id, url=started.url)
    row.refresh_from_db()
    return row


def finish(setup_id: UUID, *, processor: PaymentProcessor, now: datetime, session_id: str = "") -> CardSetup:
    """The one door: ask what became of the page, and keep its card. Repeats change nothing."""
    row: CardSetup = CardSetup.objects.get(pk=setup_id)
    if session_id and row.session_id and session_id != row.session_id:
        raise NotFound
    known = row.session_id or session_id
    if row.state == CardSetup.State.SAVED or not known:
        return row
    try:
        told = processor.card_setup(known)  # no lock and no transaction held across the network
    except UnknownAtProcessor:
        if row.session_id:
            raise
        raise NotFound from None
    if told.setup != str(row.pk) or told.livemode != settings.STRIPE_LIVEMODE:
        raise NotFound
    if told.progress == Progress.UNKNOWN:
        raise UnrecognisedStatus(card_setup=str(row.pk), statuses=told.statuses)
    with transaction.atomic():
        ledger.lock_wallet(row.account_id)
        row = CardSetup.objects.select_related("created_by", "consent").get(pk=setup_id)
        if row.state == CardSetup.State.SAVED:
            return row
        row.session_id = told.session_id
        if told.progress == Progress.PAID and told.card is not None:
            row.payment_method = _keep(row, told.card, now=now)
            row.state = CardSetup.State.SAVED
        elif told.progress in (Progress.EXPIRED, Progress.FAILED):
            row.state = CardSetup.State.ENDED
        if row.state != CardSetup.State.OPEN:
            row.state_at, row.check_at, row.url = now, None, ""
        row.save(update_fields=["session_id", "payment_method", "state", "state_at", "check_at", "url"])
    return row


def _keep(setup: CardSetup, told: SavedCard, *, now: datetime) -> PaymentMethod:
    """The card's row. The same card given again takes the place of the older one, also in the auto top-up."""
    before = PaymentMethod.objects.filter(provider_id=told.provider_id).first()
    if before is not None:
        if before.account_id != setup.account_id:
            raise NotFound
        return before
    print_ = secrets.digest(f"card:{told.fingerprint or told.provider_id}")
    kept = PaymentMethod.objects.filter(account_id=setup.account_id).exclude(state=State.REMOVED)
    twin = kept.filter(fingerprint_hash=print_).first()
    default = (twin is not None and twin.is_default) or not kept.filter(is_default=True).exists()
    if twin is not None:
        twin.move_to(State.REMOVED, now=now)
        twin.save(update_fields=["state", "state_at", "is_default"])
    card: PaymentMethod = PaymentMethod.objects.create(
        account_id=setup.account_id,
        provider_id=told.provider_id,
        customer_id=told.customer_id,
        brand=told.brand[:30],
        last_four=told.last_four[:4],
        exp_month=told.exp_month,
        exp_year=told.exp_year,
        ends_on=ends_on(told.exp_month, told.exp_year),
        fingerprint_hash=print_,
        state_at=now,
        is_default=default,
        consent=setup.consent,
        created_by=setup.created_by,
        created_at=now,
    )
    if twin is not None:
        AutoTopUp.objects.filter(pk=setup.account_id, payment_method=twin).update(payment_method=card)
    audit.record(
        actor=setup.created_by,
        action="card_saved",
        subject=card,
        now=now,
        after={"card": card.name, "expires": card.expiry, "consent": str(setup.consent_id)},
    )
    return card


# --- What the owner does with it ------------------------------------------------------------------------------------


def _own(account_id: UUID, card_id: UUID) -> PaymentMethod:
    """Under the wallet's lock."""
    ledger.lock_wallet(account_id)
    card: PaymentMethod | None = PaymentMethod.objects.filter(account_id=account_id, pk=card_id).first()
    if card is None or card.state == State.REMOVED:
        raise NotFound
    return card


def make_default(
    account_id: UUID, card_id: UUID, *, actor: User | None, label: str = "", now: datetime
) -> PaymentMethod:
    """The card that is offered first."""
    with transaction.atomic():
        card = _own(account_id, card_id)
        if card.state != State.ACTIVE:
            raise InvalidRequest(_("This card has expired."), field="payment_method")
        if not card.is_default:
            PaymentMethod.objects.filter(account_id=account_id, is_default=True).update(is_default=False)
            card.is_default = True
            card.save(update_fields=["is_default"])
            audit.record(actor=actor, actor_label=label, action="card_default", subject=card, now=now)
    return card


def remove(account_id: UUID, card_id: UUID, *, actor: User | None, label: str = "", now: datetime) -> PaymentMethod:
    """Forget the card: from now on nothing is charged to it. The provider is told afterwards (`detach`)."""
    with transaction.atomic():
        card = _own(account_id, card_id)
        _removed(card, now=now)
        audit.record(
            actor=actor,
            actor_label=label,
            action="card_removed",
            subject=card,
            now=now,
            before={"card": card.name},
        )
    return card


def _removed(card: PaymentMethod, *, now: datetime) -> None:
    was_default = card.is_default
    card.move_to(State.REMOVED, now=now)
    card.save(update_fields=["state", "state_at", "is_default"])
    if was_default:
        following = PaymentMethod.objects.filter(account_id=card.account_id, state=State.ACTIVE).order_by("-id").first()
        if following is not None:
            PaymentMethod.objects.filter(pk=following.pk).update(is_default=True)
    auto_state.card_gone(card, AutoTopUp.Stop.CARD_REMOVED, now=now)


def detach(card_id: UUID, *, processor: PaymentProcessor, now: datetime) -> PaymentMethod:
    """Let the provider forget a removed card. Safe to call again."""
    card: PaymentMethod = PaymentMethod.objects.get(pk=card_id)
    if card.state == State.REMOVED and card.detached_at is None:
        processor.forget_card(card.provider_id)
        PaymentMethod.objects.filter(pk=card_id, detached_at=None).update(detached_at=now)
        card.refresh_from_db()
    return card


# --- What happens to it by itself -----------------------------------------------------------------------------------


def refresh(provider_id: str, *, processor: PaymentProcessor, now: datetime) -> bool:
    """A card changed at the provider: its date was renewed, or it was detached in the Dashboard."""
    known = PaymentMethod.objects.filter(provider_id=provider_id).exclude(state=State.REMOVED).first()
    if known is None:
        return PaymentMethod.objects.filter(provider_id=provider_id).exists()
    told = processor.card(provider_id)
    with transaction.atomic():
        ledger.lock_wallet(known.account_id)
        card: PaymentMethod = PaymentMethod.objects.get(pk=known.pk)
        if card.state == State.REMOVED:
            return True
        if told is None or told.customer_id != card.customer_id:
            _removed(card, now=now)
            PaymentMethod.objects.filter(pk=card.pk).update(detached_at=now)
            audit.record(actor=None, action="card_removed", subject=card, now=now, reason="detached at the provider")
            return True
        card.exp_month, card.exp_year = told.exp_month, told.exp_year
        card.last_four, card.brand = told.last_four[:4], told.brand[:30]
        until = ends_on(told.exp_month, told.exp_year)
        if until != card.ends_on:
            card.ends_on, card.ending_told = until, False
        if card.state == State.EXPIRED and until > now.date():
            card.move_to(State.ACTIVE, now=now)
        card.save()
    return True


def watch_dates(*, now: datetime, limit: int = 200) -> int:
    """Tell owners of cards that expire within a month, and put away those that have; how many cards that were."""
    today, soon = now.date(), (now + TELL_BEFORE).date()
    rows = PaymentMethod.objects.filter(state=State.ACTIVE)
    over = list(rows.filter(ends_on__lte=today).order_by("ends_on").values_list("pk", flat=True)[:limit])
    near = rows.filter(ends_on__gt=today, ends_on__lte=soon, ending_told=False)
    for card_id in [*over, *near.order_by("ends_on").values_list("pk", flat=True)[:limit]]:
        _date_passes(card_id, now=now)
        over.append(card_id) if card_id not in over else None
    return len(over)


def _date_passes(card_id: UUID, *, now: datetime) -> None:
    account_id = PaymentMethod.objects.values_list("account_id", flat=True).get(pk=card_id)
    with transaction.atomic():
        ledger.lock_wallet(account_id)
        card: PaymentMethod = PaymentMethod.objects.get(pk=card_id)
        if card.state != State.ACTIVE:
            return
        if card.ends_on <= now.date():
            card.move_to(State.EXPIRED, now=now)
            card.save(update_fields=["state", "state_at"])
            auto_state.card_gone(card, AutoTopUp.Stop.CARD_EXPIRED, now=now)
        elif not card.ending_told and card.ends_on <= (now + TELL_BEFORE).date():
            card.ending_told = True
            card.save(update_fields=["ending_told"])
            in_use = AutoTopUp.objects.filter(pk=account_id, payment_method=card, enabled=True).exists()
            notices.tell(
                account_id,
                "card_expiring",
                key=f"card:{card.pk}:expires:{card.ends_on}",
                context={"card": card.name, "expiry": card.expiry, "auto": "yes" if in_use else ""},
                now=now,
            )


def due_setups(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Pages of which nothing was heard, each claimed by moving its next check; the oldest are closed."""
    waiting = CardSetup.objects.filter(state=CardSetup.State.OPEN, check_at__lte=now).order_by("check_at")
    found = []
    for setup_id, at, created, session_id in waiting.values_list("pk", "check_at", "created_at", "session_id")[:limit]:
        mine = CardSetup.objects.filter(pk=setup_id, check_at=at, state=CardSetup.State.OPEN)
        if session_id is None or now > created + 3 * PAGE_LIVES:  # nobody ever had the page, or nobody answers for it
            mine.update(state=CardSetup.State.ENDED, state_at=now, check_at=None)
        elif mine.update(check_at=now + NEXT_CHECK):
            found.append(setup_id)
    return found


def due_detaching(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Removed cards that the provider may still keep."""
    rows = PaymentMethod.objects.filter(state=State.REMOVED, detached_at=None, state_at__lte=now - DETACH_AFTER)
    return list(rows.order_by("state_at").values_list("pk", flat=True)[:limit])
