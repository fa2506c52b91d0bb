"""Channels: what staff may change of them. Calls already authorised keep the discount they were given."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog.models import CatalogState, Channel, UsageConvention
from billing.errors import InvalidRequest

MOST = Decimal("1.5")


@transaction.atomic
def change(
    channel_id: int,
    *,
    discount: Decimal,
    active: bool,
    actor: User,
    reason: str,
    now: datetime,
    usage_convention: str | None = None,
) -> Channel:
    """Another factor on every price of the channel, from the next call on (F043, C20); every process reads it again.

    `usage_convention` says how its vendor counts input (C17), for whatever is reported from now on; None: as it was.
    """
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    if not 0 < discount <= MOST or discount != discount.quantize(Decimal("0.0001")):
        raise InvalidRequest(_("A discount factor is above 0 and at most 1.5, with four places."), field="discount")
    if usage_convention is not None and usage_convention not in UsageConvention.values:
        raise InvalidRequest(_("%(field)s must be inclusive or exclusive."), field="usage_convention")
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    before = _terms(channel)
    channel.discount, channel.active = discount, active
    if usage_convention is not None:
        channel.usage_convention = usage_convention
    channel.save(update_fields=["discount", "active", "usage_convention"])
    channel.refresh_from_db()
    after = _terms(channel)
    if before != after:
        CatalogState.objects.filter(pk=1).update(revision=F("revision") + 1)
        audit.record(
            actor=actor,
            action="channel_changed",
            subject=channel,
            now=now,
            reason=reason.strip(),
            before=before,
            after=after,
        )
    return channel


def _terms(channel: Channel) -> dict[str, Any]:
    return {
        "discount": str(channel.discount),
        "active": channel.active,
        "usage_convention": channel.usage_convention,
    }
