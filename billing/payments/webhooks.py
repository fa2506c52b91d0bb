"""The inbox of provider events and the table of who handles them (04-payments 4.2).

An event is a doorbell: kept once, acknowledged, and then the object it names is fetched and what is true now is
applied. Apps to the right register with `handles`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.errors import BadRequest, InvalidRequest, InvalidTransition, NotFound
from billing.payments.models import PaymentEvent, TopUp
from billing.payments.processor import (
    PaymentProcessor,
    ProcessorUnavailable,
    ReceivedEvent,
    SecondCheckout,
    UnknownAtProcessor,
    UnrecognisedStatus,
)

log = logging.getLogger(__name__)

State, Reason = PaymentEvent.State, PaymentEvent.Reason
SWEEP_AFTER: Final = timedelta(seconds=45)
"""How long the nudge that follows an event has, before the sweep takes it."""
LEASE: Final = timedelta(minutes=5)
BACKOFF: Final = (30, 60, 120, 300, 600, 1800, 3600)
PARK_AFTER: Final = 8
# Types that come with what we use and tell us nothing that another type does not. Any other type is flagged.
QUIET: Final = frozenset(
    {
        "balance.available",
        "charge.captured",
        "charge.failed",
        "charge.pending",
        "charge.succeeded",
        "charge.updated",
        "customer.created",
        "customer.deleted",
        "customer.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.payment_succeeded",
        "invoice.updated",
        "invoice_payment.paid",
        "payment_intent.amount_capturable_updated",
        "payment_intent.created",
        "payment_intent.requires_action",
        "payment_method.attached",
        "payment_method.automatically_updated",
        "payment_method.detached",
        "payment_method.updated",
        "price.created",
        "product.created",
        "setup_intent.created",
        "setup_intent.requires_action",
        "setup_intent.setup_failed",
        "subscription_schedule.completed",
        "subscription_schedule.created",
    }
)


class Handler(Protocol):
    """Applies what is true now of the event's object; says whether the object was its business."""

    def __call__(self, event: PaymentEvent, *, processor: PaymentProcessor, now: datetime) -> bool: ...


_handlers: dict[str, list[Handler]] = defaultdict(list)


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Register a handler for event types; several apps may handle one type, each for its own objects."""

    def register(handler: Handler) -> Handler:
        for type_ in types:
            if handler not in _handlers[type_]:
                _handlers[type_].append(handler)
        return handler

    return register


def check(event: ReceivedEvent) -> None:
    """Raise `BadRequest` for a body that is no event."""
    if not event.event_id or not event.type:
        raise BadRequest(_("The body is not an event."))


def keep(events: Sequence[ReceivedEvent], *, now: datetime) -> list[int]:
    """Keep verified events, each once, in one commit; the ids of those that wait for a worker.

    One from the wrong mode is kept apart and never processed. One that tells us nothing has come to its end with that.
    """
    rows = [_row(event, now=now) for event in events]
    PaymentEvent.objects.bulk_create(rows, ignore_conflicts=True)
    for row in rows:
        if row.state == State.QUARANTINED:
            log.error("ALERT event %s (%s) has livemode=%s and is quarantined", row.event_id, row.type, row.livemode)
    waiting = [row.event_id for row in rows if row.state == State.RECEIVED]
    if not waiting:
        return []
    kept = PaymentEvent.objects.filter(provider="stripe", event_id__in=waiting, state=State.RECEIVED)
    return list(kept.order_by("pk").values_list("pk", flat=True))


def _row(event: ReceivedEvent, *, now: datetime) -> PaymentEvent:
    strange = event.livemode != settings.STRIPE_LIVEMODE
    quiet = event.type in QUIET and not _handlers.get(event.type)
    row = PaymentEvent(
        provider="stripe",
        event_id=event.event_id[:120],
        type=event.type[:100],
        api_version=event.api_version[:40],
        livemode=event.livemode,
        object_id=event.object_id[:160],
        body=event.body,
        received_at=now,
        state=State.QUARANTINED if strange else State.IGNORED if quiet else State.RECEIVED,
        state_at=now,
        due_at=now + SWEEP_AFTER,
        flagged=strange,
        reason=Reason.WRONG_MODE if strange else "",
        last_error=f"livemode={event.livemode} at an installation with the other mode" if strange else "",
    )
    if strange:
        row.top_up = order_of(row)
    return row


def process(event_id: int, *, processor: PaymentProcessor, now: datetime) -> PaymentEvent:
    """Hand a waiting event to its handlers. Safe to call again, and at once from several places.

    A handler that fails is tried again later; one that keeps failing parks the event for a person. Silence of the
    provider only delays it.
    """
    event = PaymentEvent.objects.get(pk=event_id)
    if event.state != State.RECEIVED:
        return event
    handlers = _handlers.get(event.type, [])
    try:
        concerned = [handler(event, processor=processor, now=now) for handler in handlers]
    except UnrecognisedStatus as unknown:
        reason = Reason.SECOND_CHECKOUT if isinstance(unknown, SecondCheckout) else Reason.UNKNOWN_STATUS
        return _close(event, State.IGNORED, now=now, reason=reason, last_error=f"{unknown.title} {unknown.evidence}")
    except ProcessorUnavailable as silence:
        return _delay(event, repr(silence), now=now)
    except Exception as failure:
        # Whatever it is, the event must stay visible and replayable: no delivery may end in a dead task.
        log.exception("Event %s (%s) failed", event.event_id, event.type)
        foreign = isinstance(failure, NotFound | UnknownAtProcessor)
        reason = Reason.FOREIGN_OBJECT if foreign else Reason.FAILING
        return _again(event, f"{type(failure).__name__}: {failure}", now=now, reason=reason)
    if any(concerned):
        return _close(event, State.PROCESSED, now=now)
    if event.type in QUIET:
        return _close(event, State.IGNORED, now=now)
    return _close(event, State.IGNORED, now=now, reason=Reason.FOREIGN_OBJECT if handlers else Reason.UNKNOWN_TYPE)


def _close(event: PaymentEvent, state: str, *, now: datetime, reason: str = "", last_error: str = "") -> PaymentEvent:
    """The event's end. One with a reason is flagged; a flag that it had before stays, with its reason."""
    flagged = bool(reason) or event.flagged
    end = {
        "state": state,
        "state_at": now,
        "flagged": flagged,
        "reason": reason or (event.reason if flagged else ""),
        "top_up": order_of(event) if flagged else None,
        "last_error": last_error[:500],
    }
    if PaymentEvent.objects.filter(pk=event.pk, state=State.RECEIVED).update(**end):
        for name, value in end.items():
            setattr(event, name, value)
    else:
        event.refresh_from_db()
    return event


def _again(event: PaymentEvent, error: str, *, now: datetime, reason: str) -> PaymentEvent:
    waiting = PaymentEvent.objects.filter(pk=event.pk, state=State.RECEIVED)
    waiting.update(attempts=F("attempts") + 1, last_error=error[:500], due_at=now + _wait(event.attempts))
    stuck = waiting.filter(attempts__gte=PARK_AFTER)
    if stuck.exists() and stuck.update(state=State.PARKED, state_at=now, reason=reason, top_up=order_of(event)):
        log.error("ALERT event %s (%s) is parked after %s tries: %s", event.event_id, event.type, PARK_AFTER, error)
    event.refresh_from_db()
    return event


def _delay(event: PaymentEvent, error: str, *, now: datetime) -> PaymentEvent:
    """Silence of the provider says nothing about the event: it is counted apart and never parks."""
    PaymentEvent.objects.filter(pk=event.pk, state=State.RECEIVED).update(
        silences=F("silences") + 1, last_error=error[:500], due_at=now + _wait(event.silences)
    )
    event.refresh_from_db()
    return event


def _wait(times: int) -> timedelta:
    return timedelta(seconds=BACKOFF[min(times, len(BACKOFF) - 1)])


def order_of(event: PaymentEvent) -> TopUp | None:
    """The order that the event's object names or belongs to, for whoever looks into what is wrong with it."""
    subject = event.subject
    metadata = subject.get("metadata")
    names = [metadata.get("order") if isinstance(metadata, dict) else None, subject.get("client_reference_id")]
    for name in names:
        if isinstance(name, str) and name and (named := TopUp.objects.filter(number=name[:40]).first()):
            return named
    payments = [one for one in (event.object_id, subject.get("payment_intent")) if isinstance(one, str) and one]
    if not payments:
        return None
    return TopUp.objects.filter(Q(payment_intent_id__in=payments) | Q(checkout_session_id__in=payments)).first()


def claim_due(*, now: datetime, limit: int = 200) -> list[int]:
    """Events that nobody finished in time; each is claimed for this sweep by moving its next try."""
    found = []
    due = (
        PaymentEvent.objects.filter(state=State.RECEIVED, due_at__lte=now)
        .order_by("due_at")
        .values_list("pk", "due_at")
    )
    for event_id, due_at in due[:limit]:
        claimed = PaymentEvent.objects.filter(pk=event_id, state=State.RECEIVED, due_at=due_at)
        if claimed.update(due_at=now + LEASE):
            found.append(event_id)
    return found


def replay(event_id: int, *, actor: User, reason: str, now: datetime) -> PaymentEvent:
    """Put an event back into the inbox, with the reason in the audit (I12). Doing its work again changes nothing."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    with transaction.atomic():
        event = PaymentEvent.objects.select_for_update(no_key=True).get(pk=event_id)
        if State.RECEIVED not in PaymentEvent.NEXT[event.state]:
            raise InvalidTransition(_("This event cannot be replayed."), event=event.event_id, current=str(event.state))
        before = {"state": str(event.state), "attempts": event.attempts}
        event.state, event.state_at, event.due_at = State.RECEIVED, now, now
        event.attempts = event.silences = 0
        event.save(update_fields=["state", "state_at", "attempts", "silences", "due_at"])
        audit.record(
            actor=actor,
            action="event_replay",
            subject=event,
            now=now,
            reason=reason.strip(),
            before=before,
            after={"state": str(event.state)},
        )
    return event
