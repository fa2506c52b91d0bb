"""Benefit levels: what staff may change of them. Calls already authorised keep the discount they were given."""

from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import BenefitLevel, User
from accounts.standing import require_reason

MOST = Decimal("1.5")


@transaction.atomic
def change(
    level_id: int, *, discount: Decimal, rpm: int, tpm: int, actor: User, reason: str, now: datetime
) -> BenefitLevel:
    """Another discount and other rates for everyone on the level, from the next call on (C20)."""
    require_reason(reason)
    if not 0 < discount <= MOST or discount != discount.quantize(Decimal("0.0001")):
        raise ValidationError(_("A discount factor is above 0 and at most 1.5, with four places."))
    if rpm < 1 or tpm < 1:
        raise ValidationError(_("A rate is at least one a minute."))
    level = BenefitLevel.objects.select_for_update(no_key=True).get(pk=level_id)
    before = {"discount": str(level.discount), "rpm": level.rpm, "tpm": level.tpm}
    level.discount, level.rpm, level.tpm = discount, rpm, tpm
    level.save(update_fields=["discount", "rpm", "tpm"])
    level.refresh_from_db()
    after = {"discount": str(level.discount), "rpm": level.rpm, "tpm": level.tpm}
    if before != after:
        audit.record(
            actor=actor,
            action="benefit_level_changed",
            subject=level,
            now=now,
            reason=reason.strip(),
            before=before,
            after=after,
        )
    return level
