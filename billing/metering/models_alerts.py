"""Spend alerts: what a customer wants to be told of, and what was told (02-domain 2.5)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, KeyGroup, User
from billing.books.models import AMOUNT
from billing.metering.models import ScopedQuerySet
from config.ids import uuid7


class SpendAlert(models.Model):
    """A mail when the balance falls below an amount, or when a day or month costs one. Days and months are UTC's.

    `revision` counts the changes of what is watched: a changed alert is told afresh. `checked_seq` is the wallet's
    number when the sweep last looked; as long as that stands, nothing can have changed.
    """

    class Kind(models.TextChoices):
        LOW_BALANCE = "low_balance", _("Low balance")
        SPEND = "spend", _("Spend")

    class Period(models.TextChoices):
        DAY = "day", _("A day")
        MONTH = "month", _("A month")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="spend_alerts", db_index=False)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind)
    group = models.ForeignKey(
        KeyGroup, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("key group")
    )
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("API key")
    )
    threshold_usd = models.DecimalField(_("threshold"), **AMOUNT)
    period = models.CharField(_("period"), max_length=6, choices=Period, blank=True)
    steps = ArrayField(
        models.PositiveSmallIntegerField(), verbose_name=_("told at"), default=list, help_text=_("Per cent.")
    )
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(_("created"))
    paused_at = models.DateTimeField(_("paused"), null=True, blank=True)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)
    revision = models.PositiveIntegerField(_("revision"), default=1, editable=False)
    since = models.DateTimeField(help_text=_("From when on it watches: its making or its last change."))
    armed = models.BooleanField(_("armed"), default=True, help_text=_("Low balance: will be told when it falls."))
    episode = models.PositiveIntegerField(default=0, help_text=_("Low balance: how often it was told."))
    last_fired_at = models.DateTimeField(_("last told"), null=True, blank=True)
    checked_seq = models.BigIntegerField(default=-1, editable=False)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("spend alert")
        verbose_name_plural = _("spend alerts")
        constraints = [
            models.CheckConstraint(condition=models.Q(threshold_usd__gt=0), name="spend_alert_threshold"),
            models.CheckConstraint(
                condition=models.Q(kind="low_balance", period="", group=None, api_key=None)
                | models.Q(kind="spend", period__in=["day", "month"]),
                name="spend_alert_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(group__isnull=True) | models.Q(api_key__isnull=True), name="spend_alert_scope"
            ),
            models.UniqueConstraint(
                fields=["account", "kind", "group", "api_key", "period", "threshold_usd"],
                nulls_distinct=False,
                condition=models.Q(deleted_at__isnull=True),
                name="spend_alert_once",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="spend_alert_account"),
            models.Index(
                fields=["id"],
                name="spend_alert_watching",
                condition=models.Q(deleted_at__isnull=True, paused_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.threshold_usd:.2f}"

    @property
    def scope(self) -> str:
        """account, group or key."""
        return "group" if self.group_id else "key" if self.api_key_id else "account"

    @property
    def on(self) -> str:
        """What it watches, by name; empty: the whole account."""
        if self.group_id:
            return str(self.group.name) if self.group else ""
        return f"{self.api_key.name} {self.api_key.masked}" if self.api_key else ""

    @property
    def margin(self) -> Decimal:
        """USD that the balance must rise above the threshold before a low balance is told again."""
        return max(self.threshold_usd / 10, Decimal(1))

    def changed(self, now: datetime) -> None:
        """What it watches is another: told afresh from now on."""
        self.revision += 1
        self.since, self.armed, self.checked_seq = now, True, -1


class AlertFiring(models.Model):
    """Once told: the alert, its period and step. A step that a higher one overtook is kept, and not mailed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    alert = models.ForeignKey(SpendAlert, models.PROTECT, related_name="firings", db_index=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    revision = models.PositiveIntegerField(_("revision"))
    period = models.CharField(
        _("period"), max_length=12, help_text=_("2026-11-26, 2026-11, or the number of the fall.")
    )
    step = models.PositiveSmallIntegerField(_("step"), help_text=_("Per cent of the threshold."))
    amount_usd = models.DecimalField(_("amount"), help_text=_("The balance, or what was spent."), **AMOUNT)
    threshold_usd = models.DecimalField(_("threshold"), **AMOUNT)
    mailed = models.BooleanField(_("mailed"), default=True)
    at = models.DateTimeField(_("time"))

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("alert told")
        verbose_name_plural = _("alerts told")
        constraints = [
            models.UniqueConstraint(fields=["alert", "revision", "period", "step"], name="alert_firing_once"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="alert_firing_account")]

    def __str__(self) -> str:
        return f"{self.period} {self.step} %"
