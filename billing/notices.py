"""Mails to an account's people about its money: written with the fact, sent after the commit, once each.

A notice is a row, so that a lost message makes a mail late and never lost. It is mailed in each reader's language and
time zone from `templates/emails/<kind>_subject.txt` and `<kind>_body.txt`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import override

from accounts.access import MAY
from accounts.models import Membership, User
from billing.models_notices import Notice
from billing.waking import wake

log = logging.getLogger(__name__)

LEASE: Final = timedelta(minutes=10)
SWEEP_AFTER: Final = timedelta(minutes=2)
GIVE_UP_AFTER: Final = 12
READERS: Final = tuple(role for role, actions in MAY.items() if "pay" in actions)


def tell(
    account_id: UUID,
    kind: str,
    *,
    key: str,
    context: Mapping[str, str],
    now: datetime,
    user_id: int | None = None,
) -> None:
    """Let an account's people hear of a fact, once for ever under this key. Call it in the fact's transaction.

    Readers are `user_id` alone, or every member who may pay. `context` is flat text: a key that ends in `_at` holds an
    ISO time and reaches the template as a datetime, one that ends in `_usd` US dollars as a Decimal.
    """
    from billing.tasks import send_notice  # the task imports this module

    Notice.objects.bulk_create(
        [
            Notice(
                account_id=account_id,
                user_id=user_id,
                kind=kind,
                key=key[:160],
                context=dict(context),
                created_at=now,
            )
        ],
        ignore_conflicts=True,
    )
    kept = Notice.objects.only("pk", "sent_at").get(account_id=account_id, key=key[:160])
    if kept.sent_at is None:
        wake(send_notice, str(kept.pk))


def send(notice_id: UUID, *, now: datetime) -> bool:
    """Mail a notice unless that is done or being done; whether this call did it.

    Claimed by compare-and-set, so that two workers send one mail. A claim whose worker died is free again after ten
    minutes: only a death between the mail server's yes and our note of it could send a second one.
    """
    if not Notice.objects.filter(_free(now), pk=notice_id, sent_at=None).update(
        claimed_at=now, attempts=F("attempts") + 1
    ):
        return False
    notice = Notice.objects.select_related("account", "user").get(pk=notice_id)
    try:
        for user in _readers(notice):
            _mail(notice, user).send()
    except Exception as failure:
        Notice.objects.filter(pk=notice_id).update(
            claimed_at=None, last_error=f"{type(failure).__name__}: {failure}"[:300]
        )
        raise
    Notice.objects.filter(pk=notice_id).update(sent_at=now, claimed_at=None, last_error="")
    return True


def due(*, now: datetime, limit: int = 200) -> list[UUID]:
    """Notices that nobody sent in time; each failed try makes the next wait longer, up to a day."""
    waiting = Notice.objects.filter(
        _free(now), sent_at=None, attempts__lt=GIVE_UP_AFTER, created_at__lte=now - SWEEP_AFTER
    ).order_by("created_at")
    return [
        pk
        for pk, created, attempts in waiting.values_list("pk", "created_at", "attempts")[:limit]
        if now >= created + SWEEP_AFTER * 2 ** max(0, attempts - 1)
    ]


def _free(now: datetime) -> Q:
    return Q(claimed_at=None) | Q(claimed_at__lt=now - LEASE)


def _readers(notice: Notice) -> list[User]:
    if notice.user_id:
        return [notice.user] if notice.user and notice.user.is_active else []
    members = Membership.objects.filter(account_id=notice.account_id, role__in=READERS, user__is_active=True)
    return [membership.user for membership in members.select_related("user").order_by("created_at", "pk")]


def _mail(notice: Notice, user: User) -> EmailMessage:
    try:
        zone = ZoneInfo(user.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    with override(user.locale or settings.LANGUAGE_CODE), timezone.override(zone):
        context = _context(notice, user)
        body = render_to_string(f"emails/{notice.kind}_body.txt", context)
        return EmailMessage(_subject(notice, context), body, to=[user.email])


def subject(notice: Notice) -> str:
    """What the mail is called, in the language that is in force."""
    return _subject(notice, _context(notice, None))


def _subject(notice: Notice, context: dict[str, Any]) -> str:
    return " ".join(render_to_string(f"emails/{notice.kind}_subject.txt", context).split())


def _context(notice: Notice, user: User | None) -> dict[str, Any]:
    return {
        **{name: _typed(name, value) for name, value in notice.context.items()},
        "account": notice.account,
        "user": user,
        "site_name": settings.SITE_NAME,
        "support_email": settings.SUPPORT_EMAIL,
        "public_url": settings.PUBLIC_URL,
    }


def _typed(name: str, value: str) -> Any:
    if not value:
        return None
    if name.endswith("_at"):
        return parse_datetime(value)
    return Decimal(value) if name.endswith("_usd") else value
