"""The terms of refunds, as dated rows: added, never changed (F090, F091, C10, C12, C13, 04-payments 4.3)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User


def method_limits() -> dict[str, int]:
    """Days for which the provider takes refunds, by payment method, where it sets an end."""
    return {"alipay": 90, "wechat_pay": 180}


class RefundPolicy(models.Model):
    """What holds for payments that were made from `effective_from` on, until a later row begins.

    Rows are written by `refunds.publishing`. A payment keeps the terms under which it was made: a later row takes
    nothing away from it. Only `days_by_method`, which is the provider's word, is read as of now.
    """

    class FeeBase(models.TextChoices):
        DIFFERENCE = "difference", _("What is left after usage and earlier refunds")
        PAID = "paid", _("All that was paid")

    effective_from = models.DateTimeField(_("in force from"), unique=True)
    window_hours = models.PositiveSmallIntegerField(
        _("hours to ask in"), default=24, help_text=_("From the first payment of a plan, or of an upgrade. Inclusive.")
    )
    fee_rate = models.DecimalField(
        _("fee"), max_digits=7, decimal_places=6, default=Decimal("0.05"), help_text=_("A share: 0.05 is 5 %.")
    )
    fee_base = models.CharField(_("fee of"), max_length=10, choices=FeeBase, default=FeeBase.DIFFERENCE)
    on_renewal = models.BooleanField(
        _("renewals can be refunded"), default=False, help_text=_("Whether a renewal opens the hours again.")
    )
    refund_tax = models.BooleanField(
        _("tax goes back"), default=True, help_text=_("In proportion to what goes back of the price.")
    )
    settle_minutes = models.PositiveSmallIntegerField(
        _("minutes to wait for open calls"), default=15, help_text=_("After that a call counts with what it holds.")
    )
    quote_minutes = models.PositiveSmallIntegerField(_("minutes for which a quote holds"), default=15)
    days_by_method = models.JSONField(_("days by payment method"), default=method_limits)
    created_at = models.DateTimeField(_("published"))
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("published by")
    )
    note = models.CharField(_("reason"), max_length=500, blank=True)
    client_key = models.UUIDField(
        null=True, unique=True, editable=False, help_text=_("Names the intent: a form that is sent twice is one row.")
    )

    class Meta:
        verbose_name = _("refund policy")
        verbose_name_plural = _("refund policies")
        constraints = [
            models.CheckConstraint(condition=Q(fee_rate__gte=0, fee_rate__lt=1), name="refund_policy_fee"),
            models.CheckConstraint(condition=Q(fee_base__in=["difference", "paid"]), name="refund_policy_fee_base"),
            models.CheckConstraint(condition=Q(window_hours__gt=0, quote_minutes__gt=0), name="refund_policy_times"),
        ]

    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return f"{self.effective_from:%Y-%m-%d %H:%M} UTC"

    @property
    def window(self) -> timedelta:
        """How long after a payment its refund may be asked for."""
        return timedelta(hours=self.window_hours)

    @property
    def settling(self) -> timedelta:
        """How long calls under way are waited for."""
        return timedelta(minutes=self.settle_minutes)

    @property
    def quoting(self) -> timedelta:
        """How long a quote holds."""
        return timedelta(minutes=self.quote_minutes)

    def too_old(self, method: str, paid_at: datetime, now: datetime) -> timedelta | None:
        """How long the provider takes refunds of this method, when that time is over; None while it is not."""
        days = self.days_by_method.get(method)
        if days is None:
            return None
        limit = timedelta(days=int(days))
        return limit if now - paid_at > limit else None


def in_force(at: datetime) -> RefundPolicy:
    """The terms at a moment; before the first row its terms."""
    rows = RefundPolicy.objects.order_by("-effective_from")
    found: RefundPolicy = rows.filter(effective_from__lte=at).first() or rows.last()
    return found
