"""Money on its way back: refunds, from the request to the provider's last word (02-domain 2.8)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.errors import InvalidTransition
from billing.money import from_minor_units
from billing.payments.models import TopUp
from config.ids import uuid7
from refunds.models_plan import PlanRefund
from refunds.models_policy import RefundPolicy as RefundPolicy
from subscriptions.models import Invoice

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class RefundQuerySet(models.QuerySet["Refund"]):
    """Reads of refunds."""

    def visible_to(self, user: User | AnonymousUser) -> RefundQuerySet:
        """The refunds of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))

    def live(self) -> RefundQuerySet:
        """Those that count against the payment: not failed and not cancelled (I6)."""
        return self.filter(status__in=Refund.LIVE)


class Refund(models.Model):
    """One payment's money going back: of a top-up, or of a plan's invoice. `move_to` alone writes `status`; the caller
    holds the wallet's lock.

    While it waits, `held_usd` lies in the customer's refunds payable: there is nothing to spend between the request
    and the money. Every way out posts it on or gives it back.
    """

    class Kind(models.TextChoices):
        TOP_UP = "top_up", _("Top-up")
        SUBSCRIPTION = "subscription", _("Plan")

    class Status(models.TextChoices):
        REQUESTED = "requested", _("Requested")
        APPROVED = "approved", _("Approved")
        SUBMITTED = "submitted", _("At the provider")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    class Category(models.TextChoices):
        NEEDS_NOT_MET = "needs_not_met", _("The platform cannot meet the need")
        MISTAKE = "mistake", _("Paid by mistake, or into the wrong account")
        THIRD_PARTY = "third_party", _("Does not work with a third-party tool")
        OTHER = "other", _("Something else")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.REQUESTED: {Status.APPROVED, Status.CANCELLED},
        Status.APPROVED: {Status.SUBMITTED, Status.CANCELLED},
        Status.SUBMITTED: {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
        Status.SUCCEEDED: {Status.FAILED},  # a bank may return the money days later
        Status.FAILED: set(),
        Status.CANCELLED: set(),
    }
    WAITING: ClassVar[frozenset[str]] = frozenset({Status.REQUESTED, Status.APPROVED, Status.SUBMITTED})
    """The money is held and has not gone."""
    LIVE: ClassVar[frozenset[str]] = WAITING | {Status.SUCCEEDED}
    """Counts against the payment."""
    IN_WORDS: ClassVar[dict[str, tuple[str, Any]]] = {  # F094: what the customer reads
        Status.REQUESTED: ("processing", _("Processing")),
        Status.APPROVED: ("processing", _("Processing")),
        Status.SUBMITTED: ("processing", _("Processing")),
        Status.SUCCEEDED: ("succeeded", _("Succeeded")),
        Status.FAILED: ("failed", _("Failed")),
        Status.CANCELLED: ("cancelled", _("Cancelled")),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(_("refund"), max_length=40, unique=True, editable=False)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.TOP_UP)
    account = models.ForeignKey(Account, models.PROTECT, related_name="refunds", db_index=False)
    top_up = models.ForeignKey(
        TopUp, models.PROTECT, null=True, blank=True, related_name="refunds", verbose_name=_("top-up")
    )
    invoice = models.ForeignKey(
        Invoice, models.PROTECT, null=True, blank=True, related_name="refunds", verbose_name=_("invoice")
    )
    plan_refund = models.ForeignKey(
        PlanRefund, models.PROTECT, null=True, blank=True, related_name="payments", verbose_name=_("plan refund")
    )
    created_at = models.DateTimeField(_("requested"))
    requested_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    reason = models.CharField(_("reason"), max_length=500)
    category = models.CharField(_("kind of reason"), max_length=16, choices=Category, blank=True)
    external = models.BooleanField(
        _("external"), default=False, help_text=_("Made in the payment provider's dashboard; booked, without a fee.")
    )

    requested_usd = models.DecimalField(_("taken from the credit"), **AMOUNT)
    fee_usd = models.DecimalField(_("fee"), **AMOUNT)
    sent_usd = models.DecimalField(_("sent"), **AMOUNT)
    overdrawn_usd = models.DecimalField(
        _("taken as overdraft"), default=0, help_text=_("Part of it that had been spent already."), **AMOUNT
    )
    currency = models.CharField(_("currency"), max_length=3)
    requested_minor = models.BigIntegerField(_("requested"))
    fee_minor = models.BigIntegerField(
        _("fee"), help_text=_("Below zero when the provider gave back a fee that had been kept.")
    )
    sent_minor = models.BigIntegerField(_("to send"))
    fee_rate = models.DecimalField(_("fee rate"), max_digits=7, decimal_places=6)

    asked_all = models.BooleanField(default=False, editable=False, help_text=_("No amount was named: all unused."))
    asked_usd = models.DecimalField(
        _("asked for"),
        null=True,
        blank=True,
        help_text=_("What the customer asked for, where staff approved a part of it."),
        **AMOUNT,
    )
    asked_minor = models.BigIntegerField(_("asked for"), null=True, blank=True)
    part_reason = models.CharField(_("why only a part"), max_length=500, blank=True)
    confirmed_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("payment method confirmed by")
    )
    confirmed_at = models.DateTimeField(
        _("payment method confirmed"),
        null=True,
        blank=True,
        help_text=_("By the company's finance: that the money goes back the way it was paid (F022)."),
    )

    status = models.CharField(_("status"), max_length=12, choices=Status, default=Status.REQUESTED, editable=False)
    status_at = models.DateTimeField(_("since"))
    first_approved_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("first approval")
    )
    first_approved_at = models.DateTimeField(_("first approved"), null=True, blank=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)
    submitted_at = models.DateTimeField(_("sent to the provider"), null=True, blank=True)
    succeeded_at = models.DateTimeField(_("succeeded"), null=True, blank=True)
    failure_reason = models.CharField(_("why it did not succeed"), max_length=300, blank=True)

    client_key = models.CharField(max_length=160, help_text=_("Names the intent: a header or a form's token."))
    idempotency_key = models.CharField(max_length=120, unique=True)
    provider_refund_id = models.CharField(
        _("refund at the provider"), max_length=120, unique=True, null=True, blank=True
    )
    provider_status = models.CharField(_("provider's status"), max_length=60, blank=True)
    flagged = models.BooleanField(_("flagged"), default=False, help_text=_("A person should look at it."))
    flag_reason = models.CharField(_("why it is flagged"), max_length=300, blank=True)
    check_at = models.DateTimeField(null=True, blank=True, help_text=_("When the sweep takes it next."))
    checks = models.PositiveSmallIntegerField(default=0)
    checked_at = models.DateTimeField(_("asked"), null=True, blank=True)

    objects: ClassVar[Any] = RefundQuerySet.as_manager()

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        constraints = [
            models.UniqueConstraint(fields=["account", "client_key"], name="refund_client_key"),
            models.CheckConstraint(
                condition=Q(kind="top_up", top_up__isnull=False, invoice=None, plan_refund=None)
                | Q(kind="subscription", top_up=None, invoice__isnull=False),
                name="refund_kind",
            ),
            models.CheckConstraint(condition=Q(currency__in=["USD", "CNY"]), name="refund_currency"),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "approved", "submitted", "succeeded", "failed", "cancelled"]),
                name="refund_status",
            ),
            models.CheckConstraint(  # what is sent and the fee are what was requested, in both currencies
                condition=Q(requested_minor=F("sent_minor") + F("fee_minor"))
                & Q(requested_usd=F("sent_usd") + F("fee_usd")),
                name="refund_sums",
            ),
            models.CheckConstraint(
                condition=Q(sent_minor__gt=0, requested_minor__gte=0, requested_usd__gte=0, sent_usd__gt=0)
                & (
                    Q(external=False, fee_minor__gte=0, fee_usd__gte=0)
                    | Q(external=True, fee_minor__lte=0, fee_usd__lte=0)
                ),
                name="refund_amounts",
            ),
            models.CheckConstraint(
                condition=Q(overdrawn_usd=0)
                | Q(external=True, overdrawn_usd__gt=0, overdrawn_usd__lte=F("requested_usd")),
                name="refund_overdrawn",
            ),
            models.CheckConstraint(
                condition=Q(category__in=["", "needs_not_met", "mistake", "third_party", "other"]),
                name="refund_category",
            ),
            models.CheckConstraint(  # a part is less than what was asked for, and somebody said why
                condition=Q(asked_usd=None, asked_minor=None, part_reason="")
                | Q(kind="top_up", asked_usd__gt=F("requested_usd"), asked_minor__gte=F("requested_minor"))
                & ~Q(part_reason=""),
                name="refund_part",
            ),
            models.CheckConstraint(  # nothing succeeds that the provider does not know by a name
                condition=~Q(status="succeeded") | Q(provider_refund_id__isnull=False, succeeded_at__isnull=False),
                name="refund_succeeded",
            ),
            models.CheckConstraint(
                condition=Q(submitted_at__isnull=False) | ~Q(status__in=["submitted", "succeeded", "failed"]),
                name="refund_submitted",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="refund_account"),
            models.Index(  # what the customer sees as one of their own
                fields=["account", "-id"], name="refund_listed", condition=Q(plan_refund=None)
            ),
            models.Index(fields=["check_at"], name="refund_check", condition=Q(check_at__isnull=False)),
            models.Index(fields=["status", "-id"], name="refund_status_newest"),
            models.Index(fields=["kind", "-id"], name="refund_kind_newest"),
            models.Index(
                fields=["-id"], name="refund_open", condition=Q(status__in=["requested", "approved", "submitted"])
            ),
            models.Index(fields=["-id"], name="refund_flagged", condition=Q(flagged=True)),
            models.Index(
                fields=["account", "decided_by", "-decided_at"],
                name="refund_decided",
                condition=Q(decided_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.number

    def move_to(self, status: str, *, now: datetime) -> None:
        """Change status in memory if the table allows it; the caller holds the wallet's lock."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(refund=self.number, current=str(self.status), wanted=str(status))
        self.status, self.status_at = self.Status(status), now

    @property
    def needs_confirmation(self) -> bool:
        """A company's top-up: its finance must say that the original payment method is right (F022)."""
        asked = self.top_up_id is not None and self.status == self.Status.REQUESTED
        return asked and self.confirmed_at is None and self.account.kind == Account.Kind.COMPANY

    @property
    def payment(self) -> TopUp | Invoice:
        """What it gives back."""
        found = self.top_up if self.top_up_id else self.invoice
        assert found is not None  # noqa: S101  # a constraint: it is of one of the two
        return found

    @property
    def payment_intent_id(self) -> str:
        """The payment at the provider."""
        return self.payment.payment_intent_id

    @property
    def paid_minor(self) -> int:
        """What was paid, in the smallest unit of `currency`."""
        payment = self.payment
        paid: int = payment.amount_minor if isinstance(payment, TopUp) else payment.paid_minor
        return paid

    @property
    def method(self) -> str:
        """How it was paid; plans are paid by card alone."""
        return str(self.top_up.method) if self.top_up is not None else TopUp.Method.CARD

    @property
    def of_number(self) -> str:
        """The order's or invoice's number."""
        return str(self.payment)

    @property
    def held_usd(self) -> Decimal:
        """USD that lies in refunds payable while it waits; a fee that is given back lies there, too."""
        return max(self.requested_usd, self.sent_usd)

    @property
    def sent(self) -> Decimal:
        """What the customer gets back, in `currency`."""
        return from_minor_units(self.sent_minor, self.currency)

    @property
    def requested(self) -> Decimal:
        """What was asked for, in `currency`."""
        return from_minor_units(self.requested_minor, self.currency)

    @property
    def asked(self) -> Decimal | None:
        """What the customer had asked for, in `currency`, where staff approved a part of it."""
        return None if self.asked_minor is None else from_minor_units(self.asked_minor, self.currency)

    @property
    def fee(self) -> Decimal:
        """What was kept of it, in `currency`."""
        return from_minor_units(self.fee_minor, self.currency)

    @property
    def customer_status(self) -> str:
        """processing, succeeded, failed or cancelled (F094)."""
        return self.IN_WORDS[self.status][0]

    @property
    def in_words(self) -> Any:
        """The same, in the customer's language."""
        return self.IN_WORDS[self.status][1]
