"""Channels: what staff may change of them. Calls already authorised keep the discount they were given."""

from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import User
from billing.catalog.models import CatalogState, Channel
from billing.errors import InvalidRequest

MOST = Decimal("1.5")


@transaction.atomic
def change(channel_id: int, *, discount: Decimal, active: bool, actor: User, reason: str, now: datetime) -> Channel:
    """Another factor on every price of the channel, from the next call on (F043, C20); every process reads it again."""
    if not reason.strip():
        raise InvalidRequest(_("Say why: the reason is kept in the audit."), field="reason")
    if not 0 < discount <= MOST or discount != discount.quantize(Decimal("0.0001")):
        raise InvalidRequest(_("A discount factor is above 0 and at most 1.5, with four places."), field="discount")
    channel = Channel.objects.select_for_update(no_key=True).get(pk=channel_id)
    before = {"discount": str(channel.discount), "active": channel.active}
    channel.discount, channel.active = discount, active
    channel.save(update_fields=["discount", "active"])
    channel.refresh_from_db()
    after = {"discount": str(channel.discount), "active": channel.active}
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
