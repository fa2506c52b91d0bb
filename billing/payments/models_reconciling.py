"""A day at the provider held against the orders and the books, and what differs (02-domain 2.2 I5)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.errors import InvalidTransition
from billing.payments.models import TopUp
from config.ids import uuid7


class Reconciliation(models.Model):
    """One UTC day. Running it again is harmless: it finds the same, or what has changed."""

    class State(models.TextChoices):
        DUE = "due", _("Due")
        DONE = "done", _("Done")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.DUE: {State.DONE},
        State.DONE: {State.DUE},  # somebody, or an open difference, asks for it again
    }

    day = models.DateField(_("day (UTC)"), primary_key=True)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.DUE, editable=False)
    due_at = models.DateTimeField(_("due"))
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    last_error = models.CharField(_("last error"), max_length=300, blank=True)
    finished_at = models.DateTimeField(_("compared"), null=True, blank=True)
    compared = models.JSONField(_("compared objects"), default=dict, help_text=_("How many objects of each subject."))
    totals = models.JSONField(
        _("totals"), default=dict, help_text=_("By currency and kind of movement, in the smallest unit.")
    )

    class Meta:
        verbose_name = _("reconciliation")
        verbose_name_plural = _("reconciliations")
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=["due", "done"]), name="reconciliation_state"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="reconciliation_due", condition=models.Q(state="due")),
        ]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"

    def move_to(self, state: str) -> None:
        """Change state in memory if the table allows it; the caller has claimed the row."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(day=str(self.day), current=str(self.state), wanted=str(state))
        self.state = self.State(state)


class Difference(models.Model):
    """Something that the provider says and our books do not, or the other way round. A person owns it until it ends."""

    class Kind(models.TextChoices):
        CHARGE_WITHOUT_ORDER = "charge_without_order", _("Payment without an order")
        CHARGE_NOT_CREDITED = "charge_not_credited", _("Paid, not credited")
        CHARGE_AMOUNT = "charge_amount", _("Payment and order differ")
        CHARGED_TWICE = "charged_twice", _("Order paid more than once")
        CREDITED_WITHOUT_CHARGE = "credited_without_charge", _("Credited without a payment")
        CREDIT_DIFFERS = "credit_differs", _("Order and books differ")
        REFUND_UNKNOWN = "refund_unknown", _("Refund that the books do not know")
        REFUND_DIFFERS = "refund_differs", _("Refund differs from the books")
        REFUND_MISSING = "refund_missing", _("Refund that the provider does not know")
        DISPUTE_UNKNOWN = "dispute_unknown", _("Dispute that the books do not know")
        DISPUTE_DIFFERS = "dispute_differs", _("Dispute differs from the books")
        BALANCE_UNEXPLAINED = "balance_unexplained", _("Movement at the provider without a cause")
        BALANCE_MISSING = "balance_missing", _("Payment without a movement at the provider")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        RESOLVED = "resolved", _("Resolved")
        ACCEPTED = "accepted", _("Accepted")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.OPEN: {State.RESOLVED, State.ACCEPTED},
        State.RESOLVED: {State.OPEN},  # it was found again
        State.ACCEPTED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    day = models.ForeignKey(Reconciliation, models.PROTECT, related_name="differences", db_index=False)
    kind = models.CharField(_("kind"), max_length=24, choices=Kind)
    reference = models.CharField(_("at the provider"), max_length=160)
    top_up = models.ForeignKey(TopUp, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("order"))
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    provider_minor = models.BigIntegerField(_("provider says"), null=True, blank=True)
    books_minor = models.BigIntegerField(_("we say"), null=True, blank=True)
    detail = models.CharField(_("what differs"), max_length=300, help_text=_("In English, for staff."))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN, editable=False)
    found_at = models.DateTimeField(_("found"))
    seen_at = models.DateTimeField(_("last seen"))
    owner = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("owner"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    ended_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("ended by")
    )
    answer = models.CharField(_("how it ended"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("difference")
        verbose_name_plural = _("differences")
        constraints = [
            models.UniqueConstraint(fields=["kind", "reference"], name="difference_once"),
            models.CheckConstraint(
                condition=models.Q(state="open", ended_at__isnull=True)
                | models.Q(state="resolved", ended_at__isnull=False)
                | models.Q(state="accepted", ended_at__isnull=False, ended_by__isnull=False),
                name="difference_state",
            ),
        ]
        indexes = [
            models.Index(fields=["found_at"], name="difference_open", condition=models.Q(state="open")),
            models.Index(fields=["day", "state"], name="difference_day"),
        ]

    def __str__(self) -> str:
        return f"{self.Kind(self.kind).label} {self.reference}"

    def move_to(self, state: str, *, now: datetime, by: User | None = None) -> None:
        """Change state in memory if the table allows it; the caller holds the row's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(difference=str(self.pk), current=str(self.state), wanted=str(state))
        self.state = self.State(state)
        self.ended_at, self.ended_by = (None, None) if state == self.State.OPEN else (now, by)
