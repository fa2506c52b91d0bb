"""Money on its way in: top-up orders, attempts to pay them, the provider's events, exchange rates (02-domain 2.5)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT, CreditGrant
from billing.errors import InvalidTransition
from billing.money import from_minor_units
from billing.payments import failures
from billing.payments.cards import card_text
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class FxSource(models.TextChoices):
    """Where a rate comes from (C01)."""

    FIXED = "fixed", _("fixed rate")
    FEED = "feed", _("market rate")


class FxRate(models.Model):
    """What one US dollar cost in yuan from a moment on. Rows are added, never changed (C01)."""

    rate = models.DecimalField(_("CNY for 1 USD"), max_digits=18, decimal_places=8)
    source = models.CharField(_("source"), max_length=8, choices=FxSource)
    effective_at = models.DateTimeField(_("from"))

    class Meta:
        verbose_name = _("exchange rate")
        verbose_name_plural = _("exchange rates")
        constraints = [
            models.CheckConstraint(condition=models.Q(rate__gt=0), name="fx_rate_positive"),
            models.CheckConstraint(condition=models.Q(source__in=["fixed", "feed"]), name="fx_rate_source"),
        ]
        indexes = [models.Index(fields=["-effective_at"], name="fx_rate_newest")]

    def __str__(self) -> str:
        return f"1 USD = {self.rate.normalize():f} CNY"


class FxQuote(models.Model):
    """A rate that was promised to one account until a moment; an order keeps its quote for ever (C01, J11)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    rate = models.DecimalField(_("CNY for 1 USD"), max_digits=18, decimal_places=8)
    source = models.CharField(_("source"), max_length=8, choices=FxSource)
    created_at = models.DateTimeField(_("made"))
    expires_at = models.DateTimeField(_("locked until"))

    class Meta:
        verbose_name = _("exchange rate quote")
        verbose_name_plural = _("exchange rate quotes")
        constraints = [
            models.CheckConstraint(condition=models.Q(rate__gt=0), name="fx_quote_positive"),
            models.CheckConstraint(condition=models.Q(source__in=["fixed", "feed"]), name="fx_quote_source"),
        ]
        indexes = [
            models.Index(fields=["account", "-created_at"], name="fx_quote_account"),
            models.Index(fields=["expires_at"], name="fx_quote_expires"),
        ]

    def __str__(self) -> str:
        return f"1 USD = {self.rate.normalize():f} CNY"


class PaymentCustomer(models.Model):
    """Who an account is at the payment provider. The row is there before the provider is asked, with its key."""

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="payment_customer")
    email = models.EmailField(_("e-mail address"), blank=True)
    idempotency_key = models.CharField(max_length=120, unique=True)
    customer_id = models.CharField(_("customer at the provider"), max_length=80, unique=True, null=True, blank=True)
    created_at = models.DateTimeField(_("created"))

    class Meta:
        verbose_name = _("payment customer")
        verbose_name_plural = _("payment customers")

    def __str__(self) -> str:
        return self.customer_id or str(self.account_id)


class TopUpQuerySet(models.QuerySet["TopUp"]):
    """Reads of orders."""

    def visible_to(self, user: User | AnonymousUser) -> TopUpQuerySet:
        """The orders of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class TopUp(models.Model):
    """An order to buy credit. `move_to` is the only writer of `status`; the caller holds the wallet's lock."""

    class Method(models.TextChoices):
        CARD = "card", _("Card")
        ALIPAY = "alipay", _("Alipay")
        WECHAT_PAY = "wechat_pay", _("WeChat Pay")

    class Status(models.TextChoices):
        CREATED = "created", _("Created")
        AWAITING_PAYMENT = "awaiting_payment", _("Waiting for payment")
        PROCESSING = "processing", _("Payment in progress")
        PAID = "paid", _("Paid")
        CREDITED = "credited", _("Credited")
        FAILED = "failed", _("Failed")
        EXPIRED = "expired", _("Expired")
        PARTIALLY_REFUNDED = "partially_refunded", _("Partly refunded")
        REFUNDED = "refunded", _("Refunded")
        DISPUTED = "disputed", _("Disputed")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.CREATED: {Status.AWAITING_PAYMENT, Status.FAILED, Status.EXPIRED},
        Status.AWAITING_PAYMENT: {Status.PROCESSING, Status.PAID, Status.FAILED, Status.EXPIRED},
        Status.PROCESSING: {Status.PAID, Status.FAILED},
        # Staff may pay back what a risk check held or what is in review; a bank may take it before it is credited.
        Status.PAID: {Status.CREDITED, Status.REFUNDED, Status.DISPUTED},
        Status.CREDITED: {Status.PARTIALLY_REFUNDED, Status.REFUNDED, Status.DISPUTED},
        # Money that arrives after all is never left lying: both lead on to the credit.
        Status.FAILED: {Status.PAID},
        Status.EXPIRED: {Status.PAID},
        # A bank may return a refund days later, and a dispute may be won: the way back is open.
        Status.PARTIALLY_REFUNDED: {Status.CREDITED, Status.REFUNDED, Status.DISPUTED},
        Status.REFUNDED: {Status.CREDITED, Status.PARTIALLY_REFUNDED, Status.DISPUTED, Status.PAID},
        Status.DISPUTED: {Status.CREDITED, Status.PARTIALLY_REFUNDED, Status.REFUNDED},
    }
    OPEN: ClassVar[frozenset[str]] = frozenset({Status.CREATED, Status.AWAITING_PAYMENT, Status.PROCESSING})
    """Still to be decided by the customer or the provider."""
    SETTLED: ClassVar[frozenset[str]] = frozenset(
        {Status.CREDITED, Status.PARTIALLY_REFUNDED, Status.REFUNDED, Status.DISPUTED}
    )
    """Was credited once, or paid back instead; nothing that the checkout says changes it any more."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(_("order"), max_length=40, unique=True, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="top_ups", db_index=False)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(_("created"))
    locale = models.CharField(_("language"), max_length=16, blank=True)

    amount_usd = models.DecimalField(_("credit"), **AMOUNT)
    currency = models.CharField(_("paid in"), max_length=3, default="USD")
    amount_minor = models.BigIntegerField(_("to pay"), help_text=_("In the smallest unit of the currency paid in."))
    method = models.CharField(_("payment method"), max_length=12, choices=Method, default=Method.CARD)
    automatic = models.BooleanField(
        _("automatic"), default=False, help_text=_("Charged to a saved card by auto top-up, without a payment page.")
    )
    fx_quote = models.OneToOneField(FxQuote, models.PROTECT, related_name="top_up", verbose_name=_("exchange rate"))

    status = models.CharField(_("status"), max_length=20, choices=Status, default=Status.CREATED, editable=False)
    status_at = models.DateTimeField(_("since"))
    paid_at = models.DateTimeField(_("paid"), null=True, blank=True)
    credited_at = models.DateTimeField(_("credited"), null=True, blank=True)
    grant = models.OneToOneField(CreditGrant, models.PROTECT, null=True, blank=True, related_name="top_up")
    failure = models.CharField(_("failure"), max_length=24, blank=True, help_text=_("Which of our texts explains it."))
    failure_code = models.CharField(_("provider's code"), max_length=80, blank=True)
    in_review = models.BooleanField(_("in review"), default=False)
    review_reason = models.CharField(_("reason for the review"), max_length=300, blank=True)

    client_key = models.CharField(
        max_length=120, help_text=_("Names the customer's intent: a header or a form's token.")
    )
    digest = models.BinaryField(max_length=32, help_text=_("Of what was asked for under this key."))
    idempotency_key = models.CharField(max_length=120, unique=True)
    checkout_session_id = models.CharField(_("checkout session"), max_length=120, unique=True, null=True, blank=True)
    checkout_url = models.TextField(blank=True)
    payment_intent_id = models.CharField(_("payment"), max_length=80, blank=True)
    expires_at = models.DateTimeField(_("to be paid until"))
    refunded_minor = models.BigIntegerField(
        _("refunded"),
        default=0,
        help_text=_("Of what was paid, in its smallest unit: refunds not failed or cancelled."),
    )
    disputed_minor = models.BigIntegerField(
        _("disputed"), default=0, help_text=_("In the smallest unit: disputes that are open or lost.")
    )

    check_at = models.DateTimeField(null=True, blank=True, help_text=_("When the sweep asks the provider next."))
    checks = models.PositiveSmallIntegerField(default=0)
    checked_at = models.DateTimeField(null=True, blank=True)
    mail_claimed_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(_("receipt mailed"), null=True, blank=True)
    failure_mailed_at = models.DateTimeField(_("failure mailed"), null=True, blank=True)

    objects: ClassVar[Any] = TopUpQuerySet.as_manager()

    class Meta:
        verbose_name = _("top-up")
        verbose_name_plural = _("top-ups")
        constraints = [
            models.UniqueConstraint(fields=["account", "client_key"], name="top_up_client_key"),
            models.CheckConstraint(condition=models.Q(amount_usd__gt=0, amount_minor__gt=0), name="top_up_amount"),
            models.CheckConstraint(  # I6: no more goes back than came in
                condition=models.Q(refunded_minor__gte=0, refunded_minor__lte=models.F("amount_minor")),
                name="top_up_refunded",
            ),
            models.CheckConstraint(condition=models.Q(disputed_minor__gte=0), name="top_up_disputed"),
            models.CheckConstraint(
                condition=models.Q(method__in=["card", "alipay", "wechat_pay"]), name="top_up_method"
            ),
            models.CheckConstraint(condition=models.Q(currency__in=["USD", "CNY"]), name="top_up_currency"),
            models.CheckConstraint(
                condition=models.Q(
                    status__in=[
                        "created",
                        "awaiting_payment",
                        "processing",
                        "paid",
                        "credited",
                        "failed",
                        "expired",
                        "partially_refunded",
                        "refunded",
                        "disputed",
                    ]
                ),
                name="top_up_status",
            ),
            models.UniqueConstraint(  # I5: one payment pays one order
                fields=["payment_intent_id"], name="top_up_payment", condition=~models.Q(payment_intent_id="")
            ),
            models.CheckConstraint(  # I5: credit and its grant come together, and a credited order has both
                condition=models.Q(grant__isnull=True, credited_at__isnull=True)
                | models.Q(grant__isnull=False, credited_at__isnull=False),
                name="top_up_grant",
            ),
            models.CheckConstraint(
                condition=~models.Q(status__in=["credited", "partially_refunded"]) | models.Q(grant__isnull=False),
                name="top_up_credited",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="top_up_account"),
            models.Index(
                fields=["credited_at"], name="top_up_credited_at", condition=models.Q(credited_at__isnull=False)
            ),
            models.Index(fields=["check_at"], name="top_up_check", condition=models.Q(check_at__isnull=False)),
            models.Index(
                fields=["credited_at"],
                name="top_up_unmailed",
                condition=models.Q(mailed_at__isnull=True, credited_at__isnull=False),
            ),
            models.Index(
                fields=["status_at"],
                name="top_up_failure_unmailed",
                condition=models.Q(status="failed", failure_mailed_at__isnull=True),
            ),
            models.Index(fields=["-status_at"], name="top_up_review", condition=models.Q(in_review=True)),
            models.Index(fields=["paid_at"], name="top_up_paid", condition=models.Q(status="paid")),
        ]

    def __str__(self) -> str:
        return self.number

    def move_to(self, status: str, *, now: datetime) -> None:
        """Change status in memory if the table allows it; the caller holds the wallet's lock."""
        if status not in self.NEXT[self.status]:
            raise InvalidTransition(order=self.number, current=str(self.status), wanted=str(status))
        self.status, self.status_at = self.Status(status), now

    @property
    def pay_amount(self) -> Decimal:
        """What the customer pays, in `currency`."""
        return from_minor_units(self.amount_minor, self.currency)

    @property
    def reason(self) -> failures.Reason | None:
        """Why it was not paid, in the customer's words."""
        return failures.reason(self.failure) if self.failure else None

    @property
    def may_pay(self) -> bool:
        """The provider's page for this order is still open."""
        return self.status == self.Status.AWAITING_PAYMENT and bool(self.checkout_url) and not self.in_review


class PaymentAttempt(models.Model):
    """One try to pay an order, as the provider tells it. Declines stay in the history (F023–F033)."""

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded", _("succeeded")
        PENDING = "pending", _("pending")
        FAILED = "failed", _("declined")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    top_up = models.ForeignKey(TopUp, models.PROTECT, related_name="attempts", db_index=False)
    reference = models.CharField(_("charge"), max_length=160)
    at = models.DateTimeField(_("time"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    failure = models.CharField(_("failure"), max_length=24, blank=True)
    failure_class = models.CharField(_("class"), max_length=8, choices=failures.CLASSES, blank=True)
    code = models.CharField(_("provider's code"), max_length=80, blank=True)
    decline_code = models.CharField(_("decline code"), max_length=80, blank=True)
    risk = models.CharField(_("risk outcome"), max_length=160, blank=True)
    brand = models.CharField(_("brand"), max_length=30, blank=True)
    last_four = models.CharField(_("last four digits"), max_length=4, blank=True)

    class Meta:
        verbose_name = _("payment attempt")
        verbose_name_plural = _("payment attempts")
        constraints = [
            models.UniqueConstraint(fields=["top_up", "reference"], name="payment_attempt_once"),
            models.CheckConstraint(
                condition=models.Q(outcome__in=["succeeded", "pending", "failed"]), name="payment_attempt_outcome"
            ),
            models.CheckConstraint(
                condition=models.Q(failure_class__in=["", "issuer", "risk"]), name="payment_attempt_class"
            ),
        ]
        indexes = [
            models.Index(fields=["at"], name="payment_attempt_paid_at", condition=models.Q(outcome="succeeded")),
            models.Index(fields=["reference"], name="payment_attempt_reference"),
        ]

    def __str__(self) -> str:
        return f"{self.reference} {self.outcome}"

    @property
    def card(self) -> str:
        """`Visa •••• 4242`; empty when it was no card."""
        return card_text(self.brand, self.last_four)

    @property
    def reason(self) -> failures.Reason | None:
        """Why it was declined, in the customer's words."""
        return failures.reason(self.failure) if self.failure else None


class PaymentEvent(models.Model):
    """The inbox: an event of the provider, kept before it is acknowledged (02-domain 2.5, 04-payments 4.2)."""

    class State(models.TextChoices):
        RECEIVED = "received", _("Waiting")
        PROCESSED = "processed", _("Processed")
        IGNORED = "ignored", _("Ignored")
        PARKED = "parked", _("Parked")
        QUARANTINED = "quarantined", _("Quarantined")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.RECEIVED: {State.PROCESSED, State.IGNORED, State.PARKED},
        State.PARKED: {State.RECEIVED},
        State.IGNORED: {State.RECEIVED},
        State.PROCESSED: {State.RECEIVED},  # a replay by staff; doing it again changes nothing
        State.QUARANTINED: set(),
    }

    class Reason(models.TextChoices):
        UNKNOWN_TYPE = "unknown_type", _("A type of event that we do not know")
        UNKNOWN_STATUS = "unknown_status", _("A status that we do not know")
        WRONG_MODE = "wrong_mode", _("Test event in live mode, or live event in test mode")
        FAILING = "failing", _("Our work on it failed again and again")
        SECOND_CHECKOUT = "second_checkout", _("A second checkout names the same order")
        FOREIGN_OBJECT = "foreign_object", _("Its object belongs to nothing that we know")

    provider = models.CharField(_("provider"), max_length=12, default="stripe")
    event_id = models.CharField(_("event"), max_length=120)
    type = models.CharField(_("type"), max_length=100)
    api_version = models.CharField(_("API version"), max_length=40, blank=True)
    livemode = models.BooleanField(_("live"), default=False)
    object_id = models.CharField(_("object"), max_length=160, blank=True)
    body = models.JSONField(_("body"))
    received_at = models.DateTimeField(_("received"))
    state = models.CharField(_("state"), max_length=12, choices=State, default=State.RECEIVED)
    state_at = models.DateTimeField(_("since"))
    due_at = models.DateTimeField(_("next try"), help_text=_("When the sweep takes it, unless it was done before."))
    attempts = models.PositiveSmallIntegerField(_("failed tries"), default=0)
    silences = models.PositiveIntegerField(
        _("times without answer"), default=0, help_text=_("The provider did not answer; that only delays.")
    )
    last_error = models.CharField(_("last error"), max_length=500, blank=True)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason, blank=True)
    top_up = models.ForeignKey(
        TopUp,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("order"),
        help_text=_("Kept where something is wrong with the event."),
    )
    flagged = models.BooleanField(_("flagged"), default=False, help_text=_("Something in it was not known to us."))

    class Meta:
        verbose_name = _("payment event")
        verbose_name_plural = _("payment events")
        constraints = [
            models.UniqueConstraint(fields=["provider", "event_id"], name="payment_event_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=["received", "processed", "ignored", "parked", "quarantined"]),
                name="payment_event_state",
            ),
            models.CheckConstraint(  # what needs a person says why
                condition=(models.Q(flagged=False) & ~models.Q(state__in=["parked", "quarantined"]))
                | ~models.Q(reason=""),
                name="payment_event_explained",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="payment_event_due", condition=models.Q(state="received")),
            models.Index(fields=["object_id"], name="payment_event_object"),
            models.Index(fields=["-received_at"], name="payment_event_newest"),
            models.Index(
                fields=["reason", "-received_at"], name="payment_event_reason", condition=~models.Q(reason="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def subject(self) -> dict[str, Any]:
        """The object that the event is about, as it was then; handlers fetch what is true now."""
        found = self.body.get("data", {}).get("object", {})
        return found if isinstance(found, dict) else {}
