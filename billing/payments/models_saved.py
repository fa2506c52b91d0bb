"""Saved cards, what their owners agreed to, and topping up by itself (02-domain 2.5)."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books.models import AMOUNT
from billing.errors import InvalidTransition
from billing.payments import failures
from billing.payments.auto_rules import Terms
from billing.payments.cards import brand_name
from billing.payments.models import TopUp
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class Consent(models.Model):
    """What somebody agreed to, in the words that were shown. Rows are added, never changed."""

    class Purpose(models.TextChoices):
        SAVE_CARD = "save_card", _("Keep a card")
        AUTO_TOP_UP = "auto_top_up", _("Top up by itself")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", verbose_name=_("agreed by"))
    label = models.CharField(_("name at the time"), max_length=200)
    at = models.DateTimeField(_("agreed"))
    purpose = models.CharField(_("agreed to"), max_length=12, choices=Purpose)
    version = models.CharField(_("text version"), max_length=20)
    locale = models.CharField(_("language"), max_length=16, blank=True)
    text = models.TextField(_("text"))

    class Meta:
        verbose_name = _("payment consent")
        verbose_name_plural = _("payment consents")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(purpose__in=["save_card", "auto_top_up"]), name="payment_consent_purpose"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {self.at:%Y-%m-%d}"


class PaymentMethodQuerySet(models.QuerySet["PaymentMethod"]):
    """Reads of saved cards."""

    def visible_to(self, user: User | AnonymousUser) -> PaymentMethodQuerySet:
        """The cards of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class PaymentMethod(models.Model):
    """A card that an account keeps at the provider. We know its brand, its last digits and when it expires."""

    class State(models.TextChoices):
        ACTIVE = "active", _("Active")
        EXPIRED = "expired", _("Expired")
        REMOVED = "removed", _("Removed")

    NEXT: ClassVar[dict[str, set[str]]] = {
        State.ACTIVE: {State.EXPIRED, State.REMOVED},
        State.EXPIRED: {State.ACTIVE, State.REMOVED},  # card networks renew the date of a kept card
        State.REMOVED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="payment_methods", db_index=False)
    provider_id = models.CharField(_("card at the provider"), max_length=80, unique=True)
    customer_id = models.CharField(_("customer at the provider"), max_length=80)
    brand = models.CharField(_("brand"), max_length=30)
    last_four = models.CharField(_("last four digits"), max_length=4)
    exp_month = models.PositiveSmallIntegerField(_("expires in the month"))
    exp_year = models.PositiveSmallIntegerField(_("expires in the year"))
    ends_on = models.DateField(_("not valid from"), help_text=_("The first day of the month after its last."))
    fingerprint_hash = models.BinaryField(max_length=32, help_text=_("Of the card's number: the same for one card."))
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.ACTIVE)
    state_at = models.DateTimeField(_("since"))
    is_default = models.BooleanField(_("default"), default=False)
    consent = models.ForeignKey(Consent, models.PROTECT, related_name="+", verbose_name=_("consent"))
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("saved"))
    detached_at = models.DateTimeField(_("forgotten at the provider"), null=True, blank=True)
    ending_told = models.BooleanField(default=False, help_text=_("Its owner was told that it is about to expire."))

    objects: ClassVar[Any] = PaymentMethodQuerySet.as_manager()

    class Meta:
        verbose_name = _("saved card")
        verbose_name_plural = _("saved cards")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["active", "expired", "removed"]), name="payment_method_state"
            ),
            models.CheckConstraint(
                condition=models.Q(exp_month__gte=1, exp_month__lte=12), name="payment_method_exp_month"
            ),
            models.UniqueConstraint(
                fields=["account"], condition=models.Q(is_default=True), name="payment_method_one_default"
            ),
            models.CheckConstraint(
                condition=models.Q(is_default=False) | ~models.Q(state="removed"), name="payment_method_default_kept"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="payment_method_account"),
            models.Index(fields=["ends_on"], name="payment_method_ending", condition=models.Q(state="active")),
            models.Index(
                fields=["state_at"],
                name="payment_method_undetached",
                condition=models.Q(state="removed", detached_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """`Visa …4242`"""
        return f"{brand_name(self.brand)} …{self.last_four}".strip()

    @property
    def expiry(self) -> str:
        """`12/34`, as it stands on the card."""
        return f"{self.exp_month:02d}/{self.exp_year % 100:02d}"

    def move_to(self, state: str, *, now: datetime) -> None:
        """Change state in memory if the table allows it; the caller holds the wallet's lock."""
        if state not in self.NEXT[self.state]:
            raise InvalidTransition(card=self.name, current=str(self.state), wanted=str(state))
        self.state, self.state_at = self.State(state), now
        if state == self.State.REMOVED:
            self.is_default = False


def ends_on(month: int, year: int) -> date:
    """A card works until the end of the month that stands on it."""
    return date(year + month // 12, month % 12 + 1, 1)


class CardSetup(models.Model):
    """The wish to keep a card: the row is there, with its consent, before the provider's page is opened."""

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        SAVED = "saved", _("Saved")
        ENDED = "ended", _("Ended without a card")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+")
    consent = models.ForeignKey(Consent, models.PROTECT, related_name="+")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("created"))
    locale = models.CharField(max_length=16, blank=True)
    client_key = models.CharField(max_length=120)
    idempotency_key = models.CharField(max_length=120, unique=True)
    session_id = models.CharField(_("checkout session"), max_length=120, unique=True, null=True, blank=True)
    url = models.TextField(blank=True)
    state = models.CharField(_("state"), max_length=6, choices=State, default=State.OPEN)
    state_at = models.DateTimeField(_("since"))
    payment_method = models.ForeignKey(PaymentMethod, models.PROTECT, null=True, blank=True, related_name="+")
    check_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("saving of a card")
        verbose_name_plural = _("savings of cards")
        constraints = [
            models.UniqueConstraint(fields=["account", "client_key"], name="card_setup_client_key"),
            models.CheckConstraint(condition=models.Q(state__in=["open", "saved", "ended"]), name="card_setup_state"),
            models.CheckConstraint(
                condition=models.Q(state="saved", payment_method__isnull=False)
                | (~models.Q(state="saved") & models.Q(payment_method__isnull=True)),
                name="card_setup_saved",
            ),
        ]
        indexes = [models.Index(fields=["check_at"], name="card_setup_check", condition=models.Q(state="open"))]

    def __str__(self) -> str:
        return str(self.pk)


class AutoTopUp(models.Model):
    """Topping up by itself: one row an account, changed only under the wallet's lock."""

    class Stop(models.TextChoices):
        DECLINED = "declined", _("the card was declined")
        AUTHENTICATION = "authentication", _("the bank wants the payment confirmed")
        REFUSED = "refused", _("the payment provider refused the charge")
        CARD_REMOVED = "card_removed", _("the card was removed")
        CARD_EXPIRED = "card_expired", _("the card has expired")
        DISPUTED = "disputed", _("a charge was disputed")
        STAFF = "staff", _("stopped by our staff")

    class Cap(models.TextChoices):
        DAILY_COUNT = "daily_count", _("charges a day")
        DAILY_AMOUNT = "daily_amount", _("dollars a day")
        MONTHLY_AMOUNT = "monthly_amount", _("dollars a month")

    account = models.OneToOneField(Account, models.PROTECT, primary_key=True, related_name="auto_top_up")
    enabled = models.BooleanField(_("on"), default=False)
    threshold_usd = models.DecimalField(_("when the balance falls below"), **AMOUNT)
    amount_usd = models.DecimalField(_("charge"), **AMOUNT)
    daily_count = models.PositiveSmallIntegerField(_("most charges a day"))
    daily_usd = models.DecimalField(_("most a day"), **AMOUNT)
    monthly_usd = models.DecimalField(_("most a month"), **AMOUNT)
    payment_method = models.ForeignKey(
        PaymentMethod, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("card")
    )
    consent = models.ForeignKey(
        Consent, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("consent")
    )
    changed_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    changed_at = models.DateTimeField(_("changed"))

    stopped_reason = models.CharField(_("stopped because"), max_length=16, choices=Stop, blank=True)
    stopped_at = models.DateTimeField(_("stopped"), null=True, blank=True)
    stopped_order = models.ForeignKey(
        TopUp, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("order that failed")
    )
    pending_order = models.OneToOneField(
        TopUp, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("order under way")
    )
    last_run_at = models.DateTimeField(_("last charge"), null=True, blank=True)
    capped_by = models.CharField(_("waits for the limit of"), max_length=16, choices=Cap, blank=True)
    look_at = models.DateTimeField(_("not before"), help_text=_("When the sweep looks at this account again."))

    class Meta:
        verbose_name = _("auto top-up")
        verbose_name_plural = _("auto top-ups")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(threshold_usd__gt=0, amount_usd__gt=0, daily_count__gt=0)
                & models.Q(daily_usd__gte=models.F("amount_usd"), monthly_usd__gte=models.F("amount_usd")),
                name="auto_top_up_terms",
            ),
            models.CheckConstraint(
                condition=models.Q(enabled=False) | models.Q(payment_method__isnull=False, consent__isnull=False),
                name="auto_top_up_agreed",
            ),
            models.CheckConstraint(
                condition=models.Q(stopped_reason="", stopped_at__isnull=True)
                | (~models.Q(stopped_reason="") & models.Q(stopped_at__isnull=False)),
                name="auto_top_up_stopped",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    stopped_reason__in=[
                        "",
                        "declined",
                        "authentication",
                        "refused",
                        "card_removed",
                        "card_expired",
                        "disputed",
                        "staff",
                    ]
                ),
                name="auto_top_up_stop",
            ),
            models.CheckConstraint(
                condition=models.Q(capped_by__in=["", "daily_count", "daily_amount", "monthly_amount"]),
                name="auto_top_up_cap",
            ),
        ]
        indexes = [
            models.Index(
                fields=["look_at"],
                name="auto_top_up_look",
                condition=models.Q(enabled=True, stopped_reason="", pending_order__isnull=True),
            ),
            models.Index(
                fields=["look_at"], name="auto_top_up_pending", condition=models.Q(pending_order__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.account_id)

    @property
    def terms(self) -> Terms:
        """What was agreed."""
        return Terms(self.threshold_usd, self.amount_usd, self.daily_count, self.daily_usd, self.monthly_usd)

    @property
    def running(self) -> bool:
        """On, and not stopped."""
        return self.enabled and not self.stopped_reason

    @property
    def status(self) -> str:
        """on, stopped or off."""
        if not self.enabled:
            return "off"
        return "stopped" if self.stopped_reason else "on"

    @property
    def failure(self) -> failures.Reason | None:
        """Why its last order failed, in the customer's words."""
        return self.stopped_order.reason if self.stopped_order else None


class AutoTopUpRunQuerySet(models.QuerySet["AutoTopUpRun"]):
    """Reads of runs."""

    def visible_to(self, user: User | AnonymousUser) -> AutoTopUpRunQuerySet:
        """The runs of the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class AutoTopUpRun(models.Model):
    """One charge that the system decided on: what it saw, and the order that came of it."""

    order = models.OneToOneField(TopUp, models.PROTECT, primary_key=True, related_name="auto_run")
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField(_("time"))
    day = models.DateField(_("day"), help_text=_("In UTC: the day whose limits it counts towards."))
    balance_usd = models.DecimalField(_("balance then"), **AMOUNT)
    threshold_usd = models.DecimalField(_("threshold then"), **AMOUNT)
    amount_usd = models.DecimalField(_("charged"), **AMOUNT)
    payment_method = models.ForeignKey(PaymentMethod, models.PROTECT, related_name="+", verbose_name=_("card"))

    objects: ClassVar[Any] = AutoTopUpRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("automatic charge")
        verbose_name_plural = _("automatic charges")
        indexes = [
            models.Index(fields=["account", "day"], name="auto_run_day"),
            models.Index(fields=["account", "-order"], name="auto_run_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_usd:.2f} USD {self.at:%Y-%m-%d %H:%M}"
