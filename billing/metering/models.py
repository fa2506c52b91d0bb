"""What is measured: holds on funds (authorizations) and billed calls (usage records).

Both are written only by the set-based functions in `sql/`, under the wallet's lock; `holds.py` and `usage.py` are
the Python door to them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.lookups import GreaterThan
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, GatewayToken
from billing.books.models import AMOUNT, JournalEntry
from billing.catalog.models import Channel, Model, PriceVersion
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User

FLOWS: dict[str, Any] = {"max_digits": 20, "decimal_places": 6}
FACTOR: dict[str, Any] = {"max_digits": 6, "decimal_places": 4}
LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False, "related_name": "+"}


class Funding(models.TextChoices):
    """What pays for a call; chosen at admission, once."""

    PAYG = "payg", _("Balance")
    SUBSCRIPTION = "subscription", _("Flows")
    EXTRA_USAGE = "extra_usage", _("Extra Usage")


class ScopedQuerySet(models.QuerySet[Any]):
    """Rows that belong to an account."""

    def visible_to(self, user: User | AnonymousUser) -> ScopedQuerySet:
        """The rows of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class Authorization(models.Model):
    """A hold on funds for one call. Ends in exactly one of captured, voided, expired (I4)."""

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        CAPTURED = "captured", _("Captured")
        VOIDED = "voided", _("Voided")
        EXPIRED = "expired", _("Expired")

    # An expired hold may still be captured: the call was made and is charged, marked `late` (03-http-api 3.3).
    NEXT: ClassVar[dict[str, set[str]]] = {
        "open": {"captured", "voided", "expired"},
        "expired": {"captured"},
        "captured": set(),
        "voided": set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, **LOOSE)
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, **LOOSE)
    token = models.ForeignKey(GatewayToken, models.PROTECT, null=True, **LOOSE)
    request_id = models.CharField(_("request ID"), max_length=200)
    digest = models.BinaryField(max_length=32, editable=False)
    kind = models.CharField(_("kind"), max_length=8, default="call")
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.OPEN)
    funding = models.CharField(_("paid by"), max_length=12, choices=Funding, default=Funding.PAYG)
    model = models.ForeignKey(Model, models.PROTECT, **LOOSE)
    channel = models.ForeignKey(Channel, models.PROTECT, **LOOSE)
    price_version = models.ForeignKey(PriceVersion, models.PROTECT, **LOOSE)
    channel_discount = models.DecimalField(_("channel discount"), **FACTOR)
    user_discount = models.DecimalField(_("user discount"), **FACTOR)
    fields = models.JSONField(_("fields that the price may depend on"), default=dict)
    held = models.DecimalField(_("held"), **AMOUNT)
    held_flows = models.DecimalField(_("held Flows"), default=0, **FLOWS)
    # What a Flow was when the call was admitted (C16); empty where Flows could not pay.
    flow_class = models.CharField(_("Flow class"), max_length=12, blank=True)
    flows_per_usd = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)
    flow_factor = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    flow_overhead = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=128, blank=True)
    trace_id = models.CharField(_("trace ID"), max_length=64)
    created_at = models.DateTimeField(_("authorised"))
    expires_at = models.DateTimeField(_("expires"))
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    void_reason = models.CharField(_("reason"), max_length=200, blank=True)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("authorization")
        verbose_name_plural = _("authorizations")
        constraints = [
            models.UniqueConstraint(fields=["account", "request_id"], name="authorization_request"),
            models.CheckConstraint(condition=models.Q(held__gte=0, held_flows__gte=0), name="authorization_held"),
            models.CheckConstraint(
                condition=models.Q(status__in=["open", "captured", "voided", "expired"]), name="authorization_status"
            ),
            models.CheckConstraint(
                condition=models.Q(funding__in=["payg", "subscription", "extra_usage"]), name="authorization_funding"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="authorization_open", condition=models.Q(status="open")),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} {self.status}"


class UsageRecord(models.Model):
    """One billed call, with all that made its price (I8). Append-only.

    A record that ends an authorization has its id. `charge_from` is where this record's charge begins within its
    entry's total, so that a reversal knows which grants paid for it.

    A call belongs to the moment at which it was admitted or, when it was reported afterwards, made: lists, filters,
    days and rollups go by `authorized_at` (C06). `created_at` is when the row was written; only the rollup's
    watermark goes by it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, **LOOSE)
    authorization = models.ForeignKey(Authorization, models.PROTECT, null=True, **LOOSE)
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, **LOOSE)
    request_id = models.CharField(_("request ID"), max_length=200)
    digest = models.BinaryField(max_length=32, editable=False)
    kind = models.CharField(_("kind"), max_length=8, default="call")
    funding = models.CharField(_("paid by"), max_length=12, choices=Funding, default=Funding.PAYG)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, **LOOSE)
    charge_from = models.DecimalField(default=0, **AMOUNT)
    model = models.ForeignKey(Model, models.PROTECT, verbose_name=_("model"), **LOOSE)
    channel = models.ForeignKey(Channel, models.PROTECT, verbose_name=_("channel"), **LOOSE)
    price_version = models.ForeignKey(PriceVersion, models.PROTECT, **LOOSE)
    usage = models.JSONField(_("canonical usage"))
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cache_read_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    cache_write_tokens = models.BigIntegerField(_("cache write tokens"), default=0)
    fields = models.JSONField(_("fields that the price may depend on"), default=dict)
    # The lines as they were rated (billing/catalog/stored.py); records older than the column have none.
    sheet = models.JSONField(_("calculation sheet"), null=True, editable=False)
    list_price = models.DecimalField(_("list price"), **AMOUNT)
    channel_discount = models.DecimalField(_("channel discount"), **FACTOR)
    user_discount = models.DecimalField(_("user discount"), **FACTOR)
    charge = models.DecimalField(_("charge"), **AMOUNT)
    flows = models.DecimalField(_("Flows"), default=0, **FLOWS)
    flows_per_usd = models.DecimalField(max_digits=20, decimal_places=10, null=True, blank=True)
    flow_class = models.CharField(_("Flow class"), max_length=12, blank=True)
    flow_factor = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    flow_overhead = models.DecimalField(max_digits=20, decimal_places=6, null=True, blank=True)
    late = models.BooleanField(_("late"), default=False)
    upstream_status = models.SmallIntegerField(_("upstream status"), null=True, blank=True)
    latency_ms = models.IntegerField(_("latency"), null=True, blank=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=128, blank=True)
    duplicate_of = models.UUIDField(_("duplicate of"), null=True, blank=True)
    trace_id = models.CharField(_("trace ID"), max_length=64)
    authorized_at = models.DateTimeField(_("time"))
    created_at = models.DateTimeField(_("recorded"))

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage record")
        verbose_name_plural = _("usage records")
        constraints = [
            models.UniqueConstraint(fields=["account", "request_id"], name="usage_request"),
            models.CheckConstraint(
                condition=models.Q(charge__gte=0, list_price__gte=0, flows__gte=0), name="usage_amounts"
            ),
            models.CheckConstraint(
                condition=models.Q(entry__isnull=False) | models.Q(charge=0), name="usage_charged_by_entry"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-authorized_at", "-id"], name="usage_account_time"),
            models.Index(fields=["account", "model", "-authorized_at"], name="usage_account_model"),
            models.Index(fields=["account", "api_key", "-authorized_at", "-id"], name="usage_account_key"),
            BrinIndex(fields=["created_at"], name="usage_time_brin"),
            # Small ones, for rows that are few: the rollups' tail, and the filters by what paid.
            models.Index(
                fields=["account", "created_at"],
                name="usage_backdated",
                condition=models.Q(GreaterThan(models.F("created_at") - models.F("authorized_at"), timedelta(hours=1))),
            ),
            models.Index(
                fields=["account", "-authorized_at", "-id"],
                name="usage_not_charged",
                condition=models.Q(charge=0, flows=0),
            ),
            models.Index(
                fields=["account", "funding", "-authorized_at", "-id"],
                name="usage_not_payg",
                condition=~models.Q(funding="payg"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} {self.charge}"

    @property
    def charged(self) -> bool:
        """True when the call cost the customer anything (F057)."""
        return bool(self.charge or self.flows)


class UsageRollup(models.Model):
    """A day of one account's usage by model and key, kept by a worker from a watermark; the tail is read raw."""

    account = models.ForeignKey(Account, models.PROTECT, **LOOSE)
    day = models.DateField()
    model = models.ForeignKey(Model, models.PROTECT, **LOOSE)
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, **LOOSE)
    funding = models.CharField(max_length=12, choices=Funding)
    calls = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    list_price = models.DecimalField(default=0, **AMOUNT)
    charge = models.DecimalField(default=0, **AMOUNT)
    flows = models.DecimalField(default=0, **FLOWS)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("usage by day")
        verbose_name_plural = _("usage by day")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "model", "api_key", "funding"], nulls_distinct=False, name="usage_rollup_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.calls}"


class RollupState(models.Model):
    """One row: usage records created before `watermark` are in the rollups."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    watermark = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.watermark)
