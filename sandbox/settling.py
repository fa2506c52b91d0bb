"""What happens by itself: sessions expire, delayed payments and refunds settle."""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from sandbox.models import StoredObject
from sandbox.store import Moment

_SETTLERS: dict[str, Callable[[StoredObject, Moment], None]] = {}


def settles(kind: str) -> Callable[[Callable[[StoredObject, Moment], None]], Callable[[StoredObject, Moment], None]]:
    """Register what becomes of an object of this kind when its `due_at` has come."""

    def register(settler: Callable[[StoredObject, Moment], None]) -> Callable[[StoredObject, Moment], None]:
        _SETTLERS[kind] = settler
        return settler

    return register


def settle_due(now: datetime) -> int:
    """Let everything happen whose time has come, each in its own transaction; returns how many objects changed."""
    done = 0
    for pk in list(StoredObject.objects.filter(due_at__lte=now).order_by("due_at", "pk").values_list("pk", flat=True)):
        with transaction.atomic():
            row = StoredObject.objects.select_for_update(no_key=True).filter(pk=pk, due_at__lte=now).first()
            if row is None:
                continue
            row.due_at = None
            row.save(update_fields=["due_at"])
            _SETTLERS[row.kind](row, Moment(now))
            done += 1
    return done
