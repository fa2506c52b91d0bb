"""What happens by itself: sessions expire, delayed payments and refunds settle, subscriptions renew."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from sandbox.models import StoredObject
from sandbox.store import Moment

Settler = Callable[[StoredObject, Moment], None]
_SETTLERS: dict[str, Settler] = {}
_IN_TURN: set[str] = set()


def settles(kind: str) -> Callable[[Settler], Settler]:
    """Register what becomes of an object of this kind when its `due_at` has come."""

    def register(settler: Settler) -> Settler:
        _SETTLERS[kind] = settler
        return settler

    return register


def settles_in_turn(kind: str) -> Callable[[Settler], Settler]:
    """The same, for what happens at the very time that it was due, however late we come to it.

    When the clock jumps over three months a subscription renews three times, each time on its day.
    """
    _IN_TURN.add(kind)
    return settles(kind)


def settle_due(now: datetime) -> int:
    """Let everything happen whose time has come, first what was due first, each in its own transaction.

    What happens may be followed by more that is due already. Returns how many things happened.
    """
    done = 0
    while (pk := _next(now)) is not None:
        with transaction.atomic():
            row = StoredObject.objects.select_for_update(no_key=True).filter(pk=pk, due_at__lte=now).first()
            if row is None or row.due_at is None:
                continue
            moment = Moment(row.due_at if row.kind in _IN_TURN else now)
            row.due_at = None
            row.save(update_fields=["due_at"])
            _SETTLERS[row.kind](row, moment)
            done += 1
    return done


def _next(now: datetime) -> int | None:
    rows = StoredObject.objects.filter(due_at__lte=now).order_by("due_at", "pk")
    return rows.values_list("pk", flat=True).first()
