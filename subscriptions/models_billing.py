"""A subscription and its invoices: what the payment provider told, as our own rows (F075-F077, 04-payments)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.errors import InvalidTransition
from config.ids import uuid7
from subscriptions.models_plans import PlanVersion
from subscriptions.models_windows import ScopedQuerySet

if TYPE_CHECKING:
    from datetime import datetime


class Subscription(models.Model):
    """A paid plan of an account, from its checkout to its end. `move_to` is the only writer of `status`; the caller
    holds the wallet's lock. At most one is in force per account (I10)."""

    class Status(models.TextChoices):
        INCOMPLETE = "incomplete", _("Waiting for payment")
        ACTIVE = "active", _("Active")
        PAST_DUE = "past_due", _("Payment overdue")
        ENDED = "ended", _("Ended")
        EXPIRED = "expired", _("Never paid")
        DUPLICATE = "duplicate", _("Second one, paid back")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.INCOMPLETE: {Status.ACTIVE, Status.EXPIRED, Status.DUPLICATE},
        Status.ACTIVE: {Status.PAST_DUE, Status.ENDED},
        Status.PAST_DUE: {Status.ACTIVE, Status.ENDED},
        Status.ENDED: set(),
        Status.EXPIRED: {Status.ACTIVE, Status.DUPLICATE},  # money that arrives after all is never left lying
        Status.DUPLICATE: set(),
    }
    IN_FORCE: ClassVar[frozenset[str]] = frozenset({Status.ACTIVE, Status.PAST_DUE})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="subscriptions", db_index=False)
    plan_version = models.ForeignKey(PlanVersion, models.PROTECT, related_name="+", verbose_name=_("plan"))
    next_version = models.ForeignKey(
        PlanVersion,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("plan from the next period"),
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.INCOMPLETE, editable=False)
    status_at = models.DateTimeField(_("since"))
    created_at = models.DateTimeField(_("created"))
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    client_key = models.CharField(max_length=160, help_text=_("Names the intent: a header or a form's token."))
    locale = models.CharField(_("language"), max_length=10, default="en")

    session_id = models.CharField(_("checkout"), max_length=255, blank=True)
    checkout_url = models.URLField(max_length=2000, blank=True)
    provider_id = models.CharField(_("at the provider"), max_length=255, blank=True)
    schedule_id = models.CharField(max_length=255, blank=True)
    period_start = models.DateTimeField(_("period from"), null=True, blank=True)
    period_end = models.DateTimeField(_("period until"), null=True, blank=True)
    activated_at = models.DateTimeField(_("activated"), null=True, blank=True)
    cancel_at_period_end = models.BooleanField(_("ends with the period"), default=False)
    grace_until = models.DateTimeField(_("served until"), null=True, blank=True)
    paused_at = models.DateTimeField(
        _("calls stopped"), null=True, blank=True, help_text=_("A refund is under way: the plan admits no call.")
    )
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    end_reason = models.CharField(_("why it ended"), max_length=200, blank=True)
    checked_at = models.DateTimeField(_("last asked"), null=True, blank=True)
    answers = models.PositiveIntegerField(
        default=0, editable=False, help_text=_("How often the provider's word was recorded.")
    )
    review_reason = models.CharField(_("to be looked at"), max_length=300, blank=True)
    undone_at = models.DateTimeField(_("paid back"), null=True, blank=True)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(status__in=["active", "past_due"]), name="subscription_in_force"
            ),
            models.UniqueConstraint(
                fields=["provider_id"], condition=~Q(provider_id=""), name="subscription_at_provider"
            ),
            models.UniqueConstraint(fields=["session_id"], condition=~Q(session_id=""), name="subscription_session"),
            models.UniqueConstraint(fields=["account", "client_key"], name="subscription_intent"),
            models.CheckConstraint(
                condition=Q(status__in=["incomplete", "active", "past_due", "ended", "expired", "duplicate"]),
                name="subscription_status",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["active", "past_due"])
                | Q(activated_at__isnull=False, period_start__isnull=False, period_end__isnull=False)
                & ~Q(provider_id=""),
                name="subscription_has_period",
            ),
            models.CheckConstraint(
                condition=Q(status="ended", ended_at__isnull=False) | ~Q(status="ended") & Q(ended_at=None),
                name="subscription_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-created_at"], name="subscription_account"),
            models.Index(
                fields=["period_end"], name="subscription_due", condition=Q(status__in=["active", "past_due"])
            ),
            models.Index(
                fields=["created_at"],
                name="subscription_open",
                condition=Q(status="incomplete") | Q(status="duplicate", undone_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_version} · {self.get_status_display()}"

    @property
    def in_force(self) -> bool:
        """Gives its plan now."""
        return self.status in self.IN_FORCE

    @property
    def renews(self) -> bool:
        """Goes on after its period by itself."""
        return self.in_force and not self.cancel_at_period_end

    def move_to(self, status: str, *, now: datetime) -> None:
        """Set the status if that step exists. Raises InvalidTransition."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(current=self.status, wanted=status)
        self.status, self.status_at = status, now
        if status == self.Status.ENDED:
            self.ended_at = now


class PlanChange(models.Model):
    """A customer's wish for another plan: an upgrade now, or a smaller one from the next period. The row is the intent:
    it is committed before the provider is asked."""

    class Kind(models.TextChoices):
        UPGRADE = "upgrade", _("Upgrade")
        DOWNGRADE = "downgrade", _("Downgrade at the period's end")

    class Status(models.TextChoices):
        REQUESTED = "requested", _("Asked of the provider")
        SCHEDULED = "scheduled", _("From the next period")
        DONE = "done", _("In force")
        DECLINED = "declined", _("Payment declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.REQUESTED: {Status.SCHEDULED, Status.DONE, Status.DECLINED, Status.WITHDRAWN},
        Status.SCHEDULED: {Status.DONE, Status.WITHDRAWN},
        Status.DECLINED: {Status.DONE},  # a payment that arrives after all brings the plan
        Status.DONE: set(),
        Status.WITHDRAWN: {Status.DONE},  # the provider's answer was late
    }
    WAITING: ClassVar[frozenset[str]] = frozenset({Status.REQUESTED, Status.SCHEDULED})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="plan_changes", db_index=False)
    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="changes")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.REQUESTED, editable=False)
    status_at = models.DateTimeField(_("since"))
    from_version = models.ForeignKey(PlanVersion, models.PROTECT, related_name="+", verbose_name=_("from"))
    to_version = models.ForeignKey(PlanVersion, models.PROTECT, related_name="+", verbose_name=_("to"))
    at = models.DateTimeField(_("proration as of"))
    due_minor = models.BigIntegerField(_("shown as due"), null=True, blank=True)
    created_at = models.DateTimeField(_("asked"))
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    client_key = models.CharField(max_length=160, help_text=_("Names the intent: a header or a form's token."))
    schedule_id = models.CharField(max_length=255, blank=True)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("change of plan")
        verbose_name_plural = _("changes of plan")
        constraints = [
            models.UniqueConstraint(fields=["account", "client_key"], name="plan_change_intent"),
            models.UniqueConstraint(
                fields=["subscription"], condition=Q(status__in=["requested", "scheduled"]), name="plan_change_one"
            ),
            models.CheckConstraint(condition=Q(kind__in=["upgrade", "downgrade"]), name="plan_change_kind"),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "scheduled", "done", "declined", "withdrawn"]),
                name="plan_change_status",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.from_version} → {self.to_version}"

    @property
    def idempotency_key(self) -> str:
        """Names this change at the provider for ever."""
        return f"plan_change:{self.pk}:v1"

    def move_to(self, status: str, *, now: datetime) -> None:
        """Set the status if that step exists. Raises InvalidTransition."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(current=self.status, wanted=status)
        self.status, self.status_at = status, now


class Invoice(models.Model):
    """One line of the billing history: what the provider asked for a subscription, and whether it was paid."""

    class Kind(models.TextChoices):
        SUBSCRIBE = "subscribe", _("Subscription")
        RENEWAL = "renewal", _("Renewal")
        CHANGE = "change", _("Change of plan")
        OTHER = "other", _("Other")

    class Status(models.TextChoices):
        OPEN = "open", _("To be paid")
        PAID = "paid", _("Paid")
        FAILED = "failed", _("Not paid")
        VOID = "void", _("Void")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.OPEN: {Status.PAID, Status.FAILED, Status.VOID},
        Status.FAILED: {Status.PAID, Status.VOID},
        Status.PAID: set(),
        Status.VOID: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="subscription_invoices", db_index=False)
    subscription = models.ForeignKey(Subscription, models.PROTECT, related_name="invoices", db_index=False)
    plan_version = models.ForeignKey(PlanVersion, models.PROTECT, related_name="+", verbose_name=_("plan"))
    provider_id = models.CharField(_("at the provider"), max_length=255, unique=True)
    number = models.CharField(_("number"), max_length=100, blank=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    status = models.CharField(_("status"), max_length=6, choices=Status, default=Status.OPEN, editable=False)
    status_at = models.DateTimeField(_("since"))
    at = models.DateTimeField(_("date"))
    amount_minor = models.BigIntegerField(_("amount"))
    tax_minor = models.BigIntegerField(_("tax"), default=0)
    paid_minor = models.BigIntegerField(_("paid"), default=0)
    paid_usd = models.DecimalField(_("paid"), default=0, **AMOUNT)
    currency = models.CharField(_("currency"), max_length=3)
    period_start = models.DateTimeField(_("period from"), null=True, blank=True)
    period_end = models.DateTimeField(_("period until"), null=True, blank=True)
    paid_at = models.DateTimeField(_("paid"), null=True, blank=True)
    payment_intent_id = models.CharField(_("payment"), max_length=255, blank=True)
    charge_id = models.CharField(_("charge"), max_length=255, blank=True)
    refunded_minor = models.BigIntegerField(
        _("refunded"), default=0, help_text=_("Of what was paid, in cents: refunds not failed or cancelled, with fee.")
    )
    paid_back_minor = models.BigIntegerField(_("paid back"), default=0, help_text=_("In cents: what has gone back."))
    paid_back_at = models.DateTimeField(_("last paid back"), null=True, blank=True)
    disputed_minor = models.BigIntegerField(
        _("disputed"), default=0, help_text=_("In cents: disputes that are open or lost.")
    )
    card_brand = models.CharField(max_length=40, blank=True)
    card_last_four = models.CharField(max_length=4, blank=True)
    failure = models.CharField(_("why it was not paid"), max_length=40, blank=True)
    attempts = models.PositiveSmallIntegerField(_("tries"), default=0)
    next_attempt_at = models.DateTimeField(_("next try"), null=True, blank=True)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["subscribe", "renewal", "change", "other"]), name="sub_invoice_kind"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "paid", "failed", "void"]), name="sub_invoice_status"
            ),
            models.CheckConstraint(
                condition=Q(status="paid", paid_at__isnull=False) | ~Q(status="paid") & Q(paid_at=None, paid_minor=0),
                name="sub_invoice_paid",
            ),
            models.CheckConstraint(  # I6: no more goes back than came in
                condition=Q(refunded_minor__gte=0, refunded_minor__lte=F("paid_minor"))
                & Q(paid_back_minor__gte=0, paid_back_minor__lte=F("paid_minor"))
                & Q(disputed_minor__gte=0),
                name="sub_invoice_refunded",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-at", "-id"], name="sub_invoice_account"),
            models.Index(fields=["subscription", "-at"], name="sub_invoice_subscription"),
            models.Index(fields=["payment_intent_id"], name="sub_invoice_intent", condition=~Q(payment_intent_id="")),
        ]

    def __str__(self) -> str:
        return self.number or self.provider_id

    def move_to(self, status: str, *, now: datetime) -> None:
        """Set the status if that step exists. Raises InvalidTransition."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(current=self.status, wanted=status)
        self.status, self.status_at = status, now
