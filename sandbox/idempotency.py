"""Idempotency keys as Stripe keeps them: one key, one body, one answer, for a day."""

import hashlib
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from sandbox.errors import ApiError
from sandbox.models import IdempotentRequest

KEPT = timedelta(hours=24)
ABANDONED = timedelta(seconds=60)


def fingerprint(method: str, path: str, body: str) -> str:
    return hashlib.sha256(f"{method} {path}\n{body}".encode()).hexdigest()


def claim(key: str, print_: str, now: datetime) -> tuple[IdempotentRequest, bool]:
    """The row of this key, and whether it already has the answer.

    The row is committed before the work, so that a second request with the key at the same time is refused with 409.
    """
    if len(key) > 255:
        raise ApiError("Idempotency keys have at most 255 characters.", type="idempotency_error")
    IdempotentRequest.objects.filter(key=key, created__lt=now - KEPT).delete()
    IdempotentRequest.objects.filter(key=key, status=None, created__lt=now - ABANDONED).delete()
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(key=key, fingerprint=print_, created=now), False
    except IntegrityError:
        row = IdempotentRequest.objects.filter(key=key).first()
    if row is not None and row.fingerprint != print_:
        raise ApiError(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. "
            f"Try using a key other than '{key}' if you meant to execute a different request.",
            type="idempotency_error",
        )
    if row is None or row.status is None:
        raise ApiError(
            f"There is currently another in-progress request with the Idempotency Key '{key}'. Please try again later.",
            code="idempotency_key_in_use",
            status=409,
            type="idempotency_error",
        )
    return row, True


def forget(now: datetime | None = None) -> None:
    """Forget all keys, or those older than a day at `now`."""
    rows = IdempotentRequest.objects.all()
    if now is not None:
        rows = rows.filter(created__lt=now - KEPT)
    rows.delete()
