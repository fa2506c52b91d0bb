"""Vouchers: campaigns, codes (never in clear), and every attempt to redeem one (02-domain 2.5, F010, F013)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User
from billing.books import voucher_codes
from billing.books.models import AMOUNT, CreditGrant
from billing.errors import InvalidTransition
from config.ids import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class VoucherCampaign(models.Model):
    """What a set of codes gives, to whom and until when. Its terms never change: another campaign has other terms."""

    class Kind(models.TextChoices):
        VOUCHER = "voucher", _("Voucher")
        PROMOTION = "promotion", _("Promotion")
        COMPENSATION = "compensation", _("Compensation")

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        ACTIVE = "active", _("Active")
        PAUSED = "paused", _("Paused")
        ENDED = "ended", _("Ended")

    NEXT: ClassVar[dict[str, set[str]]] = {
        Status.DRAFT: {Status.ACTIVE, Status.ENDED},
        Status.ACTIVE: {Status.PAUSED, Status.ENDED},
        Status.PAUSED: {Status.ACTIVE, Status.ENDED},
        Status.ENDED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=80, help_text=_("For staff; customers read the note."))
    kind = models.CharField(_("kind"), max_length=14, choices=Kind)
    amount = models.DecimalField(_("amount"), help_text=_("USD that each redemption gives."), **AMOUNT)
    valid_from = models.DateTimeField(_("valid from"))
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True)
    per_account = models.PositiveIntegerField(_("limit per account"), default=1)
    total = models.PositiveIntegerField(_("redemptions at most"))
    credit_days = models.PositiveIntegerField(_("credit lasts, in days"), null=True, blank=True)
    credit_until = models.DateTimeField(_("credit lasts until"), null=True, blank=True)
    priority = models.SmallIntegerField(_("priority"), default=100, help_text=_("The lowest number is spent first."))
    note = models.CharField(_("note for the customer"), max_length=200, blank=True)
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.DRAFT)
    status_at = models.DateTimeField(_("since"))
    created_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"))
    activated_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("activated by")
    )
    activated_at = models.DateTimeField(_("activated"), null=True, blank=True)
    codes_made = models.PositiveIntegerField(_("codes made"), default=0, help_text=_("For one redemption each."))
    redeemed = models.PositiveIntegerField(_("redeemed"), default=0)

    class Meta:
        verbose_name = _("voucher campaign")
        verbose_name_plural = _("voucher campaigns")
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="campaign_amount"),
            models.CheckConstraint(condition=models.Q(total__gt=0, per_account__gt=0), name="campaign_limits"),
            models.CheckConstraint(condition=models.Q(redeemed__lte=models.F("total")), name="campaign_redeemed"),
            models.CheckConstraint(condition=models.Q(codes_made__lte=models.F("total")), name="campaign_codes"),
            models.CheckConstraint(
                condition=models.Q(credit_days__isnull=True) | models.Q(credit_until__isnull=True),
                name="campaign_one_expiry",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["draft", "active", "paused", "ended"]), name="campaign_status"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["voucher", "promotion", "compensation"]), name="campaign_kind"
            ),
        ]
        indexes = [models.Index(fields=["created_by", "activated_at"], name="campaign_by_person")]

    def __str__(self) -> str:
        return self.name

    @property
    def left(self) -> int:
        """How many redemptions there may still be."""
        return self.total - self.redeemed

    @property
    def value_out(self) -> Any:
        """USD given so far."""
        return self.amount * self.redeemed

    @property
    def value(self) -> Any:
        """USD that it gives when every redemption is used."""
        return self.amount * self.total

    def move_to(self, status: str, *, now: datetime) -> None:
        """Change status in memory if the table allows it; the caller holds the campaign's lock."""
        if status not in self.NEXT[self.Status(self.status)]:
            raise InvalidTransition(campaign=str(self.pk), current=str(self.status), wanted=str(status))
        self.status, self.status_at = self.Status(status), now


class VoucherBatch(models.Model):
    """Codes that were made and handed out together, once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    campaign = models.ForeignKey(VoucherCampaign, models.PROTECT, related_name="batches", verbose_name=_("campaign"))
    key = models.CharField(max_length=80, help_text=_("Names the intent, for ever."))
    size = models.PositiveIntegerField(_("codes"))
    shared = models.BooleanField(_("shared"), default=False, help_text=_("One code that many accounts may redeem."))
    created_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("made by")
    )
    created_at = models.DateTimeField(_("made"))
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    class Meta:
        verbose_name = _("batch of codes")
        verbose_name_plural = _("batches of codes")
        constraints = [models.UniqueConstraint(fields=["campaign", "key"], name="voucher_batch_once")]

    def __str__(self) -> str:
        return f"{self.size} · {self.created_at:%Y-%m-%d %H:%M}"


class VoucherQuerySet(models.QuerySet["Voucher"]):
    """The lock of a code that several accounts may want at once."""

    def locked(self) -> VoucherQuerySet:
        """After the wallet's lock and before the campaign's. Evaluate inside transaction.atomic()."""
        return self.order_by("pk").select_for_update(of=("self",), no_key=True)


class Voucher(models.Model):
    """One code, as a keyed hash; the code itself was shown once and is known to nobody here (I13)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    campaign = models.ForeignKey(VoucherCampaign, models.PROTECT, related_name="vouchers", verbose_name=_("campaign"))
    batch = models.ForeignKey(VoucherBatch, models.PROTECT, related_name="vouchers", db_index=False)
    digest = models.BinaryField(max_length=32, editable=False)
    last_four = models.CharField(_("last four"), max_length=4)
    shared = models.BooleanField(_("shared"), default=False, help_text=_("Redeemed by many accounts, by each once."))
    used_at = models.DateTimeField(_("used"), null=True, blank=True, help_text=_("Of a code for one redemption."))
    created_at = models.DateTimeField(_("made"))

    objects: ClassVar[Any] = VoucherQuerySet.as_manager()

    class Meta:
        verbose_name = _("voucher")
        verbose_name_plural = _("vouchers")
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="voucher_digest"),
            models.CheckConstraint(condition=models.Q(shared=False) | models.Q(used_at=None), name="voucher_used_once"),
        ]
        indexes = [models.Index(fields=["last_four"], name="voucher_last_four")]

    def __str__(self) -> str:
        return voucher_codes.mask(self.last_four)


class RedemptionQuerySet(models.QuerySet["Redemption"]):
    """Reads of redemptions."""

    def visible_to(self, user: User | AnonymousUser) -> RedemptionQuerySet:
        """What was tried in the accounts that this user is a member of."""
        return self.filter(account__in=Account.objects.visible_to(user))


class Redemption(models.Model):
    """One attempt to redeem a code and its result. Append-only. Of an unknown code only a hash and four characters."""

    class Result(models.TextChoices):
        REDEEMED = "redeemed", _("Redeemed")
        UNKNOWN = "unknown", _("Unknown code")
        USED = "used", _("Used before")
        NOT_YET_VALID = "not_yet_valid", _("Not yet valid")
        EXPIRED = "expired", _("Expired")
        PAUSED = "paused", _("Not open at present")
        ENDED = "ended", _("Campaign ended")
        LIMIT_REACHED = "limit_reached", _("Limit of the account reached")
        EXHAUSTED = "exhausted", _("Campaign used up")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False, verbose_name=_("account"))
    user = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by"))
    at = models.DateTimeField(_("time"))
    result = models.CharField(_("result"), max_length=14, choices=Result)
    campaign = models.ForeignKey(
        VoucherCampaign, models.PROTECT, null=True, blank=True, related_name="+", db_index=False,
        verbose_name=_("campaign"),
    )  # fmt: skip
    voucher = models.ForeignKey(
        Voucher, models.PROTECT, null=True, blank=True, related_name="redemptions", verbose_name=_("voucher")
    )
    shared = models.BooleanField(_("shared"), default=False)
    grant = models.OneToOneField(
        CreditGrant, models.PROTECT, null=True, blank=True, related_name="redemption", verbose_name=_("credit grant")
    )
    amount = models.DecimalField(_("amount"), null=True, blank=True, **AMOUNT)
    last_four = models.CharField(_("last four"), max_length=4)
    digest = models.BinaryField(max_length=32, editable=False)
    key = models.CharField(_("key"), max_length=160, help_text=_("Names the intent, for ever."))
    client = models.BinaryField(max_length=16, editable=False, help_text=_("A keyed hash of the caller's network."))

    objects: ClassVar[Any] = RedemptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("redemption")
        verbose_name_plural = _("redemptions")
        constraints = [
            models.UniqueConstraint(fields=["account", "key"], name="redemption_key"),
            models.UniqueConstraint(
                fields=["voucher"], condition=models.Q(result="redeemed", shared=False), name="redemption_single_use"
            ),
            models.UniqueConstraint(
                fields=["voucher", "account"], condition=models.Q(result="redeemed"), name="redemption_once_each"
            ),
            models.CheckConstraint(
                condition=models.Q(
                    result="redeemed", voucher__isnull=False, campaign__isnull=False, grant__isnull=False, amount__gt=0
                )
                | (~models.Q(result="redeemed") & models.Q(grant__isnull=True, amount__isnull=True)),
                name="redemption_gives",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="redemption_account"),
            models.Index(
                fields=["account", "campaign"], name="redemption_limit", condition=models.Q(result="redeemed")
            ),
            models.Index(fields=["account", "at"], name="redemption_refused", condition=~models.Q(result="redeemed")),
            models.Index(fields=["client", "at"], name="redemption_client", condition=~models.Q(result="redeemed")),
            models.Index(fields=["-id"], name="redemption_all_refused", condition=~models.Q(result="redeemed")),
            models.Index(fields=["campaign", "-id"], name="redemption_campaign"),
            models.Index(fields=["last_four"], name="redemption_last_four"),
        ]

    def __str__(self) -> str:
        return f"{self.masked} · {self.get_result_display()}"

    @property
    def masked(self) -> str:
        """All of the code that is ever shown."""
        return voucher_codes.mask(self.last_four)


class ExpiryNoticeRun(models.Model):
    """How far the mails about expiring credit of one day are. A day that was missed is caught up with by the next."""

    day = models.DateField(primary_key=True)
    since = models.DateField(help_text=_("Losses from this day on are told."))
    edge = models.JSONField(default=list)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("mails about expiring credit")
        verbose_name_plural = _("mails about expiring credit")

    def __str__(self) -> str:
        return self.day.isoformat()
