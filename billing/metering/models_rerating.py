"""Corrections: calls of a period rated again under the right price, and what that changed, call by call."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT, JournalEntry
from billing.catalog.models import Channel, Model
from billing.errors import InvalidTransition
from billing.metering.models import UsageRecord
from config.ids import uuid7

LOOSE: dict[str, Any] = {"db_constraint": False, "db_index": False, "related_name": "+"}


class Correction(models.Model):
    """A wrong price of a model on a channel, put right for the calls authorised in `[since, until)`.

    Nothing that was charged is edited: the difference becomes adjustment entries, and those can be unwound. Calls
    recorded after `as_of`, the moment of the preview that the second person saw, are not touched.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Draft")
        PREVIEWING = "previewing", _("Being previewed")
        PREVIEWED = "previewed", _("Previewed")
        PROPOSED = "proposed", _("Waiting for a second person")
        APPROVED = "approved", _("Approved")
        APPLYING = "applying", _("Being applied")
        APPLIED = "applied", _("Applied")
        REVERSAL_ASKED = "reversal_asked", _("Reversal waits for a second person")
        REVERSING = "reversing", _("Being reversed")
        REVERSED = "reversed", _("Reversed")
        REJECTED = "rejected", _("Rejected")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    class Favour(models.TextChoices):
        CUSTOMER = "customer", _("Only give back")
        BOTH = "both", _("Give back and charge more")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.DRAFT: {State.PREVIEWING, State.WITHDRAWN},
        State.PREVIEWING: {State.PREVIEWED, State.WITHDRAWN},
        State.PREVIEWED: {State.PREVIEWING, State.PROPOSED, State.WITHDRAWN},
        State.PROPOSED: {State.PREVIEWED, State.APPROVED, State.REJECTED},
        State.APPROVED: {State.APPLYING},
        State.APPLYING: {State.APPLIED},
        State.APPLIED: {State.REVERSAL_ASKED},
        State.REVERSAL_ASKED: {State.APPLIED, State.REVERSING},
        State.REVERSING: {State.REVERSED},
        State.REVERSED: set(),
        State.REJECTED: set(),
        State.WITHDRAWN: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(_("title"), max_length=120)
    model = models.ForeignKey(Model, models.PROTECT, related_name="+", verbose_name=_("model"))
    channel = models.ForeignKey(Channel, models.PROTECT, related_name="+", verbose_name=_("channel"))
    since = models.DateTimeField(_("from"))
    until = models.DateTimeField(_("until"))
    price = models.JSONField(_("right price"), help_text=_("One entry of `prices` in the format of import_catalog."))
    favour = models.CharField(_("which differences"), max_length=10, choices=Favour, default=Favour.CUSTOMER)
    reason = models.CharField(_("reason"), max_length=500)
    note = models.CharField(_("note for customers"), max_length=500, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.DRAFT)
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("created by"))
    created_at = models.DateTimeField(_("created"))
    proposed_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("proposed by")
    )
    proposed_at = models.DateTimeField(_("proposed"), null=True, blank=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)
    reversal_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("reversal asked by")
    )
    reversal_reason = models.CharField(_("reason of the reversal"), max_length=500, blank=True)
    reversal_decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("reversal decided by")
    )
    # Which calls, and what the preview found: records rated, what they cost and would cost, in USD.
    as_of = models.DateTimeField(_("previewed as of"), null=True, blank=True)
    counted = models.BooleanField(default=False, editable=False)
    accounts = models.BigIntegerField(_("accounts"), default=0)
    records = models.BigIntegerField(_("calls rated again"), default=0)
    adjusted = models.BigIntegerField(_("calls that change"), default=0)
    before = models.DecimalField(_("charged"), default=0, **AMOUNT)
    after = models.DecimalField(_("under the right price"), default=0, **AMOUNT)
    given = models.DecimalField(_("to give back"), default=0, **AMOUNT)
    charged = models.DecimalField(_("to charge"), default=0, **AMOUNT)
    left_out = models.JSONField(default=dict, help_text=_("How many calls are left out, by reason."))
    # What was really done, once all accounts are.
    applied_records = models.BigIntegerField(_("calls corrected"), default=0)
    applied_given = models.DecimalField(_("given back"), default=0, **AMOUNT)
    applied_charged = models.DecimalField(_("charged more"), default=0, **AMOUNT)
    applied_at = models.DateTimeField(_("applied"), null=True, blank=True)
    reversed_at = models.DateTimeField(_("reversed"), null=True, blank=True)
    due_at = models.DateTimeField(null=True, help_text=_("When the sweep looks after it; none: nothing is to do."))

    class Meta:
        verbose_name = _("price correction")
        verbose_name_plural = _("price corrections")
        constraints = [
            models.CheckConstraint(condition=models.Q(until__gt=models.F("since")), name="correction_period"),
            models.CheckConstraint(condition=models.Q(favour__in=["customer", "both"]), name="correction_favour"),
            models.CheckConstraint(
                condition=models.Q(state__in=["draft", "withdrawn"])
                | models.Q(state__in=["previewing", "previewed"], as_of__isnull=False, decided_by__isnull=True)
                | models.Q(state="proposed", proposed_by__isnull=False, decided_by__isnull=True)
                | models.Q(state="rejected", proposed_by__isnull=False, decided_by__isnull=False)
                | models.Q(
                    state__in=["approved", "applying", "applied", "reversal_asked", "reversing", "reversed"],
                    proposed_by__isnull=False,
                    decided_by__isnull=False,
                ),
                name="correction_state",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["previewing", "approved", "applying", "reversing"], due_at__isnull=False)
                | (
                    ~models.Q(state__in=["previewing", "approved", "applying", "reversing"])
                    & models.Q(due_at__isnull=True)
                ),
                name="correction_due",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["draft", "previewing", "previewed", "proposed", "rejected", "withdrawn"])
                | ~models.Q(decided_by=models.F("proposed_by")),
                name="correction_second_person",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["reversing", "reversed"])
                | models.Q(reversal_by__isnull=False, reversal_decided_by__isnull=False)
                & ~models.Q(reversal_decided_by=models.F("reversal_by")),
                name="correction_reversal_second_person",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="correction_due_at", condition=models.Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title

    def move_to(self, state: str) -> None:
        """Change state in memory if the table allows it; the caller holds the row's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(correction=str(self.pk), current=str(self.state), wanted=str(state))
        self.state = self.State(state)


class CorrectedAccount(models.Model):
    """One account's calls in a correction: what the preview found, and how far applying and reversing are.

    The cursor is the last call looked at. While applying and reversing, it moves only under the wallet's lock.
    """

    correction = models.ForeignKey(Correction, models.CASCADE, related_name="by_account", db_index=False)
    account = models.ForeignKey(Account, models.PROTECT, verbose_name=_("account"), **LOOSE)
    calls = models.BigIntegerField(_("calls"))
    records = models.BigIntegerField(_("calls rated again"), default=0)
    adjusted = models.BigIntegerField(_("calls that change"), default=0)
    left_out = models.BigIntegerField(_("left out"), default=0)
    before = models.DecimalField(_("charged"), default=0, **AMOUNT)
    after = models.DecimalField(_("under the right price"), default=0, **AMOUNT)
    given = models.DecimalField(_("to give back"), default=0, **AMOUNT)
    charged = models.DecimalField(_("to charge"), default=0, **AMOUNT)
    cursor_at = models.DateTimeField(null=True)
    cursor_id = models.UUIDField(null=True)
    previewed = models.BooleanField(default=False)
    applied = models.BooleanField(default=False)
    reversed = models.BooleanField(default=False)
    chunks = models.PositiveIntegerField(default=0, help_text=_("Entries that applying wrote."))
    unwound = models.PositiveIntegerField(default=0, help_text=_("Entries of these that were reversed."))
    applied_records = models.BigIntegerField(_("calls corrected"), default=0)
    applied_given = models.DecimalField(_("given back"), default=0, **AMOUNT)
    applied_charged = models.DecimalField(_("charged more"), default=0, **AMOUNT)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["correction", "account"], name="corrected_account_once")]
        indexes = [
            models.Index(
                fields=["correction", "account"], name="corrected_to_preview", condition=models.Q(previewed=False)
            ),
            models.Index(
                fields=["correction", "account"], name="corrected_to_apply", condition=models.Q(applied=False)
            ),
            models.Index(
                fields=["correction", "account"], name="corrected_to_reverse", condition=models.Q(reversed=False)
            ),
            models.Index(
                models.F("correction"), models.F("after") - models.F("before"), name="corrected_account_change"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.before} -> {self.after}"


class ChargeAdjustment(models.Model):
    """What one correction changed of one call's charge, or took back. Append-only.

    A call costs its record's charge and the sum of its adjustments. Where more was charged, the call's share of its
    entry is the stretch `[drawn_from, drawn_from + delta)` of what the entry drew, line after line, as `charge_from` is
    for the record itself.
    """

    pk = models.CompositePrimaryKey("account_id", "record_id", "correction_id", "reversal")
    account = models.ForeignKey(Account, models.PROTECT, **LOOSE)
    record = models.ForeignKey(UsageRecord, models.PROTECT, **LOOSE)
    correction = models.ForeignKey(Correction, models.PROTECT, related_name="+", db_index=False)
    reversal = models.BooleanField(default=False)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, **LOOSE)
    charge_before = models.DecimalField(**AMOUNT)
    charge_after = models.DecimalField(**AMOUNT)
    delta = models.DecimalField(**AMOUNT)
    drawn_from = models.DecimalField(default=0, **AMOUNT)
    list_price_after = models.DecimalField(null=True, **AMOUNT)
    sheet = models.JSONField(null=True, help_text=_("As a usage record keeps it; none on a reversal."))
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("charge adjustment")
        verbose_name_plural = _("charge adjustments")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    charge_before__gte=0,
                    charge_after__gte=0,
                    delta=models.F("charge_after") - models.F("charge_before"),
                )
                & ~models.Q(delta=0),
                name="adjustment_amounts",
            ),
            models.CheckConstraint(
                condition=models.Q(reversal=True, sheet__isnull=True)
                | models.Q(reversal=False, sheet__isnull=False, list_price_after__isnull=False),
                name="adjustment_sheet",
            ),
        ]
        indexes = [models.Index(fields=["entry", "record"], name="adjustment_entry")]

    def __str__(self) -> str:
        return f"{self.record_id} {self.delta}"
