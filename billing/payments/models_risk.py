"""What our own risk checks look at, what they decided, and their thresholds (F028-F032)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.errors import InvalidTransition
from billing.payments.models import PaymentAttempt, TopUp


class RiskRule(models.Model):
    """The thresholds of one rule. A rule without a row, or a threshold that is empty, follows `risk_rules`."""

    class Name(models.TextChoices):
        CARDS_PER_DEVICE = "cards_per_device", _("Cards on one device")
        DECLINES_PER_EMAIL = "declines_per_email", _("Declines of one e-mail address")
        NEW_CARD = "new_card", _("New card with a large amount")
        AUTHORISATION_RATE = "authorisation_rate", _("Authorisation rate of one e-mail address")
        NAME_MISMATCH = "name_mismatch", _("Name on the card")
        PROVIDER_RISK = "provider_risk", _("Risk level of the provider")

    name = models.CharField(_("rule"), primary_key=True, max_length=24, choices=Name)
    enabled = models.BooleanField(_("in force"), default=True)
    hold_at = models.DecimalField(
        _("hold from"), max_digits=12, decimal_places=4, null=True, blank=True, help_text=_("Empty: never.")
    )
    refuse_at = models.DecimalField(
        _("refuse from"), max_digits=12, decimal_places=4, null=True, blank=True, help_text=_("Empty: never.")
    )
    window_minutes = models.PositiveIntegerField(_("looks back, minutes"))
    least = models.PositiveIntegerField(_("from how many payments on"), default=0)
    changed_at = models.DateTimeField(_("changed"), null=True, blank=True)

    class Meta:
        verbose_name = _("risk rule")
        verbose_name_plural = _("risk rules")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    name__in=[
                        "cards_per_device",
                        "declines_per_email",
                        "new_card",
                        "authorisation_rate",
                        "name_mismatch",
                        "provider_risk",
                    ]
                ),
                name="risk_rule_name",
            ),
        ]

    def __str__(self) -> str:
        return str(self.get_name_display())


class AttemptTrace(models.Model):
    """What the rules count of one try to pay. Device and e-mail are kept as keyed hashes only."""

    attempt = models.OneToOneField(PaymentAttempt, models.PROTECT, primary_key=True, related_name="trace")
    at = models.DateTimeField(_("time"))
    failed = models.BooleanField(_("declined"))
    device = models.BinaryField(max_length=32, null=True)
    email = models.BinaryField(max_length=32, null=True)
    fingerprint = models.CharField(_("card's fingerprint at the provider"), max_length=80, blank=True)
    holder = models.CharField(_("name on the card"), max_length=160, blank=True)
    risk_level = models.CharField(_("risk level of the provider"), max_length=24, blank=True)

    class Meta:
        verbose_name = _("trace of an attempt")
        verbose_name_plural = _("traces of attempts")
        indexes = [
            models.Index(fields=["device", "at"], name="trace_device", condition=models.Q(device__isnull=False)),
            models.Index(fields=["email", "at"], name="trace_email", condition=models.Q(email__isnull=False)),
            models.Index(fields=["fingerprint", "at"], name="trace_card", condition=~models.Q(fingerprint="")),
        ]

    def __str__(self) -> str:
        return str(self.attempt_id)


class RiskAssessment(models.Model):
    """What our rules said of one order, before its page opened and after it was paid, and what staff decided.

    `move_to` is the only writer of `state`; the caller holds the wallet's lock.
    """

    class State(models.TextChoices):
        OPEN = "open", _("Not paid yet")
        PASSED = "passed", _("Passed")
        REFUSED = "refused", _("Refused before payment")
        HELD = "held", _("On hold")
        RELEASED = "released", _("Released")
        REFUND_WANTED = "refund_wanted", _("To be paid back")
        REFUNDED = "refunded", _("Paid back")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.OPEN: {State.PASSED, State.HELD, State.REFUSED},
        State.PASSED: set(),
        State.REFUSED: set(),
        State.HELD: {State.RELEASED, State.REFUND_WANTED},
        State.RELEASED: set(),
        State.REFUND_WANTED: {State.REFUNDED},
        State.REFUNDED: set(),
    }
    MAY_CREDIT: ClassVar[frozenset[str]] = frozenset({State.PASSED, State.RELEASED})

    top_up = models.OneToOneField(TopUp, models.PROTECT, primary_key=True, related_name="risk")
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField(_("made"))
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.OPEN, editable=False)
    state_at = models.DateTimeField(_("since"))
    device = models.BinaryField(max_length=32, null=True)
    findings = models.JSONField(
        _("findings"), default=list, help_text=_("Every rule that was asked, what it saw, and what it said.")
    )
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)
    decided_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    decision = models.CharField(_("reason of the decision"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("risk check")
        verbose_name_plural = _("risk checks")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    state__in=["open", "passed", "refused", "held", "released", "refund_wanted", "refunded"]
                ),
                name="risk_state",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="held") | models.Q(held_until__isnull=False), name="risk_held_until"
            ),
        ]
        indexes = [
            models.Index(fields=["held_until"], name="risk_held", condition=models.Q(state="held")),
            models.Index(fields=["state_at"], name="risk_refund_wanted", condition=models.Q(state="refund_wanted")),
            models.Index(fields=["account", "-created_at"], name="risk_account"),
            models.Index(fields=["-created_at"], name="risk_newest"),
        ]

    def __str__(self) -> str:
        return str(self.top_up_id)

    def move_to(self, state: str, *, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the wallet's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(order=str(self.top_up_id), current=str(self.state), wanted=str(state))
        self.state, self.state_at = self.State(state), now

    @property
    def on_hold(self) -> bool:
        """Paid, and somebody or the time must still say yes."""
        return self.state == self.State.HELD
