"""Mails about a top-up: its credit, or that a delayed payment failed. Once each, in the reader's language."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import override

from accounts.models import Membership, User
from billing.payments import receipt_issuing
from billing.payments.models import PaymentAttempt, TopUp

LEASE: Final = timedelta(minutes=10)
SWEEP_AFTER: Final = timedelta(minutes=2)

# A card that is declined is told of on the provider's page while the order stays open. An order fails after the
# customer has left, when a payment that takes its time does not arrive: then somebody must write.
_CREDIT_UNTOLD: Final = Q(credited_at__isnull=False, mailed_at=None)
_FAILURE_UNTOLD: Final = Q(status=TopUp.Status.FAILED, failure_mailed_at=None) & ~Q(payment_intent_id="")
_SENT: Final = {"topup_credited": "mailed_at", "topup_failed": "failure_mailed_at"}


def _free(now: datetime) -> Q:
    return Q(mail_claimed_at=None) | Q(mail_claimed_at__lt=now - LEASE)


def send(order_id: UUID, *, now: datetime) -> bool:
    """Mail what the order's payer does not know yet, unless that is done or being done; whether this call did it.

    Claimed by compare-and-set, so that two workers send one mail. A claim whose worker died is free again after ten
    minutes: only a death between the mail server's yes and our note of it could send a second one.
    """
    untold = TopUp.objects.filter(_CREDIT_UNTOLD | _FAILURE_UNTOLD, _free(now), pk=order_id)
    if not untold.update(mail_claimed_at=now):
        return False
    order: TopUp = TopUp.objects.select_related("account", "created_by", "fx_quote").get(pk=order_id)
    name = "topup_credited" if order.credited_at else "topup_failed"
    try:
        if order.credited_at:
            receipt_issuing.issue(order_id, now=now)
        for user in _readers(order):
            _mail(name, order, user).send()
    except Exception:
        TopUp.objects.filter(pk=order_id).update(mail_claimed_at=None)
        raise
    TopUp.objects.filter(pk=order_id).update(**{_SENT[name]: now}, mail_claimed_at=None)
    return True


def is_due(order: TopUp) -> bool:
    """True when somebody should be told of this order."""
    if order.credited_at:
        return order.mailed_at is None
    return order.status == TopUp.Status.FAILED and bool(order.payment_intent_id) and order.failure_mailed_at is None


def due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Orders whose mail nobody sent in time."""
    late = now - SWEEP_AFTER
    waiting = TopUp.objects.filter(
        _free(now), (_CREDIT_UNTOLD & Q(credited_at__lte=late)) | (_FAILURE_UNTOLD & Q(status_at__lte=late))
    )
    return list(waiting.order_by("status_at").values_list("pk", flat=True)[:limit])


def _readers(order: TopUp) -> list[User]:
    """Whoever placed the order; for an order by a program, the account's owners."""
    if order.created_by and order.created_by.is_active:
        return [order.created_by]
    owners = Membership.objects.filter(account_id=order.account_id, role=Membership.Role.OWNER, user__is_active=True)
    return [membership.user for membership in owners.select_related("user")]


def _mail(name: str, order: TopUp, user: User) -> EmailMessage:
    try:
        zone = ZoneInfo(user.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    context: dict[str, Any] = {
        "order": order,
        "user": user,
        "attempt": order.attempts.filter(outcome=PaymentAttempt.Outcome.SUCCEEDED).order_by("-at").first(),
        "url": f"{settings.PUBLIC_URL}/billing/top-up/{order.number}",
        "site_name": settings.SITE_NAME,
        "support_email": settings.SUPPORT_EMAIL,
    }
    with override(user.locale or order.locale or settings.LANGUAGE_CODE), timezone.override(zone):
        subject = " ".join(render_to_string(f"emails/{name}_subject.txt", context).split())
        body = render_to_string(f"emails/{name}_body.txt", context)
    return EmailMessage(subject, body, to=[user.email])
