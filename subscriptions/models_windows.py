"""Quota windows, what calls hold in them, and Extra Usage: rows that the functions in `sql/` write under the wallet's
lock (C06, C07, C24, F080-F083)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, User
from billing.books.models import AMOUNT
from billing.metering.models import FLOWS, LOOSE
from config.ids import uuid7
from subscriptions.models_plans import PlanVersion

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser


class ScopedQuerySet(models.QuerySet[Any]):
    """Rows that belong to an account."""

    def visible_to(self, user: User | AnonymousUser) -> ScopedQuerySet:
        """The rows of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class QuotaWindow(models.Model):
    """A stretch of time in which an account may use so many Flows: `[starts_at, ends_at)`.

    Windows of one kind do not overlap (a trigger refuses it: an exclusion constraint on a UUID would need an extension
    that not every PostgreSQL has). Five-hour and weekly windows lie within the window of their billing period. A window
    opens with the first admitted call and holds every call that was admitted in it, whenever that call is captured.
    `used` may pass `cap` by the overshoot of admitted calls. `carried` is what the window's predecessor has used and
    holds, when the plan was changed in its middle (C26): it counts against the cap and moves with the predecessor's
    last captures.
    """

    class Kind(models.TextChoices):
        FIVE_HOURS = "5h", _("Five hours")
        WEEK = "week", _("Week")
        PERIOD = "period", _("Billing period")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="quota_windows", db_index=False)
    kind = models.CharField(_("kind"), max_length=6, choices=Kind)
    plan_version = models.ForeignKey(PlanVersion, models.PROTECT, verbose_name=_("plan version"), related_name="+")
    subscription = models.ForeignKey(
        "subscriptions.Subscription", models.PROTECT, null=True, blank=True, related_name="windows"
    )
    period = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="parts")
    follows = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="followed_by")
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"))
    cap = models.DecimalField(_("Flows allowed"), **FLOWS)
    enforced = models.BooleanField(_("enforced"), default=True)
    used = models.DecimalField(_("Flows used"), default=0, **FLOWS)
    held = models.DecimalField(_("Flows held"), default=0, **FLOWS)
    carried = models.DecimalField(_("Flows carried over"), default=0, **FLOWS)
    opened_at = models.DateTimeField(_("opened"))
    ended_by = models.CharField(
        _("ended early by"), max_length=12, blank=True, choices=[
            ("change", _("change of plan")), ("end", _("end of the subscription")), ("reset", _("reset by staff")),
        ],
    )  # fmt: skip

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("quota window")
        verbose_name_plural = _("quota windows")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["5h", "week", "period"]), name="quota_window_kind"),
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="quota_window_span"),
            models.CheckConstraint(
                condition=Q(used__gte=0, held__gte=0, carried__gte=0, cap__gt=0), name="quota_window_amounts"
            ),
            models.CheckConstraint(
                condition=Q(kind="period", period=None) | (~Q(kind="period") & Q(period__isnull=False)),
                name="quota_window_period",
            ),
            models.CheckConstraint(
                condition=Q(ended_by__in=["", "change", "end", "reset"]), name="quota_window_ended_by"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "kind", "ends_at"], name="quota_window_account"),
            models.Index(fields=["follows"], name="quota_window_follows", condition=Q(follows__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.starts_at:%Y-%m-%d %H:%M} – {self.ends_at:%Y-%m-%d %H:%M} UTC"

    @property
    def spoken_for(self) -> Decimal:
        """Used, held and carried over: what counts against the cap."""
        found: Decimal = self.used + self.held + self.carried
        return found

    @property
    def left(self) -> Decimal:
        """What a call may still take; never below zero."""
        return max(Decimal(0), self.cap - self.spoken_for)

    @property
    def overshoot(self) -> Decimal:
        """Flows used beyond the cap by calls that were admitted before it was reached (C24)."""
        return max(Decimal(0), self.used + self.carried - self.cap)

    def is_open(self, now: datetime) -> bool:
        """True within `[starts_at, ends_at)`."""
        return self.starts_at <= now < self.ends_at


class FlowHold(models.Model):
    """In which windows a subscription call counts; for a call of Extra Usage, in which month and on which key.

    Its authorization has the amounts. Written once, with it.
    """

    authorization_id = models.UUIDField(primary_key=True, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, **LOOSE)
    five_hours = models.ForeignKey(QuotaWindow, models.PROTECT, null=True, **LOOSE)
    week = models.ForeignKey(QuotaWindow, models.PROTECT, null=True, **LOOSE)
    period = models.ForeignKey(QuotaWindow, models.PROTECT, null=True, **LOOSE)
    extra_month = models.ForeignKey("subscriptions.ExtraUsageMonth", models.PROTECT, null=True, **LOOSE)
    extra_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, **LOOSE)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    five_hours__isnull=False, week__isnull=False, period__isnull=False, extra_month=None, extra_key=None
                )
                | Q(five_hours=None, week=None, period=None, extra_month__isnull=False, extra_key__isnull=False),
                name="flow_hold_one_funding",
            )
        ]
        indexes = [
            models.Index(fields=["period"], name="flow_hold_period", condition=Q(period__isnull=False)),
            models.Index(fields=["extra_month"], name="flow_hold_extra", condition=Q(extra_month__isnull=False)),
        ]

    def __str__(self) -> str:
        return str(self.authorization_id)


class ExtraUsage(models.Model):
    """An account's consent to pay from its balance when a window is full: with which key, up to how much a month."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="extra_usage")
    enabled = models.BooleanField(_("on"), default=False)
    api_key = models.ForeignKey(
        ApiKey, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("pay-as-you-go key")
    )
    monthly_cap = models.DecimalField(_("at most a month"), null=True, blank=True, **AMOUNT)
    agreed_at = models.DateTimeField(_("agreed"), null=True, blank=True)
    agreed_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("agreed by")
    )
    agreed_text = models.TextField(_("what was agreed to"), blank=True)
    changed_at = models.DateTimeField(_("changed"))

    class Meta:
        verbose_name = _("Extra Usage")
        verbose_name_plural = _("Extra Usage")
        constraints = [
            models.CheckConstraint(
                condition=Q(enabled=False)
                | Q(api_key__isnull=False, monthly_cap__gt=0, agreed_at__isnull=False) & ~Q(agreed_text=""),
                name="extra_usage_agreed",
            )
        ]

    def __str__(self) -> str:
        return str(self.account_id)


class ExtraUsageMonth(models.Model):
    """What Extra Usage spent and holds (USD) in one calendar month of UTC; `told` is the last per cent mailed.

    `refused_at` is when a call was first refused because what the cap leaves is too small for it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="extra_usage_months", db_index=False)
    month = models.DateField(_("month"))
    spent = models.DecimalField(_("spent"), default=0, **AMOUNT)
    held = models.DecimalField(_("held"), default=0, **AMOUNT)
    calls = models.BigIntegerField(_("calls"), default=0)
    told = models.PositiveSmallIntegerField(_("told of"), default=0)
    refused_at = models.DateTimeField(_("first refused by the cap"), null=True, blank=True)
    refusal_told = models.BooleanField(_("refusal told of"), default=False)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("month of Extra Usage")
        verbose_name_plural = _("months of Extra Usage")
        constraints = [
            models.UniqueConstraint(fields=["account", "month"], name="extra_usage_month_once"),
            models.CheckConstraint(condition=Q(spent__gte=0, held__gte=0), name="extra_usage_month_amounts"),
        ]
        # The sweep that tells of 50, 80 and 100 % reads one month of all accounts.
        indexes = [models.Index(fields=["month"], name="extra_usage_month_watched", condition=Q(told__lt=100))]

    def __str__(self) -> str:
        return f"{self.account_id} {self.month:%Y-%m}"
