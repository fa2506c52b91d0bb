"""A paid plan that is given back: what the customer asked for, was shown and got (F090-F096, C09-C15)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import CreditGrant, CreditProposal
from billing.errors import InvalidTransition
from billing.money import USD, from_minor_units
from config.ids import uuid7
from refunds.models_policy import RefundPolicy
from subscriptions.models import PlanVersion, Subscription
from subscriptions.models_windows import ScopedQuerySet


class PlanRefund(models.Model):
    """One request to give a plan back. `move_to` is the only writer of `status`; the caller holds the wallet's lock.

    While it is open the plan admits no call (C14). The money goes back in one `Refund` for each payment of the period.
    All amounts are cents. `quoted` are the lines as the customer agreed to them, `settled` those that were refunded: no
    line's `final` is ever more than it was in the quote.
    """

    class Status(models.TextChoices):
        REQUESTED = "requested", _("Waits for a decision")
        SETTLING = "settling", _("Calls are settled")
        SUBMITTED = "submitted", _("At the provider")
        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.REQUESTED: {Status.SETTLING, Status.CANCELLED},
        Status.SETTLING: {Status.SUBMITTED, Status.CANCELLED},
        Status.SUBMITTED: {Status.SUCCEEDED, Status.FAILED},
        Status.SUCCEEDED: {Status.FAILED},  # a bank may return the money days later
        Status.FAILED: set(),
        Status.CANCELLED: set(),
    }
    OPEN: ClassVar[frozenset[str]] = frozenset({Status.REQUESTED, Status.SETTLING, Status.SUBMITTED})
    CANCELLABLE: ClassVar[frozenset[str]] = frozenset({Status.REQUESTED, Status.SETTLING})
    """Nothing was sent yet."""
    IN_WORDS: ClassVar[dict[str, tuple[str, Any]]] = {  # F094: what the customer reads
        Status.REQUESTED: ("processing", _("Processing")),
        Status.SETTLING: ("processing", _("Processing")),
        Status.SUBMITTED: ("processing", _("Processing")),
        Status.SUCCEEDED: ("succeeded", _("Succeeded")),
        Status.FAILED: ("failed", _("Failed")),
        Status.CANCELLED: ("cancelled", _("Cancelled")),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(_("refund"), max_length=40, unique=True, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="plan_refunds", db_index=False)
    subscription = models.ForeignKey(
        Subscription, models.PROTECT, related_name="refunds", db_index=False, verbose_name=_("subscription")
    )
    plan_version = models.ForeignKey(PlanVersion, models.PROTECT, related_name="+", verbose_name=_("plan"))
    policy = models.ForeignKey(RefundPolicy, models.PROTECT, related_name="+", verbose_name=_("policy"))
    created_at = models.DateTimeField(_("submitted"))
    requested_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("requested by")
    )
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    client_key = models.CharField(max_length=160, help_text=_("Names the intent: a header or a form's token."))

    status = models.CharField(_("status"), max_length=10, choices=Status, editable=False)
    status_at = models.DateTimeField(_("since"))
    quoted = models.JSONField(_("quote"), help_text=_("The lines that the customer agreed to."))
    quoted_at = models.DateTimeField(_("quoted"))
    settled = models.JSONField(_("refunded lines"), default=dict, blank=True)
    final_minor = models.BigIntegerField(_("goes back"), help_text=_("In cents; the quote's until calls are settled."))
    fee_minor = models.BigIntegerField(_("fee"), default=0)
    sent_minor = models.BigIntegerField(_("sent"), default=0, help_text=_("In cents: what has gone."))

    approval = models.CharField(
        _("decided by staff because"), max_length=20, blank=True, choices=[("restricted", _("Flow class restricted"))]
    )
    first_approved_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("first approval")
    )
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    answer = models.CharField(_("reason of the decision"), max_length=500, blank=True)

    settle_by = models.DateTimeField(_("calls are waited for until"), null=True, blank=True)
    submitted_at = models.DateTimeField(_("sent to the provider"), null=True, blank=True)
    succeeded_at = models.DateTimeField(_("succeeded"), null=True, blank=True)
    renewed_before = models.BooleanField(_("renewed before"), default=False)
    renewal_off_asked_at = models.DateTimeField(
        null=True, blank=True, help_text=_("Kept before the provider is asked: the request may still be on its way.")
    )
    renewal_off_at = models.DateTimeField(_("renewal switched off"), null=True, blank=True)
    renewal_on_at = models.DateTimeField(_("renewal switched on again"), null=True, blank=True)
    plan_ended_at = models.DateTimeField(_("ended at the provider"), null=True, blank=True)
    failure_reason = models.CharField(_("why it did not succeed"), max_length=300, blank=True)
    flagged = models.BooleanField(_("flagged"), default=False, help_text=_("A person should look at it."))
    flag_reason = models.CharField(_("why it is flagged"), max_length=300, blank=True)
    credit_proposal = models.ForeignKey(
        CreditProposal,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        verbose_name=_("credit proposal"),
        help_text=_("To give the returned money as credit; waits for, or had, a second person."),
    )
    credit_grant = models.OneToOneField(
        CreditGrant,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("given as credit"),
        help_text=_("Money that a bank returned after the plan had ended, given by one person."),
    )
    check_at = models.DateTimeField(null=True, blank=True, help_text=_("When the sweep takes it next."))
    checks = models.PositiveSmallIntegerField(default=0)

    objects: ClassVar[Any] = ScopedQuerySet.as_manager()

    class Meta:
        verbose_name = _("plan refund")
        verbose_name_plural = _("plan refunds")
        constraints = [
            models.UniqueConstraint(fields=["account", "client_key"], name="plan_refund_client_key"),
            models.UniqueConstraint(
                fields=["subscription"],
                condition=Q(status__in=["requested", "settling", "submitted", "succeeded"]),
                name="plan_refund_one",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["requested", "settling", "submitted", "succeeded", "failed", "cancelled"]),
                name="plan_refund_status",
            ),
            models.CheckConstraint(
                condition=Q(final_minor__gt=0, fee_minor__gte=0, sent_minor__gte=0, sent_minor__lte=F("final_minor")),
                name="plan_refund_amounts",
            ),
            models.CheckConstraint(
                condition=Q(submitted_at__isnull=False) | ~Q(status__in=["submitted", "succeeded", "failed"]),
                name="plan_refund_submitted",
            ),
            models.CheckConstraint(
                condition=~Q(status="succeeded") | Q(succeeded_at__isnull=False, sent_minor=F("final_minor")),
                name="plan_refund_succeeded",
            ),
            models.CheckConstraint(  # credit stands for money that a bank returned, and for nothing else
                condition=Q(credit_grant=None, credit_proposal=None) | Q(status="failed", succeeded_at__isnull=False),
                name="plan_refund_credit",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="plan_refund_account"),
            models.Index(fields=["subscription", "-id"], name="plan_refund_subscription"),
            models.Index(fields=["check_at"], name="plan_refund_check", condition=Q(check_at__isnull=False)),
            models.Index(fields=["status", "-id"], name="plan_refund_status_newest"),
            models.Index(
                fields=["-id"], name="plan_refund_open", condition=Q(status__in=["requested", "settling", "submitted"])
            ),
            models.Index(fields=["-id"], name="plan_refund_flagged", condition=Q(flagged=True)),
        ]

    def __str__(self) -> str:
        return self.number

    def move_to(self, status: str, *, now: datetime) -> None:
        """Change status in memory if the table allows it; the caller holds the wallet's lock."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(refund=self.number, current=str(self.status), wanted=str(status))
        self.status, self.status_at = self.Status(status), now

    @property
    def final(self) -> Decimal:
        """USD that go back; until calls are settled what the quote said, and then perhaps less."""
        return from_minor_units(self.final_minor, USD)

    @property
    def sent(self) -> Decimal:
        """USD that have gone back."""
        return from_minor_units(self.sent_minor, USD)

    @property
    def returned(self) -> bool:
        """A bank sent the money back after it had gone, and the plan with it."""
        return self.status == self.Status.FAILED and self.succeeded_at is not None

    @property
    def given_as_credit(self) -> CreditGrant | None:
        """The credit that the customer got for what a bank returned, by one person or after a second one's yes."""
        if self.credit_grant_id is not None:
            return self.credit_grant
        return self.credit_proposal.grant if self.credit_proposal is not None else None

    @property
    def customer_status(self) -> str:
        """processing, succeeded, failed or cancelled (F094)."""
        return self.IN_WORDS[self.status][0]

    @property
    def in_words(self) -> Any:
        """The same, in the customer's language."""
        return self.IN_WORDS[self.status][1]

    @property
    def may_cancel(self) -> bool:
        """Nothing was sent yet."""
        return self.status in self.CANCELLABLE
