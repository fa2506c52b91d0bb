"""Payments that a bank asks back: disputes, early fraud warnings, the flag that they leave on an account."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.errors import InvalidTransition
from billing.payments.models import TopUp
from config.ids import uuid7


class Dispute(models.Model):
    """What a holder's bank asks back of one payment. The caller of `move_to` holds the wallet's lock."""

    class State(models.TextChoices):
        INQUIRY = "inquiry", _("Inquiry")
        OPEN = "open", _("Open")
        WON = "won", _("Won")
        LOST = "lost", pgettext_lazy("dispute", "Lost")
        CLOSED = "closed", _("Closed without effect")
        PREVENTED = "prevented", _("Prevented")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.INQUIRY: {State.OPEN, State.WON, State.LOST, State.CLOSED, State.PREVENTED},
        State.OPEN: {State.WON, State.LOST, State.CLOSED, State.PREVENTED},
        State.CLOSED: {State.OPEN, State.WON, State.LOST},  # an inquiry that was closed may still become a dispute
        State.PREVENTED: set(),
        State.WON: set(),
        State.LOST: set(),
    }
    WAITING: ClassVar[frozenset[str]] = frozenset({State.INQUIRY, State.OPEN})
    COUNTED: ClassVar[frozenset[str]] = frozenset({State.OPEN, State.LOST})
    """Counts in `TopUp.disputed_minor`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider_id = models.CharField(_("dispute at the provider"), max_length=80, unique=True)
    top_up = models.ForeignKey(
        TopUp, models.PROTECT, null=True, blank=True, related_name="disputes", verbose_name=_("order")
    )
    of = models.CharField(max_length=12, blank=True, help_text="What else was paid; empty for an order.")
    of_id = models.UUIDField(null=True, blank=True, editable=False)
    number = models.CharField(_("invoice"), max_length=255, blank=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    charge_id = models.CharField(_("charge"), max_length=80, blank=True)
    amount_minor = models.BigIntegerField(_("disputed"), help_text=_("In the smallest unit of the currency."))
    currency = models.CharField(_("currency"), max_length=3)
    counted_minor = models.BigIntegerField(
        _("counted"), default=0, help_text=_("Of it, what was still left of the payment when the dispute was opened.")
    )
    reason = models.CharField(_("reason of the bank"), max_length=80, blank=True)
    provider_status = models.CharField(_("provider's status"), max_length=60)
    state = models.CharField(_("state"), max_length=10, choices=State)
    state_at = models.DateTimeField(_("since"))
    opened_at = models.DateTimeField(_("opened at the provider"))
    seen_at = models.DateTimeField(_("first seen"))
    due_by = models.DateTimeField(_("evidence due by"), null=True, blank=True)
    has_evidence = models.BooleanField(_("evidence given"), default=False)
    balance_lines = models.JSONField(_("balance transactions"), default=list)
    fee_minor = models.BigIntegerField(
        _("provider's fee"), default=0, help_text=_("A cost of ours; the customer does not pay it.")
    )
    fee_currency = models.CharField(max_length=3, blank=True)
    from_frozen = models.DecimalField(_("from credit frozen before"), default=0, **AMOUNT)
    from_grant = models.DecimalField(_("from unspent credit"), default=0, **AMOUNT)
    from_overdraft = models.DecimalField(_("put into overdraft"), default=0, **AMOUNT)
    from_fee = models.DecimalField(
        _("from a refund fee that was kept"), default=0, help_text=_("Ours: the customer had paid it."), **AMOUNT
    )
    from_revenue = models.DecimalField(
        _("from revenue"), default=0, help_text=_("Of a payment that gave no credit, as for a plan."), **AMOUNT
    )
    returned_usd = models.DecimalField(_("given back before it was opened again"), default=0, **AMOUNT)
    step = models.PositiveSmallIntegerField(default=0, help_text="Keeps the keys of later entries apart.")
    frozen_at = models.DateTimeField(_("frozen"), null=True, blank=True)
    ended_at = models.DateTimeField(_("booked as ended"), null=True, blank=True)
    flagged = models.BooleanField(_("flagged"), default=False)
    flag_reason = models.CharField(_("why flagged"), max_length=300, blank=True)
    check_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["inquiry", "open", "won", "lost", "closed", "prevented"]),
                name="dispute_state",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    from_fee__gte=0,
                    from_frozen__gte=0,
                    from_grant__gte=0,
                    from_overdraft__gte=0,
                    from_revenue__gte=0,
                    counted_minor__gte=0,
                    returned_usd__gte=0,
                ),
                name="dispute_amounts",
            ),
            models.CheckConstraint(  # an order's money is credit, everything else's is revenue
                condition=models.Q(top_up__isnull=False, of="", of_id=None, from_revenue=0)
                | models.Q(top_up=None, of_id__isnull=False, from_frozen=0, from_grant=0, from_overdraft=0)
                & ~models.Q(of=""),
                name="dispute_of",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="dispute_account"),
            models.Index(fields=["of_id"], name="dispute_of_other", condition=models.Q(of_id__isnull=False)),
            models.Index(fields=["due_by"], name="dispute_waiting", condition=models.Q(state__in=["inquiry", "open"])),
            models.Index(fields=["check_at"], name="dispute_check", condition=models.Q(check_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.provider_id

    @property
    def from_credit(self) -> Decimal:
        """USD that was unspent when the dispute was opened."""
        return self.from_frozen + self.from_grant

    @property
    def from_customer(self) -> Decimal:
        """USD taken from the customer."""
        return self.from_credit + self.from_overdraft

    @property
    def of_payment(self) -> Decimal:
        """USD taken of what the payment was still worth: from the customer, or from revenue where it gave no credit."""
        return self.from_customer + self.from_revenue

    @property
    def taken(self) -> Decimal:
        """USD that stands, or stood, on the chargeback account for it."""
        return self.of_payment + self.from_fee

    @property
    def of_number(self) -> str:
        """The number of what was paid."""
        return self.top_up.number if self.top_up is not None else self.number

    def move_to(self, state: str) -> None:
        """Change the state in memory if the table allows it."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(dispute=self.provider_id, current=str(self.state), wanted=str(state))
        self.state = self.State(state)


class EarlyFraudWarning(models.Model):
    """A card network's warning that a payment looks like fraud, before any dispute."""

    class State(models.TextChoices):
        FROZEN = "frozen", _("Credit frozen")
        RELEASED = "released", _("Released")
        USED = "used", _("Used by a dispute")
        NOTED = "noted", _("Nothing to freeze")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.FROZEN: {State.RELEASED, State.USED},
        State.RELEASED: set(),
        State.USED: set(),
        State.NOTED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider_id = models.CharField(_("warning at the provider"), max_length=80, unique=True)
    charge_id = models.CharField(_("charge"), max_length=80)
    top_up = models.ForeignKey(
        TopUp, models.PROTECT, null=True, blank=True, related_name="fraud_warnings", verbose_name=_("order")
    )
    of = models.CharField(max_length=12, blank=True, help_text="What else was paid; empty for an order.")
    of_id = models.UUIDField(null=True, blank=True, editable=False)
    number = models.CharField(_("invoice"), max_length=255, blank=True)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    fraud_type = models.CharField(_("kind of fraud"), max_length=60)
    actionable = models.BooleanField(_("actionable"), default=True)
    state = models.CharField(_("state"), max_length=10, choices=State)
    frozen_usd = models.DecimalField(_("frozen"), default=0, **AMOUNT)
    used_usd = models.DecimalField(_("used by disputes"), default=0, **AMOUNT)
    released_usd = models.DecimalField(_("released"), default=0, **AMOUNT)
    at = models.DateTimeField(_("warned"))
    seen_at = models.DateTimeField(_("first seen"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    ended_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        verbose_name = _("early fraud warning")
        verbose_name_plural = _("early fraud warnings")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["frozen", "released", "used", "noted"]), name="fraud_warning_state"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    used_usd__gte=0,
                    released_usd__gte=0,
                    frozen_usd__gte=models.F("used_usd") + models.F("released_usd"),
                ),
                name="fraud_warning_amounts",
            ),
            models.CheckConstraint(
                condition=models.Q(top_up__isnull=False, of="", of_id=None)
                | models.Q(top_up=None, of_id__isnull=False, frozen_usd=0) & ~models.Q(of=""),
                name="fraud_warning_of",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="fraud_warning_account"),
            models.Index(fields=["of_id"], name="fraud_warning_of_other", condition=models.Q(of_id__isnull=False)),
            models.Index(fields=["seen_at"], name="fraud_warning_frozen", condition=models.Q(state="frozen")),
        ]

    def __str__(self) -> str:
        return self.provider_id

    @property
    def held(self) -> Decimal:
        """USD that is frozen now."""
        return self.frozen_usd - self.used_usd - self.released_usd

    @property
    def of_number(self) -> str:
        """The number of what was paid."""
        return self.top_up.number if self.top_up is not None else self.number


class RiskFlag(models.Model):
    """Staff see it wherever they see the account; while it blocks, the account cannot buy credit."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="risk_flag")
    reason = models.CharField(_("reason"), max_length=300)
    set_at = models.DateTimeField(_("set"))
    blocks_top_ups = models.BooleanField(_("blocks top-ups"), default=False)
    cleared_at = models.DateTimeField(_("cleared"), null=True, blank=True)

    class Meta:
        verbose_name = _("risk flag")
        verbose_name_plural = _("risk flags")
        indexes = [models.Index(fields=["-set_at"], name="risk_flag_on", condition=models.Q(cleared_at__isnull=True))]

    def __str__(self) -> str:
        return str(self.account_id)


class ProviderWatch(models.Model):
    """Until when the provider's own list of something was read, so that lost events are healed."""

    name = models.CharField(max_length=30, primary_key=True)
    seen_until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
