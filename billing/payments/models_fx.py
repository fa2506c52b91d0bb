"""How the exchange rate's feed is doing."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class FxFeed(models.Model):
    """One row: when the feed was asked, and what came of it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    asked_at = models.DateTimeField(_("asked"), null=True, blank=True)
    accepted_at = models.DateTimeField(_("last rate accepted"), null=True, blank=True)
    failed_at = models.DateTimeField(_("last failure"), null=True, blank=True)
    failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("exchange rate feed")
        verbose_name_plural = _("exchange rate feeds")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="fx_feed_one_row")]

    def __str__(self) -> str:
        return "USD/CNY"
