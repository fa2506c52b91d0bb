"""How an account's benefit level came about: one row a change, never altered (F018, C19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, BenefitLevel, User
from billing.books.models import AMOUNT
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class BenefitChangeQuerySet(models.QuerySet["BenefitLevelChange"]):
    """Reads of the history."""

    def visible_to(self, user: User | AnonymousUser) -> BenefitChangeQuerySet:
        """The changes of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class BenefitLevelChange(models.Model):
    """One change of an account's level, or of the level that staff promised it. Append-only by trigger."""

    class Cause(models.TextChoices):
        ORDER = "order", _("Top-up")
        REFUND = "refund", _("Refund")
        DISPUTE = "dispute", _("Dispute")
        STAFF = "staff", _("Set by us")
        THRESHOLD = "threshold", _("Changed thresholds")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="benefit_changes", db_index=False)
    at = models.DateTimeField(_("time"))
    before = models.ForeignKey(
        BenefitLevel, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("from level")
    )
    after = models.ForeignKey(BenefitLevel, models.PROTECT, related_name="+", verbose_name=_("to level"))
    net_usd = models.DecimalField(
        _("net top-ups"), help_text=_("Captured top-ups less refunds and disputes, at that moment."), **AMOUNT
    )
    cause = models.CharField(_("cause"), max_length=10, choices=Cause)
    source = models.CharField(_("because of"), max_length=80, blank=True, help_text=_("The order behind it."))
    floor = models.ForeignKey(
        BenefitLevel,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("promised level"),
        help_text=_("Set by staff: the account never stands below it. Empty: what the top-ups earn."),
    )

    objects: ClassVar[Any] = BenefitChangeQuerySet.as_manager()

    class Meta:
        verbose_name = _("benefit level change")
        verbose_name_plural = _("benefit level changes")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(cause__in=["order", "refund", "dispute", "staff", "threshold"]),
                name="benefit_change_cause",
            ),
            models.CheckConstraint(condition=models.Q(net_usd__gte=0), name="benefit_change_net"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="benefit_change_account")]

    def __str__(self) -> str:
        return f"{self.before or '–'} → {self.after}"
