"""Usage that was refused because it contradicts itself, kept until a person has decided what it meant."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, ApiKey, GatewayToken, User
from billing.catalog.models import Channel, Model, PriceVersion
from billing.errors import InvalidTransition, InvalidUsage
from billing.metering.models import FACTOR, LOOSE, Authorization, UsageRecord
from config.ids import uuid7

if TYPE_CHECKING:
    from typing import Any


class QuarantinedUsage(models.Model):
    """A capture or report whose usage was refused: what was told, on which terms, why not, and what became of it.

    The terms are those on which it would have been charged at the time; a replay charges on them, whatever changed
    since. The body holds quantities and never what was asked or answered (`billing/metering/kept.py`).
    """

    class Kind(models.TextChoices):
        CAPTURE = "capture", _("Capture of a hold")
        REPORT = "report", _("Reported without a hold")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        REPLAYED = "replayed", _("Charged")
        DISMISSED = "dismissed", _("Dismissed")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.WAITING: {State.REPLAYED, State.DISMISSED},
        State.REPLAYED: set(),
        State.DISMISSED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", verbose_name=_("account"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    request_id = models.CharField(_("request ID"), max_length=200)
    authorization = models.ForeignKey(Authorization, models.PROTECT, null=True, **LOOSE)
    api_key = models.ForeignKey(ApiKey, models.PROTECT, null=True, **LOOSE)
    token = models.ForeignKey(GatewayToken, models.PROTECT, null=True, verbose_name=_("gateway token"), **LOOSE)
    trace_id = models.CharField(_("trace ID"), max_length=64)
    fingerprint = models.CharField(_("fingerprint"), max_length=128, blank=True)
    upstream_status = models.SmallIntegerField(_("upstream status"), null=True, blank=True)
    latency_ms = models.IntegerField(_("latency"), null=True, blank=True)
    occurred_at = models.DateTimeField(_("time"), help_text=_("When the call was authorised or, reported, made."))

    model = models.ForeignKey(Model, models.PROTECT, verbose_name=_("model"), **LOOSE)
    channel = models.ForeignKey(Channel, models.PROTECT, verbose_name=_("channel"), **LOOSE)
    price_version = models.ForeignKey(PriceVersion, models.PROTECT, verbose_name=_("price version"), **LOOSE)
    channel_discount = models.DecimalField(_("channel discount"), **FACTOR)
    user_discount = models.DecimalField(_("user discount"), **FACTOR)
    fields = models.JSONField(_("fields that the price may depend on"), default=dict)

    format = models.CharField(_("format"), max_length=40, blank=True)
    body = models.JSONField(_("usage as it was told"))
    problem_code = models.CharField(_("code"), max_length=40)
    problem_field = models.CharField(_("field"), max_length=64, blank=True)
    problem_text = models.CharField(_("problem"), max_length=200, help_text=_("The sentence before it is translated."))
    times = models.PositiveIntegerField(_("times seen"), default=1)
    first_seen_at = models.DateTimeField(_("first seen"))
    last_seen_at = models.DateTimeField(_("last seen"))

    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    usage_record = models.ForeignKey(UsageRecord, models.PROTECT, null=True, verbose_name=_("usage record"), **LOOSE)

    class Meta:
        verbose_name = _("quarantined call")
        verbose_name_plural = _("quarantined calls")
        constraints = [
            models.UniqueConstraint(fields=["account", "request_id"], name="quarantined_usage_request"),
            models.CheckConstraint(
                condition=models.Q(
                    state="waiting", decided_by__isnull=True, decided_at__isnull=True, usage_record__isnull=True
                )
                | models.Q(state="replayed", decided_at__isnull=False, usage_record__isnull=False)
                | models.Q(state="dismissed", decided_at__isnull=False, usage_record__isnull=True),
                name="quarantined_usage_state",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="capture", authorization__isnull=False)
                | models.Q(kind="report", authorization__isnull=True),
                name="quarantined_usage_kind",
            ),
            models.CheckConstraint(condition=models.Q(times__gte=1), name="quarantined_usage_times"),
        ]
        indexes = [
            models.Index(
                fields=["account", "id"], name="quarantined_usage_waiting", condition=models.Q(state="waiting")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} · {self.get_state_display()}"

    @property
    def problem(self) -> str:
        """Why it was refused, in the reader's language."""
        return InvalidUsage(gettext(self.problem_text), field=self.problem_field).detail if self.problem_text else ""

    def move_to(self, state: str, *, by: User | None, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the row's lock. `by` None: the gateway."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(quarantined=str(self.pk), current=str(self.state), wanted=str(state))
        self.state, self.decided_by, self.decided_at = self.State(state), by, now

    if TYPE_CHECKING:
        get_kind_display: Any
        get_state_display: Any
