"""Benefit levels: what staff may change of them. Calls already authorised keep the discount they were given."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.models import BenefitLevel, User
from accounts.standing import require_reason

MOST = Decimal("1.5")
HIGHEST_THRESHOLD = Decimal(1_000_000_000)

changed: list[Callable[[BenefitLevel], None]] = []
"""Apps to the right add here what is to be done, in the same transaction, after a level was changed."""


@transaction.atomic
def change(
    level_id: int,
    *,
    discount: Decimal,
    rpm: int,
    tpm: int,
    actor: User,
    reason: str,
    now: datetime,
    threshold_usd: Decimal | None = None,
) -> BenefitLevel:
    """Another discount and other rates for everyone on the level, from the next call on (C20); another threshold.

    A lowered threshold raises those who reach it; a raised one takes the level from nobody.
    """
    require_reason(reason)
    if not 0 < discount <= MOST or discount != discount.quantize(Decimal("0.0001")):
        raise ValidationError(_("A discount factor is above 0 and at most 1.5, with four places."))
    if rpm < 1 or tpm < 1:
        raise ValidationError(_("A rate is at least one a minute."))
    known = list(BenefitLevel.objects.select_for_update(no_key=True).order_by("pk"))
    level = next((one for one in known if one.pk == level_id), None)
    if level is None:
        raise BenefitLevel.DoesNotExist
    before = _terms(level)
    if threshold_usd is not None and threshold_usd != level.threshold_usd:
        _check_threshold(level, threshold_usd, known)
        level.threshold_usd = threshold_usd
    level.discount, level.rpm, level.tpm = discount, rpm, tpm
    level.save(update_fields=["discount", "rpm", "threshold_usd", "tpm"])
    level.refresh_from_db()
    after = _terms(level)
    if before["threshold_usd"] == after["threshold_usd"]:  # said only where it changed
        del before["threshold_usd"], after["threshold_usd"]
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
        for tell in changed:
            tell(level)
    return level


def _terms(level: BenefitLevel) -> dict[str, object]:
    terms = {"discount": str(level.discount), "rpm": level.rpm, "tpm": level.tpm}
    return terms | {"threshold_usd": f"{level.threshold_usd:.2f}"}


def _check_threshold(level: BenefitLevel, wanted: Decimal, known: list[BenefitLevel]) -> None:
    """Whole cents; the lowest level stays at 0, where every account begins, and the order of the levels stays."""
    if not 0 <= wanted <= HIGHEST_THRESHOLD or wanted != wanted.quantize(Decimal("0.01")):
        raise ValidationError(_("A threshold is an amount of US dollars in whole cents."))
    if level.threshold_usd == 0:
        raise ValidationError(_("Every account begins on this level: its threshold stays 0."))
    lower = [one.threshold_usd for one in known if one.threshold_usd < level.threshold_usd]
    higher = [one.threshold_usd for one in known if one.threshold_usd > level.threshold_usd]
    if (lower and wanted <= max(lower)) or (higher and wanted >= min(higher)):
        raise ValidationError(_("The threshold must lie between those of the level below and the level above."))
