"""Credit that is to be given at a moment, or that did not come by itself, and credit that came late through our fault
(02-domain 2.5)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT, CreditGrant
from billing.errors import InvalidTransition
from billing.payments.models import TopUp
from config.ids import uuid7


class CreditJob(models.Model):
    """One piece of work on somebody's credit. The row is the job; `move_to` is the only writer of `state`."""

    class Kind(models.TextChoices):
        CREDIT_ORDER = "credit_order", _("Settle an order that fails")
        SCHEDULED_CREDIT = "scheduled_credit", _("Give scheduled credit")
        COMPENSATE_LATE = "compensate_late", _("Compensate late credit")

    class State(models.TextChoices):
        DUE = "due", _("Due")
        RETRYING = "retrying", _("Retrying")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.DUE: {State.RETRYING, State.DONE, State.FAILED, State.CANCELLED},
        State.RETRYING: {State.DUE, State.DONE, State.FAILED, State.CANCELLED},
        State.FAILED: {State.DUE, State.CANCELLED},
        State.DONE: set(),
        State.CANCELLED: set(),
    }
    WAITING: ClassVar[frozenset[str]] = frozenset({State.DUE, State.RETRYING})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(_("key"), max_length=160, unique=True, help_text=_("Names the intent, for ever."))
    top_up = models.ForeignKey(
        TopUp, models.PROTECT, null=True, blank=True, related_name="credit_jobs", verbose_name=_("order")
    )
    grant = models.OneToOneField(
        CreditGrant, models.PROTECT, null=True, blank=True, related_name="credit_job", verbose_name=_("credit grant")
    )
    payload = models.JSONField(_("particulars"), default=dict)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DUE)
    state_at = models.DateTimeField(_("since"))
    due_at = models.DateTimeField(_("due"), help_text=_("When it is tried next."))
    attempts = models.PositiveSmallIntegerField(_("failed tries"), default=0)
    last_error = models.CharField(_("last error"), max_length=500, blank=True)
    outcome = models.CharField(_("outcome"), max_length=300, blank=True)
    created_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"))
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    class Meta:
        verbose_name = _("credit job")
        verbose_name_plural = _("credit jobs")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=["credit_order", "scheduled_credit", "compensate_late"]),
                name="credit_job_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["due", "retrying", "failed"], finished_at__isnull=True)
                | models.Q(state__in=["done", "cancelled"], finished_at__isnull=False),
                name="credit_job_state",
            ),
            models.CheckConstraint(  # a job that failed says why
                condition=~models.Q(state="failed") | ~models.Q(last_error=""), name="credit_job_failed"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="credit_job_due", condition=models.Q(state__in=["due", "retrying"])),
            models.Index(fields=["account", "-id"], name="credit_job_account"),
            models.Index(fields=["state", "-id"], name="credit_job_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} · {self.get_state_display()}"

    def move_to(self, state: str, *, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the wallet's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(job=str(self.pk), current=str(self.state), wanted=str(state))
        self.state, self.state_at = self.State(state), now
        self.finished_at = None if self.NEXT[self.state] else now


class LateCredit(models.Model):
    """An order that was credited later than promised through our fault, and what the customer got for it."""

    class Cause(models.TextChoices):
        EVENT_LOST = "event_lost", _("No event of the payment reached us before")
        INBOX_LATE = "inbox_late", _("The event of the payment reached us late")
        WORKER_LATE = "worker_late", _("The event waited in our inbox")

    class State(models.TextChoices):
        PROPOSED = "proposed", _("To be decided")
        ISSUED = "issued", _("Compensated")
        DISMISSED = "dismissed", _("Dismissed")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.PROPOSED: {State.ISSUED, State.DISMISSED},
        State.ISSUED: set(),
        State.DISMISSED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    top_up = models.OneToOneField(TopUp, models.PROTECT, related_name="late_credit", verbose_name=_("order"))
    paid_at = models.DateTimeField(_("paid, says the provider"))
    credited_at = models.DateTimeField(_("credited"))
    delay_seconds = models.PositiveIntegerField(_("delay in seconds"))
    cause = models.CharField(_("cause"), max_length=12, choices=Cause)
    amount_usd = models.DecimalField(_("compensation"), **AMOUNT)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PROPOSED)
    decided_by = models.ForeignKey(
        User,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
        help_text=_("Nobody, where the policy issues it."),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)
    grant = models.OneToOneField(
        CreditGrant, models.PROTECT, null=True, blank=True, related_name="late_credit", verbose_name=_("credit grant")
    )
    created_at = models.DateTimeField(_("found"))

    class Meta:
        verbose_name = _("late credit")
        verbose_name_plural = _("late credits")
        constraints = [
            models.CheckConstraint(condition=models.Q(amount_usd__gt=0), name="late_credit_amount"),
            models.CheckConstraint(
                condition=models.Q(cause__in=["event_lost", "inbox_late", "worker_late"]), name="late_credit_cause"
            ),
            models.CheckConstraint(
                condition=models.Q(state="proposed", decided_at__isnull=True, grant__isnull=True)
                | models.Q(state="issued", decided_at__isnull=False, grant__isnull=False)
                | models.Q(state="dismissed", decided_at__isnull=False, grant__isnull=True),
                name="late_credit_state",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="late_credit_account"),
            models.Index(fields=["created_at"], name="late_credit_open", condition=models.Q(state="proposed")),
        ]

    def __str__(self) -> str:
        return f"{self.top_up.number} · {self.get_state_display()}"

    @property
    def delay(self) -> timedelta:
        """From the payment to the credit, less what was not our fault."""
        return timedelta(seconds=self.delay_seconds)

    def move_to(self, state: str, *, by: User | None, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the wallet's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(late_credit=str(self.pk), current=str(self.state), wanted=str(state))
        self.state, self.decided_by, self.decided_at = self.State(state), by, now
