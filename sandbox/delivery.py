"""Sending events: signed, at least once, with attempts that back off. Never inside a transaction."""

import hashlib
import hmac
import http.client
import ipaddress
import json
import time
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from sandbox.models import Delivery, Event

BACKOFF = [timedelta(seconds=wait) for wait in (2, 10, 60, 300, 1800, 7200, 36000)]
SENDING_IS_STALE_AFTER = timedelta(seconds=60)
TIMEOUT_SECONDS = 10


def signature(payload: bytes, secret: str, at: int) -> str:
    """The `Stripe-Signature` header over the raw body."""
    mac = hmac.new(secret.encode(), b"%d." % at + payload, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def encode(event: Event) -> bytes:
    return json.dumps(event.body, indent=2, ensure_ascii=False).encode()


def deliver_pending(now: datetime, limit: int | None = None) -> int:
    """Send what is due at `now`, in the order in which it is due, and return how many sendings were tried.

    A failed sending is planned again; two deliverers never send the same row at once; a row whose deliverer died is
    taken again after a minute, so that an event may arrive twice but is not forgotten.
    """
    sent = 0
    while limit is None or sent < limit:
        delivery = _claim(now)
        if delivery is None:
            break
        _record(delivery, *send(delivery.event), now=now)
        sent += 1
    return sent


def _claim(now: datetime) -> Delivery | None:
    with transaction.atomic():
        stale = Delivery.objects.filter(state=Delivery.State.SENDING, claimed_at__lt=now - SENDING_IS_STALE_AFTER)
        stale.update(state=Delivery.State.PENDING)
        delivery = (
            Delivery.objects.filter(state=Delivery.State.PENDING, due_at__lte=now)
            .order_by("due_at", "pk")
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("event")
            .first()
        )
        if delivery:
            delivery.state, delivery.claimed_at = Delivery.State.SENDING, now
            delivery.attempts += 1
            delivery.save(update_fields=["state", "claimed_at", "attempts"])
    return delivery


def _record(delivery: Delivery, status: int | None, text: str, *, now: datetime) -> None:
    delivery.answer_status, delivery.answer_text, delivery.answered_at = status, text[:500], now
    if status is not None and 200 <= status < 300:
        delivery.state = Delivery.State.DELIVERED
    elif delivery.attempts <= len(BACKOFF):
        delivery.state = Delivery.State.PENDING
        delivery.due_at = now + BACKOFF[delivery.attempts - 1]
    else:
        delivery.state = Delivery.State.FAILED
    delivery.save(update_fields=["answer_status", "answer_text", "answered_at", "state", "due_at"])


def send(event: Event) -> tuple[int | None, str]:
    """POST the event; the status and the beginning of the answer, or no status and the reason."""
    if not settings.STRIPE_WEBHOOK_SECRETS:
        return None, "STRIPE_WEBHOOK_SECRET is not set, so there is nothing to sign with."
    url = urlsplit(settings.SANDBOX_WEBHOOK_URL)
    if not _may_send_to(url.hostname or "", url.scheme):
        return None, "The sandbox sends only to this machine and to PUBLIC_URL."
    payload = encode(event)
    # The receiver compares with the machine's clock, which a moved development clock does not touch.
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(payload, settings.STRIPE_WEBHOOK_SECRETS[0], int(time.time())),
        "User-Agent": "Stripe/1.0 (sandbox)",
    }
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", url.path or "/", payload, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace").replace("\0", "")
    except (OSError, http.client.HTTPException) as silence:
        return None, repr(silence)
    finally:
        connection.close()


def _may_send_to(host: str, scheme: str) -> bool:
    if scheme not in ("http", "https"):
        return False
    if host == "localhost" or host == urlsplit(settings.PUBLIC_URL).hostname:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def release(now: datetime) -> None:
    """Make everything that waits due now, whatever delay it was given."""
    Delivery.objects.filter(state=Delivery.State.PENDING, due_at__gt=now).update(due_at=now)


def send_again(event: Event, now: datetime) -> Delivery:
    """Plan one more sending, undisturbed, of an event that was delivered, failed or lost."""
    return Delivery.objects.create(event=event, due_at=now)
