"""The mail that tells a customer of credit: once, in the language of whoever paid."""

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
from billing.payments.models import PaymentAttempt, TopUp

LEASE: Final = timedelta(minutes=10)
SWEEP_AFTER: Final = timedelta(minutes=2)


def send(order_id: UUID, *, now: datetime) -> bool:
    """Mail the receipt unless that is done or being done; whether this call did it.

    Claimed by compare-and-set, so that two workers send one mail. A claim whose worker died is free again after ten
    minutes: only a death between the mail server's yes and our note of it could send a second one.
    """
    free = TopUp.objects.filter(pk=order_id, credited_at__isnull=False, mailed_at=None).filter(
        Q(mail_claimed_at=None) | Q(mail_claimed_at__lt=now - LEASE)
    )
    if not free.update(mail_claimed_at=now):
        return False
    order: TopUp = TopUp.objects.select_related("account", "created_by", "fx_quote").get(pk=order_id)
    try:
        for user in _readers(order):
            _mail(order, user).send()
    except Exception:
        TopUp.objects.filter(pk=order_id).update(mail_claimed_at=None)
        raise
    TopUp.objects.filter(pk=order_id).update(mailed_at=now)
    return True


def due(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Credited orders whose mail nobody sent in time."""
    waiting = TopUp.objects.filter(mailed_at=None, credited_at__lte=now - SWEEP_AFTER).filter(
        Q(mail_claimed_at=None) | Q(mail_claimed_at__lt=now - LEASE)
    )
    return list(waiting.order_by("credited_at").values_list("pk", flat=True)[:limit])


def _readers(order: TopUp) -> list[User]:
    """Whoever placed the order; for an order by a program, the account's owners."""
    if order.created_by and order.created_by.is_active:
        return [order.created_by]
    owners = Membership.objects.filter(account_id=order.account_id, role=Membership.Role.OWNER, user__is_active=True)
    return [membership.user for membership in owners.select_related("user")]


def _mail(order: TopUp, user: User) -> EmailMessage:
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
        subject = " ".join(render_to_string("emails/topup_credited_subject.txt", context).split())
        body = render_to_string("emails/topup_credited_body.txt", context)
    return EmailMessage(subject, body, to=[user.email])
