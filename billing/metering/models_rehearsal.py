"""Rehearsals: what the calls of the past would have cost under a draft. They touch neither prices nor books."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.catalog.models import Channel, Model
from billing.catalog.models_drafts import PriceDraft
from billing.errors import InvalidTransition
from config.ids import uuid7

LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False, "related_name": "+"}


class Rehearsal(models.Model):
    """One run over the calls of a period `[since, until)`, cut into parts so that it can go on after a worker dies."""

    class State(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.QUEUED: {State.RUNNING, State.FAILED, State.CANCELLED},
        State.RUNNING: {State.DONE, State.FAILED, State.CANCELLED},
        State.DONE: set(),
        State.FAILED: set(),
        State.CANCELLED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    draft = models.ForeignKey(PriceDraft, models.PROTECT, related_name="rehearsals", verbose_name=_("price draft"))
    revision = models.PositiveIntegerField(_("revision"), help_text=_("Which text of the draft it was of."))
    document = models.JSONField(default=dict, help_text=_("The draft as it was."))
    since = models.DateTimeField(_("from"))
    until = models.DateTimeField(_("until"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.QUEUED)
    requested_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("requested by"))
    created_at = models.DateTimeField(_("created"))
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    due_at = models.DateTimeField(null=True, help_text=_("When the sweep looks after it; none: it has ended."))
    revenue = models.DecimalField(_("revenue of the period"), default=0, **AMOUNT)
    calls = models.BigIntegerField(_("calls of the period"), default=0)
    error = models.CharField(_("error"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("rehearsal")
        verbose_name_plural = _("rehearsals")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["queued", "running"], finished_at__isnull=True, due_at__isnull=False)
                | models.Q(state__in=["done", "failed", "cancelled"], finished_at__isnull=False, due_at__isnull=True),
                name="rehearsal_state",
            ),
            models.CheckConstraint(condition=models.Q(until__gt=models.F("since")), name="rehearsal_period"),
        ]
        indexes = [
            models.Index(fields=["draft", "-created_at"], name="rehearsal_draft"),
            models.Index(fields=["due_at"], name="rehearsal_due", condition=models.Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d} – {self.until:%Y-%m-%d}"

    def move_to(self, state: str) -> None:
        """Change state in memory if the table allows it; the caller holds the row's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(rehearsal=str(self.pk), current=str(self.state), wanted=str(state))
        self.state = self.State(state)


class RehearsalPart(models.Model):
    """Some accounts whose calls one worker rates at a stretch. `claim` names the attempt that may write the result."""

    rehearsal = models.ForeignKey(Rehearsal, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    accounts = ArrayField(models.UUIDField())
    calls = models.BigIntegerField()
    claim = models.UUIDField(null=True)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    done = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rehearsal", "number"], name="rehearsal_part_once")]

    def __str__(self) -> str:
        return f"{self.rehearsal_id} {self.number}"


class RehearsedAccount(models.Model):
    """One account's calls under the draft. USD; `refused` counts calls that its balance would not have covered."""

    rehearsal = models.ForeignKey(Rehearsal, models.CASCADE, related_name="by_account", db_index=False)
    account = models.ForeignKey(Account, models.PROTECT, verbose_name=_("account"), **LOOSE)
    calls = models.BigIntegerField(_("calls rated again"))
    before = models.DecimalField(_("charged"), **AMOUNT)
    after = models.DecimalField(_("under the draft"), **AMOUNT)
    refused = models.BigIntegerField(_("newly refused"), default=0)
    refused_charge = models.DecimalField(_("charge of these"), default=0, **AMOUNT)
    refused_since = models.DateTimeField(_("refused since"), null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rehearsal", "account"], name="rehearsed_account_once")]
        indexes = [
            models.Index(
                models.F("rehearsal"), models.F("after") - models.F("before"), name="rehearsed_account_change"
            ),
            models.Index(
                fields=["rehearsal", "-refused_charge"],
                name="rehearsed_account_refused",
                condition=models.Q(refused__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.before} -> {self.after}"


class RehearsedModel(models.Model):
    """One model's calls on one channel in one part. `unpriced` counts calls that the draft's price cannot rate."""

    rehearsal = models.ForeignKey(Rehearsal, models.CASCADE, related_name="by_model", db_index=False)
    part = models.PositiveIntegerField()
    model = models.ForeignKey(Model, models.PROTECT, verbose_name=_("model"), **LOOSE)
    channel = models.ForeignKey(Channel, models.PROTECT, verbose_name=_("channel"), **LOOSE)
    calls = models.BigIntegerField(_("calls rated again"))
    before = models.DecimalField(_("charged"), **AMOUNT)
    after = models.DecimalField(_("under the draft"), **AMOUNT)
    by_flows = models.BigIntegerField(_("paid with Flows"), default=0)
    list_before = models.DecimalField(_("list price"), **AMOUNT)
    list_after = models.DecimalField(_("list price under the draft"), **AMOUNT)
    unpriced = models.BigIntegerField(_("cannot be priced"), default=0)
    reason = models.CharField(_("reason"), max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rehearsal", "part", "model", "channel"], name="rehearsed_model_once")
        ]

    def __str__(self) -> str:
        return f"{self.model_id} {self.before} -> {self.after}"
